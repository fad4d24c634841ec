#!/usr/bin/env python3
"""Completion in the shells that are there, and manual pages. cli.md 2"""
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


def needs(program):
    return unittest.skipUnless(shutil.which(program), f"needs {program}")


class Completion(mesh.MeshCase):
    def script(self, shell):
        path = self.dir / shell
        path.write_bytes(mesh.run("completion", shell).stdout)
        subprocess.run([shell, "-n", path], check=True)
        return path

    def words(self, *line):
        """What the program offers, without descriptions."""
        out = mesh.run("completion", "words", "--", *line).stdout.decode()
        return [candidate.split("\t")[0] for candidate in out.splitlines()]

    def test_words(self):
        self.assertIn("publish", self.words(""))
        self.assertEqual(self.words("pe"), ["peer"])
        self.assertEqual(self.words("peer", ""), ["add", "ls", "rm"])
        self.assertEqual(self.words("--output", "json", "peer", "l"), ["ls"])
        self.assertEqual(self.words("--output", ""), ["json", "ndjson", "yaml", "table", "text"])
        self.assertEqual(self.words("--output=nd"), ["--output=ndjson"])
        self.assertEqual(self.words("status", "--output", "=", "ya"), ["yaml"])
        self.assertEqual(self.words("tail", "x", "--start", ""), ["earliest", "latest"])
        self.assertEqual(self.words("peer", "add", "x", "--compat", ""), ["v0.19"])
        self.assertEqual(self.words("peer", "add", "x", "--mode", "d"), ["direct"])
        self.assertEqual(self.words("tail", "x", "--fo"), ["--follow"])
        self.assertEqual(self.words("tail", "x", "-f", "--fo"), [], "given already")
        self.assertEqual(self.words("tail", "x", "--f", "--set"), [], "no option of tail")
        self.assertEqual(self.words("init", "a", "--set", "x", "--set"), ["--set"], "may be repeated")
        self.assertEqual(self.words("init", ""), [":dirs"])
        self.assertEqual(self.words("publish", "x", "y", ""), [":files"])
        self.assertEqual(self.words("publish", "--", "x", "-"), [":files"])
        self.assertEqual(self.words("--config", ""), [":files"])
        self.assertEqual(self.words("completion", ""), ["bash", "zsh", "fish"])
        self.assertEqual(self.words("help", "peer", "a"), ["add"])
        self.assertIn("shards.count=", self.words("node", "run", "a", "--set", "sh"))
        for nothing in (("x", ""), ("peer", "x", ""), ("version", ""), ("tail", "a", "b", ""), ("--bogus", "--x=")):
            self.assertEqual([word for word in self.words(*nothing) if word[0] != "-"], [], nothing)

    def test_every_command_and_option_is_offered(self):
        commands = mesh.commands()
        self.assertGreater(len(commands), 15)

        def options(text):
            return re.findall(r"^ +(?:-\w, )?(--[\w-]+)", text, re.MULTILINE)
        everywhere = options(mesh.help_of(""))
        for command in commands:
            *group, word = command.split()
            self.assertIn(word, self.words(*group, word[:1]), command)
            shown = options(mesh.help_of(command).split("Global options")[0]) + everywhere
            self.assertCountEqual(self.words(*command.split(), "--"), shown, command)

    def test_names_of_the_node(self):
        alice, bob = self.pair()
        alice.publish("sensors/lidar", ["x"])
        for channel in ("sensors/lidar", "logs/app"):
            bob.command("subscribe", channel, "--from", "alice")
        alice.publish("logs/app", ["x"])
        self.assertEqual(self.words("--endpoint", alice.dir, "subscribe", "x", "--from", ""), ["bob"])
        self.assertEqual(self.words("--endpoint", alice.dir, "peer", "rm", "b"), ["bob"])
        self.assertEqual(self.words("--endpoint", alice.dir, "tail", "x", "--origin", ""), ["self", "bob"])
        self.assertEqual(sorted(self.words("--endpoint", alice.dir, "tail", "")), ["logs/app", "sensors/lidar"])
        self.assertEqual(self.words("--endpoint", alice.dir, "tail", "sens"), ["sensors/lidar"])

    def test_profiles(self):
        config = self.dir / "config.toml"
        config.write_text('[profiles.edge7]\nendpoint = "x"\n[profiles.core]\n[profiles."$(date)"]\n')
        self.assertEqual(self.words("--config", str(config), "status", "--profile", ""), ["default", "edge7", "core"])
        self.assertEqual(self.words("--config", str(config), "--profile=e"), ["--profile=edge7"])

    @needs("bash")
    def test_bash(self):
        script = self.script("bash")

        def complete(*line):
            words = " ".join(f"'{word}'" for word in (mesh.PROGRAM, *line))
            code = (f"source {script}; COMP_WORDS=({words}); COMP_CWORD={len(line)}; _net_mesh 2>/dev/null; "
                    "printf '%s\\n' \"${COMPREPLY[@]}\"")
            done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, check=True, cwd=self.dir)
            return done.stdout.decode().splitlines()

        self.assertEqual(complete("pe"), ["peer"])
        self.assertEqual(complete("peer", ""), ["add", "ls", "rm"])
        self.assertEqual(complete("status", "--output", "=", "ta"), ["table"])
        (self.dir / "some where").mkdir()
        (self.dir / "some file").touch()
        self.assertEqual(complete("init", "some"), ["some where"])
        self.assertEqual(sorted(complete("publish", "x", "some")), ["some file", "some where"])
        self.assertIn("_net_mesh", subprocess.run(["bash", "--norc", "-c", f"source {script}; complete -p net-mesh"],
                                                  capture_output=True, check=True).stdout.decode())

    @needs("zsh")
    def test_zsh(self):
        self.script("zsh")

    @needs("fish")
    def test_fish(self):
        script = self.script("fish")

        def complete(line):
            code = f"set -x PATH {pathlib.Path(mesh.PROGRAM).parent} $PATH; source {script}; complete -C '{line}'"
            done = subprocess.run(["fish", "--no-config", "-c", code], capture_output=True, check=True, cwd=self.dir,
                                  env={"HOME": str(self.dir), "PATH": "/usr/bin:/bin"})
            return [candidate.split("\t")[0] for candidate in done.stdout.decode().splitlines()]

        self.assertEqual(complete("net-mesh pe"), ["peer"])
        self.assertEqual(complete("net-mesh tail x --start=e"), ["--start=earliest"])
        (self.dir / "somewhere").mkdir()
        self.assertEqual(complete("net-mesh init some"), ["somewhere/"])


class Manual(mesh.MeshCase):
    PAGES = ((), ("node.yaml",), ("tail",), ("peer", "add"))

    def test_pages(self):
        main = mesh.run("man").stdout.decode()
        for part in (".TH NET\\-MESH 1", ".SS peer add", "NET_MESH_PROFILE", ".SH EXIT STATUS", "tail logs/app"):
            self.assertIn(part, main)
        config = mesh.run("man", "node.yaml").stdout.decode()
        for part in (".TH NET\\-MESH.YAML 5", ".B shards.count", "Allowed: auto or 1..64", ".B logging.level"):
            self.assertIn(part, config)
        self.assertIn(".B net\\-mesh tail", mesh.run("man", "tail").stdout.decode())
        mesh.run("man", "bogus", status=2)
        mesh.run("man", "peer", "bogus", status=2)

    @needs("man")
    def test_man(self):
        for page in self.PAGES:
            done = subprocess.run(["man", "--warnings", "-l", "-"], input=mesh.run("man", *page).stdout, capture_output=True,
                                  check=True, env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "MANWIDTH": "100"})
            self.assertEqual(done.stderr, b"", page)
            self.assertIn(b"NAME", done.stdout)

    @needs("mandoc")
    def test_mandoc(self):
        for page in self.PAGES:
            done = subprocess.run(["mandoc", "-Tlint", "-Wwarning"], input=mesh.run("man", *page).stdout, capture_output=True)
            self.assertEqual((done.returncode, done.stdout), (0, b""), page)


if __name__ == "__main__":
    mesh.main()
