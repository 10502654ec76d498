#!/usr/bin/python3
"""The long run: nodes of ours and Serf agents in one encrypted mesh, watched.

usage: mixed_mesh.py [--minutes N] [--ours N] [--serf N] [--out FILE] [--keep]

Once a second every node is asked how it sees every other; every few seconds
an agent sends an event. Nobody is killed, so whoever is not alive anywhere is
falsely accused. FILE (mixed_mesh.jsonl) gets a line for each look: states,
memory, CPU time, new lines of logs that complain, events. Ends with a summary
on Ctrl-C or SIGTERM too, and with 1 if anyone was held dead, a suspect or
gone, an event was lost, altered or came twice, or anyone complained.
"""
import argparse
import collections
import json
import re
import sys
import time

import mesh_nodes
import netbed
import serf
from mesh_nodes import MeshNode, key, wait_alive
from nodes import address, has_findings
from serf import Agent

EVENT_EVERY_S = 10
OURS_COMPLAIN = re.compile(r"^(warn|error)\b.*")
# Complaints that say nothing against anybody, as (pattern, reason).
ALLOWED = [
    (r"(warn|error) (no_ca|tls|gossip_plain)\w*", "of the configuration"),
]


class Watched:
    """One node or agent, and all that was seen of it."""

    def __init__(self, one):
        self.one, self.name = one, one.name
        self.is_serf = isinstance(one, Agent)
        self.read = 0  # bytes of its log
        self.complaints = []
        self.rss = []  # KiB, of every look
        self.cpu_begin = mesh_nodes.cpu_s(one.process.pid)
        self.cpu_s = 0.0

    def complain(self):
        """New lines of its log that complain."""
        with open(self.one.process.log, errors="replace") as f:
            f.seek(self.read)
            text = f.read()
        end = text.rfind("\n") + 1
        self.read += len(text[:end].encode())
        new = []
        for line in text[:end].splitlines():
            if self.is_serf:
                m = serf.LINE.match(line)
                bad = m and m[1] in ("WARN", "ERR", "ERROR")
            else:
                bad = OURS_COMPLAIN.match(line) and not any(
                    re.match(p, line) for p, _ in ALLOWED)
            if bad or "panic:" in line or has_findings(line):
                new.append(line.strip())
        self.complaints += new
        return new

    def measure(self):
        pid = self.one.process.pid
        self.rss.append(mesh_nodes.memory_kib(pid)["Rss"])
        self.cpu_s = mesh_nodes.cpu_s(pid) - self.cpu_begin
        return {"rss_kib": self.rss[-1], "cpu_s": round(self.cpu_s, 4)}


class Run:
    def __init__(self, bed, options):
        keys = [key(1)]
        self.out = open(options.out, "w", encoding="ascii")
        bed.callback(self.out.close)
        agents = [Agent(bed, f"serf-{i}", address(100 + i), keys=keys)
                  for i in range(options.serf)]
        for agent in agents:
            agent.wait()
        first = agents[0].address if agents else address(1)
        ours = [MeshNode(bed, f"ours-{i}", address(1 + i), keys=keys,
                         join=[first] if i or agents else [])
                for i in range(options.ours)]
        for node in ours:
            node.wait()
        for agent in agents[1:]:
            agent.join(ours[0].address if ours else first)
        self.agents = agents
        wait_alive(ours + agents, 30)
        self.began = time.monotonic()
        self.watched = [Watched(one) for one in ours + agents]
        self.wanted = dict.fromkeys((w.name for w in self.watched), "alive")
        self.false = collections.Counter()  # (who, of whom, state) -> looks
        self.looks, self.sent = 0, []

    def look(self):
        """Ask everybody once, and write down what they say."""
        row = {"t_s": round(time.monotonic() - self.began, 3)}
        for w in self.watched:
            if not w.one.process.is_alive():
                self.false[w.name, w.name, "ended"] += 1
                continue
            seen = mesh_nodes.states_of(w.one)
            odd = {n: seen.get(n, "missing")
                   for n in {*seen, *self.wanted}
                   if seen.get(n) != self.wanted.get(n)}
            for name, state in odd.items():
                self.false[w.name, name, state] += 1
            row[w.name] = {"states": seen, **w.measure()}
            if new := w.complain():
                row[w.name]["complaints"] = new
        self.looks += 1
        return row

    def event(self):
        agent = self.agents[len(self.sent) % len(self.agents)]
        payload = f"{len(self.sent)}:" + "x" * (len(self.sent) % 400)
        name = f"tick-{len(self.sent)}"
        agent.event(name, payload)
        self.sent.append((name, payload.encode()))
        return {"from": agent.name, "name": name}

    def go(self, seconds):
        next_look = next_event = self.began
        while time.monotonic() < self.began + seconds:
            row = self.look()
            if self.agents and time.monotonic() >= next_event and (
                    time.monotonic() < self.began + seconds - EVENT_EVERY_S):
                row["event"] = self.event()
                next_event += EVENT_EVERY_S
            self.out.write(json.dumps(row) + "\n")
            self.out.flush()
            next_look = max(next_look + 1, time.monotonic())
            time.sleep(max(0, next_look - time.monotonic()))

    def odd_events(self):
        """What agents got otherwise than once and as sent."""
        odd = []
        for agent in self.agents:
            got = collections.Counter(
                (e.name, e.payload.removesuffix(b"\n")) for e in agent.events())
            for event in {*got, *self.sent}:
                times = got[event]
                if times != (event in self.sent):
                    odd.append((agent.name, event[0], times))
        return odd

    def summary(self):
        """Print it; is all well?"""
        time.sleep(2)  # for events on their way
        for w in self.watched:
            if w.one.process.is_alive():
                w.complain()
        seconds = time.monotonic() - self.began
        odd = self.odd_events()
        print(f"{seconds / 60:.1f} minutes, {self.looks} looks at "
              f"{len(self.watched)} nodes, {len(self.sent)} events")
        print("node      RSS KiB first   median      most      last  CPU ms/s")
        for w in self.watched:
            rss = w.rss or [0]
            print(f"{w.name:<10}{rss[0]:>13}"
                  f"{sorted(rss)[len(rss) // 2]:>9}{max(rss):>10}{rss[-1]:>10}"
                  f"{w.cpu_s / seconds * 1e3:>10.2f}")
        for w in self.watched:
            if not w.is_serf and w.one.process.is_alive():
                g = w.one.get_json("/api/v1/status")["gossip"]
                print(f"{w.name}: pings {g['pings']}, failed "
                      f"{g['ping_failures']}, suspicions {g['suspicions']}, "
                      f"refutations {g['refutations']}, push/pulls "
                      f"{g['push_pulls']}, failed {g['push_pull_failures']}, "
                      f"stalls {g['stalls']}, drops {g['drops'] or 'none'}")
                if g["drops"]:
                    w.complaints.append(f"drops {g['drops']}")
        for (who, whom, state), looks in sorted(self.false.items()):
            print(f"FALSE: {who} held {whom} {state} in {looks} looks")
        for who, name, times in odd:
            print(f"EVENT: {who} got {name} {times} times")
        for w in self.watched:
            for line in w.complaints:
                print(f"COMPLAINT: {w.name}: {line}")
        is_well = not (self.false or odd
                       or any(w.complaints for w in self.watched))
        print("all well" if is_well else "NOT WELL")
        return is_well


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][7:])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--ours", type=int, default=3)
    parser.add_argument("--serf", type=int, default=2)
    parser.add_argument("--out", default="mixed_mesh.jsonl")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if why := serf.why_not():
        sys.exit(f"mixed_mesh: {why}")
    with netbed.Bed(keep=options.keep) as bed:
        run = Run(bed, options)
        try:
            run.go(options.minutes * 60)
        except (KeyboardInterrupt, SystemExit):
            print()
        sys.exit(not run.summary())


if __name__ == "__main__":
    main()
