#!/usr/bin/python3
"""What `prober probe` measures is what the wire and the other side did.

Lengths are made by the link emulator and are never shorter than asked; how
much longer is up to the machine, so medians are held to wide bounds. How
exact the phases are is measured elsewhere, against a capture, by
test/bench/truth.py.
"""
import importlib.util
import json
import pathlib
import statistics
import subprocess
import sys

import tap
from netbed import PROBER, Bed, run, why_not

NEAR, FAR, NAME = "10.77.0.2", "10.77.0.1", "far.test"
HERE = pathlib.Path(__file__).resolve().parent
MS = 10**6


class Pair:
    """A host that probes and one that is probed, and a CA."""

    def __init__(self, bed, link=None):
        self.bed = bed
        self.near, self.far = bed.host("near"), bed.host("far")
        self.cable = bed.cable(self.near, f"{NEAR}/24", self.far,
                               f"{FAR}/24", link)
        self.ca = bed.authority()
        bed.certificate("far", [f"DNS:{NAME}", f"IP:{FAR}"])

    def probe(self, url, *options, count=1, ca=True):
        """Samples, in the order in which they ended."""
        argv = [PROBER, "probe", url, "--count", str(count), "-o", "json",
                *options]
        if ca and url.split(":")[0] in ("https", "grpcs"):
            argv += ["--ca", self.ca]
        done = subprocess.run([*self.near.enter, *argv], check=False,
                              text=True, capture_output=True)
        samples = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(samples) == count, (argv, done)
        for sample in samples:
            check(sample)
        return samples

    def one(self, url, *options, **more):
        return self.probe(url, *options, **more)[0]

    def ends(self, url, outcome, phase, *options, **more):
        """One attempt at `url` ends like this; returns its sample."""
        sample = self.one(url, *options, **more)
        assert (sample["outcome"], sample["failed_phase"]) == (
            outcome, phase), sample
        return sample

    def faulty(self, *specs):
        process = self.far.spawn([sys.executable, HERE / "faulty.py", FAR,
                                  *specs], log="faulty.log")
        for spec in specs:
            process.wait_port(int(spec.split("=")[0]))


def check(sample):
    """What holds of every sample."""
    phases = sample["phases_ns"]
    assert list(phases) == ["dns", "connect", "tls", "ttfb", "transfer",
                            "local"]
    assert all(v is None or v >= 0 for v in phases.values()), sample
    if sample["outcome"] == "ok":
        assert sample["total_ns"] == sum(v or 0 for v in phases.values())
        assert sample["failed_phase"] is None and sample["error"] is None
    else:
        # The phases that came before the one that failed are kept, and
        # nothing behind it.
        assert sample["total_ns"] is None
        assert phases["local"] is None, sample
        failed = list(phases).index(sample["failed_phase"])
        assert not any(list(phases.values())[failed + 1:]), sample


def median_ms(samples, phase):
    return statistics.median(s["phases_ns"][phase] for s in samples) / MS


FAST = ("--interval", "0", "--concurrency", "1")


# ---- lengths ---------------------------------------------------------------

def each_phase_is_one_round_trip_of_a_long_link():
    with Bed() as bed:
        pair = Pair(bed, ["--delay", "20"])
        bed.resolver(pair.far, FAR, {NAME: FAR})
        bed.nginx(pair.far, FAR, "far")
        for url in f"https://{NAME}:8443/", f"grpcs://{NAME}:8443":
            samples = pair.probe(url, "--dns", FAR, *FAST, count=10)
            for s in samples:
                assert s["outcome"] == "ok" and s["clock"] == "kernel", s
                assert s["tls"]["version"] == "TLSv1.3"
                assert s["tcp"]["retransmits"] == 0
            for phase in "dns", "connect", "tls", "ttfb":
                assert 39 <= median_ms(samples, phase) <= 46, (
                    phase, median_ms(samples, phase))
                assert min(s["phases_ns"][phase] for s in samples) > 39 * MS
            assert median_ms(samples, "transfer") < 4
            assert median_ms(samples, "local") < 20


def a_lost_syn_is_latency_of_connect_and_a_retransmit():
    with Bed() as bed:
        pair = Pair(bed, ["--delay", "1", "--drop-ab", "1"])
        bed.nginx(pair.far, FAR, "far")
        first, second = pair.probe(f"http://{FAR}:8080/", *FAST, count=2)
        assert first["outcome"] == second["outcome"] == "ok"
        assert 1000 * MS <= first["phases_ns"]["connect"] < 1300 * MS, first
        assert first["tcp"]["retransmits"] == 1, first
        assert first["phases_ns"]["ttfb"] < 500 * MS
        assert second["tcp"]["retransmits"] == 0
        assert second["phases_ns"]["connect"] < 500 * MS


def a_lost_answer_is_latency_of_ttfb_and_not_of_connect():
    """The SYN-ACK is the server's first frame, its answer the third."""
    with Bed() as bed:
        pair = Pair(bed, ["--delay", "1", "--drop-ba", "3"])
        bed.nginx(pair.far, FAR, "far")
        sample = pair.one(f"http://{FAR}:8080/")
        assert sample["outcome"] == "ok", sample
        assert sample["phases_ns"]["connect"] < 100 * MS
        assert sample["phases_ns"]["ttfb"] > 150 * MS, sample


def a_slow_server_moves_server_and_ttfb_and_nothing_else():
    with Bed() as bed:
        pair = Pair(bed, ["--delay", "5"])
        for port, delay in (7443, "0ms"), (7444, "30ms"):
            config = bed.file(f"{port}.yaml", NODE.format(
                port=port, delay=delay, path=bed.path, far=FAR))
            pair.far.spawn([PROBER, "run", "--config", config],
                           log=f"{port}.log").wait_port(port)
        for scheme, path in ("https", "/probe"), ("grpcs", ""):
            quick, slow = (pair.probe(f"{scheme}://{FAR}:{port}{path}",
                                      *FAST, count=10)
                           for port in (7443, 7444))
            for s in quick + slow:
                assert s["outcome"] == "ok", s
                assert s["server_ns"] <= s["phases_ns"]["ttfb"], s
            for phase in "connect", "tls", "transfer":
                moved = median_ms(slow, phase) - median_ms(quick, phase)
                assert abs(moved) < 5, (scheme, phase, moved)
            server = [statistics.median(s["server_ns"] for s in samples) / MS
                      for samples in (quick, slow)]
            assert server[0] < 5, server
            assert min(s["server_ns"] for s in slow) >= 30 * MS, scheme
            assert server[1] < 40, server
            moved = median_ms(slow, "ttfb") - median_ms(quick, "ttfb")
            assert 25 <= moved <= 40, (scheme, moved)
            # What is left of the wait is the network's, however slow the
            # server was.
            for samples in quick, slow:
                share = statistics.median(s["phases_ns"]["ttfb"]
                                          - s["server_ns"] for s in samples)
                assert 9.9 * MS <= share < 16 * MS, (scheme, share)
            # On a held connection too, where more than requests arrives.
            for s in pair.probe(f"{scheme}://{FAR}:7444{path}", "--warm",
                                *FAST, count=6):
                assert s["server_ns"] >= 30 * MS, s


NODE = """\
node: {{name: far-{port}, zone: z}}
probe: {{listen: "{far}:{port}", response_delay: {delay}}}
api: {{listen: "{far}:1{port}"}}
tls: {{certificate: {path}/far.crt, key: {path}/far.key, ca: {path}/ca.crt}}
"""


def ten_thousand_attempts_add_up_and_have_the_kernels_clock():
    with Bed() as bed:
        pair = Pair(bed)
        bed.nginx(pair.far, FAR, "far")
        for url, count in ((f"https://{FAR}:8443/", 10000),
                           (f"grpcs://{FAR}:8443", 2000),
                           (f"http://{FAR}:8080/", 10000)):
            samples = pair.probe(url, "--interval", "0", "--concurrency",
                                 "8", count=count)
            bad = [s for s in samples if s["outcome"] != "ok"
                   or s["clock"] != "kernel"]
            assert not bad, (len(bad), bad[0])


# ---- how it can end --------------------------------------------------------

def names_that_do_not_resolve_end_in_dns():
    with Bed() as bed:
        pair = Pair(bed)
        bed.nginx(pair.far, FAR, "far")
        real = "--dns", f"{FAR}:5353"
        bed.resolver(pair.far, FAR, {NAME: FAR}, port=5353)
        assert pair.one(f"http://{NAME}:8080/", *real)["outcome"] == "ok"
        pair.ends("http://no.test:8080/", "dns_nxdomain", "dns", *real)

        pair.far.spawn([sys.executable, HERE / "faulty.py", FAR, "--dns"],
                       log="dns.log").wait_port(53, "udp")
        for label, outcome in (("servfail", "dns_servfail"),
                               ("refused", "dns_error"),
                               ("empty", "dns_error")):
            pair.ends(f"http://{label}.test:8080/", outcome, "dns", "--dns",
                      FAR)
        # c-ares may refuse what is no answer, or go on waiting for one.
        garbage = pair.one("http://garbage.test:8080/", "--dns", FAR)
        assert garbage["failed_phase"] == "dns", garbage
        assert garbage["outcome"] in ("dns_error", "dns_timeout"), garbage
        # By our own deadline, and by the resolver library's patience.
        pair.ends("http://silent.test:8080/", "dns_timeout", "dns", "--dns",
                  FAR, "--timeout", "500ms")
        pair.ends("http://silent.test:8080/", "dns_timeout", "dns", "--dns",
                  FAR, "--timeout", "10s")
        late = pair.one("http://late.test:8080/", "--dns", FAR)
        assert late["outcome"] == "ok", late
        assert 300 * MS <= late["phases_ns"]["dns"] < 800 * MS, late
        # The second family is asked when the first has no address.
        only = pair.one("http://v6only.test:8080/", "--dns", FAR)
        assert only["failed_phase"] == "connect", only
        assert only["phases_ns"]["dns"] is not None, only


def a_dead_resolver_is_not_mistaken_for_a_bad_name():
    with Bed() as bed:
        pair = Pair(bed)
        dead = pair.one(f"http://{NAME}/", "--dns", "198.51.100.53",
                        "--timeout", "2s")
        assert dead["failed_phase"] == "dns", dead
        pair.near.run("ip", "route", "add", "198.51.100.0/24", "via", FAR)
        pair.ends(f"http://{NAME}/", "dns_timeout", "dns", "--dns",
                  "198.51.100.53", "--timeout", "2s")
        closed = pair.one(f"http://{NAME}/", "--dns", FAR, "--timeout", "2s")
        assert closed["failed_phase"] == "dns", closed
        assert closed["outcome"] in ("dns_error", "dns_timeout"), closed


def connections_that_fail_say_how():
    with Bed() as bed:
        pair = Pair(bed)
        pair.ends(f"http://{FAR}:1/", "connect_refused", "connect")
        pair.ends("http://192.0.2.1/", "connect_unreachable", "connect")
        # By a router on the way, which says so...
        pair.near.run("ip", "route", "add", "198.51.100.0/24", "via", FAR)
        pair.far.run("ip", "route", "add", "unreachable", "198.51.100.2")
        pair.far.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        pair.ends("http://198.51.100.2/", "connect_unreachable", "connect",
                  "--timeout", "3s")
        # ... or which does not.
        pair.far.run("ip", "route", "add", "blackhole", "198.51.100.3")
        lost = pair.ends("http://198.51.100.3/", "connect_timeout", "connect",
                         "--timeout", "1500ms")
        assert lost["phases_ns"]["connect"] is None
        assert lost["tcp"]["retransmits"] == 1, lost


def peers_that_misbehave_are_told_apart():
    with Bed() as bed:
        pair = Pair(bed)
        secure = f"{bed.path}/far"
        modes = ["silent", "reset", "close", "garbage", "half", "large",
                 "refuse", "ok"]
        pair.faulty(*(f"{1000 + i}={m}" for i, m in enumerate(modes)),
                    *(f"{2000 + i}={m},{secure}"
                      for i, m in enumerate(modes)),
                    f"3000=ok,{secure},old", f"3001=ok,{secure},client",
                    f"3002=ok,{secure},http/1.1")
        wanted = {"silent": ("response_timeout", "ttfb"),
                  "reset": ("reset", "ttfb"),
                  "close": ("eof", "ttfb"),
                  # Something was answered, so the wait for it is over.
                  "garbage": ("http_malformed", "transfer"),
                  "half": ("response_timeout", "transfer"),
                  "large": ("http_too_large", "transfer"),
                  "refuse": ("http_status", "transfer"),
                  "ok": ("ok", None)}
        for i, mode in enumerate(modes):
            for url in (f"http://{FAR}:{1000 + i}/",
                        f"https://{FAR}:{2000 + i}/"):
                outcome, phase = wanted[mode]
                sample = pair.ends(url, outcome, phase, "--timeout", "700ms")
                assert sample["phases_ns"]["connect"] is not None
                assert (sample["phases_ns"]["ttfb"] is None) == (
                    phase == "ttfb"), sample
        # Instead of a handshake.
        for mode, outcome in (("silent", "tls_timeout"), ("reset", "reset"),
                              ("close", "eof"), ("garbage", "tls_error")):
            url = f"https://{FAR}:{1000 + modes.index(mode)}/"
            if mode == "garbage":
                # It reads a head first; a ClientHello is none.
                outcome = "tls_timeout"
            pair.ends(url, outcome, "tls", "--timeout", "700ms")
        # Only an old version, or a certificate wanted from us.
        pair.ends(f"https://{FAR}:3000/", "tls_alert", "tls")
        asked = pair.one(f"https://{FAR}:3001/")
        assert asked["outcome"] in ("tls_alert", "tls_error"), asked
        # Plain HTTP where TLS is spoken.
        plain = pair.one(f"http://{FAR}:3002/", "--timeout", "700ms")
        assert plain["outcome"] in ("http_malformed", "eof", "reset"), plain
        # An HTTP/1.1 server is no gRPC server, with ALPN or without.
        for port in 3002, 2000 + modes.index("ok"):
            pair.ends(f"grpcs://{FAR}:{port}", "tls_alpn", "tls")


def certificates_are_refused_for_the_right_reason():
    with Bed() as bed:
        pair = Pair(bed)
        bed.certificate("expired", [f"DNS:{NAME}"], days=-1)
        bed.certificate("other", ["DNS:other.test"])
        pair.faulty(*(f"{port}=ok,{bed.path}/{name}" for port, name in
                      ((1, "far"), (2, "expired"), (3, "other"))))
        by_name = "--resolve", FAR
        mark = run("openssl", "x509", "-in", f"{bed.path}/far.crt", "-noout",
                   "-fingerprint", "-sha256").split("=")[1].strip()
        mark = "sha256:" + mark.replace(":", "").lower()
        other = "sha256:" + "00" * 32

        good = pair.one(f"https://{NAME}:1/", *by_name)
        assert good["outcome"] == "ok", good
        pair.ends(f"https://{NAME}:2/", "tls_expired", "tls", *by_name)
        pair.ends(f"https://{NAME}:3/", "tls_name_mismatch", "tls", *by_name)
        pair.ends(f"https://{NAME}:1/", "tls_untrusted", "tls", *by_name,
                  ca=False)
        pair.ends(f"https://{NAME}:1/", "tls_untrusted", "tls", *by_name,
                  "--fingerprint", other, ca=False)
        for port, outcome in (1, "ok"), (3, "tls_untrusted"):
            sample = pair.one(f"https://{NAME}:{port}/", *by_name,
                              "--fingerprint", mark, ca=False)
            assert sample["outcome"] == outcome, sample
        refused = pair.ends(f"https://{NAME}:2/", "tls_expired", "tls",
                            *by_name)
        assert refused["phases_ns"]["connect"] is not None
        assert refused["tls"]["not_after"], refused
        assert pair.one(f"https://{NAME}:3/", *by_name, "--insecure",
                        ca=False)["outcome"] == "ok"


def health_servers_of_others_are_understood():
    if not importlib.util.find_spec("grpc"):
        raise tap.Skip("python3-grpcio is not installed")
    with Bed() as bed:
        pair = Pair(bed)
        server = pair.far.spawn(
            [sys.executable, HERE / "grpc_health.py", f"{FAR}:5000",
             f"{bed.path}/far.crt", f"{bed.path}/far.key"], log="grpc.log")
        server.wait_for("ready")
        url = f"grpcs://{FAR}:5000"
        good = pair.probe(url, *FAST, count=20)
        for s in good:
            assert s["outcome"] == "ok" and s["clock"] == "kernel", s
            assert s["grpc"] == {"status": 0, "serving": "SERVING"}, s
        assert pair.one(url, "--service", "good")["outcome"] == "ok"

        def said(service, outcome, **wanted):
            sample = pair.one(url, "--service", service)
            assert sample["outcome"] == outcome, sample
            for key, value in wanted.items():
                assert sample["grpc"].get(key) == value, sample
        said("bad", "grpc_not_serving", status=0, serving="NOT_SERVING")
        said("missing", "grpc_status", status=5)
        said("odd", "grpc_not_serving", status=0)
        said("nothing", "grpc_not_serving", serving="UNKNOWN")
        other = pair.one(f"grpcs://{FAR}:5001")
        assert other["outcome"] == "grpc_status", other
        assert other["grpc"]["status"] == 12, other  # UNIMPLEMENTED
        slow = pair.one(url, "--service", "slow", "--timeout", "500ms")
        assert slow["outcome"] in ("response_timeout", "grpc_status"), slow
        # On one connection, kept.
        warm = pair.probe(url, "--warm", *FAST, count=20)
        assert all(s["outcome"] == "ok" for s in warm)
        assert sum(s.get("reconnected") or False for s in warm) == 1


if __name__ == "__main__":
    tap.run([
        each_phase_is_one_round_trip_of_a_long_link,
        a_lost_syn_is_latency_of_connect_and_a_retransmit,
        a_lost_answer_is_latency_of_ttfb_and_not_of_connect,
        a_slow_server_moves_server_and_ttfb_and_nothing_else,
        ten_thousand_attempts_add_up_and_have_the_kernels_clock,
        names_that_do_not_resolve_end_in_dns,
        a_dead_resolver_is_not_mistaken_for_a_bad_name,
        connections_that_fail_say_how,
        peers_that_misbehave_are_told_apart,
        certificates_are_refused_for_the_right_reason,
        health_servers_of_others_are_understood,
    ], why_not("dnsmasq", "nginx"))
