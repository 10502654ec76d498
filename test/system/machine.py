"""A Debian under its real systemd, in a container, for what is installed there.

    with machine.Machine(packages, {"/debs": directory}) as host:
        host.run("dpkg", "--install", "/debs/prober_1_amd64.deb")
        host.until("is-active", "systemctl", "is-active", "prober")

It has no network but its loopback. The image is bootstrapped once for a list
of packages and stays in the cache (pods.py). Needs root."""
import hashlib
import pathlib
import subprocess
import time

import pods

ALWAYS = ("dbus", "man-db", "sudo", "systemd", "systemd-sysv")


def suite():
    """The Debian that we are on: what was built here belongs there."""
    for line in pathlib.Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise RuntimeError("/etc/os-release has no VERSION_CODENAME")


def image(packages):
    """The name of an image with these packages, which it makes if need be."""
    packages = sorted({*ALWAYS, *packages})
    wanted = " ".join([suite(), *packages])
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:12]
    name = f"localhost/prober-machine:{digest}"
    if pods.podman("images", "--quiet", name):
        return name
    pods.say("bootstrapping a machine")
    pods.bootstrap(name, suite(), packages)
    return name


class Machine:
    """A running one, until the end of the block."""

    NAME = "prober-machine"

    def __init__(self, packages, volumes):
        self.image = image(packages)
        self.volumes = [f"--volume={outside}:{inside}:ro"
                        for inside, outside in volumes.items()]

    def __enter__(self):
        pods.remove(self.NAME)
        pods.see_that_one_runs(self.image, "--privileged")
        pods.podman("run", "--detach", "--name", self.NAME, "--privileged",
                    "--systemd=always", "--network", "none", *self.volumes,
                    self.image, "/sbin/init")
        try:
            self.until("running", "systemctl", "is-system-running")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        pods.remove(self.NAME)

    def try_to(self, *argv, text=None):
        """(exit code, what it wrote) of a command in there."""
        done = subprocess.run(
            pods.command("exec", *(["-i"] if text is not None else []),
                         self.NAME, *argv), check=False, input=text,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=pods.environment())
        return done.returncode, done.stdout

    def run(self, *argv, text=None):
        """The output of a command that succeeds."""
        code, said = self.try_to(*argv, text=text)
        assert code == 0, (argv, code, said)
        return said

    def write(self, path, text):
        self.run("sh", "-c", 'cat >"$1"', "sh", path, text=text)

    def until(self, wanted, *argv, seconds=30):
        """Ask until the answer has `wanted` in it, a text or a function."""
        end = time.monotonic() + seconds
        while True:
            _, said = self.try_to(*argv)
            if wanted(said) if callable(wanted) else wanted in said:
                return said
            assert time.monotonic() < end, (argv, wanted, said)
            time.sleep(0.2)

    def show(self, unit, *properties):
        """{property: value} of a unit."""
        lines = self.run("systemctl", "show", unit,
                         "--property=" + ",".join(properties)).splitlines()
        return dict(line.split("=", 1) for line in lines)
