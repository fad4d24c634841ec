#!/usr/bin/env python3
"""What `net-mesh help COMMAND` shows as an example does what it says: every line of it is run, by bash, on two nodes."""
import contextlib
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

LAST = ["peer rm", "shutdown"]  # what others need is taken away at the end
ENDLESS = ("--follow", "node run")  # until Ctrl-C
SCREEN = "net-mesh --endpoint a top"  # the one that wants a terminal
MAY_FAIL = {"doctor": (0, 1)}  # finds what is wrong with the machine


class Examples(mesh.MeshCase):
    def setUp(self):
        super().setUp()
        self.bin = self.dir / "bin"
        self.bin.mkdir()
        (self.bin / "net-mesh").symlink_to(mesh.PROGRAM)
        self.stand_in("journalctl", "echo one; echo two")
        self.stand_in("ssh", 'shift; exec "$@"')
        if not shutil.which("man"):
            self.stand_in("man", "cat")
        for directory in ("init", "run", ".zfunc", ".config/fish/completions"):
            (self.dir / directory).mkdir(parents=True)
        mesh.Node(self.dir / "run" / "a")
        (self.dir / "app.log").write_text("".join(f"line {number}\n" for number in range(1100)))
        (self.dir / "scan.bin").write_bytes(b"\3\0\0\0abc" * 10)
        self.a, self.b = self.node("a", *mesh.SHORT_TIMERS), self.node("b", *mesh.SHORT_TIMERS)
        (self.b.dir / "psk").write_bytes((self.a.dir / "psk").read_bytes())
        self.a.start()
        self.b.start()
        self.b.add_peer("alpha", self.a)
        self.known = {"10.0.0.2:20037": self.b.listen, "10.0.0.2:20038": self.b.admin,
                      "10.0.0.3:20037": "127.0.0.1:9", "/srv": str(self.dir)}

    def stand_in(self, name, script):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def bash(self, line, directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE):
        return subprocess.Popen(["bash", "--norc", "-o", "pipefail", "-c", line], cwd=directory, stdin=stdin,
                                stdout=stdout, stderr=subprocess.PIPE, start_new_session=True,
                                env={**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(self.dir),
                                     "TERM": "xterm", "NET_MESH_TOKEN_FILE": str(self.b.dir / "admin.token")})

    def run_on_terminal(self, line):
        master, slave = pty.openpty()
        process = self.bash(line, self.dir, slave, slave)
        os.close(slave)
        shown = os.read(master, 4096)
        os.write(master, b"q")
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            while os.read(master, 4096):
                pass
        os.close(master)
        err = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 0, f"{line}\n{err.decode()}")
        self.assertIn(b"\x1b[", shown)

    def run_line(self, command, line):
        if line == SCREEN:
            self.run_on_terminal(line)
            return
        for shown, real in self.known.items():
            line = line.replace(shown, real)
        if command == "bench" and "--quick" not in line:
            line = re.sub("--duration [^ ]+|$", " --quick", line, count=1)
        directory = self.dir / {"init": "init", "node run": "run"}.get(command, "")
        process = self.bash(line, directory)
        if any(word in line for word in ENDLESS):
            mesh.read_line(process.stdout, f"output of {line}")
            os.killpg(process.pid, signal.SIGINT)
        try:
            out, err = process.communicate(timeout=120)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        self.assertIn(process.returncode, MAY_FAIL.get(command, (0,)), f"{line}\n{out.decode()}{err.decode()}")

    def test_all(self):
        commands = mesh.commands()
        for command in [name for name in commands if name not in LAST] + LAST:
            page = mesh.help_of(command)
            lines = [line.strip() for line in page.split("\nExamples:\n")[1].splitlines()]
            self.assertTrue(lines, command)
            for line in lines:
                self.assertTrue("net-mesh" in line, line)
                with self.subTest(line):
                    self.run_line(command, line)
            if command == "peer add":
                mesh.eventually(lambda: self.a.connected(self.b), "connected")
            if command == "subscribe":
                self.a.command("publish", "logs/app", self.dir / "app.log")
                self.b.wait_for("logs/app", 1100, self.a.node_id)
        self.assertEqual(self.a.wait()[0], 0, "the last example has stopped it")


if __name__ == "__main__":
    mesh.main()
