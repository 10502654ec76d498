"""docs/openapi.yaml, and answers held against it.

    described = openapi.Described(path)
    described.check("GET", "/api/v1/matrix", reply)
"""
import json
import pathlib
import re

import jsonschema
import yaml

METHODS = {"get", "head", "post", "put", "patch", "delete", "options", "trace"}
# What the server answers before it looks at the path at all.
ANYWHERE = {400, 404, 405, 408, 413, 414, 417, 431, 503}


def codes_of(text):
    """{code of an error: statuses it comes with}, of docs/api.md's tables."""
    codes = {}
    for statuses, names in re.findall(r"^\| ([45]\d\d[\d, ]*) \| (`.*?) \|",
                                      text, re.M):
        for name in re.findall(r"`(\w+)`", names):
            codes.setdefault(name, set()).update(
                int(s) for s in statuses.split(", "))
    return codes


class Described:
    def __init__(self, path):
        path = pathlib.Path(path)
        self.document = yaml.safe_load(path.read_text(encoding="utf-8"))
        self.codes = codes_of(path.with_name("api.md").read_text(
            encoding="utf-8"))
        self.seen = set()  # (method, template, status)

    def resolve(self, node):
        """What a $ref stands for; anything else is itself."""
        while isinstance(node, dict) and "$ref" in node:
            found = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node

    def operations(self):
        """(method, template, operation) of all."""
        for template, item in self.document["paths"].items():
            for method in METHODS & set(item):
                yield method.upper(), template, item[method]

    def find(self, method, path, status):
        """(method, template, operation) of a request; of a method that is not
        allowed there, of one that is."""
        for known, template, operation in self.operations():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            is_same = known == method or (known, method) == ("GET", "HEAD")
            if (is_same or status == 405) and re.fullmatch(pattern, path):
                return known, template, operation
        return method, None, {}

    def validator(self, schema):
        return jsonschema.Draft202012Validator(
            {"allOf": [schema], "components": self.document["components"]})

    def validate(self, schema, value, where):
        errors = list(self.validator(schema).iter_errors(value))
        assert not errors, (where, [
            f"{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}"
            for e in errors[:5]])

    def check(self, method, target, reply):
        """Hold one answer against its description."""
        path = target.partition("?")[0]
        where = f"{method} {target}: {reply.status}"
        known, template, operation = self.find(method, path, reply.status)
        responses = operation.get("responses", {})
        if str(reply.status) not in responses:
            assert reply.status in ANYWHERE, f"{where} is not described"
            described = self.document["components"]["responses"]["Error"]
        else:
            self.seen.add((known, template, reply.status))
            described = self.resolve(responses[str(reply.status)])
        for name in described.get("headers", {}):
            assert reply.headers[name], f"{where}: no {name}"
        self._check_body(described, method, reply, where)

    def _check_body(self, described, method, reply, where):
        content = described.get("content", {})
        if method == "HEAD" or not content:
            assert reply.body == b"", (where, reply.body)
            return
        kind = reply.headers["Content-Type"].partition(";")[0]
        assert kind in content, (where, kind)
        schema, text = content[kind]["schema"], reply.body.decode()
        if kind == "application/x-ndjson":
            for line in text.splitlines():
                self.validate(schema, json.loads(line), where)
        elif kind == "application/json":
            value = json.loads(text)
            self.validate(schema, value, where)
            if "error" in value and reply.status != 422:
                code = value["error"]["code"]
                assert reply.status in self.codes[code], (where, code)
        else:
            self.validate(schema, text, where)

    def unseen(self):
        """Answers that are described and were not met."""
        return {(method, template, int(status))
                for method, template, operation in self.operations()
                for status in operation["responses"]} - self.seen


def references(node):
    """Every $ref below."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def relaxed(node):
    """The same without `required`: for examples that are shortened."""
    if isinstance(node, dict):
        return {k: relaxed(v) for k, v in node.items() if k != "required"
                or not isinstance(v, list)}
    return [relaxed(v) for v in node] if isinstance(node, list) else node
