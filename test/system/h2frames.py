"""HTTP/2 frames by hand (RFC 9113), for saying what no library would say.

Header blocks are literals without indexing and without Huffman coding, and
are only written, never read: what an answer's headers say is for real
clients to check."""
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
(DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY,
 WINDOW_UPDATE, CONTINUATION) = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
NO_ERROR, PROTOCOL_ERROR, FRAME_SIZE_ERROR, CANCEL, CALM = 0, 1, 6, 8, 11
INITIAL_WINDOW_SIZE = 4


def frame(kind, flags=0, stream=0, payload=b""):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags])
            + stream.to_bytes(4, "big") + payload)


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(
        struct.pack(">HI", k, v) for k, v in pairs))


def integer(value, bits):
    """An HPACK integer with a prefix of so many bits, the rest zero."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([value])
    out, value = bytearray([limit]), value - limit
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + bytes([value]))


def field(name, value):
    name, value = name.encode(), value.encode()
    return (b"\0" + integer(len(name), 7) + name
            + integer(len(value), 7) + value)


def block(path="/probe", method="GET", extra=()):
    return b"".join(field(*f) for f in (
        (":method", method), (":scheme", "http"), (":path", path),
        (":authority", "h"), *extra))


def request(stream, end=True, **options):
    """One GET in one HEADERS frame."""
    flags = END_HEADERS | (END_STREAM if end else 0)
    return frame(HEADERS, flags, stream, block(**options))


def reset(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def window(stream, add):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", add))


def parse(data):
    """Whole frames in `data`: a list of (kind, flags, stream, payload), and
    what is left over."""
    frames = []
    while len(data) >= 9:
        size = int.from_bytes(data[:3], "big")
        if len(data) < 9 + size:
            break
        stream = int.from_bytes(data[5:9], "big") & 0x7fffffff
        frames.append((data[3], data[4], stream, data[9:9 + size]))
        data = data[9 + size:]
    return frames, data


def goaway(frames):
    """(last stream, error code) of the last GOAWAY, or None."""
    for kind, _, _, payload in reversed(frames):
        if kind == GOAWAY:
            return struct.unpack(">II", payload[:8])
    return None


def ended(frames):
    """Streams that the other side has ended."""
    return [s for kind, flags, s, _ in frames
            if kind in (DATA, HEADERS) and flags & END_STREAM]
