#!/usr/bin/python3
"""Nodes that know of each other by gossip alone: who joins is probed, who
leaves is not any more, who fails is probed on, and what was measured of one is
never taken for another's."""
import os
import signal
import time

import nodes
import tap
from netbed import Bed, until

CONFIG = """\
node: {{name: {name}, zone: zone-{name}, region: r1}}
probe:
  listen: "{address}:7443"
  cold_interval: 1s
  warm_interval: 100ms
api: {{listen: "{address}:7070"}}
gossip: {{listen: "{address}:7946", join: ["{seed}:7946"]{more}}}
{extra}
"""


class Mesh:
    """Nodes of one bed; the first one is the others' first contact."""

    def __init__(self, bed, names, keys=None):
        self.bed = bed
        self.keys = keys
        self.places = {name: nodes.address(i)
                       for i, name in enumerate(names, 1)}
        self.seed = nodes.address(1)
        self.starts = 0

    def start(self, name, extra="", address=None):
        where = address or self.places[name]
        more = f', keys_file: "{self.keys}"' if self.keys else ""
        path = self.bed.file(f"{name}.yaml", CONFIG.format(
            name=name, address=where, seed=self.seed, extra=extra, more=more))
        self.starts += 1
        node = nodes.Node(self.bed, f"{name}-{self.starts}", where, path)
        node.wait()
        return node


def columns(node):
    """{name: attempts so far} of whom the matrix of a node speaks."""
    matrix = node.get_json("/api/v1/matrix?level=node&protocol=all")
    return {c["to"]: c for c in matrix["cells"]}


def samples(node, **query):
    """The recent samples of a node."""
    import json
    text = "&".join(f"{k}={v}" for k, v in query.items())
    status, body = node.get("/api/v1/samples?limit=1000"
                            + ("&" + text if text else ""))
    assert status == 200, (status, body)
    return [json.loads(line) for line in body.splitlines()]


def is_probed(node, name, outcome="ok"):
    """Is there a sample of that node among the newest?"""
    return any(s["to"]["node"] == name and s["outcome"] == outcome
               for s in samples(node)[-60:])


def states(node):
    return {m["name"]: m["state"]
            for m in node.get_json("/api/v1/members")["members"]}


def who_joins_is_probed_and_who_leaves_is_not():
    with Bed() as bed:
        mesh = Mesh(bed, ["a", "b", "c"])
        a = mesh.start("a")
        assert states(a) == {"a": "alive"}
        b, c = mesh.start("b"), mesh.start("c")
        for node, others in ((a, "bc"), (b, "ac"), (c, "ab")):
            for other in others:
                until(lambda: is_probed(node, other), 20,
                      f"{node.name} probes {other}")
        assert states(a) == {"a": "alive", "b": "alive", "c": "alive"}
        assert set(columns(a)) >= {"b", "c"}

        begun = time.monotonic()
        c.end()
        assert time.monotonic() - begun < 6
        until(lambda: states(a)["c"] == "left", 10, "c has left")
        time.sleep(1.5)
        seen = len([s for s in samples(a) if s["to"]["node"] == "c"])
        time.sleep(2)
        late = [s for s in samples(a) if s["to"]["node"] == "c"]
        assert len(late) <= seen, "c is probed on"
        # What is shown of it still has its name.
        assert all(s["to"]["zone"] == "zone-c" for s in late)
        assert not [s for s in samples(b) if s["to"]["node"] is None]
        assert is_probed(a, "b") and is_probed(b, "a")
        a.end()
        b.end()


def who_fails_is_probed_on():
    with Bed() as bed:
        mesh = Mesh(bed, ["a", "b", "c"])
        a, b, c = (mesh.start(name) for name in "abc")
        until(lambda: is_probed(a, "c") and is_probed(a, "b"), 20, "probed")
        c.process.signal(signal.SIGKILL)
        until(lambda: states(a)["c"] == "failed", 40, "c has failed")
        assert any("member_failed" in line and "node=c" in line
                   for line in a.process.text().splitlines())
        time.sleep(1)
        until(lambda: is_probed(a, "c", "connect_refused"), 5,
              "c is probed on")
        assert columns(a)["c"]["failed"] >= 0
        a.end()
        b.end()


def who_comes_back_elsewhere_is_probed_there():
    with Bed() as bed:
        mesh = Mesh(bed, ["a", "b"])
        a, b = mesh.start("a"), mesh.start("b")
        until(lambda: is_probed(a, "b"), 20, "probed")
        b.end()
        until(lambda: states(a)["b"] == "left", 10, "b has left")
        elsewhere = nodes.address(7)
        time.sleep(31)  # until then the name is its old address's
        b = mesh.start("b", address=elsewhere)
        until(lambda: any(s["target"].startswith(f"https://{elsewhere}:")
                          and s["outcome"] == "ok" for s in samples(a)), 40,
              "b is probed where it is now")
        for s in samples(a):
            assert s["to"]["node"] == "b", s
        a.end()
        b.end()


def keys_are_read_again():
    with Bed() as bed:
        one = os.urandom(32)
        import base64
        text = base64.b64encode(one).decode() + "\n"
        more = text + base64.b64encode(os.urandom(32)).decode() + "\n"
        keys = bed.file("gossip.keys", text)
        mesh = Mesh(bed, ["a", "b"], keys=keys)
        a, b = mesh.start("a"), mesh.start("b")
        until(lambda: is_probed(a, "b") and is_probed(b, "a"), 20, "probed")
        bed.file("gossip.keys", "nonsense\n")
        a.process.signal(signal.SIGHUP)
        a.process.wait_for("keys_refused", 5)
        bed.file("gossip.keys", more)
        a.process.signal(signal.SIGHUP)
        a.process.wait_for("keys_reloaded count=2", 5)
        assert states(a)["b"] == "alive"
        a.end()
        b.end()


def nodes_that_come_and_go_leave_nothing_behind():
    """Under a sanitizer this is where targets that leave while they are being
    probed are looked at."""
    with Bed() as bed:
        mesh = Mesh(bed, ["a", "b", "c", "d"])
        a = mesh.start("a")
        for round in range(3):
            others = [mesh.start(name) for name in "bcd"]
            until(lambda: all(is_probed(a, name) for name in "bcd"), 30,
                  "all are probed")
            for node in others:
                node.end()
            until(lambda: all(states(a)[name] == "left" for name in "bcd"),
                  20, "all have left")
        for s in samples(a):
            name = s["to"]["node"]
            assert s["target"] == f"https://{mesh.places[name]}:7443/probe", s
            assert s["to"]["zone"] == f"zone-{name}"
        a.end()


if __name__ == "__main__":
    tap.run([
        who_joins_is_probed_and_who_leaves_is_not,
        who_fails_is_probed_on,
        keys_are_read_again,
        nodes_that_come_and_go_leave_nothing_behind,
        who_comes_back_elsewhere_is_probed_there,
    ])
