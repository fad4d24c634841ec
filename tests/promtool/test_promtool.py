#!/usr/bin/env python3
"""What Prometheus' own tool says: of a scrape of nodes under load, of the alert rules and their tests, of the queries of the
dashboard.

    test_promtool.py NET_MESH PROMTOOL [unittest option…]
"""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh
import prometheus

PROMTOOL = os.path.abspath(sys.argv.pop(2)) if len(sys.argv) > 2 else ""
PROMETHEUS = prometheus.ROOT / "deploy/prometheus"


class Promtool(mesh.MeshCase):
    def promtool(self, *arguments, stdin=None):
        done = subprocess.run([PROMTOOL, *map(str, arguments)], input=stdin, capture_output=True, timeout=120)
        text = (done.stdout + done.stderr).decode()
        self.assertEqual(done.returncode, 0, text)
        return text

    def test_metrics_of_nodes_under_load(self):
        alice, bob = self.pair("shards.count=2")
        bob.command("subscribe", "x", "--from", "alice")
        with alice.publishing("x", b"".join(b"%d\n" % n for n in range(1000))):
            bob.wait_for("x", 20000, alice.node_id)
            for node in (alice, bob):
                text = self.promtool("check", "metrics", stdin=node.command("metrics").stdout)
                self.assertEqual(text, "", "not even a hint")

    def test_promtool_would_say_so(self):
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=b"# TYPE bad counter\nbad 1\n", capture_output=True)
        self.assertNotEqual(done.returncode, 0)

    def test_configuration(self):
        self.promtool("check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")

    def test_rules(self):
        self.promtool("check", "rules", PROMETHEUS / "netmesh.rules.yml")
        self.promtool("test", "rules", PROMETHEUS / "netmesh.rules.test.yml")

    def test_every_rule_has_a_test_that_it_fires(self):
        rules = prometheus.re.findall(r"- alert: (\w+)", (PROMETHEUS / "netmesh.rules.yml").read_text())
        text = (PROMETHEUS / "netmesh.rules.test.yml").read_text()
        fired = set(prometheus.re.findall(r"alertname: (\w+)\n +exp_alerts:\n", text))
        self.assertEqual(set(rules), fired)

    def test_queries_of_the_dashboard(self):
        board = json.loads((prometheus.ROOT / "deploy/grafana/net-mesh.json").read_text())
        queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
        queries += [a["expr"] for a in board["annotations"]["list"]]
        rules = [{"record": f"q:{n}", "expr": query.replace("$instance", ".+").replace("$__rate_interval", "1m")}
                 for n, query in enumerate(queries)]
        path = self.dir / "queries.yml"
        path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
        self.promtool("check", "rules", path)


if __name__ == "__main__":
    mesh.main()
