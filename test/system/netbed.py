"""A test bed: hosts in network namespaces, the cables between them, and the
servers on them.

    with Bed() as bed:
        near, far = bed.host("near"), bed.host("far")
        bed.cable(near, "10.77.0.2/24", far, "10.77.0.1/24",
                  link=["--delay", "10"])
        bed.resolver(far, "10.77.0.1", {"far.test": "10.77.0.1"})
        out = near.run("ping", "-c", "1", "10.77.0.1")

A host is a nameless namespace that a sleeping process holds open, and every
process is told to die with us. So all of it goes away at the end of the
block, at an exception, at Ctrl-C or SIGTERM, and even when the test itself is
killed outright: nothing is left but, then, a directory under /tmp.

Needs root. Addresses are from 10.77.0.0/16 or 198.51.100.0/24.
"""
import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROBER = os.environ.get("PROBER", str(ROOT / "build/prober"))
LINKEM = os.environ.get("LINKEM", str(ROOT / "build/test/bench/linkem"))
# Where Debian keeps ip and dnsmasq is not in everyone's path.
os.environ["PATH"] += ":/usr/sbin:/sbin"
TOOLS = ("ip", "nsenter", "unshare", "openssl")
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def why_not(*tools):
    """Why no bed can be made here (with these tools), or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [t for t in TOOLS + tools if not shutil.which(t)]
    if missing:
        return "not installed: " + ", ".join(missing)
    made = subprocess.run(["unshare", "--net", "true"], check=False,
                          capture_output=True, text=True)
    return made.stderr.strip() or None


def run(*argv, **options):
    """Run to the end and return its output; raise with it if that fails."""
    done = subprocess.run([str(a) for a in argv], check=False, text=True,
                          capture_output=True, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: "
                           f"exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def until(ready, seconds, what):
    """Wait for ready() to become true."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not after {seconds} s")
        time.sleep(0.01)


class Process:
    """One process of the bed, output in `log`; it dies when we do."""

    def __init__(self, bed, argv, host, log):
        self.log, self.host = pathlib.Path(bed.path, log), host
        prefix = host.enter if host else []
        parent = os.getpid()

        def die_with_parent():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)  # it died first
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(
                prefix + [str(a) for a in argv], stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent)
        self.pid = self.popen.pid

    def is_alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.is_alive():
            self.popen.send_signal(number)

    def stop(self, seconds=5):
        """Ask, then insist. Returns the exit status."""
        self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()

    def text(self):
        return self.log.read_text(errors="replace")

    def wait_for(self, text, seconds=10):
        """Wait until the log has `text`."""
        self._until(lambda: text in self.text(), seconds, f"no {text!r}")

    def wait_port(self, port, protocol="tcp", seconds=10):
        """Wait until the port is open in this process's namespace."""
        def is_open():
            # Until it has entered its host, this is the machine's own table.
            if self.host and (os.readlink(f"/proc/{self.pid}/ns/net")
                              != os.readlink(self.host.net)):
                return False
            for family in "", "6":
                table = pathlib.Path(f"/proc/{self.pid}/net/{protocol}{family}")
                for line in table.read_text().splitlines()[1:]:
                    _, local, _, state = line.split()[:4]
                    if (int(local.split(":")[1], 16) == port
                            and state == ("0A" if protocol == "tcp" else "07")):
                        return True
            return False
        self._until(is_open, seconds, f"{protocol} port {port} not open")

    def _until(self, ready, seconds, what):
        name = pathlib.Path(self.popen.args[-1]).name

        def alive_and_ready():
            if not self.is_alive():
                raise RuntimeError(f"{self.log.name}: ended\n{self.text()}")
            return ready()
        until(alive_and_ready, seconds, f"{name}: {what}\n{self.text()}")


class Host:
    """A network namespace with its loopback up."""

    def __init__(self, bed, name):
        self.bed, self.name = bed, name
        self.holder = bed.spawn(["unshare", "--net", "sleep", "infinity"],
                                log=f"{name}.host")
        self.net = f"/proc/{self.holder.pid}/ns/net"
        until(lambda: os.readlink(self.net)
              != os.readlink("/proc/self/ns/net"), 5, f"namespace of {name}")
        self.enter = ["nsenter", f"--net={self.net}", "--"]
        # No address detection or router solicitation that a capture would
        # show and a link emulator would count. No router either, whatever
        # the machine is: it would answer for those that are not there.
        self.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/default/"
                 "disable_ipv6 && echo 0 >/proc/sys/net/ipv4/ip_forward && "
                 "ip link set lo up")

    def run(self, *argv, **options):
        return run(*self.enter, *argv, **options)

    def resolve_with(self, address):
        """Let what runs here use the resolver at `address`: a resolv.conf of
        this host's own, laid over the machine's for each process."""
        path = self.bed.file(f"{self.name}.resolv", f"nameserver {address}\n")
        self.enter += ["unshare", "--mount", "sh", "-c",
                       f"mount --bind {path} /etc/resolv.conf && exec \"$@\"",
                       "sh"]

    def spawn(self, argv, log):
        return self.bed.spawn(argv, host=self, log=log)

    def add(self, interface, address):
        self.run("ip", "address", "add", address, "dev", interface)
        self.run("ip", "link", "set", interface, "up")


class Cable:
    """What joins two hosts; `link` is its emulator's process, or None.

    `plug_a` is the other end of a's interface, as (host, interface): what a
    capture can be taken at without touching what a receives."""

    def __init__(self, a, b, link, plug_a):
        self.a, self.b, self.link, self.plug_a = a, b, link, plug_a

    def cut(self):
        """Lose every packet both ways, from now on."""
        self._tell(signal.SIGUSR1, "linkem closed")

    def mend(self):
        self._tell(signal.SIGUSR2, "linkem open")

    def _tell(self, number, answer):
        before = self.link.text().count(answer)
        self.link.signal(number)
        until(lambda: self.link.text().count(answer) > before, 5, answer)


class Bed(contextlib.ExitStack):
    """Everything that one test needs, and the end of it."""

    def __init__(self, keep=False):
        super().__init__()
        self.path = tempfile.mkdtemp(prefix="prober-bed.")
        if keep:
            self.callback(print, "files are in", self.path)
        else:
            self.callback(shutil.rmtree, self.path, ignore_errors=True)
        os.chmod(self.path, 0o755)  # nginx's workers are not root
        self.cables = 0
        for number in signal.SIGTERM, signal.SIGHUP:
            old = signal.signal(number, self._leave)
            self.callback(signal.signal, number, old)

    @staticmethod
    def _leave(number, _):
        raise SystemExit(128 + number)

    def file(self, name, text):
        path = pathlib.Path(self.path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = "wb" if isinstance(text, bytes) else "w"
        with open(path, mode) as f:
            f.write(text)
        return str(path)

    def spawn(self, argv, host=None, log="log"):
        process = Process(self, argv, host, log)
        self.callback(process.stop)
        return process

    def host(self, name):
        return Host(self, name)

    def cable(self, a, address_a, b, address_b, link=None):
        """Join two hosts. `link`: linkem's options; without, a bare veth.

        The interfaces are called after the host at the other end."""
        self.cables += 1
        process, plug_a = None, (b, a.name)
        if link is None:
            a.run("ip", "link", "add", b.name, "type", "veth",
                  "peer", "name", a.name, "netns", b.holder.pid)
        else:
            wire = self.host(f"wire{self.cables}")
            plug_a = wire, "ifa"
            for end, far, near in (a, b.name, "ifa"), (b, a.name, "ifb"):
                end.run("ip", "link", "add", far, "type", "veth",
                        "peer", "name", near, "netns", wire.holder.pid)
                wire.run("ip", "link", "set", near, "up")
            process = wire.spawn([LINKEM, *link, "ifa", "ifb"],
                                 log=f"wire{self.cables}.log")
            process.wait_for("linkem ready")
        a.add(b.name, address_a)
        b.add(a.name, address_b)
        return Cable(a, b, process, plug_a)

    # ---- servers -------------------------------------------------------

    def authority(self):
        """Make a CA; its certificate is in ca.crt."""
        return authority(self.path)

    def certificate(self, name, alternatives, days=20):
        return certificate(self.path, name, alternatives, days)

    def resolver(self, host, address, names, port=53):
        """dnsmasq that knows `names` (name -> address) and nothing else."""
        argv = resolver_command(address, names, port)
        process = self.spawn(argv, host, log=f"dns-{address}.log")
        process.wait_port(port, "udp")
        return process

    def nginx(self, host, address, certificate_name, keepalive=65):
        """A web server: plain HTTP/1.1 on port 8080, TLS 1.3 with HTTP/1.1
        and HTTP/2 on 8443 and plain HTTP/2 on 8081. Paths / and /probe
        answer "ok"; the gRPC health check answers SERVING. With `keepalive`
        0 it closes each connection right behind its answer."""
        # One message: not compressed, two bytes, field 1 = SERVING.
        self.file("www/serving", b"\0\0\0\0\2\x08\1")
        config = self.file("nginx.conf", NGINX.format(
            path=self.path, address=address, name=certificate_name,
            keepalive=keepalive))
        process = self.spawn(["nginx", "-e", f"{self.path}/nginx.err",
                              "-c", config], host, log="nginx.log")
        for port in 8080, 8081, 8443:
            process.wait_port(port)
        return process

    @contextlib.contextmanager
    def capture(self, host, interface, *expression, is_gentle=False):
        """Capture while the block runs; yields the file's path.

        `is_gentle`: packets are handed over by the block, a second later,
        and not one by one. For where nanoseconds matter: waking tcpdump
        for each packet takes the sender microseconds between the stamp that
        the capture shows and the packet's real departure."""
        path = tempfile.mktemp(suffix=".pcap", dir=self.path)
        process = host.spawn(
            ["tcpdump", "-n", "-Z", "root", "-B", "16384",
             *([] if is_gentle else ["-U", "--immediate-mode"]), "-s", "2048", "--time-stamp-precision=nano",
             "-i", interface, "-w", path, *expression], path + ".log")
        process.wait_for("listening on")
        yield path
        # For what is on its way through the packet socket.
        time.sleep(1.5 if is_gentle else 0.2)
        process.stop()


NGINX = """\
daemon off;
worker_processes 1;
pid {path}/nginx.pid;
error_log {path}/nginx.err warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_timeout {keepalive};
    keepalive_requests 1000000;
    client_body_temp_path {path}/tmp-body;
    proxy_temp_path {path}/tmp-proxy;
    fastcgi_temp_path {path}/tmp-fastcgi;
    uwsgi_temp_path {path}/tmp-uwsgi;
    scgi_temp_path {path}/tmp-scgi;
    ssl_protocols TLSv1.3;
    ssl_certificate {path}/{name}.crt;
    ssl_certificate_key {path}/{name}.key;
    ssl_session_cache off;
    ssl_session_tickets off;
    ssl_conf_command Options -SessionTicket;
    server {{
        listen {address}:8080;
        listen {address}:8081 http2;
        listen {address}:8443 ssl http2;
        root {path}/www;
        location = / {{ return 200 "ok\\n"; }}
        location = /probe {{ return 200 "ok\\n"; }}
        # A file cannot be posted to, but it can stand in for an error.
        location = /grpc.health.v1.Health/Check {{
            error_page 404 =200 /serving;
        }}
        location = /serving {{
            default_type application/grpc;
            add_trailer grpc-status 0 always;
        }}
    }}
}}
"""


def authority(path):
    """A P-256 CA in `path`: ca.crt, ca.key."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
        "-subj", "/CN=prober test CA", "-keyout", "ca.key", "-out", "ca.crt",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign", cwd=path)
    return f"{path}/ca.crt"


def certificate(path, name, alternatives, days=20):
    """A P-256 leaf signed by the CA in `path`: name.crt, name.key.

    `alternatives`: subject alternative names, "DNS:x" or "IP:y". With -1
    `days` it has expired."""
    extensions = pathlib.Path(path, f"{name}.ext")
    extensions.write_text(
        f"subjectAltName={','.join(alternatives)}\n"
        "keyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=serverAuth,clientAuth\n"
        "authorityKeyIdentifier=keyid\n")
    run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
        "-keyout", f"{name}.key", "-out", f"{name}.csr", cwd=path)
    run("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt",
        "-CAkey", "ca.key", "-CAcreateserial", "-days", str(days),
        "-extfile", extensions, "-out", f"{name}.crt", cwd=path)
    return f"{path}/{name}.crt", f"{path}/{name}.key"


def resolver_command(address, names, port):
    """dnsmasq in the foreground, without any of the machine's settings."""
    argv = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
            f"--port={port}", f"--listen-address={address}",
            "--bind-interfaces", "--no-resolv", "--no-hosts", "--pid-file=",
            "--log-facility=-", "--cache-size=0"]
    if os.geteuid() == 0:
        argv.append("--user=root")
    argv += [f"--host-record={n},{a}" for n, a in names.items()]
    # What is not named does not exist, rather than being refused.
    return argv + [f"--local=/{z}/" for z in
                   sorted({n.rsplit(".", 1)[-1] for n in names})]
