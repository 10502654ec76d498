#!/usr/bin/python3
"""The metrics of real daemons, read by who they are for: a Prometheus, its
promtool, and clients that ask for this format or that."""
import gzip
import http.client
import itertools
import json
import pathlib
import re
import shutil
import subprocess
import time
import urllib.parse

import nodes
import tap
from netbed import PROBER, Bed, run, until, why_not

A, B = "10.77.0.2", "10.77.0.1"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
WINDOW_S = 30

NODE = """\
node: {{name: {name}, zone: zone-{name}, region: r1}}
probe: {{listen: "{address}:7443", cold_interval: 1s, warm_interval: 100ms}}
api: {{listen: "{address}:7070"}}
tls: {{certificate: {path}/{name}.crt, key: {path}/{name}.key, ca: {path}/ca.crt}}
peers:
  - {{name: {other}, zone: zone-{other}, region: r1, address: "{there}:7443"}}
"""

PROMETHEUS = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: coarse
    static_configs: [{{targets: ["{a}:7070", "{b}:7070"]}}]
  - job_name: fine
    params: {{buckets_per_octave: ["4"]}}
    static_configs: [{{targets: ["{a}:7070"]}}]
"""


class Far:
    """Two nodes with a long and uneven link between them, and a Prometheus
    beside the first."""

    def __init__(self, bed):
        self.a, b = bed.host("near"), bed.host("far")
        bed.cable(self.a, f"{A}/24", b, f"{B}/24",
                  link=["--delay", "10", "--jitter", "4"])
        bed.authority()
        for host, here, there, other in (self.a, A, B, "far"), (b, B, A, "near"):
            bed.certificate(host.name, [f"IP:{here}"])
            config = bed.file(f"{host.name}.yaml", NODE.format(
                name=host.name, address=here, path=bed.path, other=other,
                there=there))
            host.spawn([PROBER, "run", "--config", config],
                       log=f"{host.name}.log").wait_for("started", 30)
        config = bed.file("prometheus.yml", PROMETHEUS.format(a=A, b=B))
        self.prometheus = self.a.spawn(
            ["prometheus", f"--config.file={config}",
             f"--storage.tsdb.path={bed.path}/tsdb",
             "--web.listen-address=127.0.0.1:9090"], log="prometheus.log")
        self.prometheus.wait_for("Server is ready", 60)

    def get(self, url):
        return json.loads(self.a.run("curl", "-sS", "--max-time", "20", url))

    def matrix(self, protocol, mode):
        cells = self.get(f"http://{A}:7070/api/v1/matrix?level=zone&"
                         f"window={WINDOW_S}s&protocol={protocol}&"
                         f"mode={mode}")["cells"]
        return next(c for c in cells
                    if (c["from"], c["to"]) == ("zone-near", "zone-far"))

    def ask(self, path, **query):
        answer = self.get(f"http://127.0.0.1:9090/api/v1/{path}?"
                          + urllib.parse.urlencode(query))
        assert answer["status"] == "success", answer
        return answer["data"]

    def number(self, query):
        found = self.ask("query", query=query)["result"]
        assert len(found) == 1, (query, found)
        return float(found[0]["value"][1])

    def quantile(self, q, job, family, **labels):
        matchers = ",".join(f'{k}="{v}"' for k, v in labels.items())
        return self.number(
            f"histogram_quantile({q}, sum by (le) (rate({family}_bucket"
            f'{{job="{job}",source_zone="zone-near",destination_zone="zone-far",'
            f'{matchers}}}[{WINDOW_S}s])))')


def check_quantiles(far, job, width):
    """Those of Prometheus lie where those of the matrix are, or as far from
    it as the bucket is wide; 2.2 % is the matrix' own share, and a bit more
    is for the windows, which do not end at the same moment."""
    for protocol, mode, phase, q in itertools.chain(
            itertools.product(("http1", "grpc"), ("cold",),
                              ("connect", "tls", "total"), (0.5,)),
            itertools.product(("http1", "grpc"), ("warm",),
                              ("ttfb", "total"), (0.5, 0.9))):
        series = far.matrix(protocol, mode)["phases"][phase]
        here = series[f"p{q * 100:.0f}"] / 1e9
        labels = {"protocol": protocol, "mode": mode}
        family = "prober_attempt_duration_seconds"
        if phase != "total":
            family, labels["phase"] = "prober_phase_duration_seconds", phase
        there = far.quantile(q, job, family, **labels)
        print(f"# {job} {protocol} {mode} {phase} p{q * 100:.0f}: matrix "
              f"{here * 1e3:.2f} ms, Prometheus {there * 1e3:.2f} ms")
        slack = width * 1.022 * 1.03
        assert here / slack <= there <= here * slack, (here, there)


def a_real_prometheus_agrees_with_the_matrix():
    why = why_not("prometheus", "curl")
    if why:
        raise tap.Skip(why)
    with Bed() as bed:
        far = Far(bed)
        begin = time.monotonic()
        until(lambda: far.matrix("http1", "cold")["attempts"] >= 25
              and time.monotonic() - begin > WINDOW_S + 12, 90,
              "a window full of attempts")
        connect = far.matrix("http1", "cold")["phases"]["connect"]["p50"] / 1e6
        assert 18 < connect < 40, connect  # there and back
        check_quantiles(far, "coarse", 2 ** 0.5)
        check_quantiles(far, "fine", 2 ** 0.25)
        # All of both nodes is taken, in the newer format.
        targets = far.ask("targets")["activeTargets"]
        assert [t["health"] for t in targets] == ["up"] * 3, targets
        assert far.number('count(up{job="coarse"} == 1)') == 2
        # It was OpenMetrics: only there, families have a unit.
        about = far.ask("metadata", metric="prober_attempt_duration_seconds")
        for kind, unit in [(m["type"], m["unit"]) for m in
                           about["prober_attempt_duration_seconds"]]:
            assert (kind, unit) == ("histogram", "seconds"), about
        # Attempts in all: no more than were made, nearly as many.
        counted = far.number('sum(increase(prober_attempts_total{job="coarse",'
                             'source_zone="zone-near"}[20s]))')
        assert 0.8 * 20 * 22 < counted < 1.1 * 20 * 22, counted
        assert far.number("sum(prober_samples_left_out_total)") == 0


def promtool_has_nothing_to_say():
    if not shutil.which("promtool"):
        raise tap.Skip("not installed: promtool")
    with Bed() as bed:
        a, b = nodes.start(bed, ["a", "b"])
        until(lambda: b'phase="tls"' in a.get("/metrics")[1], 30, "attempts")
        status, text = a.get("/metrics")
        assert status == 200
        done = subprocess.run(["promtool", "check", "metrics"], input=text,
                              capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), (
            done)
        a.end()
        b.end()


def clients_get_what_they_ask_for():
    with Bed() as bed:
        (a,) = nodes.start(bed, ["a"])
        client = http.client.HTTPConnection(a.address, 7070, timeout=20)

        def ask(path, method="GET", **headers):
            client.request(method, path, headers=headers)
            answer = client.getresponse()
            return answer, answer.read()
        plain, body = ask("/metrics")
        assert plain.status == 200
        assert plain.getheader("Content-Type") == (
            "text/plain; version=0.0.4; charset=utf-8")
        assert "Accept" in re.split(", *", ", ".join(
            plain.headers.get_all("Vary"))), plain.headers
        assert plain.getheader("Cache-Control") == "no-store"
        assert b"# EOF" not in body and b"prober_build_info{" in body
        newer, body = ask("/metrics", Accept=OPENMETRICS)
        assert newer.getheader("Content-Type") == (
            "application/openmetrics-text; version=1.0.0; charset=utf-8")
        assert body.endswith(b"\n# EOF\n")
        packed, body = ask("/metrics", **{"Accept-Encoding": "gzip"})
        assert packed.getheader("Content-Encoding") == "gzip"
        assert b"prober_build_info{" in gzip.decompress(body)
        head, body = ask("/metrics", "HEAD")
        assert (head.status, body) == (200, b"")
        assert head.getheader("Content-Type") == plain.getheader(
            "Content-Type")
        for path in "/metrics?name=x", "/metrics?buckets_per_octave=3":
            assert ask(path)[0].status == 400, path
        assert ask("/metrics", "POST")[0].status == 405
        # The process itself is that which the system knows.
        found = dict(line.rsplit(" ", 1) for line in ask("/metrics")[1]
                     .decode().splitlines() if line.startswith("process_"))
        pid = a.process.pid
        fds = len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
        assert abs(float(found["process_open_fds"]) - fds) <= 3, (found, fds)
        resident = float(found["process_resident_memory_bytes"])
        now = 4096 * int(run("cat", f"/proc/{pid}/statm").split()[1])
        assert 0.5 * now < resident < 2 * now, (resident, now)
        assert abs(float(found["process_start_time_seconds"])
                   - time.time()) < 60
        client.close()
        a.end()


def lag(node):
    """Of the measuring loop in the last ten seconds, its p99 in ms."""
    return node.get_json("/api/v1/status")["plane"]["loop_lag_ns"]["p99"] / 1e6


def a_scrape_does_not_disturb_measuring():
    with Bed() as bed:
        a, b = nodes.start(bed, ["a", "b"])
        until(lambda: b'phase="tls"' in a.get("/metrics")[1], 30, "attempts")
        for attempt in range(3):  # the machine may be busy with others
            time.sleep(11)
            quiet = lag(a)
            end = time.monotonic() + 11
            scrapes = 0
            while time.monotonic() < end:
                a.get("/metrics?buckets_per_octave=4", Accept=OPENMETRICS,
                      **{"Accept-Encoding": "gzip"})
                scrapes += 1
                time.sleep(0.05)  # 300 times as often as usual
            busy = lag(a)
            print(f"# lag p99 {quiet:.3f} ms, with {scrapes} scrapes "
                  f"{busy:.3f} ms")
            if busy <= 2 * quiet + 1:
                break
        else:
            raise AssertionError((quiet, busy))
        assert scrapes > 50
        a.end()
        b.end()


tap.run([
    a_real_prometheus_agrees_with_the_matrix,
    promtool_has_nothing_to_say,
    clients_get_what_they_ask_for,
    a_scrape_does_not_disturb_measuring,
])
