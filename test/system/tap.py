"""Claims in, TAP out: what meson and test/summary.py count."""
import os
import sys
import tempfile
import traceback


class Skip(Exception):
    """Raised by a claim that cannot be tried here; the text says why."""


def run(claims, why_skip=None):
    """Try each function; a claim's name is the function's. Exits.

    Claims that mostly wait may stand in a tuple: these are tried at the same
    time, each in a process of its own, and told of in order.
    `why_skip` is a reason to skip them all, or None."""
    groups = [c if isinstance(c, tuple) else (c,) for c in claims]
    print(f"1..{sum(map(len, groups))}", flush=True)
    number, all_hold = 1, True
    for group in groups:
        if len(group) == 1 or why_skip:
            for n, claim in enumerate(group, number):
                all_hold &= _try(n, claim, why_skip)
        else:
            all_hold &= _try_together(number, group)
        number += len(group)
    sys.exit(not all_hold)


def _try(number, claim, why_skip=None):
    name = claim.__name__
    try:
        if why_skip:
            raise Skip(why_skip)
        claim()
        print(f"ok {number} - {name}", flush=True)
    except Skip as skip:
        print(f"ok {number} - {name} # SKIP {skip}", flush=True)
    except Exception as error:
        # What is wrong first: logs are cut short at the end.
        where = traceback.extract_tb(error.__traceback__)[-1]
        print(f"# {type(error).__name__} at line {where.lineno} of "
              f"{os.path.basename(where.filename)}: {str(error)[:800]}")
        for line in traceback.format_exc().splitlines():
            print("#", line[:2000])
        print(f"not ok {number} - {name}", flush=True)
        return False
    return True


def _try_together(first, group):
    started = []
    for number, claim in enumerate(group, first):
        out = tempfile.TemporaryFile("w+")
        pid = os.fork()
        if pid == 0:
            os.dup2(out.fileno(), 1)
            holds = False
            try:
                holds = _try(number, claim)
            finally:
                os._exit(not holds)
        started.append((pid, number, claim, out))
    all_hold = True
    for pid, number, claim, out in started:
        status = os.waitpid(pid, 0)[1]
        with out:
            out.seek(0)
            text = out.read()
        print(text, end="")
        if f"ok {number} - {claim.__name__}" not in text:
            print(f"not ok {number} - {claim.__name__} # status {status}")
        sys.stdout.flush()
        all_hold &= status == 0
    return all_hold
