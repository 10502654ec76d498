#!/usr/bin/python3
"""How true is linkem: the round trips that ping sees against those asked for.

usage: linkem_check.py [PINGS]     (200; a fifth of a millisecond per ping row
                                    is what an idle machine shows; needs root)
"""
import json
import pathlib
import re
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
from netbed import Bed, why_not  # noqa: E402 (it lives with the system tests)

ROWS = [  # options, the round trip they should make, in ms
    (None, 0),
    ([], 0),
    (["--delay", "1"], 2),
    (["--delay", "20"], 40),
    (["--delay", "20", "--realtime"], 40),
    (["--delay", "20", "--realtime", "--spin", "50"], 40),
    (["--delay", "20", "--jitter", "5"], 40),
    (["--delay", "10", "--loss", "10"], 20),
]


def measure(link, count):
    """Round trips in ms, and what linkem says of itself."""
    with Bed() as bed:
        near, far = bed.host("near"), bed.host("far")
        cable = bed.cable(near, "10.77.0.2/24", far, "10.77.0.1/24", link)
        done = subprocess.run(
            [*near.enter, "ping", "-n", "-i", "0.01", "-c", str(count),
             "10.77.0.1"], text=True, check=False, capture_output=True)
        trips = [float(t) for t in re.findall(r"time=([\d.]+)", done.stdout)]
        if not cable.link:
            return trips, None
        cable.link.stop()
        return trips, json.loads(cable.link.text().splitlines()[-1])


def main(count=200):
    if why := why_not("ping"):
        sys.exit(f"linkem_check: {why}")
    print(f"{'options':38}{'want':>7}{'min':>9}{'p50':>9}{'p99':>9}"
          f"{'lost':>6}  late p99 us")
    for link, want in ROWS:
        trips, said = measure(link, count)
        name = "no linkem" if link is None else " ".join(link)
        late = said["late_us"]["p99"] if said else "-"
        print(f"{name:38}{want:7}{min(trips):9.3f}"
              f"{statistics.median(trips):9.3f}"
              f"{statistics.quantiles(trips, n=100)[98]:9.3f}"
              f"{count - len(trips):6}  < {late}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
