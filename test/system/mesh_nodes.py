"""Nodes of ours that gossip, for tests of the mesh: plain HTTP/1.1 probes, few
of them, so that what is seen is the mesh and not the measuring.

    a = MeshNode(bed, "a", nodes.address(1), keys=[key])
    b = MeshNode(bed, "b", nodes.address(2), keys=[key], join=[a.address])
    b.state_of("a")
"""
import contextlib
import http.client
import json
import os
import pathlib
import signal
import subprocess
import time

import netbed
import nodes
import serf

CONFIG = """\
node: {{name: {name}, zone: {zone}, region: {region}}}
probe:
  listen: "{address}:7443"
  protocols: [http1]
  tls: false
  cold_interval: {interval}
  warm_interval: {interval}
gossip:
  listen: "{address}:7946"
  join: [{join}]
{more}api: {{listen: "{address}:7070"}}
log: {{level: {log_level}}}
"""


class MeshNode:
    """A daemon of ours; its process belongs to the bed."""

    def __init__(self, bed, name, address, host=None, join=(), keys=(),
                 label="", interval="30s", zone=None, region="r1",
                 log_level="debug"):
        self.bed, self.name, self.address, self.host = bed, name, address, host
        self.zone, self.region = zone or f"zone-{name}", region
        self.is_encrypted = bool(keys)
        more = ""
        if keys:
            self.write_keys(keys)
            more += f"  keys_file: {self.keys_path}\n"
        if label:
            more += f"  label: {label}\n"
        self.config = bed.file(f"{name}.yaml", CONFIG.format(
            name=name, zone=self.zone, region=region, address=address,
            interval=interval, more=more, log_level=log_level,
            join=", ".join(f'"{a}:7946"' for a in join)))
        self.process = None
        self.start()

    @property
    def keys_path(self):
        return f"{self.bed.path}/{self.name}.keys"

    def write_keys(self, keys):
        self.bed.file(f"{self.name}.keys",
                      "".join(serf.key_text(k) + "\n" for k in keys))
        os.chmod(self.keys_path, 0o600)

    def set_keys(self, keys):
        """A new keyring; the first one seals."""
        self.write_keys(keys)
        self.process.signal(signal.SIGHUP)

    def start(self):
        self.process = self.bed.spawn(
            [netbed.PROBER, "run", "--config", self.config], self.host,
            log=f"{self.name}.log")

    def wait(self, seconds=20):
        """Until it answers."""
        def answers():
            if not self.process.is_alive():
                raise RuntimeError(f"{self.name} ended\n{self.process.text()}")
            with contextlib.suppress(OSError,
                                     subprocess.CalledProcessError):
                return self.get("/livez")[0] == 200
            return False
        netbed.until(answers, seconds, f"{self.name} answers")

    def get(self, path):
        """(status, body) of a request to the API; from within its host."""
        if self.host:
            out = subprocess.run(
                [*self.host.enter, "curl", "-sS", "--max-time", "10",
                 "-w", "\n%{http_code}", f"http://{self.address}:7070{path}"],
                capture_output=True, check=True).stdout
            body, _, status = out.rpartition(b"\n")
            return int(status), body
        client = http.client.HTTPConnection(self.address, 7070, timeout=20)
        with contextlib.closing(client):
            client.request("GET", path)
            answer = client.getresponse()
            return answer.status, answer.read()

    def get_json(self, path):
        status, body = self.get(path)
        assert status == 200, (self.name, path, status, body)
        return json.loads(body)

    def members(self):
        """{name: member}; "tags" become a dict."""
        out = {}
        for member in self.get_json("/api/v1/members")["members"]:
            member["tags"] = {t["key"]: t["value"]
                              for t in member.get("tags") or []}
            out[member["name"]] = member
        return out

    def state_of(self, name):
        return self.members().get(name, {}).get("state")

    def leave(self, seconds=20):
        """Ask it to end, which it tells the others; must be clean."""
        self.process.signal(signal.SIGTERM)
        code = self.process.popen.wait(seconds)
        text = self.process.text()
        assert code == 0 and not nodes.has_findings(text), (
            self.name, code, text[-4000:])

    def kill(self):
        self.process.signal(signal.SIGKILL)
        self.process.popen.wait()

    def own_kib(self):
        """Resident memory but for the program's and its libraries' files,
        which come back as they are needed."""
        return memory_kib(self.process.pid)["Anonymous"]

    def cpu_s(self):
        """CPU time of all its threads so far."""
        return cpu_s(self.process.pid)


def memory_kib(pid):
    """What smaps_rollup says: "Rss", "Anonymous" and others."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {words[0].rstrip(":"): int(words[1]) for words in
            map(str.split, lines.splitlines()[1:])}


def cpu_s(pid):
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def all_alive(everyone, names=None):
    """Do all nodes and agents hold all of these names alive?"""
    names = set(names or [one.name for one in everyone])
    for one in everyone:
        states = states_of(one)
        if any(states.get(name) != "alive" for name in names):
            return False
    return True


def states_of(one):
    """{name: state} in our words, as a node or an agent sees them."""
    return {name: m.get("state") or m["status"]
            for name, m in one.members().items()}


def wait_alive(everyone, seconds=20, names=None):
    """Until all hold all alive; returns the seconds that took."""
    start = time.monotonic()
    try:
        netbed.until(lambda: all_alive(everyone, names), seconds, "all alive")
    except RuntimeError:
        raise AssertionError({one.name: states_of(one) for one in everyone})
    return time.monotonic() - start


def key(number):
    """A key of 32 bytes; another one for another number."""
    return bytes((number * 16 + i) % 256 for i in range(32))

