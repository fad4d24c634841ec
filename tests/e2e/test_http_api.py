#!/usr/bin/env python3
"""The examples of deploy/examples do what they say."""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import mesh_process as mesh

EXAMPLES = pathlib.Path(__file__).parents[2] / "deploy/examples"


class HttpApi(mesh.MeshCase):
    def run_example(self, *arguments):
        return subprocess.Popen([sys.executable, EXAMPLES / "http_api.py", *map(str, arguments)], stdout=subprocess.PIPE, bufsize=0,
                                env={**os.environ, "PATH": f"{os.path.dirname(mesh.PROGRAM)}:{os.environ['PATH']}"})

    def test_publish_and_follow(self):
        node = self.node("alice")
        node.start()
        node.publish("sensors/lidar", ["before"])
        process = self.run_example(node.dir, "sensors/lidar", "hello from Python", 3)
        answer = json.loads(mesh.read_line(process.stdout, "what publish answers"))
        self.assertEqual((answer["channel"], answer["events"], answer["first_seq"]), ("sensors/lidar", 1, 1))
        self.assertIn("'data': 'before'", mesh.read_line(process.stdout, "the event before it"))
        self.assertIn("'data': 'hello from Python'", mesh.read_line(process.stdout, "its own event"))
        node.publish("sensors/lidar", ["after"])
        self.assertIn("'data': 'after'", mesh.read_line(process.stdout, "what was published while it followed"))
        self.assertEqual(process.wait(mesh.PATIENCE), 0, "COUNT events were there")
        process.stdout.close()

    def test_it_is_as_short_as_promised(self):
        code = [line for line in (EXAMPLES / "http_api.py").read_text().splitlines()
                if line.strip() and not line.startswith(("#", '"""', "import"))]
        self.assertLessEqual(len(code), 10)


if __name__ == "__main__":
    mesh.main()
