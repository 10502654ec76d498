"""The real helm and what checks manifests, from Go's module proxy, each of
one version; built once into CACHE.

    helm = Tool("helm").path()      # raises tap.Skip where that cannot be
    objects = helm_template("mesh", "--values", path)
"""
import json
import os
import pathlib
import shutil
import subprocess

import tap
import yaml
from netbed import ROOT, run

CACHE = pathlib.Path(os.environ.get("CACHE", ROOT / "build/cache"))
CHART = ROOT / "charts/prober"
MODULES = {
    "helm": ("helm.sh/helm/v3/cmd/helm", "v3.16.4"),
    "kubectl-validate": ("sigs.k8s.io/kubectl-validate",
                         # The last release, v0.0.4, ends at 1.30.
                         "v0.0.5-0.20260105161640-a97ccfaca20b"),
}
# Its repository holds the definitions of ServiceMonitor and PrometheusRule.
OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.70.0"
KUBERNETES = "1.30.0"  # what a template is told unless it matters
_refused = {}  # what Go has said no to: asking again would take as long


def go(*argv, **more):
    """Go's output; skips where there is no Go or no proxy."""
    if not shutil.which("go"):
        raise tap.Skip("not installed: go")
    if argv in _refused:
        raise tap.Skip(_refused[argv])
    done = subprocess.run(
        ["go", *argv], check=False, capture_output=True, text=True,
        env={**os.environ, "GOFLAGS": "-buildvcs=false",
             "GOTOOLCHAIN": "local", **more})
    if done.returncode:
        why = " ".join((done.stderr + done.stdout).split())
        _refused[argv] = f"go {argv[0]} {argv[-1]}: {why[-200:]}"
        raise tap.Skip(_refused[argv])
    return done.stdout


def tool(name):
    """The path of a tool, built when it is not there."""
    package, version = MODULES[name]
    place = CACHE.absolute() / "tools" / f"{name}-{version}"
    if not (place / name).exists():
        place.mkdir(parents=True, exist_ok=True)
        go("install", f"{package}@{version}", GOBIN=str(place))
    return str(place / name)


def operator_definitions(directory):
    """Copy the operator's resource definitions; the path for --local-crds."""
    found = json.loads(go("mod", "download", "-json", OPERATOR))["Dir"]
    for kind in "servicemonitors", "prometheusrules":
        name = f"monitoring.coreos.com_{kind}.yaml"
        text = pathlib.Path(found, "example/prometheus-operator-crd", name)
        pathlib.Path(directory, name).write_text(text.read_text())
    return directory


def helm(*argv):
    return run(tool("helm"), *argv)


def template(release, *argv, version=KUBERNETES):
    """The manifests, as text."""
    return helm("template", release, CHART, "--kube-version", version,
                "--api-versions", "monitoring.coreos.com/v1", *argv)


def objects(text):
    return [o for o in yaml.safe_load_all(text) if o]


def of_kind(kind, manifests):
    return [o for o in manifests if o["kind"] == kind]


def configuration(manifests):
    """The program's, as text."""
    found = [o["data"]["prober.yaml"] for o in of_kind("ConfigMap", manifests)
             if "prober.yaml" in o["data"]]
    assert len(found) == 1, found
    return found[0]
