#!/usr/bin/env python3
"""What a node says on stderr: formats, levels, rates; and that nobody waits for whoever reads it."""
import datetime
import json
import os
import pathlib
import re
import select
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

TEXT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (error|warn|info|debug) (?:shard=\d+ )?.+")


class Stranger:
    """Sends msg1 of a node with another psk, caught on its way to `node`, as often as it is told."""

    def __init__(self, node):
        self.to = node.listen.rsplit(":", 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            s.settimeout(mesh.PATIENCE)
            stranger = mesh.Node(f"{node.dir}.stranger")
            stranger.start()
            stranger.add_peer("victim", node, addr="127.0.0.1:%d" % s.getsockname()[1])
            self.datagram = s.recv(65536)
            stranger.terminate()

    def send(self, count):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for _ in range(count):
                s.sendto(self.datagram, (self.to[0], int(self.to[1])))


class Formats(mesh.MeshCase):
    def test_text(self):
        a = self.node("a", "shards.count=2")
        before = datetime.datetime.now(datetime.timezone.utc)
        a.start()
        a.terminate()
        lines = a.stderr().splitlines()
        for line in lines:
            found = TEXT.fullmatch(line)
            self.assertTrue(found, line)
            when = datetime.datetime.fromisoformat(found.group(1).replace("Z", "+00:00"))
            self.assertLess(abs((when - before).total_seconds()), 2 * mesh.PATIENCE)
        self.assertTrue(any(a.node_id in line and a.listen in line and a.admin in line and "2 shards" in line for line in lines))

    def test_json(self):
        alice, bob = self.pair("logging.format=json")
        bob.command("subscribe", "sensors/lidar", "--from", "alice")
        alice.publish("sensors/lidar", ["x"])
        for node in (alice, bob):
            self.assertEqual(node.terminate(), (0, b""))
            rows = [json.loads(line) for line in node.stderr().splitlines()]
            for row in rows:
                self.assertLessEqual({"ts", "level", "msg"}, row.keys())
                self.assertLessEqual(row.keys(), {"ts", "level", "msg", "shard", "peer", "addr", "channel"})
            other = alice if node is bob else bob
            of_peer = [row for row in rows if row.get("peer") == other.node_id]
            self.assertTrue(any(row["addr"] == other.listen and "is connected" in row["msg"] for row in of_peer if "addr" in row))
            self.assertTrue(any(row["channel"] == "sensors/lidar" and "subscribed" in row["msg"] for row in of_peer if "channel" in row))

    def test_journal(self):
        a = self.node("a")
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        st = os.fstat(writer)
        with open(a.log, "ab"):
            pass
        for stream, pattern in ((f"{st.st_dev}:{st.st_ino}", rb"<6>shard=0 net-mesh [^\n]*\n"),
                                (f"{st.st_dev}:{st.st_ino + 1}", rb"\d{4}-[^\n]*Z info shard=0 net-mesh [^\n]*\n"),
                                ("nonsense", rb"\d{4}-[^\n]*\n")):
            a.start(env={**os.environ, "JOURNAL_STREAM": stream}, stderr=writer)
            a.terminate()
            self.assertRegex(os.read(reader, 65536), pattern)
        os.close(writer)

    def test_level(self):
        for level, expected in (("error", False), ("warn", False), ("info", True)):
            a = self.node(level, f"logging.level={level}")
            a.start()
            a.terminate()
            self.assertEqual("net-mesh" in a.stderr(), expected, level)

    def test_mistakes(self):
        a = self.node("a")
        for setting in ("logging.format=xml", "logging.rate=-1", "logging.rate=0", "logging.rate=many"):
            done = mesh.run("node", "run", a.dir, "--set", setting, status=2)
            self.assertIn(setting.split("=")[0], done.stderr.decode())


class Flood(mesh.MeshCase):
    def test_bad_handshakes_are_few_lines(self):
        a = self.node("a", "shards.count=2")
        a.start()
        sent, stranger = 3000, Stranger(a)
        for _ in range(sent // 100):
            stranger.send(100)
            time.sleep(0.1)
        mesh.eventually(lambda: a.drops().get("drops_total:handshake_gate", 0) >= sent * 0.9, "they were looked at")
        mesh.eventually(lambda: "more lines like this one were suppressed: refused a handshake" in a.stderr(), "summed up")
        lines = [line for line in a.stderr().splitlines() if "refused a handshake" in line]
        self.assertGreaterEqual(len(lines), 11)
        self.assertLess(len(lines), 60, lines)
        self.assertGreater(a.metrics()["log_lines_suppressed_total"], sent // 2)

    def test_no_bound(self):
        a = self.node("a", "logging.rate=none")
        a.start()
        Stranger(a).send(100)
        mesh.eventually(lambda: a.stderr().count("refused a handshake") == 100, "all of them")


class Stalled(mesh.MeshCase):
    """stderr is a pipe that is full, and nobody reads."""

    def setUp(self):
        super().setUp()
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        while select.select([], [self.writer], [], 0)[1]:
            os.write(self.writer, b"#" * 4096)
        os.set_blocking(self.writer, True)  # as the node gets it

    def tearDown(self):
        os.close(self.reader)

    def read_all(self):
        os.set_blocking(self.reader, False)
        text = b""
        while True:
            try:
                more = os.read(self.reader, 65536)
            except BlockingIOError:
                more = None
            if more == b"":
                return text
            text += more or b""
            if more is None:
                if not select.select([self.reader], [], [], 1)[0]:
                    return text

    def start(self, *values):
        a = self.node("a", "shards.count=2", "logging.rate=none", *values)
        a.start(stderr=self.writer)
        os.close(self.writer)
        return a

    def test_a_node_goes_on(self):
        a = self.start()
        stranger = Stranger(a)
        for _ in range(10):
            stranger.send(100)  # some 120 KiB of lines
            self.assertEqual(a.publish("x", ["y"])["events"], 1)
        mesh.eventually(lambda: a.drops().get("drops_total:handshake_gate", 0) == 1000, "all were looked at")
        lost = a.drops()["drops_total:log_line"]
        self.assertGreater(lost, 100)
        text = self.read_all().lstrip(b"#").decode()
        mesh.eventually(lambda: not a.drops()["drops_total:log_line"] > lost, "none is lost any more")
        stranger.send(1)
        text += self.read_all().decode()
        for line in text.splitlines():
            self.assertRegex(line, TEXT)
        told = sum(int(n) for n in re.findall(r" (\d+) lines before this one were lost: stderr did not take them\n", text))
        self.assertEqual(told, lost)
        self.assertEqual(text.count("refused a handshake"), 1001 - lost)

    def test_it_stops(self):
        a = self.start()
        Stranger(a).send(1000)
        mesh.eventually(lambda: a.drops().get("drops_total:log_line", 0) > 0, "some are lost")
        started = time.monotonic()
        self.assertEqual(a.terminate(), (0, b""))
        self.assertLess(time.monotonic() - started, mesh.PATIENCE)

    def test_a_reader_that_went(self):
        a = self.start()
        os.close(self.reader)
        Stranger(a).send(1000)
        self.assertEqual(a.publish("x", ["y"])["events"], 1)
        self.reader = os.open("/dev/null", os.O_RDONLY)
        self.assertEqual(a.terminate(), (0, b""))


if __name__ == "__main__":
    mesh.main()
