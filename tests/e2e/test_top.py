#!/usr/bin/env python3
"""net-mesh top: what it shows of a working node, what keys do, and that it leaves the terminal as it found it."""
import http.server
import json
import pathlib
import signal
import sys
import termios
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh
import terminal

NUMBER = r"([0-9.]+)[kMG]?"
TOKEN = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"


class TopCase(mesh.MeshCase):
    def top(self, endpoint, *options, env=None, **size):
        program = terminal.Program([mesh.PROGRAM, "--endpoint", endpoint, "top", *options], self.dir / "top.stderr", env=env,
                                   **size)
        self.addCleanup(program.close)
        return program

    def expect_end(self, program, status=0):
        """It ends, and the terminal is as it was."""
        self.assertEqual(program.wait(mesh.PATIENCE), status, (self.dir / "top.stderr").read_text())
        self.assertEqual((self.dir / "top.stderr").read_text(), "")
        self.assertEqual(termios.tcgetattr(program.terminal), program.settings)
        self.assertFalse(program.screen.alternate)
        self.assertTrue(program.screen.cursor)


class Screen(TopCase):
    def test_what_a_working_node_does(self):
        alice, bob = self.pair()
        bob.command("subscribe", "sensors/lidar", "--from", "alice")
        with alice.publishing("sensors/lidar", b"one more event\n" * 100, pause=0.01):
            for node, channel in ((alice, "sensors/lidar +self"), (bob, "sensors/lidar +alice")):
                top = self.top(node.dir, "--interval", "200ms")
                other = "bob" if node is alice else "alice"
                top.shows(rf"^{other} +connected ", mesh.PATIENCE)
                top.shows(rf"^{channel} +(?!0 ){NUMBER} +(?!0B){NUMBER}[KM]?i?B ", mesh.PATIENCE)
                top.shows(rf"^ +0 +(?!0 ){NUMBER} ", mesh.PATIENCE)  # turns of a shard
                top.shows(r"^q quit ", mesh.PATIENCE)
                self.assertTrue(top.screen.alternate)
                self.assertIn(node.node_id, top.screen.lines[0])
                top.keys("q")
                self.expect_end(top)

    def test_keys(self):
        node = self.node("a", "shards.count=2")
        node.start()
        for channel in range(30):
            node.publish(f"c/{channel:02}", [1, 2])
        top = self.top(node.dir, "--interval", "100ms", "--sort", "channel")
        top.shows(r"^c/00 ", mesh.PATIENCE)
        for keys, pattern in (("s", "sort: ORIGIN .up"), ("\t", "sort: DROPS/S"), ("\t", "sort: SHARD"), ("s", "sort: TURNS/S"),
                              ("r", "sort: TURNS/S .up"), ("+", "[+]/- 0.2s"), ("-", "[+]/- 0.1s"),
                              ("\x1b[Z\x1b[Z", "sort: ORIGIN"), ("\x1bOD\x1bOC", "sort: ORIGIN"),  # shift-tab, left, right
                              ("\x1b[6~", r"^c/(?!00)"), ("\x1bOF", "^c/29 "), ("\x1bOH", "^c/00 "), ("\x1bOB", "2-[0-9]+ of 30"),
                              ("h", "^tab, right  choose"), ("?", "^SHARD"), ("p", "PAUSED"), ("xyz", "PAUSED")):
            top.keys(keys)
            top.shows(pattern, mesh.PATIENCE)
        uptime = top.screen.lines[0]
        top.read(1.2)
        self.assertEqual(top.screen.lines[0], uptime, "paused")
        top.keys("p")
        mesh.eventually(lambda: top.read() or top.screen.lines[0] != uptime, "it goes on")
        top.keys("q")
        self.expect_end(top)

    def test_sizes(self):
        node = self.node("a")
        node.start()
        node.publish("c", [1])
        top = self.top(node.dir, "--interval", "100ms", rows=10, columns=40)
        top.shows("^CHANNEL", mesh.PATIENCE)
        for rows, columns, pattern in ((24, 80, "^PEER"), (1, 1, "^~"), (5, 20, "^CHANNEL"), (50, 200, "^DROPPED")):
            top.resize(rows, columns)
            top.shows(pattern, mesh.PATIENCE)
        top.keys("q")
        self.expect_end(top)

    def test_signals_end_it(self):
        node = self.node("a")
        node.start()
        for end in (lambda top: top.keys("\x03"), lambda top: top.process.send_signal(signal.SIGTERM),
                    lambda top: top.process.send_signal(signal.SIGHUP)):
            top = self.top(node.dir)
            top.shows("^CHANNEL", mesh.PATIENCE)
            end(top)
            self.expect_end(top)

    def test_a_node_that_goes_and_comes(self):
        node = self.node("a")
        node.start()
        top = self.top(node.dir, "--interval", "100ms")
        top.shows("^CHANNEL", mesh.PATIENCE)
        node.kill()
        top.shows("trying again", mesh.PATIENCE)
        self.assertIn("unreachable", top.screen.lines[0])
        node.start()
        mesh.eventually(lambda: top.read() or not top.screen.find("unreachable|trying again"), "it is seen again")
        top.keys("q")
        self.expect_end(top)

    def test_colours(self):
        alice, _ = self.pair()
        for env, options, coloured in (({}, (), True), ({"NO_COLOR": "1"}, (), False), ({}, ("--no-color",), False),
                                       ({"TERM": "vt100"}, (), False)):
            top = self.top(alice.dir, *options, env=env)
            top.shows("connected", mesh.PATIENCE)
            top.keys("q")
            self.assertEqual(top.wait(mesh.PATIENCE), 0)
            self.assertEqual(top.screen.coloured, coloured, (env, options))


class WithoutScreen(TopCase):
    def test_once(self):
        alice, bob = self.pair()
        bob.command("subscribe", "x", "--from", "alice")
        with alice.publishing("x", b"event\n" * 100, pause=0.01):
            alice.wait_for("x", 1)
            text = alice.command("top", "--once", "--interval", "500ms").stdout.decode()
            data = alice.json("top", "--once", "--interval", "500ms", "--sort", "drops.total")
        self.assertRegex(text, r"(?m)^bob +connected ")
        self.assertRegex(text, rf"(?m)^x +self +(?!0 ){NUMBER} ")
        self.assertNotIn("\x1b", text)
        self.assertNotIn("q quit", text)
        self.assertEqual(set(data), {"node", "shards", "peers", "channels", "drops"})
        self.assertEqual(data["node"]["node_id"], alice.node_id)
        self.assertEqual([row["peer"] for row in data["peers"]], ["bob"])
        self.assertGreater(data["channels"][0]["events_per_s"], 0)
        self.assertGreater(sum(row["published_per_s"] for row in data["shards"]), 0)
        self.assertEqual(len(data["shards"]), alice.json("status")["shards"])

    def test_refusals(self):
        node = self.node("a")
        self.assertIn("does it run?", node.fails(6, "top", "--once"))
        node.start()
        self.assertIn("--once", node.fails(2, "top"))  # no terminal
        for arguments, part in ((("--interval", "10ms"), "100ms"), (("--interval", "2h"), "1h"), (("--interval", "x"), "100ms"),
                                (("--sort", "colour"), "colour")):
            self.assertIn(part, node.fails(2, "top", "--once", *arguments))
        strange = self.top(node.dir, env={"TERM": "nothing-like-it"})
        self.assertEqual(strange.wait(mesh.PATIENCE), 1)
        self.assertIn("nothing-like-it", (self.dir / "top.stderr").read_text())


class Hostile(TopCase):
    """Somebody who is no node: names to fool a terminal, answers of the wrong shape, or none at all."""

    def setUp(self):
        super().setUp()
        self.answers, self.silent = {}, threading.Event()
        case = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if case.silent.is_set():
                    time.sleep(2 * mesh.PATIENCE)
                body = case.answers.get(self.path, {"error": {"code": "route"}})
                self.send_response(200 if self.path in case.answers else 404)
                data = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, block_on_close = True, False

            def handle_error(self, *_):
                pass  # the program may go before the answer

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        token = self.dir / "token"
        token.write_text(TOKEN + "\n")
        token.chmod(0o600)
        self.env = {"NET_MESH_TOKEN_FILE": str(token)}
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.answers = {"/v1/node": {"node_id": "0x01", "version": "\x1b]0;title\x07", "uptime_ms": 1, "shards": 1},
                        "/v1/peers": [], "/v1/channels": [], "/metrics": 'netmesh_turns_total{shard="0"} 1\n'}

    def test_names(self):
        self.answers["/v1/peers"] = [{"name": "\x1b[2J\x1b[31mred\x07\u202e\x9b", "node_id": "0x02", "state": "\ndown"}]
        self.answers["/v1/channels"] = [{"channel": "測定/é", "origin": "self", "next_seq": 1, "bytes": 2, "error": "\r\x7f"}]
        self.answers["/metrics"] += 'netmesh_drops_total{reason="\\n\x1b[H",shard="0"} 5\n'
        top = self.top(self.url, env=self.env)
        top.shows(r"^\?\[2J\?\[31mred\?\?\? +\?down", mesh.PATIENCE)
        top.shows("^測定/é +self", mesh.PATIENCE)
        top.shows(r"^\?\?\[H ", mesh.PATIENCE)
        top.keys("q")
        self.expect_end(top)
        done = mesh.run("--endpoint", self.url, "top", "--once", "--interval", "100ms", env={**self.env, "LC_ALL": "C"})
        self.assertIn("測定/é   self", done.stdout.decode())
        self.assertFalse(any(byte < 0x20 and byte != 0x0a for byte in done.stdout))

    def test_wrong_shapes(self):
        for path in ("/v1/node", "/v1/peers", "/v1/channels", "/metrics"):
            good = self.answers[path]
            for bad in ("", "<html>", "{" * 100, "7"):
                self.answers[path] = bad
                done = mesh.run("--endpoint", self.url, "top", "--once", "--interval", "100ms", env=self.env, status=1)
                self.assertRegex(done.stderr.decode(), rf"\Anet-mesh: [^\n]*{path}[^\n]*\n\Z")
            self.answers[path] = good
        mesh.run("--endpoint", self.url, "top", "--once", "--interval", "100ms", env=self.env)

    def test_silence_makes_nothing_deaf(self):
        top = self.top(self.url, "--interval", "100ms", env=self.env)
        top.shows("^CHANNEL", mesh.PATIENCE)
        self.silent.set()
        top.read(0.5)
        top.keys("h")
        top.shows("^tab, right  choose", mesh.PATIENCE / 2)
        top.keys("q")
        before = time.monotonic()
        self.expect_end(top)
        self.assertLess(time.monotonic() - before, mesh.PATIENCE / 2)


if __name__ == "__main__":
    mesh.main()
