#!/usr/bin/python3
"""CPU time per cold attempt at a given rate, by a daemon that runs anyway, and
how many TLS attempts a second one core can carry.

usage: rated.py [REPETITIONS] [SECONDS]   (3 of 5 s each)

The prober starts what is due together every 50 ms; the floor starts probes
evenly and, for comparison, five at a time.
"""
import json
import sys

from bed import (ADDRESS, FLOOR, PORTS, PROBER, BenchBed, ready_or_exit, save,
                 url)
from saturated import blackbox_url, curl_each, h2load_done

START_S = 2.5  # connections and caches are made before it is measured
RATES = {"http": (100,), "https": (100, 1000), "grpc": (100, 1000)}
API_PORT = 7070

CONFIG = """\
node: {{name: bench-1, zone: a, region: r}}
probe: {{listen: "127.0.0.1:7443", cold_interval: {cold}, warm_interval: {warm},
        in_flight_max: 4096}}
api: {{listen: "127.0.0.1:{port}"}}
tls: {{ca: {ca}}}
targets:
"""


def configuration(bed, protocols, targets, cold="1s", warm="1h"):
    """A daemon's file: that many targets, all of them our server."""
    text = CONFIG.format(cold=cold, warm=warm, port=API_PORT, ca=bed.ca)
    for i in range(targets):
        protocol = protocols[i % len(protocols)]
        text += (f"  - {{name: t{i}, url: \"{url(protocol)}\", protocol: "
                 f"{'grpc' if protocol == 'grpc' else 'http1'}}}\n")
    return bed.file("prober.yaml", text)


def start_prober(bed, config):
    daemon = bed.daemon([PROBER, "run", "--config", config], "prober.log")
    daemon.wait_port(API_PORT)
    return daemon


def plane(bed):
    return json.loads(bed.get(API_PORT, "/api/v1/status"))["plane"]


def prober(bed, protocol, rate, seconds):
    daemon = start_prober(bed, configuration(bed, [protocol], rate))
    bed.pause(START_S)
    before = plane(bed)
    cost = bed.window(daemon, lambda: plane(bed)["attempts"], seconds)
    after = plane(bed)
    daemon.stop()
    cost.more = {n: after[n] - before[n] for n in ("failed", "missed_slots",
                                                   "user_clock")}
    cost.more["share"] = cost.cpu_s / cost.wall_s
    return cost


def floor(bed, protocol, rate, seconds, burst=1):
    argv = [FLOOR, "--rate", rate, "--burst", burst,
            "--count", int(rate * seconds)]
    if protocol != "http":
        argv += ["--ca", bed.ca]
    if protocol == "grpc":
        argv += ["--grpc"]
    return bed.cost([*argv, ADDRESS, PORTS[protocol]],
                    lambda text: json.loads(text)["ok"])


def bursts(bed, protocol, rate, seconds):
    return floor(bed, protocol, rate, seconds, burst=5)


def blackbox(bed, protocol, rate, seconds):
    """Asked for probes by clients on the server's core."""
    clients = 10 if rate <= 100 else 50
    driver = ["h2load", "--h1", "-c", clients, "--rps", rate // clients,
              "-D", int(seconds), blackbox_url(protocol)]
    return bed.driven(bed.exporter, driver, h2load_done)


def curl(bed, protocol, rate, seconds):
    """Cold caches aside, a process costs the same at every rate."""
    return curl_each(bed, protocol, int(rate * seconds / 5))


CONTESTANTS = {"floor": floor, "floor, five at a time": bursts,
               "prober": prober, "blackbox_exporter": blackbox,
               "curl, a process each": curl}


def takes_part(name, protocol, rate):
    if name.startswith("curl"):
        return protocol != "grpc" and rate <= 100
    return rate <= 100 or name != "floor, five at a time"


def main(repetitions=3, seconds=5.0):
    ready_or_exit("rated")
    rows = []
    for repetition in range(repetitions):
        with BenchBed() as bed:
            bed.exporter = bed.blackbox()
            for protocol, rates in RATES.items():
                for rate in rates:
                    for name, run in CONTESTANTS.items():
                        if not takes_part(name, protocol, rate):
                            continue
                        cost = run(bed, protocol, rate, seconds)
                        rows.append({"repetition": repetition, "name": name,
                                     "protocol": protocol, "rate": rate,
                                     **cost.row()})
        print(f"   repetition {repetition + 1} of {repetitions}", flush=True)
    save("rated", rows)


if __name__ == "__main__":
    main(*(f(a) for f, a in zip((int, float), sys.argv[1:])))
