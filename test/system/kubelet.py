"""What a node of Kubernetes does for the pods of the chart, done by podman:

    with Bed() as bed, kubelet.Cluster(bed) as cluster:
        names = cluster.play(manifests, ["mesh-prober-mesh.default.svc..."])
        cluster.prober(names[0], "matrix")

Pods are on a bridge in a network namespace of their own. Templates of pods are
played as they were rendered, but for what podman 4.3 has no way for: that is
taken out in playable(), one by one, and fails when it is not there. The names
of Services, which it passes over, are the network's aliases.

It does not know DaemonSets either, and without a word starts nothing of them.
Each is played as a Deployment for each node of the cluster, with what the
kubelet there would tell the pod: its node's name and the API server, which
NodeApi plays."""
import base64
import copy
import http.server
import json
import os
import pathlib
import ssl
import threading

import netbed
import pods
import restricted
import three_zones
import yaml

NETWORK = "prober-chart-test"
SUBNET = "198.51.100.0/24"
GATEWAY = "198.51.100.1"  # of the bridge: the only address that is ours there
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def playable(manifests, nodes):
    """(what all pods need, [a Deployment each]) of what was rendered, without
    what podman has no way for. `nodes`: names for a DaemonSet."""
    shared, deployments = [], []
    for o in manifests:
        if o["kind"] == "ConfigMap":
            shared.append(o)
        elif o["kind"] == "Secret":
            # Its secrets arrive still in base64, and a volume of one whose
            # `optional` is left to the default makes it crash.
            shared.append({"apiVersion": "v1", "kind": "ConfigMap",
                           "metadata": o["metadata"], "data": {
                               name: base64.b64decode(text).decode()
                               for name, text in o["data"].items()}})
        elif o["kind"] == "Deployment":
            deployments.append(o)
        elif o["kind"] == "DaemonSet":
            assert nodes, "a DaemonSet needs nodes"
            deployments += [on_node(o, node) for node in nodes]
    for deployment in deployments:
        take_out_what_cannot_be_played(deployment)
    return shared, deployments


def on_node(daemonset, node):
    """The Deployment that stands for the DaemonSet's pod on that node."""
    o = copy.deepcopy(daemonset)
    o["kind"] = "Deployment"
    o["metadata"]["name"] += f"-{node}"
    del o["spec"]["updateStrategy"]
    return o


def take_out_what_cannot_be_played(deployment):
    spec = deployment["spec"]["template"]["spec"]
    assert not restricted.violations(spec)
    for c in spec["containers"]:
        # It would publish them on all addresses of the host, and ask by a
        # curl in the container.
        for key in "ports", "startupProbe", "livenessProbe", "readinessProbe":
            assert c.pop(key), key
    for key in "affinity", "topologySpreadConstraints":
        spec.pop(key, None)
    # Of all pods they have one name space.
    name = deployment["metadata"]["name"]
    mounts = [m for c in containers(spec) for m in c["volumeMounts"]]
    for what in (*spec["volumes"], *mounts):
        what["name"] = f"{name}-{what['name']}"
    for volume in spec["volumes"]:
        if secret := volume.pop("secret", None):
            volume["configMap"] = {"name": secret["secretName"]}


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


class NodeApi:
    """An API server that knows nodes and nothing else, `labels` of each by
    its name, and tells who has the token."""

    PORT = 6443
    TOKEN = "the-token-of-the-pods"

    def __init__(self, bed, host, labels):
        self.account = os.path.join(bed.path, "serviceaccount")
        self.asked = []
        netbed.authority(bed.path)
        chain = netbed.certificate(bed.path, "api", [f"IP:{GATEWAY}"])
        for name, text in (("token", self.TOKEN), ("namespace", "default"), (
                "ca.crt", pathlib.Path(bed.path, "ca.crt").read_text())):
            bed.file(f"serviceaccount/{name}", text)
        with three_zones.inside(host):
            self.server = http.server.ThreadingHTTPServer(
                ("", self.PORT), self.handler(labels))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*chain)
        self.server.socket = context.wrap_socket(self.server.socket,
                                                 server_side=True)
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()
        bed.callback(self.server.server_close)
        bed.callback(self.server.shutdown)

    def handler(self, labels):
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.removeprefix("/api/v1/nodes/")
                is_known = (self.headers.get("Authorization")
                            == "Bearer " + NodeApi.TOKEN)
                status = (403 if not is_known else
                          200 if name in labels else 404)
                asked.append((name, status))
                body = json.dumps({"kind": "Node", "metadata": {
                    "name": name, "labels": labels.get(name, {})
                }} if status == 200 else {"kind": "Status"}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        return Handler

    def tell(self, deployment, node):
        """What the kubelet of `node` adds to a pod with a service account."""
        spec = deployment["spec"]["template"]["spec"]
        # Else podman restarts init containers as well, again and again.
        assert "restartPolicy" not in spec
        spec["restartPolicy"] = "OnFailure"
        assert spec["automountServiceAccountToken"] is True
        name = deployment["metadata"]["name"] + "-account"
        spec["volumes"].append({"name": name, "hostPath": {
            "path": self.account, "type": "Directory"}})
        field = {"fieldRef": {"fieldPath": "spec.nodeName"}}
        for c in containers(spec):
            c["volumeMounts"].append({"name": name, "mountPath": ACCOUNT,
                                      "readOnly": True})
            for variable in c["env"]:
                if variable.get("valueFrom") == field:
                    del variable["valueFrom"]
                    variable["value"] = node
            c["env"] += [
                {"name": "KUBERNETES_SERVICE_HOST", "value": GATEWAY},
                {"name": "KUBERNETES_SERVICE_PORT", "value": str(self.PORT)}]


class Cluster:
    """Pods of Deployments and of DaemonSets, on a bridge in a namespace."""

    def __init__(self, bed):
        self.bed, self.host = bed, bed.host("cluster")
        self.names = []

    def __enter__(self):
        self.clear()
        self.podman("network", "create", "--internal", "--subnet", SUBNET,
                    "--gateway", GATEWAY, NETWORK)
        return self

    def __exit__(self, *_):
        self.clear()

    def clear(self):
        """All pods of this storage: they can only be ours."""
        self.podman("pod", "rm", "--all", "--force", "--time", "1")
        self.podman("volume", "rm", "--all", "--force")
        self.podman("network", "rm", "--force", "--time", "1", NETWORK,
                    ok=(0, 1, 125))

    def podman(self, *argv, **more):
        return pods.podman(*argv, enter=self.host.enter, **more)

    def play(self, manifests, services, labels=None):
        """Start what was rendered; `services` are names that lead to it. A
        DaemonSet has a pod for each node of `labels`, {name: labels}."""
        shared, deployments = playable(manifests, labels)
        if labels:
            api = NodeApi(self.bed, self.host, labels)
            for node, d in zip(labels, deployments):
                api.tell(d, node)
        for d in deployments:
            self.play_one(shared, d, services)
        if labels:
            assert sorted(api.asked) == [(n, 200) for n in sorted(labels)], (
                api.asked[:20])
        return [d["metadata"]["name"] for d in deployments]

    def play_one(self, shared, deployment, services):
        name = deployment["metadata"]["name"]
        assert "nodeName" not in json.dumps(deployment)
        for v in deployment["spec"]["template"]["spec"]["volumes"]:
            if v.pop("emptyDir", None):
                v["hostPath"] = {"path": self.empty(v["name"]),
                                 "type": "Directory"}
        path = self.bed.file(f"{name}.yaml",
                             yaml.dump_all([*shared, deployment]))
        self.names.append(name)
        aliases = ",".join(f"alias={s}" for s in services)
        self.podman("kube", "play", "--network", f"{NETWORK}:{aliases}", path)

    def run(self, pod, *more, ok=(0,)):
        """What the only container of a Pod says, with more arguments."""
        assert not restricted.violations(pod["spec"])
        container, = pod["spec"]["containers"]
        return self.podman("run", "--rm", "--read-only", "--cap-drop", "all",
                           "--user", pod["spec"]["securityContext"]
                           ["runAsUser"], "--network", NETWORK,
                           container["image"], *container["args"], *more,
                           ok=ok)

    def empty(self, name):
        """An emptyDir as Kubernetes makes them: of root and the pod's group,
        writable by all. podman's would be of the user alone."""
        path = os.path.join(self.bed.path, name)
        os.mkdir(path)
        os.chown(path, 0, 65532)
        os.chmod(path, 0o2777)
        return path

    def container(self, deployment):
        # Later ones do not number the pods of a Deployment.
        found = self.podman("ps", "--all", "--format", "{{.Names}}", "--filter",
                            f"name=^{deployment}-pod(-0)?-prober$").split()
        assert len(found) == 1, (deployment, found)
        return found[0]

    def pod(self, deployment):
        """What the pod is called, which is its member's name."""
        return self.container(deployment).removesuffix("-prober")

    def prober(self, name, *argv, **more):
        return self.podman("exec", self.container(name), "prober", *argv,
                           **more)

    def logs(self):
        return "\n".join(f"--- {n}\n" + self.podman(
            "logs", self.container(n), ok=(0, 125))[-3000:]
                         for n in self.names)
