#!/usr/bin/python3
"""The command line is a contract: exit codes, where text goes, what it says.

Exit codes: 0 fine, 1 the tool itself failed, 2 usage or configuration error,
3 the probe ran and failed."""
import base64
import hashlib
import http.server
import json
import os
import pty
import re
import select
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time

import nodes
import tap
from netbed import PROBER, Bed

FINE, FAILED, USAGE, PROBE_FAILED = range(4)
PHASES = ("dns", "connect", "tls", "ttfb", "transfer", "local")
# What would colour the output or find its way into a configuration.
CLEAN = {k: v for k, v in os.environ.items()
         if k not in ("NO_COLOR", "TERM") and not k.startswith("PROBER_")}


def prober(*argv, code=FINE, seconds=60, **options):
    """Run it, hold it to its exit code; returns (stdout, stderr)."""
    options.setdefault("env", CLEAN)
    options.setdefault("stdout", subprocess.PIPE)
    done = subprocess.run([PROBER, *map(str, argv)], text=True, check=False,
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          timeout=seconds, **options)
    said = (argv, done.returncode, done.stdout, done.stderr)
    assert not nodes.has_findings(done.stderr), said
    assert done.returncode == code, said
    return done.stdout, done.stderr


def lines(text):
    assert not text or text.endswith("\n"), text
    return text.splitlines()


class Server(http.server.ThreadingHTTPServer):
    """What is probed: /status/N answers N, anything else 200 after `delay_s`;
    remembers how many requests there were and how many at once."""

    daemon_threads = True

    def __init__(self, delay_s=0.0):
        super().__init__((nodes.address(200), 0), Handler)
        self.delay_s = delay_s
        self.lock = threading.Lock()
        self.requests = self.connections = self.open = self.open_max = 0
        self.thread = threading.Thread(target=self.serve_forever,
                                       kwargs={"poll_interval": 0.02})

    def url(self, path="/"):
        return f"http://{self.server_address[0]}:{self.server_port}{path}"

    def process_request(self, request, client_address):
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, *_):
        pass  # who asked has gone; that is what some of this is about

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece: else it waits for an ACK

    def do_GET(self):
        server = self.server
        with server.lock:
            server.requests += 1
            server.open += 1
            server.open_max = max(server.open_max, server.open)
        time.sleep(server.delay_s)
        with server.lock:
            server.open -= 1
        status = 200
        if self.path.startswith("/status/"):
            status = int(self.path.rsplit("/", 1)[1])
        self.send_response(status)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_):
        pass


def closed_port():
    """An address at which nobody listens."""
    with socket.socket() as s:
        s.bind((nodes.address(201), 0))
        return f"{nodes.address(201)}:{s.getsockname()[1]}"


# ---- the words ---------------------------------------------------------

def help_is_no_error_and_explains_every_command():
    overview, complaints = prober("help")
    assert not complaints
    words = re.findall(r"^  ([a-z-]+) ", overview, re.M)
    assert {"run", "probe", "matrix", "members",
            "check-config", "version"} <= set(words)
    for word in words:
        text, complaints = prober("help", word)
        assert text and not complaints, word
    for word in set(words) - {"help"}:
        text, complaints = prober(word, "--help")
        assert text.startswith(f"usage: prober {word}"), text
        assert not complaints
    assert prober("--help")[0] == prober("-h")[0] == overview


def keygen_makes_a_new_key_each_time():
    keys = [prober("keygen")[0], prober("keygen")[0]]
    keys.append(json.loads(prober("keygen", "-o", "json")[0])["key"] + "\n")
    assert len(set(keys)) == 3, keys
    for key in keys:
        assert key.endswith("\n") and key.count("\n") == 1
        assert len(base64.b64decode(key[:-1], validate=True)) == 32


def is_line_of(line, token, name, role):
    digest = hashlib.sha256(token.encode()).hexdigest()
    return line == f"{name} {role} sha256:{digest}"


def keygen_makes_tokens_and_their_lines_apart():
    token, said = prober("keygen", "--token", "ci", "runner")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", token), token
    assert is_line_of(said.rstrip("\n"), token.strip(), "ci", "runner"), said
    made = json.loads(prober("keygen", "--token", "a.b-c_d", "admin",
                             "-o", "json")[0])
    assert is_line_of(made["line"], made["token"], "a.b-c_d", "admin"), made
    assert made["token"] != token.strip()


def keygen_adds_tokens_to_a_file():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokens")
        said = [prober("keygen", "--token", "ci", "runner",
                       "--tokens-file", path)]
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with open(path, "a", encoding="ascii") as file:
            file.write("# no newline")
        said.append(prober("keygen", "--token", "ci", "viewer",
                           "--tokens-file", path))
        with open(path, encoding="ascii") as file:
            first, comment, second = lines(file.read())
        assert comment == "# no newline"
        for line, (token, complaints), role in zip(
                (first, second), said, ("runner", "viewer")):
            assert is_line_of(line, token.strip(), "ci", role)
            assert not complaints
        # What the daemon would not take is left alone, and gets no token.
        for mode, text, why in (
                (0o644, "", "may be read by everybody"),
                (0o600, "nonsense\n", "line 1: is not"),
                (0o600, "c viewer sha256:" + 64 * "0" + "\n"
                 + "d viewer sha256:" + 64 * "0", "line 2: this token is")):
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            os.chmod(path, mode)
            token, complaints = prober("keygen", "--token", "ci", "admin",
                                       "--tokens-file", path, code=FAILED)
            assert not token and why in complaints, complaints
            with open(path, encoding="ascii") as file:
                assert file.read() == text


def version_speaks_text_and_json():
    text, _ = prober("version")
    name, version = text.split()
    assert name == "prober" and re.fullmatch(r"\d+\.\d+\.\d+", version)
    said, _ = prober("version", "-o", "json")
    assert json.loads(said) == {"name": "prober", "version": version}
    assert prober("--version")[0] == text


WRONG = [
    [], ["bogus"], ["--bogus"], ["help", "bogus"],
    ["keygen", "extra"], ["keygen", "-o", "yaml"],
    ["keygen", "--token"], ["keygen", "--token", "a"],
    ["keygen", "--token", "a", "root"], ["keygen", "--token", "a b", "admin"],
    ["keygen", "--token", "#a", "admin"], ["keygen", "--token", "", "admin"],
    ["keygen", "--token", "a", "admin", "x"],
    ["keygen", "--token", 123 * "a", "admin"],
    ["keygen", "--tokens-file", "f"],
    ["version", "extra"], ["version", "-o", "yaml"], ["version", "-o"],
    ["run", "--bogus"], ["run", "--config"], ["run", "extra"],
    ["check-config"], ["check-config", "--bogus"],
    ["check-config", "a", "b"], ["check-config", "-o", "yaml", "a"],
    ["probe"], ["probe", "--bogus", "http://h/"], ["probe", "name"],
    ["probe", "ftp://h/"], ["probe", "http://"], ["probe", "http://h:0/"],
    ["probe", "http://h/", "http://i/"],
    ["probe", "http://h/", "--count", "-1"],
    ["probe", "http://h/", "--count", "x"],
    ["probe", "http://h/", "--count", "99999999999999999999"],
    ["probe", "http://h/", "--count", ""],
    ["probe", "http://h/", "--interval", "5"],
    ["probe", "http://h/", "--interval", "1us"],
    ["probe", "http://h/", "--interval", "25h"],
    ["probe", "http://h/", "--timeout", "0"],
    ["probe", "http://h/", "--timeout", "1d"],
    ["probe", "http://h/", "--concurrency", "0"],
    ["probe", "http://h/", "--concurrency", "4097"],
    ["probe", "http://h/", "--protocol", "http2"],
    ["probe", "http://h/", "--ip", "5"],
    ["probe", "http://h/", "--dns", "name"],
    ["probe", "http://h/", "--resolve", "name"],
    ["probe", "http://h/", "--fingerprint", "sha256:00"],
    ["probe", "http://h/", "--service", "x"],
    ["probe", "https://h/", "--insecure", "--ca", "/dev/null"],
    ["probe", "https://h/", "--ca", "/nonexistent"],
    ["probe", "grpc://h/", "--protocol", "http1"],
    ["probe", "http://h/", "-o", "xml"],
    ["matrix", "extra"], ["matrix", "--bogus"], ["matrix", "--api", "x"],
    ["matrix", "--phase", "x"], ["matrix", "--stat", "p51"],
    ["matrix", "--protocol", "x"], ["matrix", "--level", "x"],
    ["matrix", "--mode", "x"], ["matrix", "--window", "x"],
    ["matrix", "-o", "x"], ["matrix", "--watch", "x"],
    ["matrix", "--watch=1ms"], ["matrix", "--at", "noon"],
    ["matrix", "--at", "2026-01-01T00:00:00Z", "--watch"],
    ["matrix", "--wait", "x"], ["matrix", "--wait", "100ms"],
    ["matrix", "--wait", "2h"], ["matrix", "--wait", "1s", "--watch"],
    ["matrix", "--expect", "a"], ["matrix", "--wait", "1s", "--expect", ""],
    ["matrix", "--wait", "1s", "--expect", "a,,b"],
    ["members", "extra"], ["members", "--bogus"], ["members", "--api", "x"],
    ["members", "--api", "https://x/"], ["members", "-o", "x"],
]


def wrong_usage_is_two_and_says_what_is_wrong():
    for argv in WRONG:
        text, complaints = prober(*argv, code=USAGE)
        assert not text, (argv, text)
        assert lines(complaints), argv
        first = argv[0] if argv else ""
        assert complaints.startswith((f"prober {first}: ", "prober: no ",
                                      "usage: ")), (argv, complaints)


def a_slip_gets_a_suggestion():
    _, complaints = prober("porbe", code=USAGE)
    assert complaints == "prober: no command 'porbe', did you mean 'probe'?\n"


# ---- configuration -----------------------------------------------------

BAD = """\
node: {name: "a b", zone: z}
probe:
  cold_intervall: 5s
  warm_interval: 50ms
  timeout: 5
api: {listen: "1.2.3.4:70000"}
api: {}
peers:
  - {zone: b}
"""
BAD_AT = ["1:14", "3:3", "4:18", "5:12", "6:15", "7:1", "9:5", "9:5"]


def places(path, complaints):
    found = []
    for line in lines(complaints):
        m = re.fullmatch(re.escape(path) + r":(\d+:\d+): .+", line)
        assert m, line
        found.append(m[1])
    return found


def every_error_of_a_file_is_given_with_its_place():
    with Bed() as bed:
        path = bed.file("bad.yaml", BAD)
        text, complaints = prober("check-config", path, code=USAGE)
        assert not text
        assert places(path, complaints) == BAD_AT, complaints
        assert "did you mean cold_interval?" in complaints
        # The daemon reads it the same way.
        text, again = prober("run", "--config", path, code=USAGE)
        assert not text and again == complaints, again
        said = json.loads(prober("check-config", "-o", "json", path,
                                 code=USAGE)[0])
        assert said["ok"] is False and said["errors"] == lines(complaints)


def a_syntax_error_has_a_place_too():
    with Bed() as bed:
        path = bed.file("bad.yaml", "node: {name: a\nprobe: [\n")
        _, complaints = prober("check-config", path, code=USAGE)
        assert places(path, complaints), complaints


def a_good_file_is_fine():
    with Bed() as bed:
        path = bed.file("good.yaml", "node: {name: a, zone: b}\n")
        text, complaints = prober("check-config", path)
        assert not complaints and f"{path}: ok" in lines(text)
        said = json.loads(prober("check-config", "-o", "json", path)[0])
        assert said["ok"] is True and said["zone"] == "b"
        assert said["errors"] == []


def an_unreadable_file_is_a_failure():
    for argv in ["check-config", "/nonexistent"], ["check-config", "/"], [
            "run", "--config", "/nonexistent"]:
        text, complaints = prober(*argv, code=FAILED)
        assert not text
        assert len(lines(complaints)) == 1 and argv[-1] in complaints, argv


def a_variable_overrides_and_is_named_when_wrong():
    with Bed() as bed:
        path = bed.file("good.yaml", "node: {name: a, zone: b}\n")
        zone = {**CLEAN, "PROBER_NODE_ZONE": "elsewhere"}
        text, _ = prober("check-config", path, env=zone)
        assert "in zone elsewhere" in text
        zone["PROBER_NODE_ZONE"] = "else where"
        _, complaints = prober("check-config", path, env=zone, code=USAGE)
        assert complaints.startswith("PROBER_NODE_ZONE: ")


# ---- run ---------------------------------------------------------------

def a_taken_port_is_one_line_and_one():
    host = nodes.address(202)
    with Bed() as bed, socket.socket() as taken:
        taken.bind((host, 0))
        taken.listen()
        port = taken.getsockname()[1]
        for probe, api in (port, 0), (0, port):
            path = bed.file("taken.yaml", f"""\
node: {{name: a, zone: a, region: r}}
probe: {{listen: "{host}:{probe}"}}
api: {{listen: "{host}:{api}"}}
targets: [{{name: t, url: "https://{host}/"}}]
""")
            text, complaints = prober("run", "--config", path, code=FAILED,
                                      seconds=20)
            assert not text
            line, = lines(complaints)
            assert line.startswith("error start_failed "), line
            assert f"{host}:{port}" in line and "in use" in line, line


def a_missing_certificate_is_one_line_and_one():
    with Bed() as bed:
        path = bed.file("missing.yaml", f"""\
node: {{name: a, zone: a, region: r}}
probe: {{listen: "{nodes.address(202)}:0"}}
api: {{listen: "{nodes.address(202)}:0"}}
tls: {{certificate: /nonexistent.crt, key: /nonexistent.key}}
""")
        _, complaints = prober("run", "--config", path, code=FAILED)
        line, = lines(complaints)
        assert "/nonexistent" in line, line


def run_ends_with_zero_when_told_to():
    for number in signal.SIGTERM, signal.SIGINT:
        with Bed() as bed:
            node, = nodes.start(bed, ["a"])
            assert node.get_json("/api/v1/status")["node"] == "a"
            node.end(number)
            # Whether the control port has its default place depends on the
            # machine.
            words = [line.split()[1] for line in lines(node.process.text())
                     if not line.split()[1].startswith("control")]
            assert words == ["started", "draining", "stopped"], words


# ---- probe -------------------------------------------------------------

def one_attempt_in_text_is_a_waterfall():
    with Server() as server:
        text, complaints = prober("probe", server.url())
        assert not complaints
        assert lines(text)[0] == server.url()
        rows = dict(re.findall(r"^  (\w+) +(\d\S* \w+)", text, re.M))
        assert {"connect", "ttfb", "local", "total"} <= set(rows), text
        assert "tls" not in rows
        assert re.search(r"^  outcome +ok$", text, re.M), text
        assert "\033" not in text and text.isascii()


def samples_in_json_add_up():
    with Server() as server:
        text, complaints = prober("probe", server.url("/x"), "--count", 3,
                                  "--interval", "1ms", "-o", "json")
        assert not complaints
        samples = [json.loads(line) for line in lines(text)]
        assert len(samples) == 3 and server.requests == 3
        for sample in samples:
            phases = sample["phases_ns"]
            assert set(phases) == set(PHASES)
            assert phases["dns"] is None and phases["tls"] is None
            assert sample["total_ns"] == sum(v or 0 for v in phases.values())
            assert sample["target"] == server.url("/x")
            assert (sample["protocol"], sample["mode"]) == ("http1", "cold")
            assert sample["outcome"] == "ok" and sample["error"] is None
            assert sample["http"]["status"] == 200
            assert sample["address"] == server.url("").split("//")[1]
        assert len({s["local_address"] for s in samples}) == 3


def a_summary_counts_them_all():
    with Server() as server:
        text, _ = prober("probe", server.url(), "--count", 20, "--interval",
                         0, "-o", "summary")
        assert re.search(r"\b20 attempts", text), text
        assert server.requests == 20
        assert re.search(r"^ *total ", text, re.M), text


def many_attempts_in_text_are_lines_and_a_summary():
    with Server() as server:
        text, _ = prober("probe", server.url(), "--count", 4, "--interval",
                         "1ms")
        table, summary = text.split("\n\n", 1)
        assert re.findall(r"^ +(\d+) ", table, re.M) == list("1234"), text
        assert "4 attempts" in summary


def a_failed_probe_is_three():
    with Server() as server:
        text, _ = prober("probe", server.url("/status/503"), "-o", "json",
                         code=PROBE_FAILED)
        sample = json.loads(text)
        assert sample["outcome"] == "http_status"
        assert sample["http"]["status"] == 503
        assert sample["total_ns"] is None
    text, _ = prober("probe", f"http://{closed_port()}/", "-o", "json",
                     code=PROBE_FAILED)
    sample = json.loads(text)
    assert sample["outcome"] == "connect_refused"
    assert sample["failed_phase"] == "connect"
    with Server(delay_s=1) as server:
        text, _ = prober("probe", server.url(), "--timeout", "100ms", "-o",
                         "json", code=PROBE_FAILED)
        assert json.loads(text)["outcome"] == "response_timeout"


def a_missed_slot_is_no_failure():
    with Server(delay_s=0.3) as server:
        # The second attempt finds --concurrency taken: missed, not failed.
        text, complaints = prober(
            "probe", server.url(), "--count", 2, "--interval", "10ms",
            "--concurrency", 1, "-o", "json")
        assert len(lines(text)) == 1 and "1 slots missed" in complaints
        assert server.requests == 1


def attempts_start_on_the_interval():
    with Server() as server:
        began = time.monotonic()
        prober("probe", server.url(), "--count", 6, "--interval", "100ms",
               "-o", "summary")
        assert time.monotonic() - began >= 0.5
        assert server.requests == 6


def concurrency_bounds_what_is_in_flight():
    for concurrency in 1, 4:
        with Server(delay_s=0.15) as server:
            prober("probe", server.url(), "--count", 8, "--interval", 0,
                   "--concurrency", concurrency, "-o", "summary")
            assert server.requests == 8
            assert server.open_max == concurrency, server.open_max


def warm_attempts_share_a_connection():
    with Server() as server:
        text, _ = prober("probe", server.url(), "--count", 5, "--interval",
                         0, "--warm", "-o", "json")
        assert {json.loads(line)["mode"] for line in lines(text)} == {"warm"}
        assert server.requests == 5 and server.connections == 1


class Started:
    """`prober probe` that runs on, its output line by line."""

    def __init__(self, *argv):
        self.popen = subprocess.Popen(
            [PROBER, *argv], text=True, env=CLEAN, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.popen.kill()
        self.popen.communicate()

    def read_until(self, text):
        for line in self.popen.stdout:
            if text in line:
                return
        raise AssertionError(f"no {text!r}: {self.popen.communicate()}")


def ctrl_c_prints_the_summary_so_far():
    for output in "text", "summary":
        with Server() as server, Started(
                "probe", server.url(), "--count", "0", "--interval", "50ms",
                "-o", output) as run:
            while server.requests < 3:
                time.sleep(0.01)
            run.popen.send_signal(signal.SIGINT)
            text, complaints = run.popen.communicate(timeout=20)
            assert run.popen.returncode == FINE, (text, complaints)
            assert not complaints
            assert re.search(r"\b\d+ attempts", text), text
            assert re.search(r"^ *total ", text, re.M), text


def ctrl_c_before_any_answer_is_three():
    with Server(delay_s=2) as server, Started(
            "probe", server.url(), "--count", "0", "-o", "json") as run:
        while not server.requests:
            time.sleep(0.01)
        run.popen.send_signal(signal.SIGINT)
        text, _ = run.popen.communicate(timeout=20)
        assert run.popen.returncode == PROBE_FAILED
        assert json.loads(text)["outcome"] == "cancelled"


# ---- where the output goes ---------------------------------------------

def a_reader_that_leaves_is_a_failure_and_no_crash():
    with Server() as server, Started(
            "probe", server.url(), "--count", "0", "--interval", "5ms", "-o",
            "json") as run:
        run.read_until("outcome")
        run.popen.stdout.close()
        assert run.popen.wait(20) == FAILED
        # A busy machine may have missed slots to tell of, too.
        line = lines(run.popen.stderr.read())[-1]
        assert line == "prober probe: Broken pipe", line
    far, near = os.pipe()
    os.close(far)
    with open(near, "w") as closed:
        prober("help", code=FAILED, stdout=closed)
        prober("version", code=FAILED, stdout=closed)


def a_full_disk_is_a_failure():
    with Server() as server, open("/dev/full", "w") as full:
        for argv in (["version"], ["help"], ["help", "probe"],
                     ["probe", server.url()],
                     ["probe", server.url(), "-o", "json"]):
            prober(*argv, code=FAILED, stdout=full)


def on_terminal(*argv, **environment):
    """What it writes on a terminal."""
    near, far = pty.openpty()
    try:
        with subprocess.Popen([PROBER, *argv], stdin=far, stdout=far,
                              stderr=far, env={**CLEAN, **environment}) as run:
            os.close(far)
            far, text = -1, b""
            while select.select([near], [], [], 20)[0]:
                try:
                    piece = os.read(near, 65536)
                except OSError:  # the other end is closed
                    break
                text += piece
            assert run.wait(20) == FINE, text
        return text.decode()
    finally:
        os.close(near)
        if far >= 0:
            os.close(far)


def colours_are_for_terminals_that_want_them():
    with Server() as server:
        plain = on_terminal("probe", server.url(), TERM="xterm",
                            NO_COLOR="1")
        assert "outcome" in plain and "\033" not in plain
        dumb = on_terminal("probe", server.url(), TERM="dumb")
        assert "outcome" in dumb and "\033" not in dumb
        colour = on_terminal("probe", server.url(), TERM="xterm")
        assert "\033[" in colour
        empty = on_terminal("probe", server.url(), TERM="xterm", NO_COLOR="")
        assert "\033[" in empty


# ---- matrix ------------------------------------------------------------

def the_matrix_of_a_running_node_is_shown():
    with Bed() as bed:
        a, _ = nodes.start(bed, ["a", "b"])
        api = f"http://{a.address}:7070"
        text, complaints = prober("matrix", "--api", api, "-o", "json")
        assert not complaints
        matrix = json.loads(text)
        assert matrix["answered_by"] == "a" and matrix["unit"] == "ns"
        assert set(matrix["from"]) <= {"zone-a", "zone-b"}
        for cell in matrix["cells"]:
            assert cell["state"] in ("fresh", "stale", "unknown", "draining")
        assert {"expected", "reporting", "missing"} <= set(matrix["origins"])
        text, _ = prober("matrix", "--api", api, "--phase", "connect",
                         "--stat", "p99", "--protocol", "grpc")
        assert "zone-a" in text and "zone-b" in text and text.isascii()
        # What the node refuses is wrong usage, in the node's own words.
        _, complaints = prober("matrix", "--api", api, "--window", "9000h",
                               code=USAGE)
        assert complaints.startswith("prober matrix: answered 400: ")
        a.end()
        _, complaints = prober("matrix", "--api", api, code=FAILED)
        line, = lines(complaints)
        assert "Connection refused" in line, line


def the_members_of_a_running_node_are_shown():
    with Bed() as bed:
        a, _ = nodes.start(bed, ["a", "b"])
        api = f"http://{a.address}:7070"
        text, complaints = prober("members", "--api", api, "-o", "json")
        assert not complaints
        answer = json.loads(text)
        assert answer["answered_by"] == "a"
        mine, = [m for m in answer["members"] if m["is_self"]]
        assert mine["name"] == "a" and mine["zone"] == "zone-a"
        assert answer["mesh"]["state"] in ("off", "ok", "alone")
        text, _ = prober("members", "--api", api)
        assert re.search(r"^a \* +zone-a ", text, re.M), text
        assert text.isascii() and "this node" in text
        a.end()
        _, complaints = prober("members", "--api", api, code=FAILED)
        line, = lines(complaints)
        assert "Connection refused" in line, line


# What api.listen may say: an address alone has the port of the default.
LISTEN = [":7171", "127.0.0.1:7171", "0.0.0.0", "10.77.1.1", "10.77.1.1:7171",
          "::1", "[::1]:7171", "::", "[::]:7171"]


def health_asks_where_the_variable_says():
    with Bed() as bed:
        host = bed.host("a")
        host.run("ip", "address", "add", "10.77.1.1/32", "dev", "lo")
        for number, listen in enumerate(LISTEN):
            variables = [f"PROBER_API_LISTEN={listen}"]
            node = host.spawn(
                ["env", *variables, "PROBER_PROBE_LISTEN=127.0.0.1:7443",
                 "PROBER_CONTROL_LISTEN=off", PROBER, "run"], f"node{number}")
            node.wait_for("started")
            said = host.run("env", *variables, PROBER, "health")
            assert said == "alive\n", (listen, said)
            node.stop()


if __name__ == "__main__":
    tap.run([
        help_is_no_error_and_explains_every_command,
        keygen_makes_a_new_key_each_time,
        keygen_makes_tokens_and_their_lines_apart,
        keygen_adds_tokens_to_a_file, version_speaks_text_and_json,
        wrong_usage_is_two_and_says_what_is_wrong,
        a_slip_gets_a_suggestion,
        every_error_of_a_file_is_given_with_its_place,
        a_syntax_error_has_a_place_too,
        a_good_file_is_fine,
        an_unreadable_file_is_a_failure,
        a_variable_overrides_and_is_named_when_wrong,
        a_taken_port_is_one_line_and_one,
        a_missing_certificate_is_one_line_and_one,
        run_ends_with_zero_when_told_to,
        one_attempt_in_text_is_a_waterfall,
        samples_in_json_add_up,
        a_summary_counts_them_all,
        many_attempts_in_text_are_lines_and_a_summary,
        a_failed_probe_is_three,
        a_missed_slot_is_no_failure,
        attempts_start_on_the_interval,
        concurrency_bounds_what_is_in_flight,
        warm_attempts_share_a_connection,
        ctrl_c_prints_the_summary_so_far,
        ctrl_c_before_any_answer_is_three,
        a_reader_that_leaves_is_a_failure_and_no_crash,
        a_full_disk_is_a_failure,
        colours_are_for_terminals_that_want_them,
        the_matrix_of_a_running_node_is_shown,
        the_members_of_a_running_node_are_shown,
        health_asks_where_the_variable_says,
    ])
