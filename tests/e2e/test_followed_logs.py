#!/usr/bin/env python3
"""Logs have names, and what was followed is a log of its own: on disk, listed, and read by what the user asks for."""
import pathlib
import re
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


def log_id(directory):
    return (directory / "log.id").read_text()


class Names(mesh.MeshCase):
    def test_a_log_keeps_its_name_and_a_new_one_has_another(self):
        a = self.node("a", "channels.retention_bytes=64KiB")
        a.start()
        a.publish("x", ["one"])
        a.publish("x/y", ["one"])
        root = a.dir / "redex" / "x"
        first = log_id(root)
        self.assertRegex(first, r"\A[0-9a-f]{32}\n\Z")
        self.assertNotEqual(log_id(root / "y"), first)
        for _ in range(8):  # enough for new generations
            a.publish("x", ["." * 1000] * 1024)
        a.kill()
        a.start()
        a.terminate()
        self.assertGreater(int(next(root.glob("v*")).name[1:]), 1)
        self.assertEqual(log_id(root), first)
        shutil.rmtree(root)
        a.start()
        a.publish("x", ["one"])
        self.assertNotEqual(log_id(root), first)

    def test_a_log_from_before_names_gets_one(self):
        a = self.node("a")
        a.start()
        a.publish("x", ["one", "two"])
        a.terminate()
        (a.dir / "redex" / "x" / "log.id").unlink()
        a.start()
        self.assertEqual(a.raw("x"), b"one\ntwo\n")
        self.assertRegex(log_id(a.dir / "redex" / "x"), r"\A[0-9a-f]{32}\n\Z")


class Followed(mesh.MeshCase):
    """A log that is followed is a copy of the publisher's, in a directory of its own: here the copies are made by hand."""

    def all(self, node, channel, *options):
        return node.raw(channel, *options).decode().splitlines()

    def refused(self, node, channel, *options):
        done = node.command("tail", channel, *options, status=None)
        self.assertNotEqual(done.returncode, 0)
        return done.stderr.decode()

    def test_which_log_is_read(self):
        alice, bob = self.node("alice"), self.node("bob", "shards.count=2")
        alice.start()
        for channel in ("x", "x/y", "z"):
            alice.publish(channel, [f"{channel} {i}" for i in range(5)])
        alice.terminate()
        bob.start()
        bob.add_peer("alice", alice)
        bob.terminate()
        follow = bob.dir / "redex-follow" / alice.node_id
        live = bob.dir / "redex-from" / alice.node_id
        for directory in (follow / "x", follow / "x~1", live / "x"):  # x/y is inside of x
            shutil.copytree(alice.dir / "redex" / "x", directory)
        shutil.copytree(alice.dir / "redex" / "z", follow / "z")
        shutil.copytree(alice.dir / "redex" / "z", follow / "w")
        (follow / "w" / "log.id").unlink()  # nobody knows of what it would be a copy
        bob.start()
        rows = sorted((row["channel"], row["edition"] or 0, row["source"], row["next_seq"]) for row in bob.json("channel", "ls"))
        self.assertEqual(rows, [("x", 0, "live", 5), ("x", 1, "earlier", 5), ("x", 2, "followed", 5),
                                ("x/y", 0, "live", 5), ("x/y", 1, "followed", 5), ("z", 1, "followed", 5)])
        table = bob.command("--output", "table", "channel", "ls").stdout.decode()
        self.assertRegex(table, r"CHANNEL +ORIGIN +SOURCE +EDITION +LOG")
        self.assertRegex(table, r"(?m)^x +alice +followed +2 +disk")

        expected = [f"x {i}" for i in range(5)]
        self.assertEqual(self.all(bob, "x"), expected)
        for log in ("followed", "live", "1", "2"):
            self.assertEqual(self.all(bob, "x", "--origin", "alice", "--log", log), expected)
        self.assertIn("no log", self.refused(bob, "x", "--origin", "alice", "--log", "3"))
        self.assertIn("no log", self.refused(bob, "z", "--log", "live"))
        self.assertIn("log must be", self.refused(bob, "x", "--log", "0"))
        bob.publish("x", ["mine"])
        self.assertIn("say origin=", self.refused(bob, "x"))
        self.assertEqual(self.all(bob, "x", "--log", "followed"), expected)
        self.assertEqual(self.all(bob, "x", "--origin", "self"), ["mine"])

        metrics = bob.command("metrics").stdout.decode()
        series = re.findall(rf'(?m)^netmesh_channel_next_seq(\{{channel="x",origin="{alice.node_id}".*\}}) 5$', metrics)
        self.assertEqual(len(series), 2, series)
        self.assertEqual(sum('log="followed"' in labels for labels in series), 1, series)


if __name__ == "__main__":
    mesh.main()
