#!/usr/bin/env python3
"""publish and tail on one node: how input becomes events, what is refused, what tail shows."""
import base64
import json
import os
import pathlib
import pty
import random
import select
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

EVENT_MAX = 1 << 20  # bytes, limits.event_bytes


def records(*events):
    return b"".join(struct.pack("<I", len(event)) + event for event in events)


class Publish(mesh.MeshCase):
    def setUp(self):
        super().setUp()
        self.a = self.node("a", "shards.count=2")
        self.a.start()

    def test_lines(self):
        answer = self.a.publish("x", b"one\r\n\n\nlast\r\r\n two ")
        self.assertEqual(answer, {"channel": "x", "events": 5, "bytes": 4 + 0 + 0 + 6 + 5, "first_seq": 0, "last_seq": 4})
        self.assertEqual(list(answer), ["channel", "events", "bytes", "first_seq", "last_seq"])
        self.assertEqual([row["data"] for row in self.a.rows("x")], ["one\r", "", "", "last\r\r", " two "])
        self.assertEqual(self.a.raw("x"), b"one\r\n\n\nlast\r\r\n two \n")

    def test_last_line_with_and_without_lf(self):
        for channel, data, events in (("a", b"x\ny\n", 2), ("b", b"x\ny", 2), ("c", b"\n", 1), ("d", b"\n\n", 2), ("e", b"x", 1)):
            self.assertEqual(self.a.publish(channel, data)["events"], events, data)

    def test_nothing(self):
        self.assertEqual(self.a.publish("x"), {"channel": "x", "events": 0, "bytes": 0, "first_seq": None, "last_seq": None})
        self.assertEqual(self.a.publish("x", b"y")["first_seq"], 0)

    def test_files_and_stdin(self):
        for name, data in (("one", b"1\n2"), ("two", b"3\n"), ("empty", b"")):
            (self.dir / name).write_bytes(data)
        one, two, empty = (str(self.dir / name) for name in ("one", "two", "empty"))
        answer = self.a.publish("x", b"stdin\n", one, empty, "-", two, one)
        self.assertEqual((answer["events"], answer["last_seq"]), (6, 5))
        self.assertEqual(self.a.raw("x"), b"1\n2\nstdin\n3\n1\n2\n")

    def test_a_file_that_is_not_there(self):
        (self.dir / "one").write_bytes(b"1\n")
        error = self.a.fails(1, "publish", "x", self.dir / "one", self.dir / "nowhere")
        self.assertIn("nowhere", error)
        self.assertIsNone(self.a.channel("x"), "nothing is published")

    def test_binary(self):
        events = [b"", b"\0\n\xff", b"text", os.urandom(EVENT_MAX)]
        answer = self.a.publish("x", records(*events), "--binary")
        self.assertEqual((answer["events"], answer["bytes"]), (4, sum(map(len, events))))
        rows = self.a.rows("x")
        self.assertEqual(rows[0]["data"], "")
        self.assertEqual(base64.b64decode(rows[1]["data_base64"]), events[1])
        self.assertNotIn("data", rows[1])
        self.assertEqual(rows[2]["data"], "text")
        self.assertEqual(base64.b64decode(rows[3]["data_base64"]), events[3])
        self.assertEqual(self.a.raw("x"), b"".join(event + b"\n" for event in events))

    def test_binary_that_is_cut_off(self):
        for tail in (b"\x05", b"\x05\0\0\0ab"):
            done = self.a.command("--output", "json", "publish", f"x{len(tail)}", "--binary", stdin=records(b"whole") + tail,
                                  status=1)
            self.assertIn("cut off", done.stderr.decode())
            self.assertEqual(json.loads(done.stdout)["events"], 1)
            self.assertEqual(self.a.raw(f"x{len(tail)}"), b"whole\n")

    def test_event_of_the_limit(self):
        data = b"m" * EVENT_MAX
        self.assertEqual(self.a.publish("x", data)["bytes"], EVENT_MAX)
        self.assertEqual(self.a.raw("x"), data + b"\n")

    def test_event_above_the_limit(self):
        """Refused with its line number; what went before stays."""
        for before in (0, 1, 2, 1000, 20000):
            with self.subTest(before):
                channel = f"x{before}"
                lines = [f"line {n}".encode() for n in range(before)] + [b"m" * (EVENT_MAX + 1), b"after"]
                done = self.a.command("--output", "json", "publish", channel, stdin=b"\n".join(lines), status=1)
                error = done.stderr.decode()
                self.assertIn(f"stdin:{before + 1}:", error)
                self.assertRegex(error, r"\Anet-mesh: [^\n]+\n\Z")
                answer = json.loads(done.stdout)
                self.assertEqual(answer["events"], before)
                self.assertEqual(answer["last_seq"], before - 1 if before else None)
                kept = self.a.raw(channel) if before else b""
                self.assertEqual(kept, b"".join(line + b"\n" for line in lines[:before]))
                self.assertEqual(self.a.publish(channel, b"next")["first_seq"], before)

    def test_event_far_above_the_limit(self):
        done = self.a.command("publish", "x", stdin=b"ok\n" + b"m" * (3 << 20) + b"\nafter\n", status=1)
        self.assertIn("stdin:2:", done.stderr.decode())
        self.assertEqual(self.a.raw("x"), b"ok\n")

    def test_line_number_is_of_its_file(self):
        (self.dir / "one").write_bytes(b"1\n2\n3\n")
        (self.dir / "two").write_bytes(b"4\n" + b"m" * (EVENT_MAX + 1) + b"\n")
        self.assertIn(f"{self.dir}/two:2:", self.a.fails(1, "publish", "x", self.dir / "one", self.dir / "two"))
        self.assertEqual(self.a.raw("x"), b"1\n2\n3\n4\n")

    def test_binary_above_the_limit(self):
        done = self.a.command("publish", "x", "--binary", stdin=records(b"a", b"m" * (EVENT_MAX + 1)), status=1)
        self.assertIn("record 2:", done.stderr.decode())
        self.assertEqual(self.a.raw("x"), b"a\n")

    def test_durable(self):
        answer = self.a.publish("x", [f"line {n}" for n in range(5000)], "--durable")
        self.assertEqual((answer["events"], answer["last_seq"]), (5000, 4999))
        for number in range(5000, 5010):
            self.assertEqual(self.a.publish("x", ["one more"], "--durable")["last_seq"], number)

    def test_channel_names(self):
        for name in ("a", "sensors/lidar", "a/b/c/d", "a.b-c_d", "x" * 100, "a/b"):
            self.a.publish(name, [name])
            self.assertEqual(self.a.raw(name).decode(), name + "\n")
        for name in ("", "/a", "a/", "a//b", "../a", "a/../b", "a b", "a\n", "x" * 300):
            with self.subTest(name):
                self.assertIn("channel", self.a.fails(2, "publish", name))

    def test_names_that_are_files_of_a_log(self):
        """RedEX keeps `idx`, `dat`, `ts`, `manifest` below a channel's directory: whatever the answer, nothing may break."""
        self.a.publish("x", ["1"])
        for name in ("x/idx", "x/dat", "x/ts", "x/manifest", "x/dat.v2", "idx", "manifest"):
            with self.subTest(name):
                done = self.a.command("publish", name, stdin=b"2\n", status=None)
                self.assertIn(done.returncode, (0, 1, 2), done.stderr)
                if done.returncode == 0:
                    self.assertEqual(self.a.raw(name), b"2\n")
        self.assertEqual(self.a.raw("x"), b"1\n")
        self.a.command("shutdown")
        self.a.wait()
        self.a.start()
        self.assertEqual(self.a.raw("x"), b"1\n")

    def test_many_publishers_of_one_channel(self):
        """Each one's events stay in its order, none is lost, and the ranges printed are true."""
        publishers = []
        for number in range(6):
            process = subprocess.Popen([mesh.PROGRAM, "--endpoint", self.a.dir, "--output", "json", "publish", "x"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            publishers.append(process)
        for number, process in enumerate(publishers):
            for n in range(50):
                process.stdin.write(f"{number} {n}\n".encode())
                process.stdin.flush()
        answers = [json.loads(process.communicate(timeout=mesh.PATIENCE)[0]) for process in publishers]
        lines = self.a.raw("x").decode().splitlines()
        self.assertEqual(len(lines), 300)
        for number, answer in enumerate(answers):
            self.assertEqual(answer["events"], 50)
            mine = [(seq, line) for seq, line in enumerate(lines) if line.startswith(f"{number} ")]
            self.assertEqual([line for _, line in mine], [f"{number} {n}" for n in range(50)])
            self.assertEqual((answer["first_seq"], answer["last_seq"]), (mine[0][0], mine[-1][0]))

    def test_what_is_typed_appears_at_once(self):
        """A publisher on a pipe that pauses: its line is not kept back until there are more."""
        process = subprocess.Popen([mesh.PROGRAM, "--endpoint", self.a.dir, "publish", "x"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, bufsize=0)
        for number in range(3):
            process.stdin.write(f"{number}\n".encode())
            self.assertEqual(self.a.lines("x", number + 1)[-1], str(number))
        process.communicate(timeout=mesh.PATIENCE)

    def test_timestamps(self):
        before = time.time_ns()
        self.a.publish("x", ["1", "2"])
        self.a.publish("x", ["3"])
        stamps = [row["ts_ns"] for row in self.a.rows("x")]
        self.assertEqual(stamps, sorted(stamps))
        self.assertLessEqual(before - 1000000000, stamps[0])
        self.assertLessEqual(stamps[-1], time.time_ns() + 1000000000)


class Tail(mesh.MeshCase):
    def setUp(self):
        super().setUp()
        self.a = self.node("a", "shards.count=2")
        self.a.start()

    def follow(self, channel, *options, **more):
        process = self.a.follow(channel, *options, **more)

        def end():
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()
        self.addCleanup(end)
        return process

    def test_rows(self):
        self.a.publish("x", ["a\"b\\c\td", "ü€😀"])
        rows = self.a.rows("x")
        self.assertEqual([list(row) for row in rows], [["seq", "ts_ns", "origin", "data"]] * 2)
        self.assertEqual([(row["seq"], row["origin"], row["data"]) for row in rows],
                         [(0, "self", "a\"b\\c\td"), (1, "self", "ü€😀")])

    def test_json_rows_are_lines(self):
        """One compact line a row in json, too: a stream is not a document (cli.md 3)."""
        self.a.publish("x", ["1", "2"])
        done = self.a.command("--output", "json", "tail", "x")
        self.assertEqual([json.loads(line)["data"] for line in done.stdout.splitlines()], ["1", "2"])

    def test_bytes_that_are_not_utf8(self):
        for event in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe2\x82"):
            self.a.publish("x", records(event), "--binary")
            row = self.a.rows("x")[-1]
            self.assertNotIn("data", row, event)
            self.assertEqual(base64.b64decode(row["data_base64"]), event)

    def test_control_characters(self):
        event = bytes(set(range(128)))
        self.a.publish("x", records(event), "--binary")
        self.assertEqual(self.a.rows("x")[0]["data"].encode(), event)

    def test_start_and_count(self):
        self.a.publish("x", [str(n) for n in range(1000)])
        every = [str(n) for n in range(1000)]

        def seen(*options):
            rows = self.a.rows("x", *options)
            self.assertEqual([row["seq"] for row in rows], [int(row["data"]) for row in rows])
            return [row["data"] for row in rows]
        self.assertEqual(seen(), every)
        self.assertEqual(seen("--start", "earliest"), every)
        self.assertEqual(seen("--start", "latest"), [])
        self.assertEqual(seen("--start", 990), every[990:])
        self.assertEqual(seen("--start", 0), every)
        self.assertEqual(seen("--start", 1000), [])
        self.assertEqual(seen("--start", 2000), [])
        self.assertEqual(seen("--start", 2 ** 64 - 1), [])
        self.assertEqual(seen("--count", 3), every[:3])
        self.assertEqual(seen("--count", 5000), every)
        self.assertEqual(seen("--count", 0), [])
        self.assertEqual(seen("--start", 500, "--count", 2), every[500:502])
        self.assertEqual(self.a.raw("x", "--start", 998), b"998\n999\n")
        self.assertEqual(self.a.raw("x", "--start", 998, "--count", 1), b"998\n")

    def test_unknown_channel(self):
        self.a.fails(1, "tail", "nowhere")
        self.a.fails(1, "tail", "nowhere", "--raw")
        self.a.fails(1, "tail", "nowhere", "--origin", "self")
        follower = self.follow("nowhere", "--count", 1)
        time.sleep(0.3)
        self.assertIsNone(follower.poll(), "waits")
        self.a.publish("nowhere", ["here"])
        self.assertEqual(json.loads(mesh.read_line(follower.stdout, "the event"))["data"], "here")
        self.assertEqual(follower.wait(mesh.PATIENCE), 0)

    def test_unknown_origin(self):
        self.a.publish("x", ["1"])
        self.a.fails(1, "tail", "x", "--origin", "nobody")
        self.a.fails(1, "tail", "x", "--origin", "0x1234")

    def test_follow(self):
        """From the start given, on and on: no gap, no repeat, whenever the events come."""
        self.a.publish("x", ["0", "1", "2"])
        followers = [self.follow("x"), self.follow("x", "--start", "latest"), self.follow("x", "--start", 5),
                     self.follow("x", "--start", 1, "--count", 4)]
        self.assertEqual([json.loads(mesh.read_line(followers[0].stdout, "row"))["seq"] for _ in range(3)], [0, 1, 2])
        time.sleep(0.3)  # for `latest`, which cannot be seen to have begun
        for number in range(3, 10):
            self.a.publish("x", [str(number)])
        self.a.publish("x", [str(number) for number in range(10, 300)])
        for follower, first, last in zip(followers, (3, 3, 5, 1), (299, 299, 299, 4)):
            for number in range(first, last + 1):
                row = json.loads(mesh.read_line(follower.stdout, f"row {number}"))
                self.assertEqual((row["seq"], row["data"]), (number, str(number)))
        self.assertEqual(followers[3].wait(mesh.PATIENCE), 0)
        followers[0].send_signal(signal.SIGINT)
        self.assertEqual(followers[0].wait(mesh.PATIENCE), 0, "Ctrl-C is an orderly end")

    def test_follow_raw(self):
        follower = self.follow("x", "--raw")
        for number in range(5):
            self.a.publish("x", [f"{number}"])
            self.assertEqual(mesh.read_line(follower.stdout, "event"), f"{number}\n")

    def test_follow_outlives_timeout(self):
        """--timeout is for a stream's first answer."""
        self.a.publish("x", ["0"])
        follower = self.follow("x", "--timeout", "500ms")
        mesh.read_line(follower.stdout, "row")
        time.sleep(1)
        self.a.publish("x", ["1"])
        self.assertEqual(json.loads(mesh.read_line(follower.stdout, "row"))["seq"], 1)

    def test_follow_of_a_log_that_grows_fast(self):
        """A follower that starts in the middle of a publish, and one that reads slowly."""
        text = "".join(f"{n} {'.' * (n * 7919 % 200)}\n" for n in range(60000)).encode()
        slow = self.follow("x", "--raw", "--count", 60000)
        publisher = subprocess.Popen([mesh.PROGRAM, "--endpoint", self.a.dir, "publish", "x"], stdin=subprocess.PIPE,
                                     stdout=subprocess.DEVNULL)
        got = bytearray()
        for at in range(0, len(text), 200000):
            publisher.stdin.write(text[at:at + 200000])
            publisher.stdin.flush()
            got += os.read(slow.stdout.fileno(), 1000)
        publisher.stdin.close()
        middle = self.follow("x", "--raw", "--start", 20000, "--count", 40000)
        self.assertEqual(publisher.wait(mesh.PATIENCE), 0)
        self.assertEqual(middle.stdout.read(), text[text.index(b"\n20000 ") + 1:])
        got += slow.stdout.read()
        self.assertTrue(got == text, "the slow one has it all, too")

    def test_followers_that_go_away(self):
        self.a.publish("x", [f"{n}" for n in range(5000)])
        for _ in range(20):
            follower = self.follow("x")
            mesh.read_line(follower.stdout, "row")
            follower.kill()
        self.a.publish("x", ["after"])
        self.assertEqual(self.a.raw("x", "--start", 5000), b"after\n")

    def test_reader_that_closes_its_end(self):
        self.a.publish("x", [f"{n} {'.' * 1000}" for n in range(5000)])
        tail = subprocess.Popen([mesh.PROGRAM, "--endpoint", self.a.dir, "tail", "x", "--raw"], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)
        tail.stdout.read(10)
        tail.stdout.close()
        self.assertEqual(tail.wait(mesh.PATIENCE), 1)
        tail.stderr.close()

    def test_formats(self):
        self.a.publish("x", ["one"])
        for output, expected in (("ndjson", '"seq":0'), ("json", '"seq":0'), ("yaml", "seq: 0"), ("table", "one"), ("text", "one")):
            self.assertIn(expected, self.a.command("--output", output, "tail", "x").stdout.decode())


class Terminal(mesh.MeshCase):
    def on_a_terminal(self, process, terminal):
        """What the process writes there until it ends."""
        shown = b""
        while process.poll() is None or select.select([terminal], [], [], 0)[0]:
            if select.select([terminal], [], [], 0.05)[0]:
                shown += os.read(terminal, 4096)
        return shown.decode()

    def test_progress_and_rate(self):
        a = self.node("a")
        a.start()
        terminal, end = pty.openpty()
        self.addCleanup(os.close, terminal)
        self.addCleanup(os.close, end)
        with subprocess.Popen([mesh.PROGRAM, "--endpoint", a.dir, "publish", "x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=end) as publisher:
            for number in range(8):
                publisher.stdin.write(f"{number}\n".encode())
                publisher.stdin.flush()
                time.sleep(0.1)
            publisher.stdin.close()
            shown = self.on_a_terminal(publisher, terminal)
            self.assertEqual(json.loads(publisher.stdout.read())["events"], 8)
        self.assertRegex(shown, r"\r[0-9.]+ MB, [1-8] events, [0-9]+ events/s")
        self.assertTrue(shown.endswith("\r\x1b[K"), "and goes away")

    def test_tables_are_for_terminals(self):
        a = self.node("a")
        a.start()
        a.publish("x", ["y"])
        terminal, end = pty.openpty()
        self.addCleanup(os.close, terminal)
        self.addCleanup(os.close, end)
        with subprocess.Popen([mesh.PROGRAM, "--endpoint", a.dir, "channel", "ls"], stdout=end) as command:
            self.assertRegex(self.on_a_terminal(command, terminal), r"\A(\x1b\[1m)?CHANNEL +ORIGIN .*\r\nx +self ")
        self.assertEqual(json.loads(a.command("channel", "ls").stdout)[0]["channel"], "x")


class Hole(mesh.MeshCase):
    @mesh.needs_namespaces
    def test_hole(self):
        """After an unclean end and another boot of the machine the log goes on behind all sequences that may have been seen.
        The hole is one row, and raw passes over it."""
        a = self.node("a", "shards.count=1")
        a.start()
        a.publish("x", ["0", "1", "2"])
        a.kill()
        boot = self.dir / "boot_id"
        boot.write_text("01234567-89ab-cdef-0123-456789abcdef\n")
        a.prefix = mesh.with_mounts(f"mount --bind {boot} /proc/sys/kernel/random/boot_id")
        a.start()
        first = a.publish("x", ["after"])["first_seq"]
        self.assertGreater(first, 3)
        rows = a.rows("x")
        self.assertEqual([row["data"] for row in rows[:3]], ["0", "1", "2"])
        self.assertEqual(rows[3], {"gap": [3, first - 1]})
        self.assertEqual((rows[4]["seq"], rows[4]["data"]), (first, "after"))
        self.assertEqual(a.raw("x"), b"0\n1\n2\nafter\n")
        self.assertEqual(a.rows("x", "--start", 5), [{"gap": [5, first - 1]}, rows[4]])
        self.assertEqual([row.get("seq") for row in a.rows("x", "--start", 2)], [2, None, first])
        self.assertEqual(a.rows("x", "--count", 4), rows, "a hole is no event")
        self.assertIn(f"gap 3..{first - 1}", a.command("--output", "table", "tail", "x").stdout.decode())
        a.terminate()
        a.start()
        self.assertEqual(a.rows("x"), rows, "the hole stays where it was")


if __name__ == "__main__":
    mesh.main()
