#!/usr/bin/env python3
"""Our node and net-mesh 0.19.0: handshakes in both directions and modes, health, events both ways, who is let in.

    test_interop.py NET_MESH [unittest option…]

What a v0.19.0 node can do with a peer depends on who dialled whom, and how (session.md 8, wire.md 13.2):

    who dials            mode     reference subscribes at ours    ours subscribes at the reference
    reference            direct   yes                             yes
    ours (it accepts)    direct   yes                             yes
    reference            routed   yes                             yes
    ours                 routed   no: "unknown peer"              yes

The reference has no call that tells a peer's health. But it drops a peer that missed its heartbeats for three session
timeouts from its rosters, and publish tells to how many it went; only heartbeats count there, not data.
"""
import atexit
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

NET_MESH = ""
HERE = pathlib.Path(__file__).parent
HEARTBEAT = 0.3  # seconds, both sides
SESSION_TIMEOUT = 0.7  # seconds, both sides; the reference forgets a silent peer after three
PATIENCE = 10  # seconds for anything that should happen by itself


def free_port():
    """A port that nobody uses, for UDP and TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            return udp.getsockname()[1]


def eventually(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen in {PATIENCE} s: {what}")
        time.sleep(0.05)
    return result


def read_line(stream, seconds, what):
    if not select.select([stream], [], [], seconds)[0]:
        raise AssertionError(f"no answer in {seconds} s: {what}")
    return stream.readline()


class Refused(Exception):
    """An error that the reference raised."""


class Reference:
    """A v0.19.0 node in a process of its own."""

    def __init__(self, psk, seed, reflex=None):
        self.addr = f"127.0.0.1:{free_port()}"
        self.process = subprocess.Popen([sys.executable, str(HERE / "reference_peer.py")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, bufsize=0)
        made = self.call("open", bind=self.addr, psk=psk, seed=seed, heartbeat_ms=int(HEARTBEAT * 1000),
                         session_timeout_ms=int(SESSION_TIMEOUT * 1000), reflex=reflex)
        self.node_id, self.public_key = made["node_id"], made["public_key"]

    def begin(self, op, **arguments):
        self.process.stdin.write(json.dumps({"op": op, **arguments}).encode() + b"\n")

    def result(self, op, seconds=30):
        answer = json.loads(read_line(self.process.stdout, seconds, f"reference: {op}"))
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["ok"]

    def call(self, op, **arguments):
        self.begin(op, **arguments)
        return self.result(op)

    def poll(self, count):
        """The next `count` events, in the order in which they arrived."""
        events = []
        eventually(lambda: events.extend(self.call("poll", limit=1000)) or len(events) >= count,
                   f"{count} events at the reference")
        return events

    def publish(self, channel, text):
        """Publishes; waits for credit when there is none, as an application of the reference has to."""
        def sent():
            try:
                report = self.call("publish", channel=channel, text=text)
            except Refused as refused:
                if "backpressured" not in str(refused):
                    raise
                return False
            return report["attempted"] == 1 and report["delivered"] == 1
        eventually(sent, f"publish on {channel} reaches its one subscriber")

    def subscribers(self, channel):
        return self.call("publish", channel=channel, text="")["attempted"]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Ours:
    """A node of ours with short timers."""

    def __init__(self, directory, *settings):
        self.dir = directory
        self.addr = f"127.0.0.1:{free_port()}"
        options = [f"session.heartbeat_interval={int(HEARTBEAT * 1000)}ms",
                   f"session.session_timeout={int(SESSION_TIMEOUT * 1000)}ms", *settings]
        self.run("init", self.dir, "--listen", self.addr, "--admin", f"127.0.0.1:{free_port()}",
                 *(word for option in options for word in ("--set", option)))
        info = json.loads(self.run("node", "info", self.dir))
        self.node_id, self.public_key = info["node_id"], info["public_key"]
        self.psk = (pathlib.Path(self.dir) / "psk").read_text().strip()
        self.seed = (pathlib.Path(self.dir) / "identity").read_text().strip()
        self.log = open(f"{directory}.log", "wb")
        self.process = subprocess.Popen([NET_MESH, "node", "run", self.dir], stdout=subprocess.PIPE, stderr=self.log)
        atexit.register(self.process.kill)  # also when a test is interrupted
        ready = json.loads(read_line(self.process.stdout, PATIENCE, "our node's ready line"))
        assert ready["event"] == "ready" and ready["listen"] == self.addr, ready

    @staticmethod
    def run(*arguments, stdin=b""):
        done = subprocess.run([NET_MESH, *arguments], input=stdin, capture_output=True, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"net-mesh {' '.join(arguments)}: exit {done.returncode}: {done.stderr.decode()}")
        return done.stdout

    def command(self, *arguments, stdin=b""):
        return self.run("--endpoint", self.dir, "--output", "json", *arguments, stdin=stdin)

    def peer(self, node_id):
        """The row of `peer ls`, or None."""
        rows = json.loads(self.command("peer", "ls"))
        return next((row for row in rows if row["node_id"] == node_id), None)

    def connected(self, node_id):
        row = self.peer(node_id)
        return row is not None and row["state"] == "connected" and row["compat"] == "v0.19"

    def drops(self, reason):
        """What /metrics counts as dropped for this reason, all shards together."""
        rows = self.command("metrics").decode().splitlines()
        return sum(int(row.split()[-1]) for row in rows
                   if row.startswith("netmesh_drops_total{") and f'reason="{reason}"' in row)

    def publish(self, channel, events):
        self.command("publish", channel, stdin="".join(event + "\n" for event in events).encode())

    def tail(self, channel, origin, count):
        out = self.command("tail", channel, "--origin", origin, "--follow", "--count", str(count), "--raw")
        return out.decode().splitlines()

    def stop(self):
        """Returns the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.log.close()


class Case(unittest.TestCase):
    PSK = "42" * 32

    def reference(self, psk=PSK, seed=None, reflex=None):
        peer = Reference(psk, seed or os.urandom(32).hex(), reflex)
        self.addCleanup(peer.kill)
        return peer

    def learns_address(self, dialler, seed, psk, addr):
        """Lets `dialler` learn the address of the node with this seed, as an announcement relayed by the mesh would tell
        it: from a short-lived node with the same identity. What connect_routed then dials is `addr`."""
        twin = self.reference(psk, seed, reflex=addr)
        twin.begin("accept", node_id=dialler.node_id)
        dialler.call("connect", addr=twin.addr, public_key=twin.public_key, node_id=twin.node_id)
        twin.result("accept")
        twin.call("start")
        dialler.call("start")
        twin.call("announce")
        time.sleep(0.3)
        twin.kill()


class BetweenReferences(Case):
    """What this test takes for granted about the reference."""

    def test_direct(self):
        a, b = self.reference(), self.reference()
        b.begin("accept", node_id=a.node_id)
        a.call("connect", addr=b.addr, public_key=b.public_key, node_id=b.node_id)
        b.result("accept")
        a.call("start")
        b.call("start")
        for publisher, subscriber in ((a, b), (b, a)):
            self.assertEqual(publisher.call("peer_count"), 1)
            publisher.call("register", channel="some/channel")
            subscriber.call("subscribe", publisher=publisher.node_id, channel="some/channel")
            publisher.publish("some/channel", "hello")
            self.assertEqual(subscriber.poll(1), ["hello"])

        time.sleep(3 * SESSION_TIMEOUT + 3 * HEARTBEAT)
        self.assertEqual(a.subscribers("some/channel"), 1, "heartbeats keep the subscriber")
        b.kill()
        eventually(lambda: a.subscribers("some/channel") == 0, "a dead peer is dropped from the roster")

    def test_routed(self):
        a, b = self.reference(), self.reference(seed="07" * 32)
        b.call("start")
        self.learns_address(a, "07" * 32, self.PSK, b.addr)
        a.call("connect_routed", public_key=b.public_key, node_id=b.node_id)
        for publisher, subscriber in ((a, b), (b, a)):
            publisher.call("register", channel="some/channel")
            self.assertEqual(publisher.call("peer_count"), 1)
        a.call("subscribe", publisher=b.node_id, channel="some/channel")
        b.publish("some/channel", "hello")
        self.assertEqual(a.poll(1), ["hello"])
        with self.assertRaisesRegex(Refused, "unknown peer"):
            b.call("subscribe", publisher=a.node_id, channel="some/channel")


class WithOurs(Case):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="net-mesh-interop.")
        self.addCleanup(shutil.rmtree, self.dir)

    def ours(self, *settings):
        node = Ours(f"{self.dir}/ours", *settings)

        def stop():
            status = node.stop()
            if status != 0:
                print(pathlib.Path(f"{self.dir}/ours.log").read_text(errors="replace")[-4000:], file=sys.stderr)
            self.assertEqual(status, 0, "exit status of our node")
        self.addCleanup(stop)
        return node

    def reference_takes_ours(self, ours, peer):
        """The reference subscribes to a channel of ours and gets its events, 1 MiB, in order. streams.md 19 (53)."""
        peer.call("subscribe", publisher=ours.node_id, channel="from/ours")
        events = [f"event {number} of ours " + "." * 520 for number in range(2000)]
        ours.publish("from/ours", events)
        self.assertEqual(peer.poll(len(events)), events)

    def ours_takes_reference(self, ours, peer):
        """We subscribe to a channel of the reference and get its events, 1 MiB, in order. streams.md 19 (53)."""
        peer.call("register", channel="from/reference")
        ours.command("subscribe", "from/reference", "--from", peer.node_id)
        events = [f"event {number} of the reference " + "." * 1040 for number in range(1000)]
        for event in events:
            peer.publish("from/reference", event)
        self.assertEqual(ours.tail("from/reference", peer.node_id, len(events)), events)

    def stays_healthy(self, ours, peer):
        """For 3 heartbeats and longer than the reference waits for one, with no other traffic. `from/reference` has us as
        its subscriber."""
        time.sleep(3 * SESSION_TIMEOUT + 3 * HEARTBEAT)
        self.assertTrue(ours.connected(peer.node_id), ours.peer(peer.node_id))
        self.assertEqual(peer.call("peer_count"), 1)
        self.assertEqual(peer.subscribers("from/reference"), 1)

    def test_reference_dials_direct(self):
        ours = self.ours()
        peer = self.reference(ours.psk)
        ours.command("peer", "add", "reference", "--node-id", peer.node_id, "--compat", "v0.19", "--mode", "direct")
        peer.call("connect", addr=ours.addr, public_key=ours.public_key, node_id=ours.node_id)
        peer.call("start")
        eventually(lambda: ours.connected(peer.node_id), "connected")
        self.reference_takes_ours(ours, peer)
        self.ours_takes_reference(ours, peer)
        self.stays_healthy(ours, peer)

    def test_ours_dials_direct(self):
        ours = self.ours()
        peer = self.reference(ours.psk)
        peer.begin("accept", node_id=ours.node_id)
        ours.command("peer", "add", "reference", "--node-id", peer.node_id, "--addr", peer.addr, "--public-key",
                     peer.public_key, "--compat", "v0.19", "--mode", "direct")
        self.assertEqual(peer.result("accept"), ours.addr)
        peer.call("start")
        eventually(lambda: ours.connected(peer.node_id), "connected")
        self.reference_takes_ours(ours, peer)
        self.ours_takes_reference(ours, peer)
        self.stays_healthy(ours, peer)

    def test_reference_dials_routed(self):
        ours = self.ours()
        peer = self.reference(ours.psk)
        ours.command("peer", "add", "reference", "--node-id", peer.node_id, "--compat", "v0.19")
        self.learns_address(peer, ours.seed, ours.psk, ours.addr)
        peer.call("connect_routed", public_key=ours.public_key, node_id=ours.node_id)
        eventually(lambda: ours.connected(peer.node_id), "connected")
        self.reference_takes_ours(ours, peer)
        self.ours_takes_reference(ours, peer)
        self.stays_healthy(ours, peer)

    def test_ours_dials_routed(self):
        ours = self.ours()
        peer = self.reference(ours.psk)
        peer.call("start")
        ours.command("peer", "add", "reference", "--node-id", peer.node_id, "--addr", peer.addr, "--public-key",
                     peer.public_key, "--compat", "v0.19", "--mode", "routed")
        eventually(lambda: ours.connected(peer.node_id), "connected")
        self.ours_takes_reference(ours, peer)
        self.stays_healthy(ours, peer)
        with self.assertRaisesRegex(Refused, "unknown peer"):
            peer.call("subscribe", publisher=ours.node_id, channel="from/ours")

    def test_compat_lets_in_a_peer_without_entry(self):
        ours = self.ours("security.sessions=compat")
        peer = self.reference(ours.psk)
        self.learns_address(peer, ours.seed, ours.psk, ours.addr)
        peer.call("connect_routed", public_key=ours.public_key, node_id=ours.node_id)
        eventually(lambda: ours.connected(peer.node_id), "connected")
        self.assertIsNone(ours.peer(peer.node_id)["name"])
        self.reference_takes_ours(ours, peer)

    def test_secure_refuses_a_peer_without_entry(self):
        ours = self.ours()
        peer = self.reference(ours.psk)
        self.learns_address(peer, ours.seed, ours.psk, ours.addr)
        with self.assertRaisesRegex(Refused, "traversal: transport"):
            peer.call("connect_routed", public_key=ours.public_key, node_id=ours.node_id)
        self.assertIsNone(ours.peer(peer.node_id))
        self.assertGreater(ours.drops("handshake_gate"), 0)

    def test_other_psk_is_refused(self):
        ours = self.ours("security.sessions=compat")
        peer = self.reference(self.PSK)
        self.learns_address(peer, ours.seed, self.PSK, ours.addr)
        with self.assertRaisesRegex(Refused, "traversal: transport"):
            peer.call("connect_routed", public_key=ours.public_key, node_id=ours.node_id)
        self.assertIsNone(ours.peer(peer.node_id))
        self.assertGreater(ours.drops("handshake_invalid"), 0)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    NET_MESH = os.path.abspath(sys.argv.pop(1))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    unittest.main(verbosity=2)
