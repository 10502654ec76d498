#!/usr/bin/python3
"""One-off probes over a mesh of nine nodes in three zones: any node is asked,
every zone answers; a zone that is cut off is named in time; whoever goes away
stops what was begun.

usage: test_control_mesh.py [--keep]
"""
import json
import os
import re
import socket
import sys
import threading
import time

import control
import netbed
import tap
from three_zones import DELAYS, NODES, ZONES, Mesh

# Answers of executors are waited for so long (docs/operations.md), and what
# runs so long beyond its timeout.
ANSWER_S = 3
SLACK_S = 1.5

CONFIG = """\
control:
  listen: "unix:{path}/control.sock"
  requests_per_minute: 6000
  {policy}
"""

mesh = None  # of all claims; made in main()
paths = {}   # node -> its control socket


def config_of(name, path):
    os.makedirs(path, 0o700)
    paths[name] = f"{path}/control.sock"
    # Zone b lets nobody probe anything but members.
    policy = "" if name[0] == "b" else 'allow: ["198.51.100.0/24"]'
    return CONFIG.format(path=path, policy=policy)


def probe(node, **request):
    """`from` is a word of Python, so it is called `origin` here."""
    request["from"] = request.pop("origin", "self")
    return control.probe(paths[node], **request)


def way_ms(origin, to):
    if (origin, to) in DELAYS:
        return sum(DELAYS[origin, to])
    return sum(DELAYS[to, origin]) if (to, origin) in DELAYS else 0


# ---- claims ----------------------------------------------------------------

def one_command_to_any_node_has_samples_from_every_zone():
    for asked, target in ("a-1", "b-2"), ("b-3", "c-1"), ("c-2", "a-3"):
        answer = probe(asked, target=target, origin="all-zones", count=3,
                       interval_ms=200, timeout_ms=2000)
        assert answer.status == 200, answer.error
        assert answer.zones() == set(ZONES), answer.summary
        assert len(answer.samples) == 9, answer.summary
        assert set(answer.states().values()) == {"done"}, answer.summary
        assert answer.summary["ok"] == 9, answer.summary
        assert answer.seconds < 2 * 0.2 + 2 + SLACK_S, answer.seconds
        for sample in answer.samples:
            origin = sample["from"]["zone"]
            assert sample["to"] == {"node": target, "zone": target[0]}, sample
            assert sample["clock"] == "kernel", sample
            got = sample["phases_ns"]["connect"] / 1e6
            want = way_ms(origin, target[0])
            assert 0.9 * want < got < want + 20, (origin, target, got, want)
            assert sum(v for v in sample["phases_ns"].values()
                       if v is not None) == sample["total_ns"], sample


def samples_come_as_they_are_made():
    answer = probe("a-1", target="b-1", origin="zone:c", count=5,
                   interval_ms=500, timeout_ms=2000)
    assert len(answer.samples) == 5, answer.summary
    # Each within a second of its start; the last line is the summary.
    for i, seconds in enumerate(answer.times[:-1]):
        assert i * 0.5 < seconds < i * 0.5 + 1, answer.times


def grpc_and_warm_attempts_run_elsewhere_too():
    for protocol in "http1", "grpc":
        for mode in "cold", "warm":
            answer = probe("a-2", target="c-3", origin="b-2", count=3,
                           interval_ms=100, protocol=protocol, mode=mode)
            assert answer.summary["ok"] == 3, answer.summary
            for sample in answer.samples:
                assert (sample["protocol"], sample["mode"]) == (protocol, mode)
                assert sample["tls"]["version"] == "TLSv1.3", sample
                assert sample["tcp"]["rtt_ns"] > 0, sample
            last = answer.samples[-1]["phases_ns"]
            assert (last["connect"] is None) == (mode == "warm"), last


def nodes_and_zones_can_be_named():
    answer = probe("a-1", target="a-2", origin="c-3")
    assert answer.nodes() == {"c-3"}, answer.summary
    answer = probe("a-1", target="a-2", origin="zone:b", nodes_per_zone=3)
    assert answer.nodes() == {"b-1", "b-2", "b-3"}, answer.summary
    answer = probe("a-1", target="a-2", origin="all-zones", nodes_per_zone=2)
    assert len(answer.nodes()) == 6, answer.summary
    for origin in "zone:nowhere", "nobody":
        assert probe("a-1", target="a-2", origin=origin).status == 404


def each_executor_has_its_own_policy():
    """198.51.100.1 is zone a's end of a cable: nothing listens there."""
    answer = probe("a-1", target="http://198.51.100.1:80/", origin="all-zones",
                   timeout_ms=1000)
    states = {n[0]: s for n, s in answer.states().items()}
    assert states == {"a": "done", "b": "denied", "c": "done"}, states
    assert answer.zones() == {"a", "c"}, answer.summary
    # Nothing listens there, and from c there may be no way to it.
    assert {s["outcome"] for s in answer.samples} <= {
        "connect_refused", "connect_unreachable", "connect_timeout"}, (
            answer.samples)
    answer = probe("b-1", target="http://198.51.100.1:80/")
    assert answer.status == 403 and answer.error["code"] == "denied", (
        answer.error)


def nothing_of_it_is_in_the_matrix():
    before = {n: total(mesh[n]) for n in ("a-1", "c-2")}
    probe("a-1", target="http://198.51.100.1:80/", origin="zone:c",
          count=20, interval_ms=50, timeout_ms=200)
    for name, old in before.items():
        new = total(mesh[name])
        assert new.keys() == old.keys(), (old, new)
    failed = [c for c in mesh["a-1"].matrix("20s")["cells"] if c["failed"]]
    assert not failed, failed


def total(node):
    """Attempts by outcome in its metrics, by their labels."""
    text = node.host.run("curl", "-s", f"http://{node.address}:7070/metrics")
    found = {}
    for line in text.splitlines():
        if m := re.match(r"(prober_attempts_total\{.*\}) ([0-9.]+)", line):
            found[m[1]] = float(m[2])
    return found


def who_goes_away_stops_what_was_begun():
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(paths["a-1"])
    body = json.dumps({"target": "b-1", "from": "all-zones", "count": 500,
                       "interval_ms": 100})
    sock.sendall(f"POST /v1/probes HTTP/1.1\r\nHost: localhost\r\n"
                 f"Content-Type: application/json\r\n"
                 f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
    assert b"200 OK" in sock.recv(4096)
    netbed.until(lambda: sum(open_runs().values()) == 3, 5, "three run it")
    sock.close()
    netbed.until(lambda: sum(open_runs().values()) == 0, 3, "all have stopped")


def open_runs():
    return {n: control.get(p, "/v1/status")["control"]["running"]
            for n, p in paths.items()}


def a_probe_is_cancelled_by_its_id():
    seen = {}

    def asked():
        seen["answer"] = probe("a-1", target="b-1", origin="all-zones",
                               count=500, interval_ms=100)
    thread = threading.Thread(target=asked)
    thread.start()
    netbed.until(lambda: sum(open_runs().values()) == 3, 5, "three run it")
    # The id is in the header, which that thread reads; here it is asked for
    # with the audit log, as an administrator would.
    text = mesh["a-1"].process.text()
    probe_id = re.findall(r'"audit":"probe_begin","id":"([0-9a-f]{32})"',
                          text)[-1]
    status, _, body = control.ask(paths["a-1"], "DELETE",
                                  f"/v1/probes/{probe_id}")
    assert status in (200, 204), (status, body)
    thread.join(5)
    assert seen["answer"].id == probe_id
    assert seen["answer"].summary["cancelled"], seen["answer"].summary
    status, _, _ = control.ask(paths["a-1"], "DELETE",
                               f"/v1/probes/{probe_id}")
    assert status == 404, status
    netbed.until(lambda: sum(open_runs().values()) == 0, 3, "all have stopped")


def a_zone_cut_off_is_named_and_the_rest_is_in_time():
    mesh.cut("c")
    # Nobody knows yet that c has gone.
    answer = probe("a-1", target="b-1", origin="all-zones", count=2,
                   interval_ms=200, timeout_ms=1000, nodes_per_zone=3)
    late = [n for n, s in answer.states().items() if s == "unreachable"]
    assert sorted(late) == ["c-1", "c-2", "c-3"], answer.summary
    # Who is the target does not probe itself while others can.
    assert answer.nodes() == set(NODES) - set(late) - {"b-1"}, answer.summary
    assert {e["node"] for e in answer.executors} == set(late)
    assert answer.seconds < ANSWER_S + 1 + SLACK_S, answer.seconds
    rest = [t for t, _ in zip(answer.times, answer.samples)]
    assert max(rest) < 0.2 + 1 + SLACK_S, answer.times
    # Unreachable is not failed.
    assert answer.summary["failed"] == 0, answer.summary
    # Once the mesh knows it, it is named at once.
    netbed.until(lambda: {m["state"] for m in mesh["a-1"].get("members")
                          ["members"] if m["zone"] == "c"} == {"failed"},
                 90, "c is known to be gone")
    answer = probe("a-1", target="b-1", origin="all-zones", timeout_ms=1000)
    states = {n[0]: s for n, s in answer.states().items()}
    assert states == {"a": "done", "b": "done", "c": "unreachable"}, states
    assert answer.seconds < 1 + SLACK_S, answer.seconds
    # The other side is asked and does the same.
    answer = probe("c-1", target="c-2", origin="all-zones", timeout_ms=1000)
    assert answer.zones() == {"c"}, answer.summary
    mesh.mend("c")
    mesh.wait_members(90)
    answer = probe("a-1", target="b-1", origin="all-zones")
    assert answer.zones() == set(ZONES), answer.summary


def the_command_line_says_the_same():
    node = mesh["a-1"]
    out = node.host.run(
        netbed.PROBER, "probe", "c-1", "--control", f"unix:{paths['a-1']}",
        "--from", "all-zones", "--count", "2", "--interval", "100ms",
        "-o", "json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert {x["from"]["zone"] for x in lines[:-1]} == set(ZONES), out
    assert lines[-1]["summary"]["ok"] == 6, out
    out = node.host.run(
        netbed.PROBER, "probe", "c-1", "--control", f"unix:{paths['a-1']}",
        "--from", "all-zones", "--count", "5", "--interval", "100ms")
    for zone in ZONES:
        assert re.search(rf"\b{zone}\b", out), out
    assert "in the last 15 min" in out, out


CLAIMS = [
    one_command_to_any_node_has_samples_from_every_zone,
    samples_come_as_they_are_made,
    grpc_and_warm_attempts_run_elsewhere_too,
    nodes_and_zones_can_be_named,
    each_executor_has_its_own_policy,
    nothing_of_it_is_in_the_matrix,
    the_command_line_says_the_same,
    who_goes_away_stops_what_was_begun,
    a_probe_is_cancelled_by_its_id,
    a_zone_cut_off_is_named_and_the_rest_is_in_time,
]


def main():
    global mesh
    if why := netbed.why_not("curl"):
        tap.run(CLAIMS, why)
    with netbed.Bed(keep="--keep" in sys.argv[1:]) as bed:
        mesh = Mesh(bed, lambda name: config_of(name, f"{bed.path}/{name}.run"))
        bed.callback(mesh.kill)
        mesh.wait_members()
        # Two whole windows: baselines are about something.
        time.sleep(25)
        tap.run(CLAIMS)


if __name__ == "__main__":
    main()
