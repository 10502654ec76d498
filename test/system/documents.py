#!/usr/bin/python3
"""Every command of the documents, run as it is written.

usage: documents.py PLACE...

Read are README.md, docs/*.md and the chart's README. Each fenced block says
what it is: `sh` and `console` hold commands (those of `console` begin with
"$ ", the rest is what they answered), `ini` a drop-in of systemd, and the
others none. A command's place is found by WHERE:

  mesh     beside a mesh of six nodes, of which README's node.yaml is one, on
           hosts of their own, with /etc, /run and the like laid over
  demo     in the source tree, which has been built; ended by Ctrl-C
  machine  a Debian under its systemd, in a container (machine.py)
  cluster  against what the real helm makes of the chart

What is not run stands in EXEMPT, with the reason. A document's commands are
run in their order; what one of them leaves is there for the next.
"""
import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import helm
import machine
import netbed
import pods
import tap
import yaml
from netbed import PROBER, ROOT, run

# The first that matches where a command begins.
WHERE = [
    (r"\./dev demo\b", "demo"),
    (r"(podman|helm|kubectl) ", "cluster"),
    (r"(sudo|sudoedit|apt|editor|systemctl|\./dev deps) ", "machine"),
    (r"(\(umask|prober|curl|grep|kill|install|chgrp|\./dev build) ", "mesh"),
    (r"(TOKEN=\S+ \S+ )?grpcurl ", "mesh"),
]
EXEMPT = {
    r"\./dev test\b": "this is a part of it",
    r"podman push\b": "there is no registry",
}
PROGRAMS = r"(?:\$ )?(?:prober|curl|grpcurl|sudo|apt|systemctl|helm|kubectl|" \
    r"podman|meson|ninja|\./dev|packaging)\b"
LANGUAGES = {"sh", "console", "ini", "text", "json", "yaml", "promql"}
# What a synopsis has, and no command.
SYNOPSIS = re.compile(r"[][|]")
TIMEOUT_S = 90
BUILD_S = 900

# ---- the documents -----------------------------------------------------


class Block:
    def __init__(self, path, line, language, body):
        self.path, self.line = path, line
        self.language, self.body = language, body

    def commands(self):
        """[(command, what it answered)], continued lines joined."""
        if self.language == "ini":
            return [(self.body, "")]
        if self.language not in ("sh", "console"):
            return []
        found, is_open = [], False
        for line in self.body.splitlines(keepends=True):
            if is_open:
                found[-1][0] += line
            elif self.language == "sh" or line.startswith("$ "):
                found.append([line.removeprefix("$ "), ""])
            else:
                assert found, (self.path, self.line, "answers to nothing")
                found[-1][1] += line
                continue
            is_open = line.endswith("\\\n")
        return [(c.strip(), answer) for c, answer in found
                if c.strip() and not c.startswith("#")]


class Command:
    def __init__(self, block, text, answer):
        self.block, self.text, self.answer = block, text, answer
        self.name = f"{block.path}:{block.line}: {text.splitlines()[0][:70]}"
        self.name = self.name.replace("#", "-")

    def place(self):
        if self.block.language == "ini":
            return "machine"
        for pattern, why in EXEMPT.items():
            if re.match(pattern, self.text):
                return f"exempt: {why}"
        own = where(self.text)
        # What is done with what has just been installed.
        if own == "mesh" and "machine" in (
                where(c) for c, _ in self.block.commands()):
            return "machine"
        return own


def where(text):
    return next((place for pattern, place in WHERE
                 if re.match(pattern, text)), None)


def documents():
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")),
            *sorted((ROOT / "charts").glob("*/README.md"))]


def blocks():
    for path in documents():
        text = path.read_text(encoding="utf-8")
        for m in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S):
            yield Block(path.relative_to(ROOT).as_posix(),
                        text.count("\n", 0, m.start()) + 1, m[1], m[2])


BLOCKS = list(blocks())
COMMANDS = [Command(block, text, answer) for block in BLOCKS
            for text, answer in block.commands()]


def every_block_says_what_it_is():
    wrong = [f"{b.path}:{b.line}: ```{b.language}" for b in BLOCKS
             if b.language not in LANGUAGES]
    for block in BLOCKS:
        if block.language == "text":
            wrong += [f"{block.path}:{block.line}: text has {line!r}"
                      for line in block.body.splitlines()
                      if re.match(PROGRAMS, line) and not SYNOPSIS.search(line)]
    assert not wrong, wrong
    assert len(COMMANDS) > 40, len(COMMANDS)


def every_command_has_a_place():
    lost = [c.name for c in COMMANDS if not c.place()]
    assert not lost, lost
    for command in COMMANDS:
        if command.place().startswith("exempt"):
            pods.say(f"{command.name}: {command.place()}")


def claims_of(place, commands, execute):
    """A claim for each command of that place."""
    def claim_of(command):
        def claim():
            execute(command)
        claim.__name__ = command.name
        return claim
    return [claim_of(c) for c in commands if c.place() == place]


def sh(command, *, code=0, enter=(), seconds=TIMEOUT_S, **options):
    """Run it; what it wrote. What takes too long is ended, all of it."""
    child = subprocess.Popen(
        [*enter, "sh", "-euc", command], text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, **options)
    try:
        said = child.communicate(timeout=seconds)[0]
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    assert child.returncode == code, (child.returncode, said)
    return said


# ---- beside a mesh -----------------------------------------------------

HERE = "10.0.0.5"
OTHERS = {"a-2": "10.0.1.7", "b-1": "10.0.2.1", "b-2": "10.0.2.2",
          "c-1": "10.0.3.1", "c-2": "10.0.3.2"}
SERVER = "10.0.9.1"
NAMES = {"prober.example": OTHERS["c-1"], "b-1.example": OTHERS["b-1"],
         "a-1": OTHERS["a-2"], "a-1.example": OTHERS["a-2"],
         "db.example": SERVER, "far.test": SERVER}
# What the documents take for granted of other nodes: that one has its control
# port on TCP, and that a zone may be asked to probe db.example.
OTHER = """\
node: {{name: {name}, zone: {zone}, region: {region}}}
probe: {{listen: "{address}:7443"}}
api: {{listen: "{address}:7070"}}
gossip: {{listen: "{address}:7946", join: ["10.0.1.7"],
  keys_file: /etc/prober/gossip.keys}}
tls: {{certificate: {path}/{name}.crt, key: {path}/{name}.key}}
control:
  listen: "{control}"
  allow: [db.example]
  hosts: [a-1, a-1.example]
  tokens_file: /etc/prober/tokens
"""
# And of the node itself, but for README's own.
MORE = {"control": {"audit_file": "/var/log/prober/audit.log",
                    "tokens_file": "/etc/prober/tokens",
                    "allow": ["db.example"], "requests_per_minute": 1000}}
# A file that is wrong as docs/configuration.md has it.
WRONG = """\
node: {name: a-1, zone: a}
probe:
  listen: ":7443"
  cold_intervall: 5s
  warm_interval: 50ms
"""
CODES = {"prober check-config prober.yaml": 2}


def lay_over(directory):
    """What is written there from now on is gone with the mount."""
    work = pathlib.Path(tempfile.mkdtemp(prefix="prober-documents."))
    run("mount", "-t", "tmpfs", "tmpfs", work)
    try:
        for name in "upper", "work":
            (work / name).mkdir()
        run("mount", "-t", "overlay", "-o", f"lowerdir={directory},upperdir="
            f"{work}/upper,workdir={work}/work", "overlay", directory)
    finally:
        run("umount", "-l", work)
        work.rmdir()


@contextlib.contextmanager
def another_machine():
    """Nobody has touched it yet."""
    laid = []
    try:
        for directory in "/etc", "/usr/local", "/run", "/var/log":
            lay_over(directory)
            laid.append(directory)
        furnish()
        yield
    finally:
        for directory in laid:
            run("umount", "-l", directory)


def furnish():
    etc = pathlib.Path("/etc")
    (etc / "resolv.conf").unlink(missing_ok=True)
    (etc / "resolv.conf").write_text("nameserver 10.0.0.1\n")
    # NODE stands for the address of a node.
    (etc / "hosts").write_text("127.0.0.1 localhost NODE\n")
    # The package makes them; where there is none, somebody has.
    for name, line in ("passwd", "prober:x:64999:64999::/:/bin/false"), (
            "group", "prober:x:64999:"):
        lines = [old for old in (etc / name).read_text().splitlines()
                 if not old.startswith("prober:")]
        (etc / name).write_text("\n".join([*lines, line, ""]))
    for directory in "/etc/prober", "/run/prober", "/var/log/prober":
        shutil.rmtree(directory, ignore_errors=True)


class Mesh:
    """Two hosts: what a document says is done on the one, where a-1 runs; the
    other one has the rest of the world."""

    def __init__(self, bed):
        self.bed, self.path = bed, bed.path
        self.here, self.there = bed.host("here"), bed.host("there")
        bed.cable(self.here, HERE + "/16", self.there, "10.0.0.1/16")
        for address in [*OTHERS.values(), SERVER]:
            self.there.add("lo", address + "/32")
        bed.authority()
        bed.resolver(self.there, "10.0.0.1", NAMES)
        self.serve()
        self.directory = pathlib.Path(bed.path, "work")
        for name in "bin", "work":
            pathlib.Path(bed.path, name).mkdir()
        os.symlink(pathlib.Path(PROBER).absolute(), f"{bed.path}/bin/prober")
        shutil.copy(f"{bed.path}/ca.crt", self.directory)
        bed.file("work/prober.yaml", WRONG)
        bed.file(".curlrc", "fail\nshow-error\n")
        self.environment = {
            **{k: v for k, v in os.environ.items() if "PROBER" not in k},
            "PATH": f"{bed.path}/bin:{os.environ['PATH']}",
            "CURL_HOME": bed.path}
        # The system's authorities, as OpenSSL and curl have it.
        self.trust = f"SSL_CERT_FILE={bed.path}/ca.crt"
        self.environment.update([self.trust.split("=")])
        self.daemon = None

    def serve(self):
        """A web server that speaks HTTP/1.1 and gRPC, on 443 and 8443."""
        self.bed.certificate("server", ["DNS:db.example", "DNS:far.test"])
        self.bed.file("www/serving", b"\0\0\0\0\2\x08\1")
        config = netbed.NGINX.format(path=self.path, address=SERVER,
                                     name="server", keepalive=65)
        config = config.replace(f"listen {SERVER}:8443 ssl http2;",
                                f"listen {SERVER}:8443 ssl http2;"
                                f"listen {SERVER}:443 ssl http2;")
        process = self.there.spawn(
            ["nginx", "-e", f"{self.path}/nginx.err", "-c",
             self.bed.file("nginx.conf", config)], "nginx.log")
        process.wait_port(443)

    def start_others(self):
        run("sh", "-euc", "umask 027 && exec \"$0\" keygen --token ci runner "
            "--tokens-file /etc/prober/tokens >ci.token", PROBER,
            cwd=self.directory)
        for name, address in OTHERS.items():
            self.bed.certificate(name, [
                f"IP:{address}", *(f"DNS:{n}" for n, a in NAMES.items()
                                   if a == address)])
            config = self.bed.file(f"{name}.yaml", OTHER.format(
                name=name, address=address, zone=name[0], path=self.path,
                region="r2" if name[0] == "c" else "r1",
                control=f"{address}:7071" if name == "a-2" else "off"))
            process = self.there.spawn(
                ["env", self.trust, f"{self.path}/bin/prober", "run",
                 "--config", config], f"{name}.log")
            # To end in order would take each of them some seconds.
            self.bed.callback(process.signal, signal.SIGKILL)

    def begin(self):
        """As README says a node is begun, with MORE in its configuration."""
        said = [b for b in BLOCKS if b.path == "README.md"]
        node = yaml.safe_load(next(b.body for b in said
                                   if b.language == "yaml"))
        pathlib.Path("/var/log/prober").mkdir(exist_ok=True)
        pathlib.Path("/etc/prober").mkdir(exist_ok=True)
        self.bed.file("work/node.yaml", json.dumps({**node, **MORE}))
        shutil.copy(self.directory / "node.yaml", "/etc/prober/prober.yaml")
        block = next(b for b in said if "prober run" in b.body)
        for text, _ in block.commands():
            if not text.startswith("./dev"):
                self.execute(Command(block, text, ""))

    def execute(self, command):
        if re.match(r"prober run\b", command.text):
            return self.start(command.text)
        if "grpcurl" in command.text:
            self.find_grpcurl()
        cwd = self.directory
        if command.text.startswith("./dev"):
            cwd = built()
        said = sh(command.text, code=CODES.get(command.text, 0),
                  enter=self.here.enter, cwd=cwd, env=self.environment,
                  seconds=TIMEOUT_S if cwd is self.directory else BUILD_S)
        assert said or not command.text.startswith("grep"), "found nothing"
        if command.text in CODES:  # and the same answer, to the letter
            assert said == command.answer, (said, command.answer)
        return None

    def start(self, text):
        """A daemon, which stays; what comes next is another terminal's."""
        if self.daemon:
            self.daemon.stop()
        else:
            self.start_others()
        argv = shlex.split(text, comments=True)
        argv[0] = f"{self.path}/bin/prober"
        argv = ["env", "--chdir", self.directory, self.trust, *argv]
        self.daemon = self.here.spawn(argv, "a-1.log")
        self.bed.callback(self.daemon.signal, signal.SIGKILL)
        self.daemon.wait_port(7070)
        netbed.until(self.is_whole, 60, f"the mesh\n{self.daemon.text()}")

    def is_whole(self):
        """All zones know how far the others are."""
        assert self.daemon.is_alive(), self.daemon.text()
        time.sleep(0.5)
        try:
            cells = json.loads(self.here.run(
                PROBER, "matrix", "--level", "zone", "-o", "json"))["cells"]
        except RuntimeError:
            return False
        fresh = {(c["from"], c["to"]) for c in cells if c["state"] == "fresh"}
        return fresh >= {(a, b) for a in "abc" for b in "abc"}

    def find_grpcurl(self):
        link = pathlib.Path(self.path, "bin/grpcurl")
        if not link.exists():
            helm.MODULES["grpcurl"] = (
                "github.com/fullstorydev/grpcurl/cmd/grpcurl", "v1.9.3")
            link.symlink_to(helm.tool("grpcurl"))


def mesh_claims():
    """Claims that begin with one that makes the document's mesh."""
    claims = []
    for path in dict.fromkeys(c.block.path for c in COMMANDS):
        commands = [c for c in COMMANDS if c.block.path == path
                    and c.place() == "mesh"]
        if commands:
            claims += mesh_claims_of(path, commands)
    return claims


def mesh_claims_of(path, commands):
    meshes = []
    is_own = any(c.text.startswith("prober run") for c in commands)

    def there_is_a_mesh():
        stack.enter_context(another_machine())
        bed = stack.enter_context(netbed.Bed())
        mesh = Mesh(bed)
        if is_own and path == "README.md":
            node = next(b.body for b in BLOCKS if b.path == path
                        and b.language == "yaml")
            bed.file("work/node.yaml", node)
        else:
            mesh.begin()
        meshes.append(mesh)

    def execute(command):
        if not meshes:
            raise tap.Skip("there is no mesh")
        meshes[0].execute(command)

    def it_ends():
        stack.close()

    stack = contextlib.ExitStack()
    there_is_a_mesh.__name__ = f"{path}: there is a mesh"
    it_ends.__name__ = f"{path}: and the end of it"
    return [there_is_a_mesh, *claims_of("mesh", commands, execute), it_ends]


# ---- the demo ----------------------------------------------------------


def built():
    """The source tree, if `./dev build` has nothing left to do there."""
    if not (ROOT / "build/prober").exists():
        raise tap.Skip("there is no build/ here: ./dev build")
    return ROOT


def run_demo(command):
    """Until it has shown a matrix without holes; then Ctrl-C. What stands
    behind a value, as of a starved prober, does not matter here."""
    child = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && exec " +
         command.text], cwd=built(), text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, rows, end = "", {}, time.monotonic() + TIMEOUT_S
    try:
        for line in child.stdout:
            said += line
            m = re.match(r"([abc])((?: +[\d.]+ [mun]?s[*!~]*){3})$", line)
            rows.update({m[1]: m[2]} if m else {})
            if len(rows) == 3 or time.monotonic() > end:
                break
    finally:
        child.send_signal(signal.SIGINT)
        said += child.communicate(timeout=30)[0]
    assert len(rows) == 3, said
    assert child.returncode == 0, (child.returncode, said)


# ---- a machine ---------------------------------------------------------

# Edits as it is told: the zone, and the key if there is one; then also where to
# gossip, for the machine has only a loopback.
EDITOR = r"""#!/bin/sh
sed -i 's/.*zone: unknown$/  zone: a/' "$1"
[ ! -e /etc/prober/gossip.keys ] ||
    sed -i -e 's/# keys_file: \([^ ]*\) .*/keys_file: \1/' \
        -e 's/# listen: ":7946"/listen: "127.0.0.1:7946"/' "$1"
"""
machine_stack = contextlib.ExitStack()
made = {}


def tree():
    """The sources, in a directory of our own."""
    if "tree" not in made:
        path = tempfile.mkdtemp(prefix="prober-documents.")
        machine_stack.callback(shutil.rmtree, path, ignore_errors=True)
        subprocess.run("git ls-files -z | tar -c --null -T - | tar -x -C "
                       f"{path}", shell=True, cwd=ROOT, check=True)
        made["tree"] = path
    return made["tree"]


def host():
    """A machine with sudo and what the package needs, but without it."""
    if "host" not in made:
        deb = next(pathlib.Path(tree(), "build-deb").glob("prober_*.deb"))
        # With what it recommends, or apt would ask whether to fetch that.
        needs = re.findall(r"(?:^|, |: )([^\s,:]+)(?=[\s,]|$)", run(
            "dpkg-deb", "--field", deb, "Depends", "Recommends"), re.M)
        made["host"] = machine_stack.enter_context(
            machine.Machine(needs, {"/src": tree()}))
        made["host"].run("mkdir", "-p", "/var/lib/apt/lists/partial",
                         "/var/cache/apt/archives/partial")
        made["host"].write("/usr/bin/editor", EDITOR)
        made["host"].run("chmod", "755", "/usr/bin/editor")
    return made["host"]


def run_on_machine(command):
    if command.text.startswith("./dev deps"):
        sh(command.text, cwd=tree(), seconds=BUILD_S)
        return
    if made.get("document") != command.block.path:
        host().try_to("dpkg", "--purge", "prober")
        host().run("rm", "-rf", "/etc/prober")
        made["document"] = command.block.path
    if command.block.language == "ini":
        use_drop_in(command.text)
        return
    # Where the package has been built, or beside it.
    directory = "/src" if "build-deb" in command.block.body else (
        "/src/build-deb")
    code, said = host().try_to("sh", "-euc", f"cd {directory}\n{command.text}")
    assert code == 0, (said, host().try_to("journalctl", "--unit=prober"))
    if "systemctl restart" in command.text:
        host().until(lambda said: re.search(r"^zone +a$", said, re.M),
                     "prober", "status")
        if "keygen" in command.block.body:
            host().until("encrypted", "prober", "members")
    assert host().show("prober", "ActiveState")["ActiveState"] == "active"


def use_drop_in(text):
    unit = re.match(r"# systemctl edit (\w+)\n", text)[1]
    directory = f"/etc/systemd/system/{unit}.service.d"
    host().run("mkdir", "-p", directory)
    host().write(f"{directory}/override.conf", text + "\n")
    host().run("systemctl", "daemon-reload")
    host().run("systemctl", "restart", unit)
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.M):
        shown = host().show(unit, name)[name].split()
        assert set(shown) == set(value.split()), (name, value, shown)


# ---- a cluster ---------------------------------------------------------


class Cluster:
    """What would be in it, by the real helm."""

    def __init__(self):
        self.objects, self.directory = [], tempfile.TemporaryDirectory()

    def execute(self, command):
        argv = shlex.split(command.text.replace("\\\n", " ").rstrip("& "),
                           comments=True)
        getattr(self, f"{argv[0]}_{argv[1].replace('-', '_')}")(argv[2:])

    def names(self, kind):
        return {o["metadata"]["name"]: o for o in self.objects
                if o["kind"] == kind}

    def podman_build(self, argv):
        pods.base()
        # Of this machine: nothing from a registry, the network that it has.
        run(*pods.command("build", "--pull=never", "--network", "host",
                          "--layers", *argv), cwd=ROOT, env=pods.environment())
        tag = argv[argv.index("-t") + 1]
        assert "prober" in pods.podman("run", "--rm", "--network", "none", tag,
                                       "--version")
        pods.podman("rmi", tag)

    def helm_install(self, argv):
        """Even its dry run asks a cluster; but this makes the same."""
        release, chart, *options = argv
        assert (ROOT / chart).samefile(helm.CHART), chart
        self.objects += helm.objects(helm.template(release, *options))

    def helm_test(self, argv):
        """That there is a pod to run."""
        found = [o for o in self.objects if o["metadata"].get(
            "annotations", {}).get("helm.sh/hook") == "test"]
        assert found and argv[0] in found[0]["metadata"]["name"], found

    def kubectl_port_forward(self, argv):
        name, port = argv[0].removeprefix("svc/"), int(argv[1])
        ports = self.names("Service")[name]["spec"]["ports"]
        assert port in [p["port"] for p in ports], ports

    def kubectl_create(self, argv):
        run(PROBER, "version")
        path = pathlib.Path(self.directory.name, "gossip.keys")
        path.write_text(run(PROBER, "keygen"))
        if not shutil.which("kubectl"):
            raise tap.Skip("not installed: kubectl")
        said = yaml.safe_load(run(
            "kubectl", "create", *argv, "--dry-run=client", "-o", "yaml",
            cwd=self.directory.name))
        assert list(said["data"]) == ["gossip.keys"], said

    def kubectl_exec(self, argv):
        at = argv.index("--")
        name = argv[0].removeprefix("deploy/")
        assert name in self.names("Deployment"), (name, self.objects)
        assert argv[at + 1] == "prober"
        run(PROBER, *argv[at + 2:], "--help")


# ---- all of it ---------------------------------------------------------


def claims(places):
    yield every_block_says_what_it_is
    yield every_command_has_a_place
    if "demo" in places:
        yield from claims_of("demo", COMMANDS, run_demo)
    if "mesh" in places:
        yield from mesh_claims()
    if "machine" in places:
        yield from claims_of("machine", COMMANDS, run_on_machine)
    if "cluster" in places:
        yield from claims_of("cluster", COMMANDS, Cluster().execute)


def why_not(places):
    if why := netbed.why_not("curl", "dnsmasq", "nginx"):
        return why
    return pods.why_not() if {"cluster", "machine"} & {*places} else None


def main():
    places = sys.argv[1:]
    assert places, __doc__
    # Whoever ends us ends all of it, and sees no process and no mount of it.
    if os.environ.get("IN_NAMESPACE") != "documents" and "mesh" in places \
            and os.geteuid() == 0:
        os.environ["IN_NAMESPACE"] = "documents"
        os.execvp("unshare", ["unshare", "--mount", "--pid", "--fork",
                              "--kill-child", "--mount-proc", sys.executable,
                              *sys.argv])
    why = why_not(places)
    if "machine" in places and not why:
        pods.take()
    with machine_stack:
        tap.run(list(claims(places)), why)


main()
