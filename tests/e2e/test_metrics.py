#!/usr/bin/env python3
"""/metrics and /readyz of nodes that work: the format, what is counted, and that dashboards and rules ask for what there is."""
import json
import os
import pathlib
import sys
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh
import prometheus

DEPLOY = prometheus.ROOT / "deploy"
README = DEPLOY / "prometheus/README.md"


def scrape(node):
    return prometheus.parse(node.command("metrics").stdout.decode())


def total(families, name, suffix="", **labels):
    """Sum over all series that have these labels."""
    wanted = set(labels.items())
    return sum(value for (s, pairs), value in families[name].samples.items() if s == suffix and wanted <= set(pairs))


def probe(node, path, token=None):
    """Status and body of a GET, without a token unless one is given."""
    request = urllib.request.Request(f"http://{node.admin}{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=mesh.PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Metrics(mesh.MeshCase):
    def loaded(self, *values):
        """A pair that has published, stored, delivered and refused something."""
        alice, bob = self.pair("shards.count=2", *values)
        bob.command("subscribe", "a/b", "--from", "alice")
        alice.publish("a/b", [f"{n}" for n in range(1000)])
        alice.publish("durable", ["1", "2", "3"], "--durable")
        alice.command("publish", "x/manifest", stdin=b"x\n", status=None)  # no name for a directory
        bob.wait_for("a/b", 1000, alice.node_id)
        return alice, bob

    def test_format(self):
        for node in self.loaded():
            scrape(node)

    def test_what_happened_is_counted(self):
        alice, bob = self.loaded()
        there, here = scrape(alice), scrape(bob)
        self.assertEqual(total(there, "netmesh_published_events_total"), 1003)
        self.assertEqual(total(there, "netmesh_channel_events_total", channel="a/b", origin="self"), 1000)
        self.assertEqual(total(there, "netmesh_channel_subscribers", channel="a/b"), 1)
        self.assertEqual(total(there, "netmesh_channel_lag_events", channel="a/b"), 0)
        self.assertEqual(total(there, "netmesh_publish_stored_seconds", "_count", kind="written"), 1000)
        self.assertEqual(total(there, "netmesh_publish_stored_seconds", "_count", kind="synced"), 3)
        self.assertEqual(total(there, "netmesh_stored_delivered_seconds", "_count"), 1000)
        self.assertGreater(total(there, "netmesh_log_sync_seconds", "_count"), 0)
        self.assertGreater(total(there, "netmesh_turn_seconds", "_count"), 10)
        self.assertLess(total(there, "netmesh_turn_seconds", "_sum"), total(there, "netmesh_uptime_seconds") * 2)
        self.assertEqual(total(there, "netmesh_publish_failed_total", reason="invalid"), 1)
        self.assertEqual(total(there, "netmesh_peer_up", peer="bob", node_id=bob.node_id), 1)
        self.assertEqual(total(there, "netmesh_peer_tx_events_total", peer="bob"), 1000)
        self.assertEqual(total(here, "netmesh_peer_rx_events_total", peer="alice"), 1000)
        self.assertEqual(total(here, "netmesh_channel_events_total", channel="a/b", origin=alice.node_id), 1000)
        self.assertEqual(total(there, "netmesh_ready"), 1)
        self.assertEqual(total(there, "netmesh_scrape_missing_shards"), 0)

    def test_cardinality_is_bounded(self):
        a = self.node("a", "shards.count=2", "metrics.channels=5")
        a.start()
        for n in range(12):
            a.publish(f"channel/{n}", ["x"] * (n + 1))
        families = scrape(a)
        events = families["netmesh_channel_events_total"].samples
        self.assertEqual(len(events), 6)
        self.assertEqual(sum(events.values()), 12 * 13 / 2, "and nothing is left out of the sum")
        self.assertEqual(total(families, "netmesh_channels_folded"), 7)

    def test_readyz(self):
        a = self.node("a")
        a.start()
        token = (a.dir / "admin.token").read_text().strip()
        for given in (None, token):
            status, body = probe(a, "/readyz", given)
            self.assertEqual((status, json.loads(body)), (200, {"ready": True, "problems": []}))
        self.assertEqual(probe(a, "/healthz"), (200, "ok"))
        self.assertEqual(probe(a, "/metrics")[0], 401)
        self.assertEqual(a.json("status")["problems"], [])


@mesh.needs_namespaces
class FullDisk(mesh.MeshCase):
    def test_readyz_says_why_and_that_it_is_over(self):
        from test_disk import SmallDisk
        a = self.node("a", "channels.publish_timeout=1s")
        disk = SmallDisk(self, a, "16m")
        a.start()
        a.publish("secret/name", ["x"])
        disk.fill()
        token = (a.dir / "admin.token").read_text().strip()
        a.command("publish", "secret/name", stdin=b"y" * 5000 + b"\n", status=None)
        mesh.eventually(lambda: probe(a, "/readyz")[0] == 503, "it is not ready")
        self.assertEqual(json.loads(probe(a, "/readyz")[1])["problems"], [{"code": "disk_full"}], "names are for who may know")
        problem, = json.loads(probe(a, "/readyz", token)[1])["problems"]
        self.assertRegex(problem["text"], "no space")
        self.assertEqual(a.json("status")["problems"], [problem])
        families = scrape(a)
        self.assertEqual(total(families, "netmesh_ready"), 0)
        self.assertEqual(total(families, "netmesh_logs_failing", error="no_space"), 1)
        self.assertEqual(total(families, "netmesh_channel_failing", channel="secret/name"), 1)
        disk.free()
        mesh.eventually(lambda: probe(a, "/readyz")[0] == 200, "it is ready again")


class Documents(mesh.MeshCase):
    def setUp(self):
        super().setUp()
        a = self.node("a")
        b = self.node("b", psk_from=a)
        a.start()
        b.start()
        self.introduce(a, b)
        b.command("subscribe", "x", "--from", "a")
        a.publish("x", ["1"])
        self.families = scrape(a)

    def test_the_list_is_what_is_served(self):
        head, mark, table = README.read_text().partition("| metric | type |")
        served = prometheus.table(self.families)
        if "METRICS_REWRITE" in os.environ:
            README.write_text(head + served)
        else:
            self.assertEqual((mark + table).splitlines(), served.splitlines(),
                             "after a look at it, run this test with METRICS_REWRITE=1")

    def test_rules_and_dashboard_name_what_there_is(self):
        files = sorted([*DEPLOY.glob("prometheus/*.yml"), *DEPLOY.glob("grafana/*.json")])
        self.assertGreaterEqual(len(files), 4)
        for path in files:
            names = prometheus.names_in(path.read_text())
            self.assertEqual(names - set(self.families), set(), path.name)

    def test_every_drop_reason_is_explained(self):
        reasons = {dict(labels)["reason"] for _, labels in self.families["netmesh_drops_total"].samples}
        section = README.read_text().partition("## Reasons of drops")[2].partition("\n## ")[0]
        explained = {name for row in prometheus.re.findall(r"^\| (`[^|]+) \|", section, prometheus.re.M)
                     for name in prometheus.re.findall(r"`(\w+)`", row)}
        self.assertEqual(reasons, explained)

    def test_dashboard(self):
        board = json.loads((DEPLOY / "grafana/net-mesh.json").read_text())
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        self.assertGreater(len(panels), 15)
        self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))
        for panel in panels:
            self.assertTrue(panel["title"] and panel["description"], panel["id"])
            for target in panel["targets"]:
                self.assertIn('instance=~"$instance"', target["expr"], panel["title"])
        self.assertEqual([v["name"] for v in board["templating"]["list"]], ["datasource", "instance"])

    def test_every_drop_reason_is_provoked_somewhere(self):
        """A counter that no test moves may be one that nothing moves."""
        header = (prometheus.ROOT / "shards/report/metrics.h").read_text()
        tests = "".join(path.read_text() for path in sorted((prometheus.ROOT / "tests").glob("*/test_*.c")))
        fields = dict(prometheus.re.findall(r'X\((drop_\w+|publish_\w+|subscribe_\w+), "[a-z_]+", "reason=\\"(\w+)\\""', header))
        self.assertGreater(len(fields), 40)
        unmoved = {reason for field, reason in fields.items() if field not in tests}
        self.assertEqual(unmoved, NOT_PROVOKED, "reasons without a test")


# Memory that runs out, a datagram larger than any buffer, and two session ids of 64 random bits that are the same.
NOT_PROVOKED = {"no_memory", "truncated", "session_not_taken"}

if __name__ == "__main__":
    mesh.main()
