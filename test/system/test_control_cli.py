#!/usr/bin/python3
"""`prober probe --from`, `status`, `reload` and `drain` against control ports
made up here: what they ask and with which credentials, exit codes, a live table
on a terminal, Ctrl-C, and servers that lie, dawdle or vanish."""
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import termios
import threading
import time

import nodes
import tap
from fake_control import Control, done, sample, summary
from netbed import PROBER, authority, certificate

FINE, FAILED, USAGE, PROBE_FAILED = range(4)
ENTER, LEAVE = "\033[?1049h", "\033[?1049l"
TARGET = "https://b-1.test/probe"
CLEAN = {k: v for k, v in os.environ.items()
         if k not in ("NO_COLOR", "TERM", "COLORTERM")
         and not k.startswith("PROBER_")}
DIR = tempfile.TemporaryDirectory()


def path(name):
    return os.path.join(DIR.name, name)


def prober(*argv, code=FINE, seconds=30, **environment):
    """Run it, hold it to its exit code; returns (stdout, stderr)."""
    ran = subprocess.run([PROBER, *map(str, argv)], capture_output=True,
                         text=True, check=False, stdin=subprocess.DEVNULL,
                         timeout=seconds, env={**CLEAN, **environment})
    said = (argv, ran.returncode, ran.stdout, ran.stderr)
    assert not nodes.has_findings(ran.stderr), said
    assert ran.returncode == code, said
    return ran.stdout, ran.stderr


def control(script, name="c.sock"):
    return Control(script, path=path(name))


def probe(server, *argv, **options):
    return prober("probe", TARGET, "--control", server.url, *argv, **options)


def streams(*values, end=True):
    """A script that answers these lines."""
    def script(_, answer):
        answer.stream()
        answer.lines(*values)
        if end:
            answer.end()
    return script


GOOD = (sample(), summary({"a-1": done()}))


# ---- what is asked -----------------------------------------------------

def it_asks_for_what_was_wanted():
    with control(streams(*GOOD)) as server:
        probe(server)
        probe(server, "--from", "zone:b", "--nodes-per-zone", "3", "--count",
              "7", "--interval", "250ms", "--timeout", "1500ms", "--warm",
              "--protocol", "grpc", "--service", "a.B")
        prober("probe", "b-1", "--from", "all-zones", PROBER_CONTROL=server.url)
        prober("probe", "b-1", "--from", "n",
               PROBER_CONTROL=server.url.removeprefix("unix:"))
    bare, full, name, path_only = server.requests
    assert (bare.method, bare.path) == ("POST", "/v1/probes")
    assert bare.fields["content-type"] == "application/json"
    assert bare.fields["host"] == "localhost"
    assert not {"origin", "authorization"} & set(bare.fields)
    assert bare.json == {"target": TARGET, "protocol": "auto", "mode": "cold",
                         "from": "self", "count": 1, "interval_ms": 1000,
                         "timeout_ms": 5000}, bare.json
    assert full.json == {"target": TARGET, "protocol": "grpc", "mode": "warm",
                         "from": "zone:b", "nodes_per_zone": 3, "count": 7,
                         "interval_ms": 250, "timeout_ms": 1500,
                         "service": "a.B"}, full.json
    assert name.json["target"] == "b-1" and name.json["from"] == "all-zones"
    assert path_only.json["from"] == "n"


def a_token_comes_from_a_file_and_stays_on_this_machine():
    with open(path("token"), "w", encoding="ascii") as f:
        f.write("abcdefghijklmnopqrstuvwxyz\n")
    with control(streams(*GOOD)) as server:
        probe(server, "--token-file", path("token"))
        prober("status", "--control", server.url, code=FAILED,
               PROBER_TOKEN_FILE=path("token"))
    assert {r.fields["authorization"] for r in server.requests} == {
        "Bearer abcdefghijklmnopqrstuvwxyz"}
    with Control(streams(*GOOD), address=nodes.address(1)) as server:
        probe(server, "--token-file", path("token"))
        assert server.requests[0].fields["host"] == server.url[7:]
    for text in "", "two words", "two\nlines", "x" * 5000, "\u00e4" * 30:
        with open(path("token"), "w", encoding="utf-8") as f:
            f.write(text)
        _, said = prober("status", "--control", "/nowhere", "--token-file",
                         path("token"),
                         code=FAILED if len(text) > 1024 else USAGE)
        assert not text or text not in said, said
    _, said = prober("status", "--token-file", path("none"), code=FAILED)
    assert "No such file" in said, said


def a_token_is_not_sent_in_plain_text_to_others():
    """The machine's own address that is not loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("10.255.255.255", 9))
            address = s.getsockname()[0]
        except OSError as e:
            raise tap.Skip("no address beside loopback") from e
    if address.startswith("127."):
        raise tap.Skip("no address beside loopback")
    with open(path("token"), "w", encoding="ascii") as f:
        f.write("abcdefghijklmnopqrstuvwxyz\n")
    with Control(streams(*GOOD), address=address) as server:
        _, said = probe(server, "--token-file", path("token"), code=FAILED)
        assert "plain text" in said, said
        assert not server.requests
        probe(server)


def tls_is_verified_both_ways():
    authority(DIR.name)
    where = nodes.address(2)
    cert, key = certificate(DIR.name, "server", [f"IP:{where}"])
    mine, my_key = certificate(DIR.name, "client", ["DNS:client"])
    other, other_key = certificate(DIR.name, "other", ["DNS:elsewhere"])
    ca = path("ca.crt")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    with Control(streams(*GOOD), address=where, tls=tls) as server:
        out, _ = probe(server, "--control-ca", ca)
        assert "ok 1 of 1" in out, out
        prober("status", "--control", server.url, "--ca", ca, code=FAILED)
        _, said = probe(server, code=FAILED)
        assert "TLS" in said, said
        assert len(server.requests) == 2
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(ca)
    with Control(streams(*GOOD), address=where, tls=tls) as server:
        probe(server, "--control-ca", ca, "--cert", mine, "--key", my_key)
        probe(server, "--control-ca", ca, code=FAILED)
        assert len(server.requests) == 1
    wrong = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    wrong.load_cert_chain(other, other_key)
    with Control(streams(*GOOD), address=where, tls=wrong) as server:
        probe(server, "--control-ca", ca, code=FAILED)
        assert not server.requests


def a_tls_connection_that_was_cut_is_no_end():
    """A body without a length ends with the connection; so anybody on the way
    could shorten it, if TLS did not say that it is over."""
    authority(DIR.name)
    where = nodes.address(3)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate(DIR.name, "server", [f"IP:{where}"]))
    body = json.dumps({"node": "a-1"})
    for is_abrupt, code in (False, FINE), (True, FAILED):
        with Control(lambda _, a: a.raw("HTTP/1.1 200 OK\r\n\r\n" + body),
                     address=where, tls=tls) as server:
            server.is_abrupt = is_abrupt
            _, said = prober("status", "--control", server.url, "--ca",
                             path("ca.crt"), code=code)
            assert ("cut off" in said) == is_abrupt, said


def a_reader_that_goes_away_ends_it():
    script = Cancellable()
    with control(script) as server, subprocess.Popen(
            [PROBER, "probe", TARGET, "--control", server.url, "--count",
             "1000", "-o", "json"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=CLEAN) as run:
        run.stdout.readline()
        run.stdout.close()
        assert b"Broken pipe" in run.stderr.read()
        assert run.wait(10) == FAILED
        assert script.seen_gone.wait(10)


def what_makes_no_sense_there_is_refused_with_a_reason():
    here = ("--control", "/nowhere")
    for argv, why in (
            (["--ca", "x"], "whom it trusts"), (["--ca", "x"], "--control-ca"),
            (["--insecure"], "whom it trusts"),
            (["--fingerprint", "sha256:" + "0" * 64], "whom it trusts"),
            (["--dns", "127.0.0.1"], "looks names up"),
            (["--resolve", "127.0.0.1"], "looks names up"),
            (["--ip", "6"], "looks names up"),
            (["--concurrency", "2"], "slots of its own"),
            (["--count", "0"], "1 to 1000"), (["--count", "1001"], "1 to 1000"),
            (["--interval", "0"], "10ms to 1m"),
            (["--interval", "9ms"], "10ms to 1m"),
            (["--interval", "61s"], "10ms to 1m"),
            (["--interval", "10500us"], "whole"),
            (["--timeout", "10001ms"], "1ms to 10s"),
            (["--nodes-per-zone", "2"], "zone:Z or all-zones"),
            (["--from", "zone:"], "--from"), (["--from", "a b"], "--from"),
            (["--from", "all-zones", "--nodes-per-zone", "17"], "1 to 16"),
            (["--cert", "x"], "https"), (["--control-ca", "x"], "https")):
        _, said = prober("probe", TARGET, *here, *argv, code=USAGE)
        assert why in said, (argv, said)
    for argv in (["--nodes-per-zone", "2"], ["--token-file", "x"]):
        _, said = prober("probe", TARGET, *argv, code=USAGE)
        assert "--from or --control" in said, said
    _, said = prober("probe", "b-1", code=USAGE)
    assert "--from" in said, said
    for address in ("b-1:7071", "ftp://x", "grpc://x", "http://", "unix",
                    "http://x/?q"):
        _, said = prober("status", "--control", address, code=USAGE)
        assert "--control" in said, said
    prober("probe", "a b", "--from", "self", code=USAGE)
    prober("status", "--control", "/" + "x" * 200, code=FAILED)


# ---- what comes of it --------------------------------------------------

def exit_codes_tell_the_run():
    gone = {"executor": {"node": "c-1", "zone": "c", "state": "unreachable"}}
    missing = done("c", 0, 0, "unreachable")
    bad = sample(outcome="tls_alert")
    for code, values in (
            (FINE, GOOD),
            (PROBE_FAILED, (bad, summary({"a-1": done(ok=0)},
                                         {"tls_alert": 1}))),
            (PROBE_FAILED, (gone, sample(),
                            summary({"a-1": done(), "c-1": missing}))),
            (FAILED, (gone, summary({"c-1": missing})))):
        for output in "text", "json", "summary":
            with control(streams(*values)) as server:
                out, said = probe(server, "-o", output, code=code)
            if output == "json":
                assert [json.loads(line) for line in out.splitlines()] == list(
                    values), out
            else:
                assert ("c-1 (zone c, unreachable)" in out) == (
                    gone in values), out
            assert bool(said) == (code == FAILED), said
    for status, code in ((400, USAGE), (401, FAILED), (403, FAILED),
                         (404, FAILED), (409, FAILED), (429, FAILED),
                         (503, FAILED)):
        error = {"error": {"code": "x", "message": f"no\u001b[2J {status}"}}
        with control(lambda _, a, s=status, e=error: a.whole(s, e)) as server:
            out, said = probe(server, "-o", "json", code=code)
        assert not out and f"no?[2J {status}" in said, said
    _, said = prober("probe", TARGET, "--control", path("none"), code=FAILED)
    assert "No such file" in said, said
    _, said = prober("probe", TARGET, "--from", "self", code=FAILED)
    assert "/run/prober/control.sock" in said, said


def the_summary_compares_with_the_baseline():
    nodes_ = {"a-1": done(connect=4_100_000, baseline=900_000),
              "b-1": done("b", connect=910_000, baseline=900_000)}
    with control(streams(sample(), sample("b-1", "b"),
                         summary(nodes_))) as server:
        out, _ = probe(server, "--from", "all-zones", "-o", "summary")
    assert re.search(r"connect +p50 4.10 ms.* here, p50 +900 us in the last "
                     r"15 min  SLOWER: 4.6 x\n", out), out
    assert out.count("SLOWER") == 1, out


def samples_are_shown_as_they_come():
    go = threading.Event()

    def script(_, answer):
        answer.stream()
        answer.lines(sample())
        go.wait(20)
        answer.lines(GOOD[1])
        answer.end()
    for output in "json", "text":
        go.clear()
        with control(script) as server, subprocess.Popen(
                [PROBER, "probe", TARGET, "--control", server.url, "-o",
                 output], stdout=subprocess.PIPE, env=CLEAN) as run:
            seen = b""
            while b"b-1.test" not in seen or b"1.85 ms" not in seen.replace(
                    b"1850000", b"1.85 ms"):
                assert select.select([run.stdout], [], [], 10)[0], seen
                seen += os.read(run.stdout.fileno(), 65536)
            go.set()
            assert run.wait(20) == FINE
            run.stdout.read()


def a_broken_stream_is_said_and_what_came_is_shown():
    line = json.dumps(sample()) + "\n"

    def cut(raw):
        def script(_, answer):
            answer.stream()
            answer.lines(sample())
            answer.raw(raw)
        return script
    for raw, why in (
            ("", "closed inside"), ("5\r\nabc", "closed inside"),
            ("0\r\n\r\n", "without a summary"),
            ("zz\r\n", "chunk"), ("ffffffffffffffff1\r\n", "chunk"),
            ("7fffffff\r\n" + "x", ""),
            ("4\r\n{}x\n\r\n", "line 2"), ("3\r\n[]\n\r\n", "line 2"),
            ("4\r\n\x1b[m\n\r\n", "control byte"),
            (f"{len(line) + 4:x}\r\n{line[:-1]}    \n\r\n0\r\n\r\n",
             "without a summary"),
            ("4\r\n{\"su\r\n0\r\n\r\n", "without a summary")):
        with control(cut(raw)) as server:
            out, said = probe(server, code=FAILED)
            assert "broke off" in said and why in said, (raw, said)
            assert re.search("ok ([12]) of \\1$", out, re.M), out


def lies_about_length_and_heads_are_seen_through():
    whole = json.dumps(GOOD[1]).encode() + b"\n"
    for raw, why in (
            (b"", "without an answer"), (b"HTTP/1.1 200", "closed inside"),
            (b"SSH-2.0-x\r\n", "bad answer"),
            (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 2000, "bad answer"),
            (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 20000, "bad answer"),
            (b"HTTP/1.1 100 \r\n\r\n" * 20, "bad answer"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n"
             b"\r\n", "bad answer"),
            (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
             b"Content-Length: 2\r\n\r\nhi", "another format"),
            (b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
             b"Content-Length: 9999\r\n\r\n" + whole, "closed inside"),
            (b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1/\r\n"
             b"Content-Length: 0\r\n\r\n", "answered 302")):
        with control(lambda _, a, r=raw: a.raw(r)) as server:
            _, said = probe(server, code=FAILED)
            assert why in said, (raw[:60], said)
            assert len(server.requests) == 1
    # A length that is true, or none at all, is as good as chunks.
    for head in f"Content-Length: {len(whole)}\r\n", "":
        with control(lambda _, a, h=head: a.raw(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n" +
                h.encode() + b"\r\n" + whole)) as server:
            probe(server)


def a_flood_costs_bounded_memory():
    def endless_line(_, answer):
        answer.stream()
        while True:
            answer.chunk(b"x" * 65536)

    def endless_nodes(_, answer):
        answer.stream()
        for i in range(100000):
            answer.lines(sample(f"n{i}", "z" * 100))
    for script, why in (endless_line, "too long"), (endless_nodes, "nodes"):
        with control(script) as server, subprocess.Popen(
                [PROBER, "probe", TARGET, "--control", server.url, "-o",
                 "json"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True, env=CLEAN) as run:
            said = run.stderr.read()
            _, status, usage = os.wait4(run.pid, 0)
            run.returncode = os.waitstatus_to_exitcode(status)
        assert run.returncode == FAILED and why in said, said
        # Sanitizers keep what is freed; an endless line would be a GiB.
        assert usage.ru_maxrss < 400 << 10, usage


def a_silent_node_is_given_up():
    def script(_, answer):
        answer.stream()
        answer.lines(sample())
        answer.is_gone(60)
    with control(script) as server:
        begin = time.monotonic()
        _, said = probe(server, "--timeout", "100ms", code=FAILED, seconds=40)
        assert "fell silent" in said, said
        assert 14 < time.monotonic() - begin < 20


# ---- Ctrl-C ------------------------------------------------------------

class Cancellable:
    """Streams samples until it is told to stop; `is_deaf`: to that, too."""

    def __init__(self, is_deaf=False):
        self.is_deaf = is_deaf
        self.cancelled = threading.Event()
        self.seen_gone = threading.Event()
        self.deleted = []

    def __call__(self, request, answer):
        if request.method == "DELETE":
            self.deleted.append(request.path)
            self.cancelled.set()
            answer.whole(204, b"")
            return
        n = 0
        answer.stream("ab" * 16)
        while self.is_deaf or not self.cancelled.is_set():
            answer.lines(sample())
            n += 1
            if answer.is_gone(0.05):
                self.seen_gone.set()
                return
        answer.lines(summary({"a-1": done(attempts=n, state="cancelled")},
                             cancelled=True))
        answer.end()


def ctrl_c_cancels_and_prints_what_is_there():
    for output in "text", "json", "summary":
        script = Cancellable()
        with control(script) as server, subprocess.Popen(
                [PROBER, "probe", TARGET, "--control", server.url, "--count",
                 "1000", "-o", output], stdout=subprocess.PIPE, text=True,
                env=CLEAN) as run:
            time.sleep(0.5)
            run.send_signal(signal.SIGINT)
            out, _ = run.communicate(timeout=20)
            assert run.returncode == FINE, out
            assert script.deleted == ["/v1/probes/" + "ab" * 16]
            assert ("CANCELLED" in out) == (output != "json"), out
            assert ('"cancelled": true' in out) == (output == "json"), out


def a_node_deaf_to_ctrl_c_is_left():
    for times in 1, 2:
        script = Cancellable(is_deaf=True)
        with control(script) as server, subprocess.Popen(
                [PROBER, "probe", TARGET, "--control", server.url, "--count",
                 "1000"], stdout=subprocess.PIPE, text=True,
                env=CLEAN) as run:
            time.sleep(0.5)
            begin = time.monotonic()
            for _ in range(times):
                run.send_signal(signal.SIGTERM)
                time.sleep(0.3)
            out, _ = run.communicate(timeout=20)
            assert run.returncode == FINE and "CANCELLED" in out, out
            assert (time.monotonic() - begin < 2) == (times == 2)
            assert script.seen_gone.wait(10)


# ---- on a terminal -----------------------------------------------------

class Terminal:
    """A command on a terminal of so many lines and columns."""

    def __init__(self, *argv, size=(24, 110), **environment):
        self.near, far = pty.openpty()
        self.text = ""
        fcntl.ioctl(self.near, termios.TIOCSWINSZ,
                    struct.pack("HHHH", *size, 0, 0))
        self.run = subprocess.Popen(
            [PROBER, *argv], stdin=far, stdout=far, stderr=far,
            env={**CLEAN, "TERM": "xterm-256color", **environment})
        os.close(far)

    def read(self, seconds):
        if not select.select([self.near], [], [], seconds)[0]:
            return True
        try:
            self.text += os.read(self.near, 65536).decode()
        except OSError:
            return False
        return True

    def wait_for(self, text, seconds=15):
        begin, end = len(self.text), time.monotonic() + seconds
        while text not in self.text[begin:]:
            assert time.monotonic() < end, (text, self.text[begin:])
            assert self.read(0.1), (text, self.text[begin:])

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


def the_live_table_is_drawn_in_place_and_the_summary_stays():
    script = Cancellable()
    with control(script) as server, Terminal(
            "probe", TARGET, "--control", server.url, "--count", "1000") as t:
        t.wait_for("running")
        t.wait_for("LAST")
        t.run.send_signal(signal.SIGWINCH)
        t.wait_for("\033[H")
        t.run.send_signal(signal.SIGINT)
        assert t.rest() == FINE, t.text
        assert t.text.startswith(ENTER) and t.text.count(LEAVE) == 1, t.text
        live, _, end = t.text.partition(LEAVE)
        for picture in live.split("\033[H")[1:]:
            assert picture.count("\n") < 24, picture
        assert "CANCELLED" in end and "zone a, node a-1" in end, end
        assert "\033[H" not in end


def a_broken_stream_leaves_the_terminal_as_it_was():
    with control(streams(sample(), end=False)) as server, Terminal(
            "probe", TARGET, "--control", server.url) as t:
        assert t.rest() == FAILED, t.text
        live, _, end = t.text.partition(LEAVE)
        assert live.startswith(ENTER) and "broke off" in end, t.text


# ---- status, reload, drain ---------------------------------------------

def an_address_that_swallows_everything_is_not_the_last_word():
    """Both are in a file of hosts that is laid over the machine's; of ::1 and
    127.0.0.1 the former is tried first."""
    hosts = path("hosts")
    with open(hosts, "w", encoding="ascii") as file:
        file.write("::1 two.test\n127.0.0.1 two.test\n")
    enter = ["unshare", "--mount", "sh", "-c",
             'mount --bind "$0" /etc/hosts && exec "$@"', hosts]
    if subprocess.run([*enter, "true"], check=False,
                      capture_output=True).returncode:
        raise tap.Skip("no file can be laid over /etc/hosts")
    with contextlib.ExitStack() as stack, Control(
            lambda _, a: a.whole(200, {"node": "a-1"}),
            address="127.0.0.1") as server:
        port = int(server.url.rpartition(":")[2])
        deaf = stack.enter_context(socket.socket(socket.AF_INET6))
        deaf.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        deaf.bind(("::1", port))
        deaf.listen(0)
        for _ in range(8):  # its backlog is full then: no SYN is answered
            s = stack.enter_context(socket.socket(socket.AF_INET6))
            s.setblocking(False)
            s.connect_ex(("::1", port))
        time.sleep(0.2)
        began = time.monotonic()
        ran = subprocess.run(
            [*enter, PROBER, "status", "--control",
             f"http://two.test:{port}"], capture_output=True, text=True,
            check=False, timeout=60, env=CLEAN)
        took = time.monotonic() - began
        assert ran.returncode == FINE and "a-1" in ran.stdout, (took, ran)
        assert took < 5, took


def status_reload_and_drain_say_what_was_answered():
    answers = {
        ("GET", "/v1/status"): (200, {"node": "a-1", "control": {"open": 2}}),
        ("POST", "/v1/reload"): (200, {"reloaded": True, "applied": ["targets", "log"]}),
        ("POST", "/v1/drain"): (202, {})}

    def script(request, answer):
        answer.whole(*answers[request.method, request.path])
    with control(script) as server:
        at = ("--control", server.url)
        out, _ = prober("status", *at)
        assert re.search("^node +a-1$", out, re.M), out
        assert re.search(r"^control\.open +2$", out, re.M), out
        out, _ = prober("status", *at, "-o", "json")
        assert json.loads(out) == answers["GET", "/v1/status"][1]
        out, _ = prober("reload", *at)
        assert out.startswith("reloaded\n") and "targets" in out, out
        out, _ = prober("drain", *at)
        assert out == "draining\n", out
        assert "true" not in out, out
        answers["POST", "/v1/reload"] = (409, {"error": {
            "code": "busy", "message": "under way"}})
        prober("reload", *at, code=FAILED)
        answers["POST", "/v1/reload"] = (422, {"error": {
            "code": "bad_configuration", "message": "a.yaml:1:2: one",
            "complaints": ["a.yaml:1:2: one", "a.yaml:3:4: two"]}})
        out, said = prober("reload", *at, code=USAGE)
        assert not out and "\na.yaml:1:2: one\na.yaml:3:4: two\n" in said, said
        for refused in 401, 403, 503:
            for key in answers:
                answers[key] = (refused, {"error": {"message": "no"}})
            for command in "status", "reload", "drain":
                out, said = prober(command, *at, code=FAILED)
                assert not out and f"answered {refused}: no" in said, said


def json_is_handed_on_once_it_is_seen_to_be_json():
    """Not a proxy's page, and nothing that a terminal obeys."""
    body = b""

    def script(_, answer):
        answer.whole(200, body)
    with Control(script, address="127.0.0.1") as server:
        asked = [(command, "--control", server.url)
                 for command in ("status", "reload", "drain")]
        asked += [(command, "--api", server.url)
                  for command in ("matrix", "members")]
        for body in (b"<html>", b"", b"[]", b'{"a":1', b'{"a":"\x1b[2J"}',
                     b'{"a":1}\x1b[2J'):
            for command in asked:
                out, said = prober(*command, "-o", "json", code=FAILED)
                assert not out and "the answer" in said, (command, body, out)
        for body in b'{"a": 1}', b'{"a":\n1}\n':
            for command in asked:
                out, _ = prober(*command, "-o", "json")
                assert out == body.decode().rstrip("\n") + "\n", out


if __name__ == "__main__":
    with DIR:
        tap.run([
            it_asks_for_what_was_wanted,
            a_token_comes_from_a_file_and_stays_on_this_machine,
            a_token_is_not_sent_in_plain_text_to_others,
            tls_is_verified_both_ways,
            a_tls_connection_that_was_cut_is_no_end,
            a_reader_that_goes_away_ends_it,
            what_makes_no_sense_there_is_refused_with_a_reason,
            exit_codes_tell_the_run,
            the_summary_compares_with_the_baseline,
            samples_are_shown_as_they_come,
            a_broken_stream_is_said_and_what_came_is_shown,
            lies_about_length_and_heads_are_seen_through,
            a_flood_costs_bounded_memory,
            a_silent_node_is_given_up,
            ctrl_c_cancels_and_prints_what_is_there,
            a_node_deaf_to_ctrl_c_is_left,
            the_live_table_is_drawn_in_place_and_the_summary_stays,
            a_broken_stream_leaves_the_terminal_as_it_was,
            an_address_that_swallows_everything_is_not_the_last_word,
            status_reload_and_drain_say_what_was_answered,
            json_is_handed_on_once_it_is_seen_to_be_json,
        ])
