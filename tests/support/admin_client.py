"""A node's admin port without the program in between: for what publishes much, or looks often."""
import http.client
import json
import pathlib
import socket
import struct
import urllib.parse


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Admin:
    """`node` is a mesh_process.Node whose admin port is a socket in its directory, or an address."""

    def __init__(self, node):
        self.headers = {"Authorization": "Bearer " + (pathlib.Path(node.dir) / "admin.token").read_text().strip()}
        if node.admin.startswith("unix:"):
            self.connection = UnixConnection(node.dir / node.admin[len("unix:"):])
        else:
            self.connection = http.client.HTTPConnection(node.admin, timeout=120)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def request(self, method, path, body=None, content_type=None):
        headers = {**self.headers, **({"Content-Type": content_type} if content_type else {})}
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise OSError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text)

    def channel(self, name, origin="self"):
        """Of the rows with this name the one with most events, or None: a channel has several logs once it was followed."""
        rows = [row for row in self.request("GET", "/v1/channels") if row["channel"] == name and row["origin"] == origin]
        return max(rows, key=lambda row: row["next_seq"], default=None)

    def publish(self, channel, events):
        """`events` are bytes, each one event; the node's answer, after all are in the log."""
        body = b"".join(struct.pack("<I", len(event)) + event for event in events)
        return self.request("POST", f"/v1/channels/{urllib.parse.quote(channel, safe='')}/publish", body, "application/octet-stream")
