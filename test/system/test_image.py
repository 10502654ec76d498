#!/usr/bin/python3
"""The image is the program and what it links to, and nothing else: small,
not root, read only, without a capability, alive by its own word, the same
bytes each time."""
import contextlib
import json
import os
import pathlib
import signal
import time

import pods
import tap
from netbed import until

SIZE_MAX = 15_000_000
NAME = "prober-image-test"
# As careful as anybody would run it.
LOCKED = ["--read-only", "--cap-drop", "all", "--network", "none",
          "--security-opt", "no-new-privileges", "--memory", "64m",
          "--env", "PROBER_NODE_ZONE=a"]
built = {}


def image():
    """Built once; every claim fails, or is skipped, where that is."""
    if not built:
        try:
            built["image"] = pods.image()
        except Exception as error:
            built["error"] = error
    if "error" in built:
        raise built["error"]
    return built["image"]


def inspect(name, field):
    return pods.podman("inspect", "--format", "{{json " + field + "}}", name)


@contextlib.contextmanager
def running(*options):
    """The daemon in a container; yields the id of its process."""
    pods.remove(NAME)
    try:
        pods.podman("run", "--detach", "--name", NAME, *LOCKED, *options,
                    image())
        until(is_healthy, 15, "healthy " + NAME)
        yield int(inspect(NAME, ".State.Pid"))
    except RuntimeError as error:
        log = pods.podman("logs", NAME, ok=(0, 125))
        raise RuntimeError(f"{error}\n{log}") from error
    finally:
        pods.remove(NAME)


def is_healthy():
    """By the image's own health check, in the container."""
    return pods.works("healthcheck", "run", NAME)


def is_ready():
    return pods.works("exec", NAME, "prober", "health", "--ready")


def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines
                    if ":\t" in line)


def in_build(script, ok=(0,)):
    """What a shell says in the stage that built the image."""
    image()
    return pods.podman("run", "--rm", "--network", "none", pods.BUILD, "sh",
                       "-euc", script, ok=ok)


def it_is_at_most_15_megabytes():
    size = int(inspect(image(), ".Size"))
    pods.say(f"{size / 1e6:.1f} MB")
    assert 1_000_000 < size <= SIZE_MAX, size


def it_holds_the_program_its_libraries_and_certificates():
    files = in_build("cd /out && find . -type f").split()
    strangers = [f for f in files if not (
        f in ("./usr/bin/prober", "./etc/passwd", "./etc/group",
              "./etc/ssl/certs/ca-certificates.crt",
              "./usr/share/sbom/prober.spdx.json")
        or ("/lib" in f and ".so" in f))]
    assert not strangers, strangers
    # Neither setuid nor writable by others, and root's but for one place.
    odd = in_build("cd /out && find . -perm /6000 -o ! -type l -perm /022"
                   " -o ! -user 0")
    assert not odd, odd
    mounted = pods.podman("image", "mount", image()).strip()
    try:
        theirs = [p for p in pathlib.Path(mounted).rglob("*")
                  if p.lstat().st_uid != 0]
        assert [str(p)[len(mounted):] for p in theirs] in (
            ["/run/prober"], ["/run", "/run/prober"]), theirs
        assert theirs[-1].stat().st_mode & 0o777 == 0o700
    finally:
        pods.podman("image", "umount", image())


def it_is_not_root_and_has_no_capability():
    assert json.loads(inspect(image(), ".Config.User")) == "65532:65532"
    with running() as pid:
        now = status(pid)
        assert now["Uid"].split() == ["65532"] * 4, now["Uid"]
        assert now["Gid"].split() == ["65532"] * 4, now["Gid"]
        for kind in "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
            assert int(now[kind], 16) == 0, (kind, now[kind])
        assert now["NoNewPrivs"] == "1"


def it_runs_on_a_root_that_nobody_can_write():
    with running() as pid:
        with open(f"/proc/{pid}/mountinfo", encoding="utf8") as mounts:
            root = [m.split() for m in mounts if m.split()[4] == "/"]
        assert root[0][5].split(",")[0] == "ro", root
        until(is_ready, 30, "ready")


def it_runs_without_any_option_as_well():
    pods.remove(NAME)
    pods.podman("run", "--detach", "--name", NAME, "--network", "none",
                image())
    try:
        until(is_healthy, 15, "healthy")
        # Its own socket, in the one directory that is its own.
        pods.podman("exec", NAME, "prober", "status")
    finally:
        pods.remove(NAME)


def a_volume_gives_a_read_only_one_its_control_socket():
    volume = NAME + "-run"
    try:
        with running("--read-only-tmpfs=false", "--volume",
                     f"{volume}:/run/prober"):
            pods.podman("exec", NAME, "prober", "status")
    finally:
        pods.podman("volume", "rm", "--force", volume, ok=(0, 1))


def the_health_check_is_the_programs_own():
    command = json.loads(inspect(image(), ".HealthCheck.Test"))
    assert command == ["CMD", "/usr/bin/prober", "health"], command


def the_health_check_tells_a_stopped_one_from_a_live_one():
    with running() as pid:
        pods.podman("healthcheck", "run", NAME)
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            pods.podman("healthcheck", "run", NAME, ok=(1,))
            assert time.monotonic() - began < 5  # the time it may take
        finally:
            os.kill(pid, signal.SIGCONT)
        until(is_healthy, 5, "healthy again")
        pods.podman("healthcheck", "run", NAME)


def stopping_it_drains_it():
    with running():
        began = time.monotonic()
        pods.podman("stop", "--time", "10", NAME)
        took = time.monotonic() - began
        assert json.loads(inspect(NAME, ".State.ExitCode")) == 0
        assert took < 7, took


def the_sbom_names_every_library_with_its_version():
    sbom = json.loads(in_build("cat /out/usr/share/sbom/prober.spdx.json"))
    listed = {p["name"]: p["versionInfo"] for p in sbom["packages"]}
    assert listed.pop("prober") == pods.podman(
        "run", "--rm", "--network", "none", image(), "--version"
        ).split()[1], sbom["packages"][0]
    # Asked of dpkg in another way: which package has a file of that name.
    want = {}
    for line in in_build("""
            for f in $(cd /out && find . -name '*.so*'); do
                p=$(dpkg-query -S "*/$(basename $(realpath ${f#.}))" |
                    head -n 1 | cut -d: -f1)
                dpkg-query -W -f '${Package} ${Version}\\n' $p
            done
            dpkg-query -W -f '${Package} ${Version}\\n' ca-certificates
            """).splitlines():
        package, version = line.split()
        want[package.split(":")[0]] = version
    assert listed == want, (listed, want)
    assert len(want) >= 6, want
    for p in sbom["packages"][1:]:
        assert p["externalRefs"][0]["referenceLocator"].startswith(
            f"pkg:deb/debian/{p['name']}@{p['versionInfo']}"), p
    told = {r["relatedSpdxElement"] for r in sbom["relationships"]}
    assert told == {p["SPDXID"] for p in sbom["packages"]}


def another_directory_gives_the_same_bytes():
    # Content, modes and times of all files; the image's build was the first.
    digest = ("tar -C {} --sort=name --numeric-owner -c . | sha256sum"
              " | cut -c1-64")
    first, second = in_build(f"""
        {digest.format("/out")}
        mkdir -p /home/somebody/else
        cp -r /src /home/somebody/else/prober
        cd /home/somebody/else/prober
        TZ=Asia/Tokyo packaging/image-root.sh /var/tmp/again >&2
        {digest.format("/var/tmp/again")}""").split()
    assert first == second, (first, second)


if __name__ == "__main__":
    why = pods.why_not()
    if not why:
        pods.take()
    tap.run([
        it_is_at_most_15_megabytes,
        it_holds_the_program_its_libraries_and_certificates,
        it_is_not_root_and_has_no_capability,
        it_runs_on_a_root_that_nobody_can_write,
        it_runs_without_any_option_as_well,
        a_volume_gives_a_read_only_one_its_control_socket,
        the_health_check_is_the_programs_own,
        the_health_check_tells_a_stopped_one_from_a_live_one,
        stopping_it_drains_it,
        the_sbom_names_every_library_with_its_version,
        another_directory_gives_the_same_bytes,
    ], why)
