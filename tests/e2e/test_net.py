#!/usr/bin/env python3
"""Two nodes in network namespaces of their own, joined by a virtual Ethernet cable: MTU 1500, IPv4 and IPv6, with and without
segmentation by the kernel. Whether a datagram was larger than the path is seen in the kernel's count of fragments."""
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

EVENT_MAX = 8108  # bytes, wire.md
ADDRESSES = {4: ("10.31.0.1", "10.31.0.2"), 6: ("[fd31::1]", "[fd31::2]")}
PORT = 20037


class Machine:
    """A network namespace; it goes when the test ends."""

    def __init__(self, case):
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo made; exec sleep infinity"], stdout=subprocess.PIPE,
                                       bufsize=0)
        case.addCleanup(self.release)
        assert mesh.read_line(self.holder.stdout, "the namespace is made") == "made\n"
        self.enter = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]

    def release(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()

    def ip(self, *arguments):
        mesh.run(*self.enter[1:], "ip", *arguments, program=self.enter[0])

    def count(self, family, name):
        """A counter of this machine's kernel, as in FragCreates: IP packets made by fragmenting larger ones."""
        net = pathlib.Path(f"/proc/{self.holder.pid}/net")
        if family == 6:
            return next(int(line.split()[1]) for line in (net / "snmp6").read_text().splitlines() if line.split()[0] == f"Ip6{name}")
        names, values = [line.split() for line in (net / "snmp").read_text().splitlines() if line.startswith("Ip:")]
        return int(values[names.index(name)])


@mesh.needs_namespaces
@unittest.skipUnless(shutil.which("ip"), "needs ip, of iproute2")
class Cable(mesh.MeshCase):
    def setUp(self):
        super().setUp()
        self.machines = [Machine(self), Machine(self)]
        self.machines[0].ip("link", "add", "eth0", "mtu", 1500, "type", "veth", "peer", "name", "eth0", "mtu", 1500, "netns",
                            self.machines[1].holder.pid)
        for at, machine in enumerate(self.machines):
            machine.ip("address", "add", f"{ADDRESSES[4][at]}/24", "dev", "eth0")
            machine.ip("address", "add", f"{ADDRESSES[6][at][1:-1]}/64", "dev", "eth0", "nodad")
            for link in ("lo", "eth0"):
                machine.ip("link", "set", link, "up")

    def connect(self, family, *values):
        """alice and bob, each on its machine; bob has subscribed to x. The admin ports are sockets in the file system."""
        alice, bob = None, None
        for name, machine, address in zip(("alice", "bob"), self.machines, ADDRESSES[family]):
            bob = self.node(name, *mesh.SHORT_TIMERS, *values, psk_from=alice, admin="unix:admin.sock",
                            listen=f"{address}:{PORT}", prefix=machine.enter)
            bob.start()
            alice = alice or bob
        self.introduce(alice, bob)
        bob.command("subscribe", "x", "--from", "alice")
        return alice, bob

    def fragments(self, family):
        return self.machines[0].count(family, "FragCreates")

    def send(self, alice, bob, events):
        first = alice.publish("x", events)["first_seq"]
        bob.wait_for("x", first + len(events), alice.node_id)
        self.assertEqual(bob.raw("x", "--start", first).decode().splitlines(), events)
        for node in (alice, bob):
            self.assertEqual(node.drops(), {}, node.dir.name)

    def exchange(self, family, *values):
        alice, bob = self.connect(family, *values)
        largest = 1500 - (28 if family == 4 else 48)
        before = alice.metrics()
        self.send(alice, bob, [f"{n} {'.' * (n % 1300)}" for n in range(5000)])
        after = alice.metrics()
        sent, size = (after[name] - before[name] for name in ("tx_datagrams_total", "tx_bytes_total"))
        self.assertLessEqual(size / sent, largest)
        self.assertGreater(size / sent, largest / 2, "and not much smaller, either")
        self.assertEqual(self.fragments(family), 0, "no datagram is larger than the path")
        self.send(alice, bob, ["m" * size for size in (1391, 1392, 1393, 1472, 1500, 4000, EVENT_MAX - 1, EVENT_MAX)] * 20)
        self.assertEqual(self.fragments(family), 0, "larger events go in fragments of ours, not of IP's")
        return alice, bob

    def test_ipv4(self):
        alice, bob = self.exchange(4)
        self.assertTrue(alice.json("status")["transport"]["gso"])
        alice.command("subscribe", "y", "--from", "bob")
        bob.publish("y", ["and back"])
        self.assertEqual(alice.lines("y", 1), ["and back"])

    def test_ipv6(self):
        self.exchange(6)

    def without_offloads(self, family):
        for node in self.exchange(family, "transport.gso=false", "transport.gro=false"):
            transport = node.json("status")["transport"]
            self.assertEqual((transport["gso"], transport["gro"]), (False, False))

    def test_ipv4_without_offloads(self):
        self.without_offloads(4)

    def test_ipv6_without_offloads(self):
        self.without_offloads(6)

    def test_a_path_that_shrinks(self):
        """The kernel refuses buffers of the old size: they go as plain datagrams, in pieces, and nothing is lost."""
        alice, bob = self.connect(4)
        events = [f"{n} {'.' * (n % 1300)}" for n in range(3000)]
        self.send(alice, bob, events)
        for machine in self.machines:
            machine.ip("link", "set", "eth0", "mtu", 1300)
        first = alice.publish("x", events)["first_seq"]
        bob.wait_for("x", first + len(events), alice.node_id)
        # What the kernel refused is sent again, behind what it took meanwhile: an overtaken datagram is first counted as lost.
        self.assertEqual(sorted(bob.raw("x", "--start", first).decode().splitlines()), sorted(events))
        self.assertLessEqual(alice.drops().keys() | bob.drops().keys(), {"drops_total:lost_in_network"})
        self.assertGreater(self.fragments(4), 0)

    def test_a_cable_that_is_pulled(self):
        alice, bob = self.connect(6)
        self.send(alice, bob, ["before"])
        self.machines[0].ip("link", "set", "eth0", "down")
        mesh.eventually(lambda: not alice.connected(bob) and not bob.connected(alice), "both notice")
        alice.publish("x", ["missed"])
        self.machines[0].ip("link", "set", "eth0", "up")
        self.machines[0].ip("address", "replace", f"{ADDRESSES[6][0][1:-1]}/64", "dev", "eth0", "nodad")
        mesh.eventually(lambda: alice.connected(bob) and (alice.channel("x") or {})["subscribers"] == 1, "bob asked again")
        alice.publish("x", ["after"])
        mesh.eventually(lambda: bob.raw("x").endswith(b"after\n"), "it goes on")


if __name__ == "__main__":
    mesh.main()
