"""The gossip's bytes, as memberlist and Serf write them: for peers that tests
play themselves, honest ones and others.

Written from docs/gossip.md alone and sharing nothing with the daemon, so that
the two check each other. A message is bytes with its type in front; a packet
or stream is a message in its wrappers.
"""
import importlib.util
import os
import struct
import zlib

PING, INDIRECT_PING, ACK, SUSPECT, ALIVE, DEAD, PUSH_PULL, COMPOUND, USER, \
    COMPRESS, ENCRYPT, NACK, CRC, ERR = range(14)
LABEL = 244
STATES = ("alive", "suspect", "dead", "left")
SERF_LEAVE, SERF_JOIN, SERF_STATE, SERF_EVENT = range(4)
VSN = bytes([1, 5, 2, 2, 5, 5])  # a stock Serf agent's


def why_not():
    """Why no sealed gossip can be spoken here, or None."""
    if importlib.util.find_spec("cryptography"):
        return None
    return "not installed: python3-cryptography"


class Malformed(ValueError):
    """Bytes that are not what they should be."""


# ---- msgpack, the old flavour: one type for text and bytes -----------------

def pack(value):
    """Dicts, lists, bytes, text, None, booleans, numbers; keys sorted."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return _pack_int(value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, (bytes, bytearray)):
        return _head(len(value), 0xA0, 31, 0xDA) + bytes(value)
    if isinstance(value, dict):
        return _head(len(value), 0x80, 15, 0xDE) + b"".join(
            pack(k) + pack(value[k]) for k in sorted(value))
    return _head(len(value), 0x90, 15, 0xDC) + b"".join(map(pack, value))


def _head(count, fix, fix_max, wide):
    if count <= fix_max:
        return bytes([fix | count])
    if count < 65536:
        return struct.pack(">BH", wide, count)
    return struct.pack(">BI", wide + 1, count)


def _pack_int(value):
    if value < 0:
        return b"\xd3" + struct.pack(">q", value)
    if value < 128:
        return bytes([value])
    for kind, form, bits in (0xCC, "B", 8), (0xCD, "H", 16), (0xCE, "I", 32):
        if value >> bits == 0:
            return struct.pack(">B" + form, kind, value)
    return struct.pack(">BQ", 0xCF, value)


_NUMBERS = {0xCA: "f", 0xCB: "d", 0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q",
            0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q"}
_RAWS = {0xC4: "B", 0xC5: "H", 0xC6: "I", 0xD9: "B", 0xDA: "H", 0xDB: "I"}
_MANY = {0xDC: "H", 0xDD: "I", 0xDE: "H", 0xDF: "I"}


def unpack(data, at=0):
    """(value, index behind it); text comes as bytes, but for dicts' keys.

    Malformed also when bytes are missing, which on a stream means: wait."""
    try:
        return _unpack(data, at)
    except (IndexError, struct.error) as error:
        raise Malformed("cut short") from error


def _unpack(data, at):
    kind = data[at]
    at += 1
    if kind < 0x80:
        return kind, at
    if kind >= 0xE0:
        return kind - 256, at
    if kind in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[kind], at
    if kind in _NUMBERS:
        form = ">" + _NUMBERS[kind]
        return (struct.unpack_from(form, data, at)[0],
                at + struct.calcsize(form))
    if kind in _RAWS or 0xA0 <= kind < 0xC0:
        count, at = (_count(_RAWS[kind], data, at) if kind in _RAWS
                     else (kind & 31, at))
        if at + count > len(data):
            raise IndexError
        return bytes(data[at:at + count]), at + count
    if kind in _MANY or kind < 0xA0:
        count, at = (_count(_MANY[kind], data, at) if kind in _MANY
                     else (kind & 15, at))
        values = []
        is_map = kind < 0x90 or kind >= 0xDE
        for _ in range(count * (1 + is_map)):
            value, at = _unpack(data, at)
            values.append(value)
        if not is_map:
            return values, at
        keys = [k.decode(errors="replace") if isinstance(k, bytes) else k
                for k in values[::2]]
        return dict(zip(keys, values[1::2])), at
    raise Malformed(f"msgpack type {kind:#x}")


def _count(form, data, at):
    return (struct.unpack_from(">" + form, data, at)[0],
            at + struct.calcsize(form))


# ---- LZW -------------------------------------------------------------------

class _Codes:
    """Codes on their way into bytes; keeps the reader's width."""

    def __init__(self):
        self.out, self.bits, self.n = bytearray(), 0, 0
        self.clear(9)

    def clear(self, width):
        self.put(256, width)
        self.width, self.hi = 9, 257

    def put(self, code, width):
        self.bits |= code << self.n
        self.n += width
        while self.n >= 8:
            self.out.append(self.bits & 255)
            self.bits >>= 8
            self.n -= 8

    def data(self, code):
        """A code for data, and what both sides count behind it."""
        self.put(code, self.width)
        self.hi += 1
        if self.hi == 1 << self.width and self.width < 12:
            self.width += 1

    def end(self):
        self.put(257, self.width)
        if self.n:
            self.put(0, 8 - self.n)
        return bytes(self.out)


def lzw(data):
    codes, table, known = _Codes(), {}, b""
    for byte in data:
        longer = known + bytes([byte])
        if len(longer) == 1 or longer in table:
            known = longer
            continue
        _lzw_step(codes, table, known, longer)
        known = longer[-1:]
    if known:
        _lzw_step(codes, table, known, None)
    return codes.end()


def _lzw_step(codes, table, known, longer):
    codes.data(table[known] if len(known) > 1 else known[0])
    if codes.hi == 4095:
        codes.clear(12)
        table.clear()
    elif longer:
        table[longer] = codes.hi


def unlzw(data, limit=1 << 22):
    out, table, before = bytearray(), {}, None
    bits = n = at = 0
    width, hi = 9, 257
    while True:
        while n < width:
            if at == len(data):
                raise Malformed("lzw without an end")
            bits |= data[at] << n
            n, at = n + 8, at + 1
        code, bits, n = bits & ((1 << width) - 1), bits >> width, n - width
        if code == 257:
            return bytes(out)
        if code == 256:
            width, hi, before, table = 9, 257, None, {}
            continue
        if code < 256:
            text = bytes([code])
        elif code in table:
            text = table[code]
        elif code == hi and before is not None:
            text = before + before[:1]
        else:
            raise Malformed(f"lzw code {code}")
        out += text
        if len(out) > limit:
            raise Malformed("lzw too long")
        if before is not None:
            table[hi] = before + text[:1]
        before, hi = text, hi + 1
        if hi == 1 << width:
            if width < 12:
                width += 1
            else:
                hi, before = 4095, None


def lzw_bomb(size):
    """The longest run of one byte that `size` bytes of LZW can hold, and how
    long it is: the table is filled with ever longer runs, then the longest is
    named over and over."""
    codes, unpacked = _Codes(), 1
    codes.data(0)
    for length in range(2, 4095 - 256):
        if len(codes.out) + 4 > size:
            break
        codes.data(codes.hi)
        unpacked += length
    longest = codes.hi - 1
    while len(codes.out) + 4 <= size:
        codes.put(longest, codes.width)
        unpacked += longest - 256
    return codes.end(), unpacked


# ---- messages --------------------------------------------------------------

def message(kind, **fields):
    """One message; fields that are None and optional are left out."""
    for optional in "SourceAddr", "SourcePort", "SourceNode":
        if fields.get(optional, 0) is None:
            del fields[optional]
    return bytes([kind]) + pack(fields)


def ping(seq, node="", source=None, port=None, name=None):
    return message(PING, SeqNo=seq, Node=node, SourceAddr=source,
                   SourcePort=port, SourceNode=name)


def alive(name, address, port, incarnation, meta=b"\xff\x80", vsn=VSN):
    return message(ALIVE, Node=name, Addr=packed_ip(address), Port=port,
                   Incarnation=incarnation, Meta=meta, Vsn=vsn)


def accusation(kind, name, incarnation, accuser):
    """A suspect or a dead message; dead by itself is a leave."""
    return message(kind, Node=name, Incarnation=incarnation, From=accuser)


def entry(name, address, port, incarnation, state=0, meta=b"\xff\x80",
          vsn=VSN):
    """One node of a push/pull."""
    return {"Name": name, "Addr": packed_ip(address), "Port": port,
            "Incarnation": incarnation, "State": state, "Meta": meta,
            "Vsn": vsn}


def push_pull(entries=(), join=False, state=b"", **lies):
    """`lies`: other values for the header's Nodes and UserStateLen."""
    head = {"Join": join, "Nodes": len(entries), "UserStateLen": len(state),
            **lies}
    return (bytes([PUSH_PULL]) + pack(head) + b"".join(map(pack, entries))
            + state)


def compress(inner, packed=None):
    """`packed`: bytes of LZW to pretend with."""
    return message(COMPRESS, Algo=0, Buf=lzw(inner) if packed is None
                   else packed)


def compound(parts):
    return (struct.pack(f">BB{len(parts)}H", COMPOUND, len(parts),
                        *map(len, parts)) + b"".join(parts))


def tags(**values):
    """Serf's tags as a node's meta."""
    return b"\xff" + pack(values)


def read_tags(meta):
    if not meta or meta[0] != 0xFF:
        return {}
    return {k: v.decode(errors="replace")
            for k, v in unpack(meta, 1)[0].items()}


def packed_ip(text):
    """Four bytes of dotted text; bytes stay what they are."""
    return text if isinstance(text, bytes) else bytes(
        map(int, text.split(".")))


def dotted(packed):
    return ".".join(map(str, packed))


# ---- wrappers --------------------------------------------------------------

class Wrapping:
    """How packets and streams are wrapped: by which keys, with which label."""

    def __init__(self, keys=(), label=b""):
        self.keys, self.label = list(keys), label

    @property
    def _head(self):
        return (bytes([LABEL, len(self.label)]) + self.label
                if self.label else b"")

    def seal(self, plain, head=b"", key=None):
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        nonce = os.urandom(12)
        sealed = AESGCM(key or self.keys[0]).encrypt(nonce, plain,
                                                     head + self.label)
        return b"\1" + nonce + sealed

    def open(self, sealed, head=b""):
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        if len(sealed) < 29 or sealed[0] != 1:
            raise Malformed("not sealed")
        for key in self.keys:
            try:
                return AESGCM(key).decrypt(sealed[1:13], sealed[13:],
                                           head + self.label)
            except InvalidTag:
                continue
        raise Malformed("no key fits")

    def packet(self, inner, crc=False):
        if crc:
            inner = struct.pack(">BI", CRC, zlib.crc32(inner)) + inner
        return self._head + (self.seal(inner) if self.keys else inner)

    def parts(self, packet):
        """The messages in a packet."""
        if not packet.startswith(self._head):
            raise Malformed("another label")
        inner = packet[len(self._head):]
        if self.keys:
            inner = self.open(inner)
        if inner[:1] == bytes([CRC]) and len(inner) >= 5:
            want, inner = struct.unpack_from(">I", inner, 1)[0], inner[5:]
            if zlib.crc32(inner) != want:
                raise Malformed("crc")
        return list(_messages(inner))

    def stream(self, inner, is_reply=False):
        """A message on a stream; only who dialled names the label."""
        if self.keys:
            head = struct.pack(">BI", ENCRYPT, len(inner) + 29)
            inner = head + self.seal(inner, head)
        return inner if is_reply else self._head + inner

    def unstream(self, data, is_reply=True):
        """The message on a stream, or None while there is more to come."""
        if not is_reply:
            if len(data) < len(self._head):
                return None
            if not data.startswith(self._head):
                raise Malformed("another label")
            data = data[len(self._head):]
        if self.keys:
            if len(data) < 5:
                return None
            size = struct.unpack_from(">I", data, 1)[0]
            if data[0] != ENCRYPT or size > 1 << 22:
                raise Malformed("not sealed")
            if len(data) < 5 + size:
                return None
            data = self.open(data[5:5 + size], data[:5])
        return _whole(data)


def _messages(inner):
    while inner[:1] == bytes([COMPRESS]):
        inner = unlzw(unpack(inner, 1)[0]["Buf"])
    if inner[:1] != bytes([COMPOUND]):
        yield inner
        return
    count = inner[1]
    at = 2 + 2 * count
    for size in struct.unpack_from(f">{count}H", inner, 2):
        yield from _messages(inner[at:at + size])
        at += size


def _whole(data):
    """`data` as one message, unpacked; None if its end is not there yet."""
    if not data:
        return None
    try:
        body, at = unpack(data, 1)
        if data[0] == COMPRESS:
            return _whole(unlzw(body["Buf"]))
        if data[0] == PUSH_PULL:
            for _ in range(body["Nodes"]):
                at = unpack(data, at)[1]
            at += body["UserStateLen"]
        elif data[0] == USER:
            at += body["UserMsgLen"]
    except Malformed:
        return None
    return data if len(data) >= at else None


def read_push_pull(inner):
    """(header, list of nodes, state) of a push/pull message."""
    if inner[:1] != bytes([PUSH_PULL]):
        raise Malformed(f"no push/pull: {inner[:80]!r}")
    head, at = unpack(inner, 1)
    nodes = []
    for _ in range(head["Nodes"]):
        node, at = unpack(inner, at)
        node["Name"] = node["Name"].decode(errors="replace")
        nodes.append(node)
    return head, nodes, inner[at:at + head["UserStateLen"]]
