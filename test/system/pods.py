"""Containers for tests: podman with a storage, a base image and settings of
its own, and our image, built from the tree as it is.

    if why := pods.why_not():
        raise tap.Skip(why)
    image = pods.image()
    pods.podman("run", "--rm", image, "--version")

Nothing comes from a registry: the base is bootstrapped from the mirror that
this machine's apt uses. It and the storage stay in CACHE, a directory in the
build directory; containers do not outlive a test. Needs root.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import tap
from netbed import ROOT

CACHE = pathlib.Path(os.environ.get("CACHE", ROOT / "build/cache"))
BASE = "docker.io/library/debian:bookworm-slim"  # the Containerfile's
IMAGE = "localhost/prober:test"
BUILD = "localhost/prober-build:test"  # the stage that builds
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
    settings.write_text(SETTINGS.format(cache=CACHE))
    return {**os.environ, "CONTAINERS_CONF": str(settings),
            "TMPDIR": str(directory)}


def command(*argv):
    return ["podman", "--root", str(CACHE / "containers/root"),
            "--runroot", str(CACHE / "containers/run"),
            "--storage-driver", "overlay", "--log-level", "fatal",
            *map(str, argv)]


def works(*argv):
    """Whether podman exits with 0."""
    return subprocess.run(command(*argv), check=False, env=environment(),
                          stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


def podman(*argv, enter=(), ok=(0,), **options):
    """Run podman to the end, in the namespaces that `enter` enters; its
    output. Raises unless it exits with one of `ok`."""
    done = subprocess.run([*enter, *command(*argv)], check=False, text=True,
                          capture_output=True, env=environment(), **options)
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


def base():
    """See that the base image is there: a minimal Debian."""
    if podman("images", "--quiet", BASE):
        return
    say("bootstrapping the base image")
    tree = CACHE / "containers/base"
    # What an earlier try may have left; nothing is ever mounted there.
    shutil.rmtree(tree, ignore_errors=True)
    done = subprocess.run(["debootstrap", "--variant=minbase", "bookworm",
                           str(tree), mirror()], check=False, text=True,
                          capture_output=True)
    if done.returncode:
        why = " ".join((done.stdout + done.stderr).split())
        raise tap.Skip(f"debootstrap: {why[-300:]}")
    # What this machine needs to reach the mirror, the image needs too.
    for path in pathlib.Path("/etc/apt/apt.conf.d").glob("*proxy*"):
        shutil.copy(path, tree / "etc/apt/apt.conf.d")
    archive = tree.with_suffix(".tar")
    subprocess.run(["tar", "-C", tree, "--exclude=./dev/*", "--exclude="
                    "./var/cache/apt/archives/*.deb", "-cf", archive, "."],
                   check=True)
    podman("import", archive, BASE)
    archive.unlink()
    shutil.rmtree(tree)



def image():
    """Build our image, or find that nothing has changed; its name. Skips
    where there is no mirror or no container can be run."""
    base()
    try:
        podman("run", "--rm", "--network", "none", BASE, "true")
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise tap.Skip(f"no container runs here: {why[-300:]}") from error
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
