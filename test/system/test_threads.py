#!/usr/bin/python3
"""Two nodes measure each other while clients keep their APIs busy, and stop
in the middle of it: what a sanitizer in the build has to say about threads,
memory and behaviour of the whole daemon, it says here."""
import http.client
import itertools
import random
import signal
import socket
import threading
import time

import nodes
import tap
from netbed import Bed, until

PATHS = (
    "/api/v1/matrix?level=zone&window=1m&protocol=all",
    "/api/v1/matrix?level=node&protocol=grpc&mode=warm",
    "/api/v1/matrix?level=region",
    "/api/v1/cells/zone-a/zone-b",
    "/api/v1/samples", "/api/v1/status", "/livez", "/readyz",
    "/api/v1/matrix?level=nonsense", "/nowhere",
)
MAY_ANSWER = (200, 400, 404, 503)


def ask(node, path, gzip):
    headers = {"Accept-Encoding": "gzip"} if gzip else {}
    status, _ = node.get(path, **headers)
    assert status in MAY_ANSWER, (path, status)


def ask_and_go_away(node, path):
    """Ask thrice at once, and hang up in the first answer."""
    with socket.create_connection((node.address, 7070), timeout=20) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 3)
        s.recv(1)


class Clients:
    """Threads that ask the nodes, until told to stop; `errors` is what went
    wrong before that."""

    def __init__(self, asked, count):
        self.is_over = False
        self.errors, self.answers = [], 0
        self.threads = [
            threading.Thread(target=self.ask_on, args=(asked, i), daemon=True)
            for i in range(count)]
        for thread in self.threads:
            thread.start()

    def ask_on(self, asked, seed):
        dice = random.Random(seed)
        for n in itertools.count():
            if self.is_over:
                return
            node, path = dice.choice(asked), dice.choice(PATHS)
            try:
                if n % 7 == 6:
                    ask_and_go_away(node, path)
                else:
                    ask(node, path, gzip=n % 2)
                self.answers += 1
            except (OSError, http.client.HTTPException) as error:
                # A node that is ending hangs up.
                if not self.is_over:
                    self.errors.append(repr(error))
            except AssertionError as error:
                self.errors.append(repr(error))
            time.sleep(0.005)

    def stop(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()


def is_measured(node, near, far):
    """Does `node` know of good attempts from `near` to `far`?"""
    for protocol, mode in itertools.product(("http1", "grpc"),
                                            ("cold", "warm")):
        cells = node.get_json("/api/v1/matrix?level=zone&protocol="
                              f"{protocol}&mode={mode}")["cells"]
        if not any(c["from"] == near and c["to"] == far and c["ok"]
                   for c in cells):
            return False
    return True


def nodes_measure_and_answer_and_stop_cleanly_under_load():
    with Bed() as bed:
        a, b = nodes.start(bed, ["a", "b"])
        clients = Clients([a, b], 4)
        # The first window that counts is whole after 22 s at most.
        until(lambda: is_measured(a, "zone-a", "zone-b")
              and is_measured(b, "zone-b", "zone-a"), 60,
              "both directions measured")
        assert not clients.errors, clients.errors[:5]
        assert clients.answers > 50
        clients.is_over = True  # from now on they may be hung up on
        a.process.signal(signal.SIGTERM)
        b.process.signal(signal.SIGINT)
        a.end()
        b.end()
        clients.stop()
        assert not clients.errors, clients.errors[:5]


def further_signals_change_nothing():
    numbers = itertools.cycle([signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
    with Bed() as bed:
        node, = nodes.start(bed, ["a"])
        while node.process.is_alive():
            node.process.signal(next(numbers))
        node.end()


def it_may_be_stopped_as_soon_as_it_has_started():
    with Bed() as bed:
        (where, config), = nodes.configure(bed, ["a"]).values()
        for i in range(5):
            node = nodes.Node(bed, f"a-{i}", where, config)
            node.wait()
            node.end()


if __name__ == "__main__":
    tap.run([
        nodes_measure_and_answer_and_stop_cleanly_under_load,
        further_signals_change_nothing,
        it_may_be_stopped_as_soon_as_it_has_started,
    ])
