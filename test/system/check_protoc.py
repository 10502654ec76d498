#!/usr/bin/python3
"""Our health messages against protoc's, both ways.

usage: check_protoc.py CODEC PROTO_FOLDER
CODEC is the program of test/protoc_codec.c. Exit code 77 (skipped) without
protoc.
"""
import random
import re
import shutil
import subprocess
import sys

SERVICES = ["", "probe", "mesh.probe.v1.Probe", "a" * 127, "a" * 128, "\u00e9",
            "with \"quotes\" and \\"]
STATUSES = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]


def run(args, data=b""):
    r = subprocess.run(args, input=data, capture_output=True, check=False)
    return r.returncode, r.stdout


def main(codec, folder):
    if not shutil.which("protoc"):
        print("SKIPPED: no protoc here, so nobody checks our protobuf codec")
        return 77

    def protoc(action, kind, data):
        return run(["protoc", f"-I{folder}", f"{folder}/health.proto",
                    f"--{action}=grpc.health.v1.HealthCheck{kind}"], data)

    bad = []

    def check(what, got, want):
        if got != want:
            bad.append(f"{what}: got {got!r}, expected {want!r}")

    def quoted(name):
        return "".join(f"\\{b:03o}" for b in name.encode())

    for name in SERVICES:
        text = f'service: "{quoted(name)}"'.encode()
        theirs = protoc("encode", "Request", text)[1]
        check(f"request {name!r}", run([codec, "encode-request", name]),
              (0, theirs))
        check(f"read request {name!r}", run([codec, "decode-request"], theirs),
              (0, name.encode()))
    for number, name in enumerate(STATUSES):
        theirs = protoc("encode", "Response", f"status: {name}".encode())[1]
        check(f"response {name}", run([codec, "encode-response", str(number)]),
              (0, theirs))
        check(f"read response {name}", run([codec, "decode-response"], theirs),
              (0, str(number).encode()))

    # Damaged and unusual messages: the same verdict, and the same value.
    rng = random.Random(1)
    seeds = [b"\x08\x01", b"\x08\x01\x08\x02", b"\x12\x01z\x08\x03\x1d....",
             b"\x08" + b"\xff" * 9 + b"\x01", b"\x08\x81\x80\x00",
             b"\x88\x80\x80\x80\x00\x01", b"\x21........\x08\x02"]
    for _ in range(150):
        m = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(3)):
            m[rng.randrange(len(m))] ^= 1 << rng.randrange(8)
        m = bytes(m[:rng.randrange(len(m)) + 1])
        code, text = protoc("decode", "Response", m)
        ours = run([codec, "decode-response"], m)
        if code == 0 and b"{" in text:  # a group: refused by us on purpose
            check(f"group in {m.hex()}", ours[0], 1)
            continue
        check(f"verdict on {m.hex()}", ours[0], code)
        if code == 0 and ours[0] == 0:
            found = re.findall(rb"^status: (\S+)", text, re.M)
            value = found[-1].decode() if found else "UNKNOWN"
            number = STATUSES.index(value) if value in STATUSES else int(value)
            check(f"value of {m.hex()}", int(ours[1]), number)

    print("\n".join(bad) or "protoc agrees")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
