#!/usr/bin/env python3
"""bench: its figures are there, and nothing is left of it, however it ends."""
import json
import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh


class Bench(mesh.MeshCase):
    def test_figures(self):
        done = mesh.run("bench", "--duration", "200ms", "--size", "64,4096", "--dir", self.dir, "--output", "json")
        found = json.loads(done.stdout)
        self.assertIn(found["machine"]["cipher"], ("aes-256-gcm", "chacha20-poly1305"))
        self.assertGreater(found["machine"]["cipher_gbyte_per_s"], 0)
        self.assertGreater(found["machine"]["disk_commits_per_s"], 0)
        self.assertEqual([(row["size"], row["log"]) for row in found["throughput"]],
                         [(64, "none"), (64, "disk"), (4096, "none"), (4096, "disk")])
        for row in found["throughput"]:
            self.assertGreater(row["events_per_s"], 0, row)
            self.assertAlmostEqual(row["gbit_per_s"], row["events_per_s"] * row["size"] * 8 / 1e9, delta=0.001)
            self.assertGreaterEqual(row["lost"], 0)
        for name in ("round_trip", "publish_to_tail"):
            self.assertGreater(found[name]["count"], 10, name)
            self.assertLessEqual(0 < found[name]["p50_us"] and found[name]["p50_us"], found[name]["p99_us"])
        self.assertEqual([row["writers"] for row in found["durable"]], [1, 16])
        for row in found["durable"]:
            self.assertGreater(row["events_per_s"], 0)
            self.assertGreater(row["of_disk"], 0)
        self.assertIn(b"events of 4096 bytes, log disk", done.stderr, "progress")
        self.assertEqual(list(self.dir.iterdir()), [])

    def test_table_and_quiet(self):
        done = mesh.run("bench", "-q", "--duration", "100ms", "--size", "256", "--dir", self.dir, "--output", "table")
        self.assertRegex(done.stdout.decode(), r"The machine alone: .*\n\n BYTES  LOG .*\n +256  none .*\n +256  disk ")
        self.assertEqual(done.stderr, b"")

    def test_interrupted(self):
        process = subprocess.Popen([mesh.PROGRAM, "bench", "--duration", "30s", "--dir", str(self.dir)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        while b"log none" not in mesh.read_line(process.stderr, "the line of the first figure").encode():
            pass
        mesh.eventually(lambda: list(self.dir.glob("*/*/lock")), "a node runs")
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        nodes = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=3 * mesh.PATIENCE)
        self.assertEqual((process.returncode, out), (-signal.SIGINT, b""))
        self.assertEqual(list(self.dir.iterdir()), [])
        for pid in nodes:
            self.assertFalse(os.path.exists(f"/proc/{pid}"), "its nodes are gone")

    def test_refused(self):
        for option, value in (("--duration", "0"), ("--duration", "fast"), ("--size", "0"), ("--size", "8109"), ("--size", "64,"),
                              ("--size", "12345678901234567890")):
            text = mesh.run("bench", option, value, status=2).stderr.decode()
            self.assertRegex(text, rf"\Anet-mesh: {option}: found [^\n]*, allowed: [^\n]+\n\Z")
        text = mesh.run("bench", "--dir", self.dir / "nowhere", status=1).stderr.decode()
        self.assertIn("No such file", text)


if __name__ == "__main__":
    mesh.main()
