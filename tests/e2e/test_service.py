#!/usr/bin/env python3
"""A node as a service: what its manager is told, and its unit file."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

UNIT = pathlib.Path(__file__).parents[2] / "deploy/systemd/net-mesh@.service.in"


class Manager:
    """Sits where systemd would."""

    def __init__(self, case, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name.replace("@", "\0", 1))
        self.name = name
        case.addCleanup(self.socket.close)

    def env(self, **more):
        return {**os.environ, "NOTIFY_SOCKET": self.name, **more}

    def receive(self, seconds=None):
        """The next datagram as {name: value}, or None."""
        self.socket.settimeout(seconds or mesh.PATIENCE)
        try:
            text = self.socket.recv(4096).decode()
        except TimeoutError:
            return None
        return dict(line.split("=", 1) for line in text.split("\n"))

    def next_but_watchdog(self):
        while (told := self.receive()) == {"WATCHDOG": "1"}:
            pass
        return told

    def pings(self, seconds):
        count, until = 0, time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            told = self.receive(left)
            assert told in (None, {"WATCHDOG": "1"}), told
            count += told is not None
        return count


class Notify(mesh.MeshCase):
    def test_a_life(self):
        for kind, name in (("path", str(self.dir / "notify")), ("abstract", f"@net-mesh-e2e-{os.getpid()}")):
            with self.subTest(kind):
                manager = Manager(self, name)
                a = self.node(kind, "shards.count=2")
                a.start(env=manager.env())
                told = manager.receive()
                self.assertEqual(told["READY"], "1")
                self.assertIn(a.listen, told["STATUS"])
                before = time.monotonic_ns() // 1000
                a.process.send_signal(signal.SIGHUP)
                told = manager.receive()
                self.assertEqual(told["RELOADING"], "1")
                self.assertLess(abs(int(told["MONOTONIC_USEC"]) - before), 10**6 * mesh.PATIENCE)
                self.assertEqual(manager.receive(), {"READY": "1"})
                self.assertEqual(a.terminate(), (0, b""))
                self.assertEqual(manager.receive()["STOPPING"], "1")
                self.assertIsNone(manager.receive(0.1))

    def test_watchdog_of_an_idle_node(self):
        """Shards that sleep are well: they are woken to show it."""
        manager = Manager(self, str(self.dir / "notify"))
        a = self.node("a", "shards.count=3")
        a.start(env=manager.env(WATCHDOG_USEC="400000"))
        self.assertEqual(manager.receive()["READY"], "1")
        pings = manager.pings(2)
        self.assertGreaterEqual(pings, 5, "one in each 400 ms, where two are due")
        self.assertLessEqual(pings, 2 / 0.1 + 2)
        a.terminate()

    def test_watchdog_of_another_process(self):
        manager = Manager(self, str(self.dir / "notify"))
        a = self.node("a")
        a.start(env=manager.env(WATCHDOG_USEC="200000", WATCHDOG_PID="1"))
        self.assertEqual(manager.receive()["READY"], "1")
        self.assertIsNone(manager.receive(1))

    def test_a_shard_that_hangs(self):
        manager = Manager(self, str(self.dir / "notify"))
        a = self.node("a")
        a.command_line = [pathlib.Path(mesh.PROGRAM).parent / "tests/stall", a.dir]
        a.start(env=manager.env(WATCHDOG_USEC="400000"))
        self.assertEqual(manager.receive()["READY"], "1")
        self.assertGreater(manager.pings(1), 3)
        (a.dir / "stall").touch()
        manager.pings(0.5)  # those on their way
        self.assertEqual(manager.pings(1.5), 0, "one of three shards hangs")
        self.assertEqual(a.json("status")["node_id"], a.node_id, "the others do not")
        (a.dir / "stall").unlink()
        mesh.eventually(lambda: manager.pings(0.5) > 0, "it goes on")
        self.assertEqual(a.terminate(), (0, b""))
        self.assertEqual(manager.next_but_watchdog()["STOPPING"], "1")

    def test_a_manager_that_does_not_listen(self):
        manager = Manager(self, str(self.dir / "notify"))
        a = self.node("a")
        a.start(env=manager.env(WATCHDOG_USEC="20000"))  # nobody takes any: the socket is soon full
        time.sleep(1)
        self.assertEqual(a.publish("x", ["y"])["events"], 1)
        self.assertEqual(a.terminate(), (0, b""))
        a.start(env={**os.environ, "NOTIFY_SOCKET": str(self.dir / "nowhere")})


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
class Unit(mesh.MeshCase):
    def setUp(self):
        """The unit as installed, with the program where it is here."""
        super().setUp()
        text = UNIT.read_text()
        self.assertIn("ExecStart=@CMAKE_INSTALL_FULL_BINDIR@/net-mesh ", text)
        self.unit = self.dir / "net-mesh@.service"
        self.unit.write_text(text.replace("@CMAKE_INSTALL_FULL_BINDIR@/net-mesh", mesh.PROGRAM))

    def test_valid(self):
        instance = self.dir / "net-mesh@a.service"
        instance.symlink_to(self.unit)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", instance], capture_output=True, text=True, check=False)
        mine = [line for line in done.stderr.splitlines() if "net-mesh" in line]
        self.assertEqual(mine, [])

    def test_exposure_is_below_2(self):
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", self.unit],
                              capture_output=True, text=True, check=True)
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
        self.assertTrue(found, done.stdout + done.stderr)
        self.assertLess(float(found.group(1)), 2.0, done.stdout)

    def allowed_calls(self):
        """What the lines of SystemCallFilter= come to, one after the other (systemd.exec(5))."""
        sets, name = {}, None
        listing = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True)
        for line in listing.stdout.splitlines():
            if line.startswith("@"):
                name = line.strip()
                sets[name] = set()
            elif name and (word := line.strip()) and not word.startswith("#"):
                sets[name].add(word)

        def resolve(word):
            return set().union(*map(resolve, sets[word])) if word.startswith("@") else {word}
        allowed = resolve("@default")
        for words in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.M):
            named = set().union(*(resolve(word) for word in words.lstrip("~").split()))
            allowed = allowed - named if words.startswith("~") else allowed | named
        return allowed

    @unittest.skipUnless(shutil.which("strace"), "strace is not installed")
    def test_the_filter_lets_the_node_live(self):
        """All calls of a node from its first to its last, with what takes more of the system than the default does."""
        if mesh.SANITIZER:
            self.skipTest("sanitizers make system calls of their own")
        trace = self.dir / "trace"
        more = ("shards.count=2", "shards.pin=true", "memory.lock=true")
        a = self.node("a", *mesh.SHORT_TIMERS, *more)
        b = self.node("b", *mesh.SHORT_TIMERS, psk_from=a, admin="unix:admin.sock")
        a.prefix = b.prefix = ["strace", "-f", "-A", "-o", str(trace)]
        for node in (a, b):
            node.start()
        self.introduce(a, b)
        b.command("subscribe", "x", "--from", "a")
        a.publish("x", ["y"] * 1000, "--durable")
        b.lines("x", 1000)
        for node in (a, b):
            child = pathlib.Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children").read_text()
            os.kill(int(child), signal.SIGHUP)
            node.command("status")
            node.command("shutdown")
            node.wait()
        text = trace.read_text(errors="replace")
        calls = set(re.findall(r"^\d+ +(\w+)\(", text, re.M)) - {"execve"}
        self.assertIn("io_uring_enter", calls)
        self.assertEqual(calls - self.allowed_calls(), set())
        families = set(re.findall(r"^\d+ +socket\((AF_\w+)", text, re.M))
        allowed = re.search(r"^RestrictAddressFamilies=(.*)$", UNIT.read_text(), re.M).group(1).split()
        self.assertLessEqual(families, set(allowed))
        self.assertNotRegex(text, r"PROT_[A-Z|_]*WRITE\|PROT_EXEC", "MemoryDenyWriteExecute")

    def test_the_manager_is_more_patient_than_the_node(self):
        seconds = int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.M).group(1))
        self.assertGreater(seconds, 30 + 10, "stop.timeout, and what the end of the process takes")


if __name__ == "__main__":
    mesh.main()
