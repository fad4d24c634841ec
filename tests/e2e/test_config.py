#!/usr/bin/env python3
"""What a node is set to: checking and showing it, and reading it again while the node runs."""
import json
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


def edit(node, old, new):
    """Replaces a line of node.yaml, as an editor does: a new file in place of the old one."""
    text = (node.dir / "node.yaml").read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in node.yaml"
    replace(node, text.replace(old, new))
    return text[:text.index(old)].count("\n") + 1


def replace(node, text):
    """Whole: commands of the test read the file, too."""
    (node.dir / "node.yaml~").write_text(text)
    (node.dir / "node.yaml~").rename(node.dir / "node.yaml")


def rows_of(list_of_rows):
    return {row["key"]: row for row in list_of_rows}


class Show(mesh.MeshCase):
    def test_files(self):
        a = self.node("a", "channels.max_lag=7")
        line = edit(a, "  prefixes: {}", "  prefixes:\n    a/b: {log: none}")
        rows = rows_of(json.loads(mesh.run("--output", "json", "config", "show", a.dir, "--set", "shards.count=3").stdout))
        self.assertEqual(rows["shards.count"], {"key": "shards.count", "value": "3", "source": "--set", "line": None,
                                                "applies": "at the next start"})
        self.assertEqual(rows["channels.prefixes.a/b.log"]["value"], "none")
        self.assertEqual(rows["channels.prefixes.a/b.log"]["line"], line + 1)
        text = (a.dir / "node.yaml").read_text().splitlines()
        for key, row in rows.items():
            if row["source"] == "node.yaml":
                self.assertRegex(text[row["line"] - 1], rf'\b{key.rsplit(".", 1)[-1]}:', "the line is the key's")

    def test_formats(self):
        a = self.node("a")
        table = mesh.run("--output", "table", "config", "show", a.dir).stdout.decode().splitlines()
        self.assertRegex(table[0], r"^KEY +VALUE +SOURCE +LINE$")
        self.assertRegex(re.sub(r"\s+", " ", mesh.run("--output", "yaml", "config", "show", a.dir).stdout.decode()), '- key: "?listen"? value: ')

    def test_defaults_are_named(self):
        a = self.node("a")
        (a.dir / "node.yaml").write_text(f"listen: {a.listen}\nadmin: {{listen: '{a.admin}'}}\n")
        rows = rows_of(json.loads(mesh.run("--output", "json", "config", "show", a.dir).stdout))
        self.assertEqual({row["source"] for key, row in rows.items() if key not in ("listen", "admin.listen")}, {"default"})

    def test_running_node(self):
        a = self.node("a", "shards.count=2")
        a.start("logging.level=debug")
        of_dir = rows_of(json.loads(mesh.run("--output", "json", "config", "show", a.dir, "--effective").stdout))
        of_endpoint = rows_of(a.json("config", "show"))
        self.assertEqual(of_dir, of_endpoint)
        self.assertEqual(of_dir["logging.level"]["source"], "--set")
        self.assertNotEqual(of_dir["shards.cpus"]["value"], "[]", "the CPUs there are")
        secrets = [(a.dir / name).read_text().strip() for name in ("identity", "noise.key", "psk", "admin.token")]
        self.assertFalse([secret for secret in secrets if secret in json.dumps(of_dir)])

    def test_usage(self):
        a = self.node("a")
        mesh.run("config", "show", a.dir, "--effective", status=6)
        mesh.run("config", "show", status=2)
        mesh.run("--endpoint", a.dir, "config", "show", a.dir, status=2)
        mesh.run("config", "show", a.dir, "--effective", "--set", "shards.count=1", status=2)
        mesh.run("config", "show", self.dir / "none", status=3)
        mesh.run("config", status=2)


class Check(mesh.MeshCase):
    def check(self, node, status, *options):
        done = mesh.run("--output", "json", "config", "check", node.dir, *options, status=status)
        found = json.loads(done.stdout)
        self.assertEqual(found["ok"], status == 0)
        return found

    def test_ok(self):
        a = self.node("a", "channels.retention_age=1h")
        self.assertEqual(self.check(a, 0), {"ok": True, "problems": [], "warnings": []})
        self.assertEqual(mesh.run("--output", "text", "config", "check", a.dir).stdout, b"ok\n")

    def test_everything_wrong_at_once(self):
        a = self.node("a")
        line = edit(a, "  pin: false", "  pin: maybe")
        (a.dir / "psk").chmod(0o644)
        (a.dir / "admin.token").write_text("secret")
        (a.dir / "peers.yaml").write_text("peers:\n  - nmae: x\n")
        problems = self.check(a, 3)["problems"]
        self.assertEqual(len(problems), 4)
        self.assertEqual(problems[0], f'{a.dir}/node.yaml:{line}: shards.pin: found "maybe", allowed: true or false')
        self.assertRegex(problems[1], r"/psk: found mode 0644")
        self.assertRegex(problems[2], r"/admin.token: ")
        self.assertNotIn("secret", problems[2].replace("which lets others at a secret", ""))
        self.assertRegex(problems[3], r"/peers.yaml:2: found the unknown key \"nmae\"")
        text = mesh.run("--output", "text", "config", "check", a.dir, status=3).stdout.decode()
        self.assertTrue(text.startswith(f"wrong: {problems[0]}\n"))

    def test_secrets_alone_are_exit_2(self):
        a = self.node("a")
        (a.dir / "noise.key").unlink()
        self.assertRegex(self.check(a, 2)["problems"][0], "noise.key: cannot open")
        (a.dir / "readonly.token").unlink()
        self.assertEqual(len(self.check(a, 2)["problems"]), 1, "that one may be missing")

    def test_warnings(self):
        a = self.node("a")
        self.assertRegex(self.check(a, 0)["warnings"][0], r"node.yaml:\d+: channels.log: disk without any retention")
        keep = ("--set", "channels.retention_age=1h")
        for setting, found in (("security.sessions=compat", "--set: security.sessions: compat lets in"),
                               ("security.peers=listed", "--set: security.peers: listed, but peers.yaml has no peer"),
                               ("admin.listen=0.0.0.0:20038", "--set: admin.listen: reached from other machines"),
                               ("security.key_log=./keys", "--set: security.key_log: the keys of all sessions go to a file"),
                               ("session.session_timeout=6s", "--set: session.session_timeout: less than two heartbeats"),
                               ("channels.fsync=each", None)):
            warnings = self.check(a, 0, *keep, "--set", setting)["warnings"]
            self.assertEqual(len(warnings), 1 if found else 0, warnings)
            if found:
                self.assertIn(found, warnings[0])
        line = edit(a, "  prefixes: {}", "  prefixes:\n    a:\n      log: none\n      fsync: each\n      retention_age: 5s\n"
                    "    b: {retention_events: 5, max_lag: 6}\n    c: {retention_age: none}")
        warnings = self.check(a, 0, *keep)["warnings"]
        self.assertEqual([re.sub(r".*node.yaml:", "", text) for text in warnings],
                         [f"{line + 3}: channels.prefixes.a.fsync: has no effect: the log is not on disk",
                          f"{line + 4}: channels.prefixes.a.retention_age: has no effect: with log: none there is nothing to keep",
                          f"{line + 5}: channels.prefixes.b.max_lag: has no effect: the log keeps fewer events (retention_events)",
                          f"{line + 6}: channels.prefixes.c: disk without any retention: logs grow until the disk is full"])
        a.dir.chmod(0o770)
        self.assertIn("mode 0770 lets others replace its files", self.check(a, 0, *keep)["warnings"][-1])


class Reload(mesh.MeshCase):
    def test_by_command(self):
        a = self.node("a", "shards.count=2")
        a.start()
        self.assertEqual(a.json("reload"), {"applied": [], "restart_needed": []})
        edit(a, "  max_lag: 0", "  max_lag: 99")
        edit(a, "  pin: false", "  pin: true")
        for applied in (["channels.max_lag"], []):
            self.assertEqual(a.json("reload"), {"applied": applied, "restart_needed": ["shards.pin"]})
        rows = rows_of(a.json("config", "show"))
        self.assertEqual((rows["channels.max_lag"]["value"], rows["channels.max_lag"]["pending"]), ("99", None))
        self.assertEqual((rows["shards.pin"]["value"], rows["shards.pin"]["pending"]), ("false", "true"))
        self.assertIn("reload: applied: channels.max_lag; at the next start: shards.pin", a.stderr())

    def test_a_mistake_changes_nothing(self):
        a = self.node("a")
        a.start()
        address = {"NET_MESH_TOKEN_FILE": str(a.dir / "admin.token")}
        edit(a, "  max_lag: 0", "  max_lag: 99")
        line = edit(a, "  level: info", "  level: loud")
        done = mesh.run("--endpoint", f"http://{a.admin}", "reload", env=address, status=3)
        self.assertRegex(done.stderr.decode(), rf'^net-mesh: \S*node.yaml:{line}: logging.level: found "loud", allowed: error, warn')
        (a.dir / "node.yaml").unlink()
        done = mesh.run("--endpoint", f"http://{a.admin}", "reload", env=address, status=3)
        self.assertIn("node.yaml: cannot read: No such file", done.stderr.decode())
        done = mesh.run("--endpoint", f"http://{a.admin}", "--output", "json", "config", "show", env=address)
        self.assertEqual(rows_of(json.loads(done.stdout))["channels.max_lag"]["value"], "0")

    def test_by_signal(self):
        a = self.node("a")
        a.start()
        edit(a, "  level: info", "  level: error")
        edit(a, "  heartbeat_interval: 5s", "  heartbeat_interval: 100ms")
        a.process.send_signal(signal.SIGHUP)
        mesh.eventually(lambda: rows_of(a.json("config", "show"))["session.heartbeat_interval"]["value"] == "100ms", "the reload")
        edit(a, "  level: error", "  level: debug")
        for _ in range(50):
            a.process.send_signal(signal.SIGHUP)
        mesh.eventually(lambda: "applied: logging.level" in a.stderr(), "the level that lets it be said")
        self.assertEqual(a.publish("x", ["y"])["events"], 1)

    def test_while_events_flow(self):
        a, b = self.pair("shards.count=2")
        b.json("subscribe", "x", "--from", a.dir.name)
        with a.publishing("x", b"event\n" * 1000, pause=0.01):
            for i in range(20):
                for node in (a, b):
                    text = (node.dir / "node.yaml").read_text()
                    replace(node, re.sub(r"max_lag: \d+", f"max_lag: {1000000 + i}", text))
                    self.assertEqual(node.json("reload")["applied"], ["channels.max_lag"])
        stored = a.channel("x")["next_seq"]
        self.assertGreater(stored, 1000)
        b.wait_for("x", stored, a.node_id)
        self.assertEqual(b.drops(), {})

    def test_tokens_are_read_again(self):
        a = self.node("a")
        a.start()

        def status(token, path="/v1/node", method="GET"):
            request = urllib.request.Request(f"http://{a.admin}{path}", headers={"Authorization": f"Bearer {token}"},
                                             method=method)
            try:
                return urllib.request.urlopen(request, timeout=10).status
            except urllib.error.HTTPError as error:
                error.close()
                return error.code
        old = (a.dir / "admin.token").read_text().strip()
        new = "ab" * 32
        (a.dir / "admin.token").write_text(new + "\n")
        self.assertEqual((status(old), status(new)), (200, 401))
        (a.dir / "admin.token").chmod(0o644)
        self.assertEqual(status(old, "/v1/reload", "POST"), 400, "open to others: nothing changes")
        (a.dir / "admin.token").chmod(0o600)
        self.assertEqual(status(old, "/v1/reload", "POST"), 200)
        self.assertEqual((status(old), status(new)), (401, 200))

    def test_new_settings_of_channels(self):
        a = self.node("a")
        a.start()
        a.publish("old", ["x"])
        edit(a, "  prefixes: {}", "  prefixes:\n    new: {log: memory}\n    old: {log: memory}")
        self.assertEqual(a.json("reload"), {"applied": ["channels.prefixes"], "restart_needed": ["channels.log"]})
        a.publish("new/one", ["x"])
        a.publish("old", ["y"])
        self.assertEqual((a.channel("new/one")["log"], a.channel("old")["log"]), ("memory", "disk"))
        self.assertEqual(a.terminate()[0], 0)
        a.start()
        self.assertIsNone(a.channel("old"), "what it has on disk waits for the setting to return")
        edit(a, "    old: {log: memory}", "")
        self.assertEqual(a.terminate()[0], 0)
        a.start()
        self.assertEqual(a.raw("old"), b"x\ny\n")

    def test_reload_and_stop(self):
        a = self.node("a", "shards.count=2")
        for i in range(5):
            a.start()
            asking = [subprocess.Popen([mesh.PROGRAM, "--endpoint", str(a.dir), "reload"], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL) for _ in range(4)]
            time.sleep(0.01 * i)
            for _ in range(5):
                a.process.send_signal(signal.SIGHUP)
            self.assertEqual(a.terminate()[0], 0)
            for process in asking:
                process.wait(2 * mesh.PATIENCE)


if __name__ == "__main__":
    mesh.main()
