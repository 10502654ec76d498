#!/usr/bin/python3
"""What being a member costs: a mesh of daemons, then one of Serf agents, on
one machine and in a network namespace of their own.

usage: mesh.py [NODES] [SECONDS]   (50 60; how long they are watched idle)

Both are encrypted and have memberlist's settings for local networks, Serf's
default. Our nodes probe as good as nothing: one protocol, cold and warm every
hour. Traffic is the namespace's, all headers included, so it is the same
measure for both; nobody is asked anything while it is taken.
"""
import os
import pathlib
import re
import statistics
import sys
import time

if __name__ == "__main__" and "MESH_BENCH_INSIDE" not in os.environ:
    os.environ["MESH_BENCH_INSIDE"] = "1"
    os.execvp("unshare", ["unshare", "--net", "sh", "-c",
                          'ip link set lo up && exec "$0" "$@"',
                          sys.executable, *sys.argv])

from bed import cpu_ns, memory_kib, save  # noqa: E402
import mesh_nodes  # noqa: E402 (bed knows where the system tests are)
import serf  # noqa: E402
from mesh_nodes import MeshNode  # noqa: E402
from netbed import Bed, why_not  # noqa: E402
from serf import Agent  # noqa: E402

KILLS = 5
SETTLE_S = 40  # the news of the start, and a push/pull of everybody
DEADLINE_S = 150
LOG_LINES = {  # what tells in a log of (joined, failed)
    "prober": (rb" member_joined node=(\S+)", rb" member_failed node=(\S+)"),
    "serf": (rb"EventMemberJoin: (\S+)", rb"EventMemberFailed: (\S+)"),
}


class Log:
    """A log that grows: whose name came up in it, and when we saw it."""

    def __init__(self, name, path, patterns):
        self.name, self.path, self.at, self.rest = name, path, 0, b""
        self.patterns = [re.compile(p) for p in patterns]
        self.joined, self.failed = {}, {}

    def look(self):
        now = time.monotonic()
        with open(self.path, "rb") as f:
            f.seek(self.at)
            data = f.read()
        self.at += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            for pattern, seen in zip(self.patterns,
                                     (self.joined, self.failed)):
                if m := pattern.search(line):
                    seen.setdefault(m[1].decode(), now)


def address(number):
    return f"127.7.{number // 250}.{number % 250 + 1}"


class Mesh:
    def __init__(self, bed, kind, count):
        self.kind, self.nodes, self.logs = kind, [], []
        keys = [mesh_nodes.key(1)]
        self.began = time.monotonic()
        for i in range(count):
            name = f"n-{i}"
            if kind == "prober":
                node = MeshNode(bed, name, address(i), keys=keys,
                                join=[address(0)] if i else [],
                                interval="1h", log_level="info")
            else:
                joins = [f"-retry-join={address(0)}:7946",
                         "-retry-interval=1s"] if i else []
                node = Agent(bed, name, address(i), keys=keys,
                             log_level="info", options=joins, handler=False)
            self.nodes.append(node)
            self.logs.append(Log(name, node.process.log, LOG_LINES[kind]))
        self.spawned = time.monotonic()

    def watch(self, is_done, seconds=DEADLINE_S):
        """Follow the logs until is_done(); False if it never is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for log in self.logs:
                log.look()
            if is_done():
                return True
            time.sleep(0.02)
        return False

    def start(self):
        """Seconds from the first process until all know all, or None."""
        if self.kind == "prober":  # whose log folds what comes in masses
            ignorant = list(self.nodes)

            def all_know():
                while ignorant and self.knows_all(ignorant[-1]):
                    ignorant.pop()
                return not ignorant
        else:
            names = {n.name for n in self.nodes}

            def all_know():
                return all(names <= {*log.joined, log.name}
                           for log in self.logs)
        return time.monotonic() - self.began if self.watch(all_know) else None

    def knows_all(self, node):
        try:
            mesh = node.get_json("/api/v1/status")["gossip"]
        except OSError:
            return False  # not up yet
        return mesh["members"]["alive"] == len(self.nodes)

    def idle(self, seconds):
        """What each costs when nothing happens."""
        pids = [n.process.pid for n in self.nodes]
        used, sent, start = sum(map(cpu_ns, pids)), traffic(), time.monotonic()
        time.sleep(seconds)
        wall = time.monotonic() - start
        share = 1 / wall / len(pids)
        now = traffic()
        memory = [memory_kib(pid) for pid in pids]
        return {
            "cpu_ms_per_s": (sum(map(cpu_ns, pids)) - used) / 1e6 * share,
            "udp_per_s": (now["udp"] - sent["udp"]) * share,
            "tcp_per_s": (now["tcp"] - sent["tcp"]) * share,
            "bytes_per_s": (now["bytes"] - sent["bytes"]) * share,
            **{f"{k}_kib": statistics.median(m[k] for m in memory)
               for k in ("rss", "pss", "anon")},
        }

    def kill_one(self):
        """(first, last) seconds until survivors knew, or None."""
        node, log = self.nodes.pop(), self.logs.pop()
        for other in self.logs:
            other.failed.clear()
        start = time.monotonic()
        node.kill()
        if not self.watch(lambda: all(log.name in o.failed
                                      for o in self.logs)):
            return None
        when = [o.failed[log.name] - start for o in self.logs]
        return min(when), max(when)

    def false_deaths(self, killed):
        return sum(name not in killed for log in self.logs
                   for name in log.failed)


def traffic():
    """What this namespace has sent so far, headers included."""
    out = {}
    rows = [line.split() for line in
            pathlib.Path("/proc/self/net/snmp").read_text().splitlines()]
    for names, values in zip(rows[::2], rows[1::2]):
        table = dict(zip(names, values))
        if names[0] == "Udp:":
            out["udp"] = int(table["OutDatagrams"])
        if names[0] == "Tcp:":
            out["tcp"] = int(table["OutSegs"])
    for line in pathlib.Path("/proc/self/net/dev").read_text().splitlines():
        if line.strip().startswith("lo:"):
            out["bytes"] = int(line.split(":")[1].split()[8])
    return out


def measure(kind, count, seconds):
    with Bed() as bed:
        mesh = Mesh(bed, kind, count)
        row = {"name": kind, "nodes": count, "start_s": mesh.start()}
        print(f"   {kind}: all know all after {row['start_s']} s", flush=True)
        time.sleep(SETTLE_S)
        row.update(mesh.idle(seconds), seconds=seconds)
        killed, row["detection_s"] = set(), []
        mesh.watch(lambda: False, 0.1)
        row["false_deaths"] = mesh.false_deaths(killed)
        for _ in range(KILLS):
            killed.add(mesh.nodes[-1].name)
            row["detection_s"].append(mesh.kill_one())
            row["false_deaths"] += mesh.false_deaths(killed)
        print(f"   {row}", flush=True)
        return row


def main(count=50, seconds=60):
    if why := why_not() or serf.why_not():
        sys.exit(f"mesh: {why}")
    save("mesh", [measure(kind, int(count), float(seconds))
                  for kind in LOG_LINES])


if __name__ == "__main__":
    main(*sys.argv[1:])
