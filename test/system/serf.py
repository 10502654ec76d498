"""Real Serf agents, for tests of the mesh against the original.

    alpha = Agent(bed, "alpha", "127.0.1.5", keys=[key], tags={"zone": "a"})
    alpha.wait()
    alpha.join("127.0.1.1")
    alpha.members()["alpha"]["status"]

Each has an address of its own, so that ports are never taken; its log holds
the levels from debug up, and every event goes through a handler into a file.
Processes belong to the bed and are stopped by their id.
"""
import base64
import collections
import json
import os
import re
import shutil
import signal
import subprocess

from netbed import until

RPC_PORT = 7373
PORT = 7946
LINE = re.compile(r"\s*\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] (.*)")
# One line an event: what kind, of what name, when, payload.
HANDLER = """\
#!/bin/sh
echo "$SERF_EVENT" "${SERF_USER_EVENT:--}" "${SERF_USER_LTIME:--}" \
"$(base64 -w0)" >>"$0.out"
"""

Event = collections.namedtuple("Event", "kind name ltime payload")


def why_not():
    """Why there is no agent to test with, or None."""
    return None if shutil.which("serf") else "not installed: serf"


def key_text(key):
    return base64.b64encode(key).decode()


class Agent:
    def __init__(self, bed, name, address, host=None, keys=(), tags=None,
                 log_level="debug", options=(), handler=True):
        self.bed, self.name, self.address, self.host = bed, name, address, host
        self.log_level, self.tags = log_level, tags or {}
        self.options, self.lives = list(options), 0
        self.handler = None
        if handler:
            self.handler = bed.file(f"serf-{name}.sh", HANDLER)
            os.chmod(self.handler, 0o755)
        self.keyring = None
        if keys:
            self.keyring = bed.file(f"serf-{name}.keys", json.dumps(
                [key_text(k) for k in keys]))
        self.process = None
        self.start()

    def start(self):
        """Start, for the first time or again; with the keys it last had."""
        argv = ["serf", "agent", f"-node={self.name}",
                f"-bind={self.address}:{PORT}", f"-rpc-addr={self.rpc}",
                f"-log-level={self.log_level}", *self.options]
        if self.handler:
            argv.append(f"-event-handler={self.handler}")
        argv += [f"-tag={k}={v}" for k, v in self.tags.items()]
        if self.keyring:
            argv.append(f"-keyring-file={self.keyring}")
        self.lives += 1
        self.process = self.bed.spawn(argv, self.host,
                                      log=f"serf-{self.name}.log")

    @property
    def rpc(self):
        return f"{self.address}:{RPC_PORT}"

    def command(self, *words, may_fail=False):
        """Output of a `serf` command that asks this agent."""
        prefix = self.host.enter if self.host else []
        done = subprocess.run(
            [*prefix, "serf", words[0], f"-rpc-addr={self.rpc}", *words[1:]],
            text=True, check=False, capture_output=True, timeout=60)
        if done.returncode and not may_fail:
            raise RuntimeError(f"serf {words}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def answers(self):
        return self.process.is_alive() and '"members"' in self.command(
            "members", "-format=json", may_fail=True)

    def wait(self, seconds=10):
        self.process.wait_for("agent: Serf agent starting", seconds)
        until(self.answers, seconds, f"{self.name}: no rpc")

    def members(self):
        """{name: member}; "status", "tags" and "addr" are what one wants."""
        out = self.command("members", "-format=json")
        return {m["name"]: m for m in json.loads(out)["members"]}

    def status(self, name):
        return self.members().get(name, {}).get("status")

    def join(self, address):
        self.command("join", f"{address}:{PORT}")

    def event(self, name, payload=""):
        self.command("event", "-coalesce=false", name, payload)

    def keys(self, what, key):
        """Tell the cluster's agents to install, use or remove a key. It
        counts members of ours as failures, as they answer no queries."""
        return self.command("keys", f"-{what}={key_text(key)}", may_fail=True)

    def leave(self, seconds=20):
        self.command("leave")
        return self.process.popen.wait(seconds)

    def kill(self):
        """Gone without a word, as by a power cut."""
        self.process.signal(signal.SIGKILL)
        self.process.popen.wait()

    def lines(self):
        """(level, text) of its log."""
        return [m.groups() for m in map(
            LINE.match, self.process.text().splitlines()) if m]

    def complaints(self):
        """Its log's warnings and errors."""
        return [text for level, text in self.lines()
                if level in ("WARN", "ERR", "ERROR")]

    def events(self, kind="user"):
        """What its handler was given, in order."""
        try:
            with open(self.handler + ".out", encoding="ascii") as f:
                rows = [line.split() for line in f if line.endswith("\n")]
        except FileNotFoundError:
            return []
        return [Event(*row[:3], base64.b64decode(row[3]) if row[3:] else b"")
                for row in rows if row[0] == kind]
