"""Who carries bytes from A to B over an emulated link, for bench/goodput: each a context whose sample() is how many bytes of
the application's have come out at B so far."""
import contextlib
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/support"))
import admin_client
import link
import mesh_process as mesh

SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
BUFFER = 16 << 20  # of TCP's sockets: no window but the congestion's counts
EVENT = 1024
CHANNEL = "bench/goodput"
FOLLOW = ("--start", "earliest")


class Missing(Exception):
    """What is not installed here."""


@contextlib.contextmanager
def tcp(algorithm, path, _amount):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(path.socket("b", socket.SOCK_STREAM))
        client = stack.enter_context(path.socket("a", socket.SOCK_STREAM, bound=False))
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, algorithm.encode())
        except OSError:
            raise Missing(f"this kernel has no TCP {algorithm}") from None
        client.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER)
        listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        listener.listen()
        client.connect(listener.getsockname())
        server = stack.enter_context(listener.accept()[0])
        received = [0]

        def send():
            piece = bytes(256 << 10)
            with contextlib.suppress(OSError):
                while True:
                    client.sendall(piece)

        def receive():
            with contextlib.suppress(OSError):
                while piece := server.recv(1 << 20):
                    received[0] += len(piece)
        for work in (send, receive):
            threading.Thread(target=work, daemon=True).start()
        yield lambda: received[0]
        for sock in (client, server):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def quic(algorithm, path, amount):
    """ngtcp2's own server and client: one file over HTTP/3."""
    server_program = shutil.which("gtlsserver") or shutil.which("gtlsserver", path="/usr/sbin")
    if not server_program or not shutil.which("gtlsclient") or not shutil.which("openssl"):
        raise Missing("QUIC wants ngtcp2-server, ngtcp2-client and openssl (apt-get install)")
    with tempfile.TemporaryDirectory(prefix="bench-goodput-") as directory, contextlib.ExitStack() as stack:
        place = pathlib.Path(directory)
        for name in ("htdocs", "got"):
            (place / name).mkdir()
        with open(place / "htdocs/file", "wb") as file:
            file.truncate(amount)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                        "/CN=b", "-keyout", place / "key", "-out", place / "cert"], check=True, capture_output=True)

        def run(side, *command):
            process = subprocess.Popen([*path.enter(side), *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
        run("a", server_program, "-q", "--no-quic-dump", "--no-http-dump", f"--cc={algorithm}", f"--htdocs={place / 'htdocs'}",
            link.ADDRESSES["a"], 4433, place / "key", place / "cert")
        time.sleep(0.3)
        run("b", "gtlsclient", "-q", "--no-quic-dump", "--no-http-dump", f"--download={place / 'got'}", link.ADDRESSES["a"], 4433,
            f"https://{link.ADDRESSES['a']}/file")
        got = place / "got/file"
        yield lambda: got.stat().st_size if got.exists() else 0


@contextlib.contextmanager
def pair(path, directory):
    """Two nodes that know each other, a and b."""
    a, b = (mesh.Node(f"{directory}/{side}", *mesh.settings(("shards.count=1",)), *psk, admin="unix:admin.sock",
                      listen=f"{link.ADDRESSES[side]}:20037", prefix=path.enter(side))
            for side, psk in (("a", ()), ("b", ("--psk-from", f"{directory}/a"))))
    try:
        a.start()
        b.start()
        a.add_peer("b", b)
        b.add_peer("a", a)
        mesh.eventually(lambda: a.connected(b) and b.connected(a), "the nodes are connected", 30)
        yield a, b
    finally:
        for node in (a, b):
            if node.running:
                node.kill()


@contextlib.contextmanager
def followed(path, amount):
    """A channel that was published before, followed from its beginning: from the log of one node into the log of the other."""
    if not pathlib.Path(mesh.PROGRAM).exists():
        raise Missing("net-mesh: build the release preset")
    with tempfile.TemporaryDirectory(prefix="bench-goodput-") as directory, pair(path, directory) as (a, b):
        with admin_client.Admin(a) as admin:
            for _ in range(amount // (4096 * EVENT) + 1):
                admin.publish(CHANNEL, [bytes(EVENT)] * 4096)
        with admin_client.Admin(b) as admin:
            b.command("subscribe", CHANNEL, "--from", a.node_id, *FOLLOW)

            def sample():
                row = admin.channel(CHANNEL, a.node_id)
                return row["next_seq"] * EVENT if row else 0
            yield sample


CONTENDERS = {
    "TCP cubic": lambda path, amount: tcp("cubic", path, amount),
    "TCP bbr": lambda path, amount: tcp("bbr", path, amount),
    "QUIC cubic": lambda path, amount: quic("cubic", path, amount),
    "QUIC bbr": lambda path, amount: quic("bbr", path, amount),
    "net-mesh": followed,
}
