#!/usr/bin/env python3
"""/openapi.json describes exactly what is served: walked both ways against running nodes."""
import base64
import http.client
import json
import pathlib
import re
import struct
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import json_schema
import mesh_process as mesh

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
KEY = "ab" * 32

# What to ask where a bare request is not enough, by operationId: what fills the path, the query, and bodies by type.
EXAMPLES = {
    "addPeer": {"body": {"name": "third", "node_id": "0x77", "addr": "127.0.0.1:9", "public_key": KEY}},
    "removePeer": {"path": {"name": "third"}},
    "subscribe": {"path": {"channel": "a/b"}, "query": {"from": "bob"}},
    "unsubscribe": {"path": {"channel": "a/b"}, "query": {"from": "bob"}},
    "publish": {"path": {"channel": "mine/x"}, "query": {"durable": "true"},
                "bodies": {"text/plain": b"one\ntwo\n",
                           "application/x-ndjson": b'{"data":"one"}\n{"data_base64":"/w=="}\n',
                           "application/octet-stream": struct.pack("<I", 3) + b"one"}},
    "readEvents": {"path": {"channel": "mine/x"}, "query": {"limit": "2", "origin": "self"},
                   "accept": {"application/x-ndjson": "*/*", "text/event-stream": "text/event-stream",
                              "application/octet-stream": None}},
    "setLogLevel": {"body": {"level": "debug"}},
}
LAST = ("shutdown",)  # what ends the node


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.type = response.getheader("Content-Type", "").split(";")[0]
        self.allow = response.getheader("Allow")
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)


class Openapi(mesh.MeshCase):
    @classmethod
    def setUpClass(cls):
        cls.maxDiff = None

    def setUp(self):
        super().setUp()
        self.alice, self.bob = self.pair("shards.count=2")
        for node in (self.alice, self.bob):
            node.publish("a/b", ["1"])
        self.alice.command("subscribe", "a/b", "--from", "bob")
        self.bob.command("subscribe", "mine/x", "--from", "alice")
        self.alice.publish("mine/x", b"\xff\n2\n")
        self.admin, self.readonly = ((self.alice.dir / f"{name}.token").read_text().strip() for name in ("admin", "readonly"))
        self.document = self.ask("GET", "/openapi.json", self.admin).json

    def ask(self, method, target, token, body=None, headers=None):
        host, port = self.alice.admin.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=mesh.PATIENCE)
        self.addCleanup(connection.close)
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request(method, target, body, headers)
        return Answer(connection.getresponse())

    def operations(self, head=False):
        """(method, path, operation), what ends the node last."""
        found = [(method.upper(), path, operation) for path, methods in self.document["paths"].items()
                 for method, operation in methods.items() if head or method != "head"]
        return sorted(found, key=lambda row: row[2].get("operationId") in LAST)

    @staticmethod
    def target(path, operation, query=None):
        example = EXAMPLES.get(operation.get("operationId"), {})
        for name, value in example.get("path", {}).items():
            path = path.replace(f"{{{name}}}", urllib.parse.quote(value, safe=""))
        path = re.sub(r"\{\w+\}", "x", path)
        query = {**example.get("query", {}), **(query or {})}
        return path + ("?" + urllib.parse.urlencode(query) if query else "")

    def check(self, operation, answer, what):
        """The answer is one the operation documents, to the last member."""
        response = operation["responses"].get(str(answer.status)) or operation["responses"]["default"]
        self.assertIn(answer.type, response["content"], what)
        schema = response["content"][answer.type]["schema"]
        rows = [answer.body.decode()] if answer.type in ("text/plain",) else []
        if answer.type == "application/json":
            rows = [answer.json]
        elif answer.type == "application/x-ndjson":
            rows = [json.loads(line) for line in answer.body.splitlines()]
        elif answer.type == "text/event-stream":
            rows = [json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: ")]
        for row in rows:
            json_schema.check(self.document, schema, row, what)
        return rows

    def error(self, answer, status, code, what):
        self.assertEqual(answer.status, status, (what, answer.body))
        json_schema.check(self.document, {"$ref": "#/components/schemas/error"}, answer.json, what)
        self.assertEqual(answer.json["error"]["code"], code, what)

    # ---- the document ----

    def test_the_document_is_whole(self):
        self.assertRegex(self.document["openapi"], r"^3\.1\.")
        for reference in json_schema.references(self.document):
            json_schema.resolve(self.document, {"$ref": reference})
        named = {f"#/components/schemas/{name}" for name in self.document["components"]["schemas"]}
        self.assertEqual(named, set(json_schema.references(self.document)), "each is used, and each that is used is there")
        for schema in json_schema.schemas(self.document):
            self.assertIs(schema["additionalProperties"], False)
            self.assertLessEqual(set(schema["required"]), schema["properties"].keys())
        ids = [operation["operationId"] for _, _, operation in self.operations()]
        self.assertEqual(len(ids), len(set(ids)))
        for method, path, operation in self.operations():
            in_path = [p["name"] for p in operation["parameters"] if p["in"] == "path"]
            self.assertEqual(in_path, re.findall(r"\{(\w+)\}", path))
            self.assertTrue(operation["summary"], (method, path))
            self.assertIn("default", operation["responses"])
        self.assertLessEqual(EXAMPLES.keys(), set(ids), "an example for what is not there")

    def test_the_text_for_people_names_the_same_paths(self):
        text = (ROOT / "shards" / "admin" / "API.md").read_text()
        said = {(method, path.split("?")[0]) for method, path in re.findall(r"^\| `([A-Z]+) (/\S*?)` \|", text, re.MULTILINE)}
        served = {(method, re.sub(r"\{(\w+)\}", lambda m: m.group(1).upper(), path)) for method, path, _ in self.operations()}
        self.assertEqual(said, served)

    # ---- what it says is served ----

    def test_every_operation_answers_as_documented(self):
        for method, path, operation in self.operations():
            what = f"{method} {path}"
            example = EXAMPLES.get(operation["operationId"], {})
            documented = operation.get("requestBody", {}).get("content", {})
            bodies = example.get("bodies") or {kind: json.dumps(example["body"]).encode() for kind in documented}
            self.assertEqual(bodies.keys(), documented.keys(), f"{what}: an example for each body")
            accepts = example.get("accept", {None: None})
            seen = set()
            for kind, body in (bodies or {None: None}).items():
                for expected, accept in accepts.items():
                    headers = {"Content-Type": kind} if kind else {}
                    headers |= {"Accept": accept} if accept else {}
                    query = {"format": "binary"} if expected and not accept else None
                    answer = self.ask(method, self.target(path, operation, query), self.admin, body, headers)
                    self.assertIn(str(answer.status), operation["responses"], (what, answer.status, answer.body))
                    rows = self.check(operation, answer, what)
                    seen.add(answer.type)
                    if accept:
                        self.assertEqual(len(rows), 2, what)
            success = next(r for status, r in operation["responses"].items() if status.startswith("2"))
            self.assertEqual(seen, success["content"].keys(), f"{what}: every kind of answer it documents")

    def test_lists_have_rows(self):
        """Or their schemas would be checked against nothing."""
        for path in ("/v1/shards", "/v1/sessions", "/v1/streams", "/v1/peers", "/v1/channels", "/v1/subscriptions", "/v1/subscribers"):
            self.assertTrue(self.ask("GET", path, self.readonly).json, path)

    def test_head_is_get_without_a_body(self):
        for method, path, operation in self.operations(head=True):
            if method == "HEAD":
                get = self.document["paths"][path]["get"]
                answer = self.ask("HEAD", self.target(path, get), self.admin)
                self.assertIn(str(answer.status), get["responses"], path)
                self.assertEqual(answer.body, b"")
                self.assertEqual([p["name"] for p in operation["parameters"]], [p["name"] for p in get["parameters"]])

    def test_who_may_ask(self):
        for method, path, operation in self.operations():
            what, target = f"{method} {path}", self.target(path, operation)
            schemes = {name for scheme in operation["security"] for name in scheme}
            self.assertLessEqual(schemes, self.document["components"]["securitySchemes"].keys())
            for token in (None, KEY):
                answer = self.ask(method, target, token)
                if schemes:
                    self.error(answer, 401, "unauthorized", what)
                else:
                    self.check(operation, answer, what)
            answer = self.ask(method, target, self.readonly)
            if schemes == {"admin"}:
                self.error(answer, 403, "forbidden", what)
            else:
                self.assertEqual(method, "GET", "what is not GET changes something")
                self.assertEqual(answer.status, 200, what)
        self.assertIsNotNone(self.alice.peer(self.bob.node_id))
        self.assertTrue(self.alice.running)

    def test_parameters(self):
        for method, path, operation in self.operations():
            what = f"{method} {path}"
            query = [p for p in operation["parameters"] if p["in"] == "query"]
            unknown = self.ask(method, self.target(path, operation, {"unheard-of": "1"}), self.admin)
            self.error(unknown, 400, "invalid", what)
            for parameter in query:
                schema, name = parameter["schema"], parameter["name"]
                wrong = ["", "no", "-1"] if schema["type"] in ("integer", "boolean") or "enum" in schema else []
                wrong += ["x", "-1", "18446744073709551616"] if "pattern" in schema else []
                wrong += [str(schema["maximum"] + 1)] if "maximum" in schema else []
                for value in wrong:
                    self.error(self.ask(method, self.target(path, operation, {name: value}), self.admin), 400, "invalid",
                               f"{what}: {name}={value}")
                if parameter["required"]:
                    bare = self.target(path, operation).split("?")[0]
                    self.error(self.ask(method, bare, self.admin), 400, "invalid", f"{what} without {name}")
        self.assertTrue(self.alice.running, "nothing of it was done")

    # ---- what it does not say is not served ----

    def test_other_methods(self):
        for path, methods in self.document["paths"].items():
            served = {method.upper() for method in methods}
            for method in METHODS:
                if method not in served:
                    answer = self.ask(method, self.target(path, next(iter(methods.values()))), self.admin)
                    if method == "HEAD":
                        self.assertEqual((answer.status, answer.body), (405, b""), path)
                    else:
                        self.error(answer, 405, "method", f"{method} {path}")
                    self.assertEqual({name.strip() for name in answer.allow.split(",")}, served, path)

    def test_other_paths(self):
        served = {re.sub(r"\{\w+\}", "x", path) for path in self.document["paths"]}
        for path in sorted(served):
            for other in (path + "/", path + "x", path[:-1], path + "/x", path.upper(), "/" + path):
                if other in served or (other.startswith("/v1/peers/") and "/" not in other[10:]):
                    continue
                self.error(self.ask("GET", other, self.admin), 404, "route", other)


if __name__ == "__main__":
    mesh.main()
