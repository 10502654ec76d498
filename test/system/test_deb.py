#!/usr/bin/python3
"""The Debian package: built from the tree as it is, the same twice, and
installed, run, upgraded and purged under a real systemd.

The claims about the running service are tried in their order on one machine."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import machine
import pods
import same_matrix
import tap
from netbed import ROOT, run

TOOLS = ("dpkg-buildpackage", "dh", "lintian", "scdoc", "systemd-analyze")
UNIT = ROOT / "packaging/debian/prober.service"
CONFIG = "/etc/prober/prober.yaml"
DRAINED_S = 5 + 1  # and one for a machine that is busy
NODE = """\
node: {{name: {name}, zone: {zone}, region: {region}}}
probe: {{listen: "127.0.0.{n}:7443", cold_interval: 1s, warm_interval: 500ms}}
api: {{listen: "127.0.0.{n}:7070"}}
gossip:
  listen: "127.0.0.{n}:7946"
  join: ["127.0.0.1", "127.0.0.2"]
  keys_file: /etc/prober/gossip.keys
"""
# {name: the last number of its address}; the first is the service.
NODES = {f"{zone}-{i}": 2 * z + i for z, zone in enumerate(same_matrix.ZONES)
         for i in (1, 2)}


class Package:
    """A package that is being built, in a directory of its own."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        # Where the tree is copied to is different each time; so is its umask.
        self.process = subprocess.Popen(
            [ROOT / "packaging/deb.sh", self.directory], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": directory, "SOURCE_DATE_EPOCH":
                 "1767225600"})

    def wait(self):
        said = self.process.communicate()[0]
        assert self.process.returncode == 0, said
        return self

    def file(self, pattern):
        found = list(self.directory.glob(pattern))
        assert len(found) == 1, (pattern, found)
        return found[0]

    def deb(self):
        return self.file("prober_*.deb")

    def needs(self):
        """The packages that it depends on; of alternatives the first."""
        depends = run("dpkg-deb", "--field", self.deb(), "Depends")
        return [re.match(r"\S+", d.strip())[0] for d in depends.split(",")]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


EVERYTHING = contextlib.ExitStack()
made = {}


def directory():
    path = tempfile.mkdtemp(prefix="prober-deb.")
    EVERYTHING.callback(shutil.rmtree, path, ignore_errors=True)
    return path


def build():
    package = Package(directory())
    EVERYTHING.callback(package.stop)
    return package


def host():
    if "host" not in made:
        raise tap.Skip("there is no machine")
    return made["host"]


# ---- the package -------------------------------------------------------

def it_is_built_from_the_tree():
    made["package"] = build().wait()
    made["again"] = build()  # meanwhile


def lintian_has_nothing_to_say():
    said = run("lintian", "--no-cfg", "--fail-on", "error,warning",
               made["package"].file("*.changes"))
    assert not re.search(r"^[EW]:", said, re.M), said


def the_unit_leaves_little_exposed():
    said = run("systemd-analyze", "security", "--offline=true",
               "--threshold=15", UNIT)
    pods.say(said.strip().splitlines()[-1])


# ---- the service -------------------------------------------------------

def it_runs_as_soon_as_it_is_installed():
    package = made["package"]
    made["host"] = EVERYTHING.enter_context(machine.Machine(
        package.needs(), {"/debs": package.directory}))
    host().run("dpkg", "--install", f"/debs/{package.deb().name}")
    shown = host().show("prober", "ActiveState", "SubState", "Type",
                        "StatusText", "User", "UnitFileState", "NRestarts")
    assert shown == {
        "ActiveState": "active", "SubState": "running", "Type": "notify",
        "StatusText": "measuring", "User": "prober",
        "UnitFileState": "enabled", "NRestarts": "0"}, shown
    # Nobody has said where it is: it runs, and says so.
    assert "node.zone" in journal(), journal()


def journal():
    return host().run("journalctl", "--unit=prober", "--output=cat",
                      "--no-pager")


def pid():
    return host().show("prober", "MainPID")["MainPID"]


def it_has_no_privileges():
    status = dict(line.split(":\t", 1) for line in host().run(
        "cat", f"/proc/{pid()}/status").splitlines() if ":\t" in line)
    for name in "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
        assert int(status[name], 16) == 0, (name, status)
    uid = host().run("id", "-u", "prober").strip()
    assert uid != "0" and status["Uid"].split() == [uid] * 4, status
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status


def its_unit_and_manuals_are_in_order():
    said = host().run("systemd-analyze", "verify",
                      "/lib/systemd/system/prober.service")
    assert "prober" not in said, said
    for page in "prober", "prober-probe", "prober-reload", "prober.yaml":
        host().run("man", "--where", page)
    for path in "bash-completion/completions/prober", \
            "zsh/vendor-completions/_prober":
        host().run("test", "-s", f"/usr/share/{path}")
    host().run("prober", "check-config", CONFIG)


def configuration(name):
    return NODE.format(name=name, n=NODES[name], zone=name[0],
                       region=same_matrix.ZONES[name[0]])


def it_shows_the_same_matrix_of_three_zones():
    # As the manual of keygen has it.
    host().run("sh", "-c", "cd /etc/prober && umask 027 && prober keygen "
               ">gossip.keys && chgrp prober gossip.keys")
    service, *others = NODES
    host().write(CONFIG, configuration(service))
    host().run("systemctl", "restart", "prober")
    for name in others:
        host().write(f"/srv/{name}.yaml", configuration(name))
        host().run("systemd-run", f"--unit={name}",
                   "--setenv=PROBER_CONTROL_LISTEN=off", "prober", "run",
                   "--config", f"/srv/{name}.yaml")
    same_matrix.see({name: asker(n) for name, n in NODES.items()})


def asker(n):
    return lambda *options: host().try_to(
        "prober", "matrix", "--api", f"http://127.0.0.{n}:7070", "-o", "json",
        *options)[1]


def is_complete(said):
    """Whether every zone has a fresh value for every other one."""
    try:
        cells = json.loads(said)["cells"]
    except ValueError:
        return False
    fresh = {(c["from"], c["to"]) for c in cells if c["state"] == "fresh"
             and c["phases"]["total"]["p50"] > 0}
    return fresh >= {(a, b) for a in "abc" for b in "abc" if a != b}


def see_the_matrix():
    host().until(is_complete, "prober", "matrix", "--api",
                 "http://127.0.0.1:7070", "-o", "json", seconds=60)


def only_root_and_its_user_may_control_it():
    assert "a-1" in host().run("prober", "status")
    host().run("setpriv", "--reuid=prober", "--regid=prober", "--clear-groups",
               "prober", "status")
    code, said = host().try_to("setpriv", "--reuid=nobody", "--regid=nogroup",
                               "--clear-groups", "prober", "status")
    assert code == 1, (code, said)


def a_group_may_be_let_in():
    """As operations.md has it."""
    drop_in = "/run/systemd/system/prober.service.d"
    host().run("groupadd", "operators")
    host().run("mkdir", "-p", drop_in)
    host().write(f"{drop_in}/test.conf",
                 "[Service]\nSupplementaryGroups=operators\n")
    text = configuration("a-1")
    host().write(CONFIG, text + """control:
  socket_mode: 0660
  socket_group: operators
  users: [{group: operators, role: viewer}]
""")
    try:
        host().run("systemctl", "daemon-reload")
        host().run("systemctl", "restart", "prober")
        host().run("setpriv", "--reuid=nobody", "--regid=operators",
                   "--clear-groups", "prober", "status")
        code, said = host().try_to("setpriv", "--reuid=nobody",
                                   "--regid=nogroup", "--clear-groups",
                                   "prober", "status")
        assert code == 1, (code, said)
    finally:
        host().write(CONFIG, text)
        host().run("rm", "-r", drop_in)
        host().run("systemctl", "daemon-reload")
        host().run("systemctl", "restart", "prober")
        host().run("groupdel", "operators")
    see_the_matrix()


def a_reload_is_applied_or_complained_about():
    before = pid()
    text = configuration("a-1")
    host().write(CONFIG, text + "log: {level: debug}\n")
    host().run("systemctl", "reload", "prober")
    host().until("reloaded", "journalctl", "--unit=prober", "--output=cat")
    host().write(CONFIG, text + "log: {level: loud}\n")
    code, said = host().try_to("systemctl", "reload", "prober")
    assert code != 0, said
    assert f"{CONFIG}:" in journal() and "loud" in journal(), journal()
    shown = host().show("prober", "ActiveState", "MainPID", "StatusText")
    assert shown["ActiveState"] == "active" and shown["MainPID"] == before
    assert "reload" in shown["StatusText"], shown
    host().write(CONFIG, text)
    host().run("systemctl", "reload", "prober")
    assert host().show("prober", "StatusText")["StatusText"] == "measuring"


def it_is_restarted_when_it_hangs():
    drop_in = "/run/systemd/system/prober.service.d"
    host().run("mkdir", "-p", drop_in)
    host().write(f"{drop_in}/test.conf", "[Service]\nWatchdogSec=3s\n")
    try:
        host().run("systemctl", "daemon-reload")
        host().run("systemctl", "restart", "prober")
        before = pid()
        time.sleep(6)  # for which it has to feed the watchdog
        assert pid() == before, journal()
        host().run("systemctl", "kill", "--signal=STOP", "prober")
        host().until("NRestarts=1", "systemctl", "show", "prober",
                     "--property=NRestarts", seconds=20)
        host().until("SubState=running", "systemctl", "show", "prober",
                     "--property=SubState")
        assert "watchdog" in journal().lower() and pid() != before, journal()
    finally:
        host().run("rm", "-r", drop_in)
        host().run("systemctl", "daemon-reload")
    see_the_matrix()


def it_is_drained_when_it_is_stopped():
    began = time.monotonic()
    host().run("systemctl", "stop", "prober")
    took = time.monotonic() - began
    pods.say(f"stopped within {took:.1f} s")
    shown = host().show("prober", "ActiveState", "Result", "ExecMainStatus")
    assert shown == {"ActiveState": "inactive", "Result": "success",
                     "ExecMainStatus": "0"}, shown
    assert took < DRAINED_S, took
    members = json.loads(host().run("prober", "members", "--api",
                                    "http://127.0.0.2:7070", "-o", "json"))
    states = {m["name"]: m["state"] for m in members["members"]}
    assert states["a-1"] == "left", states


def a_broken_configuration_is_tried_once():
    host().write(CONFIG, "nodes: {}\n")
    code, said = host().try_to("systemctl", "start", "prober")
    assert code != 0, said
    time.sleep(2.5)  # twice RestartSec
    shown = host().show("prober", "ActiveState", "NRestarts", "ExecMainStatus")
    assert shown == {"ActiveState": "failed", "NRestarts": "0",
                     "ExecMainStatus": "2"}, shown
    install_again()  # and does not break the package


def install_again():
    host().run("dpkg", "--install", f"/debs/{made['package'].deb().name}")


def an_upgrade_restarts_it_once_and_keeps_its_configuration():
    text = configuration("a-1")
    host().write(CONFIG, text)
    host().run("systemctl", "restart", "prober")
    started, before = journal().count("Started "), pid()
    install_again()
    assert journal().count("Started ") == started + 1, journal()
    shown = host().show("prober", "ActiveState", "MainPID", "NRestarts")
    assert shown["ActiveState"] == "active", shown
    assert shown["MainPID"] != before and shown["NRestarts"] == "0", shown
    assert host().run("cat", CONFIG) == text
    see_the_matrix()


def it_is_removed_and_purged_without_a_trace():
    host().run("systemctl", "stop", *NODES.keys() - {"a-1"})
    host().run("dpkg", "--remove", "prober")
    assert host().try_to("pidof", "prober")[0] == 1
    host().run("test", "-e", CONFIG)
    host().run("rm", "/etc/prober/gossip.keys")  # ours, not the package's
    host().run("dpkg", "--purge", "prober")
    left = host().run("find", "/", "-xdev", "-iname", "*prober*", "!", "-path",
                      "/proc/*", "!", "-path", "/sys/*", "!", "-path",
                    "/var/cache/man/*")  # what man has shown, it keeps
    assert not left, left
    assert "prober" not in host().run("systemctl", "list-unit-files")
    assert "prober" not in host().run("systemctl", "list-units", "--failed")


# ---- and once more -----------------------------------------------------

def the_second_build_has_the_same_bytes():
    first, second = made["package"], made["again"].wait()
    names = sorted(p.name for p in first.directory.glob("*.deb"))
    assert names and names == sorted(
        p.name for p in second.directory.glob("*.deb")), names
    for name in names:
        assert (first.directory / name).read_bytes() == (
            second.directory / name).read_bytes(), name


def why_not():
    missing = [t for t in TOOLS if not shutil.which(t)]
    if missing:
        return "not installed: " + ", ".join(missing)
    return pods.why_not()


why = why_not()
if not why:
    pods.take()
with EVERYTHING:
    tap.run([
        it_is_built_from_the_tree,
        lintian_has_nothing_to_say,
        the_unit_leaves_little_exposed,
        it_runs_as_soon_as_it_is_installed,
        it_has_no_privileges,
        its_unit_and_manuals_are_in_order,
        it_shows_the_same_matrix_of_three_zones,
        only_root_and_its_user_may_control_it,
        a_group_may_be_let_in,
        a_reload_is_applied_or_complained_about,
        it_is_restarted_when_it_hangs,
        it_is_drained_when_it_is_stopped,
        a_broken_configuration_is_tried_once,
        an_upgrade_restarts_it_once_and_keeps_its_configuration,
        it_is_removed_and_purged_without_a_trace,
        the_second_build_has_the_same_bytes,
    ], why)
