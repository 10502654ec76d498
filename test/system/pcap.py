"""As much of a capture file as a test of timing needs: Ethernet, IP, TCP and
UDP, with nanosecond stamps."""
import collections
import ipaddress
import struct

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

Packet = collections.namedtuple(
    "Packet", "ns protocol source source_port target target_port"
    " flags seq ack length data")
Packet.__doc__ = """One TCP or UDP packet.

`length` is that of the payload on the wire; `data` as much of it as was
captured. `protocol` is "tcp" or "udp"; flags, seq and ack are 0 for udp."""


def read(path):
    """The TCP and UDP packets of a capture file, as a list."""
    with open(path, "rb") as f:
        raw = f.read()
    if len(raw) < 24:
        return []
    scale = {0xA1B23C4D: 1, 0xA1B2C3D4: 1000}[struct.unpack_from("<I", raw)[0]]
    if struct.unpack_from("<I", raw, 20)[0] != 1:
        raise ValueError(f"{path}: not captured from Ethernet")
    packets, at = [], 24
    while at + 16 <= len(raw):
        seconds, fraction, kept, _ = struct.unpack_from("<IIII", raw, at)
        frame = raw[at + 16:at + 16 + kept]
        at += 16 + kept
        packet = parse(frame, seconds * 10**9 + fraction * scale)
        if packet:
            packets.append(packet)
    return packets


def parse(frame, ns):
    """One frame's packet, or None for what is neither TCP nor UDP."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and len(frame) >= 34:
        start = 14 + (frame[14] & 15) * 4
        end = 14 + struct.unpack_from(">H", frame, 16)[0]
        number, source, target = frame[23], frame[26:30], frame[30:34]
    elif kind == b"\x86\xdd" and len(frame) >= 54:
        start = 54
        end = 54 + struct.unpack_from(">H", frame, 18)[0]
        number, source, target = frame[20], frame[22:38], frame[38:54]
    else:
        return None
    source, target = (str(ipaddress.ip_address(a)) for a in (source, target))
    if number == 6:
        source_port, target_port, seq, ack, offset, flags = struct.unpack_from(
            ">HHIIBB", frame, start)
        body = start + (offset >> 4) * 4
        return Packet(ns, "tcp", source, source_port, target, target_port,
                      flags, seq, ack, end - body, frame[body:end])
    if number == 17:
        source_port, target_port = struct.unpack_from(">HH", frame, start)
        return Packet(ns, "udp", source, source_port, target, target_port,
                      0, 0, 0, end - start - 8, frame[start + 8:end])
    return None


def connections(packets, port):
    """TCP connections to `port`: a list of lists of packets, by first SYN.

    A SYN sent again belongs to its connection; a port that is used again
    begins a new one."""
    now, every = {}, []
    for p in packets:
        if p.protocol != "tcp" or port not in (p.source_port, p.target_port):
            continue
        ours = p.target_port == port
        key = (p.source, p.source_port) if ours else (p.target, p.target_port)
        if ours and p.flags & SYN and (key not in now
                                       or now[key][0].seq != p.seq):
            now[key] = []
            every.append(now[key])
        if key in now:
            now[key].append(p)
    return every
