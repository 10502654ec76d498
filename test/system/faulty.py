#!/usr/bin/python3
"""Servers that misbehave, each on a port of its own, one thread a connection.

usage: faulty.py ADDRESS SPEC...     SPEC: PORT=MODE[,CERTIFICATE[,OPTION]]

MODE says what happens to a connection: "silent" (accepted and ignored),
"reset", "close", "garbage", "half" (a response that stops in its middle),
"large" (one without an end), "refuse" (status 503), "ok". With a CERTIFICATE
(its path without .crt) TLS comes first. OPTION: "old" allows TLS 1.1 at most,
"client" wants a client's certificate, "h2" offers HTTP/2 by ALPN and
"http/1.1" that.

usage: faulty.py ADDRESS --dns

Answers DNS queries on port 53 by the first label of the name: servfail,
refused, empty, silent, garbage, late (300 ms), v6only; else 10.77.0.1.
"""
import socket
import ssl
import struct
import sys
import threading
import time

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWERS = {
    "close": b"",
    "garbage": b"\x15SSH-2.0-not what was asked for\r\n\r\n",
    "half": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "refuse": b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    "ok": OK,
}


def read_head(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(65536)
        if not more:
            return
        head += more


def misbehave(connection, mode):
    if mode == "silent":
        time.sleep(60)
    elif mode == "reset":
        connection.recv(65536)  # else the reset may overtake connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                              struct.pack("ii", 1, 0))
    elif mode == "large":
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(bytes(65536))
    elif mode == "close":
        # What came unread would make the close a reset.
        connection.recv(65536)
    else:
        read_head(connection)
        connection.sendall(ANSWERS[mode])
        if mode == "half":
            time.sleep(60)
        connection.recv(65536)  # until the client closes


def serve(connection, mode, context):
    try:
        if context:
            connection = context.wrap_socket(connection, server_side=True)
        misbehave(connection, mode)
    except OSError:
        pass  # the prober's verdict is what is tested
    finally:
        connection.close()


def make_context(path, option):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path + ".crt", path + ".key")
    if option == "old":
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    elif option == "client":
        context.verify_mode = ssl.CERT_REQUIRED
    elif option:
        context.set_alpn_protocols([option])
    return context


def accept(listener, mode, context):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, mode, context),
                         daemon=True).start()


def serve_all(address, specs):
    for spec in specs:
        port, _, rest = spec.partition("=")
        mode, path, option = (rest.split(",") + ["", ""])[:3]
        context = make_context(path, option) if path else None
        listener = socket.create_server((address, int(port)), backlog=64)
        threading.Thread(target=accept, args=(listener, mode, context),
                         daemon=True).start()
    threading.Event().wait()


def dns_answer(query):
    """The answer to one query, or None."""
    label = query[13:13 + query[12]].decode()
    end = 12
    while query[end]:
        end += 1 + query[end]
    question, kind = query[12:end + 5], query[end + 2]
    code = {"servfail": 2, "refused": 5}.get(label, 0)
    record = b""
    if label == "v6only" and kind == 28:
        record = (b"\xc0\x0c\0\x1c\0\1\0\0\0\1\0\x10"
                  + socket.inet_pton(socket.AF_INET6, "fd77::1"))
    elif label not in ("empty", "v6only") and code == 0 and kind == 1:
        record = (b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4"
                  + socket.inet_aton("10.77.0.1"))
    if label == "silent":
        return None
    if label == "garbage":
        return query[:2] + b"\x81\x80\xff\xff\xff\xff\0\0\0\0" + b"\xff" * 40
    if label == "late":
        time.sleep(0.3)
    return (query[:2] + bytes([0x81, 0x80 | code, 0, 1, 0, bool(record),
                               0, 0, 0, 0]) + question + record)


def serve_dns(address):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    while True:
        query, client = server.recvfrom(512)
        answer = dns_answer(query)
        if answer:
            server.sendto(answer, client)


if __name__ == "__main__":
    if sys.argv[2:] == ["--dns"]:
        serve_dns(sys.argv[1])
    else:
        serve_all(sys.argv[1], sys.argv[2:])
