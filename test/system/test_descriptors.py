#!/usr/bin/python3
"""Few descriptors, none, and many clients: a node says that it cannot start or
works within, holds nobody else responsible, does not spin, and goes on as soon
as there are some. On loopback, without root."""
import contextlib
import http.client
import json
import re
import resource
import signal
import socket
import threading
import time

import control
import nodes
import tap
from netbed import PROBER, Bed, until

# Of a node without anybody else, and the fewest that it starts with.
NONE, FEWEST = 3, 64
CPU_MAX_S = 0.6  # in two seconds; one that spins takes two
IDLE = 2000

CONFIG = """\
node: {{name: {name}, zone: zone-{name}, region: r1}}
probe:
  listen: "{address}:7443"
  cold_interval: 1s
  warm_interval: 200ms
  timeout: 1500ms
api: {{listen: "{address}:7070"}}
gossip: {{listen: "{address}:7946", join: ["{seed}:7946"]}}
control: {{listen: "unix:{path}/{name}.sock", audit_file: "{path}/{name}.audit"}}
{more}
"""


def configuration(bed, name, number, more=""):
    """(address, path) of one of a mesh; the first one is who others join."""
    where = nodes.address(number)
    return where, bed.file(f"{name}.yaml", CONFIG.format(
        name=name, address=where, seed=nodes.address(1), path=bed.path,
        more=more))


def start(bed, name, number, more="", limit=None):
    where, path = configuration(bed, name, number, more)
    node = nodes.Node.__new__(nodes.Node)
    node.name, node.address = name, where
    prefix = ["prlimit", f"--nofile={limit}:{limit}"] if limit else []
    node.process = bed.spawn([*prefix, PROBER, "run", "--config", path],
                             log=f"{name}.log")
    node.wait()
    return node


class Held:
    """A connection to a node's API that is there already."""

    def __init__(self, node):
        self.client = http.client.HTTPConnection(node.address, 7070,
                                                 timeout=20)
        self.text("/livez")

    def text(self, path):
        self.client.request("GET", path)
        answer = self.client.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, (path, answer.status, text)
        return text


def values_of(text):
    lines = (line.rsplit(" ", 1) for line in text.splitlines()
             if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def made(values, zone, mode=None):
    """{outcome: attempts towards a zone}"""
    out = {}
    for name, value in values.items():
        if (name.startswith("prober_attempts_total{") and value
                and f'destination_zone="{zone}"' in name
                and (not mode or f'mode="{mode}"' in name)):
            outcome = re.search(r'outcome="(\w+)"', name)[1]
            out[outcome] = out.get(outcome, 0) + value
    return out


def values(node):
    return values_of(node.get("/metrics")[1].decode())


def since(before, after):
    return {k: n - before.get(k, 0) for k, n in after.items()
            if n > before.get(k, 0)}


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        words = file.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100


def limit_to(node, soft):
    """From now on it gets no descriptor above; returns what it was."""
    was = resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (soft, was[1]))
    return was[0]


def serve_dns(where):
    """Every name is this address."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((where, 5353))

    def serve():
        while True:
            query, client = server.recvfrom(512)
            question = query[12:query.index(b"\0", 12) + 5]
            server.sendto(
                query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question
                + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4"
                + socket.inet_aton(where), client)
    threading.Thread(target=serve, daemon=True).start()


def with_too_few_it_says_so_and_ends():
    with Bed() as bed:
        _, path = configuration(bed, "a", 1)
        for limit in 12, 40, FEWEST - 1:
            process = bed.spawn(
                ["prlimit", f"--nofile={limit}:{limit}", PROBER, "run",
                 "--config", path], log=f"{limit}.log")
            assert process.popen.wait(10) == 1, limit
            errors = [line for line in process.text().splitlines()
                      if not line.startswith("warn configuration")]
            assert errors == [
                f'error start_failed reason="{limit} descriptors (ulimit -n) '
                f'are too few: it takes {FEWEST}"'], errors


@contextlib.contextmanager
def crowd(node, n):
    """So many connections of other probers, that say nothing."""
    with contextlib.ExitStack() as all_of_them:
        for _ in range(n):
            all_of_them.enter_context(socket.create_connection(
                (node.address, 7443), timeout=5))
        time.sleep(1)
        yield


def inbound(node):
    return node.get_json("/api/v1/status")["plane"]["inbound"]


def measures_in_a_crowd(node, zone):
    """And turns some of them away."""
    held = Held(node)
    with crowd(node, 60):
        before = values_of(held.text("/metrics"))
        cpu = cpu_s(node.process.pid)
        time.sleep(2)
        assert cpu_s(node.process.pid) - cpu < CPU_MAX_S
        after = values_of(held.text("/metrics"))
        news = since(made(before, zone), made(after, zone))
        assert set(news) <= {"ok", "local_starved"} and news["ok"] > 15, news
    held.client.close()
    assert inbound(node)["rejected"] > 0, inbound(node)


def with_few_it_measures_and_turns_others_away():
    with Bed() as bed:
        a, b = start(bed, "a", 1), start(bed, "b", 2, limit=FEWEST)
        until(lambda: made(values(a), "zone-b").get("ok", 0) > 10
              and made(values(b), "zone-a").get("ok", 0) > 10, 20, "probing")
        measures_in_a_crowd(b, "zone-a")
        # The same when there are fewer all of a sudden, and more again.
        was = limit_to(a, FEWEST)
        measures_in_a_crowd(a, "zone-b")
        limit_to(a, was)
        time.sleep(1.5)  # it is told once a second
        rejected = inbound(a)["rejected"]
        with crowd(a, 60):
            until(lambda: inbound(a)["connections"] >= 60, 5, "all let in")
        assert inbound(a)["rejected"] == rejected, (rejected, inbound(a))
        a.end()
        b.end()


def without_any_nobody_else_is_held_responsible():
    with Bed() as bed:
        name_server = nodes.address(9)
        serve_dns(name_server)
        b = start(bed, "b", 1)
        more = (f'dns: {{servers: ["{name_server}:5353"]}}\n'
                'targets: [{name: out, url: "http://out.test:9/", zone: out}]')
        a = start(bed, "a", 2, more)
        until(lambda: made(values(a), "zone-b", "cold").get("ok", 0) > 4
              and made(values(a), "zone-b", "warm").get("ok", 0) > 4
              and made(values(a), "out"), 20, "probing")
        api, line = Held(a), control.Connection(f"{bed.path}/a.sock")
        line.request("GET", "/v1/status")
        line.getresponse().read()
        # A resolver that has no socket yet.
        a.process.signal(signal.SIGHUP)
        a.process.wait_for("info reloaded")
        was = limit_to(a, NONE)
        before = values_of(api.text("/metrics"))
        # All who wait to be let in must not keep it awake.
        waiting = [socket.create_connection((a.address, port), timeout=10)
                   for port in (7070, 7443, 7946)]
        waiting[0].sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        waiting.append(socket.socket(socket.AF_UNIX))
        waiting[-1].connect(f"{bed.path}/a.sock")
        cpu = cpu_s(a.process.pid)
        time.sleep(2)
        assert cpu_s(a.process.pid) - cpu < CPU_MAX_S
        time.sleep(2)
        check_reload_is_refused(a)
        check_probe_is_audited(bed, line)
        after = values_of(api.text("/metrics"))
        for zone, as_ever in ("zone-b", "ok"), ("out", "connect_refused"):
            news = since(made(before, zone, "cold"), made(after, zone, "cold"))
            assert news.get("local_resource", 0) >= 3, (zone, news)
            assert set(news) <= {"local_resource", "local_starved", as_ever}, (
                zone, news)
            # It may have been under way.
            assert news.get(as_ever, 0) <= 2, (zone, news)
        warm = since(made(before, "zone-b", "warm"),
                     made(after, "zone-b", "warm"))
        assert warm.get("ok", 0) > 10, warm
        assert states(api)["b"] == "alive"

        limit_to(a, was)
        # Who waited is let in, and attempts succeed again.
        assert waiting[0].recv(100).startswith(b"HTTP/1.1 200 ")
        until(lambda: since(made(after, "zone-b", "cold"), made(
            values(a), "zone-b", "cold")).get("ok", 0) > 2, 5, "attempts")
        before = values(a)
        time.sleep(1.5)
        news = since(made(before, "zone-b"), made(values(a), "zone-b"))
        assert set(news) <= {"ok", "local_starved"}, news
        control.get(f"{bed.path}/a.sock", "/v1/status")
        for one in waiting:
            one.close()
        a.process.signal(signal.SIGHUP)
        until(lambda: a.process.text().count("info reloaded") == 2, 5,
              "reloaded")
        answer = control.probe(f"{bed.path}/a.sock", target="b", count=1)
        assert [s["outcome"] for s in answer.samples] == ["ok"]
        # And the other way: nobody let b's attempts in before.
        before = values(b)
        time.sleep(1.5)
        news = since(made(before, "zone-a"), made(values(b), "zone-a"))
        assert set(news) <= {"ok", "local_starved"}, news
        a.end()
        b.end()


def states(api):
    return {m["name"]: m["state"]
            for m in json.loads(api.text("/api/v1/members"))["members"]}


def check_reload_is_refused(node):
    node.process.signal(signal.SIGHUP)
    node.process.wait_for("error reload_failed", 5)
    said = [line for line in node.process.text().splitlines()
            if "reload_failed" in line]
    assert len(said) == 1 and "Too many open files" in said[0], said
    assert "all stays as it was" in said[0], said


def check_probe_is_audited(bed, line):
    """A request on a connection held before: its attempts find nothing, and
    the log knows of it from beginning to end."""
    line.request("POST", "/v1/probes", json.dumps(
        {"target": "b", "count": 2, "interval_ms": 100}),
        {"Content-Type": "application/json"})
    reply = line.getresponse()
    said = [json.loads(text) for text in reply]
    assert reply.status == 200, (reply.status, said)
    assert [s["outcome"] for s in said[:-1]] == ["local_resource"] * 2, said
    with open(f"{bed.path}/a.audit", encoding="utf-8") as file:
        lines = [json.loads(text) for text in file]
    assert [text["audit"] for text in lines] == [
        "probe_begin", "probe_address", "probe_end"], lines
    assert {text["id"] for text in lines} == {reply.headers["Prober-Probe-Id"]}


def idle_clients_take_no_attempt_away():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < IDLE + 200:
        raise tap.Skip(f"{hard} descriptors are too few for {IDLE} clients")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE + 200), hard))
    with Bed() as bed, contextlib.ExitStack() as crowd:
        b = start(bed, "b", 1)
        a = start(bed, "a", 2)
        until(lambda: made(values(a), "zone-b").get("ok", 0) > 10, 20,
              "probing")
        before = values(a)
        for n in range(IDLE):
            # Of many addresses: none has more than its share.
            client = crowd.enter_context(socket.socket())
            client.bind((f"127.3.{n % 250}.{1 + n // 250}", 0))
            client.settimeout(10)
            client.connect((a.address, 7070))
            if n % 2:
                client.send(b"GET / HTTP/1.1\r\n")
        cpu = cpu_s(a.process.pid)
        time.sleep(2)
        assert cpu_s(a.process.pid) - cpu < CPU_MAX_S
        # Who has something to ask is served all the same.
        after = values(a)
        news = since(made(before, "zone-b"), made(after, "zone-b"))
        assert set(news) <= {"ok", "local_starved"} and news["ok"] > 15, news
        assert after["process_open_fds"] < 300, after["process_open_fds"]
        assert after['prober_api_refused_total{reason="evicted"}'] > 1000
        missed = (after["prober_missed_slots_total"]
                  - before["prober_missed_slots_total"])
        assert missed <= 4, missed
        a.end()
        b.end()


tap.run([
    with_too_few_it_says_so_and_ends,
    (with_few_it_measures_and_turns_others_away,
     without_any_nobody_else_is_held_responsible),
    idle_clients_take_no_attempt_away,
])
