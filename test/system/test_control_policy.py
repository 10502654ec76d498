#!/usr/bin/python3
"""Nothing that is asked of the control port makes a node connect to where it
must not: seen in the trace of its system calls, not in what it says.

One host that has it all: a metadata service at 169.254.169.254 which would
answer, services on loopback, an allowed target, and a resolver whose answers
change from one question to the next.

usage: test_control_policy.py [--keep]
"""
import http.server
import json
import os
import pathlib
import re
import socket
import struct
import sys
import threading
import time

import control
import netbed
import tap

NODE, RESOLVER = "10.77.5.1", "10.77.5.53"
GOOD, METADATA, OTHER = "203.0.113.5", "169.254.169.254", "10.77.5.9"
HOSTILE = netbed.ROOT / "test/vectors/hostile_targets.txt"

CONFIG = f"""\
node: {{name: a-1, zone: a}}
probe: {{listen: "{NODE}:7443"}}
api: {{listen: "{NODE}:7070"}}
dns: {{servers: ["{RESOLVER}:53"]}}
targets:
  - {{name: own, url: "http://{GOOD}:80/", protocol: http1}}
control:
  listen: "unix:{{path}}/run/control.sock"
  requests_per_minute: 6000
  target_per_s: 1000
  ports: [80, 7070]
  allow: ["203.0.113.0/24", "*.allowed.test"]
  audit_file: {{path}}/audit.log
"""

# A node that lets everything through but what is always denied, with
# listeners and addresses as the file of hostile spellings wants them.
OPEN_CONFIG = f"""\
node: {{name: open, zone: a}}
probe: {{listen: "10.77.5.2:7443"}}
api: {{listen: "10.1.2.3:9901"}}
gossip: {{listen: "[::]:9902", advertise: "10.77.5.2:9902"}}
dns: {{servers: ["{RESOLVER}:53"]}}
control:
  listen: "unix:{{path}}/open/control.sock"
  requests_per_minute: 6000
  ports: [80, 443, 7443, 8080, 9901, 9902, 22, 53, 65535]
  allow: ["0.0.0.0/0", "::/0", "*.test", "localhost", "*.internal"]
  audit_file: {{path}}/open.audit
"""

# What the resolver says, question by question; the last one repeats.
SCRIPT = {
    "good.allowed.test": [[GOOD]],
    "inside.allowed.test": [[METADATA]],
    "loop.allowed.test": [["127.0.0.1"]],
    "rebind.allowed.test": [[GOOD], [METADATA]],
    "back.allowed.test": [[METADATA], [GOOD]],
    "mixed.allowed.test": [[GOOD] * 15 + [METADATA]],
    "many.allowed.test": [[f"203.0.113.{i}" for i in range(1, 18)]],
    "self.allowed.test": [[NODE]],  # at the API's port, which is open
    "six.allowed.test": [["::ffff:169.254.169.254"]],
    "six2.allowed.test": [["64:ff9b::a9fe:a9fe"]],
    "six3.allowed.test": [["2002:a9fe:a9fe::1"]],
    "private.elsewhere.test": [[OTHER]],
    "public.elsewhere.test": [[GOOD]],
}
DENIED = {"inside.allowed.test", "loop.allowed.test", "back.allowed.test",
          "mixed.allowed.test", "self.allowed.test", "six.allowed.test",
          "six2.allowed.test", "six3.allowed.test", "private.elsewhere.test"}

bed = box = prober = None
asked = {}  # name -> questions so far
hits = []   # requests that the metadata service got
seen = []   # that the allowed server got, but for "/"


# ---- servers in the box, as threads of this process ------------------------

def answer_dns(query):
    """The reply to one question, after the script."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind = struct.unpack(">H", query[at + 1:at + 3])[0]
    name = ".".join(labels).lower()
    rounds = SCRIPT.get(name)
    addresses = []
    if rounds:
        n = asked.get((name, kind), 0)
        asked[name, kind] = n + 1
        addresses = rounds[min(n, len(rounds) - 1)]
    records = b""
    count = 0
    for address in addresses:
        is_six = ":" in address
        if kind != (28 if is_six else 1):
            continue
        data = socket.inet_pton(
            socket.AF_INET6 if is_six else socket.AF_INET, address)
        records += struct.pack(">HHHIH", 0xc00c, kind, 1, 0, len(data)) + data
        count += 1
    flags = 0x8580 if rounds else 0x8583
    return (query[:2] + struct.pack(">HHHHH", flags, 1, count, 0, 0)
            + query[12:at + 5] + records)


def serve_dns(sock):
    while True:
        query, peer = sock.recvfrom(4096)
        sock.sendto(answer_dns(query), peer)


class Redirecting(http.server.BaseHTTPRequestHandler):
    """/NNN?where: a redirect of that status; all else: ok."""

    def do_GET(self):
        if self.path != "/":
            seen.append(self.path)
        if m := re.fullmatch(r"/(30\d)\?(.*)", self.path):
            self.send_response(int(m[1]))
            self.send_header("Location", m[2])
        else:
            self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Metadata(Redirecting):
    def do_GET(self):
        hits.append(self.path)
        super().do_GET()


def serve_http(address, port, handler):
    server = http.server.ThreadingHTTPServer((address, port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def enter_the_box():
    """All of this process's later sockets are the box's."""
    with open(box.net) as there:
        if netbed.LIBC.setns(there.fileno(), 0x40000000):
            raise OSError("setns")


def open_box():
    global box, prober
    box = bed.host("box")
    for address in NODE, RESOLVER, GOOD, METADATA, OTHER:
        box.add("lo", f"{address}/32")
    enter_the_box()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((RESOLVER, 53))
    threading.Thread(target=serve_dns, args=[sock], daemon=True).start()
    for address, port, handler in ((GOOD, 80, Redirecting),
                                   (METADATA, 80, Metadata),
                                   (OTHER, 80, Metadata),
                                   ("127.0.0.1", 80, Metadata)):
        serve_http(address, port, handler)
    os.mkdir(f"{bed.path}/run", 0o700)
    config = bed.file("a-1.yaml", CONFIG.replace("{path}", bed.path))
    prober = spawn_traced("a-1", config)
    for address in "10.77.5.2", "10.1.2.3", "10.4.5.6":
        box.add("lo", f"{address}/32")
    box.run("sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/lo/disable_ipv6")
    box.run("ip", "address", "add", "fd00:1:2::3/128", "dev", "lo", "nodad")
    os.mkdir(f"{bed.path}/open", 0o700)
    spawn_traced("open", bed.file("open.yaml",
                                  OPEN_CONFIG.replace("{path}", bed.path)))


def spawn_traced(name, config):
    process = bed.spawn(
        ["strace", "-D", "-f", "-qq", "-e", "trace=connect,sendto", "-e",
         "signal=none", "-o", f"{bed.path}/{name}.trace",
         netbed.PROBER, "run", "--config", config], box, log=f"{name}.log")
    process.wait_for("started")
    return process


def connects(name="a-1"):
    """(address, port) of each connect() so far, and each sendto() elsewhere."""
    text = pathlib.Path(bed.path, f"{name}.trace").read_text()
    found = []
    for line in text.splitlines():
        m = (re.search(r"sin_port=htons\((\d+)\), "
                       r'sin_addr=inet_addr\("([^"]+)"\)', line)
             or re.search(r"sin6_port=htons\((\d+)\).*"
                          r'inet_pton\(AF_INET6, "([^"]+)"', line))
        if m:
            found.append((m[2], int(m[1])))
    return found


def connects_only_to_what_is_allowed():
    for address, port in connects():
        assert (address, port) in ((RESOLVER, 53), (GOOD, 80)), (address, port)
    assert not hits, hits


def probe(**request):
    return control.probe(f"{bed.path}/run/control.sock", **request)


# ---- claims ----------------------------------------------------------------

def what_is_allowed_is_probed():
    before = connects().count((GOOD, 80))
    for target in ("own", f"http://{GOOD}/", "http://good.allowed.test/",
                   "http://public.elsewhere.test/"):
        answer = probe(target=target)
        assert answer.status == 200, (target, answer.error)
        assert answer.summary["ok"] == 1, (target, answer.summary)
    # Else the trace would prove nothing.
    assert connects().count((GOOD, 80)) >= before + 4, connects()


def hostile():
    """(target, what its name resolves to) of each line of the file."""
    for line in HOSTILE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            _, target, *answers = line.split("\t")
            target = re.sub(r"\\x([0-9A-Fa-f]{2})",
                            lambda m: chr(int(m[1], 16)), target)
            yield target, answers[0].split(",") if answers else None


def no_hostile_spelling_is_connected_to():
    wrong, count = [], 0
    for target, answers in hostile():
        if answers:
            name = re.fullmatch(r"\w+://([^/:]*)(:\d+)?/?.*", target)[1]
            SCRIPT[name.lower()] = [answers]
        answer = control.probe(f"{bed.path}/open/control.sock", target=target,
                               timeout_ms=200)
        count += 1
        # A name that nobody knows is as good: it leads nowhere.
        is_nowhere = answer.samples and all(
            s["outcome"] == "dns_nxdomain" for s in answer.samples)
        if answer.status not in (400, 403, 404) and not is_nowhere:
            wrong.append((target, answer.status, answer.summary))
    assert count >= 300, count
    print(f"# {count} spellings")
    for address, port in connects("open"):
        assert (address, port) == (RESOLVER, 53), (address, port)
    assert not hits, hits
    assert not wrong, (len(wrong), wrong[:5])
    # And that node does connect to what it may.
    answer = control.probe(f"{bed.path}/open/control.sock",
                           target=f"http://{GOOD}/")
    assert answer.summary["ok"] == 1, answer.summary


def a_name_that_leads_inside_is_denied():
    for name in sorted(DENIED):
        port = 7070 if name.startswith("self") else 80
        answer = probe(target=f"http://{name}:{port}/", timeout_ms=500)
        assert answer.status == 403, (name, answer.summary)
        assert answer.error["code"] == "denied", answer.error
    answer = probe(target="http://many.allowed.test/", timeout_ms=500)
    assert answer.summary["ok"] == 0, answer.summary
    connects_only_to_what_is_allowed()


def a_name_that_turns_inside_is_denied_then():
    answer = probe(target="http://rebind.allowed.test/", count=3,
                   interval_ms=100, timeout_ms=500)
    states = answer.states()
    assert states == {"a-1": "denied"}, answer.summary
    assert len(answer.samples) <= 1, answer.samples
    connects_only_to_what_is_allowed()


def one_denial_is_like_another():
    bodies = set()
    for target in (f"http://{METADATA}/", "http://127.0.0.1/",
                   "http://10.1.2.3/", f"http://{GOOD}:81/",
                   "http://inside.allowed.test/", f"http://{NODE}:7070/",
                   "http://private.elsewhere.test/"):
        path = f"{bed.path}/run/control.sock"
        begin = time.monotonic()
        status, headers, body = control.ask(
            path, "POST", "/v1/probes", f'{{"target":"{target}"}}')
        took = time.monotonic() - begin
        assert status == 403, (target, status, body)
        assert 0.19 < took < 1, (target, took)
        bodies.add((body, headers["Content-Type"], len(headers)))
    assert len(bodies) == 1, bodies


def redirects_are_not_followed():
    places = [f"http://{METADATA}/latest", "http://127.0.0.1/", "//127.0.0.1/",
              "https://127.0.0.1/", f"http://{GOOD}/301?http://{GOOD}/",
              "gopher://127.0.0.1:70/", "file:///etc/passwd", "/elsewhere",
              "http://[::1]/", "http://[::ffff:a9fe:a9fe]/"]
    for status in 301, 302, 303, 307, 308:
        for place in places:
            seen.clear()
            answer = probe(target=f"http://{GOOD}/{status}?{place}")
            assert answer.samples[0]["http"]["status"] == status, answer.samples
            assert seen == [f"/{status}?{place}"], seen
    connects_only_to_what_is_allowed()


def every_request_is_in_the_audit_log_and_is_one_line():
    lines = pathlib.Path(bed.path, "audit.log").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    denied = [e for e in events if e.get("decision") == "denied"]
    rules = {e["rule"] for e in denied}
    assert rules == {"denied_address", "own_listener", "denied_port", "not_listed"}, rules
    assert METADATA in {e["address"].rsplit(":", 1)[0] for e in denied}, denied
    begun = [e["id"] for e in events if e["audit"] == "probe_begin"
             and e.get("decision") == "allowed"]
    ended = {e["id"] for e in events if e["audit"] == "probe_end"}
    assert begun and set(begun) <= ended, set(begun) - ended


CLAIMS = [
    what_is_allowed_is_probed,
    no_hostile_spelling_is_connected_to,
    a_name_that_leads_inside_is_denied,
    a_name_that_turns_inside_is_denied_then,
    one_denial_is_like_another,
    redirects_are_not_followed,
    every_request_is_in_the_audit_log_and_is_one_line,
]


def main():
    global bed
    if why := netbed.why_not("strace"):
        tap.run(CLAIMS, why)
    with netbed.Bed(keep="--keep" in sys.argv[1:]) as bed:
        open_box()
        tap.run(CLAIMS)


if __name__ == "__main__":
    main()
