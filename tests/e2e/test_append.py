#!/usr/bin/env python3
"""publish --to PEER: acknowledged append with real processes, kill -9 of either side and of the command (extensions.md X8)."""
import json
import pathlib
import random
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


def text(lines):
    return "".join(f"{line}\n" for line in lines).encode()


class Append(mesh.MeshCase):
    def append(self, node, channel, lines, *options, to="bob", **more):
        done = node.command("--output", "json", "publish", channel, "--to", to, *options, stdin=text(lines), **more)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def check_log(self, node, channel, lines):
        """Exactly these, each once, in this order."""
        self.assertEqual(node.raw(channel, "--origin", "self").decode().splitlines(), lines)

    def test_answers_with_the_sequences_at_the_peer(self):
        alice, bob = self.pair()
        bob.publish("x", ["from bob"])
        lines = [f"line {n} {'.' * (n % 300)}" for n in range(5000)]
        answer = self.append(alice, "x", lines)
        self.assertEqual((answer["events"], answer["first_seq"], answer["last_seq"]), (5000, 1, 5000))
        self.assertEqual(answer["to"], bob.node_id)
        self.check_log(bob, "x", ["from bob"] + lines)
        self.assertIsNone(alice.channel("x"), "the log is at the peer")
        answer = self.append(alice, "x", ["durable"], "--durable", to=bob.node_id)
        self.assertEqual((answer["first_seq"], answer["last_seq"]), (5001, 5001))
        self.assertEqual(self.append(alice, "x", [])["events"], 0)

    def test_large_events(self):
        alice, bob = self.pair()
        lines = ["small", "x" * 900000, "y" * 57000, "z" * 20000, "end"]
        self.assertEqual(self.append(alice, "x", lines)["events"], 5)
        answer = self.append(alice, "x", lines, "--producer", self.dir / "producer", "--durable")
        self.assertEqual((answer["events"], answer["first_seq"], answer["next_sequence"]), (5, 5, 5))
        self.check_log(bob, "x", lines + lines)

    def test_errors_are_told(self):
        alice, bob = self.pair()
        bob_alone = self.node("carol", psk_from=alice)
        alice.add_peer("carol", bob_alone)
        self.assertIn("there is no such peer", alice.fails(1, "publish", "x", "--to", "nobody", stdin=b"a\n"))
        self.assertIn("the peer is not connected", alice.fails(6, "publish", "x", "--to", "carol", stdin=b"a\n"))
        self.assertIn("--producer wants --to PEER", alice.fails(2, "publish", "x", "--producer", self.dir / "p", stdin=b""))
        self.assertIn("has at most", alice.fails(1, "publish", "x", "--to", "bob", stdin=b"." * 1100000))
        bob.terminate()
        bob.start("channels.append=false")
        mesh.eventually(lambda: alice.connected(bob), "connected again")
        self.assertIn("channels.append", alice.fails(1, "publish", "x", "--to", "bob", stdin=b"a\n"))

    def test_a_producer_goes_on_where_it_was(self):
        alice, bob = self.pair()
        state = self.dir / "producer"
        first = self.append(alice, "x", ["a", "b"], "--producer", state)
        self.assertEqual((first["events"], first["first_seq"], first["next_sequence"]), (2, 0, 2))
        self.assertEqual(state.stat().st_mode & 0o777, 0o600)
        second = self.append(alice, "x", ["a", "b"], "--producer", state)  # a run of its own: the first was finished
        self.assertEqual((second["first_seq"], second["producer"]), (2, first["producer"]))
        self.check_log(bob, "x", ["a", "b", "a", "b"])
        self.assertIn("is for --to bob", alice.fails(2, "publish", "y", "--to", "bob", "--producer", state, stdin=b"a\n"))
        empty = self.append(alice, "x", [], "--producer", state)
        self.assertEqual((empty["events"], empty["first_seq"]), (0, None))

    def test_an_unfinished_run_wants_its_input(self):
        alice, bob = self.pair()
        state, lines = self.dir / "producer", [f"{n} {'.' * 3000}" for n in range(20)]
        process = subprocess.Popen([mesh.PROGRAM, "--endpoint", str(alice.dir), "publish", "x", "--to", "bob", "--producer",
                                    str(state)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        process.stdin.write(text(lines[:10]))
        process.stdin.flush()
        bob.wait_for("x", 10)
        process.kill()
        process.wait()
        process.stdin.close()
        self.assertIn("this is not its input",
                      alice.fails(1, "publish", "x", "--to", "bob", "--producer", state, stdin=text(lines[1:])))
        self.assertIn("this is not its input",
                      alice.fails(1, "publish", "x", "--to", "bob", "--producer", state, stdin=text(lines[:3])))
        self.check_log(bob, "x", lines[:10])
        answer = self.append(alice, "x", lines, "--producer", state)
        self.assertEqual((answer["events"], answer["first_seq"], answer["last_seq"]), (20, 0, 19))
        self.check_log(bob, "x", lines)

    def test_two_commands_do_not_share_a_producer(self):
        alice, _ = self.pair()
        state = self.dir / "producer"
        process = subprocess.Popen([mesh.PROGRAM, "--endpoint", str(alice.dir), "publish", "x", "--to", "bob", "--producer",
                                    str(state)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        mesh.eventually(state.exists, "the producer's file")
        self.assertIn("in use", alice.fails(1, "publish", "x", "--to", "bob", "--producer", state, stdin=b"a\n"))
        process.stdin.close()
        self.assertEqual(process.wait(mesh.PATIENCE), 0)

    def test_the_same_append_again(self):
        """The protocol of the admin port, as a program would use it."""
        alice, bob = self.pair()
        target = f"http://{alice.admin}/v1/channels/x/publish?to=bob&producer={'ab' * 16}&sequence="
        token = (alice.dir / "admin.token").read_text().strip()

        def post(sequence, body):
            done = subprocess.run(["curl", "-s", "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: text/plain",
                                   "--data-binary", body, target + str(sequence)], capture_output=True, check=True)
            return json.loads(done.stdout)
        first = post(0, "a\nb\n")
        self.assertEqual((first["first_seq"], first["last_seq"], first["sequence"]), (0, 1, 0))
        self.assertEqual(post(0, "a\nb\n"), first)
        self.assertEqual(post(0, "a\n")["error"]["code"], "exists")
        self.assertEqual(post(2, "c\n")["error"]["code"], "state")
        bob.kill()
        bob.start()
        mesh.eventually(lambda: alice.connected(bob), "connected again")
        mesh.eventually(lambda: post(0, "a\nb\n") == first, "the answer of before")
        self.assertEqual(post(1, ("." * 9000 + "\n") * 7)["error"]["code"], "too_large")
        self.assertEqual(post(1, "c\n")["first_seq"], 2)
        self.check_log(bob, "x", ["a", "b", "c"])


class Kill(mesh.MeshCase):
    def run_until_done(self, alice, bob, state, lines, durable, deaths):
        """The same command, again and again, while something dies; what it printed at last."""
        source = self.dir / "input"
        source.write_bytes(text(lines))
        command = [mesh.PROGRAM, "--endpoint", str(alice.dir), "--output", "json", "--timeout", "5s", "publish", "x", "--to",
                   "bob", "--producer", str(state), *(["--durable"] if durable else []), str(source)]
        deadline = time.monotonic() + 6 * mesh.PATIENCE + 60
        before = json.loads(state.read_text())["sequence"] if state.exists() else 0
        while time.monotonic() < deadline:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if deaths:
                victim = deaths.pop()
                time.sleep(random.uniform(0.005, 0.15))
                if victim == "command":
                    process.kill()
                else:
                    node = alice if victim == "alice" else bob
                    node.kill()
                    node.start()
            out, _ = process.communicate(timeout=60)
            if process.returncode == 0 and not deaths:
                return json.loads(out)
            now = json.loads(state.read_text()) if state.exists() else {"sequence": before}
            if now["sequence"] != before and "unfinished" not in now:
                return None  # it came to its end before, or as, something died
            mesh.eventually(lambda: alice.connected(bob), "connected again", 6 * mesh.PATIENCE)
        raise AssertionError("it did not come to an end")

    def torture(self, durable):
        alice = self.node("alice", *mesh.SHORT_TIMERS, "channels.publish_timeout=4s")
        bob = self.node("bob", *mesh.SHORT_TIMERS, "shards.count=2", psk_from=alice)
        alice.start()
        bob.start()
        self.introduce(alice, bob)
        expected = []
        for round_number in range(4):
            deaths = [random.choice(["command", "alice", "bob", "bob"]) for _ in range(5)]
            lines = [f"{round_number} {n} {'.' * random.randrange(2000)}" for n in range(2000)]
            self.run_until_done(alice, bob, self.dir / "producer", lines, durable, deaths)
            expected += lines
            mesh.eventually(lambda: alice.connected(bob), "connected again", 6 * mesh.PATIENCE)
            self.assertEqual(bob.raw("x", "--origin", "self").decode().splitlines(), expected)
        self.assertEqual(len(bob.rows("x", "--origin", "self")), len(expected), "and no gap")

    def test_each_line_is_there_once_in_order(self):
        self.torture(durable=False)

    def test_each_line_is_there_once_in_order_durably(self):
        self.torture(durable=True)


if __name__ == "__main__":
    mesh.main()
