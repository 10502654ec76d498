#!/usr/bin/python3
"""The wall clock of a node is set while it measures: attempts are timed right
and none is lost, what it tells of another time is left out, and it is taken
back when its clock is right again. On loopback, without root."""
import json
import random
import re
import signal
import time

import nodes
import tap
from netbed import PROBER, Bed, until
from test_members import CONFIG
from wall_clock import WallClock

WINDOW_S = 10
# Cut two seconds after its end, told within another; and a little.
TOLD_S = 4
MODES = {"cold": 1.0, "warm": 0.1}
PROTOCOLS = 2
# Between neighbours on loopback, on a machine that may be busy: less than a
# step of the clock.
TOTAL_MAX_NS = 2_000_000_000
STEPS_S = 0, 3600, -3600, 5, -3, 86400
DELAY_MS = 30
HOUR = 3600
# Attempts that begin while two counters are being compared.
EDGE = 30


class ClockNode(nodes.Node):
    """A node with a wall clock of its own."""

    def __init__(self, bed, name, where, config, environment=()):
        self.name, self.address = name, where
        self.clock = WallClock(bed, name)
        self.process = bed.spawn(
            [*self.clock.prefix, *environment, PROBER, "run", "--config",
             config],
            log=f"{name}.log")


def mesh(bed, names, with_clock, **options):
    """Nodes that know of each other, and of their certificates, by gossip:
    what these are good for is no question of time. Some have a clock."""
    places = {name: nodes.address(i) for i, name in enumerate(names, 1)}
    out = []
    for name, where in places.items():
        config = bed.file(f"{name}.yaml", CONFIG.format(
            name=name, address=where, seed=places["a"], extra="", more=""))
        if name in with_clock:
            out.append(ClockNode(bed, name, where, config, **options))
        else:
            out.append(nodes.Node(bed, name, where, config))
        out[-1].wait()
    until(lambda: all(set(states(n).values()) == {"alive"}
                      and len(states(n)) == len(names) for n in out),
          20, "a mesh")
    return out


def states(node):
    return {m["name"]: m["state"]
            for m in node.get_json("/api/v1/members")["members"]}


def metrics(node):
    status, body = node.get("/metrics")
    assert status == 200
    lines = (line.rsplit(" ", 1) for line in body.decode().splitlines()
             if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def made(values, zone, mode=None):
    """{outcome: attempts of a node towards a zone}"""
    out = {}
    for name, value in values.items():
        if (name.startswith("prober_attempts_total{") and value
                and f'destination_zone="{zone}"' in name
                and (not mode or f'mode="{mode}"' in name)):
            outcome = re.search(r'outcome="(\w+)"', name)[1]
            out[outcome] = out.get(outcome, 0) + value
    return out


def told(node, origin, to, window="5m"):
    """What a node's matrix knows: (attempts of both modes, states)."""
    cells = []
    for mode in MODES:
        cells += [c for c in node.get_json(
            f"/api/v1/matrix?level=node&mode={mode}&window={window}")["cells"]
            if (c["from"], c["to"]) == (origin, to)]
    return sum(c["attempts"] for c in cells), {c["state"] for c in cells}


def check_samples(node, ttfb_min_ns=0):
    """All that it remembers is as long as loopback is; returns how many."""
    status, body = node.get("/api/v1/samples?limit=4096")
    assert status == 200
    samples = [json.loads(line) for line in body.splitlines()]
    for s in samples:
        if s["outcome"] == "local_starved":
            continue
        phases = s["phases_ns"]
        assert s["outcome"] == "ok", s
        assert all(ns is None or ns >= 0 for ns in phases.values()), s
        assert sum(ns or 0 for ns in phases.values()) == s["total_ns"], s
        late_ns = (s["lag_ns"] or 0) + (s["start_lag_ns"] or 0)
        assert s["total_ns"] <= TOTAL_MAX_NS + late_ns, s
        assert s["clock"] == "user" or phases["ttfb"] >= ttfb_min_ns, s
    return len(samples)


def check_good(values, zone):
    """Nobody's clock has made an attempt fail, or lost one."""
    assert set(made(values, zone)) <= {"ok", "local_starved"}, (
        made(values, zone))
    assert values["prober_queue_drops_total"] == 0
    for name, value in values.items():
        if name.startswith("prober_samples_left_out_total"):
            assert value == 0, (name, value)


def sleep_into_window(seconds):
    """Until so long after the beginning of a window."""
    time.sleep((seconds - time.time()) % WINDOW_S)


def attempts_are_timed_right_while_the_clock_is_set():
    """Also while they are under way, and what the kernel has stamped before
    is read behind it."""
    with Bed() as bed:
        a, b = mesh(bed, "ab", with_clock="ab", environment=[
            f"PROBER_PROBE_RESPONSE_DELAY={DELAY_MS}ms"])
        rng = random.Random(1)
        until(lambda: made(metrics(a), "zone-b", "warm").get("ok", 0) > 20,
              20, "probing")
        before, begun = metrics(a), time.monotonic()
        for n in range(120):
            # Between an answer's coming and its being read, now and then.
            a.process.signal(signal.SIGSTOP)
            time.sleep(DELAY_MS / 1000)
            a.clock.set(rng.choice(STEPS_S))
            b.clock.set(rng.choice(STEPS_S))
            a.process.signal(signal.SIGCONT)
            time.sleep(0.1 - DELAY_MS / 1000)
        after, seconds = metrics(a), time.monotonic() - begun
        for node in a, b:
            assert check_samples(node, (DELAY_MS - 1) * 1e6) > 200
        check_good(after, "zone-b")
        missed = (after["prober_missed_slots_total"]
                  - before["prober_missed_slots_total"])
        assert missed <= 0.05 * PROTOCOLS * seconds / MODES["warm"], missed
        for mode, interval_s in MODES.items():
            due = PROTOCOLS * seconds / interval_s
            done = (sum(made(after, "zone-b", mode).values())
                    - sum(made(before, "zone-b", mode).values()))
            assert abs(done - due) <= 0.02 * due + 4 + missed, (
                mode, done, due, missed)
        for node in a, b:
            node.clock.set(0)
        # What was under way at a step is timed by our own clock; else the
        # kernel's is in use again at once.
        time.sleep(2)
        until(lambda: {json.loads(line)["clock"] for line in
                       a.get("/api/v1/samples?limit=5")[1].splitlines()}
              == {"kernel"}, 5, "kernel stamps")
        a.end()
        b.end()


def far_off(hours):
    """One node's clock is so far off for a while."""
    with Bed() as bed:
        a, b, c = everyone = mesh(bed, "abc", with_clock="a")

        def look():
            """What has to hold at all times."""
            check_samples(a)
            for node in b, c:
                assert states(node)["a"] == "alive", states(node)
                # The newest window, and the one before that was asked for.
                full = PROTOCOLS * WINDOW_S * sum(1 / s for s in MODES.values())
                newest = told(node, "a", "b", "10s")[0]
                assert newest <= 2 * full + EDGE, newest
            return told(b, "a", "b")[0]

        # By the first frames they know each other's clocks; and then that a
        # good part of another window has been measured.
        until(lambda: told(a, "b", "a")[0] and told(b, "a", "b")[0]
              and told(a, "c", "a")[0], 2 * WINDOW_S, "the first frames")
        sleep_into_window(7)
        before = sum(made(metrics(a), "zone-b").values())
        a.clock.set(hours * HOUR)
        begun, reports = time.monotonic(), []
        while time.monotonic() < begun + 2 * WINDOW_S:
            reports.append(look())
            time.sleep(1)
        # All until then is known to the others, and nothing of the time since.
        assert abs(reports[-1] - before) <= EDGE, (before, reports)
        assert reports == sorted(reports), reports
        # It goes by the mesh's time, and answers like the others.
        assert told(a, "b", "c")[1] == {"fresh"}, told(a, "b", "c")
        until(lambda: told(a, "a", "b") == told(b, "a", "b"), TOLD_S,
              "both know the same of the time before")
        spread = a.get_json("/api/v1/status")["frames"]["spread"]
        assert abs(spread["own_offset_s"] - hours * HOUR) < 2, spread
        assert "error frame_lost reason=clock" in a.process.text()
        # It has measured all the time.
        values = metrics(a)
        check_good(values, "zone-b")
        due = PROTOCOLS * sum(1 / s for s in MODES.values()) \
            * (time.monotonic() - begun)
        done = sum(made(values, "zone-b").values()) - before
        assert abs(done - due) <= 0.05 * due + EDGE, (done, due)
        # And is taken back with the next window.
        a.clock.set(0)
        until(lambda: look() > reports[-1], WINDOW_S + TOLD_S,
              "what it measures now is known")
        assert told(b, "a", "b")[1] == told(a, "b", "c")[1] == {"fresh"}
        # A frame is on its way for a moment, and the two are asked in turn.
        until(lambda: told(a, "a", "b")[0] == told(b, "a", "b")[0],
              WINDOW_S, "both know the same of it")
        set_back = a.process.text().count("clock_set_back")
        assert set_back == 1, a.process.text()
        for node in everyone:
            assert "suspected" not in node.process.text()
        for node in everyone:
            node.end()


def what_an_hour_ahead_measures_is_left_out_and_it_is_taken_back():
    far_off(1)


def what_an_hour_behind_measures_is_left_out_and_it_is_taken_back():
    far_off(-1)


def a_few_seconds_change_nothing():
    with Bed() as bed:
        a, b, c = everyone = mesh(bed, "abc", with_clock="a")
        sleep_into_window(0)
        time.sleep(WINDOW_S + TOLD_S)
        for offset_s in 5, 2, -3, 0:
            a.clock.set(offset_s)
            for _ in range(4):
                time.sleep(1)
                check_samples(a)
                for node in everyone:
                    assert states(node)["a"] == "alive"
                    for origin, to in ("a", "b"), ("b", "a"):
                        assert told(node, origin, to)[1] == {"fresh"}
        assert "clock_set_back" not in a.process.text()
        # All that was measured until the end of a window is told after it.
        sleep_into_window(0)
        values = metrics(a)
        check_good(values, "zone-b")
        before = sum(made(values, "zone-b").values())
        time.sleep(TOLD_S)
        for node in everyone:
            known, _ = told(node, "a", "b")
            assert abs(known - before) <= EDGE, (node.name, known, before)
        for node in everyone:
            node.end()


tap.run([
    (attempts_are_timed_right_while_the_clock_is_set,
     what_an_hour_ahead_measures_is_left_out_and_it_is_taken_back,
     what_an_hour_behind_measures_is_left_out_and_it_is_taken_back,
     a_few_seconds_change_nothing),
])
