#!/usr/bin/python3
"""A node that is new knows what was before it: from a peer, which has it from
another one, that this test plays."""
import struct
import time

import gossip
import tap
from gossip_peer import Peer, request
from netbed import Bed, until
from test_members import Mesh, states
import nodes

WINDOW_S = 10
ASK, PART = b"\xa1\x01\x01", b"\xa1\x01\x02"
LAST = 1


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def minute(start, attempts):
    """A part: a minute's good, cold attempts over HTTP from `east` to `west`."""
    record = (bytes([0]) + varint(attempts) * 2 + bytes(4)
              + bytes([1, 0]) + varint(attempts)
              + bytes([1]) + b"east" + bytes([0]))
    return (bytes([1, 1]) + varint(start) * 2 + b"\x02\x04east\x04west"
            + bytes([1, 0, 1, 0, 0]) + varint(len(record)) + record)


def cursor(step, start=0):
    return struct.pack(">BBII", step, start > 0, start, 0)


def tell(peer, address, message):
    request(peer.wrapping, address, bytes([gossip.USER]) + gossip.pack(
        {"UserMsgLen": len(message)}) + message, peer.address)


def next_ask(peer, seen):
    """The nonce of an ASK that is not among `seen`, and the rest of it."""
    heard = peer.wait_heard(
        lambda kind, body, source: kind == gossip.USER
        and body.startswith(ASK) and body[3:11] not in seen, 20)
    assert heard, "nobody asks"
    seen.add(heard.body[3:11])
    return heard.body[3:11], heard.body[11:]


def backfill(node):
    return node.get_json("/api/v1/status")["history"]["backfill"]


def text_of(window):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(window * WINDOW_S))


def attempts(node, window):
    """From east to west in the minute that begins with the window."""
    matrix = node.get_json(
        f"/api/v1/matrix?window=1m&at={text_of(window + 6)}")
    return [c["attempts"] for c in matrix["cells"]
            if (c["from"], c["to"]) == ("east", "west")]


def a_fresh_node_has_the_history_of_its_peers():
    with Bed() as bed:
        mesh = Mesh(bed, ["a", "b"])
        a = mesh.start("a")
        before = int(time.time()) // WINDOW_S // 6 * 6 - 360
        meta = gossip.tags(prober="1", zone="old")
        seen = set()
        with Peer("old", nodes.address(9), meta=meta) as old:
            old.join(a.address)
            nonce, rest = next_ask(old, seen)
            assert rest == cursor(0) + b"\x01a", rest
            # What nobody asked for is nothing; the answer counts once.
            forged = minute(before - 6, 77)
            tell(old, a.address, PART + b"12345678" + cursor(1) + b"\0" + forged)
            part = PART + nonce + cursor(0, before) + b"\0" + minute(before, 42)
            tell(old, a.address, part)
            until(lambda: backfill(a)["parts_in"] == 1, 5, "a part is taken")
            nonce, rest = next_ask(old, seen)
            assert rest == cursor(0, before) + b"\x01a", rest
            tell(old, a.address, PART + nonce + cursor(3) + bytes([LAST]))
            until(lambda: backfill(a)["state"] == "done", 5, "a is done")
            old.leave()
            until(lambda: states(a)["old"] == "left", 10, "old has left")
        assert attempts(a, before) == [42], attempts(a, before)
        assert attempts(a, before - 6) != [77]
        counts = backfill(a)
        assert counts["refused"] == 1 and counts["broken"] == 0, counts

        b = mesh.start("b")
        until(lambda: backfill(b)["state"] == "done", 20, "b is done")
        assert attempts(b, before) == [42], attempts(b, before)
        tiers = b.get_json("/api/v1/status")["history"]["tiers"]
        assert tiers[1]["from"] == text_of(before)[:-1] + ".000Z", tiers
        assert backfill(b)["completed"] == 1
        assert backfill(a)["parts_out"] >= 1
        b.end()
        a.end()


if __name__ == "__main__":
    tap.run([a_fresh_node_has_the_history_of_its_peers])
