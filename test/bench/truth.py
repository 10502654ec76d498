#!/usr/bin/python3
"""How true are the phases: what probers report against a packet capture.

usage: truth.py [--count N] [--peers N] [--links L] [--hogs H]
                [--server S] [--keepalive K] [--tap T] [--tools T]
                [--kinds K] [--json FILE] [--keep]

  --count N      attempts of ours per row (1000)
  --peers N      the same of curl and blackbox_exporter (N of --count)
  --links L      of: veth, or a one-way delay as 10ms      (veth,10ms)
  --hogs H       CPU hogs on the prober's core             (0,4)
  --server S     nginx, or prober: its own responder       (nginx)
  --keepalive K  nginx's: 65, or 0: it closes behind each answer (65)
  --tap T        where to capture: "near", at the prober's own interface, or
                 "plug", at the other end of its cable, so that what the
                 prober receives was not touched by the capture (near)
  --tools T      of: prober, curl, blackbox                (all)
  --kinds K      of: https, grpc, http                     (all)
  --json FILE    all rows, and each single error

Needs root. Two network namespaces; the prober and the hogs run on core 0,
the servers, the link emulator and the capture on core 1, all at one high
priority. Names are asked of a real resolver beside the server. Attempts
follow one another, each on a connection of its own, and are matched with the
capture by their local port (blackbox_exporter does not tell its port: by
order). Errors are reported minus true, in microseconds.

The truth of `tls` is the wire's share: ClientHello out to the server's
flight in. Tools with one clock also count their own arithmetic; what they
mean themselves, SYN-ACK in to Finished out, is `tls (own)`.
"""
import argparse
import collections
import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import edges  # noqa: E402 (they live with the system tests)
import pcap  # noqa: E402
from netbed import PROBER, Bed, why_not  # noqa: E402

NEAR, FAR, NAME = "10.77.0.2", "10.77.0.1", "far.test"
Kind = collections.namedtuple("Kind", "url port of_connection")
KINDS = {
    "https": Kind(f"https://{NAME}:8443/probe", 8443, edges.tls),
    "grpc": Kind(f"grpcs://{NAME}:8443", 8443, edges.tls),
    "http": Kind(f"http://{NAME}:8080/probe", 8080, edges.plain),
}
# What a row compares: the report's phases and the truth's, each summed up.
# Segments of an answer that nobody has read yet are one to the kernel and
# carry the newest one's stamp; that moves time from transfer to ttfb, not
# their sum.
PHASES = {
    "dns": (["dns"], ["dns"]),
    "connect": (["connect"], ["connect"]),
    "tls": (["tls"], ["tls"]),
    "tls (own)": (["tls"], ["tls_all"]),
    "ttfb": (["ttfb"], ["ttfb"]),
    "transfer": (["transfer"], ["transfer"]),
    "ttfb + transfer": (["ttfb", "transfer"], ["ttfb", "transfer"]),
}
HIGH = -20  # nice level: other users of the machine should not be measured

BLACKBOX = """\
modules:
  http:
    prober: http
    timeout: 5s
    http:
      preferred_ip_protocol: ip4
      enable_http2: false
      tls_config: {{ca_file: {ca}}}
  grpc:
    prober: grpc
    timeout: 5s
    grpc:
      preferred_ip_protocol: ip4
      tls: true
      tls_config: {{ca_file: {ca}, server_name: {name}}}
"""


RESPONDER = """\
node: {{name: far-{port}}}
probe: {{listen: "{far}:{port}", tls: {is_tls}}}
api: {{listen: "127.0.0.1:1{port}"}}
tls: {{certificate: {path}/far.crt, key: {path}/far.key}}
"""


class Place:
    """One bed with everything in it that a row needs."""

    def __init__(self, bed, link, keepalive, tap, server):
        self.bed = bed
        self.near, self.far = bed.host("near"), bed.host("far")
        options = None if link == "veth" else [
            "--delay", link.removesuffix("ms"), "--realtime"]
        cable = bed.cable(self.near, f"{NEAR}/24", self.far, f"{FAR}/24",
                          options)
        for host in self.near, self.far:
            # Pacing, of whatever congestion control is the default, would
            # shape the server's flights.
            host.run("sh", "-c", "echo reno >"
                     "/proc/sys/net/ipv4/tcp_congestion_control || true")
        self.tap = cable.plug_a if tap == "plug" else (self.near, "far")
        self.ca = bed.authority()
        bed.certificate("far", [f"DNS:{NAME}"])
        bed.resolver(self.far, FAR, {NAME: FAR})
        if server == "nginx":
            bed.nginx(self.far, FAR, "far", keepalive)
        else:
            self.start_responders()
        self.near.resolve_with(FAR)

    def start_responders(self):
        for port, is_tls in (8443, "true"), (8080, "false"):
            config = self.bed.file(f"{port}.yaml", RESPONDER.format(
                far=FAR, port=port, is_tls=is_tls, path=self.bed.path))
            self.far.spawn([PROBER, "run", "--config", config],
                           log=f"{port}.log").wait_port(port)

    def probe(self, *argv, core=0):
        """Run a tool to its end; its output, whatever its exit code."""
        return subprocess.run(
            ["taskset", "-c", str(core), *self.near.enter, *map(str, argv)],
            check=False, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL).stdout

    @contextlib.contextmanager
    def captured(self):
        host, interface = self.tap
        with self.bed.capture(host, interface, "tcp", "or", "port", "53",
                              is_gentle=True) as path:
            yield path


@contextlib.contextmanager
def hogs(count):
    """Busy loops on the prober's core, at its priority."""
    running = [subprocess.Popen(["taskset", "-c", "0", "timeout", "3600",
                                 "sh", "-c", "while :; do :; done"])
               for _ in range(count)]
    time.sleep(0.5 if count else 0)
    try:
        yield
    finally:
        for hog in running:
            hog.terminate()
        for hog in running:
            hog.wait()


# ---- the tools: each returns reports, in ns, in order ----------------------

def by_prober(place, kind, count):
    out = place.probe(PROBER, "probe", kind.url, "--count", count,
                      "--interval", "0", "--concurrency", "1", "--ca",
                      place.ca, "-o", "json")
    reports = []
    for line in out.splitlines():
        s = json.loads(line)
        if s["outcome"] != "ok":
            reports.append({"failed": s["outcome"]})
            continue
        assert sum(v or 0 for v in s["phases_ns"].values()) == s["total_ns"]
        reports.append({"port": int(s["local_address"].rsplit(":", 1)[1]),
                        "clock": s["clock"], **s["phases_ns"]})
    return reports


def by_curl(place, kind, count):
    if kind.url.startswith("grpc"):
        return None
    form = ("%{local_port} %{time_namelookup} %{time_connect}"
            " %{time_appconnect} %{time_pretransfer} %{time_starttransfer}"
            " %{time_total}\\n")
    out = place.probe(
        "sh", "-c", f"for i in $(seq {count}); do curl -4 -s -o /dev/null"
        f" --http1.1 --cacert {place.ca} -w '{form}' {kind.url}; done")
    reports = []
    for line in out.splitlines():
        port, *seconds = line.split()
        lookup, connected, secure, before, first, total = (
            float(s) * 1e9 for s in seconds)
        reports.append({"port": int(port), "dns": lookup,
                        "connect": connected - lookup,
                        "tls": secure - connected if secure else None,
                        "ttfb": first - before, "transfer": total - first})
    return reports


def by_blackbox(place, kind, count):
    is_grpc = kind.url.startswith("grpc")
    config = place.bed.file("blackbox.yml", BLACKBOX.format(ca=place.ca,
                                                            name=NAME))
    exporter = place.bed.spawn(
        ["taskset", "-c", "0", *place.near.enter,
         "prometheus-blackbox-exporter", f"--config.file={config}",
         "--web.listen-address=127.0.0.1:9115", "--log.level=error"],
        log="blackbox.log")
    exporter.wait_port(9115)
    module = "grpc" if is_grpc else "http"
    target = f"{NAME}:{kind.port}" if is_grpc else kind.url
    out = place.probe(
        "sh", "-c", f"for i in $(seq {count}); do curl -s 'http://127.0.0.1"
        f":9115/probe?module={module}&target={target}'; echo ==; done", core=1)
    exporter.stop()
    names = {"resolve": "dns", "connect": "connect", "tls": "tls",
             "processing": "ttfb", "transfer": "transfer"}
    reports = []
    for page in out.split("==\n")[:-1]:
        if "\nprobe_success 1" not in page:
            reports.append({"failed": "probe_success 0"})
            continue
        found = re.findall(r'probe_(?:http|grpc)_duration_seconds'
                           r'\{phase="(\w+)"\} (\S+)', page)
        reports.append({names[k]: float(v) * 1e9 for k, v in found
                        if k in names})
        if not kind.url.startswith("https"):
            reports[-1].pop("tls", None)
    return reports


TOOLS = {"prober": by_prober, "curl": by_curl, "blackbox": by_blackbox}


# ---- comparing -------------------------------------------------------------

def match(reports, truths):
    """Pairs of a good report and its clear truth."""
    if any("port" in r for r in reports):
        waiting = collections.defaultdict(collections.deque)
        for truth in truths:
            waiting[truth["port"]].append(truth)
        pairs = [(r, waiting[r["port"]].popleft()) for r in reports
                 if waiting.get(r.get("port"))]
    else:
        # Without ports only a complete list can be matched.
        pairs = zip(reports, truths) if len(reports) == len(truths) else []
    return [(r, t) for r, t in pairs if "failed" not in r
            and "unclear" not in t]


def errors(pairs, phase):
    """[(true, reported - true)] in ns"""
    told, meant = PHASES[phase]
    found = []
    for report, true in pairs:
        values = [report.get(k) for k in told], [true.get(k) for k in meant]
        if None not in values[0] + values[1]:
            found.append((sum(values[1]), sum(values[0]) - sum(values[1])))
    return found


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(found):
    off = [abs(e) for _, e in found]
    return {"n": len(found),
            "true_us": statistics.median(t for t, _ in found) / 1e3,
            "p50_us": statistics.median(e for _, e in found) / 1e3,
            "abs_p50_us": percentile(off, 0.5) / 1e3,
            "abs_p99_us": percentile(off, 0.99) / 1e3,
            "max_us": max((e for _, e in found), key=abs) / 1e3}


HEAD = ("| link | hogs | keepalive | kind | tool | phase | n | true p50 |"
        " error p50 | abs p99 | max |\n|" + "---|" * 11)


def show(row):
    print("| {link} | {hogs} | {keepalive} | {kind} | {tool} | {phase} | {n} |"
          " {true_us:.0f} | {p50_us:+.1f} | {abs_p99_us:.1f} | {max_us:+.1f} |"
          .format(**row), flush=True)


def measure(place, tool, kind, n_hogs, count):
    """(pairs, notes) of one tool on one kind of target; None if it cannot."""
    with place.captured() as path, hogs(n_hogs):
        reports = TOOLS[tool](place, KINDS[kind], count)
    if reports is None:
        return None
    truths = edges.attempts(pcap.read(path), KINDS[kind].port,
                            KINDS[kind].of_connection)
    os.unlink(path)
    pairs = match(reports, truths)
    notes = collections.Counter()
    notes["reports"] = len(reports)
    notes["connections"] = len(truths)
    notes["matched"] = len(pairs)
    for report in reports:
        notes["failed: " + report.get("failed", "none")] += "failed" in report
        notes["user clock"] += report.get("clock", "kernel") != "kernel"
    for truth in truths:
        notes["unclear: " + truth.get("unclear", "none")] += "unclear" in truth
    return pairs, {k: v for k, v in notes.items() if v}


def rows(options):
    for link in options.links.split(","):
        for keepalive in map(int, options.keepalive.split(",")):
            with Bed(options.keep) as bed:
                place = Place(bed, link, keepalive, options.tap,
                              options.server)
                for n_hogs in map(int, options.hogs.split(",")):
                    for kind in options.kinds.split(","):
                        for tool in options.tools.split(","):
                            count = (options.count if tool == "prober"
                                     else options.peers)
                            found = measure(place, tool, kind, n_hogs, count)
                            if found:
                                yield {"link": link, "keepalive": keepalive,
                                       "hogs": n_hogs, "kind": kind,
                                       "tool": tool}, *found


def main():
    parser = argparse.ArgumentParser(
        usage=__doc__.split("\n\n")[1][7:], add_help=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--peers", type=int)
    parser.add_argument("--links", default="veth,10ms")
    parser.add_argument("--hogs", default="0,4")
    parser.add_argument("--server", choices=["nginx", "prober"],
                        default="nginx")
    parser.add_argument("--keepalive", default="65")
    parser.add_argument("--tap", choices=["near", "plug"], default="near")
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    options.peers = options.peers or options.count
    if why := why_not("dnsmasq", "nginx", "curl", "tcpdump", "taskset",
                      *(["prometheus-blackbox-exporter"]
                        if "blackbox" in options.tools else [])):
        sys.exit(f"truth: {why}")
    if os.cpu_count() < 2:
        sys.exit("truth: needs two cores")

    # What is started inherits both; the tools are moved to core 0.
    os.sched_setaffinity(0, {1})
    os.setpriority(os.PRIO_PROCESS, 0, HIGH)
    print(f"`truth.py {' '.join(sys.argv[1:])}`, load {os.getloadavg()[0]:.1f}"
          f" at the start; errors in us\n\n{HEAD}", flush=True)
    every, remarks = [], []
    for where, pairs, notes in rows(options):
        for phase in PHASES:
            found = errors(pairs, phase)
            if found and not (phase == "tls (own)"
                              and where["tool"] == "prober"):
                every.append({**where, "phase": phase, **summary(found),
                              "errors_ns": [round(e) for _, e in found]})
                show(every[-1])
        remarks.append({**where, **notes})
    print("\nAttempts that could not be compared, and whose clock:\n")
    for remark in remarks:
        print("-", ", ".join(f"{k} {v}" for k, v in remark.items()))
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(
            {"rows": every, "notes": remarks}))


if __name__ == "__main__":
    main()
