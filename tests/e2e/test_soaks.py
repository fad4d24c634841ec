#!/usr/bin/env python3
"""The soaks, small: what tests/run --soak does for long."""
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh
import soak_exact


class Soaks(unittest.TestCase):
    def soak(self, name, *options):
        script = pathlib.Path(__file__).parent / f"{name}.py"
        done = subprocess.run([sys.executable, script, mesh.PROGRAM, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=240, check=False)
        if done.returncode == soak_exact.SKIP:
            self.skipTest(done.stdout.splitlines()[-1])
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_exact(self):
        said = self.soak("soak_exact", "--bytes", "32MiB", "--receiver-kills", "2", "--sender-kills", "1")
        self.assertEqual((said.count("kill -9 bob"), said.count("kill -9 alice")), (2, 1))
        self.assertIn("the logs are identical", said)

    def test_followers(self):
        if mesh.SANITIZER == "thread":
            self.skipTest("the sanitizer keeps a shadow of memory that the publisher has long given back")
        if mesh.SANITIZER == "address": # nor is freed memory that it sets aside the publisher's
            options = os.environ["ASAN_OPTIONS"]
            self.addCleanup(os.environ.__setitem__, "ASAN_OPTIONS", options)
            os.environ["ASAN_OPTIONS"] = f"{options} quarantine_size_mb=1 thread_local_quarantine_size_kb=64"
        said = self.soak("soak_followers", "--followers", "50", "--bytes", "64MiB", "--rate", "8MiB")
        self.assertIn("25 that were stalled have reached the end", said)


if __name__ == "__main__":
    mesh.main()
