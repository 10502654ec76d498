"""Claims in, TAP out: what meson and test/summary.py count."""
import sys
import traceback


class Skip(Exception):
    """Raised by a claim that cannot be tried here; the text says why."""


def run(claims, why_skip=None):
    """Try each function; a claim's name is the function's. Exits.

    `why_skip` is a reason to skip them all, or None."""
    print(f"1..{len(claims)}", flush=True)
    failed = 0
    for number, claim in enumerate(claims, 1):
        name = claim.__name__
        try:
            if why_skip:
                raise Skip(why_skip)
            claim()
            print(f"ok {number} - {name}", flush=True)
        except Skip as skip:
            print(f"ok {number} - {name} # SKIP {skip}", flush=True)
        except Exception:
            failed += 1
            for line in traceback.format_exc().splitlines():
                print("#", line)
            print(f"not ok {number} - {name}", flush=True)
    sys.exit(bool(failed))
