#!/usr/bin/env python3
"""Peers and subscriptions between two and three nodes: names and ids, who is let in, what survives what."""
import json
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


class Peers(mesh.MeshCase):
    def test_rows(self):
        alice, bob = self.pair()
        (row,) = alice.json("peer", "ls")
        self.assertEqual(list(row), ["name", "node_id", "addr", "state", "compat", "features", "rtt_us"])
        self.assertEqual((row["name"], row["node_id"], row["addr"], row["state"], row["compat"]),
                         ("bob", bob.node_id, bob.listen, "connected", None))
        self.assertIn("secure", row["features"])
        self.assertIsInstance(mesh.eventually(lambda: alice.peer(bob.node_id)["rtt_us"], "a round-trip time"), int)

    def test_answers(self):
        alice, bob = self.node("alice"), self.node("bob")
        alice.start()
        self.assertEqual(alice.json("peer", "ls"), [])
        added = alice.add_peer("bob", bob)
        self.assertEqual((added["name"], added["node_id"], added["addr"], added["public_key"]),
                         ("bob", bob.node_id, bob.listen, bob.public_key))
        self.assertIn(alice.peer(bob.node_id)["state"], ("connecting", "down"))
        self.assertEqual(alice.json("peer", "rm", "bob"), {"removed": "bob"})
        self.assertEqual(alice.json("peer", "ls"), [])

    def test_states(self):
        """connecting, connected, down when the peer is silent, connected when it is back."""
        alice, bob = self.pair()
        bob.kill()
        mesh.eventually(lambda: alice.peer(bob.node_id)["state"] != "connected", "silence is noticed")
        bob.start()
        mesh.eventually(lambda: alice.connected(bob) and bob.connected(alice), "both are back")

    def test_states_are_said(self):
        alice = self.node("alice", *mesh.SHORT_TIMERS)
        bob = self.node("bob", *mesh.SHORT_TIMERS, "logging.level=warn", psk_from=alice)
        alice.start()
        bob.start()
        self.introduce(alice, bob)
        said = f" info shard=0 peer={bob.node_id} addr={bob.listen} bob"
        mesh.eventually(lambda: f"{said} is connected\n" in alice.stderr(), "said")
        bob.kill()
        bob.start()
        mesh.eventually(lambda: f"{said} was restarted\n" in alice.stderr(), "said")
        bob.kill()
        mesh.eventually(lambda: f"{said} is down\n" in alice.stderr(), "said")
        self.assertNotIn(" is connected", bob.stderr())

    def test_mistakes(self):
        alice, bob = self.pair()
        carol = self.node("carol")
        whole = ("--addr", carol.listen, "--node-id", carol.node_id, "--public-key", carol.public_key)
        for status, arguments, shown in (
                (1, ("bob", *whole), "a peer of this name exists"),
                (1, ("bob2", "--addr", bob.listen, "--node-id", bob.node_id, "--public-key", bob.public_key), "node_id"),
                (2, ("me", "--addr", alice.listen, "--node-id", alice.node_id, "--public-key", alice.public_key), "itself"),
                (2, ("carol", *whole[:4]), "public"),
                (2, ("carol", *whole[2:]), "addr"),
                (2, ("carol", *whole[:2], *whole[4:]), "--node-id"),
                (2, ("carol", *whole[:4], "--public-key", "abcd"), "64 hex"),
                (2, ("carol", *whole[:2], "--node-id", "carol", *whole[4:]), "carol"),
                (2, ("carol", "--addr", "carol:20037", *whole[2:]), "carol:20037"),
                (2, ("carol", "--addr", "127.0.0.1:0", *whole[2:]), "127.0.0.1:0"),
                (2, ("carol", *whole, "--compat", "v0.18"), "v0.18"),
                (2, ("carol", *whole, "--mode", "routed"), "compat"),
                (2, ("carol", *whole, "--compat", "v0.19", "--mode", "fast"), "fast"),
                (2, ("0x12", *whole), "name"), (2, ("1234", *whole), "name"), (2, ("self", *whole), "self"),
                (2, ("a b", *whole), "name"), (2, ("x" * 64, *whole), "64"), (2, ("", *whole), "name")):
            with self.subTest(arguments):
                self.assertIn(shown, alice.fails(status, "peer", "add", *arguments))
        self.assertEqual(len(alice.json("peer", "ls")), 1, "nothing was added")
        self.assertIn("no peer", alice.fails(1, "peer", "rm", "carol"))
        self.assertTrue(alice.connected(bob))

    def test_entry_of_an_old_peer(self):
        alice = self.node("alice")
        alice.start()
        alice.command("peer", "add", "old", "--node-id", "0x1234", "--compat", "v0.19")
        alice.command("peer", "add", "older", "--node-id", "4661", "--compat", "v0.19", "--mode", "direct", "--addr",
                      "127.0.0.1:9", "--public-key", "ab" * 31 + "0b")
        rows = {row["name"]: row for row in alice.json("peer", "ls")}
        self.assertEqual((rows["old"]["node_id"], rows["old"]["addr"], rows["old"]["compat"]),
                         ("0x0000000000001234", None, "v0.19"))
        self.assertEqual((rows["older"]["node_id"], rows["older"]["addr"], rows["older"]["compat"]),
                         ("0x0000000000001235", "127.0.0.1:9", "v0.19"))
        alice.terminate()
        alice.start()
        again = {row["name"]: row for row in alice.json("peer", "ls")}
        self.assertEqual(set(again), {"old", "older"})

    def test_kept_over_a_restart(self):
        alice, bob = self.pair()
        yaml = (alice.dir / "node.yaml").read_bytes()
        alice.terminate()
        self.assertEqual((alice.dir / "node.yaml").read_bytes(), yaml, "the node does not write node.yaml")
        self.assertIn(bob.node_id, (alice.dir / "peers.yaml").read_text())
        alice.start()
        mesh.eventually(lambda: alice.connected(bob), "connected again")
        self.assertEqual(alice.peer(bob.node_id)["name"], "bob")

    def test_removed_peer(self):
        alice, bob = self.pair()
        alice.command("peer", "rm", "bob")
        self.assertNotIn("bob", [row["name"] for row in alice.json("peer", "ls")])
        self.assertNotIn(bob.node_id, (alice.dir / "peers.yaml").read_text())
        # bob has the key of the mesh and dials again: let in, without a name
        mesh.eventually(lambda: alice.connected(bob), "bob dials")
        self.assertIsNone(alice.peer(bob.node_id)["name"])
        alice.add_peer("robert", bob)
        mesh.eventually(lambda: alice.connected(bob), "connected")
        self.assertEqual([row["name"] for row in alice.json("peer", "ls")], ["robert"])

    def test_unlisted_peer(self):
        """Who holds the key and proves an entity is let in without a name, may subscribe, and can be named by its id."""
        alice = self.node("alice", *mesh.SHORT_TIMERS)
        bob = self.node("bob", *mesh.SHORT_TIMERS, psk_from=alice)
        alice.start()
        bob.start()
        bob.add_peer("alice", alice)
        mesh.eventually(lambda: alice.connected(bob) and bob.connected(alice), "connected")
        self.assertIsNone(alice.peer(bob.node_id)["name"])
        bob.command("subscribe", "x", "--from", "alice")
        alice.publish("x", ["to bob"])
        self.assertEqual(bob.lines("x", 1), ["to bob"])
        alice.command("subscribe", "y", "--from", bob.node_id)
        bob.publish("y", ["to alice"])
        self.assertEqual(alice.lines("y", 1), ["to alice"])

    def test_listed_refuses_an_unlisted_peer(self):
        alice = self.node("alice", *mesh.SHORT_TIMERS, "security.peers=listed")
        bob = self.node("bob", *mesh.SHORT_TIMERS, psk_from=alice)
        alice.start()
        bob.start()
        bob.add_peer("alice", alice)
        mesh.eventually(lambda: any("handshake" in what for what in alice.drops()), "refused and counted")
        self.assertFalse(bob.connected(alice))
        self.assertEqual(alice.json("peer", "ls"), [])
        alice.add_peer("bob", bob)
        mesh.eventually(lambda: bob.connected(alice) and alice.connected(bob), "let in once listed")

    def test_another_key_is_refused(self):
        alice = self.node("alice", *mesh.SHORT_TIMERS)
        mallory = self.node("mallory", *mesh.SHORT_TIMERS)
        alice.start()
        mallory.start()
        mallory.add_peer("alice", alice)
        mesh.eventually(lambda: any("handshake" in what for what in alice.drops()), "refused and counted")
        self.assertFalse(mallory.connected(alice))
        self.assertEqual(alice.json("peer", "ls"), [])

    def test_wrong_public_key_or_id(self):
        alice = self.node("alice", *mesh.SHORT_TIMERS)
        bob = self.node("bob", *mesh.SHORT_TIMERS, psk_from=alice)
        alice.start()
        bob.start()
        wrong = bob.public_key[:-2] + ("00" if bob.public_key[-2:] != "00" else "01")
        alice.command("peer", "add", "bob", "--addr", bob.listen, "--node-id", bob.node_id, "--public-key", wrong)
        time.sleep(1)
        self.assertFalse(alice.connected(bob))
        alice.command("peer", "rm", "bob")
        other = f"0x{int(bob.node_id, 16) ^ 1:016x}"
        alice.command("peer", "add", "bob", "--addr", bob.listen, "--node-id", other, "--public-key", bob.public_key)
        time.sleep(1)
        self.assertNotEqual(alice.peer(other)["state"], "connected")

    def test_ipv6(self):
        alice = self.node("alice", *mesh.SHORT_TIMERS, listen=f"[::1]:{mesh.free_port()}")
        bob = self.node("bob", *mesh.SHORT_TIMERS, psk_from=alice, listen=f"[::1]:{mesh.free_port()}")
        alice.start()
        bob.start()
        self.introduce(alice, bob)
        self.assertEqual(alice.peer(bob.node_id)["addr"], bob.listen)
        bob.command("subscribe", "x", "--from", "alice")
        lines = [f"{n} {'.' * 300}" for n in range(2000)]
        alice.publish("x", lines)
        self.assertEqual(bob.lines("x", 2000), lines)

    def test_roaming(self):
        """A peer that comes back with another address is found under it."""
        alice, bob = self.pair()
        bob.command("subscribe", "x", "--from", "alice")
        bob.terminate()
        moved = f"127.0.0.1:{mesh.free_port()}"
        bob.start(f"listen={moved}")
        mesh.eventually(lambda: alice.peer(bob.node_id)["addr"] == moved and alice.connected(bob), "alice sees the new address")
        mesh.eventually(lambda: alice.channel("x")["subscribers"] == 1, "bob asked again")
        alice.publish("x", ["over there"])
        self.assertEqual(bob.lines("x", 1), ["over there"])

    def test_junk_from_the_network(self):
        alice, bob = self.pair()
        host, port = alice.listen.rsplit(":", 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for size in (0, 1, 2, 18, 63, 64, 80, 200, 1400, 8210, 9000, 60000):
                for head in (b"", b"NE", b"EN", b"RT", b"\x54\x52", b"PW"):
                    s.sendto((head + bytes(size))[:max(size, len(head))], (host, int(port)))
        mesh.eventually(lambda: sum(alice.drops().values()) > 30, "junk is counted")
        self.assertTrue(alice.connected(bob))
        bob.command("subscribe", "x", "--from", "alice")
        alice.publish("x", ["still here"])
        self.assertEqual(bob.lines("x", 1), ["still here"])


class Subscriptions(mesh.MeshCase):
    def active(self, node):
        """Subscriptions as peers.yaml has them."""
        path = node.dir / "peers.yaml"
        return path.read_text() if path.exists() else ""

    def publish_until_it_comes(self, publisher, subscriber, channel, tag):
        """What is published before the subscription is active again is not fetched: publish until something arrives."""
        def arrived():
            publisher.publish(channel, [tag])
            row = subscriber.channel(channel, publisher.node_id)
            return row and tag in subscriber.raw(channel, "--start", max(0, row["next_seq"] - 1)).decode()
        mesh.eventually(arrived, f"{channel} arrives again: {tag}")

    def test_after_the_ack(self):
        """subscribe returns after the Ack: what is published afterwards arrives."""
        alice, bob = self.pair()
        for number in range(20):
            channel = f"after/{number}"
            alice.publish(channel, ["before"])
            answer = bob.json("subscribe", channel, "--from", "alice")
            self.assertEqual(answer, {"channel": channel, "from": alice.node_id, "active": True, "mode": "follow"})
            self.assertEqual(alice.channel(channel)["subscribers"], 1)
            alice.publish(channel, ["after"])
            self.assertEqual(bob.lines(channel, 2), ["before", "after"])

    def test_by_id_and_again(self):
        alice, bob = self.pair()
        bob.command("subscribe", "x", "--from", alice.node_id)
        bob.command("subscribe", "x", "--from", "alice")
        bob.command("subscribe", "x", "--from", str(int(alice.node_id, 16)))
        self.assertEqual(alice.channel("x")["subscribers"], 1)
        alice.publish("x", ["once"])
        bob.lines("x", 1)
        time.sleep(0.2)
        self.assertEqual(bob.raw("x"), b"once\n")

    def test_mistakes(self):
        alice, bob = self.pair()
        self.assertIn("peer", bob.fails(1, "subscribe", "x", "--from", "carol"))
        bob.fails(1, "subscribe", "x", "--from", "0x1234")
        bob.fails(2, "subscribe", "x")
        bob.fails(2, "subscribe", "/x", "--from", "alice")
        self.assertIn("not subscribed", bob.fails(1, "unsubscribe", "x", "--from", "alice"))
        bob.fails(1, "unsubscribe", "x", "--from", "carol")

    def test_peer_that_is_down(self):
        """Told so, with the exit code of what is not reachable; asked for as soon as the peer is there."""
        alice = self.node("alice", *mesh.SHORT_TIMERS)
        bob = self.node("bob", *mesh.SHORT_TIMERS, psk_from=alice)
        bob.start()
        bob.add_peer("alice", alice)
        self.assertIn("not connected", bob.fails(6, "--timeout", "1s", "subscribe", "x", "--from", "alice"))
        self.assertIn("x", self.active(bob))
        alice.start()
        mesh.eventually(lambda: alice.channel("x") and alice.channel("x")["subscribers"] == 1, "bob subscribes by itself")
        alice.publish("x", ["hello"])
        self.assertEqual(bob.lines("x", 1), ["hello"])

    def test_survives_restarts_of_both_sides(self):
        alice, bob = self.pair("shards.count=2")
        channels = [f"restart/{number}" for number in range(5)]
        for channel in channels:
            bob.command("subscribe", channel, "--from", "alice", "--live")
        for number, (node, how) in enumerate([(bob, "terminate"), (alice, "terminate"), (bob, "kill"), (alice, "kill"),
                                              (alice, "terminate"), (bob, "kill")]):
            getattr(node, how)()
            time.sleep(0.1 * number)
            node.start()
            for channel in channels:
                self.publish_until_it_comes(alice, bob, channel, f"{number} {node.dir.name} {how}")
        for channel in channels:
            self.assertEqual(alice.channel(channel)["subscribers"], 1)
        bob.terminate()
        mesh.eventually(lambda: not alice.channel(channels[0])["subscribers"], "bob is gone from the roster")
        bob.start()
        for channel in channels:
            self.publish_until_it_comes(alice, bob, channel, "at last")

    def test_what_was_missed_is_not_fetched(self):
        alice, bob = self.pair()
        bob.command("subscribe", "x", "--from", "alice", "--live")
        alice.publish("x", ["1"])
        bob.lines("x", 1)
        bob.terminate()
        mesh.eventually(lambda: not alice.channel("x")["subscribers"], "bob is gone")
        alice.publish("x", ["missed"])
        bob.start()
        mesh.eventually(lambda: alice.channel("x")["subscribers"] == 1, "bob is back")
        alice.publish("x", ["2"])
        self.assertEqual(bob.lines("x", 2), ["1", "2"])

    def test_unsubscribe(self):
        alice, bob = self.pair()
        for channel in ("x", "y"):
            bob.command("subscribe", channel, "--from", "alice", "--live")
        alice.publish("x", ["1"])
        bob.lines("x", 1)
        self.assertEqual(bob.json("unsubscribe", "x", "--from", "alice"),
                         {"channel": "x", "from": alice.node_id, "active": False})
        self.assertEqual(alice.channel("x")["subscribers"], 0)
        alice.publish("x", ["2"])
        alice.publish("y", ["3"])
        self.assertEqual(bob.lines("y", 1), ["3"])
        self.assertEqual(bob.raw("x"), b"1\n", "the log stays, and nothing comes to it")
        bob.terminate()
        bob.start()
        mesh.eventually(lambda: alice.channel("y")["subscribers"] == 1, "y is asked for again")
        self.assertEqual(alice.channel("x")["subscribers"], 0, "x is not")
        bob.command("subscribe", "x", "--from", "alice", "--live")
        alice.publish("x", ["4"])
        self.assertEqual(bob.lines("x", 2), ["1", "4"])

    def test_unsubscribe_from_a_peer_that_is_down(self):
        alice, bob = self.pair()
        bob.command("subscribe", "x", "--from", "alice")
        alice.kill()
        mesh.eventually(lambda: not bob.connected(alice), "alice is down")
        bob.command("--timeout", "1s", "unsubscribe", "x", "--from", "alice")
        self.assertNotIn("channel", self.active(bob))
        alice.start()
        mesh.eventually(lambda: bob.connected(alice), "connected again")
        time.sleep(0.5)
        row = alice.channel("x")
        self.assertTrue(row is None or row["subscribers"] == 0)

    def test_removing_a_peer_ends_its_subscriptions(self):
        alice, bob = self.pair()
        bob.command("subscribe", "x", "--from", "alice")
        alice.publish("x", ["1"])
        bob.lines("x", 1)
        bob.command("peer", "rm", "alice")
        self.assertNotIn("channel: x", self.active(bob))
        bob.terminate()
        bob.start()
        mesh.eventually(lambda: bob.connected(alice), "alice dials")
        time.sleep(0.3)
        row = alice.channel("x")
        self.assertTrue(row is None or row["subscribers"] == 0)
        self.assertEqual(bob.rows("x")[0]["data"], "1", "what came is kept")

    def test_many_subscribers(self):
        alice = self.node("alice", *mesh.SHORT_TIMERS, "shards.count=3")
        others = [self.node(name, *mesh.SHORT_TIMERS, f"shards.count={1 + number % 3}", psk_from=alice)
                  for number, name in enumerate(("bob", "carol", "dave"))]
        alice.start()
        for other in others:
            other.start()
            self.introduce(alice, other)
            other.command("subscribe", "x", "--from", "alice")
        self.assertEqual(alice.channel("x")["subscribers"], 3)
        lines = [f"{n} {'.' * (n % 500)}" for n in range(5000)]
        alice.publish("x", lines)
        for other in others:
            self.assertEqual(other.lines("x", 5000), lines)
        for node in (alice, *others):
            self.assertEqual(node.drops(), {}, node.dir.name)

    def test_one_channel_name_at_two_nodes(self):
        """--origin tells logs of one name apart, and may be left out while only one exists."""
        alice, bob = self.pair()
        bob.command("subscribe", "x", "--from", "alice")
        alice.publish("x", ["alice's"])
        self.assertEqual(bob.lines("x", 1), ["alice's"])
        self.assertEqual(bob.rows("x")[0]["origin"], alice.node_id)
        bob.publish("x", ["bob's", "bob's too"])
        self.assertIn("origin", bob.fails(2, "tail", "x"))
        for origin in ("alice", alice.node_id, str(int(alice.node_id, 16))):
            self.assertEqual(bob.raw("x", "--origin", origin), b"alice's\n")
        self.assertEqual(bob.raw("x", "--origin", "self"), b"bob's\nbob's too\n")
        self.assertEqual({(row["channel"], row["origin"], row["origin_name"]) for row in bob.json("channel", "ls")},
                         {("x", alice.node_id, "alice"), ("x", "self", None)})
        self.assertEqual(alice.raw("x"), b"alice's\n", "what was received is not sent on")

    def test_both_ways_and_in_a_circle(self):
        """Two nodes subscribe to one name at each other: nothing goes round."""
        alice, bob = self.pair()
        alice.command("subscribe", "x", "--from", "bob")
        bob.command("subscribe", "x", "--from", "alice")
        for number in range(10):
            alice.publish("x", [f"a{number}"])
            bob.publish("x", [f"b{number}"])
        self.assertEqual(bob.lines("x", 10, "--origin", "alice"), [f"a{n}" for n in range(10)])
        self.assertEqual(alice.lines("x", 10, "--origin", "bob"), [f"b{n}" for n in range(10)])
        time.sleep(0.3)
        for node in (alice, bob):
            self.assertEqual({row["next_seq"] for row in node.json("channel", "ls")}, {10})

    def test_follow_what_will_come_from_a_peer(self):
        alice, bob = self.pair()
        follower = subprocess.Popen([mesh.PROGRAM, "--endpoint", bob.dir, "--output", "ndjson", "tail", "x", "--origin", "alice",
                                     "--follow", "--count", "2"], stdout=subprocess.PIPE)
        self.addCleanup(follower.kill)
        time.sleep(0.3)
        bob.command("subscribe", "x", "--from", "alice")
        alice.publish("x", ["1", "2", "3"])
        out, _ = follower.communicate(timeout=mesh.PATIENCE)
        self.assertEqual([json.loads(line)["data"] for line in out.splitlines()], ["1", "2"])


if __name__ == "__main__":
    mesh.main()
