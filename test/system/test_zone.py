#!/usr/bin/python3
"""`prober zone` against an API server made up, and the daemon that reads what
it wrote; `prober health` against that daemon. On loopback.

usage: test_zone.py
"""
import contextlib
import http.server
import json
import os
import pathlib
import ssl
import subprocess
import tempfile
import threading
import time

import netbed
import tap

LABELS = {"topology.kubernetes.io/zone": "eu-1a",
          "topology.kubernetes.io/region": "eu-1"}
seen = []
answer = {"status": 200, "labels": LABELS}


class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        seen.append((self.path, self.headers.get("Authorization")))
        body = json.dumps({"kind": "Node", "metadata": {
            "name": "n-1", "labels": answer["labels"]}}).encode()
        self.send_response(answer["status"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(path):
    netbed.authority(path)
    chain = netbed.certificate(path, "api", ["IP:127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*chain)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def zone(*options, node="n-1"):
    env = dict(os.environ, KUBERNETES_SERVICE_HOST="127.0.0.1",
               KUBERNETES_SERVICE_PORT=str(port), NODE_NAME=node)
    return subprocess.run(
        [netbed.PROBER, "zone", "--kubernetes", "--account", account,
         "--output-dir", account, *options], env=env, capture_output=True,
        text=True, check=False, timeout=60)


def files():
    return [pathlib.Path(account, n).read_text() for n in ("zone", "region")]


# ---- claims ----------------------------------------------------------------

def the_labels_of_the_node_become_files():
    done = zone()
    assert done.returncode == 0, done.stderr
    assert done.stdout == "zone eu-1a\nregion eu-1\n", done.stdout
    assert files() == ["eu-1a\n", "eu-1\n"]
    assert seen[-1] == ("/api/v1/nodes/n-1", "Bearer secret-token"), seen


def who_may_not_read_the_node_has_no_zone():
    answer["status"] = 403
    done = zone()
    answer["status"] = 200
    assert done.returncode == 0 and "403" in done.stderr, done
    assert files() == ["", ""]
    assert "secret-token" not in done.stdout + done.stderr


def an_api_server_that_is_another_gets_no_token():
    before = len(seen)
    with tempfile.TemporaryDirectory() as other:
        netbed.authority(other)
        pathlib.Path(other, "token").write_text("secret-token\n")
        done = zone("--account", other)
    assert done.returncode == 1 and len(seen) == before, done


def a_node_without_a_name_is_not_asked_for():
    for name in "", "../secrets", "a b", "N":
        done = zone(node=name)
        assert done.returncode == 1 and "NODE_NAME" in done.stderr, done


@contextlib.contextmanager
def daemon():
    config = pathlib.Path(account, "node.yaml")
    config.write_text(
        f"node: {{name: a, zone_file: {account}/zone, "
        f"region_file: {account}/region}}\n"
        'probe: {listen: "127.0.0.1:0"}\napi: {listen: "127.0.0.1:0"}\n'
        'control: {listen: "off"}\n')
    process = subprocess.Popen([netbed.PROBER, "run", "--config", config],
                               stderr=subprocess.PIPE, text=True)
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "started" in line:
                break
        yield process, "".join(lines)
    finally:
        process.terminate()
        process.communicate()


def api_of(log):
    return "http://" + log.split(" api=")[1].split()[0]


def health(api, *options):
    return subprocess.run([netbed.PROBER, "health", "--api", api, *options],
                          capture_output=True, text=True, check=False)


def a_node_is_where_the_file_says():
    zone()
    with daemon() as (_, log):
        assert " zone=eu-1a " in log, log
        assert "stays unknown" not in log, log


def a_node_without_a_zone_warns_and_runs():
    pathlib.Path(account, "zone").write_text("")
    with daemon() as (_, log):
        assert "node.zone stays unknown" in log, log
        assert " zone=unknown " in log, log


def health_is_what_the_node_says():
    with daemon() as (process, log):
        api = api_of(log)
        netbed.until(lambda: health(api, "--ready").returncode == 0, 10,
                     "ready")
        done = health(api)
        assert (done.returncode, done.stdout) == (0, "alive\n"), done
        process.terminate()
        time.sleep(0.3)
        done = health(api, "--ready")
        assert done.returncode == 1, done
    done = health(api)
    assert done.returncode == 1 and done.stderr, done
    assert health("ftp://x").returncode == 2


CLAIMS = [
    the_labels_of_the_node_become_files,
    who_may_not_read_the_node_has_no_zone,
    an_api_server_that_is_another_gets_no_token,
    a_node_without_a_name_is_not_asked_for,
    a_node_is_where_the_file_says,
    a_node_without_a_zone_warns_and_runs,
    health_is_what_the_node_says,
]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as account:
        port = serve(account)
        pathlib.Path(account, "token").write_text("secret-token\n")
        tap.run(CLAIMS)
