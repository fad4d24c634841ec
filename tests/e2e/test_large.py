#!/usr/bin/env python3
"""Events larger than a packet, on real nodes: published in every form, stored, sent in fragments, read back byte by byte."""
import base64
import http.client
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

MIB = 1 << 20
LARGEST = 16 * MIB


class Large(mesh.MeshCase):
    def mesh(self, *values):
        return self.pair("limits.event_bytes=16MiB", "channels.none_bytes=32MiB", *values)

    def file(self, name, data):
        (self.dir / name).write_bytes(data)
        return self.dir / name

    def tailed(self, node, channel, number, *options):
        """Event `number` of the log, as it is."""
        return node.raw(channel, "--start", number, "--count", 1, "--follow", *options)[:-1]

    def file_goes_to_a_subscriber(self, shards, *how):
        alice, bob = self.mesh(f"shards.count={shards}")
        bob.json("subscribe", "files", "--from", "alice", *how)
        data = os.urandom(10 * MIB)
        answer = alice.publish("files", b"", "--whole", self.file("f", data))
        self.assertEqual((answer["events"], answer["bytes"]), (1, len(data)))
        self.assertEqual(self.tailed(alice, "files", 0), data)
        self.assertEqual(self.tailed(bob, "files", 0), data)
        self.assertEqual(bob.drops(), {})

    def test_a_file_goes_to_a_follower(self):
        self.file_goes_to_a_subscriber(1)

    def test_a_file_goes_to_a_follower_of_many_shards(self):
        self.file_goes_to_a_subscriber(3)

    def test_a_file_goes_live(self):
        self.file_goes_to_a_subscriber(1, "--live")

    def test_a_file_goes_live_over_many_shards(self):
        self.file_goes_to_a_subscriber(3, "--live")

    def test_a_follower_gets_what_was_there_before(self):
        alice, bob = self.mesh("shards.count=2")
        events = [os.urandom(size) for size in (LARGEST, 100, 3 * MIB, 60000)]
        for data in events:
            alice.publish("x", data, "--whole")
        bob.json("subscribe", "x", "--from", "alice")
        for n, data in enumerate(events):
            self.assertEqual(self.tailed(bob, "x", n), data, f"{len(data)} bytes")
        self.assertEqual(bob.drops(), {})

    def test_sizes_around_every_boundary(self):
        alice, bob = self.mesh("shards.count=2")
        bob.json("subscribe", "x", "--from", "alice", "--live")
        sizes = [0, 1, 8108, 8109, 59996, 59997, 65536, 262144, 262145, MIB, LARGEST - 1, LARGEST, 10]
        events = [os.urandom(size) for size in sizes]
        for n, data in enumerate(events):
            self.assertEqual(alice.publish("x", data, "--whole")["last_seq"], n)
        for node in alice, bob:
            for n, data in enumerate(events):
                self.assertEqual(self.tailed(node, "x", n), data, f"{len(data)} bytes")

    def test_the_limit_is_named(self):
        alice, _ = self.pair("shards.count=1", "limits.event_bytes=2MiB")
        data = self.file("large", os.urandom(2 * MIB + 1))
        error = alice.fails(1, "publish", "x", "--whole", data)
        self.assertIn(f"{data}: ", error)
        self.assertIn("2097152", error)
        self.assertIn("limits.event_bytes", error)
        far = self.file("far", b"x" * (LARGEST + 1))
        self.assertIn("16 MiB", alice.fails(1, "publish", "x", "--whole", far))
        self.assertIn("--whole", alice.fails(2, "publish", "x", "--whole", "--binary", data))

    def test_a_channel_without_a_log_names_its_own(self):
        alice, _ = self.pair("shards.count=1", "channels.log=none", "channels.none_bytes=512KiB")
        error = alice.fails(1, "publish", "x", "--whole", self.file("f", os.urandom(512 << 10)))
        self.assertIn("channels.none_bytes", error)
        self.assertEqual(alice.publish("x", os.urandom((512 << 10) - 4), "--whole")["events"], 1)

    def request(self, node, method, path, body=None, kind=None):
        host, port = node.admin.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=mesh.PATIENCE)
        headers = {"Authorization": "Bearer " + (node.dir / "admin.token").read_text().strip()}
        if kind:
            headers["Content-Type"] = kind
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text

    def test_every_form_over_http(self):
        alice, _ = self.mesh("shards.count=2")
        text, noise = "größer \"als\" ein Paket\u0001 " * 100000, os.urandom(3 * MIB + 1)
        lines = json.dumps({"data": text}) + "\n" + json.dumps({"data_base64": base64.b64encode(noise).decode()}) + "\n"
        status, _ = self.request(alice, "POST", "/v1/channels/x/publish", lines, "application/x-ndjson")
        self.assertEqual(status, 200)
        status, _ = self.request(alice, "POST", "/v1/channels/x/publish", text.encode(), "text/plain; charset=utf-8")
        self.assertEqual(status, 200)
        _, rows = self.request(alice, "GET", "/v1/channels/x/events")
        rows = [json.loads(line) for line in rows.splitlines()]
        self.assertEqual([row.get("data") for row in rows], [text, None, text])
        self.assertEqual(base64.b64decode(rows[1]["data_base64"]), noise)
        _, stream = self.request(alice, "GET", "/v1/channels/x/events?format=sse")
        data = [line[6:] for line in stream.decode().split("\n") if line.startswith("data: ")]
        self.assertEqual([json.loads(row) for row in data], rows)

    def test_into_the_log_of_a_peer(self):
        alice, bob = self.mesh("shards.count=2")
        data = os.urandom(10 * MIB)
        answer = alice.publish("inbox", b"", "--whole", "--durable", "--to", "bob", self.file("f", data))
        self.assertEqual(answer["events"], 1)
        self.assertEqual(self.tailed(bob, "inbox", 0), data)
        for _ in range(2):
            alice.publish("inbox", b"", "--whole", "--to", "bob", "--producer", self.dir / "producer", self.file("f", data))
        self.assertEqual(bob.channel("inbox")["next_seq"], 3)
        self.assertEqual(self.tailed(bob, "inbox", 2), data)

    def test_they_are_there_after_a_crash(self):
        alice, _ = self.mesh("shards.count=1")
        data = [os.urandom(size) for size in (LARGEST, 5, 3 * MIB)]
        for event in data:
            alice.publish("x", event, "--whole", "--durable")
        alice.kill()
        alice.start()
        for n, event in enumerate(data):
            self.assertEqual(self.tailed(alice, "x", n), event)

    def test_slow_readers_hold_no_copies(self):
        """Readers that stop in the middle of a large event, on another shard than its log: memory stays what it was."""
        if mesh.SANITIZER:
            self.skipTest("the sanitizer has the memory")
        alice, _ = self.mesh("shards.count=4")
        alice.publish("x", os.urandom(LARGEST), "--whole")

        def resident():
            status = pathlib.Path(f"/proc/{alice.process.pid}/status").read_text()
            return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) * 1024
        before = resident()
        readers = [alice.follow("x", "--raw") for _ in range(20)]
        for reader in readers:
            self.assertEqual(len(os.read(reader.stdout.fileno(), 4096)), 4096)
        self.assertLess(resident() - before, 40 * MIB)
        for reader in readers:
            reader.kill()
            reader.wait()
            reader.stdout.close()
            reader.stderr.close()


if __name__ == "__main__":
    mesh.main()
