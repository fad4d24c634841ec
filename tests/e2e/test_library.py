#!/usr/bin/env python3
"""libnetmesh: a node inside another program, which sees one header and the shared library."""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


class Library(mesh.MeshCase):
    def setUp(self):
        super().setUp()
        self.echo = pathlib.Path(mesh.PROGRAM).parent / "tests/echo"

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

    def test_what_is_wrong_is_told(self):
        a = self.node("a")
        (a.dir / "node.yaml").write_text("listen: nowhere\n")
        for arguments, said in (((), "which directory?"), ((a.dir,), "node.yaml:1"), ((a.dir / "x",), "cannot open")):
            done = subprocess.run([self.echo, *arguments], capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    mesh.main()
