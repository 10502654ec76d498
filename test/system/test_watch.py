#!/usr/bin/python3
"""`prober matrix` on a terminal, with a node made up here: what it asks, how it
draws, that it survives a node that goes away, and that it leaves the terminal
as it found it."""
import fcntl
import http.server
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
import urllib.parse

import nodes
import tap
from netbed import PROBER, until

ENTER, LEAVE = "\033[?1049h", "\033[?1049l"
CLEAN = {k: v for k, v in os.environ.items()
         if k not in ("NO_COLOR", "TERM", "COLORTERM")
         and not k.startswith("PROBER_")}


def answer(p50_ns=1_000_000, age_s=1.5):
    def cell(origin, to):
        return {"from": origin, "to": to, "state": "fresh", "age_s": age_s,
                "attempts": 9, "ok": 9, "failed": 0, "trusted_ratio": 1,
                "phases": {"total": {"count": 9, "p50": p50_ns}}}
    return {"generated_at": "2026-01-01T00:00:00.000Z", "answered_by": "a-1",
            "level": "zone", "window_s": 300, "protocol": "http1",
            "mode": "cold", "unit": "ns", "from": ["a", "b"],
            "to": ["a", "b"], "cells": [cell(a, b) for a in "ab" for b in "ab"],
            "origins": {"expected": 2, "reporting": 2, "missing": []}}


class Api:
    """A node's API that can go away and come back."""

    def __init__(self, port=0):
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                api.paths.append(self.path)
                time.sleep(api.delay_s)
                body = json.dumps(api.answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        self.paths, self.answer, self.delay_s = [], answer(), 0
        http.server.ThreadingHTTPServer.allow_reuse_address = True
        self.server = http.server.ThreadingHTTPServer((nodes.address(210),
                                                       port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://{nodes.address(210)}:{self.port}"
        threading.Thread(target=self.server.serve_forever,
                         kwargs={"poll_interval": 0.02}, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Terminal:
    """A command on a terminal of so many lines and columns."""

    def __init__(self, *argv, size=(24, 80), **environment):
        self.near, far = pty.openpty()
        self.run, self.text = None, ""
        self.resize(size)
        self.run = subprocess.Popen(
            [PROBER, "matrix", *argv], stdin=far, stdout=far, stderr=far,
            env={**CLEAN, "TERM": "xterm-256color", **environment})
        os.close(far)

    def resize(self, size):
        fcntl.ioctl(self.near, termios.TIOCSWINSZ,
                    struct.pack("HHHH", *size, 0, 0))
        # The kernel tells those whose controlling terminal it is.
        if self.run:
            self.run.send_signal(signal.SIGWINCH)

    def read(self, seconds):
        """What comes within so long; False at the end."""
        if not select.select([self.near], [], [], seconds)[0]:
            return True
        try:
            self.text += os.read(self.near, 65536).decode()
        except OSError:
            return False
        return True

    def wait_for(self, text, seconds=15):
        """Wait for it behind all that was there before; returns what came."""
        begin, end = len(self.text), time.monotonic() + seconds
        while text not in self.text[begin:]:
            assert time.monotonic() < end, (text, self.text[begin:])
            assert self.read(0.1), (text, self.text[begin:])
        return self.text[begin:]

    def end(self, number=signal.SIGINT):
        """End it by a signal; returns its exit status."""
        self.run.send_signal(number)
        return self.rest()

    def rest(self):
        end = time.monotonic() + 20
        while self.read(0.1):
            assert time.monotonic() < end, self.text
        return self.run.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run.kill()
        self.run.wait()
        os.close(self.near)


def pictures(text):
    return text.split("\033[H")[1:]


def it_asks_for_what_was_wanted():
    with Api() as api, Terminal(
            "--api", api.url, "--level", "node", "--window", "10m", "--mode",
            "warm", "--protocol", "all", "--at",
            "2026-01-01T01:00:00+01:00") as t:
        assert t.rest() == 0, t.text
        path, = api.paths
        query = urllib.parse.parse_qs(path.partition("?")[2])
        assert query == {"level": ["node"], "window": ["10m"],
                         "protocol": ["all"], "mode": ["warm"],
                         "at": ["2026-01-01T01:00:00+01:00"]}, path
        assert ENTER not in t.text and "1.00 ms" in t.text


def colours_are_those_of_the_terminal():
    with Api() as api:
        shown = {}
        for term, no_color in ("xterm-256color", ""), ("linux", ""), (
                "xterm", "1"):
            with Terminal("--api", api.url, TERM=term,
                          NO_COLOR=no_color) as t:
                assert t.rest() == 0, t.text
                shown[term] = t.text
        assert "48;5;" in shown["xterm-256color"]
        assert "48;5;" not in shown["linux"] and "\033[44;" in shown["linux"]
        assert "\033" not in shown["xterm"]


def a_watch_redraws_in_place_and_leaves_no_trace():
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        with Api() as api, Terminal("--api", api.url, "--watch",
                                    "300ms") as t:
            t.wait_for("\033[J")
            api.answer = answer(p50_ns=2_500_000)
            t.wait_for("2.50 ms")
            assert t.end(number) == 0, (number, t.text)
            assert t.text.count(ENTER) == t.text.count(LEAVE) == 1, t.text
            assert t.text.startswith(ENTER) and t.text.endswith(LEAVE), t.text
            assert "\033[?25l" in t.text and "\033[?25h" in t.text
            # Cleared as a whole once; each picture goes over the one before.
            assert t.text.count("\033[2J") == 1
            for picture in pictures(t.text):
                assert picture.count("\n") < 24, picture


def a_watch_without_colours_is_in_place_too():
    with Api() as api, Terminal("--api", api.url, "--watch=1s",
                                NO_COLOR="1") as t:
        t.wait_for("\033[J")
        assert t.end() == 0
        assert not re.search("\033\\[[0-9;]*[1-9][0-9;]*m", t.text), t.text


def a_node_that_goes_away_is_survived_and_said():
    with Api() as api, Terminal("--api", api.url, "--watch", "300ms") as t:
        api.answer = answer(age_s=28.5)
        t.wait_for("48;5;53")
        port = api.port
        api.end()
        t.wait_for("NO ANSWER")
        # What was fresh is stale before long, and off the ramp.
        picture = pictures(t.wait_for("1.00 ms~"))[-1]
        assert "s ago" in picture and "Connection refused" in picture, picture
        assert "48;5;53" not in picture.partition("scale")[0], picture
        with Api(port) as again:
            again.answer = answer(p50_ns=7_000_000)
            picture = pictures(t.wait_for("7.00 ms"))[-1]
            assert "NO ANSWER" not in picture, picture
            assert t.end() == 0


def a_node_that_hangs_does_not_hang_the_watch():
    with Api() as api, Terminal("--api", api.url, "--watch", "300ms") as t:
        t.wait_for("1.00 ms")
        api.delay_s = 30
        t.wait_for("NO ANSWER", 10)
        begin = time.monotonic()
        assert t.end() == 0
        assert time.monotonic() - begin < 2


def a_node_that_never_was_is_said_too():
    with Api() as api:
        url = api.url
    with Terminal("--api", url, "--watch") as t:
        t.wait_for("Connection refused")
        assert "ago" not in t.text
        assert t.end() == 0


def a_resize_redraws_at_once():
    with Api() as api, Terminal("--api", api.url, "--watch", "1h") as t:
        t.wait_for("scale")
        t.resize((6, 80))
        low = pictures(t.wait_for("too low"))[-1]
        assert low.count("\n") == 5, low
        t.resize((24, 24))
        narrow = t.wait_for("scale")
        assert narrow.count("from \\ to") == 2, narrow
        assert t.end() == 0


def ctrl_z_gives_the_terminal_back():
    with Api() as api, Terminal("--api", api.url, "--watch", "1h") as t:
        t.wait_for("scale")
        t.run.send_signal(signal.SIGTSTP)
        t.wait_for(LEAVE)
        until(lambda: pathlib.Path(f"/proc/{t.run.pid}/stat").read_text()
              .rpartition(")")[2].split()[0] == "T", 5, "stopped")
        t.run.send_signal(signal.SIGCONT)
        assert "scale" in t.wait_for("scale") and t.text.count(ENTER) == 2
        assert t.end() == 0 and t.text.endswith(LEAVE)


def wait(api, *options):
    """(exit code, what it showed, what it complained of, seconds)."""
    began = time.monotonic()
    done = subprocess.run([PROBER, "matrix", "--api", api.url, *options],
                          check=False, capture_output=True, text=True,
                          env=CLEAN, timeout=30)
    return (done.returncode, done.stdout, done.stderr,
            time.monotonic() - began)


def waiting_ends_as_soon_as_nothing_is_missing():
    with Api() as api:
        api.answer["cells"][1]["state"] = "unknown"

        def mend():
            until(lambda: len(api.paths) >= 2, 10, "asked twice")
            api.answer = answer()
        threading.Thread(target=mend, daemon=True).start()
        code, shown, complaint, took = wait(api, "--wait", "1m", "--expect",
                                            "a,b")
        assert (code, complaint) == (0, "") and took < 20, (code, complaint)
        assert "1.00 ms" in shown and "?" not in shown, shown


def waiting_in_vain_says_what_is_missing():
    with Api() as api:
        code, shown, complaint, took = wait(api, "--wait", "2s", "--expect",
                                            "a,c")
        assert code == 1 and 2 <= took < 10, (code, took)
        assert "'c' is not there" in complaint and "1.00 ms" in shown
        assert 2 <= len(api.paths) <= 4, api.paths
    code, shown, complaint, _ = wait(api, "--wait", "1s")  # nobody is there
    assert code == 1 and not shown and "not whole" in complaint, complaint


if __name__ == "__main__":
    tap.run([
        it_asks_for_what_was_wanted,
        colours_are_those_of_the_terminal,
        a_watch_redraws_in_place_and_leaves_no_trace,
        a_watch_without_colours_is_in_place_too,
        a_node_that_goes_away_is_survived_and_said,
        a_node_that_hangs_does_not_hang_the_watch,
        a_node_that_never_was_is_said_too,
        a_resize_redraws_at_once,
        ctrl_z_gives_the_terminal_back,
        waiting_ends_as_soon_as_nothing_is_missing,
        waiting_in_vain_says_what_is_missing,
    ])
