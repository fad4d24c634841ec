#!/usr/bin/env python3
"""A full disk and one that is read-only: what cannot be stored is refused with the reason, nothing acknowledged is lost,
reading goes on, the node lives, and when there is space again it goes on by itself."""
import contextlib
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

NO_SPACE = "no space left on the disk"
READ_ONLY = "read-only, or not permitted"


class SmallDisk:
    """A node's directory on a small disk of its own, which only the node sees. It goes when the test ends, not with the node."""

    def __init__(self, case, node, size):
        copy = f"{node.dir}.copy"
        script = (f"cp -a {node.dir} {copy}; mount -t tmpfs -o mode=0700,size={size} none {node.dir}; cp -a {copy}/. {node.dir}; "
                  "echo mounted; exec sleep infinity")
        self.holder = subprocess.Popen(["unshare", "--mount", "sh", "-ec", script], stdout=subprocess.PIPE, bufsize=0)
        case.addCleanup(self.release)
        assert mesh.read_line(self.holder.stdout, "the disk is mounted") == "mounted\n"
        node.prefix = self.enter = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt"]
        self.dir = pathlib.Path(f"/proc/{self.holder.pid}/root{node.dir}")

    def release(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()

    def command(self, *arguments, **options):
        return mesh.run(*self.enter[1:], *arguments, program=self.enter[0], **options)

    def mount(self, *arguments):
        self.command("mount", *arguments)

    def fill(self):
        with contextlib.suppress(OSError), open(self.dir / "filler", "wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        free = os.statvfs(self.dir).f_bfree
        assert free == 0, f"{free} blocks are free still"

    def free(self):
        (self.dir / "filler").unlink()


def numbered(first, count, size=1000):
    return [f"{number} {'.' * size}" for number in range(first, first + count)]


@mesh.needs_namespaces
class FullDisk(mesh.MeshCase):
    def setUp(self):
        super().setUp()
        self.a = self.node("a", "shards.count=2", "channels.publish_timeout=1s")
        self.disk = SmallDisk(self, self.a, "8m")
        self.a.start()

    def refused(self, channel, *options, data=b"y\n"):
        """What publish said was stored before it failed for want of space."""
        done = self.a.command("--output", "json", "publish", channel, *options, stdin=data, status=1)
        self.assertRegex(done.stderr.decode(), rf"\Anet-mesh: stdin:\d+: {NO_SPACE}\n\Z")
        return json.loads(done.stdout)

    def has(self, expected, channel="x"):
        """The log begins with these events, under the sequences from 0 on. Behind them may be a hole: one that was refused,
        and of which only a part found its place."""
        rows = self.a.rows(channel)
        self.assertEqual([(row["seq"], row["data"]) for row in rows[:len(expected)]], list(enumerate(expected)))

    def test_publish(self):
        acknowledged = numbered(0, 10)
        self.a.publish("x", acknowledged)
        self.a.publish("other", ["z"])
        self.disk.fill()
        self.refused("x", data=b"b" * 8000 + b"\n")  # waits for its write, for publish_timeout
        for options in ((), ("--durable",)):
            self.refused("x", *options)  # the log is known to have no room
        self.refused("new")
        self.assertEqual(self.a.channel("x")["error"], "no_space")
        self.assertEqual([problem["code"] for problem in self.a.json("status")["problems"]], ["disk_full"])
        self.assertIn(f"channel=x the log cannot be written: {NO_SPACE}", self.a.stderr())
        self.assertIn(f"channel=new the log cannot be opened: {NO_SPACE}", self.a.stderr())
        self.has(acknowledged)
        self.assertEqual(self.a.raw("other"), b"z\n")
        follower = self.a.follow("x", "--start", 9, "--raw", output="text")
        self.assertEqual(mesh.read_line(follower.stdout, "an event"), acknowledged[9] + "\n")
        follower.kill()
        follower.communicate()
        self.disk.free()
        mesh.eventually(lambda: not self.a.channel("x")["error"], "the log can be written again")
        self.assertEqual(self.a.json("status")["problems"], [])
        self.assertIn("channel=x the log is written again", self.a.stderr())
        after = self.a.publish("x", ["after"])
        self.a.publish("new", ["after"], "--durable")
        rows = self.a.rows("x")
        self.a.kill()
        self.a.start()
        self.has(acknowledged)
        self.assertEqual(self.a.rows("x"), rows)
        self.assertEqual(rows[-1]["seq"], after["last_seq"])
        self.assertEqual(rows[-1]["data"], "after")
        self.assertEqual(self.a.raw("new"), b"after\n")

    def test_a_flood_of_failures_is_a_few_lines(self):
        """Whoever may publish cannot fill the log of the node with what does not work."""
        self.a.terminate()
        self.a.start("logging.rate=1")
        self.disk.fill()
        summary = f"more lines like this one were suppressed: the log cannot be opened: {NO_SPACE}"
        mesh.eventually(lambda: self.refused("new") and summary in self.a.stderr(), "they are summed up")
        self.assertRegex(self.a.stderr(), rf"error shard=\d channel=new the log cannot be opened: {NO_SPACE}\n")

    def test_the_disk_fills_while_publishing(self):
        """Killed while its disk is full: all that was acknowledged is there."""
        events = numbered(0, 12000)
        answer = self.refused("x", data="".join(f"{event}\n" for event in events).encode())
        self.assertGreater(answer["events"], 0)
        self.assertEqual((answer["first_seq"], answer["last_seq"]), (0, answer["events"] - 1))
        self.has(events[:answer["events"]])
        self.a.kill()
        self.disk.mount("-o", "remount,size=32m", self.a.dir)
        self.a.start()
        self.has(events[:answer["events"]])
        self.a.publish("x", ["after"])
        self.assertEqual(self.a.rows("x")[-1]["data"], "after")

    def test_a_start(self):
        """While the disk is full: what is there can be read, what comes is refused, and is not when there is space again."""
        acknowledged = numbered(0, 10)
        self.a.publish("x", acknowledged)
        self.disk.fill()
        for _ in range(2):
            self.a.kill()
            self.a.start()
            self.has(acknowledged)
        self.refused("x", data=b"b" * 8000 + b"\n")
        self.disk.free()
        mesh.eventually(lambda: not self.a.channel("x")["error"], "the log can be written again")
        self.a.publish("x", ["after"])

    def test_no_room_for_a_new_generation(self):
        """What retention gives up cannot be freed, for it takes a copy of what is kept: it leaves nothing behind, says so,
        and is done when there is room."""
        self.a.terminate()
        self.a.start("channels.retention_bytes=1MiB")
        events = numbered(0, 1700)
        self.a.publish("x", events)
        self.disk.fill()
        with open(self.disk.dir / "filler", "r+b") as filler:
            filler.truncate((self.disk.dir / "filler").stat().st_size - 700 * 1024)
        events += (more := numbered(1700, 500))
        self.a.publish("x", more)
        mesh.eventually(lambda: "channel=x what the log no longer retains cannot be freed on disk: " + NO_SPACE in self.a.stderr(),
                        "it is tried")
        root = self.disk.dir / "redex/x"
        mesh.eventually(lambda: [path.name for path in root.glob("v*")] == ["v0000000001"], "it is given up")
        events += (more := numbered(2200, 20))
        self.a.publish("x", more)
        self.disk.free()
        mesh.eventually(lambda: self.a.publish("x", []) and [path.name for path in root.glob("v*")] == ["v0000000002"],
                        "there is room", seconds=20)
        first = self.a.channel("x")["first_seq"]
        self.assertEqual([row["data"] for row in self.a.rows("x")], events[first:])
        self.assertEqual(self.a.metrics()["log_compaction_failures_total"], 1)

    def test_an_orderly_stop(self):
        acknowledged = numbered(0, 10)
        self.a.publish("x", acknowledged)
        self.disk.fill()
        self.refused("x", data=b"b" * 8000 + b"\n")
        self.a.command("shutdown")
        self.assertEqual(self.a.wait(), (0, b""))
        self.disk.free()
        self.a.start()
        self.has(acknowledged)
        self.a.publish("x", ["after"])

    def test_peers_yaml(self):
        """The change is made, the file stays as it was, and both are said."""
        b, c = self.node("b"), self.node("c")
        self.a.add_peer("b", b)
        before = (self.disk.dir / "peers.yaml").read_text()
        self.disk.fill()
        error = self.a.fails(1, "peer", "add", "c", "--addr", c.listen, "--node-id", c.node_id, "--public-key", c.public_key)
        self.assertIn("peers.yaml", error)
        self.assertIn("holds until the node stops", error)
        self.assertEqual((self.disk.dir / "peers.yaml").read_text(), before)
        self.assertEqual({row["name"] for row in self.a.json("peer", "ls")}, {"b", "c"})
        self.disk.free()
        self.a.command("peer", "rm", "b")
        self.a.kill()
        self.a.start()
        self.assertEqual({row["name"] for row in self.a.json("peer", "ls")}, {"c"}, "the next save has it")


@mesh.needs_namespaces
class FullSubscriber(mesh.MeshCase):
    def test_nothing_is_lost(self):
        """What has no place on the disk yet waits in memory, and the publisher for credit."""
        alice = self.node("alice", *mesh.SHORT_TIMERS)
        bob = self.node("bob", *mesh.SHORT_TIMERS, "shards.count=2", psk_from=alice)
        disk = SmallDisk(self, bob, "16m")
        alice.start()
        bob.start()
        self.introduce(alice, bob)
        events = numbered(0, 3000)
        bob.command("subscribe", "x", "--from", "alice")
        alice.publish("x", events[:10])
        bob.wait_for("x", 10, alice.node_id)
        disk.fill()
        alice.publish("x", events[10:])
        mesh.eventually(lambda: bob.channel("x", alice.node_id)["error"] == "no_space", "the disk is full")
        bob.wait_for("x", 3000, alice.node_id)
        self.assertLess(len(bob.rows("x")), 3000, "shown is what is written")
        self.assertIn("peers.yaml", bob.fails(1, "subscribe", "new", "--from", "alice", "--live"))
        mesh.eventually(lambda: (alice.channel("new") or {"subscribers": 0})["subscribers"] == 1, "it holds all the same")
        alice.publish("new", ["has no log"])
        mesh.eventually(lambda: bob.drops() == {"drops_total:no_log": 1}, "counted")
        disk.free()
        self.assertEqual(bob.lines("x", 3000), events)
        mesh.eventually(lambda: alice.publish("new", ["after"]) and bob.channel("new", alice.node_id), "the log is made")
        self.assertEqual(bob.lines("new", 1), ["after"])
        bob.kill()
        bob.start()
        self.assertEqual(bob.lines("x", 3000), events)


@mesh.needs_namespaces
class ReadOnly(mesh.MeshCase):
    def setUp(self):
        super().setUp()
        self.a = self.node("a", "shards.count=2")
        self.disk = SmallDisk(self, self.a, "8m")

    def test_a_directory_of_channels(self):
        """One that is read-only while its neighbours are not: its channels are refused, the others work."""
        (self.disk.dir / "redex/sealed").mkdir()
        sealed = self.a.dir / "redex/sealed"
        self.disk.mount("--bind", sealed, sealed)
        self.disk.mount("-o", "remount,bind,ro", sealed)
        self.a.start()
        self.a.publish("open", ["1"])
        self.assertIn(READ_ONLY, self.a.fails(1, "publish", "sealed/x", stdin=b"2\n"))
        self.assertIn(READ_ONLY, self.a.fails(1, "publish", "sealed/x", "--durable", stdin=b"2\n"))
        self.assertIsNone(self.a.channel("sealed/x"))
        self.a.publish("open", ["3"])
        self.assertEqual(self.a.raw("open"), b"1\n3\n")
        self.disk.mount("-o", "remount,bind,rw", sealed)
        self.a.publish("sealed/x", ["4"])
        self.a.kill()
        self.a.start()
        self.assertEqual(self.a.raw("sealed/x"), b"4\n")

    def test_at_start(self):
        """Logs that cannot be written are not served as if they could: refused, and nothing is touched."""
        self.a.start()
        self.a.publish("x", ["1", "2"])
        self.a.kill()
        for place in (self.a.dir / "redex", self.a.dir):
            self.disk.mount("--bind", place, place)
            self.disk.mount("-o", "remount,bind,ro", place)
            done = self.disk.command(mesh.PROGRAM, "node", "run", self.a.dir, status=1)
            self.assertRegex(done.stderr.decode(), rf"\Anet-mesh: {place}/[^\n]*[Rr]ead-only[^\n]*\n\Z")
            self.assertEqual(done.stdout, b"")
            self.disk.command("umount", place)
        self.a.start()
        self.assertEqual(self.a.raw("x"), b"1\n2\n")


if __name__ == "__main__":
    mesh.main()
