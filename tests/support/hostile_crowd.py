#!/usr/bin/env python3
"""Clients that wish an admin port ill, many at a time, each kind in its own way, until told to stop (SIGTERM).

usage: hostile_crowd.py HOST PORT TOKEN_FILE CONNECTIONS

TOKEN_FILE is one of the node's: some have come by it and behave no better. Says "ready" when all have connected once, and at
the end what each kind did, as JSON: {kind: {"connections": N, "sent": BYTES, "received": BYTES}}.
"""
import asyncio
import collections
import json
import os
import pathlib
import random
import signal
import socket
import struct
import sys

HOST, PORT, TOKEN = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3]).read_text().strip()
CONNECTIONS = int(sys.argv[4])
HEAD = f"Host: {HOST}:{PORT}\r\n".encode()
AUTHORIZED = HEAD + f"Authorization: Bearer {TOKEN}\r\n".encode()
EVENTS = b"GET /v1/channels/big/events?origin=self"

counts = collections.defaultdict(lambda: collections.Counter(connections=0, sent=0, received=0))


class Client:
    """A connection; ends when the node closes it, which is no error."""

    def __init__(self, kind):
        self.count = counts[kind]
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.loop = asyncio.get_running_loop()

    async def connect(self, receive_buffer=None):
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await self.loop.sock_connect(self.sock, (HOST, PORT))
        self.count["connections"] += 1

    async def send(self, data):
        await self.loop.sock_sendall(self.sock, data)
        self.count["sent"] += len(data)

    async def receive(self, patience):
        """What came, b"" at the end, None: nothing in that time."""
        try:
            data = await asyncio.wait_for(self.loop.sock_recv(self.sock, 65536), patience)
        except asyncio.TimeoutError:
            return None
        self.count["received"] += len(data)
        return data

    async def until_closed(self):
        while await self.receive(3600) != b"":
            pass


async def drip(client, data, pause):
    """A byte now and then, as long as the node listens."""
    for i in range(len(data)):
        await client.send(data[i:i + 1])
        if await client.receive(pause) == b"":
            return
    await client.until_closed()


async def slow_head(client):
    await client.connect()
    await drip(client, b"GET /v1/node HTTP/1.1\r\n" + AUTHORIZED + b"X-Slow: " + b"z" * 10000, random.uniform(0.3, 1))


async def slow_body(client):
    await client.connect()
    await client.send(b"POST /v1/peers HTTP/1.1\r\n" + AUTHORIZED + b"Content-Length: 5000\r\n\r\n")
    await drip(client, b"{" + b" " * 4999, random.uniform(0.3, 1))


BROKEN = (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 5000,
          b"GET /v1/node HTTP/1.1\r\nHost : x\r\n\r\n", b"POST /v1/peers HTTP/1.1\r\n" + AUTHORIZED + b"Content-Length: -1\r\n\r\n",
          b"POST /v1/peers HTTP/1.1\r\n" + AUTHORIZED + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          b"POST /v1/channels/x/publish HTTP/1.1\r\n" + AUTHORIZED +
          b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
          b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /%zz HTTP/1.1\r\n" + AUTHORIZED + b"\r\n",
          b"GET /v1/node HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n",
          b"POST /v1/shutdown HTTP/1.1\r\n" + AUTHORIZED + b"Origin: http://evil.example\r\nContent-Length: 0\r\n\r\n")


async def broken(client):
    await client.connect()
    await client.send(random.choice(BROKEN) if random.random() < 0.8 else random.randbytes(random.randrange(1, 3000)))
    await client.until_closed()


async def huge_head(client):
    await client.connect()
    await client.send(b"GET /v1/node HTTP/1.1\r\n" + AUTHORIZED)
    while True:
        await client.send(b"X-Filler: " + b"a" * 4000 + b"\r\n")
        if await client.receive(0.05) == b"":
            return


async def huge_body(client):
    await client.connect()
    token = AUTHORIZED if random.random() < 0.5 else HEAD
    await client.send(b"POST /v1/peers HTTP/1.1\r\n" + token + b"Content-Length: 99999999999\r\n\r\n")
    for _ in range(1000):
        await client.send(b"x" * 65536)
        if await client.receive(0.05) == b"":
            return


async def silent(client):
    await client.connect()
    await client.until_closed()


async def half_closed(client):
    await client.connect()
    await client.send(random.choice((b"", b"GET /v1/no", b"GET /v1/node HTTP/1.1\r\n" + AUTHORIZED,
                                     b"POST /v1/peers HTTP/1.1\r\n" + AUTHORIZED + b"Content-Length: 10\r\n\r\n{",
                                     EVENTS + b"&follow=true HTTP/1.1\r\n" + AUTHORIZED + b"\r\n")))
    client.sock.shutdown(socket.SHUT_WR)
    await client.until_closed()
    await asyncio.sleep(3600)  # and keeps its half


async def pipelined_flood(client):
    await client.connect()
    request = b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n"
    while True:
        await client.send(request * 500)
        await asyncio.sleep(0.2)
        if await client.receive(0.01) == b"":
            return


async def never_reads(client):
    await client.connect(receive_buffer=4096)
    query = random.choice((b"", b"&format=binary"))
    await client.send((EVENTS + query + b" HTTP/1.1\r\n" + AUTHORIZED + b"\r\n") * 20)
    await asyncio.sleep(3600)


async def stalled_events(client):
    await client.connect(receive_buffer=4096)
    await client.send(EVENTS + b"&follow=true&format=sse HTTP/1.1\r\n" + AUTHORIZED + b"\r\n")
    await client.receive(1)
    await asyncio.sleep(3600)


async def reset(client):
    await client.connect()
    request = random.choice((b"GET /v1/no", EVENTS + b"&limit=300 HTTP/1.1\r\n" + AUTHORIZED + b"\r\n",
                             b"POST /v1/channels/reset/publish HTTP/1.1\r\n" + AUTHORIZED +
                             b"Content-Type: text/plain\r\nContent-Length: 1000\r\n\r\nx"))
    await client.send(request)
    await client.receive(random.uniform(0, 0.2))
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


KINDS = (slow_head, slow_body, broken, huge_head, huge_body, silent, half_closed, pipelined_flood, never_reads, stalled_events,
         reset)


async def again_and_again(kind):
    """Whoever is thrown out comes back."""
    while True:
        client = Client(kind.__name__)
        try:
            await kind(client)
        except OSError:
            pass
        finally:
            client.sock.close()
        await asyncio.sleep(random.uniform(0.2, 0.6))


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tasks = []
    for i in range(CONNECTIONS):
        tasks.append(asyncio.create_task(again_and_again(KINDS[i % len(KINDS)])))
        if i % 25 == 24:
            await asyncio.sleep(0.05)
    while sum(count["connections"] for count in counts.values()) < CONNECTIONS:
        await asyncio.sleep(0.05)
    print("ready", flush=True)
    await stop.wait()
    print(json.dumps(counts), flush=True)
    os._exit(0)  # all at once, whatever each is about to do


asyncio.run(main())
