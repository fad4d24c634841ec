#!/usr/bin/env python3
"""The admin port of running nodes: what its lists say is so, streams resume, the log level counts at once."""
import contextlib
import http.client
import json
import pathlib
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


class Port:
    """Requests to a node's admin port as a program makes them."""

    def __init__(self, node, token="admin"):
        self.host, port = node.admin.rsplit(":", 1)
        self.port = int(port)
        self.token = (node.dir / f"{token}.token").read_text().strip()

    def open(self, method, target, body=None, **headers):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=mesh.PATIENCE)
        connection.request(method, target, body, {"Authorization": f"Bearer {self.token}",
                                                  **{key.replace("_", "-"): value for key, value in headers.items()}})
        return connection, connection.getresponse()

    def ask(self, method, target, body=None, **headers):
        connection, response = self.open(method, target, body, **headers)
        with contextlib.closing(connection), response:
            return response.status, response.read()

    def get(self, target):
        status, body = self.ask("GET", target)
        assert status == 200, body
        return json.loads(body)


def sse(response):
    """[(fields of an event, as a dict)] as they come; comments are {"": text}."""
    event = {}
    for line in response:
        line = line.decode().rstrip("\n")
        if not line:
            yield event
            event = {}
        else:
            key, _, value = line.partition(":")
            event[key] = value.removeprefix(" ")


class Admin(mesh.MeshCase):
    def test_sessions_agree_at_both_ends(self):
        alice, bob = self.pair("shards.count=2")
        bob.command("subscribe", "x", "--from", "alice")
        alice.publish("x", ["y" * 100] * 5000)
        bob.wait_for("x", 5000, alice.node_id)

        def active(node):
            return [row for row in Port(node).get("/v1/sessions") if row["state"] == "active"]
        (a,), (b,) = active(alice), active(bob)
        self.assertEqual(a["id"], b["id"])
        self.assertEqual((a["rx_id"], a["tx_id"]), (b["tx_id"], b["rx_id"]))
        self.assertEqual((a["peer"], a["peer_name"]), (bob.node_id, "bob"))
        self.assertEqual((b["peer"], b["peer_name"]), (alice.node_id, "alice"))
        self.assertEqual(a["cipher"], b["cipher"])
        self.assertNotEqual(a["initiator"], b["initiator"])
        self.assertEqual((a["silent"], b["silent"]), (False, False))
        self.assertIn("secure", a["features"])
        self.assertGreater(a["tx_bytes"], 5000 * 100)
        self.assertGreaterEqual(b["rx_bytes"], 5000 * 100)
        self.assertGreater(b["rx_packets"], 0)
        self.assertEqual(a["window"]["tx"], b["window"]["rx"])
        self.assertLess(a["age_ms"], Port(alice).get("/v1/node")["uptime_ms"])
        sent = active(alice)[0]["tx_packets"]  # on loopback nothing is lost
        received = mesh.eventually(lambda: max(0, active(bob)[0]["rx_packets"] - sent) or None, "all of it, and a heartbeat") + sent
        self.assertLessEqual(received, active(alice)[0]["tx_packets"])

    def test_streams_agree_at_both_ends(self):
        alice, bob = self.pair("shards.count=2")
        bob.command("subscribe", "x", "--from", "alice", "--live")
        alice.publish("x", ["y" * 100] * 5000)
        bob.wait_for("x", 5000, alice.node_id)

        def stream(node, query=""):
            return next((row for row in Port(node).get("/v1/streams" + query) if row["channel"] == "x"), None)

        def settled():
            sent, came = stream(alice), stream(bob)
            return (sent, came) if sent["tx_bytes"] == came["rx_bytes"] and \
                sent["tx_credit_remaining"] == sent["tx_window"] else None
        sent, came = mesh.eventually(settled, "all of it granted anew")
        self.assertEqual(sent["id"], came["id"])
        self.assertEqual((sent["peer_name"], came["peer_name"]), ("bob", "alice"))
        self.assertGreater(sent["tx_bytes"], 5000 * 104)
        self.assertEqual(came["rx_seq"], sent["tx_seq"] - 1)
        self.assertEqual(sent["tx_window"], came["rx_window"])
        self.assertGreater(came["credit_grants_sent"], 0)
        self.assertEqual(sent["credit_grants_received"], came["credit_grants_sent"])
        self.assertEqual((sent["written_off_bytes"], came["tx_bytes"], sent["rx_bytes"]), (0, 0, 0))
        self.assertEqual(stream(alice, "?peer=bob")["id"], sent["id"])
        rows = json.loads(alice.command("stream", "ls", "--peer", "bob", "--output", "json").stdout)
        self.assertIn(sent["id"], [row["id"] for row in rows])

    def test_shards_are_the_metrics(self):
        alice, bob = self.pair("shards.count=2", "shards.pin=true")
        alice.publish("x", ["1"] * 100)
        rows, metrics = Port(alice).get("/v1/shards"), alice.metrics()
        self.assertEqual([row["shard"] for row in rows], [0, 1])
        self.assertTrue(all(isinstance(row["cpu"], int) for row in rows))
        self.assertEqual(sum(row["published_events"] for row in rows), 100)
        for key, name in (("peers", "peers"), ("logs", "logs"), ("published_events", "published_events_total")):
            self.assertEqual(sum(row[key] for row in rows), metrics[name], key)
        self.assertGreater(sum(row["turns"] for row in rows), 0)
        self.assertTrue(all(0 <= row["ring"]["used"] <= row["ring"]["bytes"] for row in rows))

    def test_subscribers_and_how_far_behind(self):
        alice, bob = self.pair("shards.count=2")
        port = Port(alice)
        self.assertEqual(port.get("/v1/subscribers"), [])
        bob.command("subscribe", "x", "--from", "alice")
        alice.publish("x", ["1"] * 10)
        bob.wait_for("x", 10, alice.node_id)
        self.assertEqual(port.get("/v1/subscribers"), [{"channel": "x", "peer": bob.node_id, "peer_name": "bob",
                                                        "mode": "follow", "next_seq": 10, "lag": 0}])
        bob.kill()
        alice.publish("x", ["2"] * 5)
        row, = port.get("/v1/subscribers")
        self.assertGreaterEqual(row["next_seq"] + row["lag"], 15)

    def test_appended_counts_from_the_start(self):
        a = self.node("a")
        a.start()
        a.publish("x", ["12345"] * 3)
        row = a.channel("x")
        self.assertEqual((row["appended_events"], row["appended_bytes"], row["next_seq"]), (3, 15, 3))
        a.terminate()
        a.start()
        row = a.channel("x")
        self.assertEqual((row["appended_events"], row["appended_bytes"], row["next_seq"]), (0, 0, 3))

    def test_the_log_level_counts_at_once(self):
        alice, bob = self.node("alice", *mesh.SHORT_TIMERS, "logging.level=error"), None
        alice.start()
        port = Port(alice)
        self.assertEqual(port.get("/v1/log-level"), {"level": "error"})
        self.assertEqual(port.ask("PUT", "/v1/log-level", '{"level":"debug"}')[0], 200)
        self.assertEqual(port.get("/v1/log-level"), {"level": "debug"})
        silent = alice.stderr()
        bob = self.node("bob", *mesh.SHORT_TIMERS, psk_from=alice)
        bob.start()
        self.introduce(alice, bob)
        mesh.eventually(lambda: alice.stderr() != silent, "the node says something that it did not say before")
        alice.terminate()
        alice.start()
        self.assertEqual(Port(alice).get("/v1/log-level"), {"level": "error"}, "node.yaml stays as it is")

    def test_server_sent_events_resume(self):
        a = self.node("a")
        a.start()
        a.publish("x", [0, 1, 2])
        port = Port(a, "readonly")
        connection, response = port.open("GET", "/v1/channels/x/events?follow=true", Accept="text/event-stream")
        with contextlib.closing(connection), response:
            self.assertEqual(response.getheader("Content-Type"), "text/event-stream")
            events = sse(response)
            seen = [next(events) for _ in range(3)]
            a.publish("x", [3])
            seen.append(next(events))
        self.assertEqual([event["id"] for event in seen], ["0", "1", "2", "3"])
        self.assertEqual([json.loads(event["data"])["data"] for event in seen], ["0", "1", "2", "3"])
        a.publish("x", [4, 5])
        connection, response = port.open("GET", "/v1/channels/x/events?follow=true", Accept="text/event-stream",
                                         Last_Event_ID=seen[-1]["id"])
        with contextlib.closing(connection), response:
            events = sse(response)
            self.assertEqual([next(events)["id"] for _ in range(2)], ["4", "5"])

    def test_which_log_a_name_means(self):
        """One name, several logs, on several shards: only those of that name count."""
        alice, bob = self.pair("shards.count=2")
        for channel in ("x", "both", "other/a", "other/b"):
            alice.publish(channel, ["mine"])
        alice.command("subscribe", "both", "--from", "bob")
        bob.publish("both", ["theirs"])
        alice.wait_for("both", 1, bob.node_id)
        connection, response = Port(alice).open("GET", "/v1/channels/both/events")
        with contextlib.closing(connection), response:
            self.assertEqual(response.status, 400)
            self.assertIn("several logs", json.loads(response.read())["error"]["message"])
        for channel, status in (("x", 200), ("other/b", 200), ("none", 404)):
            connection, response = Port(alice).open("GET", f"/v1/channels/{urllib.parse.quote(channel, safe='')}/events")
            with contextlib.closing(connection), response:
                self.assertEqual(response.status, status, channel)
        connection, response = Port(alice).open("GET", "/v1/channels/later/events?follow=true")
        with contextlib.closing(connection), response:
            alice.publish("later", ["at last"])
            self.assertEqual(json.loads(response.readline())["data"], "at last")

    def test_what_is_shown_can_be_published(self):
        """Rows of one channel, less what only the log knows, are NDJSON for another."""
        a = self.node("a")
        a.start()
        events = [b"", b"text", b"\xff\0", "\u00e4\U0001f600\"\\\t".encode(), b"z" * 8108]
        a.publish("x", b"".join(len(event).to_bytes(4, "little") + event for event in events), "--binary")
        lines = "".join(json.dumps({key: value for key, value in row.items() if key.startswith("data")}) + "\n"
                        for row in a.rows("x"))
        status, answer = Port(a).ask("POST", "/v1/channels/y/publish?durable=true", lines.encode(),
                                     Content_Type="application/x-ndjson")
        self.assertEqual((status, json.loads(answer)["events"]), (200, len(events)), answer)
        self.assertEqual(a.raw("y"), a.raw("x"))

    def test_tokens_are_read_again(self):
        a = self.node("a")
        a.start()
        admin, reader = Port(a), Port(a, "readonly")
        self.assertEqual(reader.ask("GET", "/v1/node")[0], 200)
        (a.dir / "readonly.token").write_text("5" * 64 + "\n")
        self.assertEqual(admin.ask("POST", "/v1/reload")[0], 200)
        self.assertEqual(reader.ask("GET", "/v1/node")[0], 401)
        self.assertEqual(Port(a, "readonly").ask("GET", "/v1/node")[0], 200)
        (a.dir / "readonly.token").unlink()
        self.assertEqual(admin.ask("POST", "/v1/reload")[0], 200)
        self.assertEqual(admin.ask("GET", "/v1/node")[0], 200)
        reader.token = "5" * 64
        self.assertEqual(reader.ask("GET", "/v1/node")[0], 401)


if __name__ == "__main__":
    mesh.main()
