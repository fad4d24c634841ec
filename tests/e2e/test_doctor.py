#!/usr/bin/env python3
"""doctor: on this machine as it is, and on directories in which something was broken on purpose."""
import json
import os
import pathlib
import resource
import shutil
import socket
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

MACHINE = {"kernel", "io_uring", "udp_offload", "socket_buffer", "mtu", "open_files", "locked_memory", "clock_source",
           "clock_sync", "cipher", "cpu_governor", "cpus", "memory", "overcommit"}
DIRECTORY = {"directory", "secrets", "config", "file_system", "disk_space", "disk_sync", "mesh_port", "admin_port",
             "peer_paths", "node"}


class Doctor(mesh.MeshCase):
    def doctor(self, *arguments, program=None, prefix=()):
        """{check: row}; the exit status agrees with the rows."""
        words = [*prefix, program or mesh.PROGRAM, "doctor", *map(str, arguments), "--output", "json"]
        done = mesh.run(*words[1:], status=None, program=words[0])
        rows = json.loads(done.stdout)
        for row in rows:
            self.assertEqual(list(row), ["check", "status", "found", "wrong", "remedy"])
            self.assertIn(row["status"], ("ok", "warn", "fail"))
            self.assertEqual(row["status"] == "ok", row["wrong"] is None and row["remedy"] is None, row)
        self.assertEqual(done.returncode, int(any(row["status"] == "fail" for row in rows)))
        self.assertEqual(len(rows), len({row["check"] for row in rows}), "each check once")
        return {row["check"]: row for row in rows}

    def fails(self, check, found, *arguments, **options):
        row = self.doctor(*arguments, **options)[check]
        self.assertEqual(row["status"], "fail", row)
        self.assertIn(found, row["found"])
        return row["remedy"]

    def test_this_machine(self):
        rows = self.doctor()
        self.assertEqual(set(rows), MACHINE)
        self.assertEqual(rows["io_uring"]["status"], "ok", "the suite runs nodes here")
        self.assertIn(os.uname().release, rows["kernel"]["found"])

    def test_a_directory_and_its_node(self):
        alice, _ = self.pair("channels.retention_bytes=1GiB")
        rows = self.doctor(alice.dir)
        self.assertEqual(set(rows), MACHINE | DIRECTORY)
        for check in DIRECTORY - {"file_system", "disk_space", "disk_sync"}:  # what the machine gives
            self.assertEqual(rows[check]["status"], "ok", rows[check])
        self.assertIn("in use by this node", rows["mesh_port"]["found"])
        self.assertIn("in use by this node", rows["admin_port"]["found"])
        self.assertRegex(rows["disk_sync"]["found"], r"p50 [\d.]+ ms, p99 [\d.]+ ms")
        self.assertIn("1 with an address, 0 out of reach, least MTU 6553", rows["peer_paths"]["found"])
        self.assertEqual(rows["node"]["found"], 'runs: {"ready":true,"problems":[]}')
        self.assertEqual([path.name for path in alice.dir.iterdir() if path.name.startswith("doctor")], [])
        alice.terminate()
        rows = self.doctor(alice.dir)
        self.assertEqual((rows["node"]["found"], rows["mesh_port"]["status"]), ("does not run", "ok"))
        self.assertIn("free", rows["mesh_port"]["found"])

    def test_table_for_people(self):
        node = self.node("alice")
        (node.dir / "psk").chmod(0o640)
        text = mesh.run("doctor", node.dir, "--output", "table", status=1).stdout.decode()
        self.assertRegex(text, r"(?m)^ok    io_uring ")
        self.assertRegex(text, r"(?m)^fail  secrets .*psk.*\n      wrong:  .*\n      remedy: .*chmod 600")
        self.assertRegex(text, r"\n\n\d+ ok, \d+ to mind, 1 to mend\n\Z")

    def test_broken_directories(self):
        node = self.node("alice")
        self.assertIn("net-mesh init", self.fails("directory", "No such file", self.dir / "nobody"))
        self.assertIn("net-mesh init", self.fails("directory", "Not a directory", node.dir / "node.yaml"))
        (node.dir / "noise.key").chmod(0o644)
        self.assertIn("chmod 600", self.fails("secrets", "noise.key: found mode 0644", node.dir))
        (node.dir / "noise.key").chmod(0o600)
        (node.dir / "peers.yaml").write_text("pears: []\n")
        self.assertIn("config check", self.fails("config", "peers.yaml:1", node.dir))
        (node.dir / "peers.yaml").unlink()
        row = self.doctor(self.node("bob", "security.peers=listed", "channels.retention_bytes=1GiB").dir)["config"]
        self.assertEqual((row["status"], "peers.yaml has no peer" in row["found"]), ("warn", True), row)
        node.dir.chmod(0o755)
        self.assertIn("chmod 700", self.doctor(node.dir)["directory"]["remedy"])
        node.dir.chmod(0o700)
        (node.dir / "node.yaml").write_text("shards:\n  count: many\n")
        self.assertIn("--force", self.fails("config", "node.yaml:2", node.dir))

    def test_ports_of_others(self):
        node = self.node("alice")
        host, port = node.listen.rsplit(":", 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind((host, int(port)))
            self.assertIn(f"sport = :{port}", self.fails("mesh_port", "Address already in use", node.dir))
        host, port = node.admin.rsplit(":", 1)
        with socket.socket() as taken:
            taken.bind((host, int(port)))
            taken.listen()
            self.assertIn(f"sport = :{port}", self.fails("admin_port", "Address already in use", node.dir))
        self.assertEqual(self.doctor(node.dir)["admin_port"]["status"], "ok")

    def test_limit_of_files(self):
        if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 256:
            self.skipTest("the limit is lower here")
        prefix = ["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"]
        self.assertIn("LimitNOFILE", self.fails("open_files", "at most 256", prefix=prefix))

    @unittest.skipUnless(shutil.which("strace"), "needs strace")
    def test_without_io_uring(self):
        if mesh.SANITIZER:
            self.skipTest("LeakSanitizer traces, too, and only one can")
        for error, remedy in (("EPERM", "io_uring_disabled|seccomp"), ("ENOSYS", "io_uring_disabled|seccomp|6.1")):
            prefix = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject=io_uring_setup:error={error}"]
            rows = self.doctor(prefix=prefix)
            self.assertEqual((rows["io_uring"]["status"], error in rows["io_uring"]["found"]), ("fail", True), rows["io_uring"])
            self.assertRegex(rows["io_uring"]["remedy"], remedy)
            self.assertEqual(rows["udp_offload"]["status"], "ok", "one trouble is told once")

    @mesh.needs_namespaces
    def test_machines_that_lack_something(self):
        node = self.node("alice")
        prefix = ["unshare", "--net", "--mount", "sh", "-ec", 'mount --bind "$0" "$0"; mount -o remount,ro,bind "$0"; exec "$@"',
                  str(node.dir)]
        rows = self.doctor(node.dir, prefix=prefix)
        self.assertEqual((rows["file_system"]["status"], rows["mtu"]["status"]), ("fail", "warn"), rows)
        self.assertIn("read-only", rows["file_system"]["found"])
        self.assertIn("ip link", rows["mtu"]["remedy"], "no interface is up")

    def test_a_peer_without_a_route(self):
        node = self.node("alice", listen=f"127.0.0.1:{mesh.free_port()}")
        other = self.node("bob")
        node.start()
        node.add_peer("bob", other, addr="255.255.255.255:20037")
        node.terminate()
        row = self.doctor(node.dir)["peer_paths"]
        self.assertEqual(row["status"], "fail", row)
        self.assertIn("peer rm bob", row["remedy"])


if __name__ == "__main__":
    mesh.main()
