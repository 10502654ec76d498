#!/usr/bin/python3
"""The simulator as tests: usage: sim_test.py SIM TEST [ARGUMENT...]

    swarm FIRST LAST   seeds, drawn at random
    scenarios          each by name
    twice              the same seed gives the same run
    canaries           each seeded bug is found
    frozen FILE        runs that once failed

Prints TAP. Seeds are fixed, so that a red run is red again.
"""
import re
import subprocess
import sys

CANARY_SEEDS = "1..100000"  # ends by itself after 10^6 node-seconds
CHUNK = 25


def run(sim, *args):
    done = subprocess.run([sim, *args], capture_output=True, text=True,
                          errors="replace", check=False)
    return done.returncode, done.stdout + done.stderr


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def claim(self, good, name, output=""):
        self.count += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}")
        if not good:
            for line in output.splitlines()[-60:]:
                print(f"# {line}")
        sys.stdout.flush()

    def end(self):
        print(f"1..{self.count}")
        return 1 if self.failed else 0


def swarm(tap, sim, first, last):
    for low in range(int(first), int(last) + 1, CHUNK):
        high = min(low + CHUNK - 1, int(last))
        code, out = run(sim, "--seeds", f"{low}..{high}")
        tap.claim(code == 0, f"seeds {low} to {high} keep every promise", out)


def scenarios(tap, sim):
    for line in run(sim, "--list")[1].splitlines():
        name, what = line.split(None, 1)
        if name == "swarm":
            continue
        code, out = run(sim, "--scenario", name, "--seeds", "1..2")
        tap.claim(code == 0, f"{name}: {what}", out)


def twice(tap, sim):
    code, out = run(sim, "--seeds", "1..12", "--twice")
    tap.claim(code == 0 and "I19" not in out, "a seed is one run", out)
    hashes = re.findall(r"hash (\w+)", out)
    tap.claim(len(set(hashes)) == 12, "another seed is another run", out)


def canaries(tap, sim):
    for name in run(sim, "--canaries")[1].split():
        code, out = run(sim, "--canary", name, "--scenario", "aimed",
                        "--seeds", CANARY_SEEDS)
        what = re.search(r"FAILED .*", out)
        tap.claim(code in (127, 128, 129), f"{name} is found", out)
        if what:
            print(f"# {what[0]}")


def frozen(tap, sim, path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            args, _, what = line.partition("#")
            if not args.strip():
                continue
            code, out = run(sim, *args.split())
            tap.claim(code == 0, what.strip(), out)


def main(sim, test, *args):
    tap = Tap()
    {"swarm": swarm, "scenarios": scenarios, "twice": twice,
     "canaries": canaries, "frozen": frozen}[test](tap, sim, *args)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
