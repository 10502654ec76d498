#!/usr/bin/python3
"""The control port's gRPC side, asked by other people's clients.

The server is test/control_grpc_server.c: the real sessions on a real port,
inquiries that are made up; one claim has a whole node instead. The clients are Debian's gRPC for Python, with
messages that are built from what reflection says, and grpcurl where there is
one: in $GRPCURL, in the path, or made by Go, if that is here and reaches its
module proxy.

usage: test_grpc.py     prints TAP
"""
import atexit
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

os.environ["no_proxy"] = os.environ["NO_PROXY"] = "*"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
try:
    import grpc
    from google.protobuf import (descriptor_pb2, descriptor_pool,
                                 message_factory)
    WHY_SKIP = None
except ImportError:
    WHY_SKIP = "not installed: python3-grpcio"

import tap  # noqa: E402

GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
FILES = {"prober/v1/control.proto": "control.proto",
         "grpc/health/v1/health.proto": "health.proto",
         "grpc/reflection/v1/reflection.proto": "reflection_v1.proto",
         "grpc/reflection/v1alpha/reflection.proto":
             "reflection_v1alpha.proto"}
SERVICES = {"prober.v1.Control", "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection"}
GOOD = (("authorization", "Bearer good"),)
TARGET = "http://127.0.0.7/"


def get_class(pool, name):
    return message_factory.MessageFactory(pool).GetPrototype(
        pool.FindMessageTypeByName(name))


def described_by_protoc():
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc", *(f"-I{n}={PROTO / f}"
                                    for n, f in FILES.items()),
                        f"--descriptor_set_out={out.name}", *FILES],
                       check=True)
        return descriptor_pb2.FileDescriptorSet.FromString(out.read())


class Server:
    def __init__(self, *args):
        self.process = subprocess.Popen(
            [os.environ["CONTROL_GRPC_SERVER"], *args],
            stdout=subprocess.PIPE, text=True)
        word, port = self.process.stdout.readline().split()
        assert word == "port"
        self.port = int(port)
        self.address = f"127.0.0.1:{port}"

    def counts(self):
        self.process.send_signal(signal.SIGUSR2)
        words = self.process.stdout.readline().split()
        return int(words[1]), int(words[3])

    def wait_until_closed(self, timeout_s=5):
        end = time.monotonic() + timeout_s
        while True:
            started, closed = self.counts()
            if started == closed or time.monotonic() > end:
                assert started == closed, (started, closed)
                return
            time.sleep(0.02)


def is_sanitized():
    server = pathlib.Path(os.environ["CONTROL_GRPC_SERVER"])
    return b"__asan_init" in server.read_bytes()


def memory_kib(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status")
    return int(status.read_text("ascii").split("VmRSS:")[1].split()[0])


@contextlib.contextmanager
def serving(*args):
    server = Server(*args)
    try:
        yield server
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
    finally:
        server.process.kill()
        server.process.wait()
        server.process.stdout.close()


@contextlib.contextmanager
def connected(options=()):
    with serving() as server:
        with grpc.insecure_channel(server.address, options) as channel:
            yield server, channel


def reflect(channel, version, questions):
    """The answers to questions that are dicts of one field."""
    pool = descriptor_pool.DescriptorPool()
    for file in described_by_protoc().file:
        pool.Add(file)
    package = f"grpc.reflection.{version}"
    ask = get_class(pool, f"{package}.ServerReflectionRequest")
    tell = get_class(pool, f"{package}.ServerReflectionResponse")
    call = channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=ask.SerializeToString,
        response_deserializer=tell.FromString)
    return list(call((ask(**q) for q in questions), metadata=GOOD,
                     timeout=10))


def learn(channel, version="v1"):
    """All that is served, as a pool that knows nothing else."""
    listed, = reflect(channel, version, [{"list_services": ""}])
    names = {s.name for s in listed.list_services_response.service}
    assert names == SERVICES, names
    pool = descriptor_pool.DescriptorPool()
    seen = set()
    for answer in reflect(channel, version,
                          [{"file_containing_symbol": n} for n in names]):
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            if file.name not in seen:
                seen.add(file.name)
                pool.Add(file)
    return pool


class Control:
    def __init__(self, channel):
        pool = learn(channel)
        self.request = get_class(pool, "prober.v1.ProbeRequest")
        self.event = get_class(pool, "prober.v1.ProbeEvent")
        self.call = channel.unary_stream(
            "/prober.v1.Control/Probe",
            request_serializer=self.request.SerializeToString,
            response_deserializer=self.event.FromString)

    def probe(self, metadata=GOOD, timeout=10, **fields):
        return self.call(self.request(**fields), metadata=metadata,
                         timeout=timeout)


def status_of(call):
    try:
        list(call)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


def reflection_says_what_protoc_says():
    want = {f.name: f for f in described_by_protoc().file}
    with connected() as (_, channel):
        for version in "v1", "v1alpha":
            answers = reflect(channel, version,
                              [{"file_by_filename": n} for n in FILES])
            for name, answer in zip(FILES, answers):
                data, = answer.file_descriptor_response.file_descriptor_proto
                got = descriptor_pb2.FileDescriptorProto.FromString(data)
                assert got == want[name], name
                assert (answer.original_request.file_by_filename == name)


def what_reflection_does_not_know_is_an_answer():
    with connected() as (_, channel):
        for version in "v1", "v1alpha":
            answers = reflect(channel, version, [
                {"file_by_filename": "x.proto"},
                {"file_containing_symbol": "prober.v1.Nothing"},
                {"all_extension_numbers_of_type": "x.Y"},
                {"list_services": "*"}])
            assert [a.error_response.error_code for a in answers] == [
                5, 5, 5, 0]


def every_event_arrives_as_it_happens():
    with connected() as (server, channel):
        call = Control(channel).probe(target=TARGET, count=5, interval_ms=100)
        times, events = [], []
        for event in call:
            times.append(time.monotonic())
            events.append(event)
        kinds = [e.WhichOneof("event") for e in events]
        assert kinds == ["sample"] * 5 + ["summary"], kinds
        assert times[4] - times[0] > 0.3, times
        server.wait_until_closed()

        first = events[0].sample
        assert (first.from_node, first.from_zone) == ("a-1", "a")
        assert first.to_zone == "b\ufffd"
        assert first.address == "127.0.0.7:7443"
        assert first.started_at == "2026-01-01T00:00:00.000Z"
        assert (first.protocol, first.outcome) == ("http1", "ok")
        assert first.phases.HasField("dns_ns") and first.phases.dns_ns == 0
        assert not first.phases.HasField("tls_ns")
        assert first.phases.connect_ns == 4000000
        assert first.total_ns == 4000000
        assert not first.HasField("server_ns")
        assert first.HasField("retransmits") and first.retransmits == 0
        assert not first.HasField("grpc_status")
        second = events[1].sample
        assert second.HasField("grpc_status") and second.grpc_status == 0
        assert (second.protocol, second.grpc_serving) == ("grpc", "SERVING")

        summary = events[5].summary
        assert (summary.attempts, summary.ok, summary.failed) == (5, 5, 0)
        assert dict(summary.outcomes) == {"ok": 5}
        assert len(summary.executors) == 2
        executor = summary.executors[1]
        assert executor.state == "done" and executor.baseline_s == 900
        assert executor.baseline["connect"].p99_ns == 2 ** 63 - 1
        assert executor.baseline["tls"].count == 1000


def our_bytes_are_those_of_protobuf():
    """Whoever reads and writes a message of ours again changes nothing."""
    with connected() as (_, channel):
        control = Control(channel)
        call = channel.unary_stream("/prober.v1.Control/Probe")
        request = control.request(target="many", count=2, interval_ms=20)
        for data in call(request.SerializeToString(), metadata=GOOD):
            event = control.event.FromString(data)
            again = event.SerializeToString(deterministic=True)
            assert control.event.FromString(again) == event
            assert len(again) == len(data)


def a_summary_of_256_executors_arrives_whole():
    with connected() as (_, channel):
        *_, last = Control(channel).probe(target="many", interval_ms=10)
        assert len(last.summary.executors) == 256
        assert len(last.summary.executors[255].baseline) == 8


def refusals_have_their_status():
    with connected() as (_, channel):
        control = Control(channel)
        for fields, status in [
                ({"target": "unknown"}, "NOT_FOUND"),
                ({"target": "busy"}, "RESOURCE_EXHAUSTED"),
                ({"target": "denied"}, "PERMISSION_DENIED"),
                ({"target": TARGET, "protocol": "h3"}, "INVALID_ARGUMENT"),
                ({"target": TARGET, "from": "zone:"}, "INVALID_ARGUMENT"),
                ({"target": "x" * 3000}, "INVALID_ARGUMENT"),
                ({"target": "x" * 5000}, "RESOURCE_EXHAUSTED"),
                ({"target": "x" * 50000}, "RESOURCE_EXHAUSTED")]:
            got = status_of(control.probe(**fields))
            assert got[0] == status, (fields, got)
        for metadata in (), (("authorization", "Bearer bad"),):
            got = status_of(control.probe(target=TARGET, metadata=metadata))
            assert got[0] == "UNAUTHENTICATED", got
        nothing = channel.unary_unary("/prober.v1.Control/Nothing")
        with contextlib.suppress(grpc.RpcError):
            assert not nothing(b"", metadata=GOOD)
        gzip = control.call(control.request(target=TARGET), metadata=GOOD,
                            compression=grpc.Compression.Gzip)
        assert status_of(gzip)[0] == "UNIMPLEMENTED"


def a_deadline_ends_the_inquiry():
    with connected() as (server, channel):
        got = status_of(Control(channel).probe(target=TARGET, count=1000,
                                               timeout=0.4))
        assert got[0] == "DEADLINE_EXCEEDED", got
        server.wait_until_closed()


def cancelling_ends_the_inquiry():
    with connected() as (server, channel):
        call = Control(channel).probe(target=TARGET, count=1000,
                                      interval_ms=20)
        next(call)
        assert server.counts() == (1, 0)
        call.cancel()
        server.wait_until_closed()


def a_vanished_client_ends_the_inquiry():
    with serving() as server:
        child = os.fork()
        if child == 0:
            channel = grpc.insecure_channel(server.address)
            for _ in Control(channel).probe(target=TARGET, count=1000,
                                            interval_ms=20):
                os._exit(0)  # no goodbye
        os.waitpid(child, 0)
        server.wait_until_closed()


def a_client_that_does_not_read_is_waited_for():
    with connected() as (server, channel):
        call = Control(channel).probe(target="flood", timeout=120)
        next(call)
        before = memory_kib(server)
        time.sleep(1)
        assert is_sanitized() or memory_kib(server) - before < 4096
        assert sum(1 for _ in call) == 100000  # and the summary
        server.wait_until_closed()


def a_channel_is_used_by_many_calls():
    with connected() as (server, channel):
        control = Control(channel)
        calls = [control.probe(target=TARGET, count=1000, interval_ms=20)
                 for _ in range(40)]
        next(calls[-1])
        assert server.counts()[0] == 40
        for call in calls:
            call.cancel()
        server.wait_until_closed()


def keepalive_of_a_long_call_is_no_flood():
    options = (("grpc.keepalive_time_ms", 100),
               ("grpc.keepalive_timeout_ms", 5000),
               ("grpc.http2.max_pings_without_data", 0))
    with connected(options) as (_, channel):
        events = list(Control(channel).probe(target=TARGET, count=300,
                                             interval_ms=10))
        assert len(events) == 301


def health_is_told_and_watched():
    with connected() as (server, channel):
        health = "/grpc.health.v1.Health/"
        check = channel.unary_unary(health + "Check")
        watch = channel.unary_stream(health + "Watch")
        assert check(b"") == b"\x08\x01"
        assert check(b"\x0a\x11prober.v1.Control") == b"\x08\x01"
        assert status_of(channel.unary_stream(health + "Check")(
            b"\x0a\x01x"))[0] == "NOT_FOUND"
        assert status_of(watch(b""))[0] == "UNAUTHENTICATED"
        told = watch(b"", metadata=GOOD)
        assert next(told) == b"\x08\x01"
        server.process.send_signal(signal.SIGUSR1)
        assert next(told) == b"\x08\x02"
        assert check(b"") == b"\x08\x02"
        told.cancel()


def http1_is_served_beside_it():
    with serving() as server:
        with socket.create_connection(("127.0.0.1", server.port)) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                      b"\r\n")
            assert s.makefile("rb").readline().startswith(b"HTTP/1.1 404 ")


_GRPCURL = []


def find_grpcurl():
    if not _GRPCURL:
        _GRPCURL.append(os.environ.get("GRPCURL") or shutil.which("grpcurl")
                        or make_grpcurl())
    if not _GRPCURL[0]:
        raise tap.Skip("no grpcurl here, and Go cannot make one")
    return _GRPCURL[0]


def make_grpcurl():
    if not shutil.which("go"):
        return None
    folder = tempfile.mkdtemp(prefix="prober-grpcurl-")
    atexit.register(shutil.rmtree, folder, True)
    try:
        subprocess.run(["go", "install", GRPCURL], capture_output=True,
                       env={**os.environ, "GOBIN": folder}, check=True,
                       timeout=240)
    except (subprocess.SubprocessError, OSError):
        return None
    return f"{folder}/grpcurl"


def grpcurl(server, *args):
    got = subprocess.run(
        [find_grpcurl(), "-plaintext", "-H", "authorization: Bearer good",
         *args[:-1], server.address, *args[-1]], capture_output=True,
        text=True, timeout=60, check=False)
    return got.returncode, got.stdout, got.stderr


def grpcurl_lists_and_describes():
    find_grpcurl()
    with serving() as server:
        code, out, err = grpcurl(server, ["list"])
        assert code == 0 and set(out.split()) == SERVICES, (out, err)
        for symbol in ("prober.v1.Control", "prober.v1.Control.Probe",
                       "prober.v1.ProbeEvent", "prober.v1.Sample",
                       "grpc.health.v1.HealthCheckResponse.ServingStatus"):
            code, out, err = grpcurl(server, ["describe", symbol])
            assert code == 0 and symbol in out, (symbol, out, err)
        code, out, err = grpcurl(server, ["describe", "prober.v1.Nothing"])
        assert code != 0 and "not found" in err.lower(), (code, err)


def grpcurl_probes():
    find_grpcurl()
    with serving() as server:
        ask = json.dumps({"target": TARGET, "count": 3, "intervalMs": 20})
        code, out, err = grpcurl(server, "-d", ask,
                                 ["prober.v1.Control/Probe"])
        assert code == 0, err
        assert out.count('"sample"') == 3 and out.count('"summary"') == 1, out
        assert '"connectNs": "4000000"' in out, out
        ask = json.dumps({"target": "denied"})
        code, out, err = grpcurl(server, "-d", ask,
                                 ["prober.v1.Control/Probe"])
        assert "PermissionDenied" in err and out == "", (code, out, err)
        code, out, err = grpcurl(server, "-max-time", "0.5", "-d",
                                 json.dumps({"target": TARGET, "count": 999}),
                                 ["prober.v1.Control/Probe"])
        assert "DeadlineExceeded" in err, (code, out, err)
        code, out, err = grpcurl(server, ["grpc.health.v1.Health/Check"])
        assert code == 0 and "SERVING" in out, (out, err)
        server.wait_until_closed()


def a_unix_socket_needs_no_token():
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/control.sock"
        with serving(path) as server, \
                grpc.insecure_channel(f"unix:{path}") as channel:
            reflect_all = channel.stream_stream(
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
            assert len(list(reflect_all(iter([b"\x3a\x00"] * 3)))) == 3
            probe = channel.unary_stream("/prober.v1.Control/Probe")
            target = TARGET.encode()
            assert len(list(probe(b"\x0a" + bytes([len(target)]) + target,
                                  timeout=10))) == 2
            server.wait_until_closed()


def grpcurl_knows_unix_sockets():
    find_grpcurl()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/control.sock"
        with serving(path):
            got = subprocess.run(
                [find_grpcurl(), "-plaintext", "-d",
                 json.dumps({"target": TARGET}), f"unix://{path}",
                 "prober.v1.Control/Probe"], capture_output=True, text=True,
                timeout=60, check=False)
            assert got.returncode == 0, got
            assert got.stdout.count('"summary"') == 1, got


DAEMON = """\
node: {{name: a-1, zone: a, region: r}}
probe: {{listen: "127.0.1.1:0", tls: false}}
api: {{listen: "127.0.1.1:0"}}
control: {{listen: "unix:{folder}/control.sock"}}
targets:
  - {{name: it, url: "http://127.0.0.1:{port}/", protocol: http1}}
"""


def a_running_node_serves_it():
    """The real inquiries behind it; what is probed is the made-up server."""
    with tempfile.TemporaryDirectory() as folder, serving() as target:
        config = pathlib.Path(folder, "prober.yaml")
        config.write_text(DAEMON.format(folder=folder, port=target.port),
                          encoding="ascii")
        with open(f"{folder}/log", "w", encoding="utf-8") as log:
            node = subprocess.Popen(
                [os.environ["PROBER"], "run", "--config", config],
                stdout=log, stderr=log)
        try:
            with grpc.insecure_channel(
                    f"unix:{folder}/control.sock") as channel:
                grpc.channel_ready_future(channel).result(timeout=20)
                control = Control(channel)
                events = list(control.probe(target="it", count=3,
                                            interval_ms=50, metadata=()))
                got = [e.sample.http_status for e in events[:-1]]
                assert got == [404] * 3, events
                assert events[0].sample.outcome == "http_status"
                summary = events[-1].summary
                assert (summary.attempts, summary.failed) == (3, 3), summary
                assert summary.executors[0].state == "done"
                denied = status_of(control.probe(
                    target="http://169.254.169.254/", metadata=()))
                assert denied[0] == "PERMISSION_DENIED", denied
                assert status_of(control.probe(
                    target="nobody", metadata=()))[0] == "NOT_FOUND"
            node.send_signal(signal.SIGTERM)
            assert node.wait(20) == 0
        finally:
            node.kill()
            node.wait()


def forty_clients_at_once_get_theirs():
    with serving() as server:
        failed = []

        def ask():
            with grpc.insecure_channel(server.address) as channel:
                check = channel.unary_unary("/grpc.health.v1.Health/Check")
                for _ in range(20):
                    if check(b"", timeout=10) != b"\x08\x01":
                        failed.append(1)
        threads = [threading.Thread(target=ask) for _ in range(40)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failed


CLAIMS = [
    a_vanished_client_ends_the_inquiry,  # it forks: before gRPC has threads
    reflection_says_what_protoc_says,
    what_reflection_does_not_know_is_an_answer,
    every_event_arrives_as_it_happens,
    our_bytes_are_those_of_protobuf,
    a_summary_of_256_executors_arrives_whole,
    refusals_have_their_status,
    a_deadline_ends_the_inquiry,
    cancelling_ends_the_inquiry,
    a_client_that_does_not_read_is_waited_for,
    a_channel_is_used_by_many_calls,
    keepalive_of_a_long_call_is_no_flood,
    health_is_told_and_watched,
    http1_is_served_beside_it,
    a_unix_socket_needs_no_token,
    a_running_node_serves_it,
    forty_clients_at_once_get_theirs,
    grpcurl_lists_and_describes,
    grpcurl_probes,
    grpcurl_knows_unix_sockets,
]

if __name__ == "__main__":
    chosen = [c for c in CLAIMS if not sys.argv[1:]
              or c.__name__ in sys.argv[1:]]
    tap.run(chosen, WHY_SKIP)
