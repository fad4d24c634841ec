#!/usr/bin/env python3
"""kill -9 of either node, during and after publishing: what was acknowledged is there, no sequence names two events.

Acknowledged is what publish printed, and what tail showed. A kill keeps the kernel's memory; power cuts are the simulator's."""
import json
import pathlib
import random
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


class Publisher(threading.Thread):
    """Publishes small batches, one after the other, until the node is gone; notes what was acknowledged."""

    def __init__(self, node, channel, tag, *options):
        super().__init__(daemon=True)
        self.node, self.channel, self.tag, self.options = node, channel, tag, options
        self.acknowledged = {}  # sequence: event
        self.between = set()  # acknowledged too, with other publishers' events in between

    def run(self):
        for number in range(1000000):
            batch = [f"{self.tag} {number} {n} {'.' * random.randrange(300)}" for n in range(random.randrange(1, 200))]
            done = self.node.command("--output", "json", "publish", self.channel, *self.options, status=None,
                                     stdin="".join(f"{line}\n" for line in batch).encode())
            if done.returncode != 0:
                assert done.returncode == 6, done.stderr
                return
            answer = json.loads(done.stdout)
            first, last = answer["first_seq"], answer["last_seq"]
            assert answer["events"] == len(batch) <= last - first + 1, answer
            if last - first + 1 == len(batch):
                self.acknowledged.update(enumerate(batch, first))
            else:
                self.acknowledged.update({first: batch[0], last: batch[-1]})
                self.between.update(batch)


class Kill(mesh.MeshCase):
    def check(self, node, channel, acknowledged, origin="self"):
        """The log has each acknowledged event under its sequence, once, and no sequence twice."""
        rows = node.rows(channel, "--origin", origin)
        sequences = [row["seq"] for row in rows if "seq" in row]
        self.assertEqual(sequences, sorted(set(sequences)))
        there = {row["seq"]: row["data"] for row in rows if "seq" in row}
        self.assertEqual({seq: there.get(seq) for seq in acknowledged}, acknowledged)
        return there

    def kill_while_publishing(self, *options, shards):
        a = self.node("a", f"shards.count={shards}")
        acknowledged, between, seen = {}, set(), {}
        for life in range(6):
            a.start()
            if life:
                there = self.check(a, "x", acknowledged)
                self.assertEqual({seq: there[seq] for seq in seen if seq in there}, {seq: seen[seq] for seq in seen if seq in there})
                seen = there
            publishers = [Publisher(a, "x", f"{life}.{number}", *options) for number in range(2)]
            bulk = subprocess.Popen([mesh.PROGRAM, "--endpoint", a.dir, "publish", "x", "/dev/stdin"], stdin=subprocess.PIPE,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            feeder = threading.Thread(target=self.feed, args=(bulk, life), daemon=True)
            for thread in (*publishers, feeder):
                thread.start()
            mesh.eventually(lambda: all(publisher.acknowledged for publisher in publishers), "something is acknowledged")
            time.sleep(random.uniform(0, 0.3))
            a.kill()
            for publisher in publishers:
                publisher.join(mesh.PATIENCE)
                self.assertFalse(publisher.is_alive())
                again = acknowledged.keys() & publisher.acknowledged.keys()
                self.assertEqual(again, set(), "a sequence was given twice")
                acknowledged.update(publisher.acknowledged)
                between |= publisher.between
            bulk.wait(mesh.PATIENCE)
            feeder.join()
        a.start()
        self.assertEqual(between - set(self.check(a, "x", acknowledged).values()), set(), "lost")
        self.assertGreater(a.publish("x", ["after"])["first_seq"], max(acknowledged))

    @staticmethod
    def feed(process, life):
        try:
            for number in range(1000000):
                process.stdin.write(f"bulk {life} {number}\n".encode())
            process.stdin.close()
        except OSError:
            pass

    def test_while_publishing(self):
        self.kill_while_publishing(shards=2)

    def test_while_publishing_durably(self):
        self.kill_while_publishing("--durable", shards=1)

    def test_after_publishing(self):
        a = self.node("a", "shards.count=2")
        a.start()
        text = "".join(f"{n} {'.' * (n % 300)}\n" for n in range(50000)).encode()
        self.assertEqual(a.publish("x", text)["last_seq"], 49999)
        a.kill()
        a.start()
        self.assertTrue(a.raw("x") == text)
        self.assertEqual(a.publish("x", ["next"])["first_seq"], 50000, "the same boot: nothing is in doubt")

    def test_many_logs(self):
        a = self.node("a", "shards.count=3")
        a.start()
        for number in range(40):
            a.publish(f"logs/{number}", [f"{number}"] * (number + 1))
        a.kill()
        a.start()
        for number in range(40):
            self.assertEqual(a.raw(f"logs/{number}"), f"{number}\n".encode() * (number + 1))

    def test_publisher_of_a_pair(self):
        """The publishing node dies again and again; both logs open with what was acknowledged, and go on."""
        alice, bob = self.pair("shards.count=2")
        bob.command("subscribe", "x", "--from", "alice")
        acknowledged, received = {}, {}
        for life in range(4):
            publisher = Publisher(alice, "x", f"{life}")
            publisher.start()
            mesh.eventually(lambda: publisher.acknowledged, "something is acknowledged")
            time.sleep(random.uniform(0, 0.3))
            alice.kill()
            publisher.join(mesh.PATIENCE)
            acknowledged.update(publisher.acknowledged)
            alice.start()
            self.check(alice, "x", acknowledged)
            mesh.eventually(lambda: alice.channel("x")["subscribers"] == 1, "bob asked again")
            received = self.check(bob, "x", received, alice.node_id)
            data = [event.split()[:3] for event in received.values()]
            self.assertEqual(data, sorted(data, key=lambda words: [int(word) for word in words]), "in order")
            self.assertEqual(len(set(map(tuple, data))), len(data), "nothing arrives twice")
        alice.publish("x", ["9 9 9 last"])
        mesh.eventually(lambda: bob.raw("x", "--origin", "alice").endswith(b"last\n"), "it goes on")

    def test_subscriber_of_a_pair(self):
        alice, bob = self.pair("shards.count=2")
        bob.command("subscribe", "x", "--from", "alice")
        publisher = Publisher(alice, "x", "0")
        publisher.start()
        received = {}
        for life in range(4):
            mesh.eventually(lambda: len(self.received(bob)) > len(received) or None, "events arrive")
            time.sleep(random.uniform(0, 0.3))
            received = {row["seq"]: row["data"] for row in bob.rows("x", "--origin", alice.node_id) if "seq" in row}
            bob.kill()
            bob.start()
            received = self.check(bob, "x", received, alice.node_id)
            data = [tuple(map(int, event.split()[:3])) for event in received.values()]
            self.assertEqual(data, sorted(set(data)), "in order, nothing twice")
        alice.kill()
        publisher.join(mesh.PATIENCE)
        alice.start()
        self.check(alice, "x", publisher.acknowledged)

    @staticmethod
    def received(node):
        rows = [row for row in node.json("channel", "ls") if row["origin"] != "self"]
        return range(rows[0]["next_seq"] if rows else 0)

    def test_during_start(self):
        """Killed while it opens its logs, again and again."""
        a = self.node("a", "shards.count=2")
        a.start()
        text = "".join(f"{n}\n" for n in range(30000)).encode()
        for channel in ("x", "y", "z/1"):
            a.publish(channel, text)
        a.kill()
        for number in range(15):
            a.spawn()
            time.sleep(0.002 * number)
            a.kill()
        a.start()
        for channel in ("x", "y", "z/1"):
            self.assertTrue(a.raw(channel) == text)

    def test_peers_yaml(self):
        """peers.yaml is replaced as a whole: whenever the node dies, it is the old one or the new one."""
        a = self.node("a")
        for life in range(6):
            a.start()
            names = {row["name"] for row in a.json("peer", "ls")}

            def add():
                for number in range(1000):
                    done = a.command("peer", "add", f"p{life}-{number}", "--node-id", str(0x10000 + life * 1000 + number),
                                     "--compat", "v0.19", status=None)
                    if done.returncode != 0:
                        return
                    names.add(f"p{life}-{number}")
            thread = threading.Thread(target=add)
            thread.start()
            time.sleep(random.uniform(0.05, 0.2))
            a.kill()
            thread.join()
            a.start()
            there = {row["name"] for row in a.json("peer", "ls")}
            self.assertLessEqual(names, there, "what was answered is kept")
            self.assertLessEqual(len(there - names), 1)
            a.kill()


class Damage(mesh.MeshCase):
    def test_a_flipped_byte_costs_one_event_and_is_said(self):
        a = self.node("a")
        a.start()
        events = [f"event {number}, long enough not to be inline" for number in range(20)]
        a.publish("x/y", events)
        a.terminate()
        dat, = (a.dir / "redex/x/y").glob("**/dat")
        content = bytearray(dat.read_bytes())
        content[content.index(b"event 7,")] ^= 0x20
        dat.write_bytes(content)
        a.start()
        self.assertRegex(a.stderr(), r"warn shard=\d+ channel=x/y \S*redex/x/y: repaired: 1 events lost, [^\n]*\n")
        self.assertEqual(a.lines("x/y", 19), [event for event in events if not event.startswith("event 7,")])


if __name__ == "__main__":
    mesh.main()
