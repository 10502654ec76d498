#!/usr/bin/python3
"""A dead zone does not slow the probing of the live ones.

A node probes five live peers; then the same with one peer more that swallows
every packet, and then with a thousand such targets. What is counted are the
probes that the live peers answer: as many as the intervals say, whatever the
dead do. The ends of a stretch fall between attempts, and a busy machine may
skip a slot; hence a small allowance.
"""
import json
import time

import tap
from netbed import PROBER, Bed, until, why_not

NEAR, FAR = "10.77.0.2", "10.77.0.1"
LIVE, STRETCH_S = 5, 10
COLD_S, WARM_S = 1, 0.25
# Over both protocols.
WANTED_RATE = 2 * (1 / COLD_S + 1 / WARM_S)

HEAD = """\
node: {{name: near, zone: a}}
probe:
  listen: "127.0.0.1:7443"
  cold_interval: {cold}ms
  warm_interval: {warm}ms
  timeout: {timeout}
  protocols: [http1, grpc]
  in_flight_max: {in_flight}
  in_flight_per_target_max: 4
api: {{listen: "127.0.0.1:7070"}}
tls: {{certificate: {path}/near.crt, key: {path}/near.key, ca: {path}/ca.crt}}
peers:
"""
PEER = '  - {{name: {name}, zone: {zone}, address: "{address}"}}\n'
TARGET = '  - {{name: {name}, zone: {zone}, url: "https://{address}"}}\n'


class Site:
    """The live peers on one host, a black hole behind it, and who probes."""

    def __init__(self, bed):
        self.bed = bed
        self.near, self.far = bed.host("near"), bed.host("far")
        bed.cable(self.near, f"{NEAR}/24", self.far, f"{FAR}/24")
        # far does not forward: what is sent there for others is lost.
        self.near.run("ip", "route", "add", "198.51.100.0/24", "via", FAR)
        self.near.run("ip", "route", "add", "10.77.128.0/17", "via", FAR)
        bed.authority()
        bed.certificate("far", [f"IP:{FAR}"])
        bed.certificate("near", ["IP:127.0.0.1"])
        for i in range(LIVE):
            self.start_peer(i)

    def start_peer(self, i):
        config = self.bed.file(f"live-{i}.yaml", f"""\
node: {{name: live-{i}, zone: b}}
probe: {{listen: "{FAR}:{8000 + i}"}}
api: {{listen: "{FAR}:{9000 + i}"}}
tls: {{certificate: {self.bed.path}/far.crt, key: {self.bed.path}/far.key}}
""")
        self.far.spawn([PROBER, "run", "--config", config],
                       log=f"live-{i}.log").wait_port(8000 + i)

    def start_node(self, dead_peers=0, dead_targets=0, timeout="5s",
                   in_flight=1024):
        text = HEAD.format(cold=int(COLD_S * 1000), warm=int(WARM_S * 1000),
                           path=self.bed.path, timeout=timeout,
                           in_flight=in_flight)
        for i in range(LIVE):
            text += PEER.format(name=f"live-{i}", zone="b",
                                address=f"{FAR}:{8000 + i}")
        for i in range(dead_peers):
            text += PEER.format(name=f"dead-{i}", zone="c",
                                address=f"198.51.100.{i + 1}:7443")
        if dead_targets:
            text += "targets:\n"
        for i in range(dead_targets):
            text += TARGET.format(name=f"void-{i}", zone="d",
                                  address=f"10.77.{128 + i // 250}."
                                          f"{i % 250 + 1}")
        config = self.bed.file("near.yaml", text)
        node = self.near.spawn([PROBER, "run", "--config", config],
                               log="near.log")
        node.wait_port(7070)
        return node

    def api(self, path, host=None, address="127.0.0.1:7070"):
        return (host or self.near).run("curl", "-sS", "-m", "20", "--fail",
                                       f"http://{address}{path}")

    def plane(self, *where):
        """What a node says of its measuring thread, once it says so."""
        def said():
            return json.loads(self.api("/api/v1/status", *where))["plane"]
        until(said, 10, "status of the plane")
        return said()

    def answered(self):
        """[(when, probes answered so far)] of each live peer."""
        every = []
        for i in range(LIVE):
            plane = self.plane(self.far, f"{FAR}:{9000 + i}")
            every.append((time.monotonic() - plane["age_s"],
                          plane["inbound"]["requests"]))
        return every

    def rates(self):
        """Attempts a second that each live peer saw over a stretch, and what
        the node itself says at its end."""
        until(lambda: self.plane()["ok"] > 0, 15, "the first sample")
        time.sleep(3)  # connections are held, the dead are many
        before = self.answered()
        time.sleep(STRETCH_S)
        after = self.answered()
        return [(n - m) / (t - s) for (s, m), (t, n) in zip(before, after)
                ], self.plane()


def report(what, rates, node):
    print(f"# {what}: {min(rates):.2f} to {max(rates):.2f} attempts a second"
          f" at each live peer, {WANTED_RATE:g} wanted; missed slots"
          f" {node['missed_slots']}, in flight at most {node['in_flight_max']},"
          f" failed {node['failed']}, lag p99"
          f" {node['loop_lag_ns']['p99'] / 1e6:.1f} ms", flush=True)


def holds_cadence(rates):
    """Every live peer was probed as often as it should have been."""
    assert len(rates) == LIVE
    for rate in rates:
        assert 0.93 <= rate / WANTED_RATE <= 1.05, rates


def five_live_peers_are_probed_on_time():
    with Bed() as bed:
        site = Site(bed)
        site.start_node()
        rates, node = site.rates()
        report("all live", rates, node)
        holds_cadence(rates)
        assert node["failed"] == 0, node


def a_dead_peer_does_not_slow_the_live_ones():
    with Bed() as bed:
        site = Site(bed)
        site.start_node(dead_peers=1)
        rates, node = site.rates()
        report("one dead", rates, node)
        holds_cadence(rates)
        assert node["failed"] > 0, node
        # Four attempts at once, a new one each second, 5 s each: it has slots
        # that find no room. So does its held connection.
        assert node["missed_slots"] > 0, node
        dead = [json.loads(line) for line in
                site.api("/api/v1/samples?target=dead-0").splitlines()]
        assert dead
        assert {s["outcome"] for s in dead} == {"connect_timeout"}, dead[0]
        assert all(s["phases_ns"]["connect"] is None for s in dead)


def a_thousand_dead_targets_do_not_slow_the_live_ones():
    with Bed() as bed:
        site = Site(bed)
        # Room for all of them: 1000 targets, 4 cold attempts and a warm one.
        site.start_node(dead_peers=1, dead_targets=1000, in_flight=8192,
                        timeout="3s")
        rates, node = site.rates()
        report("1000 dead", rates, node)
        holds_cadence(rates)
        assert node["in_flight_max"] > 2000, node
        assert node["failed"] > 1000, node
        assert node["queue_drops"] == 0, node
        status = json.loads(site.api("/api/v1/status"))
        assert status["live"], status


def a_full_house_counts_what_it_turns_away():
    """Too little room for all: attempts are missed and counted, those of the
    live among them; nothing queues up and nothing dies."""
    with Bed() as bed:
        site = Site(bed)
        process = site.start_node(dead_targets=1000, in_flight=64,
                                  timeout="3s")
        rates, node = site.rates()
        report("too little room", rates, node)
        assert node["missed_slots"] > 1000, node
        assert process.is_alive()

if __name__ == "__main__":
    tap.run([
        five_live_peers_are_probed_on_time,
        a_dead_peer_does_not_slow_the_live_ones,
        a_thousand_dead_targets_do_not_slow_the_live_ones,
        a_full_house_counts_what_it_turns_away,
    ], why_not("curl"))
