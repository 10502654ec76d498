"""What a whole matrix of three zones is, said once: wherever six nodes run,
two in each zone (the demo, pods of the chart, the Debian package under
systemd), every node answers this and nothing less.

    same_matrix.see({"a-1": ask, "c-2": ask_another})

where ask("--level", "zone") is what `prober matrix -o json --level zone` says
when it asks that node, or "" as long as it says nothing. Names and regions of
the zones are the demo's."""
import json
import time

ZONES = {"a": "r1", "b": "r1", "c": "r2"}
NODES_PER_ZONE = 2

# The fields, in their order.
ANSWER = ["generated_at", "answered_by", "level", "window_s", "covers",
          "protocol", "mode", "unit", "from", "to", "cells", "origins",
          "dropped_cells"]
COVERS = ["from", "to", "step_s"]
CELL = ["from", "to", "state", "age_s", "attempts", "ok", "failed", "outcomes",
        "nodes", "trusted_ratio", "retransmits", "reconnects", "user_clock",
        "phases"]
ORIGINS = ["expected", "reporting", "missing"]
QUANTILES = ["p50", "p90", "p99", "max"]
# Of nodes that are known by a host name, `dns` stands before them.
PHASES = {"cold": ["connect", "tls", "ttfb", "transfer", "local", "total",
                   "server"],
          "warm": ["ttfb", "transfer", "local", "total", "server"]}
# What may be counted beside `ok`, and is nobody's fault but this machine's.
EXCUSED = {"ok", "local_starved", "local_resource", "cancelled"}


def questions():
    """(level, protocol, mode) of all that make it whole."""
    return [(level, protocol, mode) for level in ("zone", "node", "region")
            for protocol in ("http1", "grpc") for mode in ("cold", "warm")]


def sides(level):
    """{name: how many nodes it stands for}; of nodes the names differ."""
    if level == "zone":
        return {zone: NODES_PER_ZONE for zone in ZONES}
    regions = list(ZONES.values())
    return {r: NODES_PER_ZONE * regions.count(r) for r in regions}


def see(askers, seconds=60):
    """Wait until every one of `askers`, {node: ask}, shows the whole matrix;
    what is missing is raised."""
    end = time.monotonic() + seconds
    for node, ask in askers.items():
        while wrong := complaints(ask):
            if time.monotonic() > end:
                raise AssertionError(f"{node} lacks: " + "; ".join(wrong))
            time.sleep(0.5)


def complaints(ask):
    """What keeps the answers of a node from being whole; at most the first
    question's, since one that lacks something tends to lack all."""
    for level, protocol, mode in questions():
        text = ask("--level", level, "--protocol", protocol, "--mode", mode)
        try:
            answer = json.loads(text)
        except ValueError:
            return [f"an answer: {text[-200:]!r}"]
        wrong = list(wrong_in(answer, level, protocol, mode))
        if wrong:
            return [f"{level} {protocol} {mode}: {w}" for w in wrong[:5]]
    return []


def wrong_in(answer, level, protocol, mode):
    """Texts that say what is not as it is in a whole matrix."""
    if list(answer) != ANSWER:
        yield f"fields {list(answer)}"
        return
    if list(answer["covers"] or []) != COVERS:
        yield f"covers {answer['covers']}"
    asked = {"level": level, "protocol": protocol, "mode": mode,
             "window_s": 300, "unit": "ns", "dropped_cells": 0}
    for field, want in asked.items():
        if answer[field] != want:
            yield f"{field} {answer[field]}"
    count = len(ZONES) * NODES_PER_ZONE
    if list(answer["origins"].items()) != list(
            zip(ORIGINS, (count, count, []))):
        yield f"origins {answer['origins']}"
    names = answer["from"]
    if answer["to"] != names or names != sorted(set(names)):
        yield f"from {names} to {answer['to']}"
    elif len(names) != count if level == "node" else names != list(
            sides(level)):
        yield f"names {names}"
    else:
        yield from wrong_in_cells(answer["cells"], names, level, mode)


def wrong_in_cells(cells, names, level, mode):
    pairs = [(c.get("from"), c.get("to")) for c in cells]
    if pairs != [(a, b) for a in names for b in names]:
        yield f"pairs {pairs}"
        return
    for cell in cells:
        where = f"{cell['from']} to {cell['to']}"
        if list(cell) != CELL:
            yield f"{where}: fields {list(cell)}"
        elif level == "node" and cell["from"] == cell["to"]:
            # Nobody probes itself.
            if cell["state"] != "unknown" or cell["attempts"]:
                yield f"{where}: {cell}"
        else:
            nodes = 1 if level == "node" else sides(level)[cell["from"]]
            for what in wrong_in_cell(cell, nodes, mode):
                yield f"{where}: {what}"


def wrong_in_cell(cell, nodes, mode):
    """A cell of somebody else: fresh, from all of its nodes, never failed."""
    if cell["state"] != "fresh" or cell["nodes"] != nodes:
        yield f"{cell['state']} from {cell['nodes']} of {nodes} nodes"
        return
    outcomes = cell["outcomes"]
    if (cell["failed"] or not outcomes.keys() <= EXCUSED or not cell["ok"]
            or outcomes.get("ok") != cell["ok"]
            or sum(outcomes.values()) != cell["attempts"]):
        yield f"outcomes {outcomes} of {cell['attempts']}"
        return
    phases = cell["phases"]
    if [p for p in phases if p != "dns"] != PHASES[mode] or (
            "dns" in phases and (mode == "warm" or [*phases][0] != "dns")):
        yield f"phases {list(phases)}"
        return
    for name, phase in phases.items():
        values = [phase.get(q) for q in QUANTILES]
        if list(phase) != ["count", *QUANTILES] or values != sorted(values):
            yield f"{name} {phase}"
    if phases["total"]["count"] != cell["ok"] or phases["total"]["p50"] <= 0:
        yield f"total {phases['total']} of {cell['ok']}"
