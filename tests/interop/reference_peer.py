#!/usr/bin/env python3
"""A net-mesh 0.19.0 node (the PyPI package) on strings: one JSON command per line in, one JSON answer per line out.

    {"op": "open", "bind": "127.0.0.1:9000", "psk": HEX, "seed": HEX}  ->  {"ok": {"node_id": "0x…", "public_key": HEX}}
    {"op": "poll", "limit": 100}                                        ->  {"ok": ["event", …]}
    anything that fails                                                 ->  {"error": "text of the reference"}

Commands are the methods of Peer below; they run one after the other. The node goes when its input ends. It has one
shard, because poll reads shard 0 only, and its events are text, because poll shows others as "".
"""
import json
import sys

import net


class Peer:
    def __init__(self):
        self.mesh = None

    def open(self, bind, psk, seed, heartbeat_ms=300, session_timeout_ms=700, reflex=None):
        """Makes the node; it does not run before `start`, which is when `accept` is possible."""
        self.mesh = net.NetMesh(bind, psk, heartbeat_interval_ms=heartbeat_ms, session_timeout_ms=session_timeout_ms,
                                num_shards=1, identity_seed=bytes.fromhex(seed), reflex_override=reflex)
        return {"node_id": f"{self.mesh.node_id:#018x}", "public_key": self.mesh.public_key}

    def accept(self, node_id):
        """Waits for a direct handshake; before `start` only (session.md 6.2)."""
        return self.mesh.accept(int(node_id, 16))

    def start(self):
        self.mesh.start()

    def connect(self, addr, public_key, node_id):
        """Dials in direct mode (session.md 6.1)."""
        self.mesh.connect(addr, public_key, int(node_id, 16))

    def connect_routed(self, public_key, node_id):
        """Dials in routed mode, straight to the address that the peer's capability announcement told (nat.md 8)."""
        self.mesh.connect_direct(int(node_id, 16), public_key, int(node_id, 16))

    def announce(self):
        """Tells its direct peers its capabilities, and with them its public address."""
        self.mesh.announce_capabilities({})

    def peer_count(self):
        return self.mesh.peer_count()

    def register(self, channel):
        """Makes a channel that others may subscribe to."""
        self.mesh.register_channel(channel)

    def subscribe(self, publisher, channel):
        self.mesh.subscribe_channel(int(publisher, 16), channel)

    def unsubscribe(self, publisher, channel):
        self.mesh.unsubscribe_channel(int(publisher, 16), channel)

    def publish(self, channel, text):
        """To whom it went: {attempted, delivered, errors}. Subscribers that the failure detector lost are not attempted."""
        return self.mesh.publish(channel, text.encode())

    def poll(self, limit):
        return [event.raw for event in self.mesh.poll(limit)]


def main():
    peer = Peer()
    for line in sys.stdin:
        command = json.loads(line)
        operation = getattr(peer, command.pop("op"))
        try:
            answer = {"ok": operation(**command)}
        except Exception as error:  # whatever the reference raises is the answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    if peer.mesh is not None:
        peer.mesh.shutdown()


if __name__ == "__main__":
    main()
