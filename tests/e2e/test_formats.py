#!/usr/bin/env python3
"""Output formats as their readers see them. cli.md 3; checklist 15.25"""
import http.server
import importlib.util
import json
import pathlib
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

WORDS = ["yes", "No", "y", "N", "on", "OFF", "true", "False", "null", "Null", "~", "", "123", "-1", "+1", "0x1", "0o17", "017",
         "0b1", "1_000", "1.5", "1e5", "1.0e+5", ".5", ".inf", ".NaN", "12:30", "12:30:45", "2026-11-25",
         "2026-11-25T08:18:31.329071Z", "=", "<<", "- a", "a: b", "a #b", "#a", "&a", "*a", "!a", "%a", "@a", "`a", "'a'",
         '"a"', "{a}", "[a]", "a,b", "? a", "| a", "> a", " a", "a ", "a\nb", "a\n", "\na", "\ta", "a\tb", "a\\b", "\u00b5s",
         "\u4e2d\u6587", "\U0001f600", "\u2028", "\ufeff", "\x85", "\x9b1m", "\x7f", "---", "...", "--- a", "x" * 5000,
         "word " * 500, "sensors/lidar", "connected", "a-b_c.d", "e5", "Infinity", "nan"]
VALUES = [None, True, False, 0, -1, 2**63, 2**64 - 1, -(2**63), 0.5, -2.25, 1e300, 1e-7, 1.0, [], {}, [[]], [{}], [[1, [2]], 3],
          {"a": {"b": {"c": []}}}, [{"a": 1, "b": [1, {"c": None}]}]]
NASTY = {"words": WORDS, "values": VALUES, "keys": {word: 1 for word in WORDS}}


class Answer(http.server.BaseHTTPRequestHandler):
    body = b""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


class Formats(mesh.MeshCase):
    def shown(self, value, *options):
        """What the program makes of an answer."""
        Answer.body = json.dumps(value).encode()
        token = self.dir / "token"
        token.write_text("0" * 64 + "\n")
        token.chmod(0o600)
        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        self.addCleanup(server.server_close)
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        done = mesh.run("--endpoint", f"http://127.0.0.1:{server.server_port}", "status", *options,
                        env={"NET_MESH_TOKEN_FILE": str(token)})
        thread.join()
        return done.stdout.decode()

    def test_json(self):
        text = self.shown(NASTY, "--output", "json")
        self.assertEqual(json.loads(text), NASTY)
        self.assertEqual(self.shown({"a": [1, {"b": None}]}, "--output", "json"),
                         '{\n  "a": [\n    1,\n    {\n      "b": null\n    }\n  ]\n}\n')
        self.assertEqual(self.shown(NASTY), text, "the default when stdout is no terminal")

    def test_ndjson(self):
        text = self.shown(NASTY, "--output", "ndjson")
        self.assertEqual(text.count("\n"), 1)
        self.assertEqual(json.loads(text), NASTY)

    def test_yaml(self):
        self.assertEqual(self.shown({"state": "connected", "id": "0x1", "answer": "yes", "list": ["a", {"b": 1.5}], "none": []},
                                    "--output", "yaml"),
                         'state: connected\nid: "0x1"\nanswer: "yes"\nlist:\n- a\n- b: 1.5\nnone: []\n')

    @unittest.skipUnless(importlib.util.find_spec("yaml"), "needs PyYAML")
    def test_yaml_reads_back(self):
        import yaml
        self.assertEqual(yaml.safe_load(self.shown(NASTY, "--output", "yaml")), NASTY)
        for value in WORDS + VALUES[1:]:  # a null alone is no answer
            self.assertEqual(yaml.safe_load(self.shown(value, "--output", "yaml")), value)

    def test_text(self):
        rows = [{"name": "a\tb", "features": ["x", "y"], "rtt": None}, {"name": "\u4e2d", "features": [], "rtt": 5}]
        self.assertEqual(self.shown(rows, "--output", "text"), "a?b\tx,y\t-\n\u4e2d\t-\t5\n")
        self.assertEqual(self.shown({"a": {"b": 1}, "c": "d"}, "--output", "text"), "a.b\t1\nc\td\n")

    def test_table(self):
        rows = [{"name": "\u4e2d\u6587", "n": 1}, {"name": "e\u0301te\u0301", "n": 2}, {"name": "plain", "n": 3}]
        self.assertEqual(self.shown(rows, "--output", "table"),
                         "NAME   N\n\u4e2d\u6587   1\ne\u0301te\u0301    2\nplain  3\n", "wide and combining characters")
        self.assertEqual(self.shown([], "--output", "table"), "(none)\n")
        nested = [{"shard": 0, "ring": {"bytes": 64, "used": {"max": 1}}}, {"shard": 1, "ring": None}]
        self.assertEqual(self.shown(nested, "--output", "table"),
                         "SHARD  RING.BYTES  RING.USED.MAX\n0      64          1\n1      -           -\n")


if __name__ == "__main__":
    mesh.main()
