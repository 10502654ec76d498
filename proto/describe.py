#!/usr/bin/python3
"""Descriptors of .proto files as C, for the reflection service.

usage: describe.py PROTOC OUTPUT.c NAME=FILE...
NAME is what clients see the file called. What protoc says of all of them
becomes one array (a FileDescriptorSet); see prober/reflection.h.
"""
import subprocess
import sys
import tempfile


def describe(protoc, files):
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(
            [protoc, *(f"-I{f}" for f in files),
             f"--descriptor_set_out={out.name}",
             *(f.split("=")[0] for f in files)], check=True)
        return out.read()


def main(protoc, output, *files):
    data = describe(protoc, files)
    lines = [", ".join(f"{b}" for b in data[i:i + 16])
             for i in range(0, len(data), 16)]
    with open(output, "w", encoding="ascii") as out:
        out.write("/* Made by proto/describe.py. */\n"
                  '#include "prober/reflection.h"\n\n'
                  "static const uint8_t bytes[] = {\n    "
                  + ",\n    ".join(lines) +
                  "};\n\nconst struct span reflection_descriptors = "
                  "{bytes, sizeof(bytes)};\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
