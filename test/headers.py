#!/usr/bin/python3
"""Every header compiles alone, twice over, and is guarded by its own path.

usage: headers.py SOURCE_ROOT COMPILER [ARGUMENT...]
"""
import pathlib
import re
import subprocess
import sys

FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
         "-fsyntax-only", "-x", "c", "-"]


def check(root, header, compiler):
    rel = header.relative_to(root).as_posix()
    guard = re.sub(r"\W", "_", rel).upper()
    text = header.read_text(encoding="utf-8")
    if not re.search(rf"^#ifndef {guard}\n#define {guard}$", text, re.M):
        return f"{rel}: not guarded by {guard}"
    if not text.startswith(f"/* {rel} - "):
        return f"{rel}: does not begin with its path and what it is"
    run = subprocess.run([*compiler, f"-I{root}", *FLAGS], text=True,
                         input=f'#include "{rel}"\n' * 2,
                         capture_output=True, check=False)
    return f"{rel}: does not compile alone\n{run.stderr}" * bool(
        run.returncode)


def main(root, *compiler):
    root = pathlib.Path(root)
    headers = [h for top in ("proto", "mesh", "prober", "test")
               for h in sorted((root / top).rglob("*.h"))]
    bad = [why for h in headers if (why := check(root, h, compiler))]
    print("\n".join(bad) or f"{len(headers)} headers compile alone")
    return bool(bad) or not headers


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
