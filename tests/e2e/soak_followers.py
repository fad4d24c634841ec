#!/usr/bin/env python3
"""Many followers of one channel, half of them stalled: the publisher's memory stays flat.

    tests/e2e/soak_followers.py NET_MESH [--followers N] [--bytes N] [--rate N]

Every follower is a node, a process of its own with one shard, on an address of its own of the loopback network. When all have
begun to follow, half are stopped (SIGSTOP), and events of 1 KiB are published at a steady rate. The publisher keeps 8 MiB of
its log, so what a follower misses for long is trimmed: a gap it is told of. The publisher's resident memory must not exceed the
median of the first half of that time by more than 5 %, 2 MiB, and what late acknowledgements may need on a busy machine
(limits.unacknowledged, here a window for each follower). Then the stalled go on, and every
follower's log must reach the publisher's end. The full size, 1,000 followers and 208 MiB, takes minutes: tests/run --soak.
"""
import argparse
import pathlib
import resource
import shutil
import signal
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import admin_client
import mesh_process as mesh
import soak_exact

CHANNEL = "soak/followers"
EVENT = 1024
WINDOW = 64 << 10  # bytes
SMALL = ("shards.count=1", "shards.ring_bytes=1MiB", "transport.socket_buffer=256KiB", f"transport.window={WINDOW}")
START = 120  # seconds for all to begin
FINISH = 300  # seconds for all to reach the end


def resident(node):
    """Bytes."""
    for line in pathlib.Path(f"/proc/{node.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the publisher is gone")


class Crowd:
    def __init__(self, options, directory):
        self.options, self.directory = options, pathlib.Path(directory)
        self.begin = time.monotonic()
        self.publisher = mesh.Node(self.directory / "publisher", *mesh.settings((
            "shards.count=1", "channels.retention_bytes=8MiB", f"limits.unacknowledged={options.followers * WINDOW}",
            "limits.pending_handshakes=4096", "limits.channels=256")),
            admin="unix:admin.sock")
        self.followers = []

    def say(self, text):
        print(f"{time.monotonic() - self.begin:7.1f} s  {text}", flush=True)

    def follower(self, number):
        node = mesh.Node(self.directory / str(number), *mesh.settings((*SMALL, "channels.retention_bytes=1MiB")), "--psk-from",
                         self.publisher.dir, admin="unix:admin.sock", listen=f"127.77.{number // 250}.{number % 250 + 1}:20037")
        self.followers.append(node)
        return node

    def subscribers(self):
        return sum(row["channel"] == CHANNEL for row in self.publisher_admin.request("GET", "/v1/subscribers"))

    def gather(self):
        """The first asks by commands; the others have its peers.yaml from the beginning."""
        self.publisher.start()
        self.publisher_admin = admin_client.Admin(self.publisher)
        self.publish(4)
        first = self.follower(0)
        first.start()
        first.add_peer("publisher", self.publisher)
        mesh.eventually(lambda: first.connected(self.publisher), "the first is connected")
        first.command("subscribe", CHANNEL, "--from", "publisher", "--start", "earliest")
        for number in range(1, self.options.followers):
            shutil.copy(first.dir / "peers.yaml", self.follower(number).dir)
            self.followers[-1].spawn()
        for node in self.followers[1:]:
            mesh.read_line(node.process.stdout, f"the ready line of {node.dir}", START)
        mesh.eventually(lambda: self.subscribers() == self.options.followers, "all follow", START)
        self.say(f"{self.options.followers} follow; the publisher has {resident(self.publisher) >> 20} MiB")

    def publish(self, events):
        return self.publisher_admin.publish(CHANNEL, [b"." * EVENT] * events)

    def flood(self):
        """(seconds, resident bytes) over the time of publishing."""
        samples, begin, sent, said = [], time.monotonic(), 0, 0.0
        while sent < self.options.bytes:
            self.publish(128)
            sent += 128 * EVENT
            now = time.monotonic() - begin
            samples.append((now, resident(self.publisher)))
            if now > said + 10:
                said = now
                self.say(f"{sent >> 20} MiB published, {samples[-1][1] >> 20} MiB resident")
            time.sleep(max(0, sent / self.options.rate - now))
        return samples

    def check_flat(self, samples):
        half = samples[-1][0] / 2
        first, peak = statistics.median(size for when, size in samples if when < half), max(size for _, size in samples)
        self.say(f"the publisher's memory: {first / 2**20:.1f} MiB, and not more than {peak / 2**20:.1f} MiB")
        if peak > first * 1.05 + (2 << 20) + self.options.followers * WINDOW:
            raise AssertionError(f"the publisher grows: {[(round(when, 1), size >> 10) for when, size in samples[::20]]} (s, KiB)")

    def reached(self, node):
        try:
            with admin_client.Admin(node) as admin:
                row = admin.channel(CHANNEL, self.publisher.node_id)
            return row is not None and row["next_seq"] == self.end
        except OSError:
            return False

    def wait_for(self, nodes, what):
        left = list(nodes)

        def all_there():
            left[:] = [node for node in left if not self.reached(node)]
            return not left
        mesh.eventually(all_there, f"{what} reach the end", FINISH)
        self.say(f"{what} have reached the end, {self.end} events")

    def run(self):
        self.gather()
        stalled, active = self.followers[::2], self.followers[1::2]
        for node in stalled:
            node.process.send_signal(signal.SIGSTOP)
        samples = self.flood()
        self.check_flat(samples)
        self.end = self.publisher_admin.channel(CHANNEL)["next_seq"]
        self.wait_for(active, f"{len(active)} that were never stalled")
        for node in stalled:
            node.process.send_signal(signal.SIGCONT)
        self.wait_for(stalled, f"{len(stalled)} that were stalled")

    def close(self):
        for node in self.followers:
            if node.running:
                node.process.send_signal(signal.SIGCONT)
                node.kill()
        if self.publisher.running:
            status, _ = self.publisher.terminate()
            if status != 0 or mesh.REPORT.search(self.publisher.stderr()):
                raise AssertionError(f"the publisher did not end well: {status}\n{self.publisher.stderr()[-3000:]}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net_mesh")
    parser.add_argument("--followers", type=int, default=1000)
    parser.add_argument("--bytes", type=soak_exact.size, default=208 << 20, help="of events (208MiB)")
    parser.add_argument("--rate", type=soak_exact.size, default=1 << 20, help="of publishing, bytes per second (1MiB)")
    return parser.parse_args()


def main():
    options = parse()
    mesh.PROGRAM = str(pathlib.Path(options.net_mesh).resolve())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16384)), hard))
    with tempfile.TemporaryDirectory(prefix="net-mesh-soak.", ignore_cleanup_errors=True) as directory:
        crowd = Crowd(options, directory)
        try:
            crowd.run()
        finally:
            crowd.close()


if __name__ == "__main__":
    main()
