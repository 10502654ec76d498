#!/usr/bin/python3
"""What the chart makes for three zones, really run: pods by podman from the
rendered manifests, from one release and from two, and any pod answers for the
whole matrix.

The bridge and all traffic are in a network namespace of their own. What podman
does not have is taken out of the manifests in playable(), which says so; the
names of Services, which it passes over, are the network's aliases."""
import base64
import json
import os

import helm
import pods
import restricted
import tap
import yaml
from netbed import Bed, until, why_not

ZONES = ["zone-a", "zone-b", "zone-c"]
NETWORK = "prober-chart-test"
SUBNET = "198.51.100.0/24"
ZONE_VALUES = ",".join(f"zones[{i}].name={z}" for i, z in enumerate(ZONES))
DOMAIN = "default.svc.cluster.local"
# podman knows no status.podIP; it has one network.
COMMON = ["--set", "gossip.advertisePodIP=false", "--set",
          f"image.repository={pods.IMAGE.split(':')[0]},"
          f"image.tag={pods.IMAGE.split(':')[1]},image.pullPolicy=Never",
          "--set", "probe.coldInterval=1s,probe.timeout=2s"]


def playable(manifests):
    """(what all pods need, [a Deployment each]) of what was rendered, without
    what podman 4.3 has no way for; pods themselves stay as they are."""
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
            spec = o["spec"]["template"]["spec"]
            assert not restricted.violations(spec)
            for c in spec["containers"]:
                # It would publish them on all addresses of the host, and ask
                # by a curl in the container.
                for key in ("ports", "startupProbe", "livenessProbe",
                            "readinessProbe"):
                    assert c.pop(key), key
            for key in "affinity", "topologySpreadConstraints":
                assert spec.pop(key), key
            name = o["metadata"]["name"]
            for what in (*spec["volumes"],
                         *spec["containers"][0]["volumeMounts"]):
                what["name"] = f"{name}-{what['name']}"
            for volume in spec["volumes"]:
                if secret := volume.pop("secret", None):
                    volume["configMap"] = {"name": secret["secretName"]}
            deployments.append(o)
    assert not any("nodeName" in json.dumps(d) for d in deployments)
    return shared, deployments


class Mesh:
    """Pods of Deployments, on a bridge in a namespace."""

    def __init__(self, bed):
        self.enter = bed.host("cluster").enter
        self.path, self.names = bed.path, []

    def __enter__(self):
        self.clear()
        self.podman("network", "create", "--internal", "--subnet", SUBNET,
                    NETWORK)
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
        return pods.podman(*argv, enter=self.enter, **more)

    def play(self, manifests, services):
        """Start what was rendered; `services` are names that lead to it."""
        shared, deployments = playable(manifests)
        for d in deployments:
            name = d["metadata"]["name"]
            for v in d["spec"]["template"]["spec"]["volumes"]:
                if v.pop("emptyDir", None):
                    v["hostPath"] = {"path": self.empty(v["name"]),
                                     "type": "Directory"}
            path = os.path.join(self.path, name + ".yaml")
            with open(path, "w", encoding="utf8") as file:
                yaml.dump_all([*shared, d], file)
            self.names.append(name)
            aliases = ",".join(f"alias={s}" for s in services)
            self.podman("kube", "play", "--network", f"{NETWORK}:{aliases}",
                        path)
        return [d["metadata"]["name"] for d in deployments]

    def empty(self, name):
        """An emptyDir as Kubernetes makes them: of root and the pod's group,
        writable by all. podman's would be of the user alone."""
        path = os.path.join(self.path, name)
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

    def prober(self, name, *argv, **more):
        return self.podman("exec", self.container(name), "prober", *argv,
                           **more)

    def logs(self):
        return "\n".join(f"--- {n}\n" + self.podman(
            "logs", self.container(n), ok=(0, 125))[-3000:]
                         for n in self.names)


def pairs(mesh, name):
    """{(from, to): state} of the cells that this pod answers."""
    text = mesh.prober(name, "matrix", "-o", "json", "--level", "zone",
                       ok=(0, 1, 125))
    return {(c["from"], c["to"]): c["state"] for c in
            json.loads(text)["cells"]} if text else {}


def every_pod_says_fresh(mesh, names, want):
    for name in names:
        def fresh(name=name):
            return {p for p, state in pairs(mesh, name).items()
                    if state == "fresh"}
        try:
            until(lambda f=fresh: f() == want, 60,
                  f"{len(want)} pairs fresh, by {name}")
        except RuntimeError as error:
            raise RuntimeError(f"{error}: {fresh()}\n"
                               f"{mesh.logs()}") from error
        mesh.prober(name, "health", "--ready")


def three_zones_of_one_release_find_each_other():
    made = rendered("mesh", ZONE_VALUES)
    with Bed() as bed, Mesh(bed) as mesh:
        # The name of the headless Service leads to all of its pods.
        names = mesh.play(made, [f"mesh-prober-mesh.{DOMAIN}"])
        assert len(names) == 3, names
        # One pod a zone has nobody to probe in it.
        every_pod_says_fresh(mesh, names, {(a, b) for a in ZONES
                                           for b in ZONES if a != b})
        a_pod_is_probed_from(mesh, names, {"zone-a", "zone-c"})


def two_releases_are_one_mesh_and_all_nine_pairs_fresh():
    key = base64.b64encode(os.urandom(32)) + b"\n"
    secret = {"apiVersion": "v1", "kind": "Secret",
              "metadata": {"name": "their-key"},
              "data": {"gossip.keys": base64.b64encode(key).decode()}}
    with Bed() as bed, Mesh(bed) as mesh:
        names = []
        for release, other in ("east", "west"), ("west", "east"):
            made = rendered(
                release, ZONE_VALUES,
                "gossip.label=all,gossip.existingSecret=their-key",
                f"gossip.join[0]={other}-prober-mesh.{DOMAIN}:7946")
            names += mesh.play([secret, *made],
                               [f"{release}-prober-mesh.{DOMAIN}"])
        every_pod_says_fresh(mesh, names, {(a, b) for a in ZONES
                                           for b in ZONES})
        a_pod_is_probed_from(mesh, names, set(ZONES))
        for line in mesh.prober(names[-1], "matrix").splitlines():
            pods.say(line)


def rendered(release, *values):
    options = [o for v in values for o in ("--set", v)]
    return helm.objects(helm.template(release, *COMMON, *options))


def a_pod_is_probed_from(mesh, names, zones):
    """On request, through the control socket of the first pod; the second is
    the target, which does not probe itself."""
    pod = mesh.container(names[1])[:-len("-prober")]
    text = mesh.prober(names[0], "probe", pod, "--from", "all-zones", "-o",
                       "json")
    last = json.loads(text.splitlines()[-1])["summary"]
    assert {e["zone"] for e in last["from"].values()} == zones, last
    assert last["failed"] == 0 and last["ok"] >= len(zones), last


if __name__ == "__main__":
    why = pods.why_not() or why_not()
    try:
        if not why:
            helm.tool("helm")
            pods.image()
    except tap.Skip as skip:
        why = str(skip)
    tap.run([
        three_zones_of_one_release_find_each_other,
        two_releases_are_one_mesh_and_all_nine_pairs_fresh,
    ], why)
