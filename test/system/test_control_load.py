#!/usr/bin/python3
"""What clients of the control port do to a node: a hundred at once, a flood,
some that stall, vanish or send rubbish. The scheduled attempts go on as if
nobody was there, and memory stays bounded.

usage: test_control_load.py [--keep]
"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import socket
import sys
import threading
import time

import control
import netbed
import tap

NODE, PEER = "10.77.6.1", "10.77.6.2"
CLIENTS = 100
FLOOD_S = 5
IN_FLIGHT_MAX = 8
# Of 100 clients that do not read: their connections, and what waits for them.
STALLED_BYTES = 24 << 20

CONFIG = """\
node: {{name: {name}, zone: {name}}}
probe: {{listen: "{address}:7443", cold_interval: 1s, warm_interval: 100ms}}
api: {{listen: "{address}:7070"}}
peers: {peers}
control:
  listen: "{listen}"
  requests_per_minute: 6000
  target_per_s: 1000
  audit_file: {path}/{name}.audit
"""

bed = box = node = None
path = None


def open_box():
    global box, node, path
    box = bed.host("box")
    for address in NODE, PEER:
        box.add("lo", f"{address}/32")
    run_node("b", PEER, "[]", "off")
    fingerprint = re.search(r"fingerprint=(\S+)",
                                   node.text())[1]
    os.mkdir(f"{bed.path}/run", 0o700)
    path = f"{bed.path}/run/control.sock"
    peer = (f'[{{name: b, zone: b, address: "{PEER}:7443", '
            f'fingerprint: "{fingerprint}"}}]')
    run_node("a", NODE, peer, f"unix:{path}")


def run_node(name, address, peers, listen):
    global node
    config = bed.file(f"{name}.yaml", CONFIG.format(
        name=name, address=address, peers=peers, listen=listen,
        path=bed.path))
    node = box.spawn([netbed.PROBER, "run", "--config", config], f"{name}.log")
    node.wait_for("started")


def status():
    with contextlib.closing(control.Connection(path)) as client:
        client.request("GET", "/api/v1/status")
        return json.loads(client.getresponse().read())


def resident():
    text = pathlib.Path(f"/proc/{node.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) * 1024


def in_flight():
    return control.get(path, "/v1/status")["control"]["in_flight"]


def schedule_goes_on(before, after, seconds):
    """Cold and warm, over both protocols: 22 attempts a second."""
    made = after["plane"]["attempts"] - before["plane"]["attempts"]
    missed = after["plane"]["missed_slots"] - before["plane"]["missed_slots"]
    assert missed == 0, (before["plane"], after["plane"])
    # Either status may be a second old.
    assert 22 * (seconds - 2.2) < made < 22 * (seconds + 2.2), (made, seconds)


# ---- claims ----------------------------------------------------------------

def a_hundred_requests_at_once_are_all_answered():
    before, begin = status(), time.monotonic()
    answers = []

    def ask():
        answers.append(control.probe(path, target="b", count=20,
                                     interval_ms=200, timeout_ms=5000))
    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    most = 0
    while any(t.is_alive() for t in threads):
        most = max(most, in_flight())
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert len(answers) == CLIENTS
    assert all(a.status == 200 for a in answers), [a.error for a in answers
                                                   if a.error][:3]
    for answer in answers:
        executor = answer.summary["from"]["a"]
        assert executor["attempts"] + executor["missed"] == 20, executor
        assert answer.summary["failed"] == 0, answer.summary
    assert 0 < most <= IN_FLIGHT_MAX, most
    schedule_goes_on(before, status(), time.monotonic() - begin)


def a_flood_of_requests_is_limited_and_does_no_harm():
    before, begin = status(), time.monotonic()
    counts = {}

    def flood():
        client = control.Connection(path)
        while time.monotonic() < begin + FLOOD_S:
            try:
                client.request("POST", "/v1/probes", '{"target":"b"}',
                               {"Content-Type": "application/json"})
                reply = client.getresponse()
                reply.read()
                counts[reply.status] = counts.get(reply.status, 0) + 1
            except (OSError, http.client.HTTPException):
                client.close()
    threads = [threading.Thread(target=flood) for _ in range(20)]
    for thread in threads:
        thread.start()
    most = 0
    while any(t.is_alive() for t in threads):
        most = max(most, in_flight())
        time.sleep(0.02)
    assert set(counts) <= {200, 429}, counts
    assert most <= IN_FLIGHT_MAX, most
    print(f"# {sum(counts.values())} requests in {FLOOD_S} s: {counts}")
    schedule_goes_on(before, status(), time.monotonic() - begin)


def clients_that_stall_cost_bounded_memory_and_are_closed():
    before_bytes, before, begin = resident(), status(), time.monotonic()
    body = json.dumps({"target": "b", "count": 1000, "interval_ms": 10})
    request = (f"POST /v1/probes HTTP/1.1\r\nHost: x\r\nContent-Type: "
               f"application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}")
    socks = []
    for i in range(CLIENTS):
        sock = socket.socket(socket.AF_UNIX)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(path)
        # Every third one does not even finish its request.
        sock.sendall(request.encode()[:50 if i % 3 == 0 else None])
        socks.append(sock)
    worst = 0
    for _ in range(40):
        worst = max(worst, resident())
        time.sleep(0.25)
    assert worst - before_bytes < STALLED_BYTES, (before_bytes, worst)
    print(f"# {CLIENTS} stalled clients: {(worst - before_bytes) >> 10} KiB")
    schedule_goes_on(before, status(), time.monotonic() - begin)
    for sock in socks:
        sock.close()
    netbed.until(lambda: control.get(path, "/v1/status")["control"]["open"]
                 == 0, 5, "nothing of theirs goes on")


def rubbish_is_refused_and_forgotten():
    before_bytes, before, begin = resident(), status(), time.monotonic()
    pieces = [b"\0" * 100, b"GET " + b"/" * 9000 + b" HTTP/1.1\r\n\r\n",
              b"POST /v1/probes HTTP/1.1\r\nHost: x\r\nContent-Length: "
              b"99999999\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
              os.urandom(200), b"\x16\x03\x01" + os.urandom(300),
              b"POST /v1/probes HTTP/1.1\r\nHost: x\r\nContent-Type: "
              b"application/json\r\nContent-Length: 9\r\n\r\n" + b"[" * 9]
    for i in range(300):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
            sock.settimeout(5)
            sock.connect(path)
            with contextlib.suppress(OSError):
                sock.sendall(pieces[i % len(pieces)])
                if i % 2:
                    sock.recv(4096)
    assert resident() - before_bytes < 4 << 20, (before_bytes, resident())
    assert control.probe(path, target="b").summary["ok"] == 1
    schedule_goes_on(before, status(), time.monotonic() - begin)


CLAIMS = [
    a_hundred_requests_at_once_are_all_answered,
    clients_that_stall_cost_bounded_memory_and_are_closed,
    rubbish_is_refused_and_forgotten,
    # Last: it uses up what a principal may ask for.
    a_flood_of_requests_is_limited_and_does_no_harm,
]


def main():
    global bed
    if why := netbed.why_not():
        tap.run(CLAIMS, why)
    with netbed.Bed(keep="--keep" in sys.argv[1:]) as bed:
        open_box()
        time.sleep(3)
        tap.run(CLAIMS)


if __name__ == "__main__":
    main()
