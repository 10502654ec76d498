#!/usr/bin/python3
"""Six nodes in three zones on this machine, and their matrix, live.

usage: demo.py [--wan] [--seconds N] [--phase P] [--ask NODE,...] [--keep]
               [--check]

  --wan        a network namespace per zone, joined by links of different
               length, jitter and loss (needs root)
  --seconds N  end after N seconds instead of at Ctrl-C
  --phase P    show this phase only, instead of one after the other
  --ask NODES  whose API is asked for the matrix (a-1; any one knows it all)
  --check      write the configurations, print one, and end
  --keep       leave the files (configurations, certificates, logs) there

Each node has an address, a certificate and a host name of its own, which a
real resolver serves. They find each other by gossip, encrypted with a key made
for this run, and each knows the results of all. Nothing listens anywhere but
on loopback or inside the namespaces, and nothing is left at the end.
"""
import argparse
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "system"))
import netbed  # noqa: E402 (it lives beside the system tests)

ZONES = {"a": "r1", "b": "r1", "c": "r2"}  # zone -> region
DNS = "127.0.0.1:5300"
PHASES = ("connect", "tls", "ttfb", "total")
EVERY_S = 2

# What lies between two zones, as options of linkem: a neighbour, a region
# away, and a bad line to the third.
LINKS = {
    ("a", "b"): ["--delay", "0.6", "--jitter", "0.1"],
    ("a", "c"): ["--delay", "12", "--jitter", "1.5"],
    ("b", "c"): ["--delay-ab", "20", "--delay-ba", "28", "--jitter", "4",
                 "--loss", "1"],
}

CONFIG = """\
node: {{name: {name}, zone: {zone}, region: {region}}}
probe:
  listen: "{address}:7443"
  host: {host}
  protocols: [http1, grpc]
  cold_interval: 2s
  warm_interval: 1s
  timeout: 5s
api: {{listen: "{address}:7070"}}
tls: {{certificate: {path}/{name}.crt, key: {path}/{name}.key, ca: {path}/ca.crt}}
dns: {{servers: ["{dns}"]}}
gossip: {{listen: "{address}:7946", join: [{join}], keys_file: {path}/gossip.keys}}
log: {{level: info, format: text}}
"""


def all_nodes(is_wan):
    """name -> what the templates need, but for the path."""
    nodes = {}
    for z, (zone, region) in enumerate(ZONES.items(), 1):
        for i in 1, 2:
            name = f"{zone}-{i}"
            address = (f"10.77.{z}.{i}" if is_wan
                       else f"127.0.1.{len(nodes) + 1}")
            nodes[name] = {"name": name, "zone": zone, "region": region,
                           "address": address, "dns": DNS,
                           "host": f"{name}.mesh.test"}
    return nodes


def write_files(path, nodes):
    """Certificates, the gossip's key, and a configuration for each node:
    name.yaml."""
    netbed.authority(path)
    keys = pathlib.Path(path, "gossip.keys")
    keys.write_text(netbed.run(netbed.PROBER, "keygen"))
    keys.chmod(0o600)
    # Any that is there is enough; one per zone, so that one always is.
    join = ", ".join('"' + node["address"] + ':7946"' for node in nodes.values()
                     if node["name"].endswith("-1"))
    for node in nodes.values():
        netbed.certificate(path, node["name"], [
            f"DNS:{node['host']}", f"IP:{node['address']}"])
        text = CONFIG.format(path=path, join=join, **node)
        pathlib.Path(path, f"{node['name']}.yaml").write_text(text)


def start_loopback(bed, nodes):
    """The resolver; every node lives on the machine itself."""
    resolver(bed, None, nodes)
    return {name: None for name in nodes}


def start_wan(bed, nodes):
    """A host per zone, the links between them, a resolver on each.

    Both nodes of a zone have their address on its loopback; what is not
    there is reached through the link to the zone that has it."""
    hosts = {zone: bed.host(f"zone-{zone}") for zone in ZONES}
    subnet = {zone: f"10.77.{z}" for z, zone in enumerate(ZONES, 1)}
    for node in nodes.values():
        hosts[node["zone"]].add("lo", f"{node['address']}/32")
    for n, ((a, b), link) in enumerate(LINKS.items()):
        bed.cable(hosts[a], f"198.51.100.{4 * n + 1}/30",
                  hosts[b], f"198.51.100.{4 * n + 2}/30", link)
        for near, far, via in (a, b, 4 * n + 2), (b, a, 4 * n + 1):
            hosts[near].run("ip", "route", "add", f"{subnet[far]}.0/24",
                            "via", f"198.51.100.{via}",
                            "src", f"{subnet[near]}.1")
    for host in hosts.values():
        resolver(bed, host, nodes)
    return {name: hosts[node["zone"]] for name, node in nodes.items()}


def resolver(bed, host, nodes):
    address, port = DNS.split(":")
    names = {node["host"]: node["address"] for node in nodes.values()}
    label = host.name if host else "loopback"
    process = bed.spawn(netbed.resolver_command(address, names, port), host,
                        log=f"dns-{label}.log")
    process.wait_port(int(port), "udp")


def matrix(node, host, protocol, phase, is_terminal):
    """What `prober matrix` says when it asks `node`."""
    prefix = host.enter if host else []
    colour = {"CLICOLOR_FORCE": "1"} if is_terminal else {}
    done = subprocess.run(
        [*prefix, netbed.PROBER, "matrix", "--level", "zone", "--stat", "p50",
         "--protocol", protocol, "--phase", phase,
         "--api", f"http://{node['address']}:7070"],
        text=True, check=False, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, **colour})
    return done.stdout.strip()


def show(asked, phase, is_terminal):
    pages = [matrix(node, host, protocol, phase, is_terminal)
             for protocol in ("http1", "grpc") for node, host in asked]
    clear = "\033[H\033[2J" if is_terminal else ""
    print(clear + "\n\n".join(pages), flush=True)


def watch(nodes, hosts, processes, options):
    end = time.monotonic() + (options.seconds or float("inf"))
    tick = 0
    while time.monotonic() < end:
        time.sleep(min(EVERY_S, max(0, end - time.monotonic())))
        for name, process in processes.items():
            if not process.is_alive():
                raise RuntimeError(f"{name} ended\n{process.text()}")
        # A phase stays for three looks, long enough to be read.
        show([(nodes[name], hosts[name]) for name in options.ask],
             options.phase or PHASES[tick // 3 % len(PHASES)],
             sys.stdout.isatty())
        tick += 1


def announce(nodes, hosts):
    print("the nodes are up (Ctrl-C ends); ask them at")
    for name, node in nodes.items():
        enter = " ".join(hosts[name].enter[:-1]) if hosts[name] else ""
        print(f"  http://{node['address']}:7070  {name}  {enter}")
    sys.stdout.flush()


def demo(options):
    nodes = all_nodes(options.wan)
    with netbed.Bed(keep=options.keep) as bed:
        write_files(bed.path, nodes)
        if options.check:
            print(pathlib.Path(bed.path, "a-1.yaml").read_text(), end="")
            return
        start = start_wan if options.wan else start_loopback
        hosts = start(bed, nodes)
        processes = {
            name: bed.spawn([netbed.PROBER, "run", "--config",
                             f"{bed.path}/{name}.yaml"], hosts[name],
                            log=f"{name}.log") for name in nodes}
        # The end takes each of them some seconds, so all end together.
        bed.callback(lambda: [process.signal(signal.SIGTERM)
                              for process in processes.values()])
        for process in processes.values():
            process.wait_port(7070)
        announce(nodes, hosts)
        watch(nodes, hosts, processes, options)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][7:])
    parser.add_argument("--wan", action="store_true")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--phase")
    parser.add_argument("--ask", default="a-1",
                        type=lambda text: text.split(","))
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if not set(options.ask) <= set(all_nodes(options.wan)):
        parser.error("--ask names a node that is not there")
    if options.wan and (why := netbed.why_not("dnsmasq")):
        sys.exit(f"demo-wan: {why}")
    try:
        demo(options)
    except KeyboardInterrupt:
        print()
    except RuntimeError as error:
        sys.exit(f"demo: {error}")


if __name__ == "__main__":
    main()
