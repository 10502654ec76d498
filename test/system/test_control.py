#!/usr/bin/python3
"""The control port of one node, as curl sees it: who may do what, a probe
streamed, cancelled and denied, the audit log, reload and drain."""
import hashlib
import json
import os
import secrets
import stat
import subprocess
import time

import netbed
import nodes
import tap
from netbed import Bed, until

JSON = "Content-Type: application/json"
OTHER_UID = 65534
TOKENS = {role: secrets.token_urlsafe(32)
          for role in ("viewer", "runner", "prober", "admin")}

CONFIG = """\
node: {{name: a, zone: zone-a, region: r1}}
probe: {{listen: "{address}:7443", cold_interval: 1s, warm_interval: 100ms}}
api: {{listen: "{address}:7070"}}
tls: {{certificate: {path}/a.crt, key: {path}/a.key, ca: {path}/ca.crt}}
control:
{control}
peers:
  - {{name: self, zone: zone-b, address: "{address}:7443"}}
"""


class Port:
    """A node, and curl's way to its control port."""

    def __init__(self, bed, control, *curl):
        self.bed, self.curl = bed, curl
        netbed.authority(bed.path)
        self.address = nodes.address(1)
        # Its control port may be on loopback as well.
        netbed.certificate(bed.path, "a", [f"IP:{self.address}",
                                           "IP:127.0.0.1"])
        lines = "".join(f"{name} {name} sha256:"
                        f"{hashlib.sha256(token.encode()).hexdigest()}\n"
                        for name, token in TOKENS.items())
        self.tokens = bed.file("tokens", lines)
        os.chmod(self.tokens, 0o600)
        self.config = bed.file("a.yaml", CONFIG.format(
            path=bed.path, address=self.address,
            control="\n".join("  " + line for line in control.format(
                path=bed.path, address=self.address).splitlines())))
        self.node = nodes.Node(bed, "a", self.address, self.config)
        self.node.wait()

    def command(self, path, *more):
        base = "http://localhost" if "--unix-socket" in self.curl else ""
        return ["curl", "-sS", "-N", "--max-time", "20", *self.curl, *more,
                base + path if base else self.base + path]

    def ask(self, path, *more, uid=None):
        """(status, body); 0 if there was no answer."""
        argv = self.command(path, "-w", "\n%{http_code}", *more)
        done = subprocess.run(argv, capture_output=True, text=True, check=False,
                              **({"user": uid, "group": uid, "extra_groups": []}
                                 if uid else {}))
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body

    def probe(self, ask, *more):
        """(status, the lines)"""
        status, body = self.ask("/v1/probes", "-H", JSON, "-d",
                                json.dumps(ask), *more)
        return status, [json.loads(line) for line in body.splitlines() if line]


def on_unix(bed, more=""):
    return Port(bed, f'listen: "unix:{{path}}/c.sock"\n{more}',
                "--unix-socket", f"{bed.path}/c.sock")


def count(node, name):
    """A number of /metrics."""
    for line in node.get("/metrics")[1].decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(f"no {name}")


def audit_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def a_probe_is_streamed_and_audited():
    with Bed() as bed:
        port = on_unix(bed, "audit_file: {path}/audit.log")
        status, lines = port.probe({"target": "self", "count": 3,
                                    "interval_ms": 200})
        assert status == 200, (status, lines)
        samples, summary = lines[:-1], lines[-1]["summary"]
        assert [s["outcome"] for s in samples] == ["ok"] * 3, samples
        assert all(s["phases_ns"]["connect"] > 0 for s in samples)
        assert (summary["attempts"], summary["ok"]) == (3, 3), summary
        said = audit_lines(f"{bed.path}/audit.log")
        assert [s["audit"] for s in said] == [
            "probe_begin", "probe_address", "probe_end"], said
        assert said[0]["principal"] == f"uid:{os.getuid()}"
        assert stat.S_IMODE(os.stat(f"{bed.path}/audit.log").st_mode) == 0o640
        # They come as they are made.
        ask = {"target": "self", "count": 4, "interval_ms": 500}
        with subprocess.Popen(port.command("/v1/probes", "-H", JSON, "-d",
                                           json.dumps(ask)), text=True,
                              stdout=subprocess.PIPE) as curl:
            begun = time.monotonic()
            curl.stdout.readline()
            assert time.monotonic() - begun < 1
            curl.communicate()
        port.node.end()


def one_offs_are_in_no_matrix():
    with Bed() as bed:
        port = on_unix(bed)
        port.probe({"target": "self", "count": 20, "interval_ms": 10,
                    "protocol": "http1"})
        text = port.node.get("/metrics")[1].decode()
        cold = [line for line in text.splitlines() if 'mode="cold"' in line
                and line.startswith("prober_attempts_total")
                and 'protocol="http1"' in line and 'outcome="ok"' in line]
        assert float(cold[0].split()[-1]) < 10, cold
        assert count(port.node, "prober_control_attempts_total") == 20
        port.node.end()


def a_probe_is_cancelled():
    with Bed() as bed:
        port = on_unix(bed, "audit_file: {path}/audit.log")
        ask = json.dumps({"target": "self", "count": 100, "interval_ms": 200})
        curl = subprocess.Popen(port.command("/v1/probes", "-H", JSON, "-d",
                                             ask),
                                text=True, stdout=subprocess.PIPE)
        curl.stdout.readline()
        number = audit_lines(f"{bed.path}/audit.log")[0]["id"]
        assert port.ask(f"/v1/probes/{'0' * 32}", "-X", "DELETE")[0] == 404
        status, _ = port.ask(f"/v1/probes/{number}", "-X", "DELETE")
        assert status in (200, 202, 204), status
        rest = [json.loads(line) for line in
                curl.communicate(timeout=5)[0].splitlines() if line]
        assert rest[-1]["summary"]["cancelled"] is True, rest[-1]
        # A client that goes away cancels, too.
        curl = subprocess.Popen(port.command("/v1/probes", "-H", JSON, "-d",
                                             ask), stdout=subprocess.PIPE)
        curl.stdout.readline()
        curl.kill()
        curl.communicate()

        until(lambda: count(port.node, "prober_control_open_requests") == 0,
              5, "the probe ends")
        port.node.end()


def what_is_not_allowed_is_denied_in_the_same_words():
    with Bed() as bed:
        port = on_unix(bed)
        answers = set()
        for target in ("http://127.0.0.1:22/", f"http://{port.address}:7070/",
                       "http://169.254.169.254/", "http://10.9.8.7/",
                       "http://[::ffff:169.254.169.254]/"):
            status, lines = port.probe({"target": target})
            assert status == 403, (target, status, lines)
            answers.add(json.dumps(lines))
        assert len(answers) == 1, answers
        assert port.probe({"target": "nobody-of-this-name"})[0] == 404
        assert port.probe({"target": "http://a\r\nb/"})[0] == 400
        assert port.probe({"target": "self", "more": 1})[0] == 400
        assert port.probe({"target": "self"}, "-H", "Origin: http://x")[0] == 403
        assert port.ask("/v1/probes", "-d", "{}")[0] in (403, 415)
        port.node.end()


def is_refused(status):
    return status in (0, 401, 403, 429)


def check_roles(port, authorize):
    """The table of roles, by token or certificate."""
    may = {  # what each of them gets: read, known target, other target, reload
        "viewer": (200, 403, 403, 403),
        "runner": (200, 200, 403, 403),
        "prober": (200, 200, 403, 403),  # the policy denies the last but one
        "admin": (200, 200, 403, 200),
    }
    for role, wanted in may.items():
        how = authorize(role)
        got = (port.ask("/v1/status", *how)[0],
               port.probe({"target": "self"}, *how)[0],
               port.probe({"target": "http://10.9.8.7/"}, *how)[0],
               port.ask("/v1/reload", "-X", "POST", *how)[0])
        assert got == wanted, (role, got, wanted)
    assert is_refused(port.ask("/v1/status")[0])
    for wrong in ("x" * 43, TOKENS["viewer"][:-1], TOKENS["viewer"] + "x"):
        status, _ = port.ask("/v1/status", "-H",
                             f"Authorization: Bearer {wrong}")
        assert is_refused(status), (wrong, status)


def bearer(role):
    return ("-H", f"Authorization: Bearer {TOKENS[role]}")


def tcp_in_the_clear_takes_tokens():
    with Bed() as bed:
        port = Port(bed, 'listen: "{address}:7090"\ninsecure: true\n'
                         "tokens_file: {path}/tokens")
        port.base = f"http://{port.address}:7090"
        check_roles(port, bearer)
        status, _ = port.ask("/v1/status", *bearer("viewer"), "-H",
                             "Host: evil.example")
        assert status == 403, status
        assert port.ask("/-/healthy")[0] == 200
        port.node.end()


def tcp_with_tls_takes_tokens_and_certificates():
    with Bed() as bed:
        port = Port(bed, 'listen: "{address}:7090"\n'
                         "tokens_file: {path}/tokens\n"
                         "client_ca: {path}/ca.crt\n"
                         "certificates: [{{name: ops.example, role: admin}}]",
                    "--cacert", f"{bed.path}/ca.crt")
        port.base = f"https://{port.address}:7090"
        check_roles(port, bearer)
        # The lock-out of this address is for tokens only.
        for name, wanted in (("ops.example", 200), ("other.example", 401)):
            crt, key = netbed.certificate(bed.path, name, [f"DNS:{name}"])
            status, body = port.ask("/v1/status", "--cert", crt, "--key", key)
            assert status == wanted, (name, status, body)
        # In the clear, and from another CA: not even a request.
        assert port.ask("/v1/status", "--cert", crt, "--key", key,
                        "--cacert", "/dev/null")[0] == 0
        port.base = f"http://{port.address}:7090"
        assert port.ask("/v1/status", *bearer("admin"))[0] == 0
        port.node.end()


def the_kernel_says_who_is_on_the_socket():
    if os.geteuid() != 0:
        raise tap.Skip("needs root, to be somebody else")
    with Bed() as bed:
        os.chmod(bed.path, 0o755)
        port = on_unix(bed, "socket_mode: 0660\n"
                            f"socket_group: '{OTHER_UID}'\n"
                            "users: [{{user: '65534', role: runner}}]")
        mode = os.stat(f"{bed.path}/c.sock")
        assert stat.S_IMODE(mode.st_mode) == 0o660 and mode.st_gid == OTHER_UID
        assert port.ask("/v1/status")[0] == 200
        assert port.ask("/v1/status", uid=OTHER_UID)[0] == 200
        assert port.ask("/v1/reload", "-X", "POST", uid=OTHER_UID)[0] == 403
        assert port.ask("/v1/status", uid=OTHER_UID - 1)[0] == 0
        port.node.end()


def one_of_two_hundred_groups_is_enough():
    """As many as directories of large companies hand out."""
    if os.geteuid() != 0:
        raise tap.Skip("needs root, to be somebody else")
    with Bed() as bed:
        os.chmod(bed.path, 0o755)
        port = on_unix(bed, "socket_mode: 0660\nsocket_group: '3199'\n"
                            "users: [{{group: '3199', role: viewer}}]")
        for groups, code in (range(3000, 3200), 0), (range(3000, 3199), 1):
            done = subprocess.run(
                ["setpriv", f"--reuid={OTHER_UID}", f"--regid={OTHER_UID}",
                 "--groups", ",".join(map(str, groups)), netbed.PROBER,
                 "status", "--control", f"unix:{bed.path}/c.sock"],
                capture_output=True, text=True, timeout=20, check=False)
            assert done.returncode == code, done
        port.node.end()


def without_an_audit_log_only_one_off_probing_stops():
    with Bed() as bed:
        port = on_unix(bed, "audit_file: {path}/full")
        # As when the disk fills up: from one reload to the next.
        status, _ = port.probe({"target": "self"})
        assert status == 200, status
        os.unlink(f"{bed.path}/full")
        os.symlink("/dev/full", f"{bed.path}/full")
        assert port.ask("/v1/reload", "-X", "POST")[0] in (200, 400, 409, 422)
        with open(port.config, encoding="utf-8") as file:
            text = file.read().replace(f"{bed.path}/full", "/dev/full")
        with open(port.config, "w", encoding="utf-8") as file:
            file.write(text)
        assert port.ask("/v1/reload", "-X", "POST")[0] == 200
        status, lines = port.probe({"target": "self"})
        assert status == 503, (status, lines)
        assert count(port.node, "prober_control_audit_failures_total") > 0
        before = count(port.node, "prober_samples_total")
        time.sleep(1)
        assert count(port.node, "prober_samples_total") > before + 10
        with open(port.config, encoding="utf-8") as file:
            text = file.read().replace("/dev/full", f"{bed.path}/good")
        with open(port.config, "w", encoding="utf-8") as file:
            file.write(text)
        assert port.ask("/v1/reload", "-X", "POST")[0] == 200
        assert port.probe({"target": "self"})[0] == 200
        port.node.end()


def status_reload_and_drain():
    with Bed() as bed:
        port = on_unix(bed)
        assert port.ask("/-/healthy")[0] == 200
        status, body = port.ask("/v1/status")
        assert status == 200 and json.loads(body)["node"] == "a"
        assert port.ask("/api/v1/members")[0] == 200
        with open(port.config, "a", encoding="utf-8") as file:
            file.write("nonsense: 1\n")
        status, body = port.ask("/v1/reload", "-X", "POST")
        assert 400 <= status < 500 and "nonsense" in body, (status, body)
        state = json.loads(port.ask("/v1/status")[1])["reload"]
        assert (state["count"], state["failures"]) == (1, 1), state
        # A probe that runs is told that this is the end.
        ask = json.dumps({"target": "self", "count": 100, "interval_ms": 100})
        curl = subprocess.Popen(port.command("/v1/probes", "-H", JSON, "-d",
                                             ask),
                                text=True, stdout=subprocess.PIPE)
        curl.stdout.readline()
        status, body = port.ask("/v1/drain", "-X", "POST")
        assert status in (200, 202), (status, body)
        status, _ = port.probe({"target": "self"})
        assert status in (0, 503), status
        curl.communicate(timeout=10)
        assert port.node.process.popen.wait(10) == 0
        assert not os.path.exists(f"{bed.path}/c.sock")
        assert not nodes.has_findings(port.node.process.text())


def a_port_that_cannot_be_opened_is_an_error_where_it_was_asked_for():
    with Bed() as bed:
        where = nodes.address(1)
        os.mkdir(f"{bed.path}/open")
        os.chmod(f"{bed.path}/open", 0o777)
        config = bed.file("a.yaml", f"""\
node: {{name: a, zone: a}}
probe: {{listen: "{where}:7443"}}
api: {{listen: "{where}:7070"}}
control: {{listen: "unix:{bed.path}/open/c.sock"}}
""")
        done = subprocess.run([netbed.PROBER, "run", "--config", config],
                              capture_output=True, text=True, timeout=20,
                              check=False)
        assert done.returncode == 1, done
        assert "start_failed" in done.stderr and "control" in done.stderr
        assert not nodes.has_findings(done.stderr)
        # With the default path, too, if anything is said of the socket.
        config = bed.file("b.yaml", f"""\
node: {{name: a, zone: a}}
probe: {{listen: "{where}:7443"}}
api: {{listen: "{where}:7070"}}
control: {{socket_mode: 0660, socket_group: no-such-group}}
""")
        done = subprocess.run([netbed.PROBER, "run", "--config", config],
                              capture_output=True, text=True, timeout=20,
                              check=False)
        assert done.returncode == 1 and "start_failed" in done.stderr, done


tap.run([
    (a_probe_is_streamed_and_audited, one_offs_are_in_no_matrix,
     a_probe_is_cancelled, what_is_not_allowed_is_denied_in_the_same_words),
    (tcp_in_the_clear_takes_tokens, tcp_with_tls_takes_tokens_and_certificates,
     the_kernel_says_who_is_on_the_socket,
     one_of_two_hundred_groups_is_enough),
    (without_an_audit_log_only_one_off_probing_stops, status_reload_and_drain,
     a_port_that_cannot_be_opened_is_an_error_where_it_was_asked_for),
])
