#!/usr/bin/python3
"""What the chart makes for three zones, really run: pods by podman from the
rendered manifests, of one release, of two and of a DaemonSet, and any pod
answers for the whole matrix. What of that is podman's and what the test's own:
kubelet.py."""
import base64
import contextlib
import json
import os

import helm
import kubelet
import pods
import same_matrix
import tap
from netbed import Bed, until, why_not

ZONES = same_matrix.ZONES
DOMAIN = "default.svc.cluster.local"
# podman knows no status.podIP; it has one network.
COMMON = ["gossip.advertisePodIP=false",
          f"image.repository={pods.IMAGE.split(':')[0]}",
          f"image.tag={pods.IMAGE.split(':')[1]},image.pullPolicy=Never",
          "probe.coldInterval=1s"]
ZONE_VALUES = ",".join(f"zones[{i}].name={z},zones[{i}].region={r}"
                       for i, (z, r) in enumerate(ZONES.items()))


def rendered(release, *values):
    options = [o for v in (*COMMON, *values) for o in ("--set", v)]
    return helm.objects(helm.template(release, *options))


@contextlib.contextmanager
def cluster():
    """One; what its pods said stands with what went wrong."""
    with Bed() as bed, kubelet.Cluster(bed) as made:
        try:
            yield made
        except (AssertionError, RuntimeError) as error:
            raise RuntimeError(f"{error}\n{made.logs()}") from error


def fresh_pairs(mesh, name):
    text = mesh.prober(name, "matrix", "-o", "json", "--level", "zone",
                       ok=(0, 1, 125))
    return {(c["from"], c["to"]) for c in json.loads(text)["cells"]
            if c["state"] == "fresh"} if text else set()


def all_see_the_same_matrix(mesh, names):
    def asker(name):
        return lambda *options: mesh.prober(name, "matrix", "-o", "json",
                                            *options, ok=(0, 1, 125))
    same_matrix.see({name: asker(name) for name in names})
    for name in names:
        mesh.prober(name, "health", "--ready")
    for line in mesh.prober(names[-1], "matrix").splitlines():
        pods.say(line)


def a_pod_is_probed_from(mesh, names, zones):
    """On request, through the control socket of the first pod; the second is
    the target, which does not probe itself."""
    text = mesh.prober(names[0], "probe", mesh.pod(names[1]), "--from",
                       "all-zones", "-o", "json")
    last = json.loads(text.splitlines()[-1])["summary"]
    assert {e["zone"] for e in last["from"].values()} == zones, last
    assert last["failed"] == 0 and last["ok"] >= len(zones), last


def helm_test_says_whether_a_zone_is_missing(mesh, made):
    pod, = helm.of_kind("Pod", made)
    shown = mesh.run(pod)
    assert "3 of 3 nodes reporting" in shown, shown
    try:
        mesh.run(pod, "--expect=a,b,c,d", "--wait=1s")
    except RuntimeError as error:
        assert "'d' is not there" in str(error), error
    else:
        raise AssertionError("a zone that is not there was not missed")


# ---- claims ------------------------------------------------------------

def three_zones_of_one_release_find_each_other():
    with cluster() as mesh:
        made = rendered("mesh", ZONE_VALUES)
        # The names of the Services lead to all of its pods.
        names = mesh.play(made, [f"mesh-prober-mesh.{DOMAIN}",
                                 f"mesh-prober.{DOMAIN}"])
        assert len(names) == 3, names
        helm_test_says_whether_a_zone_is_missing(mesh, made)
        # One pod a zone has nobody to probe in it.
        want = {(a, b) for a in ZONES for b in ZONES if a != b}
        for name in names:
            until(lambda n=name: fresh_pairs(mesh, n) == want, 60,
                  f"{want} fresh, by {name}")
            mesh.prober(name, "health", "--ready")
        a_pod_is_probed_from(mesh, names, {"a", "c"})


def two_releases_are_one_mesh_with_the_same_matrix():
    key = base64.b64encode(os.urandom(32)) + b"\n"
    secret = {"apiVersion": "v1", "kind": "Secret",
              "metadata": {"name": "their-key"},
              "data": {"gossip.keys": base64.b64encode(key).decode()}}
    with cluster() as mesh:
        names = []
        for release, other in ("east", "west"), ("west", "east"):
            made = rendered(
                release, ZONE_VALUES,
                "gossip.label=all,gossip.existingSecret=their-key",
                f"gossip.join[0]={other}-prober-mesh.{DOMAIN}:7946")
            names += mesh.play([secret, *made],
                               [f"{release}-prober-mesh.{DOMAIN}"])
        all_see_the_same_matrix(mesh, names)
        a_pod_is_probed_from(mesh, names, set(ZONES))


def pods_of_a_daemonset_have_their_nodes_zones_and_the_same_matrix():
    made = rendered("mesh", "mode=nodes")
    kinds = [o["kind"] for o in made]
    assert "DaemonSet" in kinds and "Deployment" not in kinds, kinds
    labels = {f"node-{zone}{i}": {"topology.kubernetes.io/zone": zone,
                                  "topology.kubernetes.io/region": region}
              for zone, region in ZONES.items() for i in (1, 2)}
    with cluster() as mesh:
        names = mesh.play(made, [f"mesh-prober-mesh.{DOMAIN}"], labels)
        assert len(names) == len(labels), names
        all_see_the_same_matrix(mesh, names)
        members = json.loads(mesh.prober(names[0], "members", "-o", "json"))
        assert {m["name"]: (m["zone"], m["region"])
                for m in members["members"]} == {
            mesh.pod(name): (at["topology.kubernetes.io/zone"],
                             at["topology.kubernetes.io/region"])
            for name, at in zip(names, labels.values())}, members


if __name__ == "__main__":
    why = pods.why_not() or why_not()
    try:
        if not why:
            pods.take()
            helm.tool("helm")
            pods.image()
    except tap.Skip as skip:
        why = str(skip)
    tap.run([
        three_zones_of_one_release_find_each_other,
        two_releases_are_one_mesh_with_the_same_matrix,
        pods_of_a_daemonset_have_their_nodes_zones_and_the_same_matrix,
    ], why)
