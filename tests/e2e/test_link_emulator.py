#!/usr/bin/env python3
"""The link emulator's figures against what sockets at its ends see. What can be counted is counted, and must be what the
emulator says, to the packet; shares must be what was asked for within five standard deviations; times are bounded generously."""
import json
import os
import pathlib
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import link
import mesh_process as mesh

HEADERS = 28  # of IPv4 and UDP
SO_NO_CHECK, SO_RCVBUFFORCE = 11, 33


class Receiver(threading.Thread):
    """Takes datagrams until none came for a while; notes when each came."""

    def __init__(self, sock, silence=0.5):
        super().__init__(daemon=True)
        self.sock, self.silence = sock, silence
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.sent_all = threading.Event()
        self.packets = []  # (time, bytes)
        self.start()

    def run(self):
        while True:
            finished = self.sent_all.is_set()
            if select.select([self.sock], [], [], self.silence)[0]:
                self.packets.append((time.monotonic(), self.sock.recv(65536)))
            elif finished:
                return

    def numbers(self):
        return [int.from_bytes(data[:4], "big") for _, data in self.packets]


def payload(number, size):
    return number.to_bytes(4, "big") * (size // 4)


class Emulator(unittest.TestCase):
    def link(self, **options):
        try:
            made = link.Link(link.program_beside(mesh.PROGRAM), **options)
        except link.NotPermitted as reason:
            self.skipTest(str(reason))
        self.addCleanup(made.close)
        return made

    def send(self, a_link, count, size=100, pause=0.0, no_checksum=False):
        """Numbered datagrams from A to B, and what came; the statistics are of these alone."""
        a, b = a_link.socket("a"), a_link.socket("b")
        self.addCleanup(a.close)
        self.addCleanup(b.close)
        if no_checksum:
            a.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        a.connect(b.getsockname())
        receiver = Receiver(b)
        for number in range(count):
            a.send(payload(number, size))
            if pause:
                time.sleep(pause)
            elif number % 100 == 99:
                time.sleep(0.001)  # the emulator has to keep up: its device's queue is not part of the link
        receiver.sent_all.set()
        receiver.join()
        found = a_link.end()["a_to_b"]
        self.assertEqual((found["offered"], found["offered_bytes"]), (count, count * (size + HEADERS)))
        self.assertEqual((found["device_dropped"], found["overflowed"], found["on_the_way"]), (0, 0, 0))
        self.assertEqual(found["delivered"], count - found["lost"] - found["queue_dropped"] + found["duplicated"])
        return receiver, found

    def assert_share(self, happened, of, share):
        deviation = (of * share * (1 - share)) ** 0.5
        self.assertAlmostEqual(happened, of * share, delta=5 * deviation)

    def test_no_faults(self):
        receiver, found = self.send(self.link(), 5000)
        self.assertEqual(receiver.numbers(), list(range(5000)))
        self.assertTrue(all(data == payload(number, 100) for number, (_, data) in enumerate(receiver.packets)))
        self.assertEqual([found[key] for key in ("lost", "queue_dropped", "duplicated", "corrupted", "reordered", "refused")],
                         [0] * 6)

    def round_trips(self, a_link, count):
        a, b = a_link.socket("a"), a_link.socket("b")
        times = []
        with a, b:
            for number in range(count):
                begin = time.monotonic()
                a.sendto(payload(number, 64), b.getsockname())
                self.assertTrue(select.select([b], [], [], mesh.PATIENCE)[0])
                data, sender = b.recvfrom(100)
                arrived = time.monotonic()
                b.sendto(data, sender)
                self.assertTrue(select.select([a], [], [], mesh.PATIENCE)[0])
                a.recv(100)
                times.append((arrived - begin, time.monotonic() - arrived))
        return zip(*times)

    def test_delay_of_each_direction(self):
        forth, back = self.round_trips(self.link(delay="20ms,5ms"), 30)
        for times, delay in ((forth, 0.020), (back, 0.005)):
            self.assertGreaterEqual(min(times), delay)
            self.assertLess(statistics.median(times), delay + 0.010)

    def test_jitter(self):
        """Uniform between delay - jitter and delay + jitter, and in order."""
        a_link = self.link(delay="20ms", jitter="15ms", seed=3)
        forth, _ = self.round_trips(a_link, 60)
        self.assertGreaterEqual(min(forth), 0.005)
        self.assertLess(min(forth), 0.012, "60 times not in the lowest fifth: one in a million")
        self.assertGreater(max(forth), 0.028)
        a_link.close()
        receiver, _ = self.send(self.link(delay="20ms", jitter="15ms"), 2000)
        self.assertEqual(receiver.numbers(), list(range(2000)))

    def test_loss(self):
        for share in (0.01, 0.2):
            receiver, found = self.send(self.link(loss=f"{share:%}"), 20000, size=40)
            self.assertEqual(len(receiver.packets), 20000 - found["lost"])
            self.assertEqual(receiver.numbers(), sorted(set(receiver.numbers())))
            self.assert_share(found["lost"], 20000, share)

    def test_loss_of_one_direction(self):
        a_link = self.link(loss="0,100%")
        a, b = a_link.socket("a"), a_link.socket("b")
        with a, b:
            for _ in range(10):
                a.sendto(b"there", b.getsockname())
                b.settimeout(mesh.PATIENCE)
                self.assertEqual(b.recv(100), b"there")
                b.sendto(b"back", a.getsockname())
            self.assertEqual(select.select([a], [], [], 0.2)[0], [])
        self.assertEqual(a_link.end()["b_to_a"]["lost"], 10)

    def test_seed(self):
        def lost(seed):
            receiver, _ = self.send(self.link(loss="10%", seed=seed), 3000, size=40)
            return set(range(3000)) - set(receiver.numbers())
        first, again, other = lost(7), lost(7), lost(8)
        self.assertEqual(first, again)
        self.assertLess(len(first & other), len(first) / 2)

    def test_duplicates(self):
        receiver, found = self.send(self.link(duplicate="10%"), 10000)
        numbers = receiver.numbers()
        self.assertEqual(len(numbers) - len(set(numbers)), found["duplicated"])
        self.assertEqual(set(numbers), set(range(10000)))
        self.assert_share(found["duplicated"], 10000, 0.1)

    def test_corruption(self):
        """Without a checksum of UDP's, what is changed behind the headers arrives. In IP's header the kernel finds it; in UDP's
        it is another port's, another length, or a checksum that was not there."""
        receiver, found = self.send(self.link(corrupt="20%"), 10000, size=200, no_checksum=True)
        intact = [number for number, (_, data) in zip(receiver.numbers(), receiver.packets)
                  if number < 10000 and data == payload(number, 200)]
        self.assertEqual(len(intact), len(set(intact)))
        self.assert_share(found["corrupted"], 10000, 0.2)
        changed = len(receiver.packets) - len(intact)
        # A source port that changed does not show: 2 bytes of 228. The rest of the headers takes away what it hits.
        hidden = len(intact) - (10000 - found["corrupted"])
        self.assertGreaterEqual(hidden, 0)
        self.assert_share(changed, found["corrupted"], 200 / 228)
        for data in (data for _, data in receiver.packets if len(data) == 200):
            number = max(set(words := [data[i:i + 4] for i in range(0, 200, 4)]), key=words.count)
            self.assertLessEqual(sum((x ^ y).bit_count() for x, y in zip(data, number * 50)), 1, "one bit is changed")

    def test_checksums_find_corruption(self):
        receiver, found = self.send(self.link(corrupt="20%"), 3000)
        self.assertEqual(len(receiver.packets), 3000 - found["corrupted"])
        self.assertEqual(receiver.numbers(), [n for n, (_, data) in zip(receiver.numbers(), receiver.packets)
                                              if data == payload(n, 100)])

    def test_reordering(self):
        """Overtaken packets come after a later one: each, when the next is sent well within the time they take longer."""
        receiver, found = self.send(self.link(delay="5ms", reorder="10%", reorder_by="50ms"), 4000, pause=0.0002)
        latest, overtaken = -1, 0
        for number in receiver.numbers():
            overtaken += number < latest
            latest = max(latest, number)
        self.assertEqual(sorted(receiver.numbers()), list(range(4000)))
        self.assert_share(found["reordered"], 4000, 0.1)
        # The last ones have nobody behind them, and a pause of the sender's may be longer.
        self.assertLessEqual(overtaken, found["reordered"])
        self.assertGreater(overtaken, found["reordered"] * 0.8)

    def test_rate_and_queue(self):
        """A flood: what arrives has the rate, and what is dropped is what the queue could not take."""
        count, size, rate, queue = 3000, 1172, 20e6, 120000
        receiver, found = self.send(self.link(rate="20Mbit", queue=queue), count, size=size)
        self.assertEqual(len(receiver.packets), count - found["queue_dropped"])
        self.assertGreater(found["queue_dropped"], 0)
        self.assertGreaterEqual(len(receiver.packets), queue // (size + HEADERS))
        # It was full: less was free than a packet wants. What the namespaces say to each other by themselves is in it, too.
        self.assertGreater(found["queue_peak_bytes"], queue - (size + HEADERS))
        self.assertLessEqual(found["queue_peak_bytes"], queue)
        times = [when for when, _ in receiver.packets]
        measured = (len(times) - 1) * (size + HEADERS) * 8 / (times[-1] - times[0])
        self.assertAlmostEqual(measured, rate, delta=rate * 0.1)

    def test_tcp_at_the_rate(self):
        a_link = self.link(rate="50Mbit", delay="2ms", queue="256KiB")
        listener, client = a_link.socket("b", socket.SOCK_STREAM), a_link.socket("a", socket.SOCK_STREAM, bound=False)
        self.addCleanup(listener.close)
        self.addCleanup(client.close)
        listener.listen()
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        self.addCleanup(server.close)
        total = 12 << 20
        sender = threading.Thread(target=client.sendall, args=(bytes(total),), daemon=True)
        sender.start()
        begin = got = 0
        while got < total:
            server.settimeout(mesh.PATIENCE)
            got += len(server.recv(1 << 20))
            if not begin and got > total // 4:
                begin, already = time.monotonic(), got
        rate = (total - already) * 8 / (time.monotonic() - begin)
        sender.join()
        self.assertLess(rate, 50e6)
        self.assertGreater(rate, 50e6 * 0.7, "1448 bytes of 1500, and some losses")

    def test_both_directions_and_ipv6(self):
        a_link = self.link(delay="1ms")
        sockets = {}
        for side in "ab":
            with a_link.inside(side):
                sockets[side] = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            self.addCleanup(sockets[side].close)
            sockets[side].settimeout(mesh.PATIENCE)
            sockets[side].bind((f"fd77::{'ab'.index(side) + 1}", 0))
        sockets["a"].sendto(b"six", sockets["b"].getsockname())
        data, sender = sockets["b"].recvfrom(100)
        sockets["b"].sendto(data, sender)
        self.assertEqual(sockets["a"].recv(100), b"six")
        found = a_link.end()
        self.assertEqual([found[way]["delivered"] for way in ("a_to_b", "b_to_a")], [1, 1])


class Program(unittest.TestCase):
    """Its command line, its ends."""

    def run_it(self, *words, **options):
        return subprocess.run([link.program_beside(mesh.PROGRAM), *words], capture_output=True, text=True, timeout=60, check=False,
                              **options)

    def setUp(self):
        self.names = [f"nm-{os.getpid()}-{side}" for side in "xy"]
        self.addCleanup(self.assert_gone)

    def assert_gone(self):
        for name in self.names:
            self.assertFalse(os.path.exists(f"/run/netns/{name}"), name)

    def need_permission(self):
        done = self.run_it(*self.names, "--", "true")
        if done.returncode == link.NOT_PERMITTED:
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_help(self):
        done = self.run_it("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ("--delay", "--jitter", "--loss", "--duplicate", "--corrupt", "--reorder", "--rate", "--queue", "--seed"):
            self.assertIn(f"  {word} ", done.stdout)

    def test_refused(self):
        for word, value in (("delay", "10"), ("delay", "10ms,"), ("loss", "101%"), ("loss", "-1%"), ("loss", "1%,2%,3%"),
                            ("rate", "fast"), ("queue", "1TB"), ("seed", "x"), ("mtu", "100"), ("reorder-by", "61s")):
            done = self.run_it(f"--{word}={value}", *self.names)
            self.assertEqual(done.returncode, 2, (word, value))
            self.assertRegex(done.stderr, rf"\Alink_emulator: --{word}: found [^\n]*, allowed: [^\n]+\n\Z")
        for words in ((), ("x",), ("x", "x"), ("x", "y", "z"), ("x", "y", "--"), ("x/y", "z"), ("--unknown", "x", "y")):
            self.assertEqual(self.run_it(*words).returncode, 2, words)

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to be somebody else")
    def test_not_permitted(self):
        done = self.run_it(*self.names, user=65534, group=65534, extra_groups=())
        self.assertEqual(done.returncode, link.NOT_PERMITTED)
        self.assertIn("needs root", done.stderr)

    def test_command(self):
        self.need_permission()
        script = "ip -o address show dev link0; exit 7"
        done = self.run_it("--loss=50%", *self.names, "--", "sh", "-c", script)
        self.assertEqual(done.returncode, 7)
        self.assertIn("10.77.0.1/24", done.stdout)
        self.assertEqual([json.loads(line)["event"] for line in done.stderr.splitlines()], ["ready", "statistics"])
        self.assertEqual(self.run_it(*self.names, "--", "/nonexistent").returncode, 127)

    def test_namespaces_that_exist_stay(self):
        self.need_permission()
        mesh.run("netns", "add", self.names[0], program="ip")
        try:
            self.assertEqual(self.run_it(*self.names, "--", "true").returncode, 0)
            self.assertTrue(os.path.exists(f"/run/netns/{self.names[0]}"))
            self.assertFalse(os.path.exists(f"/run/netns/{self.names[1]}"))
        finally:
            mesh.run("netns", "delete", self.names[0], program="ip")

    def test_signals(self):
        self.need_permission()
        a_link = link.Link(link.program_beside(mesh.PROGRAM))
        self.names = list(a_link.names.values())
        with a_link:
            mesh.run("netns", "exec", self.names[1], "ip", "address", "show", "dev", "link0", program="ip")
            self.assertEqual(a_link.statistics()["event"], "statistics")
            self.assertEqual(a_link.end()["event"], "statistics")
            self.assertEqual(a_link.process.wait(mesh.PATIENCE), 0)


if __name__ == "__main__":
    mesh.main()
