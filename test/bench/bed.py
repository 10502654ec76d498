"""The benchmarks' bed: one network namespace with the server that everybody
probes, and the means to see what a probe costs in CPU time.

The server has the second core allowed to us, whoever is measured the first.
"""
import atexit
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
from netbed import Bed, PROBER, ROOT, run, why_not  # noqa: E402

FLOOR = os.environ.get("FLOOR", str(ROOT / "build/test/bench/floor"))
RESULTS = pathlib.Path(os.environ.get("RESULTS", ROOT / "build/bench"))
TOOLS = ("nginx", "h2load", "curl", "taskset", "prometheus-blackbox-exporter")
ADDRESS = "127.0.0.1"
PORTS = {"http": 8080, "https": 8443, "grpc": 8443}
GRPC_PATH = "/grpc.health.v1.Health/Check"
BLACKBOX_PORT = 9115
TICKS = os.sysconf("SC_CLK_TCK")
# Off other people's time: at nice 0 a busy machine moves the figures.
NICE = ["nice", "-n", os.environ.get("BENCH_NICE", "-20")]
# Where each session is a scheduling group of its own, nice counts within it
# only: it is the group that has to be raised, too.
AUTOGROUP = pathlib.Path("/proc/self/autogroup")

SYSCTLS = {  # inside the namespace only
    "net/ipv4/ip_local_port_range": "2048 65000",
    # A connection from one of these would keep its server from starting.
    "net/ipv4/ip_local_reserved_ports": "7070,7443,8080,8443,9115",
    "net/ipv4/tcp_congestion_control": "reno",
    "net/ipv4/tcp_max_syn_backlog": "8192",
    "net/core/somaxconn": "8192",
}

NGINX = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 40000;
pid {path}/nginx.pid;
error_log {path}/nginx.err warn;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {path}/tmp-body;
    proxy_temp_path {path}/tmp-proxy;
    fastcgi_temp_path {path}/tmp-fastcgi;
    uwsgi_temp_path {path}/tmp-uwsgi;
    scgi_temp_path {path}/tmp-scgi;
    ssl_protocols TLSv1.3;
    ssl_ecdh_curve X25519;
    ssl_certificate {path}/localhost.crt;
    ssl_certificate_key {path}/localhost.key;
    ssl_session_cache off;
    ssl_session_tickets off;
    ssl_conf_command Options -SessionTicket;
    server {{
        listen {address}:8080 backlog=8192;
        listen {address}:8443 ssl http2 backlog=8192;
        root {path}/www;
        location = / {{ return 200 "ok\\n"; }}
        # A file cannot be posted to, but it can stand in for an error.
        location = /grpc.health.v1.Health/Check {{
            error_page 404 =200 /serving;
        }}
        location = /serving {{
            default_type application/grpc;
            add_trailer grpc-status 0 always;
        }}
    }}
}}
"""

BLACKBOX = """\
modules:
  http:
    prober: http
    http: {{ preferred_ip_protocol: ip4, enable_http2: false,
            tls_config: {{ ca_file: {ca} }} }}
  grpc:
    prober: grpc
    grpc: {{ preferred_ip_protocol: ip4, tls: true,
            tls_config: {{ ca_file: {ca} }} }}
"""


class Cost:
    """CPU seconds of one contestant, and what it got done."""

    def __init__(self, done, cpu_s, wall_s, user_s=None, **more):
        self.done, self.cpu_s, self.wall_s, self.more = done, cpu_s, wall_s, more
        self.user_s = user_s

    def row(self):
        return {"done": self.done, "cpu_us": self.cpu_s / self.done * 1e6,
                "per_s": self.done / self.wall_s, "wall_s": self.wall_s,
                **({} if self.user_s is None else
                   {"user_us": self.user_s / self.done * 1e6}), **self.more}


def cpu_ns(pid):
    """Run time of all threads of a process so far."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total


def memory_kib(pid):
    """Resident memory and what it is made of, in KiB."""
    out = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text() \
            .splitlines()[1:]:
        name, value = line.split()[:2]
        out[name.rstrip(":")] = int(value)
    anonymous = out["Anonymous"]
    return {"rss": out["Rss"], "pss": out["Pss"], "anon": anonymous,
            "file": out["Rss"] - anonymous}


class BenchBed(Bed):
    def __init__(self):
        super().__init__()
        cores = sorted(os.sched_getaffinity(0))
        self.client_core, self.server_core = cores[0], cores[-1]
        self.machine = self.host("bench")
        for name, value in SYSCTLS.items():
            self.machine.run("sh", "-c", f"echo {value} >/proc/sys/{name}")
        self.ca = self.authority()
        self.certificate("localhost", ["DNS:localhost", f"IP:{ADDRESS}"])
        self.file("www/serving", b"\0\0\0\0\2\x08\1")
        self.message = self.file("message", b"\0\0\0\0\0")
        config = self.file("nginx.conf",
                           NGINX.format(path=self.path, address=ADDRESS))
        nginx = self.machine.spawn(
            self.on(self.server_core, "nginx", "-e", f"{self.path}/nginx.err",
                    "-c", config), log="nginx.log")
        nginx.wait_port(8443)

    @staticmethod
    def on(core, *argv):
        return [*NICE, "taskset", "-c", str(core), *map(str, argv)]

    def daemon(self, argv, log):
        """Start something that is measured while it runs."""
        return self.machine.spawn(self.on(self.client_core, *argv), log)

    def cost(self, argv, count, seconds=120, core=None):
        """Run to the end; `count` finds in the output what was done."""
        core = self.client_core if core is None else core
        with open(f"{self.path}/out", "w+b") as out:
            start = time.monotonic()
            p = subprocess.Popen(
                self.machine.enter + self.on(core, *argv),
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
            usage = self._wait(p, start + seconds)
            wall_s = time.monotonic() - start
            out.seek(0)
            text = out.read().decode(errors="replace")
        done = count(text) if count else 0
        if not done:
            raise RuntimeError(f"{argv[0]}: {text[-500:]}")
        return Cost(done, usage.ru_utime + usage.ru_stime, wall_s,
                    usage.ru_utime)

    @staticmethod
    def _wait(p, deadline):
        """Reap it with what it and its children used."""
        while True:
            pid, status, usage = os.wait4(p.pid, os.WNOHANG)
            if pid:
                p.returncode = os.waitstatus_to_exitcode(status)
                return usage
            if time.monotonic() > deadline:
                p.send_signal(signal.SIGKILL)
            time.sleep(0.005)

    def window(self, process, count, seconds):
        """What a running process uses for how much in so many seconds."""
        done, used, start = count(), cpu_ns(process.pid), time.monotonic()
        time.sleep(seconds)
        return Cost(count() - done, (cpu_ns(process.pid) - used) / 1e9,
                    time.monotonic() - start)

    def driven(self, process, driver, count):
        """What a running process uses while others make it work."""
        used = cpu_ns(process.pid)
        driven = self.cost(driver, count, core=self.server_core)
        return Cost(driven.done, (cpu_ns(process.pid) - used) / 1e9,
                    driven.wall_s)

    @staticmethod
    def pause(seconds):
        time.sleep(seconds)

    def get(self, port, path):
        return self.machine.run("curl", "-sS", "--max-time", "10",
                                f"http://{ADDRESS}:{port}{path}")

    def blackbox(self):
        config = self.file("blackbox.yml", BLACKBOX.format(ca=self.ca))
        process = self.daemon(
            ["prometheus-blackbox-exporter", f"--config.file={config}",
             f"--web.listen-address={ADDRESS}:{BLACKBOX_PORT}",
             "--log.level=error"], "blackbox.log")
        process.wait_port(BLACKBOX_PORT)
        return process


def url(protocol):
    scheme = "http" if protocol == "http" else "https"
    return f"{scheme}://{ADDRESS}:{PORTS[protocol]}/"


def spread(values, digits=2):
    """Median and range, as text."""
    low, high = min(values), max(values)
    return (f"{statistics.median(values):.{digits}f} "
            f"({low:.{digits}f}-{high:.{digits}f})")


def save(name, data):
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1))
    print(f"   {RESULTS / name}.json", flush=True)


def ready_or_exit(name):
    if why := why_not(*TOOLS):
        sys.exit(f"{name}: {why}")
    raise_session()


def raise_session():
    """This session, until we end, before others on the machine."""
    if not AUTOGROUP.exists():
        return
    before = AUTOGROUP.read_text().split()[-1]
    atexit.register(AUTOGROUP.write_text, before)
    AUTOGROUP.write_text(NICE[-1])


__all__ = ["ADDRESS", "BLACKBOX_PORT", "BenchBed", "Cost", "FLOOR",
           "GRPC_PATH", "PORTS", "PROBER", "RESULTS", "ROOT", "cpu_ns",
           "memory_kib", "ready_or_exit", "run", "save", "spread", "url"]
