#!/usr/bin/env python3
"""The Debian packages in a bare Debian 12: installed with apt, a node in it, upgraded, removed, purged.

    tests/package/test_deb.py [unittest option…]

Needs root, debootstrap and a Debian mirror (DEBIAN_MIRROR; default: this machine's own). Builds with deploy/build-deb,
unless NET_MESH_DEBS names a directory that has packages.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import mesh_process as mesh

NODE = "/var/lib/net-mesh/a"
SYSTEMCTL = """#!/bin/sh
echo "$*" >>/systemctl.log
"""


def why_not():
    if os.geteuid() != 0:
        return "needs root, for a root of its own"
    if not shutil.which("debootstrap"):
        return "debootstrap is not installed"
    return "" if mesh.namespaces_work() else "needs namespaces"


def mirror():
    if "DEBIAN_MIRROR" in os.environ:
        return os.environ["DEBIAN_MIRROR"]
    for path in [*pathlib.Path("/etc/apt/sources.list.d").glob("*.sources"), pathlib.Path("/etc/apt/sources.list")]:
        if path.exists() and (found := re.search(r"^(?:URIs:|deb(?: \[[^]]*\])?) +(https?://\S+/debian/?)(?= |$)", path.read_text(), re.M)):
            return found.group(1)
    return "http://deb.debian.org/debian"


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def packages(directory):
    """{name: file}"""
    found = {path.name.split("_")[0]: path for path in directory.glob("*.deb") if "-dbgsym" not in path.name}
    assert set(found) == {"net-mesh", "libnetmesh0", "libnetmesh-dev"}, found
    return found


def repack(debs, version, out):
    """The same packages under a higher version."""
    for path in debs.values():
        tree = out / path.stem
        run("dpkg-deb", "-R", path, tree)
        control = tree / "DEBIAN/control"
        old = re.search(r"^Version: (.*)$", control.read_text(), re.M).group(1)
        control.write_text(re.sub(rf"(?<=^Version: ){re.escape(old)}$|(?<=\(= ){re.escape(old)}(?=\))", version,
                                  control.read_text(), flags=re.M))
        run("dpkg-deb", "--root-owner-group", "-b", tree, out)
        shutil.rmtree(tree)
    return packages(out)


class Machine:
    """A bare Debian in a directory. Commands run in namespaces that take their mounts along when they end."""

    def __init__(self, directory):
        self.root = directory / "root"
        run("debootstrap", "--variant=minbase", "bookworm", self.root, mirror())
        for path in pathlib.Path("/etc/apt/apt.conf.d").glob("99*"):  # how this machine reaches its mirror
            shutil.copy(path, self.root / "etc/apt/apt.conf.d")
        for name in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{name}", self.root / "etc")
        self.enter = ["unshare", "--mount", "sh", "-ec",
                      f'mount -t proc proc {self.root}/proc; exec chroot {self.root} "$@"', "sh"]
        self.env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}

    def run(self, *command, **options):
        return run(*self.enter, *command, env=self.env, **options)

    def node(self, *command, **options):
        """As the node's user, who has no privileges."""
        return self.run(*self.as_user(), "net-mesh", *command, **options)

    @staticmethod
    def as_user():
        return ["setpriv", "--reuid=net-mesh", "--regid=net-mesh", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]

    def install(self, debs):
        place = self.root / "debs"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for path in debs:
            shutil.copy(path, place)
        return self.run("apt-get", "install", "--yes", "--no-install-recommends", *(f"/debs/{path.name}" for path in debs))

    def files(self, package):
        return self.run("dpkg-query", "-L", package).split()

    def owner(self, path):
        return self.run("stat", "-c", "%U:%G %a", path).strip()

    def calls_of_systemctl(self):
        log = self.root / "systemctl.log"
        calls = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return calls


@unittest.skipIf(why_not(), why_not())
class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="net-mesh-deb.", dir="/var/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)
        if "NET_MESH_DEBS" not in os.environ:
            run(ROOT / "deploy/build-deb", "--no-install")
        cls.built = pathlib.Path(os.environ.get("NET_MESH_DEBS", ROOT / "build/deb"))
        cls.debs = packages(cls.built)

    @unittest.skipUnless(shutil.which("lintian"), "lintian is not installed")
    def test_lintian_finds_no_error(self):
        done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error", *self.debs.values()], capture_output=True, text=True,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_life(self):
        machine = Machine(self.dir)
        machine.run("apt-get", "update", "--quiet")
        self.install(machine)
        ready = self.make_node(machine)
        self.build_with_the_library(machine)
        self.upgrade(machine, ready)
        self.remove(machine)

    def install(self, machine):
        """With what it depends on, and nothing that runs."""
        machine.install(self.debs.values())
        self.assertEqual(machine.owner("/var/lib/net-mesh"), "net-mesh:net-mesh 750")
        self.assertIn("/usr/sbin/nologin", machine.run("getent", "passwd", "net-mesh"))
        files = machine.files("net-mesh")
        for path in ("/usr/bin/net-mesh", "/usr/lib/systemd/system/net-mesh@.service", "/usr/lib/sysctl.d/90-net-mesh.conf",
                     "/usr/share/man/man1/net-mesh.1.gz", "/usr/share/bash-completion/completions/net-mesh"):
            self.assertIn(path, files)
        self.assertIn("ExecStart=/usr/bin/net-mesh ", (machine.root / "usr/lib/systemd/system/net-mesh@.service").read_text())
        self.assertEqual(machine.run("find", "/usr/bin/net-mesh", "-perm", "/6000"), "", "no privileges")
        machine.run("ldd", "/usr/bin/net-mesh")
        self.assertRegex(machine.run("net-mesh", "--version"), r"\d+\.\d+\.\d+")

    def start(self, machine):
        process = subprocess.Popen([*machine.enter, *machine.as_user(), "net-mesh", "node", "run", NODE], env=machine.env,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        self.addCleanup(process.kill)
        line = mesh.read_line(process.stdout, "the ready line")
        self.assertTrue(line, process.stderr.read() if process.poll() is not None else "")
        return process, json.loads(line)

    def stop(self, machine, process):
        machine.node("--endpoint", NODE, "shutdown")
        self.assertEqual(process.wait(mesh.PATIENCE), 0, process.stderr.read())
        process.stdout.close()
        process.stderr.close()

    def make_node(self, machine):
        machine.node("init", NODE, "--listen", f"127.0.0.1:{mesh.free_port()}", "--admin", f"127.0.0.1:{mesh.free_port()}")
        process, ready = self.start(machine)
        machine.node("--endpoint", NODE, "publish", "x", input="one\ntwo\n")
        self.stop(machine, process)
        return ready

    def build_with_the_library(self, machine):
        """What a program needs of the -dev package, with this machine's compiler."""
        libraries = f"{machine.root}/usr/lib/{run('gcc', '-print-multiarch').strip()}"
        env = {**os.environ, "PKG_CONFIG_LIBDIR": f"{libraries}/pkgconfig"}
        flags = run("pkg-config", "--cflags", "--libs", "netmesh", env=env).split()
        self.assertTrue((pathlib.Path(flags[0][2:]) / "netmesh.h").exists(), flags)
        run("gcc", ROOT / "tests/e2e/echo.c", "-o", machine.root / "echo", *flags, "-Wl,--unresolved-symbols=ignore-in-shared-libs")
        done = subprocess.run([*machine.enter, "/echo", "/nowhere"], env=machine.env, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (1, "echo: /nowhere/node.yaml: cannot open: No such file or directory\n"))

    def upgrade(self, machine, ready):
        """Data stays, and running nodes go on with the new program; on a machine that systemd runs, as far as a package
        can tell."""
        (machine.root / "run/systemd/system").mkdir(parents=True)
        systemctl = machine.root / "usr/bin/systemctl"
        systemctl.write_text(SYSTEMCTL)
        systemctl.chmod(0o755)
        out = self.dir / "new"
        out.mkdir()
        machine.install(repack(self.debs, "99.0", out).values())
        self.assertEqual(machine.run("dpkg-query", "-W", "-f", "${Version}", "net-mesh"), "99.0")
        calls = machine.calls_of_systemctl()
        self.assertIn("try-restart net-mesh@*.service", calls)
        self.assertNotIn("stop net-mesh@*.service", calls)
        process, again = self.start(machine)
        self.assertEqual(again, ready)
        self.assertEqual(machine.node("--endpoint", NODE, "tail", "x", "--raw"), "one\ntwo\n")
        self.stop(machine, process)

    def remove(self, machine):
        files = machine.files("net-mesh")
        machine.run("apt-get", "remove", "--yes", "net-mesh")
        self.assertIn("stop net-mesh@*.service", machine.calls_of_systemctl())
        self.assertFalse((machine.root / "usr/bin/net-mesh").exists())
        self.assertEqual(machine.owner(NODE), "net-mesh:net-mesh 700")
        wants = machine.root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / "net-mesh@a.service").symlink_to("/usr/lib/systemd/system/net-mesh@.service")
        said = machine.run("apt-get", "purge", "--yes", "net-mesh")
        self.assertIn("the nodes in /var/lib/net-mesh stay", said)
        self.assertEqual(machine.owner(NODE), "net-mesh:net-mesh 700", "keys and logs are the administrator's")
        self.assertFalse(os.path.lexists(wants / "net-mesh@a.service"))
        left = [path for path in files if "net-mesh" in path and path != "/var/lib/net-mesh" and (machine.root / path[1:]).exists()]
        self.assertEqual(left, [])

        machine.install([self.debs["net-mesh"]])  # again, where a node is
        self.assertEqual(machine.owner(NODE), "net-mesh:net-mesh 700")
        shutil.rmtree(machine.root / NODE[1:])
        machine.run("apt-get", "purge", "--yes", "net-mesh")
        self.assertFalse((machine.root / "var/lib/net-mesh").exists(), "it was empty")
        self.assertNotIn("net-mesh", machine.run("getent", "passwd"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
