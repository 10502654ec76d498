#!/usr/bin/python3
"""A gRPC health server made by others: grpcio.

usage: grpc_health.py ADDRESS:PORT CERTIFICATE KEY

Services: "" and "good" SERVING, "bad" NOT_SERVING, "odd" a number that no
version of the protocol has, "nothing" an empty message, "slow" never in
time; others are NOT_FOUND. On the next port a server without the health
service. The messages are written by hand: each has one field.
"""
import sys
import time
from concurrent import futures

import grpc

REPLIES = {b"": b"\x08\1", b"good": b"\x08\1", b"bad": b"\x08\2",
           b"odd": b"\x08\x63", b"nothing": b""}


def check(request, context):
    service = request[2:] if request[:1] == b"\x0a" else b""
    if service == b"slow":
        time.sleep(3)
    if service not in REPLIES:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return REPLIES[service]


def serve(address, credentials, handlers):
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers(handlers)
    if not server.add_secure_port(address, credentials):
        sys.exit(f"cannot listen on {address}")
    server.start()
    return server


def main(address, certificate, key):
    with open(key, "rb") as k, open(certificate, "rb") as c:
        credentials = grpc.ssl_server_credentials([(k.read(), c.read())])
    health = grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health",
        {"Check": grpc.unary_unary_rpc_method_handler(check)})
    host, port = address.rsplit(":", 1)
    running = [serve(address, credentials, (health,)),
               serve(f"{host}:{int(port) + 1}", credentials, ())]
    print("ready", flush=True)
    running[0].wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
