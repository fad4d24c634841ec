#!/usr/bin/env python3
"""Followed channels between real processes: the follower's log is the publisher's, to the byte, through kill -9 of either."""
import pathlib
import random
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


def lines(number):
    """A batch that names itself: events of many sizes."""
    return b"".join(b"%d %d %s\n" % (number, n, b"." * random.randrange(600)) for n in range(200))


class Follow(mesh.MeshCase):
    def rows(self, node, channel, origin):
        return [{key: row[key] for key in ("seq", "ts_ns", "data")} if "seq" in row else row
                for row in node.rows(channel, "--origin", origin)]

    def expect_same(self, alice, bob, channel="x", first=0):
        """Sequences, times and bytes."""
        want = [row for row in self.rows(alice, channel, "self") if row.get("seq", first) >= first]
        self.assertTrue(want == self.rows(bob, channel, "alice"), "the logs differ")
        return len(want)

    @staticmethod
    def newest(node, channel, origin):
        """The row of the log of that channel which began last."""
        return [row for row in node.json("channel", "ls") if row["channel"] == channel and row["origin"] == origin][-1]

    def caught_up(self, alice, bob, channel="x", seconds=None):
        end = alice.channel(channel)["next_seq"]
        mesh.eventually(lambda: self.newest(bob, channel, alice.node_id)["next_seq"] >= end, f"{channel} reaches {end}", seconds)

    def test_takes_all_there_is_and_goes_on(self):
        alice, bob = self.pair("shards.count=2")
        alice.publish("x", lines(0))
        answer = bob.json("subscribe", "x", "--from", "alice")
        self.assertEqual(answer, {"channel": "x", "from": alice.node_id, "active": True, "mode": "follow"})
        self.caught_up(alice, bob)
        alice.publish("x", lines(1))
        self.caught_up(alice, bob)
        self.assertEqual(self.expect_same(alice, bob), 400)
        subscription, = bob.json("subscription", "ls")
        self.assertEqual((subscription["mode"], subscription["active"], subscription["note"]), ("follow", True, None))
        reader, = alice.json("subscriber", "ls")
        self.assertEqual((reader["channel"], reader["peer"], reader["next_seq"], reader["lag"], reader["mode"]),
                         ("x", bob.node_id, 400, 0, "follow"))
        self.assertEqual(alice.channel("x")["lag"], 0)

    def test_kills_of_either_side(self):
        alice, bob = self.pair("shards.count=2")
        bob.command("subscribe", "x", "--from", "alice")
        for life in range(8):
            batch = b"".join(lines(life * 100 + n) for n in range(20))
            with alice.publishing("x", batch):
                time.sleep(random.uniform(0.1, 0.4))
                victim = alice if life % 4 == 3 else bob
                victim.kill()
            victim.start()
            mesh.eventually(lambda: bob.connected(alice), "they met again")
        alice.publish("x", ["the end"])
        self.caught_up(alice, bob, seconds=6 * mesh.PATIENCE)
        self.assertGreater(self.expect_same(alice, bob), 1000)

    def test_an_outage_of_the_publisher(self):
        alice, bob = self.pair()
        bob.command("subscribe", "x", "--from", "alice")
        alice.publish("x", lines(0))
        self.caught_up(alice, bob)
        self.assertEqual(alice.terminate()[0], 0)
        time.sleep(7)  # more than three times session.session_timeout
        alice.start()
        alice.publish("x", lines(1))
        self.caught_up(alice, bob, seconds=4 * mesh.PATIENCE)
        self.assertEqual(self.expect_same(alice, bob), 400)

    def test_starts(self):
        alice, bob = self.pair()
        alice.publish("x", lines(0))
        bob.command("subscribe", "x", "--from", "alice", "--start", "latest")
        alice.publish("x", lines(1))
        self.caught_up(alice, bob)
        self.assertEqual(self.expect_same(alice, bob, first=200), 200)
        bob.command("subscribe", "x", "--from", "alice", "--start", "50")
        mesh.eventually(lambda: self.newest(bob, "x", alice.node_id)["first_seq"] == 50, "a log from there on")
        self.caught_up(alice, bob)
        self.assertEqual(self.expect_same(alice, bob, first=50), 350)
        bob.terminate()
        bob.start()
        alice.publish("x", lines(2))
        self.caught_up(alice, bob)
        self.assertEqual(self.expect_same(alice, bob, first=50), 550, "a restart begins no other log")

    def test_a_log_that_was_made_anew(self):
        alice, bob = self.pair()
        bob.command("subscribe", "x", "--from", "alice")
        alice.publish("x", lines(0))
        self.caught_up(alice, bob)
        alice.terminate()
        shutil.rmtree(alice.dir / "redex" / "x")
        alice.start()
        alice.publish("x", lines(1))

        def refused():
            row, = bob.json("subscription", "ls")
            return not row["active"] and row["note"] == "the log was made anew"
        mesh.eventually(refused, "the follow is refused")
        self.assertIn("the log was made anew", bob.fails(1, "subscribe", "x", "--from", "alice"))
        self.assertEqual(bob.channel("x", alice.node_id)["next_seq"], 200)
        bob.command("subscribe", "x", "--from", "alice", "--start", "earliest")
        mesh.eventually(lambda: self.rows(bob, "x", "alice") == self.rows(alice, "x", "self"), "the new log is there")

    def test_live(self):
        alice, bob = self.pair()
        alice.publish("x", lines(0))
        answer = bob.json("subscribe", "x", "--from", "alice", "--live")
        self.assertEqual(answer["mode"], "live")
        alice.publish("x", ["now"])
        self.assertEqual(bob.lines("x", 1), ["now"])
        reader, = alice.json("subscriber", "ls")
        self.assertEqual(reader["mode"], "live")

    def test_no_log_to_follow(self):
        alice = self.node("alice", *mesh.SHORT_TIMERS, "channels.log=none")
        bob = self.node("bob", *mesh.SHORT_TIMERS, psk_from=alice)
        alice.start()
        bob.start()
        self.introduce(alice, bob)
        answer = bob.json("subscribe", "x", "--from", "alice")
        self.assertEqual((answer["mode"], answer["note"]), ("live", "the channel keeps no log there"))
        alice.publish("x", ["now"])
        self.assertEqual(bob.lines("x", 1), ["now"])


if __name__ == "__main__":
    mesh.main()
