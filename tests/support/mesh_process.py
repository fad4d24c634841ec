"""Nodes as processes, for tests: their directories and ports, commands on them, and an end that is checked.

A test program calls main(), which takes the net-mesh program as first argument and leaves the rest to unittest. Each test
has a directory of its own. A node that a test did not kill must end with status 0, and no node may have left the report of a
sanitizer: the same tests serve a debug build and a sanitizer's.
"""
import atexit
import contextlib
import json
import os
import pathlib
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PROGRAM = ""
SANITIZER = ""  # "address" or "thread": what the program was built with
PATIENCE = 10  # seconds for anything that should happen by itself; more with a sanitizer

REPORT = re.compile(r"(ERROR|WARNING): (Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error:|Assertion .* failed")
SHORT_TIMERS = ("session.heartbeat_interval=200ms", "session.session_timeout=2s", "session.handshake_timeout=1s")


def free_port():
    """A port in nobody's use, UDP and TCP, IPv4 and IPv6; below the range from which the kernel gives to others."""
    while True:
        port = random.randrange(20100, 32000)
        with contextlib.ExitStack() as stack:
            try:
                for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                        s = stack.enter_context(socket.socket(family, kind))
                        if family == socket.AF_INET6:
                            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                        s.bind((host, port))
            except OSError:
                continue
            return port


def eventually(condition, what, seconds=None):
    seconds = seconds or PATIENCE
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen in {seconds} s: {what}")
        time.sleep(0.02)
    return result


def read_line(stream, what, seconds=None):
    """The next line of an unbuffered pipe."""
    line, deadline = b"", time.monotonic() + (seconds or PATIENCE)
    while not line.endswith(b"\n"):
        if not select.select([stream], [], [], max(0, deadline - time.monotonic()))[0]:
            raise AssertionError(f"did not come in time: {what}; so far {line!r}")
        byte = os.read(stream.fileno(), 1)
        if not byte:
            break
        line += byte
    return line.decode()


def run(*arguments, stdin=b"", status=0, env=None, seconds=120, program=None):
    """The program to its end, which must be `status` (None: any). Text of stderr is one line per problem."""
    done = subprocess.run([program or PROGRAM, *map(str, arguments)], input=stdin, capture_output=True, timeout=seconds,
                          env={**os.environ, **(env or {})})
    if status is not None and done.returncode != status:
        raise AssertionError(f"net-mesh {' '.join(map(str, arguments))}: exit {done.returncode}, expected {status}\n"
                             f"{done.stderr.decode(errors='replace')}{done.stdout[:1000].decode(errors='replace')}")
    return done


def help_of(command):
    return run("help", *command.split()).stdout.decode()


def commands():
    """Every command there is: "init", "peer add", …"""
    return [line[2:].split("  ")[0] for line in help_of("").split("Commands:\n")[1].split("\n\n")[0].splitlines()]


def namespaces_work():
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "--net", "true"], stderr=subprocess.DEVNULL,
                                                check=False).returncode == 0


needs_namespaces = unittest.skipUnless(shutil.which("unshare") and namespaces_work(), "needs root and namespaces")


def with_mounts(commands):
    """A prefix for Node: the process sees what the shell's `commands` mounted, and nobody else does."""
    return ["unshare", "--mount", "sh", "-ec", commands + '; exec "$@"', "sh"]


def settings(values):
    return [word for value in values for word in ("--set", value)]


class Node:
    """A node's directory, and its process while it runs."""

    def __init__(self, directory, *init_arguments, listen=None, admin=None, prefix=()):
        self.dir = pathlib.Path(directory)
        self.prefix = list(prefix)  # what the process is started through, as in nsenter …
        self.command_line = None  # of another program that is the node, instead of ours
        self.process, self.killed, self.starts = None, False, 0
        run("init", self.dir, "--listen", listen or f"127.0.0.1:{free_port()}", "--admin",
            admin or f"127.0.0.1:{free_port()}", *init_arguments)
        self.__dict__.update({key: value for key, value in self.info().items()
                              if key in ("node_id", "entity_id", "public_key", "listen", "admin")})
        self.log = pathlib.Path(f"{self.dir}.log")

    def info(self):
        return json.loads(run("node", "info", self.dir).stdout)

    def spawn(self, *values, **options):
        """Starts the process and does not wait. `values` are for --set."""
        with open(self.log, "ab") as log:
            command = self.command_line or [PROGRAM, "node", "run", str(self.dir), *settings(values)]
            self.process = subprocess.Popen([*self.prefix, *command],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0,
                                            **{"stderr": log, **options})
        atexit.register(self.process.kill)  # also when a test is interrupted
        self.killed = False
        self.starts += 1

    def start(self, *values, **options):
        """Returns the ready line."""
        self.spawn(*values, **options)
        line = read_line(self.process.stdout, f"the ready line of {self.dir}")
        if not line:
            self.process.wait()
            raise AssertionError(f"{self.dir} did not start: {self.stderr()[-2000:]}")
        return json.loads(line)

    def stderr(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def kill(self):
        """As if power went, but for the kernel's memory."""
        self.killed = True
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def wait(self, seconds=None):
        """The exit status and what came on stdout after the ready line."""
        status = self.process.wait(seconds or 2 * PATIENCE)
        rest = self.process.stdout.read()
        self.process.stdout.close()
        return status, rest

    def terminate(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.wait()

    @property
    def running(self):
        return self.process is not None and self.process.returncode is None

    # ---- commands ----

    def command(self, *arguments, **options):
        return run("--endpoint", self.dir, *arguments, **options)

    def fails(self, status, *arguments, **options):
        """The text on stderr of a command that must fail with `status`: one line, with our name in front."""
        done = self.command(*arguments, status=status, **options)
        text = done.stderr.decode()
        assert re.fullmatch(r"net-mesh: [^\n]+\n", text), f"not one line of an error: {text!r}"
        return text

    def json(self, *arguments, **options):
        return json.loads(self.command("--output", "json", *arguments, **options).stdout)

    def publish(self, channel, data=b"", *options):
        """`data` is bytes, or a list of lines."""
        if not isinstance(data, bytes):
            data = "".join(f"{line}\n" for line in data).encode()
        return self.json("publish", channel, *options, stdin=data)

    @contextlib.contextmanager
    def publishing(self, channel, lines, pause=0):
        """Publishes these whole lines, again and again, as fast as the node takes them or with pauses of so many seconds."""
        process = subprocess.Popen([PROGRAM, "--endpoint", str(self.dir), "publish", channel], stdin=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(process.kill)
        more = threading.Event()
        more.set()

        def feed():
            with contextlib.suppress(BrokenPipeError):
                while more.is_set():
                    process.stdin.write(lines)
                    time.sleep(pause)
                process.stdin.close()
        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        try:
            yield process
        finally:
            more.clear()
            process.wait(2 * PATIENCE)
            feeder.join(PATIENCE)

    def rows(self, channel, *options, **more):
        done = self.command("--output", "ndjson", "tail", channel, *options, **more)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def raw(self, channel, *options, **more):
        return self.command("tail", channel, "--raw", *options, **more).stdout

    def lines(self, channel, count, *options):
        """The first `count` events, waiting for them."""
        return self.raw(channel, "--follow", "--count", count, *options).decode().splitlines()

    def follow(self, channel, *options, output="ndjson", stdout=subprocess.PIPE):
        """A tail that goes on, as a process; its stdout is unbuffered."""
        process = subprocess.Popen([PROGRAM, "--endpoint", str(self.dir), "--output", output, "tail", channel, "--follow",
                                    *map(str, options)], stdout=stdout, stderr=subprocess.PIPE, bufsize=0)
        atexit.register(process.kill)
        return process

    def channel(self, name, origin="self"):
        """The row of `channel ls`, or None."""
        return next((row for row in self.json("channel", "ls") if row["channel"] == name and row["origin"] == origin), None)

    def wait_for(self, channel, next_seq, origin="self", seconds=None):
        """Until the log reaches this sequence."""
        def there():
            row = self.channel(channel, origin)
            return row and row["next_seq"] >= next_seq
        eventually(there, f"{channel} of {origin} reaches {next_seq} in {self.dir}", seconds)

    def peer(self, node_id):
        return next((row for row in self.json("peer", "ls") if row["node_id"] == node_id), None)

    def connected(self, other):
        row = self.peer(other.node_id)
        return row is not None and row["state"] == "connected"

    def add_peer(self, name, other, addr=None):
        return self.json("peer", "add", name, "--addr", addr or other.listen, "--node-id", other.node_id, "--public-key",
                         other.public_key)

    def metrics(self):
        """{name: sum over the shards}; a label that is not the shard is part of the name, as in drops_total:replay."""
        sums = {}
        for line in self.command("metrics").stdout.decode().splitlines():
            if found := re.fullmatch(r"netmesh_(\w+)(?:\{(.*)\})? ([0-9.eE+-]+)", line):
                name, labels, value = found.groups()
                other = [text for key, text in re.findall(r'(\w+)="([^"]*)"', labels or "") if key != "shard"]
                key = ":".join([name, *other])
                sums[key] = sums.get(key, 0) + float(value)
        return sums

    def drops(self):
        """Everything that was dropped, {what: how many}; also by the kernel."""
        return {name: value for name, value in self.metrics().items()
                if value and (name.startswith("drops_total") or name in ("socket_overflow_datagrams_total",
                                                                         "credit_written_off_bytes_total"))}


class MeshCase(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="net-mesh-e2e."))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.nodes = []

    def node(self, name, *values, psk_from=None, **options):
        """A node that does not run yet. `values` are for init --set."""
        arguments = settings(values) + (["--psk-from", psk_from.dir] if psk_from else [])
        node = Node(self.dir / name, *arguments, **options)
        self.nodes.append(node)
        self.addCleanup(self.end, node)
        return node

    def end(self, node):
        """Ends the node if it runs still, and looks at what it left."""
        try:
            if node.running:
                status, rest = node.terminate()
                if status != 0:
                    sys.stderr.write(node.stderr()[-4000:])
                self.assertEqual(status, 0, f"exit status of {node.dir.name}")
                self.assertEqual(rest, b"", "stdout after the ready line")
        finally:
            if node.running:
                node.kill()
        report = REPORT.search(node.stderr())
        if report:
            self.fail(f"{node.dir.name} reported:\n{node.stderr()[max(0, report.start() - 200):report.start() + 6000]}")

    def pair(self, *values, **options):
        """Two nodes that run, know each other as alice and bob, and are connected. Timers are short."""
        alice = self.node("alice", *SHORT_TIMERS, *values, **options)
        bob = self.node("bob", *SHORT_TIMERS, *values, psk_from=alice, **options)
        alice.start()
        bob.start()
        self.introduce(alice, bob)
        return alice, bob

    def introduce(self, *nodes):
        for node in nodes:
            for other in nodes:
                if other is not node:
                    node.add_peer(other.dir.name, other)
        for node in nodes:
            for other in nodes:
                if other is not node:
                    eventually(lambda: node.connected(other), f"{node.dir.name} is connected with {other.dir.name}")


def main():
    global PROGRAM, SANITIZER, PATIENCE
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} NET_MESH [unittest option…]")
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    code = pathlib.Path(PROGRAM).read_bytes()
    SANITIZER = "address" if b"libasan.so" in code else "thread" if b"libtsan.so" in code else ""
    if SANITIZER:
        PATIENCE *= 4
    os.environ["TSAN_OPTIONS"] = f"exitcode=66 {os.environ.get('TSAN_OPTIONS', '')}"
    os.environ["ASAN_OPTIONS"] = f"exitcode=67 {os.environ.get('ASAN_OPTIONS', '')}"
    for name in [name for name in os.environ if name.startswith("NET_MESH_")]:
        if name not in ("NET_MESH_E2E_LONG",):
            del os.environ[name]
    os.environ["NET_MESH_CONFIG"] = "/nonexistent/config.toml"  # no profiles of whoever runs the tests
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    unittest.main(verbosity=2)
