#!/usr/bin/python3
"""CPU time per cold attempt with one core to itself, as fast as it goes.

usage: saturated.py [REPETITIONS] [SHARE]   (7, 1; SHARE scales the counts)

Every contestant runs once in each repetition, so that what else the machine
does falls on all of them; ratios are taken inside a repetition.
"""
import json
import re
import sys
import urllib.parse

from bed import (ADDRESS, BLACKBOX_PORT, FLOOR, GRPC_PATH, PORTS, PROBER,
                 BenchBed, ready_or_exit, save, url)

IN_FLIGHT = 16
COUNTS = {  # probes per run
    "floor": {"http": 20000, "https": 3000, "grpc": 3000},
    "prober": {"http": 20000, "https": 3000, "grpc": 3000},
    "h2load": {"http": 6000, "https": 2000, "grpc": 2000},
    "openssl s_time": {"https": 0},
    "curl --parallel": {"http": 2000, "https": 1000},
    "curl, a process each": {"http": 100, "https": 100},
    "blackbox_exporter": {"http": 1500, "https": 800, "grpc": 800},
}


def floor(bed, protocol, n):
    argv = [FLOOR, "--count", n, "--concurrency", IN_FLIGHT]
    if protocol != "http":
        argv += ["--ca", bed.ca]
    if protocol == "grpc":
        argv += ["--grpc"]
    return bed.cost([*argv, ADDRESS, PORTS[protocol]],
                    lambda text: json.loads(text)["ok"])


def prober(bed, protocol, n):
    argv = [PROBER, "probe", "-o", "summary", "--interval", "0",
            "--concurrency", IN_FLIGHT, "--count", n]
    if protocol != "http":
        argv += ["--ca", bed.ca]
    if protocol == "grpc":
        argv += ["--protocol", "grpc"]
    # It exits with 0 only if every attempt was ok.
    return bed.cost([*argv, url(protocol)],
                    lambda text: n if f"ok {n}," in text else 0)


def h2load(bed, protocol, n):
    """A client a request: each connection is used once."""
    argv = ["h2load", "-n", n, "-c", n]
    if protocol == "grpc":
        argv += ["-d", bed.message, "-H", "content-type: application/grpc",
                 "-H", "te: trailers", url(protocol)[:-1] + GRPC_PATH]
    else:
        argv += ["--h1", url(protocol)]
    return bed.cost(argv, h2load_done)


def h2load_done(text):
    return int(re.search(r"(\d+) 2xx", text)[1])


def s_time(bed, protocol, _):
    return bed.cost(
        ["openssl", "s_time", "-new", "-tls1_3", "-time", "2", "-verify", "3",
         "-CAfile", bed.ca, "-connect", f"{ADDRESS}:{PORTS[protocol]}"],
        lambda text: int(re.search(r"(\d+) connections in \d+ real", text)[1]))


def curl_parallel(bed, protocol, n):
    transfer = (f'url = "{url(protocol)}"\noutput = "/dev/null"\nhttp1.1\n'
                'write-out = "=%{http_code}\\n"\n'
                f'cacert = "{bed.ca}"\nheader = "Connection: close"\n')
    config = bed.file("curl.conf", "next\n".join([transfer] * n))
    return bed.cost(["curl", "-s", "--parallel", "--parallel-max", IN_FLIGHT,
                     "--no-sessionid", "-K", config],
                    lambda text: text.count("=200"))


def curl_each(bed, protocol, n):
    urls = bed.file("urls", (url(protocol) + "\n") * n)
    return bed.cost(["xargs", "-a", urls, "-n", "1", "curl", "-s", "--http1.1",
                     "-o", "/dev/null", "-w", "=%{http_code}\n",
                     "--cacert", bed.ca],
                    lambda text: text.count("=200"))


def blackbox_url(protocol):
    target = url(protocol)
    if protocol == "grpc":
        target = f"{ADDRESS}:{PORTS[protocol]}"
    query = urllib.parse.urlencode({
        "module": "grpc" if protocol == "grpc" else "http", "target": target})
    return f"http://{ADDRESS}:{BLACKBOX_PORT}/probe?{query}"


def blackbox(bed, protocol, n):
    if "probe_success 1" not in bed.machine.run("curl", "-sS",
                                                  blackbox_url(protocol)):
        raise RuntimeError(f"blackbox_exporter fails at {protocol}")
    for probes in max(n // 5, IN_FLIGHT), n:  # the first to get warm
        driver = ["h2load", "--h1", "-c", IN_FLIGHT, "-n", probes,
                  blackbox_url(protocol)]
        cost = bed.driven(bed.exporter, driver, h2load_done)
    return cost


CONTESTANTS = {"floor": floor, "prober": prober, "h2load": h2load,
               "openssl s_time": s_time, "curl --parallel": curl_parallel,
               "curl, a process each": curl_each,
               "blackbox_exporter": blackbox}


def main(repetitions=7, share=1.0):
    ready_or_exit("saturated")
    rows = []
    for repetition in range(repetitions):
        with BenchBed() as bed:
            bed.exporter = bed.blackbox()
            for protocol in PORTS:
                for name, counts in COUNTS.items():
                    if protocol not in counts:
                        continue
                    n = max(int(counts[protocol] * share), 20)
                    cost = CONTESTANTS[name](bed, protocol, n)
                    rows.append({"repetition": repetition, "name": name,
                                 "protocol": protocol, **cost.row()})
        print(f"   repetition {repetition + 1} of {repetitions}", flush=True)
    save("saturated", rows)


if __name__ == "__main__":
    main(*(f(a) for f, a in zip((int, float), sys.argv[1:])))
