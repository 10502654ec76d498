#!/usr/bin/python3
"""The door of the control port, tried by who should not get in, and by who
may get in and behaves badly: real sockets, a real daemon, best with
sanitizers. What each refusal means is in the unit tests; here it is that
nothing falls over, nothing is confused and nothing grows."""
import contextlib
import hashlib
import json
import os
import random
import secrets
import select
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import warnings

import h2frames
import netbed
import nodes
import tap
from netbed import Bed

TOKENS = {role: secrets.token_urlsafe(32) for role in ("viewer", "admin")}
SEED = int(os.environ.get("SEED", "1"))
STORM_S = float(os.environ.get("STORM_S", "6"))

CONFIG = """\
node: {{name: a, zone: zone-a}}
probe: {{listen: "{where}:7443", cold_interval: 1s, warm_interval: 100ms}}
api: {{listen: "{where}:7070"}}
tls: {{certificate: {path}/a.crt, key: {path}/a.key, ca: {path}/ca.crt}}
control:
  tokens_file: {path}/tokens
  requests_per_minute: 1000
{control}
peers:
  - {{name: self, zone: zone-b, address: "{where}:7443"}}
"""


def start(bed, control):
    netbed.authority(bed.path)
    where = nodes.address(1)
    netbed.certificate(bed.path, "a", [f"IP:{where}"])
    tokens = bed.file("tokens", "".join(
        f"{role} {role} sha256:{hashlib.sha256(token.encode()).hexdigest()}\n"
        for role, token in TOKENS.items()))
    os.chmod(tokens, 0o600)
    config = bed.file("a.yaml", CONFIG.format(
        path=bed.path, where=where, control="\n".join(
            "  " + line for line in control.format(
                path=bed.path, where=where).splitlines())))
    node = nodes.Node(bed, "a", where, config)
    node.wait()
    return node


CLEAR = 'listen: "{where}:7090"\ninsecure: true'
TLS = ('listen: "{where}:7090"\nclient_ca: {path}/ca.crt\n'
       "certificates: [{{name: ops.example, role: admin}}]")


def end(node, seconds=20):
    """It stops in order, and no sanitizer has complained."""
    node.process.signal(signal.SIGTERM)
    netbed.until(lambda: not node.process.is_alive(), seconds, "its end")
    said = node.process.text()
    assert not nodes.has_findings(said), said[-4000:]


def bearer(role):
    return f"Authorization: Bearer {TOKENS[role]}\r\n".encode()


def say(node, data, seconds=5):
    """All that is answered to these bytes until the other side closes."""
    with socket.create_connection((node.address, 7090), seconds) as s:
        s.sendall(data)
        with contextlib.suppress(OSError):
            s.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(OSError):
            while piece := s.recv(65536):
                got += piece
        return got


# ---- who should not get in ----

HEALTHY = (
    b"GET /-/healthy/../../v1/status HTTP/1.1\r\nHost: localhost\r\n",
    b"GET /-/healthy/v1/status HTTP/1.1\r\nHost: localhost\r\n",
    b"GET /v1/status/-/healthy HTTP/1.1\r\nHost: localhost\r\n",
    b"GET /v1/status?/-/healthy HTTP/1.1\r\nHost: localhost\r\n",
    b"GET //-/healthy HTTP/1.1\r\nHost: localhost\r\n",
    b"GET /v1/status;/-/healthy HTTP/1.1\r\nHost: localhost\r\n",
    b"POST /-/healthy HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n",
    b"GET http://localhost/v1/status HTTP/1.1\r\nHost: localhost\r\n",
    b"GET http://localhost/v1/status HTTP/1.0\r\n",
    b"GET http:///v1/status HTTP/1.1\r\nHost: localhost\r\n",
    b"GET https://localhost/v1/status HTTP/1.1\r\nHost: localhost\r\n",
    b"GET HTTP://localhost/v1/status HTTP/1.1\r\nHost: localhost\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n",
    b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n",
    b"TRACE /v1/status HTTP/1.1\r\nHost: localhost\r\n",
)


def without_credentials_there_is_no_way_around():
    with Bed() as bed:
        node = start(bed, CLEAR)
        for head in HEALTHY:
            got = say(node, head + b"\r\n")
            assert got.startswith(b"HTTP/1.1 4"), (head, got)
            assert b'"node"' not in got and b"ok\n" not in got, (head, got)
        # Once more with what would be credentials, twice or elsewhere.
        good, bad = bearer("admin"), b"Authorization: Bearer " + b"x" * 43
        for fields in (good + good, bad + b"\r\n" + good,
                       good + b"Host: other\r\n", good + b"Origin: null\r\n",
                       good + b"Origin:\r\n",
                       b"X: y\n" + good, b"X: y\r" + good,
                       good.replace(b": ", b" : "), b" " + good,
                       good.replace(b"Bearer", b"Bearer "),
                       good.replace(b"Bearer", b"Basic")):
            got = say(node, b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n"
                      + fields + b"\r\n")
            assert got.startswith(b"HTTP/1.1 4"), (fields, got)
            assert b'"node"' not in got, (fields, got)
        end(node)


def drain(fields, body=b""):
    return (b"POST /v1/drain HTTP/1.1\r\nHost: localhost\r\n" + fields
            + b"\r\n" + body)


def a_body_is_never_a_request():
    with Bed() as bed:
        node = start(bed, CLEAR)
        inner = drain(bearer("admin") + b"Content-Length: 0\r\n")
        size = b"Content-Length: %d\r\n"
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)
        chunked = b"Transfer-Encoding: chunked\r\n"
        first = {
            "GET": b"GET /v1/status", "HEAD": b"HEAD /-/healthy",
            "POST": b"POST /v1/nothing", "DELETE": b"DELETE /v1/probes/0",
            "PUT": b"PUT /v1/status", "/-/": b"POST /-/healthy"}
        for name, line in first.items():
            head = line + b" HTTP/1.1\r\nHost: localhost\r\n"
            for fields, body in (
                    (size % len(inner), inner), (chunked, chunk),
                    (size % len(inner) + chunked, chunk),
                    (chunked + size % 3, chunk),
                    (size % len(inner) * 2, inner),
                    (size % len(inner) + size % 0, inner),
                    (b"Content-Length: +%d\r\n" % len(inner), inner),
                    (b"Content-Length: 0x%x\r\n" % len(inner), inner),
                    (b"Transfer-Encoding: xchunked\r\n", chunk),
                    (b"Transfer-Encoding : chunked\r\n", chunk),
                    (b"Transfer-Encoding: identity, chunked\r\n", chunk)):
                got = say(node, head + fields + b"\r\n" + body)
                assert b"draining" not in got, (name, fields, got)
        # One behind the other are two, and each needs its own.
        got = say(node, drain(bearer("viewer") + size % 0)
                  + drain(size % 0) + drain(bearer("viewer") + size % 0))
        assert [s[:3] for s in got.split(b"HTTP/1.1 ")[1:]] == [
            b"403", b"401", b"403"], got
        assert node.process.is_alive()
        assert b'"draining":false' in say(
            node, b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n"
            + bearer("viewer") + b"\r\n")
        # All this was about something.
        assert b'"draining":true' in say(
            node, drain(bearer("admin") + size % 0))
        end(node)


# ---- TLS ----

def curl(node, *more):
    done = subprocess.run(
        ["curl", "-sS", "-k", "--max-time", "10", "-w",
         "\n%{http_code} %{http_version}", *more,
         f"https://{node.address}:7090/v1/status"],
        capture_output=True, text=True, check=False)
    body, _, what = done.stdout.rpartition("\n")
    return what, body


def handshake(node, **options):
    """The protocol that was agreed upon; raises if there was none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if "alpn" in options:
        context.set_alpn_protocols(options["alpn"])
    if "maximum" in options:
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.maximum_version = options["maximum"]
    if "certificate" in options:
        context.load_cert_chain(*options["certificate"])
    with socket.create_connection((node.address, 7090), 5) as raw, \
            context.wrap_socket(raw) as s:
        s.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return s.selected_alpn_protocol(), s.recv(100)


def is_refused(node, **options):
    try:
        handshake(node, **options)
    except (ssl.SSLError, OSError):
        return True
    return False


def nameless(path):
    """A client's certificate by the CA without any alternative name."""
    netbed.run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:P-256", "-nodes", "-subj",
               "/CN=ops.example/emailAddress=ops.example", "-keyout",
               "n.key", "-out", "n.csr", cwd=path)
    netbed.run("openssl", "x509", "-req", "-in", "n.csr", "-CA", "ca.crt",
               "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-out",
               "n.crt", cwd=path)
    return f"{path}/n.crt", f"{path}/n.key"


def curl_gets_the_json_over_tls_as_it_is():
    with Bed() as bed:
        node = start(bed, TLS)
        token = ("-H", f"Authorization: Bearer {TOKENS['viewer']}")
        for more in ((), ("--http2",), ("--http1.1",), ("--no-alpn",)):
            what, body = curl(node, *token, *more)
            assert what == "200 1.1", (more, what, body)
            assert '"node":"a"' in body, body
        assert curl(node)[0] == "401 1.1"
        end(node)


def tls_is_not_talked_down():
    with Bed() as bed:
        node = start(bed, TLS)
        assert handshake(node, alpn=["h2", "http/1.1"])[0] == "http/1.1"
        assert handshake(node)[0] is None
        assert is_refused(node, alpn=["spdy/3"])
        assert is_refused(node, maximum=ssl.TLSVersion.TLSv1_1)
        got = handshake(node, maximum=ssl.TLSVersion.TLSv1_2)
        assert got[1].startswith(b"HTTP/1.1 200"), got
        # Who agreed on HTTP/2 and speaks HTTP/1.1 hears GOAWAY at the most.
        assert b"HTTP/1.1" not in handshake(node, alpn=["h2"])[1]
        # Renegotiation, of TLS 1.2.
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"{node.address}:7090",
             "-tls1_2"], input="R\n", capture_output=True, text=True,
            check=False, timeout=20)
        assert "no renegotiation" in done.stderr, done.stderr[-500:]
        end(node)


def a_certificate_without_a_name_is_nobodys():
    with Bed() as bed:
        node = start(bed, TLS)
        crt, key = nameless(bed.path)
        assert curl(node, "--cert", crt, "--key", key)[0] == "401 1.1"
        crt, key = netbed.certificate(bed.path, "ops.example",
                                      ["DNS:ops.example"])
        assert curl(node, "--cert", crt, "--key", key)[0] == "200 1.1"
        # Expired, or by another CA of the same name: no handshake.
        old = netbed.certificate(bed.path, "old", ["DNS:ops.example"], -1)
        assert is_refused(node, certificate=old)
        os.mkdir(f"{bed.path}/other")
        netbed.authority(f"{bed.path}/other")
        forged = netbed.certificate(f"{bed.path}/other", "ops.example",
                                    ["DNS:ops.example"])
        assert is_refused(node, certificate=forged)
        end(node)


# ---- who grows ----

def is_sanitized():
    """Its allocator keeps what is freed."""
    with open(netbed.PROBER, "rb") as program:
        return b"__asan_init" in program.read()


def rss_kib(node):
    with open(f"/proc/{node.process.pid}/status",
              encoding="ascii") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    raise AssertionError("no VmRSS")


def unfinished(streams, size):
    """Requests over HTTP/2 whose bodies do not end."""
    out = h2frames.PREFACE + h2frames.settings()
    out += h2frames.window(0, (1 << 30))
    fields = (("content-type", "application/grpc"),)
    for i in range(streams):
        number = 2 * i + 1
        out += h2frames.request(number, end=False, method="POST",
                                path="/prober.v1.Control/Probe", extra=fields)
        body = b"\0" * size
        while body:
            out += h2frames.frame(h2frames.DATA, 0, number, body[:8000])
            body = body[8000:]
    return out


def strangers_bodies_cost_little():
    if is_sanitized():
        raise tap.Skip("sanitizers keep what is freed")
    with Bed() as bed, contextlib.ExitStack() as stack:
        node = start(bed, CLEAR)
        before = rss_kib(node)
        data = unfinished(60, 16000)
        peak = 0
        for _ in range(100):
            s = stack.enter_context(
                socket.create_connection((node.address, 7090), 5))
            s.settimeout(2)
            with contextlib.suppress(OSError):
                s.sendall(data)
        until = time.monotonic() + 3  # it is given five seconds
        while time.monotonic() < until:
            peak = max(peak, rss_kib(node))
            time.sleep(0.05)
        assert peak - before < 32 * 1024, (before, peak)
        end(node)


# ---- everything at once ----

def connect_to(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(3)
    s.connect(path)
    return s


PROBE = (b'{"target":"self","count":20,"interval_ms":100,'
         b'"timeout_ms":1000}')


def post(path, body=b""):
    return (b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body)


def vanish(s, dice):
    s.sendall(post(b"/v1/probes", PROBE))
    if dice.random() < 0.5:
        s.recv(200)


def cut(s, dice):
    whole = post(b"/v1/probes", PROBE)
    s.sendall(whole[:dice.randrange(len(whole))])


def pipeline(s, dice):
    s.sendall(post(b"/v1/probes", PROBE) * 3 + b"GET /v1/status HTTP/1.1\r\n"
              b"Host: x\r\n\r\n")
    s.recv(dice.randrange(1, 2000))


def flood(s, dice):
    s.sendall(post(b"/v1/probes", PROBE))
    s.setblocking(False)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        select.select([], [s], [], 0.1)
        s.send(dice.randbytes(4096))


def cancel(s, dice):
    s.sendall(post(b"/v1/probes", PROBE))
    head = s.recv(2000)
    at = head.find(b"Prober-Probe-Id: ")
    if at < 0:
        return
    number = head[at + 17:at + 49]
    with connect_to(s.getpeername()) as other:
        other.sendall(b"DELETE /v1/probes/" + number + b" HTTP/1.1\r\n"
                      b"Host: x\r\n\r\n"
                      + b"DELETE /v1/probes/" + number + b" HTTP/1.1\r\n"
                      b"Host: x\r\n\r\n")
        other.recv(dice.randrange(1, 500))


def reload(s, dice):
    s.sendall(post(b"/v1/reload") * dice.randrange(1, 3))
    s.recv(500)


def call(s, dice):
    """gRPC: streams that open, are asked, reset and left."""
    out = h2frames.PREFACE + h2frames.settings(
        (h2frames.INITIAL_WINDOW_SIZE, dice.choice((0, 10, 65535))))
    grpc = (("content-type", "application/grpc"), ("te", "trailers"))
    message = b"\x0a\x04self\x20\x05"  # target, and so on
    paths = {"/prober.v1.Control/Probe": message,
             "/grpc.health.v1.Health/Watch": b"",
             "/grpc.health.v1.Health/Check": b"",
             "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":
                 b"\x3a\0"}
    for i in range(dice.randrange(1, 12)):
        path = dice.choice(list(paths))
        body = struct.pack(">BI", 0, len(paths[path])) + paths[path]
        out += h2frames.request(2 * i + 1, end=False, method="POST", path=path,
                                extra=grpc)
        out += h2frames.frame(h2frames.DATA, dice.choice((0, 1)), 2 * i + 1,
                              body)
        if dice.random() < 0.3:
            out += h2frames.reset(2 * i + 1)
    s.sendall(out[:dice.choice((len(out), dice.randrange(len(out))))])
    s.recv(dice.randrange(1, 4000))


def storm(path, seed, until):
    dice = random.Random(seed)
    while time.monotonic() < until:
        with contextlib.suppress(OSError), connect_to(path) as s:
            dice.choice((vanish, cut, pipeline, flood, cancel, reload,
                         call, call))(s, dice)
            if dice.random() < 0.2:
                time.sleep(dice.random() * 0.5)


def a_storm_of_bad_manners_is_survived():
    with Bed() as bed:
        node = start(bed, 'listen: "unix:{path}/c.sock"\n'
                          "audit_file: {path}/audit.log")
        path = f"{bed.path}/c.sock"
        until = time.monotonic() + STORM_S
        threads = [threading.Thread(target=storm, args=(path, SEED + i, until))
                   for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with connect_to(path) as s:
            s.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
            assert s.recv(100).startswith(b"HTTP/1.1 200")
        # And once more while it stops, with answers under way.
        until = time.monotonic() + 2
        threads = [threading.Thread(target=storm, args=(path, i, until))
                   for i in range(12)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        end(node)
        for thread in threads:
            thread.join()
        # What was begun has ended, and was told once each.
        with open(f"{bed.path}/audit.log", encoding="utf-8") as file:
            said = [json.loads(line) for line in file]
        begun = [s["id"] for s in said if s["audit"] == "probe_begin"]
        ended = [s["id"] for s in said if s["audit"] == "probe_end"]
        cancelled = [s["id"] for s in said if s["audit"] == "cancel"]
        assert len(begun) > 20, len(begun)
        assert sorted(begun) == sorted(ended)
        assert len(set(cancelled)) == len(cancelled) > 0


tap.run([
    (without_credentials_there_is_no_way_around, a_body_is_never_a_request),
    (curl_gets_the_json_over_tls_as_it_is, tls_is_not_talked_down,
     a_certificate_without_a_name_is_nobodys),
    strangers_bodies_cost_little,
    a_storm_of_bad_manners_is_survived,
])
