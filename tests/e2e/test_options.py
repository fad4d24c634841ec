#!/usr/bin/env python3
"""What settings of node.yaml do to a running node: logs, shards, memory, keys, packets, limits."""
import pathlib
import re
import shutil
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


def numbered(count, size=300):
    return [f"{number} {'.' * (number % size)}" for number in range(count)]


class Logs(mesh.MeshCase):
    def test_memory(self):
        a = self.node("a", "channels.log=memory", "shards.count=2")
        a.start()
        lines = numbered(3000)
        a.publish("x", lines)
        a.publish("x", ["durable as far as it goes"], "--durable")
        self.assertEqual(a.raw("x").decode().splitlines(), lines + ["durable as far as it goes"])
        self.assertEqual(a.channel("x")["log"], "memory")
        self.assertEqual(list((a.dir / "redex").iterdir()), [], "nothing on the disk")
        a.terminate()
        a.start()
        self.assertIsNone(a.channel("x"))
        self.assertEqual(a.publish("x", ["new"])["first_seq"], 0)

    def test_none(self):
        """Only what readers have still to get is kept, and publishers wait for it: nothing is lost, however small it is."""
        alice = self.node("alice", *mesh.SHORT_TIMERS, "channels.log=none", "channels.none_bytes=512KiB", "shards.count=2")
        bob = self.node("bob", *mesh.SHORT_TIMERS, psk_from=alice)
        alice.start()
        bob.start()
        self.introduce(alice, bob)
        alice.publish("x", ["to nobody"])
        self.assertEqual(alice.raw("x"), b"")
        lines = numbered(50000)
        for channel in ("x", "y", "z"):  # owned by either shard; bob is at home on one of them
            bob.command("subscribe", channel, "--from", "alice")
            self.assertEqual(alice.publish(channel, lines)["events"], len(lines))
            self.assertEqual(bob.lines(channel, len(lines)), lines)
        for node in (alice, bob):
            self.assertEqual(node.drops(), {}, node.dir.name)
        self.assertEqual(alice.channel("x")["log"], "none")
        self.assertEqual(list((alice.dir / "redex").iterdir()), [])

    def test_limit_of_channels(self):
        a = self.node("a", "limits.channels=3", "shards.count=1")
        a.start()
        for number in range(3):
            a.publish(f"c/{number}", ["x"])
        self.assertIn("limit", a.fails(1, "publish", "c/3", stdin=b"x\n"))
        a.publish("c/0", ["y"])
        self.assertEqual(len(a.json("channel", "ls")), 3)

    def test_limits_of_peers(self):
        alice, bob = self.pair("limits.peers=2", "limits.channels_per_peer=2", "shards.count=1")
        alice.command("peer", "add", "c", "--node-id", "0x1111", "--compat", "v0.19")
        self.assertIn("limits.peers", alice.fails(1, "peer", "add", "d", "--node-id", "0x2222", "--compat", "v0.19"))
        for channel in ("x", "y"):
            bob.command("subscribe", channel, "--from", "alice")
        self.assertIn("refused", bob.fails(1, "subscribe", "z", "--from", "alice"))
        bob.command("unsubscribe", "x", "--from", "alice")
        mesh.eventually(lambda: bob.command("subscribe", "z", "--from", "alice", status=None).returncode == 0, "there is room")


class Machine(mesh.MeshCase):
    def threads(self, node, what):
        """A line of /proc/PID/task/TID/status for each shard; other threads are the kernel's workers, which have the name
        of the thread that made them for a moment."""
        found = []
        for status in pathlib.Path(f"/proc/{node.process.pid}/task").glob("*/status"):
            text = status.read_text()
            if not re.search(r"^Name:\s+iou-", text, re.MULTILINE):
                found.append(re.search(rf"^{what}:\s+(.*)$", text, re.MULTILINE)[1])
        return found

    def test_pinned_spinning_shards(self):
        if mesh.SANITIZER == "thread":
            self.skipTest("ThreadSanitizer has a thread of its own")
        a = self.node("a", "shards.count=2", "shards.cpus=[0]", "shards.pin=true", "shards.spin=50us")
        a.start()
        mesh.eventually(lambda: self.threads(a, "Cpus_allowed_list") == ["0", "0"], "workers have their own names")
        lines = numbered(1000)
        a.publish("x", lines)
        self.assertEqual(a.raw("x").decode().splitlines(), lines)

    def test_many_shards(self):
        alice, bob = self.pair("shards.count=16")
        lines = numbered(500)
        for number in range(20):
            bob.command("subscribe", f"c/{number}", "--from", "alice")
            alice.publish(f"c/{number}", lines)
        for number in range(20):
            self.assertEqual(bob.lines(f"c/{number}", 500), lines)
        self.assertEqual(bob.json("status")["shards"], 16)
        for node in (alice, bob):
            self.assertEqual(node.drops(), {}, node.dir.name)

    @unittest.skipUnless(shutil.which("setpriv") and shutil.which("prlimit"), "needs setpriv and prlimit, of util-linux")
    def test_memory_lock_is_never_fatal(self):
        """Whatever the machine allows: the node runs, opens logs, and lets them grow."""
        if mesh.SANITIZER:
            self.skipTest("a sanitizer's shadow is not for locking")
        without_privilege = ("setpriv", "--bounding-set=-ipc_lock")
        prefixes = [(), *(("prlimit", f"--memlock={limit << 20}", *without_privilege) for limit in (8, 64, 1024))]
        for at, prefix in enumerate(prefixes):
            if mesh.run(*prefix[1:], "true", program=prefix[0], status=None).returncode if prefix else 0:
                continue  # a limit that we may not set
            with self.subTest(prefix):
                a = self.node(f"a{at}", "memory.lock=true", "shards.count=2", prefix=prefix)
                a.start()
                lines = numbered(20000)
                for channel in ("x", "y", "z"):
                    a.publish(channel, lines)
                    self.assertEqual(a.raw(channel).decode().splitlines(), lines)


class Sessions(mesh.MeshCase):
    def test_rekey(self):
        """New keys once a second, under load: nothing is lost, nothing changes its order."""
        alice, bob = self.pair("session.rekey_interval=1s", "shards.count=2")
        bob.command("subscribe", "x", "--from", "alice")
        confirmed = alice.metrics()["handshakes_total:confirmed"]
        lines, deadline = numbered(200), time.monotonic() + 3.5
        published = 0
        while time.monotonic() < deadline:
            alice.publish("x", lines)
            published += 1
        self.assertGreaterEqual(alice.metrics()["handshakes_total:confirmed"], confirmed + 2)
        self.assertEqual(bob.lines("x", published * len(lines)), lines * published)
        for node in (alice, bob):  # where two handshakes crossed, the confirmations of the one that lost are dropped
            self.assertLessEqual(node.drops().keys(), {"drops_total:unknown_session"}, node.dir.name)

    def test_cipher(self):
        """What both accept is used: one side without AES is enough."""
        alice = self.node("alice", *mesh.SHORT_TIMERS)
        bob = self.node("bob", *mesh.SHORT_TIMERS, "security.ciphers=[chacha20-poly1305]", psk_from=alice)
        carol = self.node("carol", *mesh.SHORT_TIMERS, psk_from=alice)
        for node in (alice, bob, carol):
            node.start()
        self.introduce(alice, bob, carol)
        self.assertIn("aes_gcm", alice.peer(carol.node_id)["features"])
        self.assertNotIn("aes_gcm", alice.peer(bob.node_id)["features"])
        lines = numbered(2000)
        for node in (bob, carol):
            node.command("subscribe", "x", "--from", "alice")
        alice.publish("x", lines)
        for node in (bob, carol):
            self.assertEqual(node.lines("x", 2000), lines)

    def test_datagram_size(self):
        """Loopback takes large datagrams; max_datagram says otherwise."""
        sizes = {}
        for setting in ("auto", "1200"):
            alice, bob = self.pair_named(setting, f"transport.max_datagram={setting}")
            bob.command("subscribe", "x", "--from", "alice")
            before = alice.metrics()
            lines = numbered(5000)
            alice.publish("x", lines)
            self.assertEqual(bob.lines("x", 5000), lines)
            after = alice.metrics()
            sizes[setting] = (after["tx_bytes_total"] - before["tx_bytes_total"]) / (
                after["tx_datagrams_total"] - before["tx_datagrams_total"])
        self.assertLessEqual(sizes["1200"], 1200)
        self.assertGreater(sizes["auto"], 1500)

    def pair_named(self, name, *values):
        alice = self.node(f"alice-{name}", *mesh.SHORT_TIMERS, *values)
        bob = self.node(f"bob-{name}", *mesh.SHORT_TIMERS, *values, psk_from=alice)
        alice.start()
        bob.start()
        for one, other, called in ((alice, bob, "bob"), (bob, alice, "alice")):
            one.add_peer(called, other)
        mesh.eventually(lambda: alice.connected(bob) and bob.connected(alice), "connected")
        return alice, bob

    def test_max_lag(self):
        """A live subscriber that falls behind skips ahead, and what it skipped is counted."""
        alice, bob = self.pair("channels.max_lag=1000", "shards.count=1")
        bob.command("subscribe", "x", "--from", "alice", "--live")
        bob.process.send_signal(19)  # SIGSTOP
        try:
            alice.publish("x", [f"{number} {'.' * 500}" for number in range(10000)])
        finally:
            bob.process.send_signal(18)  # SIGCONT
        alice.publish("x", ["last"])
        mesh.eventually(lambda: bob.raw("x").endswith(b"last\n"), "the last event arrives")
        numbers = [int(line.split()[0]) for line in bob.raw("x").decode().splitlines()[:-1]]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertGreater(alice.drops()["drops_total:subscriber_lag"], 0)
        lost = alice.drops()["drops_total:subscriber_lag"] + bob.drops().get("drops_total:lost_in_network", 0)
        self.assertEqual(len(numbers) + lost, 10000)


if __name__ == "__main__":
    mesh.main()
