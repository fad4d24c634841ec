#!/usr/bin/env python3
"""libnetmesh: a node inside another program, which sees one header and the shared library."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


class Library(mesh.MeshCase):
    def setUp(self):
        super().setUp()
        self.echo = pathlib.Path(mesh.PROGRAM).parent / "tests/echo"
        self.flows = self.echo.with_name("flows")

    def test_a_node_inside_an_application(self):
        alice = self.node("alice")
        bob = self.node("bob", psk_from=alice)
        bob.command_line = [self.echo, bob.dir]
        alice.start()
        bob.start()
        self.introduce(alice, bob)
        bob.command("subscribe", "questions", "--from", "alice")
        alice.command("subscribe", "echo", "--from", "bob")
        events = [f"question {number}" for number in range(1000)]
        alice.publish("questions", events)
        self.assertEqual(alice.lines("echo", 1000), events)
        self.assertEqual(bob.lines("questions", 1000), events)
        bob.terminate()

    def test_streams_of_two_applications(self):
        count = 20000
        alice = self.node("alice")
        bob = self.node("bob", psk_from=alice)
        alice.command_line = [self.flows, alice.dir, str(count)]
        bob.command_line = [self.flows, bob.dir]
        alice.start()
        bob.start()
        self.introduce(alice, bob)

        def line(node):
            return json.loads(mesh.read_line(node.process.stdout, "a stream's end"))
        came = {row["stream"]: row for row in (line(bob), line(bob))}
        self.assertEqual((came[1]["events"], came[1]["disorder"], came[1]["finished"]), (count, 0, True))
        self.assertEqual((came[1]["first"], came[1]["ascends"]), ("0:0", True))
        self.assertEqual(came[2]["finished"], True)
        self.assertGreater(came[2]["events"], count * 9 // 10)  # what is lost stays lost
        ended = {row["stream"]: row for row in (line(alice), line(alice))}
        self.assertEqual([(ended[i]["sent"], ended[i]["error"]) for i in (1, 2)], [(count, "ok")] * 2)
        self.assertGreater(ended[1]["backpressure"], 0)

    def test_a_stream_whose_peer_restarts(self):
        alice = self.node("alice")
        bob = self.node("bob", psk_from=alice)
        alice.command_line = [self.flows, alice.dir, str(1 << 31)]
        bob.command_line = [self.flows, bob.dir]
        alice.start()
        bob.start()
        self.introduce(alice, bob)
        mesh.eventually(lambda: any(row["tx_seq"] > 10 for row in alice.json("stream", "ls")), "events on their way")
        bob.kill()
        bob.start()
        ended = {row["stream"]: row["error"] for row in
                 (json.loads(mesh.read_line(alice.process.stdout, "a stream's end", 60)) for _ in range(2))}
        self.assertEqual(ended, {1: "closed", 2: "closed"})

    def test_what_is_wrong_is_told(self):
        a = self.node("a")
        (a.dir / "node.yaml").write_text("listen: nowhere\n")
        for arguments, said in (((), "which directory?"), ((a.dir,), "node.yaml:1"), ((a.dir / "x",), "cannot open")):
            done = subprocess.run([self.echo, *arguments], capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    mesh.main()
