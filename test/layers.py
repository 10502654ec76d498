#!/usr/bin/python3
"""The layers, checked: who may include whom, and what pure code may call.

usage: layers.py SOURCE_ROOT [PURE_ARCHIVE...]

Arrows point down only, the two engines do not know each other, each library
has one door, and pure code does not reach the operating system: not through
a header, and not through a symbol (the archives are asked with nm).
"""
import pathlib
import re
import subprocess
import sys

# Each file belongs to the first layer whose pattern matches its path; the
# layers that it may include stand beside it.
LAYERS = [
    ("base", r"proto/base/.*", "base"),
    ("proto", r"proto/.*", "base proto"),
    ("gossip", r"mesh/\w+_uv\.[ch]", "base proto mesh gossip link"),
    ("mesh", r"mesh/.*", "base proto mesh"),
    ("measuring", r"prober/((plane(_\w+)?|probe_loop|psock|resolve|responder)_uv|handover)\.[ch]",
     "base proto engine host link measuring"),
    ("link", r"prober/link_uv\.[ch]", "base proto host link"),
    ("engine", r"prober/(aim|lag|lineup|probe(_\w+)?|plane_status|responder|sample(_wire)?"
     r"|schedule|target(_policy)?|oneoff|totals|window)\.[ch]", "base proto engine"),
    ("host", r"prober/(clock|config\w*|crypto_mem|env|file|footprint|hosts|keys|log|slice|tcp_info)\.[ch]",
     "base proto host"),
    ("door", r"prober/httpd\w*\.[ch]", "base proto host door"),
    ("request", r"prober/(lockout|principals(_\w+)?|remote(_(?!uv)\w+)?)\.[ch]",
     "base proto mesh engine door request"),
    ("view", r"prober/(api|metrics)\w*\.[ch]",
     "base proto mesh engine door view"),
    ("shell", r"prober/.*", "base proto mesh gossip engine host link"
     " measuring door request view shell"),
]
PURE = {"base", "proto", "mesh", "engine", "request", "view"}
PURE_TOO = re.compile(r"prober/cli_(render\w*|board|event|lines)\.[ch]")

# Headers that reach the operating system. <sys/uio.h>, <netinet/in.h> and
# <arpa/inet.h> describe bytes and are not among them.
OS_HEADER = re.compile(r"(uv|ares|pthread|threads|poll|unistd|time|signal|fcntl"
                       r"|dirent|netdb|dlfcn|semaphore|sched)\.h"
                       r"|sys/(?!queue\.h|types\.h|uio\.h).*|linux/.*|net/.*")

# Third-party header -> the files that may include it.
DOORS = {
    r"nghttp2/.*": r"proto/h2\w*\.[ch]",
    r"openssl/.*": r"proto/(digest|tls\w*|ml_seal)\.[ch]|prober/crypto_mem\.c",
    r"msgpack.*": r"proto/(frame|ml_msg|serf_msg)\.c",
    r"ares\w*\.h": r"prober/resolve_uv\.c",
    r"yaml\.h": r"prober/config\w*\.c",
    r"jansson\.h": r"prober/cli_json\.c",
    r"zlib\.h": r"prober/httpd\w*\.c",
    r"uv\.h": r"(prober|mesh)/\w+_uv\.[ch]|prober/(daemon|cli_probe_run)\.c",
}
ONE_FILE = {r"yaml\.h", r"jansson\.h", r"ares\w*\.h"}

# What a pure archive may not leave for the linker to find.
IMPURE = re.compile(
    r" U (uv_\w+|ares_\w+|pthread_\w+|epoll_\w+|clock_\w+|gettimeofday|time"
    r"|localtime\w*|s?rand(om)?(_r)?|[dlm]rand48|getrandom|getentropy"
    r"|socket|connect|bind|listen|accept4?|send\w*|recv\w*|p?poll|p?select"
    r"|open(at)?|fopen\w*|read|write|p?readv?|p?writev?|close|ioctl|[gs]etsockopt"
    r"|getenv|secure_getenv|setenv|getaddrinfo|u?sleep|nanosleep"
    r"|v?f?printf|__v?f?printf_chk|puts|fputs|putchar|fwrite|perror"
    r"|stdout|stderr|system|popen|fork|exec\w*|signal|sigaction|exit|_exit"
    r")(@.*)?$")

INCLUDE = re.compile(r'\s*#\s*include\s+(?:<([^>]+)>|"([^"]+)")')


def layer_of(rel):
    for name, pattern, below in LAYERS:
        if re.fullmatch(pattern, rel):
            return name, below
    return None, ""


def check_ours(rel, name):
    layer, below = layer_of(rel)
    other, _ = layer_of(name)
    if other is None:
        return f"{name} is in no layer"
    if other not in below.split():
        return f"{layer} must not include {name} ({other})"
    return None


def check_foreign(rel, name):
    layer, _ = layer_of(rel)
    pure = layer in PURE or PURE_TOO.fullmatch(rel)
    if pure and OS_HEADER.fullmatch(name):
        return f"pure code must not include <{name}>"
    for header, door in DOORS.items():
        if re.fullmatch(header, name) and not re.fullmatch(door, rel):
            return f"<{name}> has its door elsewhere: {door}"
    return None


def check_includes(root):
    bad, users = [], {}
    files = [f for top in ("proto", "mesh", "prober")
             for f in sorted((root / top).rglob("*.[ch]"))]
    for path in files:
        rel = path.relative_to(root).as_posix()
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            m = INCLUDE.match(line)
            if not m:
                continue
            why = check_foreign(rel, m[1]) if m[1] else check_ours(rel, m[2])
            if why:
                bad.append(f"{rel}:{number}: {why}")
            for header in ONE_FILE:
                if m[1] and re.fullmatch(header, m[1]):
                    users.setdefault(header, set()).add(rel)
    bad += [f"{header} is used by more than one file: {sorted(rels)}"
            for header, rels in users.items() if len(rels) > 1]
    if not files:
        bad.append(f"no sources under {root}")
    return bad


def check_symbols(archive):
    out = subprocess.run(["nm", "-u", archive], capture_output=True,
                         text=True, check=True).stdout
    bad, member = [], archive
    for line in out.splitlines():
        if line.endswith(".o:"):
            member = line[:-1]
        elif m := IMPURE.search(line):
            bad.append(f"{member}: pure code calls {m[1]}")
    return bad


def main(root, *archives):
    bad = check_includes(pathlib.Path(root))
    for archive in archives:
        bad += check_symbols(archive)
    print("\n".join(bad) or "layers hold")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
