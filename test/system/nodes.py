"""Nodes on this machine's loopback, without root: each of them, and each test
run, has addresses of its own, so that fixed ports are never taken."""
import http.client
import json
import os
import signal

import netbed

# What a sanitizer says when it has found something.
FINDINGS = ("Sanitizer", "runtime error:")

CONFIG = """\
node: {{name: {name}, zone: {zone}, region: r1}}
probe:
  listen: "{address}:7443"
  cold_interval: 1s
  warm_interval: 100ms
api: {{listen: "{address}:7070"}}
tls: {{certificate: {path}/{name}.crt, key: {path}/{name}.key, ca: {path}/ca.crt}}
peers:
"""
PEER = '  - {{name: {name}, zone: {zone}, region: r1, address: "{address}:7443"}}\n'


def address(number):
    """The loopback address `number` (1..254) of this process."""
    pid = os.getpid()
    return f"127.{128 + (pid >> 8) % 127}.{pid % 256}.{number}"


def has_findings(text):
    return any(finding in text for finding in FINDINGS)


class Node:
    """A running `prober run`. Its process belongs to the bed."""

    def __init__(self, bed, name, where, config):
        self.name, self.address = name, where
        self.process = bed.spawn([netbed.PROBER, "run", "--config", config],
                                 log=f"{name}.log")

    def wait(self):
        self.process.wait_for("started", 30)

    def get(self, path, **headers):
        """(status, body) of a request to the API."""
        client = http.client.HTTPConnection(self.address, 7070, timeout=20)
        try:
            client.request("GET", path, headers=headers)
            answer = client.getresponse()
            return answer.status, answer.read()
        finally:
            client.close()

    def get_json(self, path):
        status, body = self.get(path)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def end(self, number=signal.SIGTERM, seconds=30):
        """Tell it to end, and hold it to having done so cleanly."""
        self.process.signal(number)
        code = self.process.popen.wait(seconds)
        text = self.process.text()
        assert code == 0 and not has_findings(text), (self.name, code, text)


def configure(bed, names):
    """Files for nodes that are each other's peers, a zone for each.

    {name: (address, path of its configuration)}"""
    netbed.authority(bed.path)
    known = [{"name": name, "zone": f"zone-{name}", "address": address(i)}
             for i, name in enumerate(names, 1)]
    files = {}
    for node in known:
        netbed.certificate(bed.path, node["name"], [f"IP:{node['address']}"])
        text = CONFIG.format(path=bed.path, **node) + "".join(
            PEER.format(**other) for other in known if other is not node)
        files[node["name"]] = (node["address"],
                               bed.file(f"{node['name']}.yaml", text))
    return files


def start(bed, names):
    """Running nodes, in the order of `names`; they answer."""
    nodes = [Node(bed, name, *where)
             for name, where in configure(bed, names).items()]
    for node in nodes:
        node.wait()
    return nodes

