#!/usr/bin/python3
"""The demo shows what it promises, and so the whole daemon works: six nodes
resolve, dial and answer each other over TLS, and say how far it is."""
import contextlib
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
        same_matrix.see({name: asker(node) for name, node in
                         demo.all_nodes(False).items()})


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
