#!/usr/bin/env python3
"""Who types what the README's tour says sees what it shows.

The tour's indented blocks are a session: a line with `$ ` is typed, the lines behind it must come. They are typed into one
shell on a terminal, in a directory of their own; what stays in the foreground (a node, a tail that follows) gets a terminal of
its own. What differs from run to run is made equal first: ids, keys, times, and figures of which the tour says that they are
measured; ids must still be the same where the README's are. The README's ports become free ones. A line `...` stands for any
lines. A command without lines behind it may print what it likes, but must succeed.
"""
import difflib
import os
import pathlib
import re
import shlex
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh
import terminal

README = pathlib.Path(__file__).parents[2] / "README.md"
BUILD = ["cmake --preset release && cmake --build --preset release", "export PATH=$PWD/build/release:$PATH"]
PORTS = ("20037", "20038", "20047", "20048")
# Whose values are measured, or depend on the machine: columns of tables, keys of objects.
MEASURED = "rtt_us|pid|uptime_ms|shards|socket_buffer|gso|gro|ipsec_mb|cipher|ts_ns|version"


def section(title):
    """The commands of a section and what it shows after each, [(command, lines)]."""
    text = README.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    session = []
    for line in text.splitlines():
        if line.startswith("    $ "):
            command = line[6:]
            session.append((re.sub(r"\s+# .*", "", command), []))
        elif line.startswith("    ") and session:
            session[-1][1].append(line[4:].rstrip())
    return session


class Names:
    """Stands for what is random, in the order of its appearance, so that the same is the same."""

    def __init__(self):
        self.seen = {}

    def __call__(self, kind, value):
        return f"<{kind} {self.seen.setdefault((kind, value), len(self.seen))}>"


def equal(lines, names, measuring):
    """The lines without what differs from run to run."""
    result = []
    header = []
    for line in lines:
        line = line.rstrip()
        cells = re.split(r"\s{2,}", line)
        if re.fullmatch(r"[A-Z_ ]+", line) and len(cells) > 1:
            header = cells
        elif len(cells) == len(header):
            cells = ["<n>" if re.fullmatch(MEASURED, name.lower()) else cell for name, cell in zip(header, cells)]
        line = "  ".join(cells)
        line = re.sub(rf'("(?:{MEASURED})": ?)("[^"]*"|[\w.-]+)', r"\1<n>", line)
        line = re.sub(rf"^((?:[a-z_]+\.)?(?:{MEASURED})  ).*", r"\1<n>", line)
        line = re.sub(r"(\.yaml):\d+:", r"\1:<n>:", line)
        line = re.sub(r"\bLinux \S+ \S+", "Linux <kernel>", line)
        line = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>", line)
        if measuring:
            line = re.sub(r"(?<![\w:.])(-|\d[\d.]*(%|B|[kMGT](iB)?|us|ms|s)?)(?![\w:.])", "<n>", line)
        line = re.sub(r"\b0x[0-9a-f]{16}\b", lambda found: names("id", found[0]), line)
        line = re.sub(r"\b[0-9a-f]{64}\b", lambda found: names("key", found[0]), line)
        if not (measuring and result and result[-1] == line):  # as many shards as the machine has processors
            result.append(line)
    return result


def fits(expected, actual):
    """Line by line; `...` stands for any number of lines."""
    if not expected:
        return not actual
    if expected[0] == "...":
        return any(fits(expected[1:], actual[i:]) for i in range(len(actual) + 1))
    return bool(actual) and expected[0] == actual[0] and fits(expected[1:], actual[1:])


class Shell:
    """A terminal at which commands are typed. Nothing is echoed, so that what comes is what they print."""

    def __init__(self, case, name, command=None):
        self.log = case.dir / f"{name}.stderr"
        self.output = b""
        env = {"PATH": f"{case.dir / 'bin'}:{os.environ['PATH']}", "TERM": "dumb", "HOME": str(case.dir), "LC_ALL": "C.UTF-8"}
        arguments = command or ["bash", "--norc", "--noprofile", "--noediting"]
        self.program = terminal.Program(arguments, self.log, rows=50, columns=120, cwd=case.work, env=env)
        self.program.screen.feed = self.take  # no screen: every line counts
        self.program.silence()
        case.addCleanup(self.program.close)

    def take(self, data):
        self.output += data

    def until(self, condition, what):
        def there():
            self.program.read()
            return condition(self.text())
        return mesh.eventually(there, what)

    def text(self):
        """As it stands on the terminal when a progress line has been taken away."""
        return re.sub(r"[^\n]*\x1b\[K", "", self.output.decode().replace("\r\n", "\n"))

    def type(self, command):
        """Its status and its lines."""
        self.output = b""
        self.program.keys(f"PS1= PS2=\n{{ {command}\n}} 2>&1; printf '\\n\\001%d\\001' $?\n")
        text, status = re.search(r"\A(?:bash-[\d.]+\$ )?(.*)\n\x01(\d+)\x01",
                                 self.until(lambda text: text if re.search("\x01\\d+\x01", text) else None, command),
                                 re.DOTALL).groups()
        return int(status), text.rstrip("\n").split("\n") if text.strip("\n") else []


class Tour(mesh.MeshCase):
    def setUp(self):
        super().setUp()
        self.work = self.dir / "work"
        (self.dir / "bin").mkdir()
        self.work.mkdir()
        (self.dir / "bin/net-mesh").symlink_to(mesh.PROGRAM)
        self.ports = {port: str(mesh.free_port()) for port in PORTS}
        self.names = Names(), Names()
        self.foreground = []

    def with_ports(self, text, back=False):
        for port, free in self.ports.items():
            text = re.sub(rf"\b{free if back else port}\b", port if back else free, text)
        return text

    def differs(self, command, shown, lines):
        """What is the matter, as a diff; None when the lines are as shown. Names are only kept when they are."""
        measuring = bool(re.search(r"\b(top|doctor)\b", command))
        names = [type(known)() for known in self.names]
        for new, known in zip(names, self.names):
            new.seen = dict(known.seen)
        expected = equal(shown, names[0], measuring)
        actual = equal([self.with_ports(line, back=True) for line in lines], names[1], measuring)
        if fits(expected, actual):
            self.names = names
            return None
        return "\n".join([f"$ {command}", *difflib.unified_diff(expected, actual, "README.md", "what came", lineterm=""), ""]
                         + lines)

    def in_foreground(self, command, shown):
        """In a terminal of its own, where it stays."""
        shell = Shell(self, f"terminal{len(self.foreground)}", shlex.split(self.with_ports(command)))
        self.foreground.append((command, shell))
        shell.until(lambda text: text.count("\n") >= len(shown), f"the lines of {command}")
        difference = self.differs(command, shown, shell.text().splitlines())
        self.assertIsNone(difference, difference)
        if "--follow" in command:
            shell.program.keys("\x03")
            self.expect_end(command, shell)

    def expect_end(self, command, shell):
        self.assertEqual(shell.program.wait(2 * mesh.PATIENCE), 0, command)
        self.assertNotRegex(shell.log.read_text(), mesh.REPORT)

    def test_tour(self):
        session = section("A tour")
        self.assertEqual([command for command, _ in session[:2]], BUILD)
        shell = Shell(self, "shell")
        for command, shown in session[2:]:
            with self.subTest(command):
                if re.search(r"\bnode run\b|--follow\b", command):
                    self.in_foreground(command, shown)
                    continue
                self.look(shell, command, shown)
        for command, shell in self.foreground:
            if "node run" in command:
                self.expect_end(command, shell)  # told so by a shutdown

    def look(self, shell, command, shown):
        """What only looks may look again: a person is slower than the nodes are."""
        patient = not re.search(r"\b(init|add|publish|subscribe|shutdown|reload)\b", command)

        def once():
            status, lines = shell.type(self.with_ports(command))
            self.difference = self.differs(command, shown, lines) if shown else None
            if status != 0 and not (status == 1 and "doctor" in command):  # a machine may have something to mend
                self.difference = "\n".join([f"$ {command}", f"exit status {status}", *lines])
            return self.difference is None
        try:
            if patient:
                mesh.eventually(once, command)
            elif not once():
                raise AssertionError
        except AssertionError:
            self.fail(self.difference)


if __name__ == "__main__":
    mesh.main()
