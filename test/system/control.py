"""A client of the control port, over its unix socket: plain HTTP/1.1, to see
what is really sent, and when.

    answer = control.probe(path, target="b-1", **{"from": "all-zones"})
    for sample in answer.samples: ...
"""
import contextlib
import http.client
import json
import socket
import time


class Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path, method, target, body=None, timeout=30):
    """Returns status, headers, body."""
    with contextlib.closing(Connection(path, timeout)) as client:
        headers = {"Content-Type": "application/json"} if body else {}
        client.request(method, target, body, headers)
        reply = client.getresponse()
        return reply.status, reply.headers, reply.read().decode()


def get(path, target):
    status, _, body = ask(path, "GET", target)
    assert status == 200, (target, status, body)
    return json.loads(body)


class Answer:
    """What POST /v1/probes answered: lines, with the seconds after asking."""

    def __init__(self, status, headers):
        self.status, self.id = status, headers.get("Prober-Probe-Id")
        self.samples, self.executors, self.times = [], [], []
        self.summary, self.error, self.seconds = None, None, None

    def add(self, line, seconds):
        line = json.loads(line)
        self.times.append(seconds)
        if "summary" in line:
            assert self.summary is None, line
            self.summary = line["summary"]
        elif "executor" in line:
            self.executors.append(line["executor"])
        else:
            assert self.summary is None, line
            self.samples.append(line)

    def zones(self):
        return {s["from"]["zone"] for s in self.samples}

    def nodes(self):
        return {s["from"]["node"] for s in self.samples}

    def states(self):
        """{node: state} of all executors."""
        return {n: e["state"] for n, e in self.summary["from"].items()}


def probe(path, timeout=60, **request):
    """Ask, and read to the end."""
    begin = time.monotonic()
    with contextlib.closing(Connection(path, timeout)) as client:
        client.request("POST", "/v1/probes", json.dumps(request),
                       {"Content-Type": "application/json"})
        reply = client.getresponse()
        answer = Answer(reply.status, reply.headers)
        if reply.status != 200:
            answer.error = json.loads(reply.read())["error"]
        else:
            for line in reply:
                answer.add(line, time.monotonic() - begin)
            assert answer.summary, "no summary at the end"
        answer.seconds = time.monotonic() - begin
    return answer
