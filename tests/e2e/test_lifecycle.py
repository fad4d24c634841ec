#!/usr/bin/env python3
"""Starting and stopping, and finding the node: the ready line, shutdown, signals, ports in use, endpoints and tokens."""
import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


class Start(mesh.MeshCase):
    def test_ready_line(self):
        a = self.node("a", "shards.count=2")
        ready = a.start()
        self.assertEqual(ready, {"event": "ready", "node_id": a.node_id, "listen": a.listen, "admin": a.admin})
        self.assertEqual(list(ready), ["event", "node_id", "listen", "admin"])
        self.assertEqual(a.json("status")["node_id"], a.node_id, "ready means ready")
        a.publish("x", ["y"])
        self.assertEqual(a.terminate(), (0, b""), "stdout has the ready line alone")

    def test_ready_line_with_a_unix_socket(self):
        a = self.node("a", admin="unix:admin.sock")
        self.assertEqual(a.start()["admin"], f"unix:{a.dir}/admin.sock")

    def test_nothing_but_the_known_files(self):
        a = self.node("a")
        a.start()
        a.publish("some/channel", ["x"])
        a.terminate()
        self.assertLessEqual({path.name for path in a.dir.iterdir()},
                             {"node.yaml", "identity", "noise.key", "psk", "admin.token", "readonly.token", "peers.yaml",
                              "redex", "redex-from", "redex-follow", "lock"})

    def test_second_node_in_one_directory(self):
        a = self.node("a")
        a.start()
        done = mesh.run("node", "run", a.dir, "--set", f"listen=127.0.0.1:{mesh.free_port()}", "--set",
                        f"admin.listen=127.0.0.1:{mesh.free_port()}", status=1)
        self.assertIn("another node runs in this directory", done.stderr.decode())
        self.assertEqual(done.stdout, b"")
        self.assertEqual(a.json("status")["node_id"], a.node_id, "the first is not disturbed")

    def test_directory_of_a_killed_node_is_free(self):
        a = self.node("a", admin="unix:admin.sock")
        a.start()
        a.kill()
        a.start()
        self.assertEqual(a.json("status")["node_id"], a.node_id)

    def test_udp_address_in_use(self):
        a = self.node("a")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            host, port = a.listen.rsplit(":", 1)
            taken.bind((host, int(port)))
            done = mesh.run("node", "run", a.dir, status=1)
        self.assertIn(a.listen, done.stderr.decode())
        self.assertIn("in use", done.stderr.decode())
        self.assertEqual(done.stdout, b"")

    def test_udp_address_of_another_node(self):
        """Both sides ask for SO_REUSEPORT: two nodes must not share an address all the same."""
        a = self.node("a")
        b = self.node("b", listen=a.listen)
        a.start()
        done = mesh.run("node", "run", b.dir, status=1)
        self.assertIn("in use", done.stderr.decode())

    def test_admin_address_in_use(self):
        a = self.node("a")
        with socket.socket() as taken:
            host, port = a.admin.rsplit(":", 1)
            taken.bind((host, int(port)))
            taken.listen()
            done = mesh.run("node", "run", a.dir, status=1)
        self.assertIn(a.admin, done.stderr.decode())
        self.assertIn("in use", done.stderr.decode())

    def test_admin_address_of_another_node(self):
        a = self.node("a", "shards.count=2")
        b = self.node("b", "shards.count=2", admin=a.admin)
        a.start()
        self.assertIn("in use", mesh.run("node", "run", b.dir, status=1).stderr.decode())

    def test_unix_socket_of_another_node(self):
        path = self.dir / "admin.sock"
        a, b = (self.node(name, admin=f"unix:{path}") for name in "ab")
        a.start()
        self.assertIn(str(path), mesh.run("node", "run", b.dir, status=1).stderr.decode())
        self.assertEqual(a.json("status")["node_id"], a.node_id)

    def test_a_file_where_the_unix_socket_should_be(self):
        a = self.node("a", admin="unix:precious")
        (a.dir / "precious").write_text("not a socket")
        mesh.run("node", "run", a.dir, status=1)
        self.assertEqual((a.dir / "precious").read_text(), "not a socket")

    def test_address_of_no_interface(self):
        a = self.node("a", listen="192.0.2.1:20037")
        self.assertIn("192.0.2.1:20037", mesh.run("node", "run", a.dir, status=1).stderr.decode())

    def test_default_listen_takes_both_families(self):
        port = mesh.free_port()
        a = self.node("a", *mesh.SHORT_TIMERS, listen=f"[::]:{port}")
        b = self.node("b", *mesh.SHORT_TIMERS, listen=f"127.0.0.1:{mesh.free_port()}", psk_from=a)
        c = self.node("c", *mesh.SHORT_TIMERS, listen=f"[::1]:{mesh.free_port()}", psk_from=a)
        for node in (a, b, c):
            node.start()
        b.add_peer("a", a, addr=f"127.0.0.1:{port}")
        c.add_peer("a", a, addr=f"[::1]:{port}")
        for node in (b, c):
            mesh.eventually(lambda: node.connected(a), "connected")
        self.assertEqual(a.peer(b.node_id)["addr"], b.listen, "IPv4 is shown as IPv4")
        self.assertEqual(a.peer(c.node_id)["addr"], c.listen)


class Stop(mesh.MeshCase):
    def test_shutdown_returns_when_the_process_is_gone(self):
        a = self.node("a", "shards.count=2")
        a.start()
        a.publish("x", ["y"])
        a.command("shutdown")
        # It is our child: gone to everybody but us, who have not asked yet.
        state = pathlib.Path(f"/proc/{a.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        self.assertEqual(state, "Z")
        self.assertEqual(a.wait(), (0, b""))
        self.assertRegex(a.fails(6, "status"), "does it run")

    def test_shutdown_over_a_unix_socket(self):
        a = self.node("a", admin="unix:admin.sock")
        a.start()
        a.command("shutdown")
        self.assertEqual(a.wait(), (0, b""))
        self.assertRegex(a.fails(6, "status"), "does it run")

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                a = self.node(f"a{int(number)}")
                a.start()
                a.publish("x", ["y"])
                self.assertEqual(a.terminate(number), (0, b""))
                a.start()
                self.assertEqual(a.raw("x"), b"y\n")

    def test_two_shutdowns_and_a_signal(self):
        a = self.node("a")
        a.start()
        both = [subprocess.Popen([mesh.PROGRAM, "--endpoint", a.dir, "shutdown"], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE) for _ in range(2)]
        a.process.send_signal(signal.SIGTERM)
        for process in both:
            _, text = process.communicate(timeout=mesh.PATIENCE)
            self.assertIn(process.returncode, (0, 6), text)
        self.assertEqual(a.wait(), (0, b""))

    def test_open_connections_do_not_hold_it(self):
        a = self.node("a", "shards.count=2")
        a.start()
        a.publish("x", ["y"])
        host, port = a.admin.rsplit(":", 1)
        idle = socket.create_connection((host, int(port)))
        half = socket.create_connection((host, int(port)))
        half.sendall(b"GET /v1/node HTT")
        follower = a.follow("x")
        self.addCleanup(follower.stderr.close)
        self.addCleanup(follower.stdout.close)
        mesh.read_line(follower.stdout, "the event")
        started = time.monotonic()
        self.assertEqual(a.terminate(), (0, b""))
        self.assertLess(time.monotonic() - started, mesh.PATIENCE)
        self.assertIn(follower.wait(mesh.PATIENCE), (0, 6), follower.stderr.read())
        for s in (idle, half):
            s.settimeout(mesh.PATIENCE)
            s.recv(4096)
            s.close()

    def test_a_publisher_that_stalls_does_not_hold_it(self):
        a = self.node("a")
        a.start()
        publisher = subprocess.Popen([mesh.PROGRAM, "--endpoint", a.dir, "publish", "x"], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        publisher.stdin.write(b"first\n")
        publisher.stdin.flush()
        a.lines("x", 1)
        a.command("shutdown")
        self.assertEqual(a.wait(), (0, b""))
        _, text = publisher.communicate(timeout=mesh.PATIENCE)
        self.assertNotEqual(publisher.returncode, 0, text)
        a.start()
        self.assertEqual(a.raw("x"), b"first\n")

    def test_shutdown_while_publishing_keeps_what_was_taken(self):
        a = self.node("a", "shards.count=2")
        a.start()
        text = "".join(f"line {n} {'.' * 100}\n" for n in range(100000)).encode()
        done = {}
        thread = threading.Thread(target=lambda: done.update(run=a.command("publish", "x", stdin=text, status=None)))
        thread.start()
        a.lines("x", 1)
        a.command("shutdown")
        self.assertEqual(a.wait(), (0, b""))
        thread.join()
        a.start()
        kept = a.raw("x")
        self.assertTrue(text.startswith(kept), "a beginning of it, in order")
        if done["run"].returncode == 0:
            self.assertEqual(kept, text)

    def test_a_subscriber_that_stops_while_events_come(self):
        alice, bob = self.pair("shards.count=2")
        bob.command("subscribe", "x", "--from", "alice")
        with alice.publishing("x", b"".join(b"%d %s\n" % (n, b"." * 100) for n in range(500))):
            for _ in range(5):
                bob.wait_for("x", (bob.channel("x", alice.node_id) or {"next_seq": 0})["next_seq"] + 1, alice.node_id)
                self.assertEqual(bob.terminate(), (0, b""))
                bob.start()

    def test_restarts_keep_everything(self):
        a = self.node("a", "shards.count=2")
        expected = b""
        for number in range(5):
            a.start()
            self.assertEqual(a.raw("x") if number else b"", expected)
            answer = a.publish("x", [f"{number} a", f"{number} b"])
            self.assertEqual((answer["first_seq"], answer["last_seq"]), (2 * number, 2 * number + 1))
            expected += f"{number} a\n{number} b\n".encode()
            self.assertEqual(a.terminate(), (0, b""))


class Endpoint(mesh.MeshCase):
    def status(self, endpoint=None, token=None, status=0, options=()):
        env = {}
        if endpoint:
            env["NET_MESH_ENDPOINT"] = str(endpoint)
        if token:
            env["NET_MESH_TOKEN_FILE"] = str(token)
        done = mesh.run(*options, "--output", "json", "status", env=env, status=status)
        return json.loads(done.stdout)["node_id"] if status == 0 else done.stderr.decode()

    def test_ways_to_name_a_node(self):
        a = self.node("a")
        a.start()
        url, token = f"http://{a.admin}", a.dir / "admin.token"
        self.assertEqual(self.status(a.dir), a.node_id)
        self.assertEqual(self.status(url, token), a.node_id)
        self.assertEqual(self.status(url + "/", token), a.node_id)
        self.assertEqual(self.status(token=token, options=("--endpoint", url)), a.node_id)
        self.assertEqual(self.status("http://192.0.2.1:1", options=("--endpoint", a.dir)), a.node_id, "the option wins")
        port = a.admin.rsplit(":", 1)[1]
        self.assertEqual(self.status(f"http://localhost:{port}", token), a.node_id)

    def test_unix_socket(self):
        a = self.node("a", admin="unix:admin.sock")
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        a.start()
        os.umask(old)
        self.assertEqual(stat.S_IMODE((a.dir / "admin.sock").stat().st_mode), 0o600)
        self.assertEqual(self.status(a.dir), a.node_id)
        self.assertEqual(self.status(f"unix:{a.dir}/admin.sock", a.dir / "admin.token"), a.node_id)

    def test_admin_on_ipv6(self):
        a = self.node("a", admin=f"[::1]:{mesh.free_port()}")
        self.assertEqual(a.start()["admin"], a.admin)
        self.assertEqual(self.status(a.dir), a.node_id)
        self.assertEqual(self.status(f"http://{a.admin}", a.dir / "admin.token"), a.node_id)

    def test_tokens(self):
        a, b = self.node("a"), self.node("b")
        a.start()
        url = f"http://{a.admin}"
        self.assertIn("refuses the token", self.status(url, b.dir / "admin.token", status=6))
        self.assertIn("NET_MESH_TOKEN_FILE", self.status(url, status=2))
        self.assertIn("nowhere", self.status(url, self.dir / "nowhere", status=1))
        token = self.dir / "token"
        token.write_bytes((a.dir / "admin.token").read_bytes())
        token.chmod(0o644)
        self.assertIn("0644", self.status(url, token, status=2))
        self.assertIn("NET_MESH_ENDPOINT", self.status(status=2))

    def test_a_token_that_may_only_read(self):
        a = self.node("a")
        a.start()
        env = {"NET_MESH_ENDPOINT": f"http://{a.admin}", "NET_MESH_TOKEN_FILE": str(a.dir / "readonly.token")}
        a.publish("x", ["1"])
        self.assertEqual(mesh.run("tail", "x", "--raw", env=env).stdout, b"1\n")
        for command in (("status",), ("metrics",), ("peer", "ls"), ("channel", "ls")):
            mesh.run(*command, env=env)
        for command in (("publish", "x"), ("shutdown",), ("peer", "rm", "b"), ("subscribe", "x", "--from", "0x1")):
            error = mesh.run(*command, env=env, stdin=b"2\n", status=6).stderr.decode()
            self.assertIn("this token may only read", error, command)
        self.assertEqual(a.channel("x")["next_seq"], 1)

    def test_a_directory_without_a_readonly_token(self):
        a = self.node("a")
        (a.dir / "readonly.token").rename(self.dir / "token")
        a.start()
        url = f"http://{a.admin}"
        self.assertEqual(self.status(url, a.dir / "admin.token"), a.node_id)
        self.assertIn("refuses the token", self.status(url, self.dir / "token", status=6))

    def test_unreachable(self):
        a = self.node("a")
        self.assertIn(a.admin, self.status(a.dir, status=6))
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = "http://127.0.0.1:%d" % silent.getsockname()[1]
            started = time.monotonic()
            self.status(url, a.dir / "admin.token", status=7, options=("--timeout", "300ms"))
            self.assertGreater(time.monotonic() - started, 0.25)
            self.assertLess(time.monotonic() - started, mesh.PATIENCE)

    def test_not_a_node(self):
        (self.dir / "empty").mkdir()
        self.status(self.dir / "empty", status=3)
        self.status(self.dir / "nowhere", status=3)
        self.status("ftp://127.0.0.1:20038", status=2)
        self.status("http://127.0.0.1", status=2)
        self.status("http://127.0.0.1:0", status=2)


class Secrets(mesh.MeshCase):
    def test_compat_is_warned_of(self):  # extensions.md, Policy
        a, b = self.node("a", "security.sessions=compat"), self.node("b")
        a.start()
        b.start()
        self.assertIn("security.sessions: compat", a.stderr())
        self.assertNotIn("compat", b.stderr())

    def test_no_secret_is_said(self):  # session.md 20.47
        a = self.node("a", "logging.level=debug")
        b, stranger = self.node("b", psk_from=a), self.node("stranger")
        said = [node.start() for node in (a, b, stranger)]
        said += [a.add_peer("b", b), stranger.add_peer("a", a)]
        mesh.eventually(lambda: a.connected(b), "connected")
        mesh.eventually(lambda: any("handshake" in drop for drop in a.drops()), "the stranger was refused")
        said += [b.command("-vvv", "subscribe", "x", "--from", a.node_id)]
        for node in (a, b, stranger):
            said += [node.stderr(), node.info(), node.command("-vvv", "peer", "ls"), node.command("status"),
                     node.command("metrics"), node.command("-vvv", "tail", "no/such", status=1)]
        text = str(said)
        for node in (a, b, stranger):
            self.assertIn(node.node_id, text)
            for name in ("identity", "noise.key", "psk", "admin.token", "readonly.token"):
                secret = (node.dir / name).read_text().strip()
                self.assertEqual(len(secret), 64)
                for part in (secret[:16], secret[-16:], str(bytes.fromhex(secret))[2:-1]):
                    self.assertNotIn(part, text, f"{name} of {node.dir.name}")


if __name__ == "__main__":
    mesh.main()
