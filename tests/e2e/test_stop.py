#!/usr/bin/env python3
"""A stop while the disk hangs: it ends by its deadline, or at once when told twice, and loses nothing acknowledged."""
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


class HangingDisk:
    """A node's directory on a file system of its own that only the node sees, and that can be frozen: whoever writes
    then waits in the kernel, and no signal ends that."""

    def __init__(self, case, node):
        image, copy = f"{node.dir}.image", f"{node.dir}.copy"
        script = (f"truncate -s 64M {image}; mkfs.ext4 -q -F {image}; mv {node.dir} {copy}; mkdir -m 0700 {node.dir}; "
                  f"mount -o loop {image} {node.dir}; cp -a {copy}/. {node.dir}; echo mounted; exec sleep infinity")
        self.holder = subprocess.Popen(["unshare", "--mount", "sh", "-ec", script], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, bufsize=0)
        case.addCleanup(self.release)
        if mesh.read_line(self.holder.stdout, "the disk is mounted") != "mounted\n":
            case.skipTest(f"cannot mount a file: {self.holder.stderr.read().decode()}")
        self.dir, self.frozen = node.dir, False
        node.prefix = self.enter = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt"]
        node.command = lambda *arguments, **options: mesh.run(*self.enter[1:], mesh.PROGRAM, "--endpoint", node.dir,
                                                              *arguments, program=self.enter[0], **options)
        case.addCleanup(lambda: self.frozen and self.thaw())

    def freeze(self):
        subprocess.run([*self.enter, "fsfreeze", "-f", self.dir], check=True)
        self.frozen = True

    def thaw(self):
        subprocess.run([*self.enter, "fsfreeze", "-u", self.dir], check=True)
        self.frozen = False

    def release(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        self.holder.stderr.close()


@mesh.needs_namespaces
@unittest.skipUnless(shutil.which("fsfreeze") and shutil.which("mkfs.ext4"), "needs fsfreeze and mkfs.ext4")
class Hanging(mesh.MeshCase):
    def start(self, *values):
        """A node with a thousand acknowledged events, and one publish that the disk does not answer."""
        a = self.node("a", "shards.count=2", *values)
        disk = HangingDisk(self, a)
        a.start()
        lines = [f"{n} {'.' * 100}" for n in range(1000)]
        self.assertEqual(a.publish("x", lines)["events"], 1000)
        disk.freeze()
        publisher = subprocess.Popen([*disk.enter, mesh.PROGRAM, "--endpoint", a.dir, "publish", "x"], stdin=subprocess.PIPE,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        publisher.stdin.write(b"never acknowledged\n")
        publisher.stdin.close()
        self.addCleanup(publisher.stderr.close)
        self.addCleanup(publisher.wait)
        mesh.eventually(lambda: a.metrics()["published_events_total"] == 1001, "it waits for the disk")
        return a, disk, publisher, lines

    def setUp(self):
        if mesh.SANITIZER:
            self.skipTest("what the kernel holds is never freed, and sanitizers see that")
        super().setUp()

    def check_given_up(self, a, disk, publisher, lines):
        mesh.eventually(lambda: "logs were not closed" in a.stderr(), "it says what is left undone")
        self.assertIn("giving up the stop", a.stderr())
        self.assertIsNone(a.process.poll(), "the kernel holds the process for as long as the disk hangs")
        mesh.eventually(lambda: "did not stop within stop.timeout" in a.stderr(), "and with what it ends")
        disk.thaw()
        self.assertEqual(a.wait(), (1, b""))
        self.assertNotEqual(publisher.wait(mesh.PATIENCE), 0)
        a.start()
        self.assertEqual(a.raw("x").decode().splitlines()[:1000], lines)

    def test_it_ends_at_the_deadline(self):
        a, *rest = self.start("stop.timeout=2s")
        started = time.monotonic()
        a.process.send_signal(signal.SIGTERM)
        mesh.eventually(lambda: "giving up the stop" in a.stderr(), "the deadline")
        self.assertGreater(time.monotonic() - started, 1.5)
        self.check_given_up(a, *rest)

    def test_told_twice_it_ends_at_once(self):
        a, *rest = self.start("stop.timeout=1h")
        a.process.send_signal(signal.SIGTERM)
        mesh.eventually(lambda: "stopping: " in a.stderr(), "it stops")
        self.assertNotIn("giving up", a.stderr())
        a.process.send_signal(signal.SIGTERM)
        self.check_given_up(a, *rest)

    def test_a_disk_that_comes_back_in_time(self):
        a, disk, publisher, lines = self.start()
        a.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        self.assertIsNone(a.process.poll())
        disk.thaw()
        self.assertEqual(a.wait(), (0, b""))
        self.assertEqual(publisher.wait(mesh.PATIENCE), 0, publisher.stderr.read())
        a.start()
        self.assertEqual(a.raw("x").decode().splitlines(), lines + ["never acknowledged"])


class Twice(mesh.MeshCase):
    def test_under_load_it_ends_cleanly(self):
        """Whatever is under way when the node gives up, it is let go, and nothing acknowledged is lost."""
        a = self.node("a", "shards.count=3")
        lines = b"".join(b"%d %s\n" % (n, b"." * 200) for n in range(500))
        acknowledged = 0
        for _ in range(3):
            a.start()
            acknowledged += a.publish("x", ["y"] * 100)["events"]
            with a.publishing("x", lines), a.publishing("other", lines):
                a.lines("other", 1)
                a.process.send_signal(signal.SIGTERM)
                a.process.send_signal(signal.SIGTERM)
                status, rest = a.wait()
            self.assertIn(status, (0, 1), a.stderr()[-3000:])
            self.assertEqual(rest, b"")
        a.start()
        self.assertGreaterEqual(a.raw("x").count(b"y\n"), acknowledged)


if __name__ == "__main__":
    mesh.main()
