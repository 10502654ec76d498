#!/usr/bin/python3
"""The truth that is taken from a capture, on captures made by hand."""
import edges
import tap
from pcap import ACK, SYN, Packet

CLIENT, SERVER = 40000, 443


class Wire:
    """Packets of one connection, each a microsecond count and what it is."""

    def __init__(self):
        self.packets, self.seq = [], {CLIENT: 100, SERVER: 2**32 - 50}

    def add(self, us, port, data=b"", flags=ACK, seq=None):
        other = SERVER if port == CLIENT else CLIENT
        self.packets.append(Packet(
            us * 1000, "tcp", str(port), port, str(other), other, flags,
            self.seq[port] if seq is None else seq, 0, len(data), data))
        if seq is None:
            self.seq[port] = (self.seq[port] + len(data)
                              + bool(flags & SYN)) % 2**32
        return self

    def connected(self):
        return self.add(0, CLIENT, flags=SYN).add(10, SERVER, flags=SYN | ACK)


def record(kind, length):
    return bytes([kind, 3, 3]) + length.to_bytes(2, "big") + bytes(length)


def dns(us, port, number, is_answer=False):
    ports = (53, port) if is_answer else (port, 53)
    return Packet(us * 1000, "udp", "a", ports[0], "b", ports[1], 0, 0, 0, 4,
                  number.to_bytes(2, "big") + b"..")


def us(phases):
    return {k: v / 1000 for k, v in phases.items()}


def handshake():
    """The server's flight comes in two segments, a record across both, and
    its sequence numbers wrap around in it."""
    flight = record(22, 90) + record(20, 1) + record(23, 500)
    wire = Wire().connected()
    wire.add(20, CLIENT, record(22, 300))
    wire.add(120, SERVER, flight[:200]).add(130, SERVER, flight[200:])
    # Finished and the request leave together, much later.
    return wire.add(500, CLIENT, record(20, 1) + record(23, 53)
                    + record(23, 80))


def phases_of_a_tls_connection_are_the_waits():
    wire = handshake()
    wire.add(600, SERVER, record(23, 74))  # a ticket
    wire.add(650, SERVER, record(23, 400))
    wire.add(660, SERVER, record(23, 54) + record(23, 19))
    got = us(edges.tls(wire.packets))
    assert got["connect"] == 10
    assert got["tls"] == 110, got
    assert got["tls_all"] == 490
    assert got["ttfb"] == 150, got
    assert got["transfer"] == 10, got


def a_response_begins_with_its_first_segment():
    wire = handshake()
    answer = record(23, 400)
    wire.add(700, SERVER, answer[:100]).add(730, SERVER, answer[100:])
    # A WINDOW_UPDATE and close_notify are no part of it.
    wire.add(900, SERVER, record(23, 30)).add(910, SERVER, record(23, 19))
    got = us(edges.tls(wire.packets))
    assert (got["ttfb"], got["transfer"]) == (200, 30), got


def a_record_begins_where_the_one_before_it_ended():
    wire = handshake()
    ticket, answer = record(23, 74), record(23, 400)
    wire.add(600, SERVER, ticket[:40])
    wire.add(610, SERVER, ticket[40:] + answer[:100])
    wire.add(640, SERVER, answer[100:])
    got = us(edges.tls(wire.packets))
    assert (got["ttfb"], got["transfer"]) == (110, 30), got


def a_request_of_several_records_ends_with_the_last():
    wire = handshake().add(530, CLIENT, record(23, 200))
    wire.add(700, SERVER, record(23, 400))
    assert us(edges.tls(wire.packets))["ttfb"] == 170


def a_request_ends_with_its_last_segment_before_the_answer():
    wire = Wire().connected()
    wire.add(20, CLIENT, b"GET /").add(30, CLIENT, b" HTTP/1.1\r\n\r\n")
    wire.add(80, SERVER, b"HTTP/1.1 200").add(95, SERVER, b"\r\n\r\n")
    got = us(edges.plain(wire.packets))
    assert (got["ttfb"], got["transfer"]) == (50, 15), got


def what_comes_again_is_left_out_and_a_gap_is_unclear():
    wire = Wire().connected()
    wire.add(20, CLIENT, b"GET")
    wire.add(250, CLIENT, b"GET", seq=101)
    wire.add(300, SERVER, b"answer")
    # The server may have answered either; the first counts, as for users.
    assert us(edges.plain(wire.packets))["ttfb"] == 280
    wire.seq[SERVER] += 5
    wire.add(310, SERVER, b"more")
    try:
        edges.plain(wire.packets)
    except edges.Unclear:
        return
    raise AssertionError("a gap was not seen")


def a_syn_sent_again_is_unclear():
    wire = Wire().add(0, CLIENT, flags=SYN)
    wire.add(10**6, CLIENT, flags=SYN, seq=100)
    wire.add(10**6 + 10, SERVER, flags=SYN | ACK).add(
        10**6 + 20, CLIENT, b"GET").add(10**6 + 30, SERVER, b"answer")
    found = edges.attempts(wire.packets, SERVER, edges.plain)
    assert [a.get("unclear") for a in found] == ["a SYN was sent again"]


def lookups_are_paired_by_port_and_id():
    packets = [dns(0, 5000, 1), dns(5, 5001, 1), dns(9, 5000, 2),
               dns(20, 5001, 1, True), dns(25, 5000, 9, True),
               dns(30, 5000, 1, True), dns(31, 5000, 1, True),
               dns(40, 5000, 1), dns(47, 5000, 1, True)]
    assert edges.lookups(packets) == [(0, 30000), (5000, 20000),
                                      (40000, 47000)]


def a_query_sent_again_counts_from_the_first():
    packets = [dns(0, 5000, 1), dns(1000, 5000, 1), dns(1010, 5000, 1, True)]
    assert edges.lookups(packets) == [(0, 1010 * 1000)]


def a_lookup_belongs_to_the_connection_behind_it():
    every = []
    for n in range(3):
        wire = Wire().connected().add(20, CLIENT, b"GET").add(
            30, SERVER, b"answer")
        begin = (n * 1000 + 500) * 1000
        every += [dns(n * 1000, 5000 + n, 7), dns(n * 1000 + 40 + n, 5000 + n,
                                                  7, True)]
        every += [p._replace(ns=p.ns + begin, seq=(p.seq + n) % 2**32)
                  for p in wire.packets]
    found = edges.attempts(every, SERVER, edges.plain)
    assert [a["dns"] for a in found] == [40000, 41000, 42000], found
    assert [a["port"] for a in found] == [CLIENT] * 3


def both_families_are_one_resolution():
    wire = Wire().connected().add(20, CLIENT, b"GET").add(30, SERVER, b"x")
    packets = [dns(0, 5000, 1), dns(3, 5000, 2), dns(40, 5000, 2, True),
               dns(55, 5000, 1, True)]
    packets += [p._replace(ns=p.ns + 10**6) for p in wire.packets]
    found = edges.attempts(packets, SERVER, edges.plain)
    assert found[0]["dns"] == 55000, found
    packets[2], packets[3] = dns(40, 5000, 1, True), dns(70, 5000, 2, True)
    found = edges.attempts(packets, SERVER, edges.plain)
    assert found[0]["dns"] == 70000, found


if __name__ == "__main__":
    tap.run([
        phases_of_a_tls_connection_are_the_waits,
        a_response_begins_with_its_first_segment,
        a_record_begins_where_the_one_before_it_ended,
        a_request_of_several_records_ends_with_the_last,
        a_request_ends_with_its_last_segment_before_the_answer,
        what_comes_again_is_left_out_and_a_gap_is_unclear,
        a_syn_sent_again_is_unclear,
        lookups_are_paired_by_port_and_id,
        a_query_sent_again_counts_from_the_first,
        a_lookup_belongs_to_the_connection_behind_it,
        both_families_are_one_resolution,
    ])
