#!/usr/bin/env python3
"""The key log, and the Wireshark dissector on what two nodes said to each other: recorded by a relay between them."""
import hashlib
import json
import os
import pathlib
import random
import re
import select
import shutil
import socket
import stat
import struct
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

ROOT = pathlib.Path(__file__).parents[2]
DISSECTOR = ROOT / "deploy/wireshark/netmesh.lua"
VECTORS = ROOT / "tests/data"
KEY_LINE = re.compile(r"NETMESH_SESSION id=0x([0-9a-f]{16}) from=(0x[0-9a-f]{16}) to=(0x[0-9a-f]{16}) "
                      r"cipher=(aes-256-gcm|chacha20-poly1305) epochs=(yes|no) key=([0-9a-f]{64})\n")
needs_tshark = unittest.skipUnless(shutil.which("tshark"), "needs tshark: tests/run --wireshark installs it")


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


class Relay:
    """Stands between two nodes, which know each other under its address, and keeps what passes."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.ends, self.passed, self.stop = [], [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def between(self, *nodes):
        self.ends = [address(node.listen) for node in nodes]
        self.thread.start()

    def run(self):
        while not self.stop.is_set():
            if not select.select([self.socket], [], [], 0.05)[0]:
                continue
            try:
                data, source = self.socket.recvfrom(65536)
            except OSError:
                continue  # the other end is not there yet
            if source in self.ends:
                target = self.ends[1 - self.ends.index(source)]
                self.passed.append((source, target, data))
                self.socket.sendto(data, target)

    def close(self):
        self.stop.set()
        if self.ends:
            self.thread.join()
        self.socket.close()


def write_pcap(path, datagrams, snap=None):
    """Raw IPv4 and UDP around each (source, target, bytes); `snap` cuts what was captured."""
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        for n, (source, target, data) in enumerate(datagrams):
            udp = struct.pack(">HHHH", source[1], target[1], 8 + len(data), 0) + data
            packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, socket.inet_aton(source[0]),
                                 socket.inet_aton(target[0])) + udp
            kept = packet[:snap(n, len(packet))] if snap else packet
            out.write(struct.pack("<IIII", n // 1000, n % 1000 * 1000, len(kept), len(packet)) + kept)


def seal(key, nonce, aad, text):
    """ChaCha20-Poly1305 as RFC 8439 has it, for packets that no node sends within the time of a test."""
    def block(counter):
        state = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce)]
        x = list(state)
        for _ in range(10):
            for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                               (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
                for i, j, k, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                    x[i] = (x[i] + x[j]) & 0xffffffff
                    x[k] ^= x[i]
                    x[k] = (x[k] << turn | x[k] >> 32 - turn) & 0xffffffff
        return struct.pack("<16I", *((p + q) & 0xffffffff for p, q in zip(x, state)))

    stream = b"".join(block(1 + i) for i in range(len(text) // 64 + 1))
    cipher = bytes(p ^ q for p, q in zip(text, stream))
    one = block(0)
    r = int.from_bytes(one[:16], "little") & 0x0ffffffc0ffffffc0ffffffc0fffffff
    message = b"".join(part + bytes(-len(part) % 16) for part in (aad, cipher)) + struct.pack("<QQ", len(aad), len(cipher))
    total = 0
    for at in range(0, len(message), 16):
        total = (total + int.from_bytes(message[at:at + 16] + b"\1", "little")) * r % (2 ** 130 - 5)
    return cipher + ((total + int.from_bytes(one[16:32], "little")) % 2 ** 128).to_bytes(16, "little")


def data_packet(session, counter, key, text, events, subprotocol=0):
    head = struct.pack("<HBBBBBBHH", 0x4e45, 1, 1, 0, 0, 0, 0, subprotocol, 0)
    tail = struct.pack("<QQQIIHHHH", session, 7, counter, 0, 0, 0, 0, len(text), events)
    nonce = struct.pack("<IQ", (session ^ session >> 32) & 0xffffffff, counter)
    return head + nonce + tail + seal(key, nonce, head + tail, text)


class KeyLog(mesh.MeshCase):
    def test_lines_mode_and_warning(self):
        alice, bob = self.pair("security.key_log=./keys")
        path = alice.dir / "keys"
        mesh.eventually(lambda: path.exists() and path.read_text().count("\n") >= 2, "two lines")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertIn(f"security.key_log: the keys of all sessions go to {path}", alice.stderr())
        ways = set()
        for line in path.read_text().splitlines(keepends=True):
            found = KEY_LINE.fullmatch(line)
            self.assertTrue(found, line)
            ways.add(found.group(2, 3))
        self.assertEqual(ways, {(alice.node_id, bob.node_id), (bob.node_id, alice.node_id)})
        mine, theirs = set(path.read_text().splitlines()), set((bob.dir / "keys").read_text().splitlines())
        self.assertTrue(mine & theirs, "both ends of a session write the same")

    def test_off_unless_asked(self):
        alice, _ = self.pair()
        self.assertIn("key_log: none", (alice.dir / "node.yaml").read_text())
        self.assertNotIn("key_log", alice.stderr())

    def test_moved_away_and_appended(self):
        alice, bob = self.pair("security.key_log=./keys")
        path = alice.dir / "keys"
        mesh.eventually(lambda: path.read_text().count("\n") >= 2, "two lines")
        path.rename(self.dir / "old")
        bob.terminate()
        bob.start()
        mesh.eventually(lambda: path.exists() and path.read_text().count("\n") >= 2, "the next session is in a new file")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        lines = path.read_text()
        alice.terminate()
        alice.start()
        mesh.eventually(lambda: path.read_text().startswith(lines) and len(path.read_text()) > len(lines), "appended")

    def refuses_keys(self, prepare):
        alice = self.node("alice", "security.key_log=./keys")
        (alice.dir / "keys").write_text("")
        prepare(alice.dir / "keys")
        alice.spawn()
        status, rest = alice.wait()
        alice.process = None
        self.assertEqual((status, rest), (1, b""))
        self.assertIn("security.key_log: ", alice.stderr())
        self.assertIn("others may read it", alice.stderr())

    def test_refused_when_others_may_read(self):
        self.refuses_keys(lambda keys: keys.chmod(0o644))

    @unittest.skipIf(os.geteuid() != 0, "only root gives files away")
    def test_refused_when_it_is_another_users(self):
        def give_away(keys):
            keys.chmod(0o600)
            os.chown(keys, 65534, 65534)
        self.refuses_keys(give_away)


@needs_tshark
class Dissector(mesh.MeshCase):
    def tshark(self, pcap, *arguments, keys=None, seconds=300):
        """stdout; the dissector must not have failed anywhere. Ports of these nodes are the kernel's choice, and may be another's."""
        done = subprocess.run(["tshark", "-X", f"lua_script:{DISSECTOR}", "-o", f"netmesh.key_log:{keys or ''}",
                               "-o", "udp.try_heuristic_first:TRUE", "-r", str(pcap), *arguments], capture_output=True, timeout=seconds, check=False, env={"HOME": str(self.dir), "PATH": "/usr/bin:/bin"})
        text = done.stdout.decode(errors="replace")
        self.assertEqual(done.returncode, 0, done.stderr.decode()[-2000:])
        self.assertNotIn("Lua", done.stderr.decode())
        self.assertEqual(re.findall(r".*Lua Error.*", text)[:3], [])
        return text

    def fields(self, pcap, *names, keys=None):
        """A row of lists for each frame."""
        wanted = [word for name in names for word in ("-e", name)]
        text = self.tshark(pcap, "-T", "fields", "-E", "separator=/t", "-E", "aggregator=|", *wanted, keys=keys)
        rows = [line.split("\t") for line in text.split("\n")[:-1]]
        return [[cell.split("|") if cell else [] for cell in row] for row in rows]

    def conversation(self, *values):
        """Datagrams of a handshake, a subscription and some events; the file with their keys."""
        relay = Relay()
        self.addCleanup(relay.close)
        alice = self.node("alice", *mesh.SHORT_TIMERS, "security.key_log=./keys", *values)
        bob = self.node("bob", *mesh.SHORT_TIMERS, *values, psk_from=alice)
        relay.between(alice, bob)
        alice.start()
        bob.start()
        alice.add_peer("bob", bob, addr=relay.address)
        bob.add_peer("alice", alice, addr=relay.address)
        mesh.eventually(lambda: alice.connected(bob) and bob.connected(alice), "alice and bob are connected")
        bob.json("subscribe", "test/talk", "--from", "alice", "--live")
        alice.publish("test/talk", ["first event", "second event", ""])
        alice.publish("test/talk", ["x" * 5000])
        bob.wait_for("test/talk", 4, origin=alice.node_id)
        before = len(relay.passed)
        mesh.eventually(lambda: len(relay.passed) > before + 4, "heartbeats")
        keys = self.dir / "keys"
        shutil.copy(alice.dir / "keys", keys)
        return alice, bob, list(relay.passed), keys

    def check_conversation(self, cipher, *values):
        alice, bob, passed, keys = self.conversation(*values)
        pcap = self.dir / "talk.pcap"
        write_pcap(pcap, passed)
        rows = self.fields(pcap, "frame.protocols", "netmesh.kind", "netmesh.handshake.message", "netmesh.handshake.gate",
                           "netmesh.handshake.ephemeral", "netmesh.session_id", "netmesh.counter", "netmesh.cipher",
                           "netmesh.from", "netmesh.to", "netmesh.flags.heartbeat", "netmesh.event.text",
                           "netmesh.membership.channel", "netmesh.membership.accepted", "netmesh.credit.total",
                           "netmesh.auth_failed", "netmesh.encrypted", keys=keys)
        self.assertEqual(len(rows), len(passed))
        texts, channels, messages, totals, beats = [], [], set(), 0, 0
        for row, (source, _, data) in zip(rows, passed):
            self.assertTrue(row[0][0].endswith("netmesh"), row)
            (_, kind, message, gate, ephemeral, session, counter, used, sender, receiver, heartbeat, text, channel, accepted,
             total, failed, encrypted) = row
            at = 18 if kind == ["routed"] else 0
            self.assertEqual((int(session[0], 16), int(counter[0])), (int.from_bytes(data[at + 24:at + 32], "little"),
                                                                     int.from_bytes(data[at + 16:at + 24], "little")))
            if message:
                messages.add(message[0])
                self.assertEqual((kind, gate, ephemeral), (["routed"], [data[50:66].hex()], [data[82:114].hex()]))
                self.assertNotEqual(gate, ["00" * 16], "the gate of X0")
                continue
            self.assertEqual((failed, encrypted, used), ([], [], [cipher]), row)
            way = [alice.node_id, bob.node_id]
            self.assertEqual(sender + receiver, way if source == address(alice.listen) else way[::-1])
            beats += heartbeat in (["1"], ["True"])
            texts += text
            channels += channel
            totals += len(total)
        self.assertEqual(messages, {"1", "2"})
        self.assertEqual([text for text in texts if text], ["first event", "second event", "x" * 5000])
        self.assertIn("test/talk", channels)
        self.assertGreater(totals, 0, "grants")
        self.assertGreater(beats, 2, "heartbeats")
        return pcap, passed, keys

    def test_what_two_nodes_said(self):
        cipher = "aes-256-gcm" if re.search(r"\baes\b", pathlib.Path("/proc/cpuinfo").read_text()) else "chacha20-poly1305"
        pcap, passed, keys = self.check_conversation(cipher)
        with self.subTest("without keys it says so, and shows headers alone"):
            for row in self.fields(pcap, "netmesh.handshake.message", "netmesh.encrypted", "netmesh.event", "netmesh.session_id"):
                message, encrypted, event, session = row
                self.assertTrue(message or encrypted, row)
                self.assertFalse(event, row)
                self.assertTrue(session, row)
        with self.subTest("what the kernel hands over as one datagram (GSO) is taken apart"):
            some = [entry for entry in passed if entry[2][:2] == b"\x45\x4e" and not entry[2][3] & 0x10][:5]
            joined = self.dir / "joined.pcap"
            write_pcap(joined, [(some[0][0], some[0][1], b"".join(data for _, _, data in some))])
            row = self.fields(joined, "netmesh.counter", "netmesh.trailing", keys=keys)
            self.assertEqual(row, [[[str(int.from_bytes(data[16:24], "little")) for _, _, data in some], []]])
        source, target, data = some[0]
        with self.subTest("a port that another protocol has (514: syslog)"):
            others = self.dir / "others.pcap"
            write_pcap(others, [((source[0], 514), target, data), (source, (target[0], 514), data)])
            self.assertEqual(self.fields(others, "netmesh.counter", keys=keys), [[[str(int.from_bytes(data[16:24], "little"))]]] * 2)
        with self.subTest("a damaged packet does not open"):
            bad = self.dir / "bad.pcap"
            write_pcap(bad, [(source, target, data[:-1] + bytes([data[-1] ^ 1]))])
            self.assertTrue(self.fields(bad, "netmesh.auth_failed", keys=keys)[0][0])
        self.fuzz(passed, keys)

    def test_the_other_cipher(self):
        self.check_conversation("chacha20-poly1305", "security.ciphers=[chacha20-poly1305]")

    def fuzz(self, passed, keys):
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        strange = [bytes.fromhex(text) for text in ("5048" + "00" * 12, "00" * 72, "454e01", "5254", "")]
        mutants = []
        for n in range(3000):
            source, target, data = rng.choice(passed)
            data = bytearray(data if n % 10 else rng.choice(strange))
            for _ in range(rng.choice((0, 1, 1, 2, 8))):
                if data:
                    at = rng.randrange(min(len(data), rng.choice((4, 82, 9000))))
                    data[at] = rng.choice((0, 1, 0x10, 0x20, 0x7f, 0xff, rng.randrange(256)))
            end = rng.randrange(len(data) + 1) if n % 3 == 0 else len(data)
            mutants.append((source, (target[0], 20037), bytes(data[:end]) + rng.randbytes(rng.choice((0, 0, 1, 40)))))
        session, key = 0x1122334455667788, rng.randbytes(32)
        with open(keys, "a") as out:
            out.write(f"NETMESH_SESSION id=0x{session:016x} from=0x{1:016x} to=0x{2:016x} cipher=chacha20-poly1305 epochs=yes "
                      f"key={key.hex()}\n")
        for n in range(600):  # what opens, and is nonsense
            events = [rng.choice((b"\0", b"\1", b"\2", b"")) + rng.randbytes(rng.choice((0, 7, 8, 9, 10, 11, 16, 40))) for _ in range(3)]
            text = b"".join(struct.pack("<I", len(event) if n % 3 else rng.choice((0, 1, 12, 1 << 31))) + event for event in events)
            packet = data_packet(session, n, key, text[:rng.choice((0, 3, 12, 200))], rng.choice((0, 3, 2028)),
                                 rng.choice((0, 0xa00, 0xb00, 0xf00)))
            mutants.append((passed[0][0], ("127.0.0.1", 20037), packet))
        pcap = self.dir / "mutants.pcap"
        write_pcap(pcap, mutants, snap=lambda n, size: size if n % 4 else rng.randrange(28, size + 1))
        for log in (keys, None):
            with self.subTest(seed=seed, keys=log is not None):
                text = self.tshark(pcap, "-V", keys=log)
                self.assertEqual(len(re.findall(r"(?m)^Frame \d+:", text)), len(mutants))

    def test_recordings_of_the_reference(self):
        """wire.md 13 and packets of running v0.19.0 nodes: both directions of a session have one id, and two keys."""
        vectors = [v for v in json.loads((VECTORS / "session/packet.json").read_text())["vectors"] if "packet" in v]
        keys, pcap = self.dir / "keys", self.dir / "vectors.pcap"
        with open(keys, "w") as out:
            out.write("# lines of others are passed over\nNETMESH_SESSION id=0x1\n")
            for v in vectors:
                session = bytes.fromhex(v["packet"][48:64])[::-1].hex()
                out.write(f"NETMESH_SESSION id=0x{session} from=0x{1:016x} to=0x{2:016x} cipher=chacha20-poly1305 epochs=no "
                          f"key={v['key']}\n")
        ends = ("10.0.0.1", 20037), ("10.0.0.2", 20037)
        write_pcap(pcap, [(*ends, bytes.fromhex(v["packet"])) for v in vectors])
        rows = self.fields(pcap, "netmesh.event", "netmesh.counter", "netmesh.auth_failed", "netmesh.encrypted", keys=keys)
        for v, (events, counter, failed, encrypted) in zip(vectors, rows, strict=True):
            with self.subTest(v["name"]):
                self.assertEqual((failed, encrypted), ([], []))
                self.assertEqual(events, v["events"])
                self.assertEqual(counter, [str(v["counter"])])

    def test_every_kind_of_datagram(self):
        ends = ("10.0.0.1", 20037), ("10.0.0.2", 20037)
        # wire.md 13.3, 13.5, 1.2, 1.3: the layouts by hand
        handshake = struct.pack("<HBB56xHH", 0x4e45, 1, 0x10, 48, 0) + bytes(range(48))
        routed = struct.pack("<HBBBBIQ", 0x5452, 16, 2, 1, 0, 0x55667788, 0x99aabbccddeeff00) + handshake
        pingwave = struct.pack("<Q24xQBBQQIBB8s", 0x1122334455667788, 42, 7, 3, 1234567, 0xabcdef, 9, 200, 2, b"caps....")
        keepalive = struct.pack("<HQI", 0x4850, 0x1122334455667788, 0xdeadbeef)
        pcap = self.dir / "kinds.pcap"
        self.assertEqual((len(handshake), len(routed), len(pingwave), len(keepalive)), (112, 130, 72, 14))
        write_pcap(pcap, [(*ends, handshake), (*ends[::-1], handshake), (*ends, routed), (*ends, pingwave), (*ends, keepalive)])
        rows = self.fields(pcap, "netmesh.kind", "netmesh.handshake.message", "netmesh.handshake.ephemeral", "netmesh.payload_len",
                           "netmesh.route.ttl", "netmesh.route.hop_count", "netmesh.route.src_id", "netmesh.route.dest_id",
                           "netmesh.pingwave.origin", "netmesh.pingwave.seq", "netmesh.pingwave.ttl", "netmesh.pingwave.timestamp_us",
                           "netmesh.pingwave.load_level", "netmesh.pingwave.health", "netmesh.keepalive.node_id",
                           "netmesh.keepalive.punch_id")
        rows = [[cell[0] if cell else "" for cell in row] for row in rows]
        key = bytes(range(32)).hex()
        self.assertEqual(rows[0][:4], ["direct", "1", key, "48"])
        self.assertEqual(rows[1][:4], ["direct", "2", key, "48"], "it answers the first")
        self.assertEqual(rows[2][:8], ["routed", "1", key, "48", "16", "2", "0x55667788", "0x99aabbccddeeff00"])
        self.assertEqual([rows[3][0], *rows[3][8:14]], ["pingwave", "0x1122334455667788", "42", "7", "1234567", "200", "2"])
        self.assertEqual([rows[4][0], *rows[4][14:]], ["keepalive", "0x1122334455667788", "0xdeadbeef"])

    def test_epochs(self):
        """X6: the key of a direction changes every 2^24 packets."""
        session, key = 0x1122334455667788, bytes(range(32))
        second = hashlib.blake2s(b"net-mesh epoch" + struct.pack("<Q", 1), key=key).digest()
        third = hashlib.blake2s(b"net-mesh epoch" + struct.pack("<Q", 2), key=second).digest()
        text = struct.pack("<I", 5) + b"hello"
        ends = ("10.0.0.1", 20037), ("10.0.0.2", 20037)
        packets = [data_packet(session, counter, k, text, 1) for counter, k in
                   ((0, key), ((1 << 24) - 1, key), (1 << 24, second), (2 << 24, third), (5, second), (1 << 47, key))]
        pcap, keys = self.dir / "epochs.pcap", self.dir / "keys"
        write_pcap(pcap, [(*ends, packet) for packet in packets])
        keys.write_text(f"NETMESH_SESSION id=0x{session:016x} from=0x{1:016x} to=0x{2:016x} cipher=chacha20-poly1305 epochs=yes "
                        f"key={key.hex()}\n")
        rows = self.fields(pcap, "netmesh.event.text", "netmesh.epoch", "netmesh.auth_failed", keys=keys)
        self.assertEqual([row[:2] for row in rows[:4]], [[["hello"], [str(epoch)]] for epoch in (0, 0, 1, 2)])
        self.assertTrue(all(row[2] and not row[0] for row in rows[4:]), rows[4:])

    def test_known_answers_of_the_ciphers(self):
        """Every ChaCha20-Poly1305 vector we have, test case 16 of the GCM specification, BLAKE2s by another make."""
        cases = [("chacha20-poly1305", v["key"], v["nonce"], v["aad"], v["packet"][128:-32], v["packet"][-32:], v["plaintext"])
                 for v in json.loads((VECTORS / "session/packet.json").read_text())["vectors"] if "packet" in v]
        cases.append(("aes-256-gcm", "feffe9928665731c6d6a8f9467308308" * 2, "cafebabefacedbaddecaf888",
                      "feedfacedeadbeeffeedfacedeadbeefabaddad2",
                      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0a"
                      "bcc9f662", "76fc6ece0f4e1768cddf8853bb2d551b",
                      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
                      "ba637b39"))
        lines = [f'local crypto = dofile("{DISSECTOR.parent}/netmesh_crypto.lua")',
                 'local function bytes(hex) return (hex:gsub("..", function(b) return string.char(tonumber(b, 16)) end)) end',
                 'local function hex(s) return s and (s:gsub(".", function(b) return string.format("%02x", b:byte()) end)) end']
        wanted = []
        for suite, key, nonce, aad, text, tag, plain in cases:
            call = f'hex(crypto.open["{suite}"](bytes"{key}", bytes"{nonce}", bytes"{aad}", bytes"{text}", bytes"%s"))'
            lines += [f'print("= " .. {call % tag})', f'print("= " .. tostring({call % (tag[:-1] + ("1" if tag[-1] == "0" else "0"))}))']
            wanted += [plain, "nil"]
        for size in (0, 1, 31, 64, 65, 127, 128, 129, 300):
            data = bytes(i * 7 % 251 for i in range(size))
            lines.append(f'print("= " .. hex(crypto.blake2s(bytes"{b"k".hex() * 32}", bytes"{data.hex()}")))')
            wanted.append(hashlib.blake2s(data, key=b"k" * 32).hexdigest())
        script = self.dir / "known.lua"
        script.write_text("\n".join(lines))
        done = subprocess.run(["tshark", "-X", f"lua_script:{script}", "-v"], capture_output=True, timeout=60, check=True)
        self.assertEqual(re.findall(r"(?m)^= (\w*)", done.stdout.decode()), wanted, done.stderr.decode())


if __name__ == "__main__":
    mesh.main()
