"""A control port made up here: what it answers, and when, is a function of the
test's, so that it can lie, dawdle, and vanish."""
import json
import os
import select
import socket
import ssl
import threading


class Request:
    def __init__(self, method, path, fields, body):
        self.method, self.path, self.fields = method, path, fields
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)


class Answer:
    """The server's end of one connection."""

    def __init__(self, sock, server):
        self.sock, self.server = sock, server

    def raw(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def whole(self, status, body, content_type="application/json"):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.raw(f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\n"
                 f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def stream(self, identity="0" * 32):
        """The head of an NDJSON stream."""
        self.raw("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
                 f"Prober-Probe-Id: {identity}\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n")

    def chunk(self, data):
        data = data if isinstance(data, bytes) else data.encode()
        self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    def lines(self, *values):
        for value in values:
            self.chunk(json.dumps(value) + "\n")

    def end(self):
        self.raw("0\r\n\r\n")

    def is_gone(self, seconds=0.0):
        """Has the client closed its side, or does so within that time?"""
        if not select.select([self.sock], [], [], seconds)[0]:
            return False
        try:
            return not self.sock.recv(1, socket.MSG_PEEK)
        except OSError:
            return True


class Control:
    """Listens on a unix socket (`path`) or an address, with TLS if there is a
    context; each request is given to script(request, answer), in a thread."""

    def __init__(self, script, path=None, address=None, tls=None):
        self.script, self.tls = script, tls
        self.is_abrupt = False  # leave TLS without a word
        self.requests = []
        self.stopped = threading.Event()
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.url = f"unix:{path}"
        else:
            self.listener = socket.create_server((address, 0))
            port = self.listener.getsockname()[1]
            scheme = "https" if tls else "http"
            self.url = f"{scheme}://{address}:{port}"
        self.path = path
        self.listener.listen(16)
        self.threads = []
        self.accepting = threading.Thread(target=self._accept)
        self.accepting.start()

    def _accept(self):
        while not self.stopped.is_set():
            if not select.select([self.listener], [], [], 0.05)[0]:
                continue
            sock, _ = self.listener.accept()
            thread = threading.Thread(target=self._serve, args=[sock])
            thread.start()
            self.threads.append(thread)

    def _serve(self, sock):
        sock.settimeout(30)
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            request = self._read(sock)
            if request:
                self.requests.append(request)
                self.script(request, Answer(sock, self))
            if self.tls and not self.is_abrupt:
                sock.unwrap()
        except (OSError, ssl.SSLError):
            pass  # whoever asked has gone
        finally:
            sock.close()

    @staticmethod
    def _read(sock):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = sock.recv(65536)
            if not piece:
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        fields = {}
        for line in rest:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        while len(body) < int(fields.get("content-length", 0)):
            piece = sock.recv(65536)
            if not piece:
                return None
            body += piece
        return Request(method, path, fields, body)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.accepting.join()
        self.listener.close()
        for thread in self.threads:
            thread.join(35)
        if self.path:
            os.unlink(self.path)


# ---- what a stream consists of ------------------------------------------

PHASES = ("dns", "connect", "tls", "ttfb", "transfer", "local")


def sample(node="a-1", zone="a", outcome="ok", connect_us=400, **more):
    phases = dict(zip(PHASES, (None, connect_us * 1000, 900_000, 500_000,
                               20_000, 30_000)))
    is_ok = outcome == "ok"
    if not is_ok:
        phases.update(tls=None, ttfb=None, transfer=None)
    return {"target": "https://b-1.test/probe", "protocol": "http1",
            "mode": "cold", "from": {"node": node, "zone": zone},
            "address": "10.0.0.7:7443", "local_address": "10.0.0.5:40312",
            "started_at": "2026-01-01T00:00:00.000Z", "outcome": outcome,
            "failed_phase": None if is_ok else "tls",
            "error": None if is_ok else "reset by peer", "clock": "kernel",
            "phases_ns": phases,
            "total_ns": sum(v for v in phases.values() if v) if is_ok else None,
            "server_ns": None, "lag_ns": 1000, "start_lag_ns": 2000, **more}


def quantiles(count, p50):
    return {"count": count, "p50": p50, "p90": p50, "p99": 2 * p50,
            "max": 3 * p50}


def done(zone="a", attempts=1, ok=None, state="done", missed=0,
         connect=400_000, baseline=None):
    ok = attempts if ok is None else ok
    return {"zone": zone, "state": state, "attempts": attempts, "ok": ok,
            "missed": missed,
            "phases": {"connect": quantiles(ok, connect)} if ok else {},
            "baseline": {"window_s": 900, "phases": {
                "connect": quantiles(99, baseline)}} if baseline else None}


def summary(nodes, outcomes=None, cancelled=False):
    attempts = sum(n["attempts"] for n in nodes.values())
    ok = sum(n["ok"] for n in nodes.values())
    outcomes = outcomes or {"ok": ok}
    return {"summary": {
        "id": "0" * 32, "target": "https://b-1.test/probe",
        "protocol": "http1", "mode": "cold", "cancelled": cancelled,
        "attempts": attempts, "ok": ok, "failed": attempts - ok -
        outcomes.get("cancelled", 0), "outcomes": outcomes, "from": nodes}}
