#!/usr/bin/env python3
"""The system calls of nodes under load: io_uring_enter, and memory for logs that grow."""
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

MEMORY = {"mprotect", "mmap", "munmap", "mremap", "brk", "madvise"}
SECONDS = 2  # traced


def may_trace():
    if not shutil.which("strace"):
        return "strace is not installed"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], stderr=subprocess.PIPE, check=False)
    return "" if done.returncode == 0 else f"may not trace: {done.stderr.decode(errors='replace').strip()}"


class Trace:
    """All threads of a node, from now until stop()."""

    def __init__(self, node):
        self.table = pathlib.Path(f"{node.dir}.strace")
        self.process = subprocess.Popen(["strace", "-f", "-c", "-o", self.table, "-p", str(node.process.pid)],
                                        stderr=subprocess.PIPE, bufsize=0)
        first = mesh.read_line(self.process.stderr, "strace is attached")
        assert "attached" in first, first

    def stop(self):
        """{system call: how often}"""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=mesh.PATIENCE)
        rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", self.table.read_text(), re.MULTILINE)
        return {name: int(calls) for calls, name in rows if name != "total"}


class Strace(mesh.MeshCase):
    def setUp(self):
        why_not = may_trace() if mesh.SANITIZER != "thread" else "ThreadSanitizer makes system calls of its own"
        if why_not:
            self.skipTest(why_not)
        super().setUp()

    def check(self, name, calls):
        memory = sum(count for call, count in calls.items() if call in MEMORY)
        self.assertEqual(calls.keys() - MEMORY, {"io_uring_enter"}, f"{name}: {calls}")
        self.assertGreater(calls["io_uring_enter"], 1000, f"{name} was not under load: {calls}")
        self.assertLess(memory, 0.01 * sum(calls.values()), f"{name}: {calls}")

    def test_loaded_pair(self):
        """alice publishes and sends, bob receives, stores and serves a follower. Both logs grow."""
        alice, bob = self.pair("shards.count=2", "memory.core_dumps=true")  # else only root may trace
        bob.command("subscribe", "x", "--from", "alice")
        lines = b"".join(b"%d %s\n" % (n, b"." * (n % 200)) for n in range(500))
        with alice.publishing("x", lines, pause=0.001), bob.follow("x", stdout=subprocess.DEVNULL) as follower:
            bob.wait_for("x", 10000, alice.node_id)
            mesh.eventually(lambda: bob.metrics()["admin_sent_bytes_total"] > 1000000, "the follower reads")
            before = alice.metrics(), bob.metrics()
            traces = Trace(alice), Trace(bob)
            time.sleep(SECONDS)
            calls = [trace.stop() for trace in traces]
            after = alice.metrics(), bob.metrics()
            follower.kill()
        for at, what in ((0, "published_events_total"), (0, "tx_events_total"), (1, "stored_events_total"), (1, "admin_sent_bytes_total")):
            self.assertGreater(after[at][what] - before[at][what], 10000, what)
        self.check("alice", calls[0])
        self.check("bob", calls[1])


if __name__ == "__main__":
    mesh.main()
