#!/usr/bin/python3
"""Reads meson's test log and ends with one line: N passed, N failed.

usage: summary.py TESTLOG.json

A test that speaks TAP counts by its points, any other as one. Before the
last line stand the output of what failed (meson keeps that of TAP tests to
itself) and the names of what was skipped, with the reason. Exit code 1 when
something failed or nothing ran.
"""
import json
import re
import sys

TAIL = 40  # lines of a failed test that are shown
POINT = re.compile(r"^(not )?ok\b[ \d]*(?:- )?([^#]*)(?:# *(?i:(skip|todo))(.*))?")


def points(test):
    """(passed, failed, [skipped]) of one test."""
    name, verdict = test["name"], test["result"]
    passed, failed, skipped = 0, 0, []
    for m in map(POINT.match, test.get("stdout", "").splitlines()):
        if not m:
            continue
        if (m[3] or "").lower() == "skip":
            skipped.append(f"{name}: {(m[2] + m[4]).strip()}")
        elif m[1] and not m[3]:
            failed += 1
        else:
            passed += 1
    if verdict == "SKIP" and not skipped:
        why = test.get("stdout", "").strip().splitlines()
        skipped.append(": ".join([name] + why[-1:]))
    elif verdict in ("OK", "EXPECTEDFAIL") and not passed + len(skipped):
        passed = 1
    elif verdict not in ("OK", "EXPECTEDFAIL", "SKIP") and not failed:
        failed = 1  # it crashed, hung, or lost count
    return passed, failed, skipped


def main(path):
    passed, failed, skipped, red = 0, 0, [], []
    try:
        with open(path, encoding="utf-8") as log:
            tests = [json.loads(line) for line in log if line.strip()]
    except FileNotFoundError:
        tests = []
    for test in tests:
        p, f, s = points(test)
        passed, failed, skipped = passed + p, failed + f, skipped + s
        if f:
            red.append(test)
    for test in red:
        print(f"---- {test['name']}: {test['result']}")
        print("\n".join((test.get("stdout", "") + test.get("stderr", ""))
                        .splitlines()[-TAIL:]))
    for line in skipped:
        print("SKIPPED:", line)
    for test in red:
        print("FAILED:", test["name"])
    tail = f", {len(skipped)} skipped" if skipped else ""
    print(f"{passed} passed, {failed} failed{tail}")
    return bool(failed) or not passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
