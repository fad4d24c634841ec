#!/usr/bin/env python3
"""A node's directory: what init makes, what it refuses, what node run says about a node.yaml that is wrong."""
import hashlib
import json
import os
import pathlib
import stat
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

SECRETS = ("identity", "noise.key", "psk", "admin.token", "readonly.token")


def contents(directory):
    """{relative name: hash of the bytes} of all files."""
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(directory.rglob("*")) if path.is_file()}


class Init(mesh.MeshCase):
    def init(self, *arguments, **options):
        return mesh.run("init", *arguments, **options)

    def refused(self, status, *arguments):
        done = self.init(*arguments, status=status)
        text = done.stderr.decode()
        self.assertRegex(text, r"\Anet-mesh: [^\n]+\n\Z")
        return text

    def test_files_and_modes(self):
        old = os.umask(0)  # the modes are the program's doing
        self.addCleanup(os.umask, old)
        node = self.dir / "a"
        info = json.loads(self.init(node).stdout)
        os.umask(old)
        self.assertEqual(stat.S_IMODE(node.stat().st_mode), 0o700)
        self.assertEqual({path.name for path in node.iterdir()}, {"node.yaml", *SECRETS, "redex", "redex-from", "redex-follow"})
        for name in SECRETS:
            self.assertEqual(stat.S_IMODE((node / name).stat().st_mode), 0o600, name)
            self.assertRegex((node / name).read_text(), r"\A[0-9a-f]{64}\n\Z", name)
        self.assertEqual(len({(node / name).read_text() for name in SECRETS}), len(SECRETS), "each drawn for itself")
        for name in ("redex", "redex-from", "redex-follow"):
            self.assertTrue((node / name).is_dir())
        self.assertRegex(info["node_id"], r"\A0x[0-9a-f]{16}\Z")
        self.assertRegex(info["entity_id"], r"\A[0-9a-f]{64}\Z")
        self.assertRegex(info["public_key"], r"\A[0-9a-f]{64}\Z")

    def test_defaults(self):
        info = json.loads(self.init(self.dir / "a").stdout)
        self.assertEqual(list(info), ["node_id", "entity_id", "public_key", "listen", "admin"])
        self.assertEqual((info["listen"], info["admin"]), ("[::]:20037", "127.0.0.1:20038"))
        yaml = (self.dir / "a/node.yaml").read_text()
        self.assertIn("#", yaml, "node.yaml is commented")
        self.assertIn("20037", yaml)

    def test_addresses_as_asked(self):
        info = json.loads(self.init(self.dir / "a", "--listen", "[::1]:20999", "--admin", "unix:admin.sock").stdout)
        self.assertEqual(info["listen"], "[::1]:20999")
        self.assertEqual(info["admin"], f"unix:{self.dir}/a/admin.sock")
        info = json.loads(self.init(self.dir / "b", "--admin", f"unix:{self.dir}/elsewhere").stdout)
        self.assertEqual(info["admin"], f"unix:{self.dir}/elsewhere")

    def test_info_needs_no_node_and_changes_nothing(self):
        made = json.loads(self.init(self.dir / "a").stdout)
        before = contents(self.dir / "a")
        self.assertEqual(json.loads(mesh.run("node", "info", self.dir / "a").stdout), made)
        self.assertEqual(contents(self.dir / "a"), before)

    def test_a_second_init_is_refused(self):
        self.init(self.dir / "a")
        before = contents(self.dir / "a")
        self.assertIn("--force", self.refused(2, self.dir / "a"))
        self.assertEqual(contents(self.dir / "a"), before)

    def test_force_rewrites_node_yaml_alone(self):
        node = self.node("a", "shards.count=1")
        node.start()
        node.publish("kept", ["one", "two"])
        node.add_peer("b", self.node("b"))
        node.terminate()
        before = contents(node.dir)
        info = json.loads(self.init(node.dir, "--force", "--listen", "127.0.0.1:20998", "--set", "shards.count=2").stdout)
        after = contents(node.dir)
        self.assertEqual(info["listen"], "127.0.0.1:20998")
        self.assertEqual(info["node_id"], node.node_id)
        self.assertNotEqual(before.pop("node.yaml"), after.pop("node.yaml"))
        self.assertEqual(before, after)

    def test_force_on_nothing_makes_a_node(self):
        self.init(self.dir / "a", "--force")
        self.assertTrue((self.dir / "a/identity").exists())

    def test_psk(self):
        self.init(self.dir / "a")
        self.init(self.dir / "b", "--psk-from", self.dir / "a")
        self.init(self.dir / "c", "--psk-file", self.dir / "b/psk")
        self.init(self.dir / "d")
        psk = [(self.dir / name / "psk").read_text() for name in "abcd"]
        self.assertEqual(psk[0], psk[1])
        self.assertEqual(psk[0], psk[2])
        self.assertNotEqual(psk[0], psk[3])
        self.assertEqual(stat.S_IMODE((self.dir / "b/psk").stat().st_mode), 0o600)
        ids = {(self.dir / name / "identity").read_text() for name in "abcd"}
        self.assertEqual(len(ids), 4, "only the psk is taken over")

    def test_psk_mistakes(self):
        self.init(self.dir / "a")
        self.refused(2, self.dir / "b", "--psk-from", self.dir / "a", "--psk-file", self.dir / "a/psk")
        self.refused(1, self.dir / "b", "--psk-from", self.dir / "nowhere")
        self.refused(1, self.dir / "b", "--psk-file", self.dir / "nowhere")
        (self.dir / "short").write_text("abcd\n")
        (self.dir / "short").chmod(0o600)
        self.assertNotIn("abcd", self.refused(2, self.dir / "b", "--psk-file", self.dir / "short"), "secrets are not shown")
        (self.dir / "open").write_text("ab" * 32)
        (self.dir / "open").chmod(0o644)
        self.assertIn("0644", self.refused(2, self.dir / "b", "--psk-file", self.dir / "open"))
        self.assertFalse((self.dir / "b").exists(), "a refused init leaves nothing")

    def test_mistakes_leave_nothing(self):
        for arguments, shown in ((("--listen", "127.0.0.1:0"), "127.0.0.1:0"),
                                 (("--admin", "127.0.0.1:0"), "127.0.0.1:0"),
                                 (("--listen", "localhost:20037"), "localhost"),
                                 (("--listen", "127.0.0.1"), "127.0.0.1"),
                                 (("--listen", "127.0.0.1:65536"), "65536"),
                                 (("--set", "shards.count=0"), "shards.count"),
                                 (("--set", "no.such=1"), "no.such"),
                                 (("--set", "shards.count"), "shards.count"),
                                 (("--set", "channels.log=paper"), "paper")):
            with self.subTest(arguments):
                text = self.refused(2, self.dir / "a", *arguments)
                self.assertIn(shown, text)
                self.assertIn("allowed", text)
                self.assertFalse((self.dir / "a").exists())
        self.refused(1, self.dir / "no" / "parent")
        self.refused(2)
        self.refused(2, self.dir / "a", self.dir / "b")

    def test_set_is_kept(self):
        self.init(self.dir / "a", "--set", "shards.count=3", "--set", "session.heartbeat_interval=250ms")
        yaml = (self.dir / "a/node.yaml").read_text()
        self.assertRegex(yaml, r"(?m)^\s*count: 3\b")
        self.assertRegex(yaml, r"(?m)^\s*heartbeat_interval: 250ms\b")


class NodeYaml(mesh.MeshCase):
    def setUp(self):
        super().setUp()
        self.a = self.node("a", "shards.count=1")
        self.yaml = self.a.dir / "node.yaml"
        self.good = self.yaml.read_text()

    def bad(self, text, *expected):
        """All three ways to meet a bad node.yaml name the place and what is wrong, with exit 3."""
        self.yaml.write_text(text)
        for arguments in (("node", "run", self.a.dir), ("node", "info", self.a.dir), ("--endpoint", self.a.dir, "status")):
            done = mesh.run(*arguments, status=3)
            error = done.stderr.decode()
            self.assertRegex(error, r"\Anet-mesh: [^\n]+\n\Z")
            for part in expected:
                self.assertIn(part, error)
            self.assertEqual(done.stdout, b"")

    def line_of(self, key):
        return next(number for number, line in enumerate(self.good.splitlines(), 1) if line.strip().startswith(key))

    def test_wrong_range(self):
        line = self.line_of("count:")
        self.bad(self.good.replace("count: 1", "count: 65"), f"node.yaml:{line}:", "shards.count", '"65"', "1..64")

    def test_wrong_type(self):
        line = self.line_of("pin:")
        self.bad(self.good.replace("pin: false", "pin: [1]"), f"node.yaml:{line}:", "shards.pin", "allowed")

    def test_unknown_key(self):
        lines = self.good.count("\n")
        self.bad(self.good + "colour: blue\n", f"node.yaml:{lines + 1}:", "colour")

    def test_twice(self):
        lines = self.good.count("\n")
        self.bad(self.good + "listen: 127.0.0.1:20037\n", f"node.yaml:{lines + 1}:", "listen")

    def test_no_yaml(self):
        self.bad("listen: [\n", "node.yaml:")

    def test_port_0(self):
        self.bad("listen: 127.0.0.1:0\n", "node.yaml:1:", "listen", "127.0.0.1:0")

    def test_not_there(self):
        self.yaml.unlink()
        self.bad_missing()

    def bad_missing(self):
        for arguments in (("node", "run", self.a.dir), ("node", "info", self.a.dir), ("--endpoint", self.a.dir, "status")):
            self.assertIn(b"node.yaml", mesh.run(*arguments, status=3).stderr)

    def test_set_of_a_run_is_checked_too(self):
        error = mesh.run("node", "run", self.a.dir, "--set", "shards.count=many", status=2).stderr.decode()
        self.assertIn("shards.count", error)
        self.assertIn('"many"', error)

    def test_set_of_a_run_is_for_that_run(self):
        self.a.start("shards.count=2")
        self.assertEqual(self.a.json("status")["shards"], 2)
        self.a.terminate()
        self.a.start()
        self.assertEqual(self.a.json("status")["shards"], 1)
        self.assertEqual(self.yaml.read_text(), self.good)

    def test_empty_file_is_all_defaults(self):
        self.yaml.write_text("")
        info = json.loads(mesh.run("node", "info", self.a.dir).stdout)
        self.assertEqual((info["listen"], info["admin"]), ("[::]:20037", "127.0.0.1:20038"))

    def test_secrets_that_others_may_read(self):
        for name in SECRETS:
            (self.a.dir / name).chmod(0o640)
            error = mesh.run("node", "run", self.a.dir, status=2).stderr.decode()
            self.assertIn(name, error)
            self.assertIn("0640", error)
            (self.a.dir / name).chmod(0o600)

    def test_bad_peers_yaml(self):
        (self.a.dir / "peers.yaml").write_text("peers:\n  - name: x\n    colour: blue\n")
        error = mesh.run("node", "run", self.a.dir, status=3).stderr.decode()
        self.assertRegex(error, r"peers\.yaml:[23]:")


class Arguments(mesh.MeshCase):
    def test_wrong_arguments(self):
        for arguments in ((), ("no-such-command",), ("node",), ("node", "walk"), ("--no-such-option",), ("init",),
                          ("--output", "xml", "status"), ("--timeout", "soon", "status"), ("--timeout", "0", "status"),
                          ("publish",), ("tail", "a", "--count", "few"), ("tail", "a", "--start", "-1"),
                          ("subscribe", "a"), ("peer", "add", "x"), ("status", "--raw"), ("status",)):
            with self.subTest(arguments):
                done = mesh.run(*arguments, status=2)
                self.assertRegex(done.stderr.decode(), r"\Anet-mesh: [^\n]+\n\Z")
                self.assertEqual(done.stdout, b"")

    def test_help_and_version(self):
        for arguments in (("--help",), ("help",), ("peer", "--help"), ("help", "publish"), ("tail", "-h")):
            self.assertIn(b"Usage: net-mesh", mesh.run(*arguments).stdout)
        self.assertRegex(mesh.run("--version").stdout.decode(), r"\Anet-mesh \d+\.\d+\.\d+\n\Z")
        self.assertEqual(set(json.loads(mesh.run("version", "--output", "json").stdout)),
                         {"cli_version", "sdk_version", "git_revision"})

    def test_closed_stdout(self):
        with open("/dev/full", "wb") as full:
            self.assertEqual(subprocess.run([mesh.PROGRAM, "version"], stdout=full, stderr=subprocess.PIPE).returncode, 1)


if __name__ == "__main__":
    mesh.main()
