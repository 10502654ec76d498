"""Nine real nodes in three zones, a network namespace a zone, with links of
known delay between them, joined by encrypted gossip.

    with netbed.Bed() as bed:
        mesh = three_zones.Mesh(bed)
        bed.callback(mesh.kill)
        mesh.wait_members()
        mesh["a-1"].get("members")
"""
import contextlib
import ctypes
import http.client
import json
import os
import signal
import socket
import time
import urllib.parse

import netbed

ZONES = ("a", "b", "c")
NODES = [f"{zone}-{i}" for zone in ZONES for i in (1, 2, 3)]
REGIONS = {"a": "r1", "b": "r1", "c": "r2"}
# One way, in ms: there, back.
DELAYS = {("a", "b"): (4, 4), ("a", "c"): (15, 25), ("b", "c"): (30, 30)}
RETENTION_S = 80
CLONE_NEWNET = 0x40000000

CONFIG = """\
node: {{name: {name}, zone: {zone}, region: {region}}}
probe:
  listen: "{address}:7443"
  cold_interval: 1s
  warm_interval: 1s
  timeout: 4s
gossip:
  listen: "{address}:7946"
  join: ["10.77.1.1:7946", "10.77.2.1:7946", "10.77.3.1:7946"]
  keys_file: {path}/gossip.keys
  label: matrix
api: {{listen: "{address}:7070"}}
history: {{retention: {retention}s}}
log: {{level: info, format: text}}
{more}"""


@contextlib.contextmanager
def inside(host):
    """This thread is in the host's network; sockets made here stay there."""
    with open("/proc/self/ns/net") as back, open(host.net) as there:
        if netbed.LIBC.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            netbed.LIBC.setns(back.fileno(), CLONE_NEWNET)


class Node:
    def __init__(self, mesh, name, more):
        self.mesh, self.name, self.zone = mesh, name, name[0]
        self.host = mesh.hosts[self.zone]
        self.address = f"10.77.{ZONES.index(self.zone) + 1}.{name[2]}"
        self.host.add("lo", f"{self.address}/32")
        self.config = mesh.bed.file(f"{name}.yaml", CONFIG.format(
            name=name, zone=self.zone, region=REGIONS[self.zone],
            address=self.address, path=mesh.bed.path,
            retention=RETENTION_S, more=more))
        self.process = None

    def start(self):
        self.process = self.mesh.bed.spawn(
            [netbed.PROBER, "run", "--config", self.config], self.host,
            log=f"{self.name}.log")

    def wait_up(self):
        """Until its API answers. Others have that port in this zone, too."""
        def is_up():
            assert self.process.is_alive(), self.process.text()
            with inside(self.host), socket.socket() as sock:
                return sock.connect_ex((self.address, 7070)) == 0
        netbed.until(is_up, 10, f"{self.name} up")

    def get(self, path, **query):
        with inside(self.host):
            sock = socket.create_connection((self.address, 7070), 10)
        client = http.client.HTTPConnection(self.address, 7070, timeout=10)
        client.sock = sock
        with contextlib.closing(client):
            client.request("GET", f"/api/v1/{path}?" + urllib.parse.urlencode(
                query))
            reply = client.getresponse()
            body = reply.read().decode()
        assert reply.status == 200, (self.name, path, query, body)
        return json.loads(body)

    def matrix(self, window="5m", level="zone", **query):
        return self.get("matrix", window=window, level=level, **query)

    def cells(self, window="5m", **query):
        """{(from, to): cell}"""
        return {(c["from"], c["to"]): c
                for c in self.matrix(window, **query)["cells"]}

    def alive(self):
        return {m["name"] for m in self.get("members")["members"]
                if m["state"] == "alive"}

    def timeline(self, origin, to, level="zone"):
        """When the windows began that it has of a cell, in unix seconds."""
        cell = self.get(f"cells/{origin}/{to}", window="5m", level=level)
        return {unix(t["at"]) for c in cell["cells"] for t in c["timeline"]
                if t["attempts"]}


def unix(text):
    return int(time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
               - time.timezone)


class Mesh:
    """The nodes, their zones and the links between these. `more` is what else
    stands in the configuration of a node of that name."""

    def __init__(self, bed, more=lambda name: ""):
        self.bed = bed
        self.hosts = {zone: bed.host(f"zone-{zone}") for zone in ZONES}
        self.nodes = {name: Node(self, name, more(name))
                      for name in NODES}
        self.cables = {}
        for n, ((a, b), (there, back)) in enumerate(DELAYS.items()):
            link = ["--delay-ab", str(there), "--delay-ba", str(back)]
            self.cables[a, b] = bed.cable(
                self.hosts[a], f"198.51.100.{4 * n + 1}/30",
                self.hosts[b], f"198.51.100.{4 * n + 2}/30", link)
            for near, far, via in (a, b, 4 * n + 2), (b, a, 4 * n + 1):
                self.hosts[near].run(
                    "ip", "route", "add", f"10.77.{ZONES.index(far) + 1}.0/24",
                    "via", f"198.51.100.{via}",
                    "src", f"10.77.{ZONES.index(near) + 1}.1")
        key = netbed.run(netbed.PROBER, "keygen")
        os.chmod(bed.file("gossip.keys", key), 0o600)
        for node in self.nodes.values():
            node.start()
        for node in self.nodes.values():
            node.wait_up()

    def kill(self):
        """At once: to end in order takes each some seconds."""
        for node in self.nodes.values():
            node.process.signal(signal.SIGKILL)

    def __getitem__(self, name):
        return self.nodes[name]

    def of(self, zones):
        return [n for n in self.nodes.values() if n.zone in zones]

    def wait_members(self, seconds=60):
        netbed.until(lambda: all(n.alive() == set(NODES)
                                 for n in self.nodes.values()),
                     seconds, "all know all")

    def cut(self, zone):
        for ends, cable in self.cables.items():
            if zone in ends:
                cable.cut()

    def mend(self, zone):
        for ends, cable in self.cables.items():
            if zone in ends:
                cable.mend()

    @contextlib.contextmanager
    def no_way_in(self, origin, to):
        """Zone `to` hears nothing of what `origin` wants to connect to it."""
        host = self.hosts[to]
        rule = ["pref", "5", "iif", f"zone-{origin}", "ipproto", "6",
                "dport", "7443", "blackhole"]
        host.run("ip", "rule", "add", "pref", "10", "lookup", "local")
        host.run("ip", "rule", "del", "pref", "0")
        host.run("ip", "rule", "add", *rule)
        try:
            yield
        finally:
            host.run("ip", "rule", "del", *rule)
