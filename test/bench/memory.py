#!/usr/bin/python3
"""Resident memory of the daemon: idle, and with targets of both protocols,
each probed on fresh connections and on one that is held.

usage: memory.py [SECONDS]   (20; how long each daemon runs)

A target here is one URL and one protocol: one held TLS connection.
"""
import json
import pathlib
import sys

from bed import BenchBed, memory_kib, ready_or_exit, save
from rated import API_PORT, configuration, plane, start_prober

TARGETS = (0, 100, 1000)


def measure(bed, targets, seconds):
    config = configuration(bed, ["https", "grpc"], targets, "5s", "1s")
    daemon = start_prober(bed, config)
    bed.pause(seconds)
    row = {"targets": targets, **memory_kib(daemon.pid)}
    frames = json.loads(bed.get(API_PORT, "/api/v1/status"))["frames"]
    row["frames_kib"] = frames["bytes"] / 1024
    row["missed"] = plane(bed)["missed_slots"]
    row["in_flight_max"] = plane(bed)["in_flight_max"]
    row["threads"] = len(list(pathlib.Path(f"/proc/{daemon.pid}/task")
                              .iterdir()))
    daemon.stop()
    return row


def measure_blackbox(bed, seconds):
    exporter = bed.blackbox()
    bed.pause(seconds)
    return {"targets": 0, **memory_kib(exporter.pid)}


def main(seconds=20.0):
    ready_or_exit("memory")
    with BenchBed() as bed:
        rows = [{"name": "prober", **measure(bed, n, seconds if n else 8)}
                for n in TARGETS]
        rows.append({"name": "blackbox_exporter", **measure_blackbox(bed, 3)})
    save("memory", rows)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
