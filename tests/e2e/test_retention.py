#!/usr/bin/env python3
"""What a channel retains, on disk and as its users see it; when it is synced; both by prefix, and changed while the node runs."""
import os
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

MIB = 1 << 20


def set_rules(node, *rules):
    """channels.prefixes of node.yaml."""
    path = node.dir / "node.yaml"
    block = "  prefixes:\n" + "".join(f"    {rule}\n" for rule in rules)
    text, count = re.subn(r"^  prefixes:.*\n(    .*\n)*", block, path.read_text(), flags=re.MULTILINE)
    assert count == 1, f"{count} places for channels.prefixes"
    path.write_text(text)


class Retention(mesh.MeshCase):
    def used(self, node, channel):
        """Bytes on disk of the files of a log."""
        total = 0
        for directory, _, files in os.walk(node.dir / "redex" / channel):
            for file in files:
                try:
                    total += (pathlib.Path(directory) / file).stat().st_size
                except FileNotFoundError:  # a generation goes
                    pass
        return total

    def retained(self, node, channel, expected):
        """The channel has the newest of these events, all of them from its first on, and says so in `channel ls`."""
        row, rows = node.channel(channel), node.rows(channel)
        self.assertEqual([(event["seq"], event["data"]) for event in rows],
                         list(enumerate(expected))[row["first_seq"]:])
        self.assertEqual(row["next_seq"], len(expected))
        return row["first_seq"]

    def test_bytes(self):
        """Ten times the limit goes through; the disk never holds much more than twice of it, and a copy for a while."""
        node = self.node("a", "channels.retention_bytes=1MiB", "shards.count=2")
        node.start()
        events, first, most = [], 0, 0
        for _ in range(40):
            more = [f"{len(events) + i} {'.' * 1000}" for i in range(256)]
            node.publish("x", more)
            events += more
            most = max(most, self.used(node, "x"))
            row = node.channel("x")
            self.assertGreaterEqual(row["first_seq"], first)
            first = row["first_seq"]
        self.assertGreater(most, MIB)
        self.assertLess(most, 5 * MIB)  # of ten that went through
        first = self.retained(node, "x", events)
        self.assertEqual(first, self.oldest(events, MIB))
        mesh.eventually(lambda: self.used(node, "x") < 2.3 * MIB, "what is not retained is given back")
        figures = node.metrics()
        self.assertEqual(figures["log_retired_events_total"], first)
        self.assertGreaterEqual(figures["log_compactions_total"], 5)
        self.assertEqual(figures["log_compaction_failures_total"], 0)
        for _ in range(2):
            node.kill()
            node.start()
            self.assertEqual(self.retained(node, "x", events), first)
            events += (more := [f"more {len(events)}"])
            node.publish("x", more)
            first = self.oldest(events, MIB)

    @staticmethod
    def oldest(events, limit):
        cost, first = 0, len(events)
        while first and cost + len(events[first - 1]) + 20 <= limit:
            first -= 1
            cost += len(events[first]) + 20
        return first

    def test_events_and_prefixes(self):
        """By the longest prefix; a reload changes what is open, both ways."""
        node = self.node("a", "channels.retention_events=50")
        set_rules(node, "few: {retention_events: 5}", "few/all: {retention_events: none}")
        node.start()
        events = [str(number) for number in range(100)]
        for channel in ("x", "few", "few/y", "few/all", "fewer"):
            node.publish(channel, events)
        expected = {"x": 50, "few": 5, "few/y": 5, "few/all": 100, "fewer": 50}
        for channel, count in expected.items():
            self.assertEqual(self.retained(node, channel, events), 100 - count, channel)
        set_rules(node, "few/all: {retention_events: 7}")
        node.command("reload")
        mesh.eventually(lambda: node.channel("few/all")["first_seq"] == 93, "the log takes its new limit")
        self.retained(node, "few/all", events)

    def test_age(self):
        """By itself; and what was given up leaves no sequence behind to use again."""
        node = self.node("a", "channels.retention_age=1s")
        node.start()
        self.assertEqual(node.publish("x", ["1", "2", "3"])["first_seq"], 0)
        mesh.eventually(lambda: node.channel("x")["first_seq"] == 3, "it comes of age")
        self.assertEqual(node.rows("x"), [])
        node.kill()
        node.start()
        self.assertEqual(node.publish("x", ["4"])["first_seq"], 3)
        node.command("shutdown")
        self.assertEqual(node.wait()[0], 0)
        time.sleep(1.1)
        node.start()
        self.assertEqual(node.publish("x", ["5"])["first_seq"], 4)

    def test_memory_and_received(self):
        """A channel kept in memory, and one that comes from a peer."""
        alice = self.node("alice", *mesh.SHORT_TIMERS, "channels.log=memory", "channels.retention_events=10")
        bob = self.node("bob", *mesh.SHORT_TIMERS, "channels.retention_events=20", psk_from=alice)
        alice.start()
        bob.start()
        self.introduce(alice, bob)
        events = [str(number) for number in range(100)]
        bob.command("subscribe", "x", "--from", "alice")
        for event in events:
            alice.publish("x", [event])
        bob.wait_for("x", 100, alice.node_id)
        self.assertEqual(self.retained(alice, "x", events), 90)
        mesh.eventually(lambda: bob.channel("x", alice.node_id)["first_seq"] == 80, "so does what is received")
        self.assertEqual(bob.raw("x").decode().split(), events[80:])


class Fsync(mesh.MeshCase):
    def syncs(self, node):
        return node.metrics()["log_sync_seconds_count"]

    def test_each(self):
        """No answer before the sync."""
        node = self.node("a", "channels.fsync=each")
        node.start()
        for number in range(10):
            before = self.syncs(node)
            node.publish("x", [f"event {number}"])
            self.assertGreaterEqual(self.syncs(node), before + 3, "each of its files")
        figures = node.metrics()
        self.assertEqual(figures["publish_stored_seconds_count:synced"], 10)
        self.assertEqual(figures["publish_stored_seconds_count:written"], 0)
        node.kill()
        node.start()
        self.assertEqual([row["data"] for row in node.rows("x")], [f"event {number}" for number in range(10)])

    def test_never_every_interval(self):
        node = self.node("a")
        set_rules(node, "every: {fsync: every, fsync_events: 10}", "interval: {fsync: interval, fsync_interval: 100ms}")
        node.start()
        node.publish("never", ["1"])
        for number in range(9):
            node.publish("every", [str(number)])
        self.assertEqual(self.syncs(node), 0)
        node.publish("every", ["9"])
        mesh.eventually(lambda: self.syncs(node) == 3, "the tenth event")
        node.publish("interval", ["1", "2"])
        mesh.eventually(lambda: self.syncs(node) >= 6, "a tenth of a second")
        time.sleep(0.3)
        after = self.syncs(node)
        time.sleep(0.3)
        self.assertEqual(self.syncs(node), after, "nothing is left to sync")


if __name__ == "__main__":
    mesh.main()
