"""Containers for tests: podman with a storage, a base image and settings of
its own, and our image, built from the tree as it is.

    if not (why := pods.why_not()):
        pods.take()
        image = pods.image()
        pods.podman("run", "--rm", image, "--version")

Nothing comes from a registry: the base is bootstrapped from the mirror that
this machine's apt uses. It and the storage stay in CACHE, a directory in the
build directory, which one test at a time has for itself. No container outlives
its test, not even when that is killed. Needs root.
"""
import fcntl
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import tap
from netbed import ROOT

CACHE = pathlib.Path(os.environ.get("CACHE", ROOT / "build/cache")).absolute()
BASE = "docker.io/library/debian:bookworm-slim"  # the Containerfile's
IMAGE = "localhost/prober:test"
BUILD = "localhost/prober-build:test"  # the stage that builds
SECONDS_MAX = 1500  # of a test; meson's patience ends later, and abruptly
PODMAN_SECONDS_MAX = 900  # of one command; the longest one builds the image
TOOLS = ("podman", "runc", "debootstrap", "iptables", "tar")
NETAVARK = [pathlib.Path("/usr/lib/podman", t)
            for t in ("netavark", "aardvark-dns")]

# Limits above those of a machine without CAP_SYS_RESOURCE are refused; runc
# gets along with every layout of cgroups.
SETTINGS = """[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
[network]
network_backend = "netavark"
network_config_dir = "{cache}/containers/networks"
"""


# What is left when the one that holds the other end of our input has died.
REAPER = """
read -r _
exec >/dev/null 2>&1
"$@" pod rm --all --force --time 1
"$@" rm --all --force --time 1 --volumes
"$@" volume rm --all --force
for id in $("$@" network ls --quiet); do
    "$@" network rm --force --time 1 "$id"
done
umount root/overlay # which podman leaves mounted on itself
"""


def say(text):
    print("#", text, flush=True)


def why_not():
    """Why no container can be run here, or None."""
    if os.geteuid() != 0:
        return "containers need root here"
    missing = [t for t in TOOLS if not shutil.which(t)]
    missing += [p.name for p in NETAVARK if not p.exists()]
    if missing:
        return "not installed: " + ", ".join(missing)
    for argv in ["unshare", "--net", "true"], command("info"):
        done = subprocess.run(argv, check=False, capture_output=True,
                              text=True, env=environment())
        if done.returncode:
            return f"{argv[0]}: {done.stderr.strip()[-200:]}"
    return None


def environment():
    directory = CACHE / "containers"
    settings = directory / "containers.conf"
    directory.mkdir(parents=True, exist_ok=True)
    text = SETTINGS.format(cache=CACHE)
    if not settings.exists() or settings.read_text() != text:
        settings.write_text(text)
    return {**os.environ, "CONTAINERS_CONF": str(settings),
            "TMPDIR": str(directory)}


def command(*argv):
    return ["podman", "--root", str(CACHE / "containers/root"),
            "--runroot", str(CACHE / "containers/run"),
            "--storage-driver", "overlay", "--log-level", "fatal",
            *map(str, argv)]


def take():
    """Have the storage for ourselves until we end, which is within
    SECONDS_MAX; waits for who has it. However we end, a process of its own
    sees to what is left of ours before the next one's turn."""
    settings = environment()
    lock = open(CACHE / "containers/lock", "w", encoding="ascii")
    fcntl.flock(lock, fcntl.LOCK_EX)
    # The other end of its input is closed with us; the lock is its as well.
    reaper = subprocess.Popen(
        ["sh", "-c", REAPER, "sh", *command()], stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=settings,
        cwd=CACHE / "containers", start_new_session=True,
        pass_fds=[lock.fileno()])
    _taken.extend([lock, reaper])
    for number in signal.SIGALRM, signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, _leave)
    signal.alarm(SECONDS_MAX)


_taken = []  # held until we end


def _leave(number, _):
    # Not an Exception: no claim is to go on with what it has.
    raise SystemExit(f"not done after {SECONDS_MAX} s"
                     if number == signal.SIGALRM else 128 + number)


def works(*argv):
    """Whether podman exits with 0."""
    return subprocess.run(command(*argv), check=False, env=environment(),
                          cwd=CACHE / "containers", stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


def podman(*argv, enter=(), ok=(0,), **options):
    """Run podman to the end, in the namespaces that `enter` enters; its
    output. Raises unless it exits with one of `ok`.

    In a directory of its own: `kube play` takes what is called like an image
    where it runs for the place to build that image from."""
    done = subprocess.run(
        [*enter, *command(*argv)], check=False, text=True, capture_output=True,
        env=environment(), cwd=CACHE / "containers",
        timeout=PODMAN_SECONDS_MAX, **options)
    if done.returncode not in ok:
        raise RuntimeError(f"podman {' '.join(map(str, argv))}: exit "
                           f"{done.returncode}\n{done.stdout[-4000:]}"
                           f"{done.stderr[-4000:]}")
    # Of logs each stream comes as what it was.
    return done.stdout + (done.stderr if argv[0] == "logs" else "")


def remove(name):
    """A container, if it is there."""
    podman("rm", "--force", "--ignore", "--time", 1, "--volumes", name,
           ok=(0, 1, 125))


def mirror():
    """The first archive that apt knows, but not the security one."""
    found = []
    for path in [pathlib.Path("/etc/apt/sources.list"),
                 *sorted(pathlib.Path("/etc/apt/sources.list.d").iterdir())]:
        if path.exists():
            found += re.findall(r"^(?:deb (?:\[.*?\] )?|URIs: *)(\S+)",
                                path.read_text(), re.M)
    found = [u for u in found if "security" not in u]
    if not found:
        raise tap.Skip("apt has no mirror here")
    return found[0]


def bootstrap(name, suite, packages=(), adapt=lambda tree: None):
    """Make the image `name`: a minimal Debian with `packages`, after `adapt`
    has been at its tree. Skips where there is no mirror."""
    tree = CACHE / "containers/tree"
    # What an earlier try may have left. The one that is mounted there in the
    # meantime, proc, is in a mount namespace that has ended with that try.
    shutil.rmtree(tree, ignore_errors=True)
    done = subprocess.run(
        ["unshare", "--mount", "debootstrap", "--variant=minbase",
         *(["--include=" + ",".join(packages)] if packages else []), suite,
         str(tree), mirror()], check=False, text=True, capture_output=True)
    if done.returncode:
        why = " ".join((done.stdout + done.stderr).split())
        raise tap.Skip(f"debootstrap: {why[-300:]}")
    adapt(tree)
    archive = tree.with_suffix(".tar")
    subprocess.run(["tar", "-C", tree, "--exclude=./dev/*",
                    "--exclude=./var/cache/apt/archives/*.deb", "-cf", archive,
                    "."], check=True)
    podman("import", archive, name)
    archive.unlink()
    shutil.rmtree(tree)


def base():
    """See that the base image is there: a minimal Debian."""
    def reach_the_mirror(tree):
        # What this machine needs for that, the image needs too.
        for path in pathlib.Path("/etc/apt/apt.conf.d").glob("*proxy*"):
            shutil.copy(path, tree / "etc/apt/apt.conf.d")
    if not podman("images", "--quiet", BASE):
        say("bootstrapping the base image")
        bootstrap(BASE, "bookworm", adapt=reach_the_mirror)


def see_that_one_runs(name, *options):
    """Skips where this machine does not let a container of that image run."""
    try:
        podman("run", "--rm", "--network", "none", *options, name, "true")
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise tap.Skip(f"no container runs here: {why[-300:]}") from error


def image():
    """Build our image, or find that nothing has changed; its name. Skips
    where there is no mirror or no container can be run."""
    base()
    see_that_one_runs(BASE)
    began = time.monotonic()
    for name, more in ((BUILD, ["--target", "build"]), (IMAGE, [])):
        podman("build", "--format", "docker", "--pull=never", "--network",
               "host", "--layers", "--file", ROOT / "packaging/Containerfile",
               "--tag", name, *more, ROOT)
    podman("image", "prune", "--force")  # what earlier trees became
    say(f"built in {time.monotonic() - began:.0f} s")
    return IMAGE


if __name__ == "__main__":
    # By hand: pods.py ARGUMENT... is podman with this storage.
    os.execvpe("podman", command(*sys.argv[1:]), environment())
