#!/usr/bin/env python3
"""Exact delivery under torture: a followed channel over a bad link, while both nodes are killed -9 again and again.

    tests/e2e/soak_exact.py NET_MESH [--bytes N] [--receiver-kills N] [--sender-kills N] [--loss P] [--seed N] ...

One node publishes events of many sizes, the other follows the channel from its beginning, over a link that loses, doubles and
reorders (tests/tools/link_emulator). Kills come at even shares of what has arrived. At the end both logs are read through
the program and must be the same, event for event: sequence, time, bytes, gaps. And they must be what was published: each
event that a publish answered for is there, none is twice, and their order is that of publishing. The full size, 1 GiB, ten
kills of the receiver and two of the sender, takes minutes: tests/run --soak. Exit status 77: not permitted here.
"""
import argparse
import http.client
import itertools
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import admin_client
import link
import mesh_process as mesh

SKIP = 77
CHANNEL = "soak/exact"
FOLLOW = ("--start", "earliest")
BATCH = 512 << 10  # bytes of a publish, about
AHEAD = 48 << 20  # bytes the publisher may be ahead of what has arrived: kills of the sender shall find it at work
STALLED = 120  # seconds without any progress


def size(text):
    for suffix, factor in (("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)):
        if text.endswith(suffix):
            return int(text[:-len(suffix)]) * factor
    return int(text)


class Publisher(threading.Thread):
    """Publishes events "NUMBER ......" until so many bytes are acknowledged, whatever happens to the node meanwhile."""

    def __init__(self, node, total, seed):
        super().__init__(daemon=True)
        self.node, self.total, self.random = node, total, random.Random(seed)
        self.acknowledged, self.acknowledged_bytes = [], 0  # [(first number, number behind)]
        self.arrived = 0  # bytes at the other node, about; the driver's to tell
        self.error = None
        self.start()

    def batch(self, number):
        events, total = [], 0
        while total < BATCH:
            length = self.random.choice((self.random.randrange(100), self.random.randrange(1500), self.random.randrange(8000)))
            events.append(b"%d " % (number + len(events)) + b"." * length)
            total += len(events[-1])
        return events, total

    def run(self):
        try:
            self.publish_all()
        except Exception as error:  # shown by the driver
            self.error = error

    def publish_all(self):
        number = 0
        while self.acknowledged_bytes < self.total:
            try:
                with admin_client.Admin(self.node) as admin:
                    while self.acknowledged_bytes < self.total:
                        while self.acknowledged_bytes > self.arrived + AHEAD:
                            time.sleep(0.02)
                        events, total = self.batch(number)
                        first, number = number, number + len(events)  # never again, acknowledged or not
                        admin.publish(CHANNEL, events)
                        self.acknowledged.append((first, number))
                        self.acknowledged_bytes += total
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)  # killed: it will be back


class Torture:
    def __init__(self, options, path, directory):
        self.options, self.path = options, path
        self.random = random.Random(options.seed)
        self.begin = time.monotonic()
        self.alice, self.bob = (
            mesh.Node(f"{directory}/{name}", *mesh.settings((*mesh.SHORT_TIMERS, "shards.count=1")), *psk, admin="unix:admin.sock",
                      listen=f"{link.ADDRESSES[side]}:20037", prefix=path.enter(side))
            for name, side, psk in (("alice", "a", ()), ("bob", "b", ("--psk-from", f"{directory}/alice"))))
        self.down_s = 0.0

    def say(self, text):
        print(f"{time.monotonic() - self.begin:7.1f} s  {text}", flush=True)

    def connect(self):
        self.alice.start()
        self.bob.start()
        self.alice.add_peer("bob", self.bob)
        self.bob.add_peer("alice", self.alice)
        mesh.eventually(lambda: self.bob.connected(self.alice), "the nodes are connected", 60)

    def kill(self, node):
        pause = self.random.uniform(0.1, 1)
        node.kill()
        time.sleep(pause)
        node.start()
        self.down_s += pause

    def next_seq(self, node, origin):
        try:
            with admin_client.Admin(node) as admin:
                row = admin.channel(CHANNEL, origin)
            return (row["next_seq"], row["bytes"]) if row else (0, 0)
        except (OSError, http.client.HTTPException):
            return None

    def drive(self, publisher):
        """Kills at even shares of what has arrived, until all has."""
        o = self.options
        kills = sorted([((n + 1) / (o.receiver_kills + 1), self.bob) for n in range(o.receiver_kills)] +
                       [((n + 0.5) / (o.sender_kills + 1), self.alice) for n in range(o.sender_kills)], key=lambda kill: kill[0])
        moved, last, said = time.monotonic(), (0, 0), 0.0
        while True:
            here, there = self.next_seq(self.alice, "self"), self.next_seq(self.bob, self.alice.node_id)
            if publisher.error:
                raise publisher.error
            if there and there != last:
                moved, last = time.monotonic(), there
                publisher.arrived = there[1]
            if time.monotonic() - moved > STALLED:
                raise AssertionError(f"nothing arrived for {STALLED} s: {there} of {here}")
            if kills and last[1] >= kills[0][0] * o.bytes:
                share, node = kills.pop(0)
                self.say(f"{last[1] >> 20} MiB, {last[0]} events: kill -9 {node.dir.name}")
                self.kill(node)
                moved = time.monotonic()
            elif time.monotonic() > said + 10:
                said = time.monotonic()
                self.say(f"{last[1] >> 20} of {o.bytes >> 20} MiB")
            if not publisher.is_alive() and not kills and here and here == there:
                return last
            time.sleep(0.05)

    def read(self, node, *origin):
        """The log through the program, a row a line; rows of both nodes differ in their origin alone."""
        process = subprocess.Popen([mesh.PROGRAM, "--endpoint", str(node.dir), "--output", "ndjson", "tail", CHANNEL, *origin],
                                   stdout=subprocess.PIPE)
        mine = b'"origin":"self"' if not origin else f'"origin":"{self.alice.node_id}"'.encode()
        with process.stdout:
            for line in process.stdout:
                yield line.replace(mine, b'"origin":"*"', 1)
        if process.wait() != 0:
            raise AssertionError(f"tail on {node.dir.name}: exit {process.returncode}")

    def compare(self, publisher):
        """Row for row; and each acknowledged event is there, in the order of publishing, once."""
        wanted = itertools.chain.from_iterable(range(*numbers) for numbers in publisher.acknowledged)
        want, last, rows, gaps = next(wanted, None), -1, 0, 0
        for one, other in itertools.zip_longest(self.read(self.alice), self.read(self.bob, "--origin", self.alice.node_id)):
            if one != other:
                raise AssertionError(f"the logs differ after {rows} events:\n{(one or b'(end)')[:300]}\n{(other or b'(end)')[:300]}")
            if one.startswith(b'{"gap"'):
                gaps += 1
                continue
            rows += 1
            number = int(one[one.index(b'"data":"') + 8:].split(b" ", 1)[0])
            if number <= last or (want is not None and number > want):
                raise AssertionError(f"event {number} behind {last}; next acknowledged: {want}")
            last = number
            if number == want:
                want = next(wanted, None)
        if want is not None:
            raise AssertionError(f"event {want} was acknowledged and is not in the logs")
        return rows, gaps

    def run(self):
        self.connect()
        self.bob.command("subscribe", CHANNEL, "--from", self.alice.node_id, *FOLLOW)
        publisher = Publisher(self.alice, self.options.bytes, self.options.seed)
        begin = time.monotonic()
        events, total = self.drive(publisher)
        seconds = time.monotonic() - begin
        self.say(f"all has arrived: {total} bytes, sequence {events}; {total * 8 / 1e6 / seconds:.1f} Mbit/s, {self.down_s:.1f} s of "
                 f"{seconds:.1f} somebody was down")
        rows, gaps = self.compare(publisher)
        self.say(f"the logs are identical: {rows} events, {gaps} gaps")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net_mesh")
    parser.add_argument("--bytes", type=size, default=1 << 30, help="of events (1GiB)")
    parser.add_argument("--receiver-kills", type=int, default=10)
    parser.add_argument("--sender-kills", type=int, default=2)
    parser.add_argument("--loss", default="5%")
    parser.add_argument("--duplicate", default="2%")
    parser.add_argument("--reorder", default="5%")
    parser.add_argument("--delay", default="2ms", help="one way (2ms)")
    parser.add_argument("--rate", default="500Mbit")
    parser.add_argument("--seed", type=int, default=int.from_bytes(random.randbytes(4), "big"), help="of faults, sizes and pauses")
    return parser.parse_args()


def main():
    options = parse()
    mesh.PROGRAM = str(pathlib.Path(options.net_mesh).resolve())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"seed {options.seed}", flush=True)
    try:
        path = link.Link(link.program_beside(mesh.PROGRAM), seed=options.seed, delay=options.delay, loss=options.loss,
                         duplicate=options.duplicate, reorder=options.reorder, reorder_by="3ms", rate=options.rate, queue="512KiB")
    except link.NotPermitted as reason:
        print(f"left out: {reason}")
        sys.exit(SKIP)
    with path, tempfile.TemporaryDirectory(prefix="net-mesh-soak.") as directory:
        torture = Torture(options, path, directory)
        try:
            torture.run()
            print(f"link: {path.statistics()}")
            for node in (torture.alice, torture.bob):
                if node.terminate()[0] != 0 or mesh.REPORT.search(node.stderr()):
                    raise AssertionError(f"{node.dir.name} did not end well: {node.stderr()[-3000:]}")
        except BaseException:
            for node in (torture.alice, torture.bob):
                sys.stderr.write(f"---- {node.dir.name}\n{node.stderr()[-3000:]}\n")
            raise
        finally:
            for node in (torture.alice, torture.bob):
                if node.running:
                    node.kill()


if __name__ == "__main__":
    main()
