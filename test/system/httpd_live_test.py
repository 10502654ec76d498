#!/usr/bin/python3
"""The server of the control port over real sockets: unix and TLS, bodies,
answers that wait, clients that stall, flood and vanish.

usage: httpd_live_test.py HTTPD_LIVE_SERVER     prints TAP

A system test: it opens sockets on 127.0.0.1 and in a directory of its own,
and waits for short deadlines.
"""
import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

SERVER = sys.argv[1]
DIR = tempfile.mkdtemp(prefix="httpd-live-")


def path(name):
    return os.path.join(DIR, name)


def make_certificates():
    def run(*words):
        subprocess.run(["openssl", *words], check=True, cwd=DIR,
                       capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for ca in ("ca", "other"):
        run("req", "-x509", *key, "-keyout", f"{ca}.key", "-out", f"{ca}.pem",
            "-subj", f"/CN={ca}", "-days", "2")
    for name, ca, san in (
            ("server", "ca", "IP:127.0.0.1"),
            ("client", "ca", "DNS:Ops.example,URI:spiffe://mesh/ci,"
             "email:a@b.test"),
            ("stranger", "other", "DNS:ops.example")):
        with open(path(name + ".ext"), "w", encoding="ascii") as f:
            f.write(f"subjectAltName={san}\n")
        run("req", *key, "-keyout", name + ".key", "-out", name + ".csr",
            "-subj", "/CN=" + name)
        run("x509", "-req", "-in", name + ".csr", "-CA", ca + ".pem", "-CAkey",
            ca + ".key", "-CAcreateserial", "-days", "2", "-extfile",
            name + ".ext", "-out", name + ".pem")


TLS = ["cert=" + path("server.pem"), "key=" + path("server.key"),
       "ca=" + path("ca.pem")]


class Server:
    def __init__(self, *options):
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen([SERVER, *options],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])
        self.pid = self.process.pid
        self.is_tls = any(o.startswith("cert=") for o in options)
        self.unix = next((o[5:] for o in options if o.startswith("unix=")),
                         None)

    def connect(self, receive_buffer=None):
        s = socket.socket(socket.AF_UNIX if self.unix else socket.AF_INET)
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.settimeout(20)
        s.connect(self.unix or ("127.0.0.1", self.port))
        return s

    def open(self, certificate=None, alpn=("http/1.1",), receive_buffer=None):
        """A connection to talk on, with TLS if the server has it."""
        s = self.connect(receive_buffer)
        if not self.is_tls:
            return s
        context = ssl.create_default_context(cafile=path("ca.pem"))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if certificate:
            context.load_cert_chain(path(certificate + ".pem"),
                                    path(certificate + ".key"))
        return context.wrap_socket(s, server_hostname="127.0.0.1")

    def rss_bytes(self):
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def counts(self):
        return tuple(map(int, ask(self, "/count")[1].split()))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(10)
        assert code == 0, f"server ended with {code}"


@contextlib.contextmanager
def server(*options):
    s = Server(*options)
    try:
        yield s
        s.stop()
    finally:
        s.process.kill()
        s.process.wait()
        s.process.stdout.close()
        if s.unix:
            os.unlink(s.unix)


# Every kind of socket; many claims hold for all of them.
KINDS = {"tcp": [], "unix": ["unix=" + path("sock")], "tls": TLS}


def each_kind(*options):
    for kind, more in KINDS.items():
        with server(*more, *options) as srv:
            yield kind, srv


def read_one(s):
    r = http.client.HTTPResponse(s)
    r.begin()
    return r.status, r.read()


def read_all(s):
    data = b""
    while piece := s.recv(65536):
        data += piece
    return data


def request(target, method="GET", fields="", body=""):
    return (f"{method} {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"
            f"{body}").encode()


def ask(srv, target, certificate=None, **words):
    s = srv.open(certificate)
    s.sendall(request(target, **words))
    status, body = read_one(s)
    s.close()
    return status, body.decode()


def eventually(what, seconds=5):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def read_lines(s, n):
    data = b""
    while data.count(b'{"line":1}\n') < n:
        piece = s.recv(65536)
        assert piece, data
        data += piece
    return data


# ---- tests: each a claim ----

def bodies_reach_the_handler():
    for kind, srv in each_kind():
        s = srv.open()
        for body in ("{}", "x" * 16384):
            s.sendall(request("/echo", "POST",
                              f"Content-Length: {len(body)}\r\n", body))
            assert read_one(s) == (200, body.encode()), kind
        s.sendall(request("/echo", "POST", "Transfer-Encoding: chunked\r\n",
                          "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
        assert read_one(s) == (200, b"abcde"), kind
        s.close()


def curl_agrees():
    if not shutil.which("curl"):
        return "curl is not installed"
    for kind, srv in each_kind():
        where = {"tcp": [f"http://127.0.0.1:{srv.port}/echo"],
                 "unix": ["--unix-socket", srv.unix, "http://localhost/echo"],
                 "tls": ["--cacert", path("ca.pem"), "--http1.1",
                         f"https://127.0.0.1:{srv.port}/echo"]}[kind]
        for options in ([], ["-H", "Expect: 100-continue"],
                        ["-H", "Transfer-Encoding: chunked"]):
            out = subprocess.run(
                ["curl", "-sS", "-f", "-g", "--noproxy", "*", "--data-binary",
                 "a" * 5000, *options, *where],
                capture_output=True, check=False, timeout=30)
            assert out.returncode == 0, (kind, options, out.stderr)
            assert out.stdout == b"a" * 5000, (kind, options)
    return None


def the_kernel_says_who_is_at_a_unix_socket():
    with server("unix=" + path("sock")) as srv:
        text = ask(srv, "/peer")[1]
        groups = ",".join(map(str, os.getgroups()))
        assert text == (f"local=1 tls=0 uid={os.getuid()} gid={os.getgid()} "
                        f"pid={os.getpid()} groups={groups} names="), text


def a_certificate_says_who_is_at_the_other_end():
    with server(*TLS) as srv:
        assert ask(srv, "/peer")[1].endswith(" names="), "none was shown"
        text = ask(srv, "/peer", certificate="client")[1]
        assert text == ("local=0 tls=1 uid=0 gid=0 pid=0 groups= names="
                        "ops.example,spiffe://mesh/ci,a@b.test"), text
        try:
            status = ask(srv, "/peer", certificate="stranger")
            assert False, status
        except (ssl.SSLError, ConnectionError, http.client.HTTPException):
            pass


def alpn_is_http1_only_here():
    with server(*TLS) as srv:
        s = srv.open(alpn=None)
        assert s.selected_alpn_protocol() is None
        s.sendall(request("/count"))
        assert read_one(s)[0] == 200
        s.close()


def lines_leave_as_they_come():
    for kind, srv in each_kind():
        s = srv.open()
        began = time.monotonic()
        s.sendall(request("/live?ms=100"))
        data = s.recv(4096)
        assert data.startswith(b"HTTP/1.1 200 OK\r\n"), kind
        assert time.monotonic() - began < 0.09, "the head waits for nothing"
        read_lines(s, 3)
        took = time.monotonic() - began
        assert 0.28 < took < 0.6, (kind, took)
        s.close()


def an_answer_may_come_later():
    for kind, srv in each_kind():
        s = srv.open()
        began = time.monotonic()
        s.sendall(request("/later?ms=150"))
        assert read_one(s) == (200, b"late\n"), kind
        assert time.monotonic() - began > 0.14
        s.sendall(request("/count"))
        assert read_one(s)[0] == 200
        s.close()


def who_goes_ends_a_live_answer():
    linger = b"\1\0\0\0\0\0\0\0"
    for kind, srv in each_kind():
        for is_reset in (False, True):
            for ms in (20, 100000):
                before = srv.counts()
                s = srv.open()
                s.sendall(request(f"/live?ms={ms}"))
                s.recv(4096)
                if is_reset:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                s.close()
                eventually(lambda b=before, c=srv: c.counts() ==
                           (b[0] + 1, b[1] + 1))
        assert kind


def what_is_sent_behind_a_live_request_does_not_hide_the_end():
    for _, srv in each_kind():
        s = srv.open()
        s.sendall(request("/live?ms=100000"))
        s.recv(4096)
        s.sendall(b"x" * 100000)
        s.close()
        eventually(lambda c=srv: c.counts() == (1, 1))
        s = srv.open()
        s.sendall(request("/live?ms=100000"))
        s.recv(4096)
        with contextlib.suppress(OSError):
            for _ in range(64):
                s.sendall(b"x" * 65536)
        s.close()
        eventually(lambda c=srv: c.counts() == (2, 2))


def a_reader_that_stops_is_cut_off():
    for kind, srv in each_kind("write_ms=500"):
        held = []
        for _ in range(8):
            s = srv.open(receive_buffer=4096)
            s.sendall(request("/flood"))
            held.append(s)
        time.sleep(0.2)
        assert srv.counts() == (8, 0), kind
        eventually(lambda c=srv: c.counts() == (8, 8))
        assert srv.rss_bytes() < 64 << 20
        for s in held:
            s.close()


def a_silent_client_is_cut_off_in_the_handshake():
    with server(*TLS, "handshake_ms=400") as srv:
        began = time.monotonic()
        silent = srv.connect()
        half = srv.connect()
        half.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        for s in (silent, half):
            with contextlib.suppress(ConnectionResetError):
                assert s.recv(1) == b""
            s.close()
        assert 0.35 < time.monotonic() - began < 1.5


def garbage_in_place_of_tls_is_survived():
    with server(*TLS, "linger_ms=100") as srv:
        for i in range(200):
            s = srv.connect()
            with contextlib.suppress(OSError):
                s.sendall(os.urandom(1 + i * 7) if i % 2 else
                          b"\x16\x03\x01" + os.urandom(i))
                s.shutdown(socket.SHUT_WR)
                read_all(s)
            s.close()
        assert ask(srv, "/count")[0] == 200


def one_user_gets_its_share():
    with server("unix=" + path("sock"), "per_user=4") as srv:
        held = [srv.connect() for _ in range(4)]
        for s in held:
            s.sendall(request("/count"))
            assert read_one(s)[0] == 200
        s = srv.connect()
        assert read_all(s).startswith(b"HTTP/1.1 503 ")
        s.close()
        held.pop().close()

        def is_served():
            with contextlib.suppress(OSError, http.client.HTTPException):
                return ask(srv, "/count")[0] == 200

        eventually(is_served)
        for s in held:
            s.close()


def stalled_clients_cost_little():
    """Numbers for the record; the bounds are far above."""
    n = 100
    notes = []
    for kind, srv in each_kind("per_loopback=128"):
        with open(f"/proc/{srv.pid}/statm", encoding="ascii") as f:
            # gcc's is a library, clang's is not; both reserve terabytes.
            if int(f.read().split()[0]) > 1 << 28:
                return "AddressSanitizer's memory is not ours"
        ask(srv, "/count")
        before = srv.rss_bytes()
        # Without a byte; in the middle of the first flight; and, with TLS,
        # after a whole handshake.
        for stage in ("silent", "half", "open"):
            held = []
            for _ in range(n):
                s = srv.open() if stage == "open" else srv.connect()
                if stage == "half":
                    s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
                              if kind == "tls" else b"POST /echo HTTP/1.1\r\n")
                held.append(s)
            eventually(lambda c=srv, want=n: c.descriptors() >= want)
            time.sleep(0.1)
            each = (srv.rss_bytes() - before) / n / 1024
            notes.append(f"{kind} {stage}: {each:.0f} KiB each")
            assert each < 160, notes
            for s in held:
                s.close()
            eventually(lambda c=srv, want=n: c.descriptors() < want // 2)
    return "# " + "; ".join(notes)


def handshakes_do_not_hold_up_the_others():
    with server(*TLS) as srv:
        s = srv.open()
        stop = threading.Event()

        def load():
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    srv.open().close()

        threads = [threading.Thread(target=load) for _ in range(4)]
        for t in threads:
            t.start()
        times = []
        for _ in range(100):
            t = time.monotonic()
            s.sendall(request("/count"))
            assert read_one(s)[0] == 200
            times.append(time.monotonic() - t)
        stop.set()
        for t in threads:
            t.join()
        s.close()
        times.sort()
        assert times[50] < 0.1, times


def who_is_connected_is_served_when_nobody_new_is():
    for kind, srv in each_kind():
        s = srv.open()
        live = srv.open()
        live.sendall(request("/live?ms=20"))
        read_lines(live, 1)
        srv.process.send_signal(signal.SIGUSR1)

        def is_refused(c=srv):
            try:
                c.connect().close()
                return False
            except ConnectionRefusedError:
                return True

        eventually(is_refused)
        s.sendall(request("/count"))
        assert read_one(s) == (200, b"1 0"), kind
        read_lines(live, 3)
        s.close()
        live.close()


def stopping_ends_what_is_live():
    for _, srv in each_kind():
        held = []
        for target in ("/live?ms=20", "/live?ms=100000", "/flood",
                       "/later?ms=100000"):
            s = srv.open(receive_buffer=4096)
            s.sendall(request(target))
            held.append(s)
        held.append(srv.connect())
        eventually(lambda c=srv: c.counts()[0] == 4)
        srv.stop()  # which demands that as many were done as begun
        for s in held:
            s.close()


TESTS = [
    bodies_reach_the_handler,
    curl_agrees,
    the_kernel_says_who_is_at_a_unix_socket,
    a_certificate_says_who_is_at_the_other_end,
    alpn_is_http1_only_here,
    lines_leave_as_they_come,
    an_answer_may_come_later,
    who_goes_ends_a_live_answer,
    what_is_sent_behind_a_live_request_does_not_hide_the_end,
    a_reader_that_stops_is_cut_off,
    a_silent_client_is_cut_off_in_the_handshake,
    garbage_in_place_of_tls_is_survived,
    one_user_gets_its_share,
    stalled_clients_cost_little,
    handshakes_do_not_hold_up_the_others,
    who_is_connected_is_served_when_nobody_new_is,
    stopping_ends_what_is_live,
]


def main():
    make_certificates()
    print(f"1..{len(TESTS)}")
    failed = 0
    for number, test in enumerate(TESTS, 1):
        name = test.__name__
        try:
            note = test()
            if note and not note.startswith("#"):
                print(f"ok {number} - {name} # SKIP {note}")
            else:
                print(f"ok {number} - {name}" + (f"\n{note}" if note else ""))
        except Exception as e:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {number} - {name}")
            text = re.sub(r"\s+", " ", str(e))[:500]
            where = e.__traceback__.tb_next.tb_lineno
            print(f"# {type(e).__name__} at line {where}: {text}")
        sys.stdout.flush()
    shutil.rmtree(DIR)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
