#!/usr/bin/env python3
"""A million lines of this machine's headers, programs and documentation, from one node to the other: complete, in order, and
without a drop; and still there when either node is killed."""
import itertools
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

EVENT_MAX = 8108  # bytes, wire.md
PLACES = ("/usr/include", "/usr/share/doc", "/usr/share/perl", "/usr/lib/python3", "/usr/lib/python3.11")
SUFFIXES = (".h", "copyright", ".pm", ".pl", ".py", ".txt")


def lines_of_this_machine():
    for place in PLACES:
        for directory, subdirectories, names in os.walk(place):
            subdirectories.sort()
            for name in sorted(names):
                path = pathlib.Path(directory, name)
                if name.endswith(SUFFIXES) and path.is_file():
                    yield from (line + b"\n" for line in path.read_bytes().split(b"\n") if len(line) <= EVENT_MAX)


class Text(mesh.MeshCase):
    def test_a_million_lines(self):
        wanted = 100000 if mesh.SANITIZER else 1000000
        text, lines = self.dir / "text", 0
        with open(text, "wb") as out:
            while lines < wanted:  # a small machine says it all again
                before = lines
                for line in itertools.islice(lines_of_this_machine(), wanted - lines):
                    out.write(line)
                    lines += 1
                self.assertGreater(lines, before, f"no text below {PLACES}")
        expected = text.read_bytes()

        alice, bob = self.pair()
        bob.command("subscribe", "text", "--from", "alice")
        answer = alice.json("publish", "text", text)
        self.assertEqual(answer, {"channel": "text", "events": wanted, "bytes": len(expected) - wanted, "first_seq": 0,
                                  "last_seq": wanted - 1})
        bob.wait_for("text", wanted, alice.node_id, seconds=60)
        for node in (alice, bob):
            self.assertEqual(node.drops(), {}, node.dir.name)
        for node in (alice, bob):
            mesh.eventually(lambda: node.raw("text") == expected, f"the file of {node.dir.name} is the same, byte for byte")
            node.kill()
            node.start()
            self.assertTrue(node.raw("text") == expected, f"the file of {node.dir.name} after kill -9")


if __name__ == "__main__":
    mesh.main()
