#!/usr/bin/python3
"""What the control port costs, and what it does to the node that it belongs to.

usage: control.py [REPETITIONS] [SECONDS]   (3 of 12 s, each quiet and busy)

A node that probes nginx on a fixed schedule is asked for one-off probes: by a
hundred clients at once, one by one, from another node, over gRPC, by clients
that do not read, and for what it refuses. The node has a core of its own;
nginx, the other node and the clients share another.
"""
import contextlib
import json
import multiprocessing
import os
import re
import selectors
import socket
import struct
import sys
import threading
import time

from bed import (BenchBed, PROBER, cpu_ns, memory_kib, ready_or_exit, run,
                 save, url)
import control  # the system tests' client
import h2frames
from netbed import until

CLIENTS, COUNT, INTERVAL_MS = 100, 20, 200  # 500 attempts a second
RATE = 100      # scheduled attempts a second
REQUESTS = {"self": 300, "b": 50}  # one by one; others bear so many a minute
STALLED, OPEN = 100, 108  # one user has 112 places on a unix socket
REFUSED = {"denied": 2000, "rate_limited": 20000}
DENIED = "http://169.254.169.254/"

CONFIG = """\
node: {{name: {name}, zone: {name}}}
probe: {{listen: "{address}:7443", cold_interval: {cold}, warm_interval: 1h}}
gossip: {{listen: "{address}:7946", join: ["127.8.0.1"], keys_file: {keys}}}
api: {{listen: "{address}:7070"}}
tls: {{ca: {ca}}}
control:
  listen: "{listen}"
  audit_file: {path}/{name}.audit
  requests_per_minute: {per_minute}
  in_flight_max: 128
  target_per_s: 1000
targets:
"""


class Node:
    """A daemon with a control port; `targets` of them are nginx."""

    def __init__(self, bed, name, number, core, targets=1, cold="1h",
                 per_minute=6000, is_open=True):
        self.control = f"{bed.path}/run/{name}.sock"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{bed.path}/{name}.log")  # of the one before
        os.makedirs(f"{bed.path}/run", 0o700, exist_ok=True)
        text = CONFIG.format(
            name=name, address=f"127.8.0.{number}", cold=cold, ca=bed.ca,
            keys=bed.keys, path=bed.path, per_minute=per_minute,
            listen=f"unix:{self.control}" if is_open else "off")
        for i in range(targets):
            text += f"  - {{name: t{i}, url: \"{url('https')}\"}}\n"
        self.process = bed.machine.spawn(
            bed.on(core, PROBER, "run", "--config",
                   bed.file(f"{name}.yaml", text)), f"{name}.log")
        self.pid = self.process.pid
        self.process.wait_for("started")

    def get(self, path):
        status, _, body = control.ask(self.control, "GET", path)
        assert status == 200, (path, status, body)
        return body

    def status(self):
        return json.loads(self.get("/api/v1/status"))

    def knows(self, name):
        members = json.loads(self.get("/api/v1/members"))["members"]
        return next((m for m in members
                     if m["name"] == name and m["state"] == "alive"), None)


def at(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * percent // 100)]


def quantiles(values):
    return {"p50": at(values, 50), "p99": at(values, 99), "max": max(values),
            "n": len(values)}


def request(body):
    body = json.dumps(body)
    return ("POST /v1/probes HTTP/1.1\r\nHost: localhost\r\nConnection: close"
            "\r\nContent-Type: application/json\r\nContent-Length: "
            f"{len(body)}\r\n\r\n{body}"
            ).encode()


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(path)
    return sock


# ---- a hundred at once -----------------------------------------------------

def wave(path, out):
    """All ask, and read to the end."""
    data = request({"target": "t0", "count": COUNT,
                    "interval_ms": INTERVAL_MS})
    waiting = selectors.DefaultSelector()
    for _ in range(CLIENTS):
        sock = connect(path)
        sock.sendall(data)
        waiting.register(sock, selectors.EVENT_READ, bytearray())
    while waiting.get_map():
        for key, _ in waiting.select():
            more = key.fileobj.recv(65536)
            key.data.extend(more)
            if more:
                continue
            m = re.search(rb'"summary":.*"attempts":(\d+),"ok":(\d+)', key.data)
            if not m:
                raise RuntimeError(bytes(key.data[-500:]))
            out["answers"] += 1
            out["samples"] += int(m[1])
            out["ok"] += int(m[2])
            out["missed"] += int(re.search(rb'"missed":(\d+)', key.data)[1])
            waiting.unregister(key.fileobj)
            key.fileobj.close()


def crowd(path, seconds, result):
    """Wave after wave, in a process of its own."""
    out = {"samples": 0, "answers": 0, "ok": 0, "missed": 0}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        wave(path, out)
        time.sleep(0.05)  # their places are free again
    result.put(out)


class Watch(threading.Thread):
    """How soon the node's own loop answers, and its peer's gossip pings."""

    def __init__(self, node, peer):
        super().__init__(daemon=True)
        self.node, self.peer, self.is_over = node, peer, False
        self.first_ms, self.ping_ms = [], []

    def run(self):
        with contextlib.closing(connect(self.node.control)) as sock:
            while not self.is_over:
                start = time.monotonic()
                sock.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
                sock.recv(4096)
                self.first_ms.append((time.monotonic() - start) * 1e3)
                if len(self.first_ms) % 25 == 1:
                    rtt_ns = self.peer.knows("a")["rtt_ns"]
                    self.ping_ms.append((rtt_ns or 0) / 1e6)
                time.sleep(0.02)


def period(node, peer, seconds, is_busy):
    result = multiprocessing.Queue()
    load = multiprocessing.Process(target=crowd,
                                   args=(node.control, seconds, result))
    watch = Watch(node, peer)
    if is_busy:
        load.start()
        time.sleep(1)
    before, cpu, main = node.status(), cpu_ns(node.pid), main_ns(node.pid)
    start = time.monotonic()
    watch.start()
    time.sleep(seconds - 1.5)
    after, wall = node.status(), time.monotonic() - start
    row = {"cpu_share": (cpu_ns(node.pid) - cpu) / 1e9 / wall,
           "main_share": (main_ns(node.pid) - main) / 1e9 / wall}
    watch.is_over = True
    watch.join()
    samples = [json.loads(line) for line in
               node.get("/api/v1/samples?limit=1024").splitlines()]
    if is_busy:
        row.update(result.get(timeout=60))
        load.join()
    plane = {k: after["plane"][k] - before["plane"][k]
             for k in ("attempts", "failed", "missed_slots")}
    # Either report may be a second old; its age is told.
    wall += before["plane"]["age_s"] - after["plane"]["age_s"]
    gossip = {k: after["gossip"][k] - before["gossip"][k]
              for k in ("pings", "ping_failures", "suspicions", "refutations")}
    row.update(plane, **gossip, per_s=plane["attempts"] / wall,
               start_lag_us=quantiles([s["start_lag_ns"] / 1e3
                                       for s in samples]),
               connect_us=quantiles([s["phases_ns"]["connect"] / 1e3
                                     for s in samples
                                     if s["phases_ns"]["connect"]]),
               loop_p99_us=after["plane"]["loop_lag_ns"]["p99"] / 1e3,
               healthy_ms=quantiles(watch.first_ms),
               ping_ms=quantiles(watch.ping_ms))
    return row


def main_ns(pid):
    with open(f"/proc/{pid}/task/{pid}/schedstat", encoding="ascii") as f:
        return int(f.read().split()[0])


def together(node, peer, repetitions, seconds):
    rows = []
    for repetition in range(repetitions):
        for is_busy in False, True:
            row = period(node, peer, seconds, is_busy)
            rows.append({"repetition": repetition, "is_busy": is_busy, **row})
            print(f"   {rows[-1]}", flush=True)
            time.sleep(1)
    return rows


# ---- one by one ------------------------------------------------------------

def first_line(path, origin):
    """Milliseconds until the first sample, and of it the attempt's own."""
    start, first, text = time.monotonic(), None, b""
    with contextlib.closing(connect(path)) as sock:
        sock.sendall(request({"target": "t0", "from": origin}))
        while more := sock.recv(65536):  # the end of it is its close
            text += more
            if first is None and b"}\n" in text:
                first = time.monotonic() - start
    if b'{"target"' not in text:
        raise RuntimeError(text)
    sample = json.loads(re.search(rb'\{"target".*', text)[0])
    assert b'"summary"' in text and sample["outcome"] == "ok", text
    return first * 1e3, sample["total_ns"] / 1e6


def first_message(path, origin):
    """The same over gRPC, on a connection of its own."""
    fields = b"\x0a\x02t0\x22" + bytes([len(origin)]) + origin.encode()
    extra = ((":authority", "localhost"), ("te", "trailers"),
             ("content-type", "application/grpc"))
    head = b"".join(h2frames.field(*f) for f in (
        (":method", "POST"), (":scheme", "http"),
        (":path", "/prober.v1.Control/Probe"), *extra))
    data = (h2frames.PREFACE + h2frames.settings()
            + h2frames.frame(h2frames.HEADERS, h2frames.END_HEADERS, 1, head)
            + h2frames.frame(h2frames.DATA, h2frames.END_STREAM, 1,
                             b"\0" + struct.pack(">I", len(fields)) + fields))
    start, first = time.monotonic(), None
    with contextlib.closing(connect(path)) as sock:
        file = sock.makefile("rb")
        sock.sendall(data)
        while True:
            length, kind, flags = frame_head(file)
            file.read(length)
            if kind == h2frames.DATA and first is None:
                first = time.monotonic() - start
            if kind == h2frames.HEADERS and flags & h2frames.END_STREAM:
                break
    assert first is not None, "refused"
    return first * 1e3, None


def frame_head(file):
    head = file.read(9)
    return int.from_bytes(head[:3], "big"), head[3], head[4]


def one_by_one(node):
    out = []
    for way, ask in ("HTTP/1.1", first_line), ("gRPC", first_message):
        if out:
            time.sleep(60)  # the other node's minute
        for origin in "self", "b":
            for _ in range(2):
                ask(node.control, origin)
            times = [ask(node.control, origin)
                     for _ in range(REQUESTS[origin])]
            row = {"way": way, "from": origin,
                   "first_ms": quantiles([t[0] for t in times])}
            if times[0][1] is not None:
                row["own_ms"] = quantiles([t[1] for t in times])
                row["rest_ms"] = quantiles([t[0] - t[1] for t in times])
            out.append(row)
            print(f"   {row}", flush=True)
    return out


# ---- memory ----------------------------------------------------------------

def memory(bed):
    out = {}

    def one(name, clients, is_open=True):
        node = Node(bed, "m", 3, bed.client_core, is_open=is_open)
        time.sleep(3)
        socks = clients(node)
        most = memory_kib(node.pid)
        for _ in range(40 if socks else 1):
            time.sleep(0.25)
            most = max(most, memory_kib(node.pid), key=lambda m: m["rss"])
        out[name] = {**most, "clients": len(socks)}
        for sock in socks:
            sock.close()
        node.process.stop()
        print(f"   {name}: {most}", flush=True)

    def stalled(node):
        """They read nothing; every third does not end its request."""
        socks = []
        for i in range(STALLED):
            sock = connect(node.control)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            data = request({"target": "t0", "count": 1000, "interval_ms": 10})
            sock.sendall(data[:50] if i % 3 == 0 else data)
            socks.append(sock)
        return socks

    def waiting(node):
        """A sample has come, and the next is a minute away."""
        socks = []
        for _ in range(OPEN):
            sock = connect(node.control)
            sock.sendall(request({"target": "t0", "count": 5,
                                  "interval_ms": 60000}))
            assert b" 200 " in sock.recv(65536)[:20]
            socks.append(sock)
        return socks

    one("off", lambda node: [], is_open=False)
    one("idle", lambda node: [])
    one("stalled", stalled)
    one("open", waiting)
    return out


# ---- refusals --------------------------------------------------------------

def refusals(bed):
    """Where nobody may probe, and by whom too much was asked."""
    out = {}
    body = bed.file("body", json.dumps({"target": DENIED}))
    for name, count in REFUSED.items():
        node = Node(bed, "r", 4, bed.client_core,
                    per_minute=6000 if name == "denied" else 10)
        before, used = memory_kib(node.pid)["anon"], cpu_ns(node.pid)
        text = run(*bed.on(bed.server_core, "h2load", "--h1", "-n", count,
                           "-c", 100, "-d", body, "-H",
                           "content-type: application/json", "-B",
                           f"unix:{node.control}",
                           "http://localhost/v1/probes"))
        seconds = finished_s(text)
        refused = int(re.search(r"(\d+) 4xx", text)[1])
        if refused < count - 10:  # so many the second kind lets pass
            raise RuntimeError(text)
        out[name] = {
            "requests": count, "per_s": count / seconds,
            "cpu_us": (cpu_ns(node.pid) - used) / 1e3 / count,
            "more_kib": memory_kib(node.pid)["anon"] - before,
        }
        node.process.stop()
        print(f"   {name}: {out[name]}", flush=True)
    return out


def finished_s(text):
    number, unit = re.search(r"finished in ([\d.]+)(ms|s|us)", text).groups()
    return float(number) * {"s": 1, "ms": 1e-3, "us": 1e-6}[unit]


def main(repetitions=3, seconds=12.0):
    ready_or_exit("control")
    with BenchBed() as bed:
        bed.keys = bed.file("keys", run(PROBER, "keygen"))
        os.chmod(bed.keys, 0o600)
        os.setpriority(os.PRIO_PROCESS, 0, int(os.environ.get("BENCH_NICE",
                                                              "-20")))
        out = {"clients": CLIENTS, "count": COUNT, "interval_ms": INTERVAL_MS,
               "rate": RATE, "seconds": seconds, "load": os.getloadavg()[0]}
        node = Node(bed, "a", 1, bed.client_core, targets=RATE, cold="1s")
        peer = Node(bed, "b", 2, bed.server_core)
        os.sched_setaffinity(0, {bed.server_core})
        until(lambda: node.knows("b") and peer.knows("a"), 20, "both are there")
        time.sleep(5)
        out["together"] = together(node, peer, repetitions, seconds)
        node.process.stop()
        node = Node(bed, "a", 1, bed.client_core)
        until(lambda: node.knows("b") and peer.knows("a"), 20, "both are there")
        out["one_by_one"] = one_by_one(node)
        node.process.stop()
        peer.process.stop()
        out["memory"] = memory(bed)
        out["refused"] = refusals(bed)
    save("control", out)


if __name__ == "__main__":
    main(*(f(a) for f, a in zip((int, float), sys.argv[1:])))
