#!/usr/bin/python3
"""What the matrix of 20 and of 100 zones costs: in CPU time within the process,
over HTTP while 20 clients fetch it in a loop, and in memory.

usage: matrix.py [SECONDS]   (15; how long the clients fetch)

The program asked is bench_matrix: API, history and server are those of the
daemon, the frames are made up. Clients have the second core allowed to us.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("BENCH_MATRIX",
                         str(ROOT / "build/test/bench/bench_matrix"))
RESULTS = pathlib.Path(os.environ.get("RESULTS", ROOT / "build/bench"))
CLIENTS = 20
# Off other people's time: at nice 0 a busy machine moves the figures.
NICE = int(os.environ.get("BENCH_NICE", "-20"))
REQUEST = (b"GET /api/v1/matrix?level=zone&window=5m HTTP/1.1\r\n"
           b"Host: bench\r\nConnection: close\r\n\r\n")


def cores():
    mine = sorted(os.sched_getaffinity(0))
    return mine[0], mine[-1]


def fetch(port, buffer):
    """One answer: seconds to the first byte of the body, to the last, bytes."""
    with socket.create_connection(("127.0.0.1", port)) as s:
        start = time.monotonic()
        s.sendall(REQUEST)
        first, size = None, 0
        while True:
            n = s.recv_into(buffer)
            if n == 0:
                break
            if first is None:
                first = time.monotonic() - start
                if not bytes(buffer[:15]).startswith(b"HTTP/1.1 200"):
                    sys.exit(f"matrix: {bytes(buffer[:200])}")
            size += n
        return first, time.monotonic() - start, size


def spread(values):
    values = sorted(values)
    return {"p50": values[len(values) // 2],
            "p99": values[min(len(values) - 1, len(values) * 99 // 100)],
            "max": values[-1], "n": len(values)}


def one_by_one(port, n=15):
    buffer = bytearray(1 << 20)
    rows = []
    for _ in range(n):
        time.sleep(1.1)  # or it is still the one before
        rows.append(fetch(port, buffer))
    return {"first_ms": spread([r[0] * 1e3 for r in rows]),
            "whole_ms": spread([r[1] * 1e3 for r in rows]),
            "bytes": rows[-1][2]}


def crowd(port, seconds):
    rows, end = [], time.monotonic() + seconds

    def client():
        buffer = bytearray(1 << 20)
        while time.monotonic() < end:
            rows.append(fetch(port, buffer))

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return {"first_ms": spread([r[0] * 1e3 for r in rows]),
            "whole_ms": spread([r[1] * 1e3 for r in rows]),
            "answers_a_second": len(rows) / seconds}


def lags(server):
    server.send_signal(signal.SIGUSR1)
    return json.loads(server.stdout.readline())


def serve(zones, mib, seconds):
    ours, theirs = cores()
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    server = subprocess.Popen(
        ["taskset", "-c", str(ours), PROGRAM, str(zones), "36", str(mib), "0"],
        stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(0, {theirs})
    try:
        port = json.loads(server.stdout.readline())["port"]
        lags(server)
        time.sleep(seconds)
        row = {"quiet": lags(server), "alone": one_by_one(port)}
        lags(server)
        row["crowd"] = crowd(port, seconds)
        row["busy"] = lags(server)
    finally:
        os.sched_setaffinity(0, {ours, theirs})
        server.terminate()
        server.wait()
    return row


def ask(zones, mib):
    done = subprocess.run([PROGRAM, str(zones), "36", str(mib)], check=True,
                          capture_output=True, text=True)
    return json.loads(done.stdout)


def main(seconds=15.0):
    rows = []
    for zones in (20, 100):
        print(f"   {zones} zones", flush=True)
        rows.append({"zones": zones, "asked": ask(zones, 4096),
                     "default": ask(zones, 32),
                     "served": serve(zones, 4096, seconds)})
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "matrix.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
