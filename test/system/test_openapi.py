#!/usr/bin/python3
"""docs/openapi.yaml is sound, and what real nodes answer is what it says: every
endpoint, its parameters, and each refusal that can be brought about."""
import contextlib
import copy
import hashlib
import http.client
import json
import os
import re
import secrets
import socket
import time
import urllib.parse

import jsonschema
import netbed
import nodes
import openapi
import tap
from netbed import Bed, until

DOCS = os.path.join(os.path.dirname(__file__), "..", "..", "docs")
DESCRIBED = openapi.Described(f"{DOCS}/openapi.yaml")
TOKENS = {role: secrets.token_urlsafe(32)
          for role in ("viewer", "runner", "prober", "admin")}

CONFIG = """\
node: {{name: {name}, zone: zone-{name}, region: r1}}
probe: {{listen: "{address}:7443", cold_interval: 1s, warm_interval: 100ms}}
api: {{listen: "{address}:7070"}}
tls: {{certificate: {path}/{name}.crt, key: {path}/{name}.key, ca: {path}/ca.crt}}
control:
  listen: "{address}:7071"
  insecure: true
  tokens_file: {path}/tokens
  audit_file: {audit}
  requests_per_minute: {per_minute}
peers: [{{name: self-{name}, zone: zone-self, address: "{address}:7443"}}]
"""
GOSSIP = """\
gossip: {{listen: "{address}:7946", join: ["{seed}"], keys_file: {path}/keys}}
"""


class Reply:
    def __init__(self, answer):
        self.status, self.headers = answer.status, answer.headers
        self.body = answer.read()

    def json(self):
        return json.loads(self.body)

    def code(self):
        return self.json()["error"]["code"]


class Member:
    """A node whose every answer is held against the description."""

    def __init__(self, bed, number, name, seed=None, audit=None,
                 per_minute=6000):
        self.address = nodes.address(number)
        netbed.certificate(bed.path, name, [f"IP:{self.address}"])
        text = CONFIG.format(name=name, address=self.address, path=bed.path,
                             audit=audit or f"{bed.path}/{name}.audit",
                             per_minute=per_minute)
        if seed:
            text += GOSSIP.format(address=self.address, path=bed.path,
                                  seed=seed)
        self.config = bed.file(f"{name}.yaml", text)
        self.node = nodes.Node(bed, name, self.address, self.config)
        self.node.wait()

    def ask(self, method, target, port, body=None, source="127.0.0.1",
            **headers):
        with contextlib.closing(http.client.HTTPConnection(
                self.address, port, timeout=30,
                source_address=(source, 0))) as client:
            client.request(method, target, body, headers)
            reply = Reply(client.getresponse())
        DESCRIBED.check(method, target, reply)
        return reply

    def api(self, target, method="GET", **headers):
        return self.ask(method, target, 7070, **headers)

    def control(self, method, target, role=None, body=None, **more):
        headers = {"Content-Type": "application/json"} if body else {}
        if role:
            headers["Authorization"] = f"Bearer {TOKENS.get(role, role)}"
        return self.ask(method, target, 7071, body, **{**headers, **more})

    def probe(self, role="admin", **request):
        return self.control("POST", "/v1/probes", role, json.dumps(request))


def prepare(bed):
    netbed.authority(bed.path)
    lines = "".join(f"{role} {role} sha256:"
                    f"{hashlib.sha256(token.encode()).hexdigest()}\n"
                    for role, token in TOKENS.items())
    os.chmod(bed.file("tokens", lines), 0o600)
    os.chmod(bed.file("keys", netbed.run(netbed.PROBER, "keygen")), 0o600)


# ---- the document alone ----

def the_document_is_sound():
    document = DESCRIBED.document
    assert document["openapi"] == "3.1.0" and document["info"]["version"]
    ids = [o["operationId"] for _, _, o in DESCRIBED.operations()]
    assert len(ids) == len(set(ids)) >= 14, ids
    tags = {t["name"] for t in document["tags"]}
    for method, template, operation in DESCRIBED.operations():
        where = f"{method} {template}"
        assert operation["summary"] and set(operation["tags"]) <= tags, where
        given = [DESCRIBED.resolve(p) for p in operation.get("parameters", [])]
        wanted = set(re.findall(r"\{(\w+)\}", template))
        assert {p["name"] for p in given if p["in"] == "path"} == wanted, where
        assert all(p.get("required") for p in given if p["in"] == "path"), where
        for status, response in operation["responses"].items():
            assert re.fullmatch("[2-5][0-9][0-9]", status), (where, status)
            assert DESCRIBED.resolve(response)["description"], (where, status)
        for way in operation.get("security", []):
            assert set(way) <= set(document["components"]["securitySchemes"])


def every_reference_leads_to_something_and_everything_is_used():
    document, used = DESCRIBED.document, set(openapi.references(
        DESCRIBED.document))
    for reference in used:
        DESCRIBED.resolve({"$ref": reference})
    for kind in ("schemas", "parameters", "responses", "headers"):
        for name, part in document["components"][kind].items():
            assert f"#/components/{kind}/{name}" in used, f"{name} is not used"
            schema = part if kind == "schemas" else part.get("schema", {})
            jsonschema.Draft202012Validator.check_schema(schema)


def objects_are_closed():
    stack, found = [DESCRIBED.document], 0
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack += node
        if not isinstance(node, dict):
            continue
        stack += node.values()
        if "properties" in node and "object" in node.get("type", ""):
            assert node.get("additionalProperties") is False, node
            found += 1
    assert found > 30, found


def examples_of_the_documents_have_known_fields_only():
    """They are shortened, so fields may be missing; none may be made up."""
    with open(f"{DOCS}/api.md", encoding="utf-8") as file:
        text = file.read()
    schemas = {"/api/v1/matrix": "Matrix", "cells/{from}/{to}": "CellPage",
               "/api/v1/samples": "Sample", "/api/v1/members": "Members",
               "/api/v1/status": "Status", "Errors": "Error",
               "/v1/probes": "ProbeLine", " /v1/status": "ControlStatus"}
    known = openapi.Described(f"{DOCS}/openapi.yaml")
    known.document = openapi.relaxed(known.document)
    found = 0
    for heading, body in re.findall(r"^##+ (.*?)$(.*?)(?=^##+ |\Z)", text,
                                    re.M | re.S):
        for block in re.findall(r"```json\n(.*?)```", body, re.S):
            name = [s for h, s in schemas.items() if h in heading][-1]
            try:
                values = [json.loads(block)]
            except ValueError:
                values = [json.loads(line) for line in block.splitlines()]
            if name == "ProbeLine":  # one of three, which now all match {}
                for value in values:
                    kind = ("ExecutorLine" if "executor" in value else
                            "SummaryLine" if "summary" in value else "Sample")
                    if "summary" in value:
                        value["summary"]["id"] = "0" * 32
                    known.validate({"$ref": f"#/components/schemas/{kind}"},
                                   value, heading)
            else:
                for value in values:
                    known.validate({"$ref": f"#/components/schemas/{name}"},
                                   value, heading)
            found += 1
    assert found >= 8, found


# ---- real answers ----

def check_reads(node, other):
    """The read-only API, with all that it takes."""
    ago = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 5))
    for query in ("", "?level=node", "?level=region&window=10s",
                  "?window=1h&protocol=http1&mode=warm", "?protocol=grpc",
                  f"?at={urllib.parse.quote(ago)}"):
        assert node.api("/api/v1/matrix" + query).status == 200, query
    for path in ("zone-a/zone-b", "zone-b/zone-a?window=10s",
                 f"a/{other}?level=node", "r1/r1?level=region",
                 f"zone-a/zone-self?at={urllib.parse.quote(ago)}"):
        assert node.api("/api/v1/cells/" + path).status == 200, path
    for query in ("", "?limit=4096", "?limit=3&outcome=ok", "?target=zone-b",
                  "?outcome=connect_refused"):
        assert node.api("/api/v1/samples" + query).status == 200, query
    for path in ("/api/v1/members", "/api/v1/status", "/livez", "/readyz",
                 "/metrics", "/metrics?buckets_per_octave=4"):
        assert node.api(path).status == 200, path
        assert node.api(path, "HEAD").status == 200, path
    assert node.api("/metrics", Accept="application/openmetrics-text"
                    ).headers["Content-Type"].startswith("application/openm")
    for path in ("/api/v1/matrix", "/api/v1/members"):
        tag = node.api(path).headers["ETag"]
        until(lambda: node.api(path, **{
            "If-None-Match": node.api(path).headers["ETag"]}).status == 304,
              5, f"{path} is the same as {tag}")


def check_api_refusals(node):
    for path in ("matrix", "cells/a/b", "samples", "members", "status"):
        reply = node.api(f"/api/v1/{path}?colour=red")
        assert (reply.status, reply.code()) == (400, "unknown_parameter"), path
        assert node.api(f"/api/v1/{path}", "POST").status == 405
    for target in ("/api/v1/matrix?window=5", "/api/v1/matrix?level=x",
                   "/api/v1/cells/a/b?at=2999-01-01T00:00:00Z",
                   "/api/v1/samples?limit=0", "/metrics?buckets_per_octave=3"):
        reply = node.api(target)
        assert (reply.status, reply.code()) == (400, "bad_value"), target
    for target in ("/metrics", "/livez", "/readyz"):
        assert node.api(target, "DELETE").status == 405
    assert node.api("/api/v1/cells/zone-a/nowhere").code() == "unknown_name"
    assert node.api("/api/v1/nothing").code() == "not_found"
    assert node.api("/api/v1/matrix?level=%zz").code() == "bad_target"
    assert node.api("/" + "x" * 2100).code() == "target_too_long"
    assert node.api("/livez", X="y" * 9000).code() == "header_too_large"
    with contextlib.closing(socket.create_connection(
            (node.address, 7070), 20)) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\n")
        answer = http.client.HTTPResponse(slow)
        answer.begin()
        reply = Reply(answer)
    DESCRIBED.check("GET", "/livez", reply)
    assert (reply.status, reply.code()) == (408, "request_timeout")


def check_identity(node):
    for method, target in (("GET", "/v1/status"), ("POST", "/v1/probes"),
                           ("POST", "/v1/reload"), ("POST", "/v1/drain"),
                           ("DELETE", "/v1/probes/" + "0" * 32)):
        assert node.control(method, target).code() == "unauthorized"
        reply = node.control(method, target, "admin", Origin="http://x")
        assert (reply.status, reply.code()) == (403, "forbidden_origin")
        reply = node.control(method, target, "admin", Host="evil.example")
        assert (reply.status, reply.code()) == (403, "forbidden_host")
        if method != "GET":
            reply = node.control(method, target, "viewer")
            assert (reply.status, reply.code()) == (403, "forbidden")
        wrong = "PUT" if method != "GET" else "POST"
        assert node.control(wrong, target, "admin").status == 405
        status = [node.control(method, target, "x" * 43, source="127.0.0.9")
                  for _ in range(6)][-1].status
        assert status == 429, (target, status)
    for target in ("/api/v1/status", "/metrics", "/api/v1/cells/a/b?level=node"):
        assert node.control("GET", target, "viewer").status == 200, target
    assert node.control("GET", "/-/healthy").status == 200
    assert node.control("POST", "/-/healthy").status == 405


def check_probes(node):
    there = node.probe(target="a", **{"from": "b"})
    assert there.status == 200, there.body
    reply = node.probe("runner", target="self-a", count=3, interval_ms=50)
    lines = [json.loads(line) for line in reply.body.splitlines()]
    assert [line.get("outcome") for line in lines[:-1]] == ["ok"] * 3, lines
    assert lines[-1]["summary"]["id"] == reply.headers["Prober-Probe-Id"]
    for more in ({"protocol": "grpc"}, {"mode": "warm", "count": 2},
                 {"from": "all-zones"}, {"from": "b"}, {"timeout_ms": 1}):
        assert node.probe(target="self-a", **more).status == 200, more
    for bad in ({}, {"target": "self-a", "colour": 1}, {"target": "http://"},
                {"target": "self-a", "count": 0}):
        reply = node.probe(**bad)
        assert (reply.status, reply.code()) == (400, "bad_request"), bad
    assert node.probe(target="http://10.9.8.7/").code() == "denied"
    assert node.probe("runner", target="http://10.9.8.7/").code() == "forbidden"
    assert node.probe(target="nobody").code() == "not_found"
    reply = node.control("POST", "/v1/probes", "admin", "{}",
                         **{"Content-Type": "text/plain"})
    assert reply.code() == "forbidden_content_type"
    assert node.control("DELETE", "/v1/probes/" + "0" * 32,
                        "runner").code() == "not_found"
    return there.headers["Prober-Probe-Id"]


def check_cancel(node):
    with contextlib.closing(http.client.HTTPConnection(
            node.address, 7071, timeout=30)) as client:
        client.request("POST", "/v1/probes", json.dumps(
            {"target": "self-a", "count": 100, "interval_ms": 500}),
            {"Content-Type": "application/json",
             "Authorization": f"Bearer {TOKENS['runner']}"})
        answer = client.getresponse()
        number = answer.headers["Prober-Probe-Id"]
        answer.readline()
        reply = node.control("DELETE", f"/v1/probes/{number}", "runner")
        assert reply.json() == {"cancelled": True, "id": number}
        last = answer.read().splitlines()[-1]
    DESCRIBED.validate({"$ref": "#/components/schemas/SummaryLine"},
                       json.loads(last), "a cancelled probe")


def check_reload(node):
    assert node.control("POST", "/v1/reload", "admin").status == 200
    with open(node.config, "a", encoding="utf-8") as file:
        file.write("nonsense: 1\n")
    reply = node.control("POST", "/v1/reload", "admin")
    assert reply.status == 422, reply.body
    state = node.control("GET", "/v1/status", "viewer").json()["reload"]
    assert (state["count"], state["failures"]) == (2, 1), state


def check_refusals_of_one_without_mesh(bed):
    node = Member(bed, 3, "c", audit="/dev/full")
    assert node.probe(target="self-c", **{"from": "all-zones"}
                      ).code() == "no_mesh"
    assert node.probe(target="self-c").code() == "no_audit"
    members = node.api("/api/v1/members").json()
    assert members["mesh"]["is_on"] is False and len(members["members"]) == 2
    assert node.api("/api/v1/status").json()["gossip"] is None
    few = Member(bed, 4, "d", per_minute=1)
    assert few.probe("runner", target="self-d").status == 200
    assert few.probe("runner", target="self-d").code() == "rate_limited"
    for node in (node, few):
        node.node.end()


def check_drain(node):
    """Draining takes two seconds with a mesh; meanwhile it refuses."""
    assert node.control("POST", "/v1/drain", "admin").status == 202
    assert node.api("/readyz").code() == "not_ready"
    assert node.probe(target="self-a").code() == "draining"
    reply = node.control("POST", "/v1/reload", "admin")
    assert (reply.status, reply.code()) == (503, "draining")
    assert node.control("GET", "/v1/status", "viewer").json()["draining"]
    assert node.node.process.popen.wait(15) == 0
    assert not nodes.has_findings(node.node.process.text())


def real_answers_are_as_described():
    with Bed() as bed:
        prepare(bed)
        a = Member(bed, 1, "a", nodes.address(2))
        b = Member(bed, 2, "b", nodes.address(1))
        until(lambda: any(c["phases"] and c["from"] == "zone-a" and
                          c["to"] == "zone-b" for c in
                          a.api("/api/v1/matrix").json()["cells"]),
              40, "a has measured b")
        check_reads(a, "b")
        check_api_refusals(a)
        check_identity(a)
        asked = check_probes(a)
        check_cancel(a)
        check_reload(a)
        check_audit(bed, asked)
        check_refusals_of_one_without_mesh(bed)
        check_damage(a)
        check_drain(a)
        b.node.end()


def documented_audit():
    """{kind: fields} of the table of docs/security.md."""
    with open(f"{DOCS}/security.md", encoding="utf-8") as file:
        text = file.read().split("## The audit log")[1].split("\n## ")[0]
    table = {}
    for kinds, _, fields in re.findall(r"^\| (`.*?) \|(.*?)\|(.*?) \|$", text,
                                       re.M):
        for kind in re.findall(r"`(\w+)`", kinds):
            table[kind] = set(re.findall(r"`(\w+)`", fields))
    return table


def check_audit(bed, asked):
    """Lines are as documented, and what one request did has one id."""
    table, lines = documented_audit(), {}
    for name in ("a", "b"):
        with open(f"{bed.path}/{name}.audit", encoding="utf-8") as file:
            lines[name] = [json.loads(line) for line in file]
    for line in lines["a"] + lines["b"]:
        unknown = set(line) - table[line["audit"]] - {"time", "audit", "cut"}
        assert not unknown, (line, unknown)
    kinds = {line["audit"] for line in lines["a"] + lines["b"]}
    assert kinds == set(table) - {"drain"}, kinds
    there = [line["audit"] for line in lines["b"] if line.get("id") == asked]
    assert there == ["probe_begin", "probe_address", "probe_end"], there


def damaged(value):
    """The same with one field too many, or one too few, anywhere."""
    def places(node, path=()):
        if isinstance(node, dict):
            yield path
            for key, below in node.items():
                yield from places(below, (*path, key))
        elif isinstance(node, list) and node:
            yield from places(node[0], (*path, 0))

    for path in places(value):
        made = copy.deepcopy(value)
        at = made
        for key in path:
            at = at[key]
        at["made_up"] = True
        yield path, made


def check_damage(node):
    """The description is worth something: it notices what is not in it."""
    found = 0
    for target, name in (("/api/v1/matrix", "Matrix"),
                         ("/api/v1/status", "Status"),
                         ("/api/v1/cells/zone-a/zone-b", "CellPage"),
                         ("/api/v1/members", "Members")):
        schema = {"$ref": f"#/components/schemas/{name}"}
        validator = DESCRIBED.validator(schema)
        value = node.api(target).json()
        assert validator.is_valid(value), (target, value)
        for key in value:
            less = {k: v for k, v in value.items() if k != key}
            assert key == "at" or not validator.is_valid(less), (target, key)
        for path, more in damaged(value):
            assert not validator.is_valid(more), (target, path)
            found += 1
    # Some fifty; of cells without a recent attempt a good dozen fewer.
    assert found > 30, found


# Described, but nothing that a test can bring about in a healthy node.
OUT_OF_REACH = {
    ("GET", "/api/v1/matrix", 503),   # many slow readers of large matrices
    ("GET", "/livez", 503),           # the measuring thread is stuck
    ("POST", "/v1/reload", 409),      # two at the very same time
    ("POST", "/v1/reload", 500),      # out of memory
}


def every_described_answer_was_seen():
    assert DESCRIBED.unseen() == OUT_OF_REACH, (
        DESCRIBED.unseen() ^ OUT_OF_REACH)


tap.run([the_document_is_sound,
         every_reference_leads_to_something_and_everything_is_used,
         objects_are_closed,
         examples_of_the_documents_have_known_fields_only,
         real_answers_are_as_described, every_described_answer_was_seen])
