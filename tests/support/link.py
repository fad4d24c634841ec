"""A link with faults between two network namespaces, for tests and benchmarks: tests/tools/link_emulator as a process."""
import atexit
import contextlib
import ctypes
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess

ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2"}
NOT_PERMITTED = 3
CLONE_NEWNET = 0x40000000
PATIENCE = 20  # seconds for what the emulator says at once


class NotPermitted(Exception):
    """This kernel, or this user, has no namespaces or TUN devices; says why."""


def program_beside(net_mesh):
    return pathlib.Path(net_mesh).resolve().parent / "tests/link_emulator"


class Link:
    """`options` are the emulator's, as in delay="10ms", loss="1%,0"."""
    count = 0

    def __init__(self, program, **options):
        if not shutil.which("ip"):
            raise NotPermitted("needs ip, of iproute2")
        Link.count += 1
        self.names = {side: f"nm-{os.getpid()}-{Link.count}{side}" for side in "ab"}
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self.process = subprocess.Popen([program, *words, *self.names.values()], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        bufsize=0)
        atexit.register(self.process.terminate)
        self.ready = self.read_line()
        if not self.ready:
            text = self.process.stderr.read().decode()
            self.close()
            raise NotPermitted(text.strip()) if self.process.returncode == NOT_PERMITTED else AssertionError(text)

    def read_line(self):
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
                raise AssertionError(f"the emulator says nothing more than {line!r}")
            if not (piece := os.read(self.process.stdout.fileno(), 65536)):
                return None
            line += piece
        return json.loads(line)

    def statistics(self):
        self.process.send_signal(signal.SIGUSR1)
        return self.read_line()

    def end(self):
        """The last statistics."""
        self.process.terminate()
        return self.read_line()

    def close(self):
        atexit.unregister(self.process.terminate)
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def enter(self, side):
        """A prefix that runs a command in the namespace."""
        return ["nsenter", f"--net=/run/netns/{self.names[side]}"]

    @contextlib.contextmanager
    def inside(self, side):
        """What this thread opens meanwhile belongs to the namespace, and stays there."""
        libc = ctypes.CDLL(None, use_errno=True)

        def go(path_or_fd):
            if libc.setns(path_or_fd, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{self.names[side]}", "rb") as there:
            go(there.fileno())
            try:
                yield
            finally:
                go(home.fileno())

    def socket(self, side, kind=socket.SOCK_DGRAM, bound=True):
        """An IPv4 socket of that side, bound to its address and a port of the kernel's choice."""
        with self.inside(side):
            made = socket.socket(socket.AF_INET, kind)
        if bound:
            made.bind((ADDRESSES[side], 0))
        return made
