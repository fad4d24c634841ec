#!/usr/bin/env python3
"""A crash leaves no core dump, which would hold every key; unless memory.core_dumps says so. And what else a node's
memory is hidden from."""
import os
import pathlib
import resource
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


def allow_core():
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def dumped(process):
    """Waits for the end by a signal: did the kernel write a core, or hand it to somebody?"""
    end = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    process.wait()
    return end.si_code == os.CLD_DUMPED


class Core(mesh.MeshCase):
    def crash(self, *values):
        a = self.node(f"a{len(self.nodes)}", "shards.count=2")
        a.start(*values, preexec_fn=allow_core, cwd=self.dir)
        a.publish("x", ["y"])
        a.process.send_signal(signal.SIGABRT)
        a.killed = True
        left = dumped(a.process)
        a.process.stdout.close()
        return left

    def test_none_by_default(self):
        self.assertFalse(self.crash())
        self.assertEqual([path for path in self.dir.iterdir() if path.name.startswith("core")], [])

    @unittest.skipIf(mesh.SANITIZER, "sanitizers forbid core dumps themselves")
    def test_one_when_asked_for(self):
        control = subprocess.Popen(["sh", "-c", "kill -ABRT $$"], preexec_fn=allow_core, cwd=self.dir)
        if not dumped(control):
            self.skipTest("this machine writes no core dumps")
        self.assertTrue(self.crash("memory.core_dumps=true"))

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to be somebody else")
    def test_others_of_its_user_cannot_read_its_memory(self):
        a = self.node("a")
        self.dir.chmod(0o755)
        for path in (a.dir, *a.dir.rglob("*")):
            os.chown(path, 65534, 65534)
        program = self.dir / "net-mesh"  # where that user may read it
        program.write_bytes(pathlib.Path(mesh.PROGRAM).read_bytes())
        program.chmod(0o755)
        a.command_line = [str(program), "node", "run", str(a.dir)]
        user = {"user": 65534, "group": 65534, "extra_groups": []}
        a.start(**user)
        for name in ("mem", "environ", "maps"):
            done = subprocess.run(["head", "-c1", f"/proc/{a.process.pid}/{name}"], capture_output=True, check=False, **user)
            self.assertIn(b"Permission denied", done.stderr, name)


if __name__ == "__main__":
    mesh.main()
