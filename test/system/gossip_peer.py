"""A member of a mesh that lives in the test: enough of memberlist to be held
alive by others, and a hand to send them whatever a test likes.

    with Peer("eve", "127.0.1.9", keys=[key]) as eve:
        eve.join("127.0.1.1")
        eve.send("127.0.1.1", gossip.ping(7, "a"))
        eve.wait_heard(lambda kind, body, source: kind == gossip.ACK)

It acknowledges pings, answers push/pulls, refutes what is said about it, keeps
what it hears, and passes on user messages once if told to. It accuses nobody.
"""
import collections
import contextlib
import random
import selectors
import socket
import threading
import time

import gossip
from gossip import ALIVE, DEAD, SUSPECT, STATES

PORT = 7946
HEARD_MAX = 100000

Heard = collections.namedtuple("Heard", "kind body source")


def request(wrapping, address, inner, source=None, port=PORT, seconds=10):
    """The answer to a message on a stream of its own; None: closed without.

    `source` is the address to dial from."""
    with socket.create_connection((address, port), seconds,
                                  (source, 0) if source else None) as s:
        s.settimeout(seconds)
        s.sendall(wrapping.stream(inner))
        data = b""
        while True:
            with contextlib.suppress(ConnectionResetError):
                more = s.recv(65536)
                data += more
                if more:
                    whole = wrapping.unstream(data)
                    if whole is not None:
                        return whole
                    continue
            if data:
                raise gossip.Malformed(f"half an answer: {data[:80]!r}")
            return None


def peek(wrapping, address, source=None, port=PORT):
    """{name: node} of a node's state, asked for without a trace."""
    answer = request(wrapping, address, gossip.push_pull(), source, port)
    if answer is None:
        raise gossip.Malformed("closed without an answer")
    return {n["Name"]: n for n in gossip.read_push_pull(answer)[1]}


class Peer:
    def __init__(self, name, address, keys=(), label=b"", meta=b"\xff\x80",
                 passes_on=False):
        self.name, self.address, self.meta = name, address, meta
        self.wrapping = gossip.Wrapping(keys, label)
        self.incarnation = int(time.time())
        self.members = {}  # name -> node of a push/pull
        self.heard = collections.deque(maxlen=HEARD_MAX)
        self.passes_on, self.passed = passes_on, set()
        self.unreadable = 0
        self.has_left = False
        self.lock = threading.RLock()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, PORT))
        self.tcp = socket.create_server((address, PORT), backlog=64)
        self.is_open = True
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Go without a word."""
        self.is_open = False
        self.thread.join()
        self.udp.close()
        self.tcp.close()

    # ---- what a test asks for ---------------------------------------------

    def entry(self, state=0):
        return gossip.entry(self.name, self.address, PORT, self.incarnation,
                            state, self.meta)

    def alive(self):
        return gossip.alive(self.name, self.address, PORT, self.incarnation,
                            self.meta)

    def join(self, address):
        answer = request(self.wrapping, address, gossip.push_pull(
            [self.entry()], join=True), self.address)
        if answer is None:
            raise gossip.Malformed(f"{address}: no answer to a join")
        self._merge(answer)

    def send(self, address, inner, port=PORT):
        self.udp.sendto(self.wrapping.packet(inner), (address, port))

    def send_raw(self, address, packet, port=PORT):
        self.udp.sendto(packet, (address, port))

    def leave(self, ltime=1):
        """Serf's leave intent, then memberlist's, to all it knows."""
        self.has_left = True
        intent = bytes([gossip.USER, gossip.SERF_LEAVE]) + gossip.pack(
            {"LTime": ltime, "Node": self.name, "Prune": False})
        for inner in intent, gossip.accusation(
                DEAD, self.name, self.incarnation, self.name):
            for _ in range(3):
                self._tell_all(inner)
                time.sleep(0.1)

    def wait_heard(self, wanted, seconds=5):
        """The first message heard that wanted(kind, body, source)."""
        end = time.monotonic() + seconds
        while True:
            with self.lock:
                for heard in self.heard:
                    if wanted(*heard):
                        return heard
            if time.monotonic() > end:
                return None
            time.sleep(0.005)

    def ask(self, address, seconds=2):
        """Ping a node by UDP; was it acknowledged?"""
        seq = random.randrange(1 << 31)
        self.send(address, gossip.ping(
            seq, source=gossip.packed_ip(self.address), port=PORT,
            name=self.name))
        return bool(self.wait_heard(
            lambda kind, body, source: kind == gossip.ACK
            and body["SeqNo"] == seq, seconds))

    # ---- what it does by itself -------------------------------------------

    def _serve(self):
        with selectors.DefaultSelector() as ready:
            ready.register(self.udp, selectors.EVENT_READ, self._on_packet)
            ready.register(self.tcp, selectors.EVENT_READ, self._on_accept)
            while self.is_open:
                for key, _ in ready.select(0.05):
                    key.data()

    def _on_packet(self):
        packet, source = self.udp.recvfrom(65536)
        try:
            for part in self.wrapping.parts(packet):
                self._on_message(part, source)
        except (gossip.Malformed, KeyError, IndexError):
            self.unreadable += 1

    def _on_message(self, part, source):
        kind = part[0]
        body = part[1:] if kind == gossip.USER else gossip.unpack(part, 1)[0]
        with self.lock:
            self.heard.append(Heard(kind, body, source))
        if kind == gossip.PING:
            if body.get("Node") in (None, b"", self.name.encode()):
                to = source
                if body.get("SourceAddr") and body.get("SourcePort"):
                    to = (gossip.dotted(body["SourceAddr"]),
                          body["SourcePort"])
                self.send(to[0], gossip.message(
                    gossip.ACK, SeqNo=body["SeqNo"], Payload=None), to[1])
        elif kind in (ALIVE, SUSPECT, DEAD):
            self._learn(kind, body)
        elif kind == gossip.USER and self.passes_on:
            if part not in self.passed:
                self.passed.add(part)
                self._tell_all(part, but=source[0])

    def _learn(self, kind, body):
        name, incarnation = body["Node"].decode(), body["Incarnation"]
        if name == self.name:
            if kind != ALIVE and not self.has_left:
                self._refute(incarnation)
            return
        with self.lock:
            known = self.members.get(name)
            if kind == ALIVE:
                if not known or incarnation > known["Incarnation"]:
                    self.members[name] = {**body, "Name": name, "State": 0}
            elif known and incarnation >= known["Incarnation"]:
                left = body["From"] == body["Node"]
                known["Incarnation"] = incarnation
                known["State"] = 1 if kind == SUSPECT else 2 + left

    def _refute(self, incarnation):
        self.incarnation = max(self.incarnation, incarnation) + 1
        self._tell_all(self.alive())

    def _tell_all(self, inner, but=None):
        with self.lock:
            known = [gossip.dotted(m["Addr"]) for m in self.members.values()
                     if m["State"] < 2 and len(m["Addr"]) == 4]
        for address in known:
            if address != but:
                self.send(address, inner)

    def _merge(self, inner):
        for node in gossip.read_push_pull(inner)[1]:
            name, state = node["Name"], node["State"]
            if name == self.name:
                if node["Incarnation"] >= self.incarnation and not (
                        state == 0 and node["Meta"] == self.meta):
                    self._refute(node["Incarnation"])
                continue
            with self.lock:
                known = self.members.get(name)
                if not known or node["Incarnation"] > known["Incarnation"]:
                    self.members[name] = node

    def _on_accept(self):
        s, source = self.tcp.accept()
        threading.Thread(target=self._on_stream, args=(s, source),
                         daemon=True).start()

    def _on_stream(self, s, source):
        with s, contextlib.suppress(OSError, gossip.Malformed):
            s.settimeout(10)
            data, whole = b"", None
            while whole is None:
                more = s.recv(65536)
                if not more:
                    return
                data += more
                whole = self.wrapping.unstream(data, is_reply=False)
            answer = self._answer(whole, source)
            if answer:
                s.sendall(self.wrapping.stream(answer, is_reply=True))

    def _answer(self, whole, source):
        if whole[0] == gossip.PING:
            seq = gossip.unpack(whole, 1)[0]["SeqNo"]
            return gossip.message(gossip.ACK, SeqNo=seq, Payload=None)
        if whole[0] == gossip.PUSH_PULL:
            head, nodes, _ = gossip.read_push_pull(whole)
            with self.lock:
                mine = [self.entry(3 if self.has_left else 0)] + [
                    {k: n[k] for k in ("Name", "Addr", "Port", "Incarnation",
                                       "State", "Meta", "Vsn")}
                    for n in self.members.values()]
            if nodes:
                self._merge(whole)
            return gossip.push_pull(mine, join=head["Join"])
        if whole[0] == gossip.USER:
            _, at = gossip.unpack(whole, 1)
            with self.lock:
                self.heard.append(Heard(gossip.USER, whole[at:], source))
        return None

    def state_of(self, name):
        """What it heard last about a member: "alive", ... or None."""
        with self.lock:
            known = self.members.get(name)
        return STATES[known["State"]] if known else None
