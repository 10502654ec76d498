"""The phases of an attempt as a capture shows them.

What a tool reports is held against this. A phase is a wait: from our bytes
leaving the interface until the bytes that answer them have come in, whoever
may have been slow to read them.
"""
import collections

import pcap

CCS, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23  # TLS record types
# Session tickets of a server without a ticket key are shorter than this in
# TLS 1.3, a response is longer.
TICKET_MAX = 100
# What may follow a response and is no part of it: an alert (close_notify),
# and a lone WINDOW_UPDATE or RST_STREAM of HTTP/2.
NOT_RESPONSE = 19, 30

Chunk = collections.namedtuple("Chunk", "ns data")
Record = collections.namedtuple("Record", "begin_ns end_ns type length")


class Unclear(Exception):
    """A capture that does not say; the text is why."""


def stream(packets, port):
    """The bytes sent from `port`, as chunks in order. Segments that came
    again are left out; one that came early makes it unclear."""
    chunks, expected = [], None
    for p in packets:
        if p.source_port != port or not p.length:
            continue
        if len(p.data) < p.length:
            raise Unclear("a segment was not captured whole")
        if expected is not None and p.seq != expected:
            if (expected - p.seq) % 2**32 < 2**31:
                continue
            raise Unclear("a segment is missing or came early")
        expected = (p.seq + p.length) % 2**32
        chunks.append(Chunk(p.ns, p.data))
    return chunks


def cut(chunks, header_size, size_and_type):
    """Cut a stream into Records; `size_and_type` reads a header."""
    records, buffer, begin_ns = [], b"", None
    for chunk in chunks:
        begin_ns = begin_ns if buffer else chunk.ns
        buffer += chunk.data
        while len(buffer) >= header_size:
            length, kind = size_and_type(buffer)
            if len(buffer) < header_size + length:
                break
            records.append(Record(begin_ns, chunk.ns, kind, length))
            buffer = buffer[header_size + length:]
            begin_ns = chunk.ns
    return records


def tls_records(packets, port):
    return cut(stream(packets, port), 5,
               lambda b: (int.from_bytes(b[3:5], "big"), b[0]))


def ports(packets):
    """(client's, server's)"""
    return packets[0].source_port, packets[0].target_port


def connect(packets):
    """Of the first SYN and the SYN-ACK."""
    syn = [p for p in packets if p.flags & pcap.SYN and not p.flags & pcap.ACK]
    answer = [p for p in packets
              if p.flags & pcap.SYN and p.flags & pcap.ACK]
    if not syn or not answer:
        raise Unclear("no handshake")
    if len(syn) > 1:
        raise Unclear("a SYN was sent again")
    return {"begin_ns": syn[0].ns, "connect": answer[0].ns - syn[0].ns,
            "connected_ns": answer[0].ns}


def tls(packets):
    """Phases of one TLS 1.3 connection with one request on it.

    `tls` is the wire's share of the handshake, the waits alone; `tls_all`
    what tools with one clock mean: from the SYN-ACK to our Finished."""
    out = connect(packets)
    client, server = ports(packets)
    ours, theirs = tls_records(packets, client), tls_records(packets, server)
    hellos = [r for r in ours if r.type == HANDSHAKE]
    secret = [r for r in ours if r.type == DATA]
    if not hellos or len(secret) < 2:
        raise Unclear("no handshake and request")
    finished = secret[0]
    waits = 0
    for hello, following in zip(hellos, hellos[1:] + [finished]):
        flight = [r for r in theirs
                  if hello.end_ns < r.end_ns < following.begin_ns]
        if not flight:
            raise Unclear("no answering flight")
        waits += flight[-1].end_ns - hello.end_ns
    response = [r for r in theirs if r.type == DATA
                and r.begin_ns > secret[1].end_ns and r.length > TICKET_MAX]
    if not response:
        raise Unclear("no response")
    first_ns = response[0].begin_ns
    request_ns = max(r.end_ns for r in secret[1:] if r.end_ns < first_ns)
    last_ns = max(r.end_ns for r in theirs if r.type == DATA and
                  r.begin_ns >= first_ns and r.length not in NOT_RESPONSE)
    return {**out, "tls": waits, "tls_all": finished.end_ns
            - out["connected_ns"], "ttfb": first_ns - request_ns,
            "transfer": last_ns - first_ns}


def plain(packets):
    """Phases of one connection with one plain HTTP/1.1 request on it."""
    out = connect(packets)
    client, server = ports(packets)
    request, response = stream(packets, client), stream(packets, server)
    if not request or not response:
        raise Unclear("no request and response")
    first_ns = response[0].ns
    request_ns = max(c.ns for c in request if c.ns < first_ns)
    return {**out, "ttfb": first_ns - request_ns,
            "transfer": response[-1].ns - first_ns}


def lookups(packets):
    """DNS over UDP: [(first query out, answer in)], in order of queries,
    paired by port and id. A pair that was answered may be used again."""
    asked, done = {}, []
    for p in packets:
        if p.protocol != "udp" or len(p.data) < 2:
            continue
        if p.target_port == 53:
            asked.setdefault((p.source_port, p.data[:2]), p.ns)
        elif p.source_port == 53:
            query_ns = asked.pop((p.target_port, p.data[:2]), None)
            if query_ns is not None:
                done.append((query_ns, p.ns))
    return sorted(done)


def attempts(packets, port, of_connection):
    """Every attempt of a capture in which they follow one another: a list of
    dicts with the client's port, or its reason in `unclear`.

    A lookup belongs to the connection that comes next."""
    dns, at, every = lookups(packets), 0, []
    for connection in pcap.connections(packets, port):
        begin_ns = connection[0].ns
        mine = []
        while at < len(dns) and dns[at][0] < begin_ns:
            mine.append(dns[at])
            at += 1
        attempt = {"port": connection[0].source_port}
        try:
            attempt.update(of_connection(connection))
        except Unclear as why:
            attempt["unclear"] = str(why)
        if mine:
            attempt["dns"] = max(a for _, a in mine) - min(q for q, _ in mine)
        every.append(attempt)
    return every
