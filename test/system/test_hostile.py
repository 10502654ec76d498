#!/usr/bin/python3
"""What arrives at the gossip port may be anything, with the key or without:
it ends no process, fills no memory, takes no time, moves no packet to where
none belongs, and changes nothing about who is a member.

The mesh attacked is two daemons on loopback and one honest member played by
the test. A stranger is any address that is nobody's.
"""
import contextlib
import functools
import itertools
import pathlib
import random
import selectors
import signal
import socket
import struct
import sys
import threading
import time

import gossip
import gossip_peer
import netbed
import tap
from gossip import DEAD, SUSPECT, Wrapping, compound, compress, pack
from gossip_peer import PORT, Peer
from mesh_nodes import MeshNode, key, wait_alive
from netbed import Bed, until
from nodes import address, has_findings

KEY = key(1)
DEADLINE_S = 10  # of one exchange on a stream
BUDGET_KIB = 8192  # for all streams that have proven nothing
WRAPPINGS = {
    "plain": {}, "encrypted": {"keys": [KEY]},
    "labelled": {"keys": [KEY], "label": "blue"},
}


def is_sanitized():
    """Then resident memory is no measure of anything, nor is time."""
    return b"__asan_init" in pathlib.Path(netbed.PROBER).read_bytes()


class Mesh:
    """Daemons a and b and, held alive by both, the member eve."""

    def __init__(self, bed, keys=(), label="", names=("a", "b")):
        self.bed = bed
        self.label = label.encode()
        self.wrapping = Wrapping(keys, self.label)
        self.nodes = []
        for i, name in enumerate(names, 1):
            self.nodes.append(MeshNode(
                bed, name, address(i), keys=keys, label=label,
                join=[address(1)] if i > 1 else []))
            self.nodes[-1].wait()
        self.a, self.b = self.nodes[:2]
        self.eve = bed.enter_context(
            Peer("eve", address(9), keys, self.label))
        self.eve.join(self.a.address)
        wait_alive(self.nodes, names=[*names, "eve"])
        # Until news about the start have been told often enough.
        time.sleep(1.5)
        self.before = self.members()

    def members(self):
        """What a tells, name by name: state, incarnation, address, meta."""
        told = gossip_peer.peek(self.wrapping, self.a.address,
                                self.eve.address)
        return {name: (n["State"], n["Incarnation"], n["Addr"], n["Port"],
                       n["Meta"]) for name, n in told.items()}

    def check(self):
        """All are alive and well, and nothing has changed."""
        for node in self.nodes:
            text = node.process.text()
            assert node.process.is_alive() and not has_findings(text), text
            assert node.get("/livez")[0] == 200
        assert self.eve.ask(self.a.address), "no answer to an honest ping"
        assert self.members() == self.before, (self.members(), self.before)

    def stream(self, data, source=None, seconds=2):
        """What comes back for raw bytes on a stream, its end told."""
        with socket.create_connection((self.a.address, PORT), seconds,
                                      (source or address(20), 0)) as s:
            s.settimeout(seconds)
            back = b""
            with contextlib.suppress(ConnectionError):
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while more := s.recv(65536):
                    back += more
            return back

    def settle(self):
        """Until a has taken every packet sent before."""
        assert self.eve.ask(self.a.address, 5), "no answer to an honest ping"


@contextlib.contextmanager
def mesh(kind="encrypted", **options):
    with Bed() as bed:
        world = Mesh(bed, **WRAPPINGS[kind], **options)
        yield world
        world.check()
        for node in world.nodes:
            node.leave()


def udp(where):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((where, 0))
    s.settimeout(0.5)
    return s


def received(s, seconds=0.5):
    """Datagrams that came within so long."""
    out, end = [], time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        s.settimeout(left)
        with contextlib.suppress(TimeoutError):
            out.append(s.recvfrom(65536)[0])
    return out


@contextlib.contextmanager
def grows_at_most(node, kib):
    """Resident memory behind the block, beside that before it."""
    before = node.own_kib()
    yield
    grown = node.own_kib() - before
    print(f"# grown by {grown} KiB, of {kib} allowed", flush=True)
    assert is_sanitized() or grown <= kib, f"grown by {grown} KiB"


# ---- frames ----------------------------------------------------------------

def killers():
    """What ended Serf 0.9.4: each one frame, once on a stream."""
    short = [gossip.entry("mallory", address(30), PORT, 1,
                          vsn=bytes(range(n))) for n in (0, 1, 3, 4, 5, 7)]
    return [
        gossip.push_pull(Nodes=-1),
        *(gossip.push_pull([node], join=True) for node in short),
        compress(b""),
        compress(compress(b"")),
        compound([b""]),
    ]


def lies():
    """Heads that declare more, or less, than there is or can be."""
    numbers = (-1, -2**31, -2**63, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
               2**63 - 1, 65537, 20 << 20)
    for n in numbers:
        yield gossip.push_pull(Nodes=n)
        yield gossip.push_pull(UserStateLen=n)
        yield gossip.push_pull(Nodes=n, UserStateLen=n)
        yield gossip.message(gossip.USER, UserMsgLen=n) + b"\x80x"
    yield bytes([gossip.PUSH_PULL]) + pack(
        {"Join": False, "Nodes": 1.5, "UserStateLen": 0})
    # msgpack's own heads, where a map, a text or bytes are due.
    for head in 0xDC, 0xDD, 0xDE, 0xDF, 0xDA, 0xDB, 0xC5, 0xC6, 0xC8, 0xC9:
        for n in 0, 1, 2**31, 2**32 - 1:
            form = "H" if head in (0xDA, 0xDC, 0xDE, 0xC5, 0xC8) else "I"
            claim = struct.pack(">B" + form, head, n & (
                0xFFFF if form == "H" else 0xFFFFFFFF))
            for kind in range(14):
                yield bytes([kind]) + claim
            yield b"\x82\xa4Algo\0\xa3Buf".join([b"\x09", claim])
            yield (gossip.push_pull(Nodes=1)[:-1] + b"\0\x81\xa4Meta" + claim)
    # Depth.
    for nest in b"\x91", b"\x81\xa1a":
        yield bytes([gossip.PUSH_PULL]) + nest * 30000
        yield bytes([gossip.ALIVE]) + b"\x81\xa1x" + nest * 30000


def sealed_lies():
    """The wrapper's own length."""
    for n in 0, 1, 27, 28, 2**31, 2**32 - 1, 20 << 20, (20 << 20) + 1:
        yield struct.pack(">BI", gossip.ENCRYPT, n) + b"\1" + bytes(60)


def frames_that_ended_serf_are_refused():
    for kind in WRAPPINGS:
        with mesh(kind) as world:
            for inner in killers():
                world.stream(world.wrapping.stream(inner))
                world.eve.send(world.a.address, inner)
                world.check()
            for n in {*range(13), 255} - {6}:
                world.eve.send(world.a.address, gossip.alive(
                    "mallory", address(30), PORT, 9, vsn=bytes(n)))
            for n in {*range(18), 300} - {4, 16}:
                world.eve.send(world.a.address, gossip.alive(
                    "mallory", bytes(n), PORT, 9))
            for n in 0, 129, 255, 300, 60000:
                world.eve.send(world.a.address, gossip.alive(
                    "m" * n, address(30), PORT, 9))
            for n in 513, 600, 60000:
                world.eve.send(world.a.address, gossip.alive(
                    "mallory", address(30), PORT, 9, meta=b"m" * n))
            world.settle()


def heads_that_lie_get_no_answer_and_no_memory():
    for kind in "plain", "encrypted":
        with mesh(kind) as world:
            # A first round for what an allocator keeps.
            for frame in itertools.islice(lies(), 20):
                world.stream(world.wrapping.stream(frame))
            with grows_at_most(world.a, 512):
                for frame in lies():
                    back = world.stream(world.wrapping.stream(frame))
                    assert back == b"" or is_honest(world, frame, back), (
                        frame[:80], back[:80])
                    world.eve.send(world.a.address, frame[:65000])
                if world.wrapping.keys:
                    for frame in sealed_lies():
                        assert world.stream(frame) == b"", frame
                world.settle()


def is_honest(world, frame, back):
    """Does a frame ask for what came back? An empty map is a push/pull of
    nobody to Go and to us: it may be answered with our state."""
    whole = world.wrapping.unstream(back)
    return (frame[0] == gossip.PUSH_PULL and whole
            and whole[0] == gossip.PUSH_PULL)


def frames_of_up_to_four_bytes_do_nothing():
    dice = random.Random(1)
    short = [bytes(f) for n in range(3)
             for f in itertools.product(range(256), repeat=n)]
    longer = [bytes([kind, *dice.choices(range(256), k=n)])
              for kind in range(256) for n in (2, 3) for _ in range(8)]
    edges = [bytes(f) for kind in (*range(14), 244) for n in (2, 3)
             for f in itertools.product([kind], *[(0, 1, 0x80, 0xFF)] * n)]
    for kind in WRAPPINGS:
        with mesh(kind) as world:
            seal = world.wrapping.packet
            everything = short + longer + edges
            if world.wrapping.keys:
                # Behind the key a third of all is enough; the first byte is
                # still each of them.
                everything = everything[:257] + everything[257::3]
            for i, frame in enumerate(everything):
                world.eve.send_raw(world.a.address, seal(frame))
                world.eve.send_raw(world.a.address, frame)
                if i % 100 == 99:
                    world.settle()
            for frame in short[:257] + dice.sample(longer, 100) + edges[::4]:
                # Sealed and as it is; an ack to a ping of nobody is honest.
                world.stream(world.wrapping.stream(frame))
                assert world.stream(frame) == b"" or not world.wrapping.keys
            world.settle()


@functools.cache
def bombs():
    """Packets that unpack to far more than a packet may hold."""
    out = {}
    for size in 1300, 64000:
        packed, unpacked = gossip.lzw_bomb(size)
        out[f"{size} bytes to {unpacked}"] = compress(b"", packed)
    # One that unpacks to a bomb, and a bundle of them.
    packed, _ = gossip.lzw_bomb(60)
    small = compress(b"", packed)
    out["a bundle of 255"] = compound([small] * 255)
    nest, depth = small, 1
    while len(nest) < 20000:
        nest, depth = compress(nest), depth + 1
    out[f"{depth} deep"] = nest
    nest = compound([gossip.ping(1, "nobody")] * 100)
    for _ in range(3):
        nest = compound([compress(nest)] * 4)
    out["4 wide, 4 deep"] = nest
    # What is allowed, but is the most work there is: all of it is pings.
    out["as much as allowed"] = compress(compound(
        [gossip.ping(1, "nobody")] * 255)[:60000])
    return out


def a_bomb_costs_no_memory_and_less_than_a_millisecond():
    count = 100
    for kind in "plain", "encrypted":
        with mesh(kind) as world:
            a, eve = world.a, world.eve
            packets = {name: world.wrapping.packet(bomb)
                       for name, bomb in bombs().items()}
            for packet in packets.values():
                eve.send_raw(a.address, packet)
            world.settle()

            def cost(packet):
                used = a.cpu_s()
                for _ in range(count):
                    if packet:
                        eve.send_raw(a.address, packet)
                    world.settle()
                return (a.cpu_s() - used) / count * 1e3
            idle = cost(None)
            peak(a, reset=True)
            high = peak(a)
            for name, packet in packets.items():
                before = a.own_kib()
                ms = cost(packet) - idle
                grown = a.own_kib() - before
                print(f"# {kind}, {name}: {ms:.3f} ms, {grown} KiB",
                      flush=True)
                if is_sanitized():
                    continue
                assert ms <= 1, (name, ms)
                assert grown <= 128, (name, grown)
            # Here the program's own pages count as well.
            assert is_sanitized() or peak(a) - high <= 2048, peak(a) - high
            # The same on a stream.
            with grows_at_most(a, 256):
                for bomb in bombs().values():
                    world.stream(world.wrapping.stream(bomb))


def peak(node, reset=False):
    """The most resident memory it had since the last reset, in KiB."""
    process = pathlib.Path(f"/proc/{node.process.pid}")
    if reset:
        (process / "clear_refs").write_text("5")
    for line in (process / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise RuntimeError("no VmHWM")


# ---- streams ---------------------------------------------------------------

def pour(world, head, declared, addresses=50, each=4, seconds=2):
    """Many streams that declare so many bytes each and send what is taken of
    it; returns the most that resident memory has grown, in KiB."""
    chunk, left, before = bytes(1 << 16), {}, world.a.own_kib()
    most, next_look = 0, 0
    with contextlib.ExitStack() as stack, \
            selectors.DefaultSelector() as ready:
        for i in range(addresses * each):
            s = stack.enter_context(socket.socket())
            s.bind((address(40 + i // each), 0))
            s.setblocking(False)
            s.connect_ex((world.a.address, PORT))
            ready.register(s, selectors.EVENT_WRITE)
            left[s] = head
        end = time.monotonic() + seconds
        sent = {s: 0 for s in left}
        while left and time.monotonic() < end:
            for what, _ in ready.select(0.05):
                s = what.fileobj
                try:
                    sent[s] += s.send(left[s])
                    left[s] = chunk
                except OSError:
                    ready.unregister(s)
                    del left[s]
                    continue
                if sent[s] > declared - (1 << 17):
                    ready.unregister(s)  # all but the end of it
                    del left[s]
            if time.monotonic() > next_look:
                most = max(most, world.a.own_kib() - before)
                next_look = time.monotonic() + 0.05
        most = max(most, world.a.own_kib() - before)
        assert world.eve.ask(world.a.address), "deaf meanwhile"
    return most


def two_hundred_streams_share_eight_mebibytes():
    """Whether they declare more than any may have, or all that one may."""
    for kind in "encrypted", "plain":
        with mesh(kind) as world:
            for declared in 20 << 20, (4 << 20) - 64, 1 << 20:
                head = (struct.pack(">BI", gossip.ENCRYPT, declared) + b"\1"
                        if kind == "encrypted" else
                        gossip.push_pull(UserStateLen=declared))
                most = pour(world, head, declared)
                print(f"# {kind}, {declared >> 10} KiB each: "
                      f"grown by {most} KiB at most", flush=True)
                assert is_sanitized() or most <= BUDGET_KIB + 2048, most
                # And all of it is there again for the honest.
                until(lambda: serves(world), DEADLINE_S + 2, "served again")


def serves(world):
    try:
        return world.members() == world.before
    except (OSError, gossip.Malformed):
        return False


def slow_streams_end_at_the_deadline_and_keep_nobody_out():
    with mesh() as world:
        began, ended = {}, {}
        frame = world.wrapping.stream(gossip.push_pull())
        with contextlib.ExitStack() as stack:
            for i in range(32):
                s = stack.enter_context(socket.create_connection(
                    (world.a.address, PORT), 5, (address(40 + i // 4), 0)))
                s.setblocking(False)
                began[s] = time.monotonic()
            time.sleep(0.2)
            first = time.monotonic()
            for tick in range(24):
                at = time.monotonic()
                for s in began.keys() - ended.keys():
                    with contextlib.suppress(OSError):
                        if tick % 2 == 0:
                            s.send(frame[tick // 2:][:1])
                time.sleep(max(0, at + 0.5 - time.monotonic()))
                for s in began.keys() - ended.keys():
                    if is_closed(s):
                        ended[s] = time.monotonic()
                if len(ended) == len(began) and serves(world):
                    break
            lives = [ended.get(s, first + 99) - began[s] for s in began]
            # We look twice a second.
            assert DEADLINE_S - 0.5 <= min(lives), lives
            assert max(lives) <= DEADLINE_S + 1, lives
            assert serves(world)
            assert time.monotonic() - first <= DEADLINE_S + 2


def is_closed(s):
    try:
        return s.recv(4096) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def one_address_cannot_take_all_streams():
    """On loopback anybody has any address, so there it may."""
    if why := netbed.why_not("curl"):
        raise tap.Skip(why)
    with Bed() as bed:
        near, far = bed.host("near"), bed.host("far")
        bed.cable(near, "10.77.0.1/24", far, "10.77.0.2/24")
        far.add("near", "10.77.0.3/24")
        a = MeshNode(bed, "a", "10.77.0.1", near, keys=[KEY])
        a.wait()
        greedy = far.spawn([sys.executable, "-c", GREEDY], log="greedy.log")
        greedy.wait_for("64 open")
        told = far.run(sys.executable, "-c", HONEST, KEY.hex(), cwd=HERE,
                       timeout=5)
        assert told.strip() == "a", told
        greedy.signal(signal.SIGUSR1)
        greedy.wait_for("held ")
        held = int(greedy.text().split("held ")[1])
        assert 1 <= held <= 4, held


HERE = pathlib.Path(__file__).resolve().parent
GREEDY = """
import signal, socket, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
all = [socket.create_connection(("10.77.0.1", 7946), 5, ("10.77.0.2", 0))
       for _ in range(64)]
time.sleep(0.3)
print("64 open", flush=True)
signal.sigwait([signal.SIGUSR1])
def is_held(s):
    s.setblocking(False)
    try:
        return s.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
print("held", sum(map(is_held, all)), flush=True)
time.sleep(60)
"""
HONEST = """
import sys
import gossip, gossip_peer
wrapping = gossip.Wrapping([bytes.fromhex(sys.argv[1])])
print(*gossip_peer.peek(wrapping, "10.77.0.1", "10.77.0.3"))
"""


def strangers_get_no_byte_for_bytes_that_prove_nothing():
    other = Wrapping([key(7)])
    frames = [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\2\0\1\0", b"\0",
              bytes(5000), b"\xff" * 5000, b"\x0a\0\0\0\x2d" + bytes(45),
              b"\xf4\4blue", b"\xf4\0", b"\xf4\xff" + bytes(20),
              other.stream(gossip.push_pull()),
              Wrapping([key(7)], b"blue").stream(gossip.push_pull())]
    clear = Wrapping()
    for inner in (gossip.push_pull(), gossip.ping(1, "a"), gossip.ping(1),
                  gossip.message(gossip.ERR, Error="x"),
                  compress(gossip.push_pull())):
        frames.append(clear.stream(inner))
        frames.append(Wrapping((), b"blue").stream(inner))
    for kind in "encrypted", "labelled":
        with mesh(kind) as world, udp(address(20)) as stranger:
            for frame in frames:
                back = world.stream(frame)
                assert back == b"", (frame[:40], back)
                stranger.sendto(frame, (world.a.address, PORT))
            if world.label:
                bare = Wrapping([KEY])
                assert world.stream(bare.stream(gossip.push_pull())) == b""
                stranger.sendto(bare.packet(gossip.ping(1)),
                                (world.a.address, PORT))
            assert received(stranger) == []
    with mesh("plain") as world:
        for frame in frames[:7]:
            back = world.stream(frame)
            assert back == b"", (frame[:40], back)


# ---- packets ---------------------------------------------------------------

def plain_packets_change_nothing_in_a_mesh_with_keys():
    clear = Wrapping()
    with mesh() as world, udp(address(20)) as stranger:
        b = world.before["b"]
        for inner in (
                gossip.ping(1, "a"), gossip.ping(2),
                gossip.alive("mallory", address(30), PORT, 5),
                gossip.alive("b", address(30), PORT, b[1] + 5),
                gossip.accusation(SUSPECT, "b", b[1], "eve"),
                gossip.accusation(DEAD, "b", b[1], "eve"),
                gossip.accusation(DEAD, "b", b[1], "b"),
                gossip.accusation(DEAD, "a", world.before["a"][1], "a"),
                bytes([gossip.USER, gossip.SERF_JOIN]) + pack(
                    {"LTime": 99, "Node": "mallory"}),
                compound([gossip.accusation(DEAD, "b", b[1], "b")] * 3)):
            for packet in (clear.packet(inner), clear.packet(inner, crc=True),
                           Wrapping([key(7)]).packet(inner),
                           Wrapping([KEY], b"blue").packet(inner)):
                stranger.sendto(packet, (world.a.address, PORT))
                world.eve.send_raw(world.a.address, packet)
        assert received(stranger) == []
        world.settle()
        time.sleep(1)


def answers_go_to_who_asked_and_are_no_longer():
    """Neither a ping's own word for where it came from nor an indirect ping
    makes us talk to who is not a member there."""
    for kind in "plain", "encrypted":
        with mesh(kind) as world, udp(address(20)) as stranger, \
                udp(address(21)) as victim, \
                socket.create_server((address(21), victim.getsockname()[1]),
                                     backlog=64) as door:
            seal = world.wrapping.packet
            where, port = victim.getsockname()
            there = gossip.packed_ip(where)
            b = world.b
            # Something to piggyback, so that an answer could be long.
            for n in range(4):
                world.eve.incarnation += 1
                world.eve.meta = gossip.tags(n=str(n) * 100)
                world.eve.send(world.a.address, world.eve.alive())
            longest = 0
            for n in range(40):
                name = ("eve", "b", "nobody", None)[n % 4]
                asked = seal(gossip.ping(1000 + n, "a", there, port, name))
                stranger.sendto(asked, (world.a.address, PORT))
                longest = max(longest, len(asked))
                world.eve.send(world.a.address, gossip.ping(
                    2000 + n, "a", there, port, name))
                for target, at, node in ((there, port, "nobody"),
                                         (there, port, "b"),
                                         (there, port, ""),
                                         (gossip.packed_ip(b.address), port,
                                          "b")):
                    asked = seal(gossip.message(
                        gossip.INDIRECT_PING, SeqNo=3000 + n, Node=node,
                        Target=target, Port=at, Nack=True, SourceAddr=None,
                        SourcePort=None, SourceNode=None))
                    stranger.sendto(asked, (world.a.address, PORT))
                    world.eve.send_raw(world.a.address, asked)
            bare = seal(gossip.ping(5000, "a"))
            stranger.sendto(bare, (world.a.address, PORT))
            back = received(stranger, 1)
            assert all(len(packet) <= len(bare) for packet in back), [
                len(packet) for packet in back]
            assert received(victim, 1) == []
            door.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                raise AssertionError(door.accept())
            # A member asks for another, and is served.
            world.eve.send(world.a.address, gossip.message(
                gossip.INDIRECT_PING, SeqNo=7777, Node="b", Nack=True,
                Target=gossip.packed_ip(b.address), Port=PORT,
                SourceAddr=gossip.packed_ip(world.eve.address),
                SourcePort=PORT, SourceNode="eve"))
            assert world.eve.wait_heard(
                lambda k, body, source: k == gossip.ACK
                and body["SeqNo"] == 7777), "the relay is broken"
            time.sleep(1.5)
            world.before = world.members()
            assert world.before["eve"][0] == 0


def an_accusation_from_the_end_of_time_silences_nobody():
    """Incarnations that leave nothing to refute them with."""
    with mesh() as world:
        known = world.before["b"][1]
        # What is too far ahead is reckoned from the clock, which went on.
        for n in known + 2**16 + 3600, 2**31, 2**32 - 2, 2**32 - 1:
            if n <= known:
                continue
            for kind in SUSPECT, DEAD:
                for accuser in "eve", "b":
                    world.eve.send(world.a.address, gossip.accusation(
                        kind, "b", n, accuser))
                    world.eve.send(world.b.address, gossip.accusation(
                        kind, "b", n, accuser))
            world.eve.send(world.a.address, gossip.alive(
                "b", world.b.address, PORT, n, meta=b""))
        end = time.monotonic() + 8
        while time.monotonic() < end:
            for node in world.nodes:
                states = {n: m["state"] for n, m in node.members().items()}
                assert states["a"] == states["b"] == "alive", states
            time.sleep(0.2)
        world.before = world.members()
        assert world.before["b"][0] == 0 and world.before["b"][1] < 2**32 - 2


def two_packets_do_not_move_a_name():
    """A forged leave, then the same name at another address."""
    with mesh() as world, udp(address(30)) as thief:
        known = world.before["b"][1]
        for n in range(1, 4):
            world.eve.send(world.a.address, gossip.accusation(
                DEAD, "b", known + n - 1, "b"))
            world.eve.send(world.a.address, gossip.alive(
                "b", thief.getsockname()[0], PORT, known + n))
        time.sleep(2)
        for node in world.nodes:
            b = node.members()["b"]
            assert b["address"] == f"{world.b.address}:{PORT}", b
        wait_alive(world.nodes, 15)
        world.before = world.members()
        assert world.before["b"][2] == gossip.packed_ip(world.b.address)
        assert received(thief, 0.2) == []


def a_flood_with_the_key_makes_nobody_a_suspect():
    with mesh(names=("a", "b", "c")) as world:
        a, eve = world.a, world.eve
        packets = [
            world.wrapping.packet(inner) for n in range(64) for inner in (
                gossip.accusation(SUSPECT, f"nobody-{n}", n, "eve"),
                bytes([gossip.USER, 200]) + bytes(n),
                compound([gossip.alive("b", world.b.address, PORT, 1)] * 9),
                gossip.ping(n, "a"))]
        sent, stop = [0], threading.Event()

        def flood():
            start = time.monotonic()
            with udp(address(10)) as s:
                s.setblocking(False)
                for packet in itertools.cycle(packets):
                    if stop.is_set():
                        return
                    with contextlib.suppress(BlockingIOError):
                        s.sendto(packet, (a.address, PORT))
                    sent[0] += 1
                    if sent[0] % 500 == 0:  # 50,000 a second
                        late = start + sent[0] / 50000 - time.monotonic()
                        if late > 0:
                            time.sleep(late)
        before = a.own_kib()
        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        seconds = 8
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                for node in world.nodes[1:]:
                    states = {n: m["state"]
                              for n, m in node.members().items()}
                    assert states["a"] == "alive", (node.name, states)
                time.sleep(0.1)
            grown = a.own_kib() - before
        finally:
            stop.set()
            thread.join()
        print(f"# {sent[0] / seconds:.0f} packets a second, "
              f"grown by {grown} KiB", flush=True)
        assert is_sanitized() or grown <= 2048, grown
        time.sleep(2)
        # Suspected and cleared again would show as an incarnation of its own.
        now = world.members()
        assert now["a"] == world.before["a"], (now, world.before)
        assert all(now[n][0] == 0 for n in ("a", "b", "c")), now
        world.before = now
        assert eve.ask(a.address)


def invented_members_are_bounded_and_drive_out_nobody():
    with mesh() as world:
        entries = [gossip.entry(f"invented-{n}", f"10.{n >> 16}.{n >> 8 & 255}"
                                f".{n & 255}", PORT, 1)
                   for n in range(1, 20001)]
        with grows_at_most(world.a, 16384):
            for at in range(0, len(entries), 5000):
                with contextlib.suppress(OSError, gossip.Malformed):
                    gossip_peer.request(
                        world.wrapping, world.a.address,
                        gossip.push_pull(entries[at:at + 5000], join=True),
                        world.eve.address)
            time.sleep(1)
            now = world.members()
            assert len(now) <= 4096, len(now)
        for name in world.before:
            assert now[name][:2] == world.before[name][:2], now[name]
        members = world.b.members()
        assert members["a"]["state"] == "alive", members["a"]
        # They are given up; until then the mesh is not as it was.
        world.check = lambda: None


if __name__ == "__main__":
    tap.run([
        (frames_that_ended_serf_are_refused,
         heads_that_lie_get_no_answer_and_no_memory,
         frames_of_up_to_four_bytes_do_nothing,
         slow_streams_end_at_the_deadline_and_keep_nobody_out),
        (one_address_cannot_take_all_streams,
         strangers_get_no_byte_for_bytes_that_prove_nothing,
         plain_packets_change_nothing_in_a_mesh_with_keys,
         answers_go_to_who_asked_and_are_no_longer,
         an_accusation_from_the_end_of_time_silences_nobody,
         two_packets_do_not_move_a_name),
        # What is measured, and what is loud, is alone.
        a_bomb_costs_no_memory_and_less_than_a_millisecond,
        two_hundred_streams_share_eight_mebibytes,
        a_flood_with_the_key_makes_nobody_a_suspect,
        invented_members_are_bounded_and_drive_out_nobody,
    ], gossip.why_not())
