#!/usr/bin/python3
"""The demo shows what it promises, and so the whole daemon works: six nodes
resolve, dial and answer each other over TLS, and say how far it is."""
import contextlib
import copy
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import same_matrix
import tap
from netbed import PROBER, ROOT, run, until, why_not

DEMO = [str(ROOT / "test/demo.py")]
if not why_not():
    # A loopback of its own, where no one else has taken the ports.
    DEMO = ["unshare", "--net", "sh", "-c",
            'ip link set lo up && exec "$0" "$@"'] + DEMO
sys.path.insert(0, str(ROOT / "test"))
import demo  # noqa: E402 (it is one folder up)

# A window is complete twelve seconds after it began at the latest, and known to
# the one that is asked a second later.
SECONDS = "22"
TITLE = re.compile(r"p50 of \w+ by zone, (\w+) cold")
ROW = re.compile(r"([abc]) +(.*)")
CELL = re.compile(r"([\d.]+) (us|ms|s)\b")
MS = {"us": 1e-3, "ms": 1, "s": 1e3}


def matrix(*options):
    """{(protocol, from, to): ms} of the demo's last look at each."""
    text = run(*DEMO, "--seconds", SECONDS, *options)
    cells, protocol = {}, None
    for line in text.splitlines():
        if m := TITLE.match(line):
            protocol = m[1]
        elif (m := ROW.fullmatch(line)) and protocol:
            for to, cell in zip("abc", CELL.findall(m[2])):
                cells[protocol, m[1], to] = float(cell[0]) * MS[cell[1]]
    assert len(cells) == 2 * 3 * 3, text
    return cells


def every_configuration_is_accepted():
    for is_wan in False, True:
        with tempfile.TemporaryDirectory() as path:
            nodes = demo.all_nodes(is_wan)
            demo.write_files(path, nodes)
            for name in nodes:
                run(PROBER, "check-config", f"{path}/{name}.yaml")


@contextlib.contextmanager
def running():
    """The demo, when its nodes are up."""
    child = subprocess.Popen(DEMO, text=True, stdout=subprocess.PIPE)
    try:
        for line in child.stdout:
            if "c-2" in line:
                break
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        child.stdout.read()
        child.wait()


def every_node_shows_the_same_matrix():
    with running() as child:
        enter = [] if why_not() else ["nsenter", f"--net=/proc/{child.pid}"
                                      "/ns/net", "--"]

        def asker(node):
            def ask(*options):
                done = subprocess.run(
                    [*enter, PROBER, "matrix", "--api", "http://"
                     f"{node['address']}:7070", "-o", "json", *options],
                    check=False, text=True, stdout=subprocess.PIPE)
                return done.stdout
            return ask
        assert demo.ZONES == same_matrix.ZONES
        askers = {name: asker(node) for name, node in
                  demo.all_nodes(False).items()}
        same_matrix.see(askers)
        zones, nodes = (json.loads(askers["a-1"](
            "--protocol", "grpc", "--level", level))
                        for level in ("zone", "node"))
    what_is_less_than_whole_is_told_from_it(zones, nodes)


def what_is_less_than_whole_is_told_from_it(whole, nodes):
    """The measure that the chart and the package are held to as well."""
    def wrong(answer, level="zone"):
        return list(same_matrix.wrong_in(answer, level, "grpc", "cold"))
    assert not wrong(whole), wrong(whole)
    nodes["cells"][0]["attempts"] = 1  # to itself
    assert wrong(nodes, "node") and len(wrong(nodes, "node")) == 1, nodes
    for number, spoil in enumerate(SPOILS):
        less = copy.deepcopy(whole)
        spoil(less, less["cells"][5])
        assert wrong(less), number


def last_first(fields):
    """The same fields in another order."""
    name = list(fields)[0]
    fields[name] = fields.pop(name)


# Of an answer and a cell in it.
SPOILS = [
    lambda answer, cell: last_first(answer),
    lambda answer, cell: last_first(cell),
    lambda answer, cell: last_first(cell["phases"]),
    lambda answer, cell: last_first(cell["phases"]["tls"]),
    lambda answer, cell: last_first(answer["origins"]),
    lambda answer, cell: last_first(answer["covers"]),
    lambda answer, cell: answer.update(covers=None),
    lambda answer, cell: answer.update(more=1),
    lambda answer, cell: answer.update(mode="warm"),
    lambda answer, cell: answer.update(dropped_cells=1),
    lambda answer, cell: answer["cells"].pop(),
    lambda answer, cell: answer["cells"].append(cell),
    lambda answer, cell: answer["cells"].reverse(),
    lambda answer, cell: answer["to"].reverse(),
    lambda answer, cell: (answer["from"].append("d"),
                          answer["to"].append("d")),
    lambda answer, cell: answer["origins"].update(reporting=5),
    lambda answer, cell: answer["origins"].update(missing=["b-1"]),
    lambda answer, cell: answer["origins"].update(expected=7, reporting=7),
    lambda answer, cell: cell.update(state="stale"),
    lambda answer, cell: cell.update(nodes=1),
    lambda answer, cell: cell.update(failed=1),
    lambda answer, cell: cell.update(ok=0),
    lambda answer, cell: cell["outcomes"].update(timeout=1),
    lambda answer, cell: cell.update(attempts=cell["attempts"] + 1),
    lambda answer, cell: cell["phases"].pop("tls"),
    lambda answer, cell: cell["phases"].update(more={}),
    lambda answer, cell: cell["phases"]["connect"].update(p50=10 ** 12),
    lambda answer, cell: cell["phases"]["total"].update(count=1),
]


def loopback_is_near_in_every_direction():
    for pair, ms in matrix("--phase", "connect").items():
        assert ms < 5, (pair, ms)


def zones_are_as_far_as_their_links():
    if why := why_not("dnsmasq"):
        raise tap.Skip(why)
    want = {("a", "b"): 1.2, ("a", "c"): 24, ("b", "c"): 48}
    cells = matrix("--wan", "--phase", "connect")
    for (near, far), ms in want.items():
        for protocol in "http1", "grpc":
            for way in (near, far), (far, near):
                got = cells[(protocol, *way)]
                # Two windows' worth of attempts through a jittery link.
                assert 0.8 * ms < got < 1.2 * ms + 2, (protocol, way, got)


def it_leaves_nothing_behind():
    with running() as child:
        own = pathlib.Path(f"/proc/{child.pid}/task/{child.pid}/children")
        pids = own.read_text().split()
        assert len(pids) == 7, pids  # six nodes and their resolver
    assert child.returncode == 128 + signal.SIGTERM
    assert not os.listdir(os.environ["TMPDIR"])
    until(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids),
          5, f"processes {pids} gone")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="test-demo.") as work:
        os.environ["TMPDIR"] = work
        tap.run([
            every_configuration_is_accepted,
            every_node_shows_the_same_matrix,
            loopback_is_near_in_every_direction,
            zones_are_as_far_as_their_links,
            it_leaves_nothing_behind,
        ])
