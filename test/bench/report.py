#!/usr/bin/python3
"""Write docs/benchmarks.md from what the last runs left in build/bench.

usage: report.py

A part that was never run is left out and said to be missing.
"""
import collections
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess

from bed import RESULTS, ROOT, spread

NAMES = {"http": "plain HTTP/1.1", "https": "HTTP/1.1 over TLS 1.3",
         "grpc": "gRPC health over TLS 1.3"}
AIMS = {"http": 1.4, "https": 0.85, "grpc": 0.90}

HEAD = """\
# Benchmarks

Written by `./dev bench`; nothing here is typed in. What a cold attempt costs
in CPU time, and what the daemon holds in memory, beside other tools in the
same run.

**floor** is `test/bench/floor.c`: a bare epoll loop that connects, shakes
hands, asks, compares the answer and closes, with the same kernel and OpenSSL.
It resolves nothing, times nothing and remembers nothing, not even that it
verified the same certificate a moment ago. A ratio below 1 therefore is no
magic: it is the memory of verified chains and the allocator under libcrypto.

All of it runs in a network namespace of its own against one nginx worker:
TLS 1.3, X25519, a P-256 leaf under a P-256 CA, no resumption, a fresh
connection every time. Client and server have a core each. CPU time is the
process's user and system time; on loopback it holds a share of the server's
TCP work, the same for everybody. Contestants take turns inside a repetition,
ratios are taken inside it too; figures are medians with (least-most).
h2load and `openssl s_time` do less: h2load verifies no chain, s_time asks
nothing once the handshake is done. curl and blackbox_exporter verify and ask.
"""


def load(name):
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return None, f"\nNot measured: `./dev bench {name}`.\n"
    when = datetime.datetime.fromtimestamp(path.stat().st_mtime)
    return json.loads(path.read_text()), f"\nMeasured {when:%Y-%m-%d %H:%M}.\n"


def by_name(rows):
    out = collections.defaultdict(dict)
    for row in rows:
        out[row["name"]][row["repetition"]] = row
    return out


def ratios(rows, other):
    return [r["cpu_us"] / other[n]["cpu_us"] for n, r in rows.items()
            if n in other]


def verdict(value, aim, unit=""):
    word = "met" if value <= aim else "**missed**"
    return f"aim {aim}{unit}: {word} with {value:.2f}{unit}"


def cost_table(rows):
    """One protocol (and rate): cheapest first."""
    names = by_name(rows)
    text = ("| | CPU µs an attempt | of it user | ÷ floor "
            "| ÷ blackbox_exporter | attempts/s |\n|---|---|---|---|---|---|\n")
    order = sorted(names, key=lambda n: statistics.median(
        r["cpu_us"] for r in names[n].values()))
    for name in order:
        mine = names[name]
        users = [r["user_us"] for r in mine.values() if "user_us" in r]
        user = f"{statistics.median(users):.0f}" if users else ""
        shown = f"**{name}**" if name == "prober" else name
        text += (f"| {shown} | {spread([r['cpu_us'] for r in mine.values()], 1)}"
                 f" | {user} | {spread(ratios(mine, names['floor']))}"
                 f" | {spread(ratios(mine, names['blackbox_exporter']))}"
                 f" | {statistics.median(r['per_s'] for r in mine.values()):.0f}"
                 " |\n")
    return text


def median_ratio(rows, other):
    names = by_name(rows)
    return statistics.median(ratios(names["prober"], names[other]))


def saturated():
    rows, text = load("saturated")
    out = "\n## As fast as it goes\n" + text
    if not rows:
        return out
    out += ("\n16 attempts in flight, one core: `prober probe -o summary "
            "--interval 0 --concurrency 16`.\nStart and end of the processes "
            "are part of it.\n")
    for protocol in NAMES:
        mine = [r for r in rows if r["protocol"] == protocol]
        met = verdict(median_ratio(mine, "floor"), AIMS[protocol])
        out += (f"\n### {NAMES[protocol]}\n\n{cost_table(mine)}\n"
                f"÷ floor, {met}.\n")
    return out


def rated():
    rows, text = load("rated")
    out = "\n## At a given rate\n" + text
    if not rows:
        return out
    out += ("\nThe daemon (`prober run`) with as many targets as attempts a "
            "second, all of them the one\nserver. It starts what is due "
            "together every 50 ms, which keeps caches warm; the floor\n"
            "starts evenly, or five at a time. blackbox_exporter is asked for "
            "each probe by a client\non the other core. What blackbox_exporter "
            "reaches is all that it can.\n")
    aims = {"http": 0.15, "https": 0.55}
    for protocol in NAMES:
        for rate in sorted({r["rate"] for r in rows
                            if r["protocol"] == protocol}):
            mine = [r for r in rows
                    if r["protocol"] == protocol and r["rate"] == rate]
            out += f"\n### {NAMES[protocol]}, {rate}/s\n\n{cost_table(mine)}"
            ratio = median_ratio(mine, "blackbox_exporter")
            if rate == 100 and protocol in aims:
                out += (f"\n÷ blackbox_exporter, "
                        f"{verdict(ratio, aims[protocol])}.\n")
            if rate == 1000:
                out += one_core(mine)
    return out


def one_core(rows):
    runs = list(by_name(rows)["prober"].values())
    share = statistics.median(r["share"] for r in runs)
    reached = min(r["per_s"] for r in runs)
    missed = max(r["missed_slots"] for r in runs)
    failed = max(r["failed"] for r in runs)
    all_done = reached > 990 and not missed and not failed
    done = ("all done" if all_done else
            "**not all done**: the core or the server's was not ours alone, "
            "or is too slow")
    share = (verdict(share * 100, 65, " %") if all_done
             else f"{share * 100:.0f} % at that rate")
    return (f"\n1,000 a second on one core, the rest of the daemon included: "
            f"at least {reached:.0f}/s reached,\nat most {missed} slots missed"
            f" and {failed} failed in a run ({done});\n"
            f"share of the core: {share}.\n")


def memory():
    rows, text = load("memory")
    out = "\n## Memory\n" + text
    if not rows:
        return out
    out += ("\nKiB of the process by `smaps_rollup`; *anonymous* is its own, "
            "*file* is program and libraries,\nshared with others (Pss counts "
            "its part). Targets are half HTTP/1.1, half gRPC, all with\nTLS, "
            "cold every 5 s and warm every 1 s: one held connection each, so "
            "that an endpoint that\nis probed over both protocols is two of "
            "them. Frames are the results of the last minutes\n"
            "(`history`), which grow to five minutes' worth.\n\n"
            "| | targets | resident | Pss | anonymous | file | frames "
            "| in flight at most |\n|---|---|---|---|---|---|---|---|\n")
    for r in rows:
        out += (f"| {r['name']} | {r['targets']} | {r['rss']} | {r['pss']} "
                f"| {r['anon']} | {r['file']} "
                f"| {r.get('frames_kib', 0):.0f} "
                f"| {r.get('in_flight_max', '')} |\n")
    mine = {r["targets"]: r for r in rows if r["name"] == "prober"}
    few, many = mine[100], mine[1000]
    each = (many["anon"] - many["frames_kib"] - few["anon"]
            + few["frames_kib"]) / 900
    out += (f"\nIdle, {verdict(mine[0]['rss'] / 1024, 5, ' MiB')}. "
            f"A held TLS connection and its target, from 100 to 1,000\nof them "
            f"and without frames: {verdict(2 * each, 16, ' KiB')} "
            f"for two of them.\n")
    return out


def mesh():
    rows, text = load("mesh")
    out = "\n## Membership\n" + text
    if not rows:
        return out
    out += (f"\n{rows[0]['nodes']} nodes on this machine in a namespace of "
            "their own, AES-256, memberlist's settings for local\nnetworks, "
            "logging at level info; first our daemons, then Serf agents "
            "(memberlist 0.2.2).\nOurs probe one protocol every hour, so "
            "nothing. *CPU* and *traffic* are a node's while nothing\n"
            f"happens, over {rows[0]['seconds']:.0f} s: datagrams and TCP "
            "segments sent, and bytes with all headers. *Known* is the\ntime "
            "from the first process to all knowing all, loading all the "
            "programs included;\n*missed* that from kill -9 to the first and "
            "to the last survivor's verdict, median of "
            f"{len(rows[0]['detection_s'])}.\n\n"
            "| | resident KiB | anonymous KiB | CPU ms/s | datagrams/s "
            "| segments/s | bytes/s | known, s | missed, s "
            "| falsely dead |\n" + "|---" * 10 + "|\n")
    for r in rows:
        out += (f"| {'Serf' if r['name'] == 'serf' else '**prober**'} "
                f"| {r['rss_kib']:.0f} | {r['anon_kib']:.0f} "
                f"| {r['cpu_ms_per_s']:.2f} | {r['udp_per_s']:.2f} "
                f"| {r['tcp_per_s']:.2f} | {r['bytes_per_s']:.0f} "
                f"| {seconds_or_never(r['start_s'])} | {missed(r)} "
                f"| {r['false_deaths']} |\n")
    return out


def seconds_or_never(value):
    return "never" if value is None else f"{value:.1f}"


def missed(row):
    seen = [d for d in row["detection_s"] if d]
    if len(seen) < len(row["detection_s"]):
        return "not always"
    first, last = (statistics.median(d[i] for d in seen) for i in (0, 1))
    return f"{first:.1f} - {last:.1f}"


def matrix():
    rows, text = load("matrix")
    out = "\n## Matrix\n" + text
    if not rows:
        return out
    out += ("\nThree nodes a zone, each probing one node of every zone over "
            "both protocols, cold and warm;\n36 windows (6 minutes) of their "
            "frames. `GET /api/v1/matrix?level=zone&window=5m` (all "
            "protocols),\nCPU time within the process, nothing shared; "
            "*from frames* is how nodes and regions are answered.\n\n"
            "| zones | cells | build ms | first byte ms | whole ms | longest "
            "turn ms | MB | from frames, whole ms | fold a frame µs "
            "| encoded bytes a cell |\n"
            "|---|---|---|---|---|---|---|---|---|---|\n")
    for r in rows:
        a, q = r["asked"], r["asked"]["all"]
        out += (f"| {r['zones']} | {r['zones'] ** 2} | {q['build_ms']:.2f} "
                f"| {q['first_ms']:.2f} | {q['whole_ms']:.1f} "
                f"| {q['longest_turn_ms']:.2f} | {q['bytes'] / 1e6:.1f} "
                f"| {a['from_frames']['whole_ms']:.0f} "
                f"| {a['fold_us_a_frame']:.0f} | {a['bytes_per_cell']:.0f} |\n")
    out += ("\nMemory of the same, with room for all and with the default "
            "`history.memory` of 32 MiB.\n\n"
            "| zones | room | resident MiB | frames held of | frames MiB "
            "| history MiB | windows, minutes held |\n"
            "|---|---|---|---|---|---|---|\n")
    for r in rows:
        for a in (r["asked"], r["default"]):
            out += (f"| {r['zones']} | {a['memory_mib']} MiB "
                    f"| {a['resident_kib'] / 1024:.0f} | {a['frames']} of "
                    f"{a['nodes'] * 31} | {a['frame_bytes'] / 2**20:.1f} "
                    f"| {a['history_bytes'] / 2**20:.1f} "
                    f"| {a['tiers'][0]['slots']}, {a['tiers'][1]['slots']} "
                    "|\n")
    out += ("\nOver HTTP on one core, while frames keep coming; the clients "
            "(Python, 20 threads) have another.\n*plane* is how late a "
            "thread with the measuring thread's scheduling wakes beside the "
            "server, *loop* the\nserver's own 2 ms timer.\n\n"
            "| zones | alone: first ms | whole ms | 20 in a loop: first ms "
            "| whole ms | answers/s | plane p99 µs, quiet → 20 "
            "| loop p99 ms, quiet → 20 |\n|---|---|---|---|---|---|---|---|\n")
    for r in rows:
        s = r["served"]
        one, many, q, b = s["alone"], s["crowd"], s["quiet"], s["busy"]
        out += (f"| {r['zones']} | {one['first_ms']['p50']:.1f} "
                f"| {one['whole_ms']['p50']:.0f} "
                f"| {many['first_ms']['p50']:.0f} (p99 "
                f"{many['first_ms']['p99']:.0f}) "
                f"| {many['whole_ms']['p50']:.0f} "
                f"| {many['answers_a_second']:.0f} "
                f"| {q['plane']['p99_us']:.0f} → {b['plane']['p99_us']:.0f} "
                f"| {q['loop']['p99_us'] / 1e3:.1f} → "
                f"{b['loop']['p99_us'] / 1e3:.1f} |\n")
    return out


def control():
    data, text = load("control")
    out = "\n## Control port\n" + text
    if not data:
        return out
    return out + together(data) + one_by_one(data) + port_costs(data)


def together(data):
    per_s = data["clients"] * 1000 // data["interval_ms"]
    out = (f"\nA node with {data['rate']} scheduled TLS attempts a second has "
           "a core; nginx, another node of its encrypted\nmesh and the clients "
           f"have another. *Busy*: {data['clients']} requests at once, "
           f"{data['count']} attempts each, one every\n{data['interval_ms']} "
           f"ms, over TLS: {per_s} a second, on the control loop. Quiet and "
           "busy take turns, "
           f"{data['seconds']:.0f} s each; medians with\n(least-most). *start "
           "lag* is how late a scheduled attempt began, of the last 1,024 "
           "samples; *own loop* how soon\n`/-/healthy` is answered by the "
           "loop that serves the port, probes on request and gossips; *ping* "
           "what another\nnode's failure detector takes for the round trip "
           "to it. Up to 128 attempts may be in flight here, instead of the "
           "usual 8,\nand all the hundred want theirs at the same "
           "moments.\n\n"
           "| | scheduled, /s | slots missed | failed | start lag ms, p50 "
           "| p99 | own loop ms, p50 | p99 | ping ms, p50 | pings failed "
           "| daemon, % of a core |\n" + "|---" * 11 + "|\n")
    rows = {name: [r for r in data["together"] if r["is_busy"] == is_busy]
            for name, is_busy in (("quiet", False), ("busy", True))}
    for name, mine in rows.items():
        def put(get, digits=2):
            return spread([get(r) for r in mine], digits)
        out += (f"| {name} | {put(lambda r: r['per_s'], 1)} "
                f"| {sum(r['missed_slots'] for r in mine)} "
                f"| {sum(r['failed'] for r in mine)} "
                f"| {put(lambda r: r['start_lag_us']['p50'] / 1e3)} "
                f"| {put(lambda r: r['start_lag_us']['p99'] / 1e3)} "
                f"| {put(lambda r: r['healthy_ms']['p50'])} "
                f"| {put(lambda r: r['healthy_ms']['p99'])} "
                f"| {put(lambda r: r['ping_ms']['p50'])} "
                f"| {sum(r['ping_failures'] for r in mine)} "
                f"| {put(lambda r: 100 * r['cpu_share'], 0)} |\n")
    ratios = [b["start_lag_us"]["p99"] / q["start_lag_us"]["p99"]
              for q, b in zip(rows["quiet"], rows["busy"])]
    cadence = [b["per_s"] / q["per_s"]
               for q, b in zip(rows["quiet"], rows["busy"])]
    asked = sum(r["answers"] for r in rows["busy"])
    made = sum(r["samples"] for r in rows["busy"])
    late = sum(r["missed"] for r in rows["busy"])
    others = (f" The machine was not ours\nalone: its load average was "
              f"{data['load']:.0f}." if data["load"] > 2 else "")
    return out + (f"\nBusy ÷ quiet: cadence {spread(cadence, 3)}, p99 of the "
                  f"start lag {spread(ratios)}. {asked} requests were "
                  f"answered\nwith {made} samples; {late} of their slots had "
                  f"no room.{others}\n")


def one_by_one(data):
    out = ("\nFrom `POST` to the first sample, one by one on a connection "
           "each: ms; *rest* is without what the sample says the\nattempt "
           "itself took.\n\n| | executed | p50 | p99 | rest, p50 | p99 |\n"
           "|---|---|---|---|---|---|\n")
    for r in data["one_by_one"]:
        where = "here" if r["from"] == "self" else "by another node"
        rest = r.get("rest_ms")
        out += (f"| {r['way']} | {where} | {r['first_ms']['p50']:.2f} "
                f"| {r['first_ms']['p99']:.2f} | "
                + (f"{rest['p50']:.2f} | {rest['p99']:.2f} |\n" if rest
                   else " | |\n"))
    return out


def port_costs(data):
    out = ("\nMemory, KiB: of a node with nothing else to do. *stalled* ask "
           "for 100 samples a second and read nothing, every third\nnot even "
           "ends its request; *open* had one sample and wait for the next, "
           "as many as one user may.\n\n"
           "| | clients | resident | anonymous |\n|---|---|---|---|\n")
    names = {"off": "no control port", "idle": "idle"}
    for name, m in data["memory"].items():
        out += (f"| {names.get(name, name)} | {m.get('clients', 0)} "
                f"| {m['rss']} | {m['anon']} |\n")
    out += ("\nRefused, 100 connections asking on and on (h2load): *denied* by "
            "the target policy, which always takes 200 ms so\nthat its time "
            "tells nothing; *rate_limited*, who asks too often.\n\n"
            "| | requests | /s | CPU µs each | anonymous memory, KiB more |\n"
            "|---|---|---|---|---|\n")
    for name, r in data["refused"].items():
        out += (f"| {name} | {r['requests']} | {r['per_s']:.0f} "
                f"| {r['cpu_us']:.1f} | {r['more_kib']} |\n")
    return out


def version(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else "?"


def machine():
    cpu = next((line.split(":")[1].strip() for line in
                pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "?")
    tools = [version("nginx", "-v"), version("openssl", "version"),
             version("curl", "--version").split(" (")[0],
             version("h2load", "--version"),
             version("prometheus-blackbox-exporter", "--version")
             .split(" (")[0]]
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    return ("\n## Machine\n\n"
            f"- {cpu}, {os.cpu_count()} cores, Linux {platform.release()}, "
            f"{system}\n"
            f"- load average when this was written: {load} (the benchmarks "
            "themselves keep two cores busy)\n"
            "- " + "; ".join(tools) + "\n"
            "- contestants and server run at nice "
            f"{os.environ.get('BENCH_NICE', '-20')}\n"
            "- commands: the scripts in `test/bench`; raw figures are "
            "left in `build/bench`\n")


def main():
    text = (HEAD + saturated() + rated() + memory() + mesh() + matrix() +
            control() + machine())
    path = pathlib.Path(os.environ.get("REPORT", ROOT / "docs/benchmarks.md"))
    path.write_text(text)
    print(f"   {path}")


if __name__ == "__main__":
    main()
