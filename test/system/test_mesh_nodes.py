#!/usr/bin/python3
"""Two and three nodes of the mesh, real processes on 127.0.0.x.

MESH_UV_NODE names the program. Waits are for events, not for time."""
import base64
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap  # noqa: E402

PATIENCE = 30
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(range(16))).decode()


class Node:
    """One process; its output is collected by a thread."""

    def __init__(self, name, address, *args):
        self.name = name
        self.lines = []
        self.news = threading.Condition()
        self.process = subprocess.Popen(
            [os.environ["MESH_UV_NODE"], "-n", name, "-l", address, *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.address = self.wait("ready ").split()[1]

    def read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.lines.append("end of output")
            self.news.notify_all()

    def wait(self, start, after=0):
        """The first line from `after` on that begins so."""
        end = time.monotonic() + PATIENCE
        with self.news:
            while True:
                for line in self.lines[after:]:
                    if line.startswith(start):
                        return line
                left = end - time.monotonic()
                assert left > 0, f"{self.name}: no '{start}' in {self.lines}"
                assert "end of output" not in self.lines, (
                    f"{self.name} ended without '{start}': {self.lines}")
                self.news.wait(left)

    def ask(self, command, answer):
        """Returns the lines up to the one that begins with `answer`."""
        after = len(self.lines)
        self.process.stdin.write(command + "\n")
        last = self.wait(answer, after)
        return self.lines[after:self.lines.index(last, after) + 1]

    def members(self):
        lines = self.ask("members", "members end")
        return {words[1]: words[2] for words in map(str.split, lines)
                if words[0] == "member"}

    def stats(self):
        words = self.ask("stats", "stats ")[-1].split()
        return {key: value for key, _, value in
                (word.partition("=") for word in words[1:])}

    def stop(self):
        """Ends it and demands that it ends well."""
        if self.process.poll() is None:
            self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        assert code == 0, f"{self.name} ended with {code}"


class Nodes:
    """Nodes that are gone when the claim is over, whatever became of it."""

    def __init__(self):
        self.nodes = []

    def __enter__(self):
        return self

    def add(self, *args):
        node = Node(*args)
        self.nodes.append(node)
        return node

    def __exit__(self, kind, *_):
        for node in self.nodes:
            if kind is None and node.process.returncode is None:
                node.stop()
        for node in self.nodes:
            if node.process.poll() is None:
                node.process.kill()
                node.process.wait()


def three(nodes, *args):
    a = nodes.add("a", "127.0.0.1:0", *args)
    b = nodes.add("b", "127.0.0.2:0", *args, a.address)
    c = nodes.add("c", "127.0.0.3:0", *args, b.address)
    for node in (a, b, c):
        for other in {"a", "b", "c"} - {node.name}:
            node.wait(f"event joined {other}")
    return a, b, c


def check_quiet(*nodes):
    """Nothing went wrong that would heal by itself and so stay unseen."""
    for node in nodes:
        stats = node.stats()
        for name in ("effects_dropped", "receive_errors", "send_errors",
                     "accept_refused", "accept_errors", "streams_cut"):
            assert stats[name] == "0", (node.name, name, stats)
        assert set(stats["drops"].split(",")) == {"0"}, (node.name, stats)


def three_nodes_find_each_other_and_exchange_messages():
    with Nodes() as nodes:
        a, b, c = three(nodes)
        everybody = {"a": "alive", "b": "alive", "c": "alive"}
        assert a.members() == b.members() == c.members() == everybody
        assert a.ask("send c hello", "sent")[-1] == "sent ok"
        assert c.wait("user 6 ") == f"user 6 a {a.address} hello"
        assert b.ask("stream a 500000", "sent")[-1] == "sent ok"
        a.wait("user 500001 b ")
        assert c.ask("meta elsewhere", "meta")[-1] == "meta ok"
        a.wait("event updated c")
        b.wait("event updated c")
        check_quiet(a, b, c)


def sealed_and_labelled_they_do_the_same():
    with Nodes() as nodes:
        a, b, c = three(nodes, "-k", KEY, "-L", "blue")
        assert a.ask("send c hello", "sent")[-1] == "sent ok"
        c.wait("user 6 a ")
        assert b.ask("stream a 500000", "sent")[-1] == "sent ok"
        a.wait("user 500001 b ")
        check_quiet(a, b, c)


def strangers_stay_strangers():
    with Nodes() as nodes:
        a = nodes.add("a", "127.0.0.1:0", "-k", KEY, "-L", "blue")
        nodes.add("b", "127.0.0.2:0", "-k", OTHER, "-L", "blue", a.address)
        nodes.add("c", "127.0.0.3:0", "-k", KEY, "-L", "red", a.address)
        nodes.add("d", "127.0.0.4:0", "-L", "blue", a.address)
        good = nodes.add("e", "127.0.0.5:0", "-k", OTHER, "-k", KEY, "-L",
                         "blue")
        assert good.members() == {"e": "alive"}
        end = time.monotonic() + PATIENCE
        while a.stats()["streams_in"] < "3" and time.monotonic() < end:
            time.sleep(0.05)
        for node in nodes.nodes:
            assert node.members() == {node.name: "alive"}, node.members()


def a_node_that_leaves_is_not_called_failed():
    with Nodes() as nodes:
        a, b, c = three(nodes)
        c.process.stdin.write("leave\n")
        a.wait("event left c")
        b.wait("event left c")
        c.wait("left")
        c.stop()
        assert a.members()["c"] == b.members()["c"] == "left"
        for node in (a, b):
            assert not [line for line in node.lines if "failed" in line]


def a_killed_node_fails_and_is_welcome_back():
    with Nodes() as nodes:
        a, b, c = three(nodes)
        c.process.kill()
        c.process.wait()
        after = {node: len(node.lines) for node in (a, b)}
        a.wait("event suspected c")
        a.wait("event failed c")
        b.wait("event failed c")
        nodes.nodes.remove(c)
        again = nodes.add("c", c.address, a.address)
        for node in (a, b):
            node.wait("event joined c", after[node])
        again.wait("event joined b")


def a_node_that_stood_still_accuses_nobody():
    with Nodes() as nodes:
        a, b, c = three(nodes)
        c.process.send_signal(signal.SIGSTOP)
        a.wait("event failed c")
        c.process.send_signal(signal.SIGCONT)
        a.wait("event joined c", a.lines.index("event failed c"))
        b.wait("event joined c", b.lines.index("event failed c"))
        assert c.members() == {"a": "alive", "b": "alive", "c": "alive"}
        for line in a.lines + b.lines + c.lines:
            assert line not in ("event failed a", "event failed b"), line


def a_taken_port_is_said_with_its_address():
    with Nodes() as nodes:
        a = nodes.add("a", "127.0.0.1:0")
        done = subprocess.run(
            [os.environ["MESH_UV_NODE"], "-n", "b", "-l", a.address],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PATIENCE)
        assert done.returncode == 2
        assert a.address in done.stderr, done.stderr


if __name__ == "__main__":
    tap.run([
        three_nodes_find_each_other_and_exchange_messages,
        sealed_and_labelled_they_do_the_same,
        strangers_stay_strangers,
        a_node_that_leaves_is_not_called_failed,
        a_killed_node_fails_and_is_welcome_back,
        a_node_that_stood_still_accuses_nobody,
        a_taken_port_is_said_with_its_address,
    ])
