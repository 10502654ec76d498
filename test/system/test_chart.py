#!/usr/bin/python3
"""The Helm chart with the real helm: what it makes is what Kubernetes takes,
the program reads and the README says; what is wrong in values is refused."""
import base64
import copy
import ipaddress
import json
import pathlib
import re
import shlex
import shutil
import tempfile

import helm
import restricted
import tap
import yaml
from netbed import PROBER, ROOT, run

VALUES = sorted((ROOT / "test/chart").glob("*.yaml"))
# Of Kubernetes: the oldest that the chart takes, and all that have been
# supported since it was written.
VERSIONS = ["1.25", "1.28", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35"]
README = (helm.CHART / "README.md").read_text()
ZONE = "zones[0].name=a"
# (values, what the complaint says)
REFUSED = [
    ([], "name at least one"),
    ([ZONE, "zone=a"], "zone"),
    ([ZONE, "image.tagg=1"], "tagg"),
    ([ZONE, "zones[0].nmae=b"], "nmae"),
    ([ZONE, "mode=Zones"], "mode"),
    (["zones[0].name=a b"], "zones.0.name"),
    (["zones[0].name=-a"], "zones.0.name"),
    (["zones[0].region=r"], "name is required"),
    (["zones[0].name=a.b,zones[1].name=A_b"], "both be the Deployment"),
    (["zones[0].name=a,zones[1].name=a"], "both be the Deployment"),
    ([ZONE, "zones[0].replicas=0"], "replicas"),
    ([ZONE, "image.digest=sha256:12"], "digest"),
    ([ZONE, "image.pullPolicy=Sometimes"], "pullPolicy"),
    ([ZONE, "probe.timeout=1.5s"], "probe.timeout"),
    ([ZONE, "probe.protocols[0]=udp"], "protocols"),
    ([ZONE, "history.memory=32MB"], "history.memory"),
    ([ZONE, "control.ports[0]=70000"], "control.ports"),
    ([ZONE, "service.port=http"], "service.port"),
    ([ZONE, "targets[0].name=x"], "url is required"),
    ([ZONE, "targets[0].name=x,targets[0].url=ftp://x"], "url"),
    ([ZONE, "podDisruptionBudget.maxUnavailable=0"], "maxUnavailable"),
    ([ZONE, "podDisruptionBudget.maxUnavailable=0%"], "maxUnavailable"),
    ([ZONE, "podDisruptionBudget.maxUnavailable=101%"], "maxUnavailable"),
    # Every pod of the namespace would be given the right to read nodes.
    (["mode=nodes", "serviceAccount.create=false"], "serviceAccount.name"),
    ([ZONE, "terminationGracePeriodSeconds=1"], "terminationGrace"),
    ([ZONE, "nodes.zoneFrom=env"], "zoneFrom"),
    ([ZONE, "logFormat=xml"], "logFormat"),
]
# An hour of one zone pair that fails, of one that does not, and of a pair
# whose failures are the prober's own.
ALERTS = """
rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'prober_attempts_total{source_zone="a",destination_zone="b",protocol="http1",mode="cold",outcome="ok"}'
        values: '0+9x30'
      - series: 'prober_attempts_total{source_zone="a",destination_zone="b",protocol="http1",mode="cold",outcome="timeout"}'
        values: '0+1x30'
      - series: 'prober_attempts_total{source_zone="a",destination_zone="c",protocol="http1",mode="cold",outcome="ok"}'
        values: '0+99x30'
      - series: 'prober_attempts_total{source_zone="a",destination_zone="c",protocol="http1",mode="cold",outcome="timeout"}'
        values: '0+1x30'
      - series: 'prober_attempts_total{source_zone="a",destination_zone="d",protocol="http1",mode="cold",outcome="ok"}'
        values: '0+1x30'
      - series: 'prober_attempts_total{source_zone="a",destination_zone="d",protocol="http1",mode="cold",outcome="LOCAL"}'
        values: '0+9x30'
      - series: 'prober_starved{instance="x"}'
        values: '1+0x60'
      - series: 'prober_starved{instance="y"}'
        values: '0 1 0+0x60'
      - series: 'prober_gossip_alone{instance="x"}'
        values: '1+0x60'
      - series: 'prober_gossip_alone{instance="y"}'
        values: '1 1 1 0+0x60'
    alert_rule_test:
      - {eval_time: 4m, alertname: ProberFailedAttempts, exp_alerts: []}
      - eval_time: 20m
        alertname: ProberFailedAttempts
        exp_alerts:
          - exp_labels: {severity: warning, source_zone: a, destination_zone: b, protocol: http1}
            exp_annotations: {summary: 10% of http1 attempts from a to b fail}
      - eval_time: 40m
        alertname: ProberStarved
        exp_alerts:
          - exp_labels: {severity: warning, instance: x}
            exp_annotations: {summary: This prober is short of CPU; its windows are not trusted}
      - eval_time: 20m
        alertname: ProberAlone
        exp_alerts:
          - exp_labels: {severity: warning, instance: x}
            exp_annotations: {summary: This prober sees no other member of the mesh}
"""


def rendered(path, **more):
    return helm.objects(helm.template("mesh", "--values", path, **more))


def everything():
    return rendered(ROOT / "test/chart/everything.yaml")


def pods(manifests):
    """(name, metadata, spec) of each pod that would run."""
    for o in manifests:
        if o["kind"] in ("Deployment", "DaemonSet"):
            of = o["spec"]["template"]
            yield o["metadata"]["name"], of["metadata"], of["spec"]
        elif o["kind"] == "Pod":
            yield o["metadata"]["name"], o["metadata"], o["spec"]


def lint_has_nothing_to_say():
    for path in VALUES:
        text = helm.helm("lint", "--strict", helm.CHART, "--values", path,
                         "--kube-version", helm.KUBERNETES)
        assert "0 chart(s) failed" in text and "WARN" not in text, text


def kubernetes_takes_what_is_made():
    check = helm.tool("kubectl-validate")
    with tempfile.TemporaryDirectory() as work:
        definitions = helm.operator_definitions(work)
        made = pathlib.Path(work, "made")
        made.mkdir()
        for version in VERSIONS:
            for path in VALUES:
                (made / path.name).write_text(helm.template(
                    "mesh", "--values", path, version=version + ".0"))
            text = run(check, "--version", version, "--local-crds",
                       definitions, *sorted(made.iterdir()))
            assert text.count("OK") == len(VALUES), text
        # And it would have said so.
        for old, new in (("replicas:", "replica:"),
                         ("replicas: 1", "replicas: many")):
            text = helm.template("mesh", "--set", ZONE)
            assert old in text
            bad = made / "bad.yaml"
            bad.write_text(text.replace(old, new, 1))
            try:
                run(check, "--version", VERSIONS[0], bad)
            except RuntimeError as error:
                assert "ERROR" in str(error)
            else:
                raise AssertionError(f"{new} was taken")


def wrong_values_are_refused_by_name():
    for values, complaint in REFUSED:
        options = [o for v in values for o in ("--set", v)]
        try:
            text = helm.template("mesh", *options)
        except RuntimeError as error:
            assert complaint in str(error), (values, complaint, str(error))
        else:
            raise AssertionError(f"{values} were taken:\n{text}")
    # Without the operator in the cluster its objects cannot be made.
    try:
        helm.helm("template", "mesh", helm.CHART, "--set", ZONE, "--set",
                  "serviceMonitor.enabled=true", "--kube-version", "1.30.0")
    except RuntimeError as error:
        assert "operator" in str(error), error
    else:
        raise AssertionError("a ServiceMonitor without the operator")


def every_pod_passes_the_restricted_standard():
    seen = 0
    for path in VALUES:
        for name, _, spec in pods(rendered(path)):
            assert not restricted.violations(spec), (path.name, name)
            for c in spec.get("initContainers", []) + spec["containers"]:
                assert c["securityContext"]["readOnlyRootFilesystem"] is True
                assert "cpu" not in c["resources"]["limits"]
                assert c["resources"]["limits"]["memory"]
                assert c["resources"]["requests"].keys() == {"cpu", "memory"}
            seen += 1
    assert seen >= 10, seen
    # And each demand is one: taken away it is missed.
    _, _, good = next(pods(rendered(ROOT / "test/chart/zones.yaml")))
    breaks = [
        lambda s: s.update(hostNetwork=True),
        lambda s: s["volumes"].append({"name": "x", "hostPath": {}}),
        lambda s: s["securityContext"].pop("runAsNonRoot"),
        lambda s: s["securityContext"].update(runAsUser=0),
        lambda s: s["securityContext"].pop("seccompProfile"),
        lambda s: s["containers"][0].pop("securityContext"),
        lambda s: s["containers"][0]["securityContext"].pop("capabilities"),
        lambda s: s["containers"][0]["securityContext"].update(
            allowPrivilegeEscalation=True),
        lambda s: s["containers"][0]["ports"][0].update(hostPort=1),
    ]
    for number, spoil in enumerate(breaks):
        spec = copy.deepcopy(good)
        spoil(spec)
        assert restricted.violations(spec), number


def the_program_reads_every_configuration():
    for path in VALUES:
        text = helm.configuration(rendered(path))
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            run(PROBER, "check-config", file.name)


# What may be said of the control port, a bare off being YAML's for false, and
# what the program is to be told.
CONTROL_PORTS = [
    ("{listen: off}", {"listen": "off"}),
    ("{listen: 'off'}", {"listen": "off"}),
    ("{listen: '0.0.0.0:7071', tokens_file: /x}",
     {"listen": "0.0.0.0:7071", "tokens_file": "/x"}),
    # With TLS, for which there is a certificate.
    ("{listen: '127.0.0.1:7071', tokens_file: /x}",
     {"listen": "127.0.0.1:7071", "tokens_file": "/x"}),
    ("{listen: 'unix:/run/prober/x'}",
     {"listen": "unix:/run/prober/x", "insecure": True}),
    ("null", None),  # all as the program has it
    ("{insecure: false}",
     {"listen": "unix:/run/prober/control.sock", "insecure": False}),
]


def the_control_port_may_be_elsewhere():
    for said, want in CONTROL_PORTS:
        with tempfile.TemporaryDirectory() as work:
            values = pathlib.Path(work, "values.yaml")
            values.write_text("zones: [{name: a}]\n"
                              "tls: {existingSecret: their-tls}\n"
                              f"extraConfig: {{control: {said}}}\n")
            text = helm.configuration(rendered(values))
            made = pathlib.Path(work, "prober.yaml")
            made.write_text(text)
            assert yaml.safe_load(text)["control"] == want, text
            run(PROBER, "check-config", made)


def dashboards_are_taken_as_they_are():
    for text in '{"a": 1}', "  {\n}\n", "", "\n\n{}", '{"a":\n\t"{{ x }}"}':
        with tempfile.TemporaryDirectory() as work:
            values = pathlib.Path(work, "values.yaml")
            values.write_text(json.dumps({
                "zones": [{"name": "a"}],
                "dashboards": {"enabled": True, "files": {"a.json": text}}}))
            made = {o["metadata"]["name"]: o for o in rendered(values)
                    if o["kind"] == "ConfigMap"}
            found = made["mesh-prober-dashboards"]["data"]
            assert found == {"a.json": text}, (found, text)


def what_values_say_reaches_the_configuration():
    config = yaml.safe_load(helm.configuration(everything()))
    want = yaml.safe_load((ROOT / "test/chart/everything.yaml").read_text())
    assert config["probe"] == {"cold_interval": "10s", "timeout": "3s",
                               "warm_interval": "500ms", "protocols": ["grpc"],
                               "in_flight_max": 1000}
    assert config["targets"] == want["targets"]
    assert config["control"] == {
        "listen": "unix:/run/prober/control.sock", "insecure": True,
        **want["control"]}
    assert config["gossip"] == {
        "label": "all", "keys_file": "/etc/prober/gossip/gossip.keys",
        "allow": ["10.0.0.0/8"],
        "join": ["latency-mesh-mesh.default.svc.example.internal:7946",
                 "mesh.example.org:7946"]}
    assert config["tls"].keys() == {"certificate", "key", "ca"}
    assert config["history"] == {"memory": "64MiB"}
    assert config["log"] == {"format": "text"}
    assert config["topology"] == {"pairs": 2}


def a_selector_finds_the_pods_of_the_mesh_and_no_other():
    for path in VALUES:
        manifests = rendered(path)
        by_name = {n: m["labels"] for n, m, _ in pods(manifests)}
        test = [n for n in by_name if n.endswith("-test")]
        mesh = sorted(by_name.keys() - set(test))
        assert len(test) == 1 and mesh, by_name.keys()

        def found(selector):
            return sorted(n for n, labels in by_name.items()
                          if selector.items() <= labels.items())
        for o in manifests:
            spec = o.get("spec", {})
            if o["kind"] == "Service":
                assert found(spec["selector"]) == mesh, o
            elif o["kind"] == "PodDisruptionBudget":
                assert found(spec["selector"]["matchLabels"]) == mesh, o
            elif o["kind"] == "NetworkPolicy":
                assert found(spec["podSelector"]["matchLabels"]) == mesh, o
            elif o["kind"] in ("Deployment", "DaemonSet"):
                assert found(spec["selector"]["matchLabels"]) == [
                    o["metadata"]["name"]], o


def pods_stay_in_their_zone_whatever_else_is_wished():
    here = {"key": "example.org/zone", "operator": "In", "values": ["a"]}
    _, _, spec = next(pods(everything()))
    affinity = spec["affinity"]
    terms = affinity["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert len(terms) == 2 and all(here in t["matchExpressions"]
                                   for t in terms), terms
    assert {"key": "spot", "operator": "DoesNotExist"} in terms[0][
        "matchExpressions"]
    assert terms[1]["matchFields"], terms
    assert "podAntiAffinity" in affinity


# The addresses of security.md's always denied that are metadata services.
METADATA = [ipaddress.ip_address(a) for a in (
    "169.254.169.254", "169.254.170.2",  # most clouds
    "fe80::a9fe:a9fe",
    "fd00:ec2::254",            # AWS
    "168.63.129.16",            # Azure
    "fd20:ce::254",             # Google
    "192.0.0.192", "fd00:c1::a9fe:a9fe",  # Oracle
    "100.100.100.200", "fd00:100::100:200",  # Alibaba
    "fd00:a9fe:a9fe::1",        # Akamai
    "fd00:42::42",              # Scaleway
)]


def leads_to(block, address):
    def has(network):
        network = ipaddress.ip_network(network)
        return network.version == address.version and address in network
    return has(block["cidr"]) and not any(map(has, block.get("except", [])))


def no_policy_leads_to_a_metadata_service():
    for path in VALUES:
        for o in helm.of_kind("NetworkPolicy", rendered(path)):
            for rule in o["spec"]["egress"]:
                if "to" not in rule:  # to anywhere: names only
                    assert [p["port"] for p in rule["ports"]] == [53, 53]
                for to in rule.get("to", []):
                    for address in METADATA:
                        if block := to.get("ipBlock"):
                            assert not leads_to(block, address), address
    only = helm.of_kind("NetworkPolicy",
                        rendered(ROOT / "test/chart/nodes.yaml"))[0]
    for rule in only["spec"]["egress"]:
        if any("ipBlock" in to for to in rule.get("to", [])):
            assert [p["port"] for p in rule["ports"]] == [443, 6443], rule


def the_gossip_key_is_one_of_256_bits_and_not_printed_twice():
    keys = set()
    for _ in range(2):
        secret, = helm.of_kind("Secret", rendered(
            ROOT / "test/chart/zones.yaml"))
        assert secret["metadata"]["annotations"][
            "helm.sh/resource-policy"] == "keep"
        keys.add(secret["data"]["gossip.keys"])
    assert len(keys) == 2  # random
    line = base64.b64decode(keys.pop())
    assert len(base64.b64decode(line)) == 32 and line.endswith(b"\n"), line
    assert not helm.of_kind("Secret", everything())  # theirs is used


def alerts_go_off_when_they_should():
    if not shutil.which("promtool"):
        raise tap.Skip("not installed: promtool")
    rule, = helm.of_kind("PrometheusRule", everything())
    known = (ROOT / "docs/metrics.md").read_text()
    for r in rule["spec"]["groups"][0]["rules"]:
        for metric in set(re.findall(r"\bprober_\w+", r["expr"])):
            assert f"`{metric}`" in known, metric
    outcomes = (ROOT / "docs/api.md").read_text()
    local = re.findall(r"`(local_\w+)`", outcomes)
    assert local, "no outcome of the prober's own making is documented"
    with tempfile.TemporaryDirectory() as work:
        pathlib.Path(work, "rules.yaml").write_text(yaml.dump(rule["spec"]))
        tests = pathlib.Path(work, "tests.yaml")
        tests.write_text(ALERTS.replace("LOCAL", local[0]))
        run("promtool", "check", "rules", f"{work}/rules.yaml")
        run("promtool", "test", "rules", tests)


# ---- the README ----

def leaves(values, known, prefix=""):
    """{path: default} of what a value can be set by, by the schema's word
    on which mappings are ours and which are the user's."""
    found = {}
    for name, schema in known["properties"].items():
        path = prefix + name
        if "properties" in schema:
            found |= leaves((values or {}).get(name, {}), schema, path + ".")
        else:
            found[path] = (values or {}).get(name, KeyError)
            for item in schema.get("items", {}).get("properties", {}):
                if name in ("zones", "targets"):
                    found[f"{path}[].{item}"] = None
    return found


def readme_values_and_schema_are_the_same():
    values = yaml.safe_load((helm.CHART / "values.yaml").read_text())
    schema = json.loads((helm.CHART / "values.schema.json").read_text())
    want = leaves(values, schema)
    assert want.pop("global") is KeyError  # helm's own

    def unknown(v, known, prefix=""):
        for name, value in v.items():
            inner = known["properties"].get(name)
            assert inner, prefix + name
            if isinstance(value, dict) and "properties" in inner:
                unknown(value, inner, prefix + name + ".")
    unknown(values, schema)
    rows = re.findall(r"^\| `([^`]+)` \| (.*?) \|( .*)? \|$",
                      README[README.index("## Values"):], re.M)
    said = {path: default for path, default, _ in rows}
    assert len(said) == len(rows), "a value stands there twice"
    assert said.keys() == want.keys(), said.keys() ^ want.keys()
    for path, default in said.items():
        if "[]" not in path:
            assert json.loads(default.strip("`")) == want[path], path


def every_object_of_the_schema_is_closed():
    schema = json.loads((helm.CHART / "values.schema.json").read_text())

    def check(part, path):
        if "properties" in part:
            assert part.get("additionalProperties") is False, path
            for name, inner in part["properties"].items():
                check(inner, f"{path}.{name}")
        if "items" in part:
            check(part["items"], path + "[]")
    check(schema, "values")


def every_value_changes_something():
    """What everything.yaml sets, taken away one by one."""
    path = ROOT / "test/chart/everything.yaml"
    values = yaml.safe_load(path.read_text())
    defaults = yaml.safe_load((helm.CHART / "values.yaml").read_text())
    schema = json.loads((helm.CHART / "values.schema.json").read_text())
    # Others win over these there; the last is of the other mode.
    hidden = {"image.tag": ["image.digest="],
              "nameOverride": ["fullnameOverride="]}
    other = {"mode", "nodes.zoneFrom", "global", "service.type",
             "serviceAccount.create", "gossip.encrypted",
             "gossip.advertisePodIP", "networkPolicy.enabled",
             "networkPolicy.egressAny", "podDisruptionBudget.enabled",
             "zoneAffinity"}
    with tempfile.NamedTemporaryFile("w+", suffix=".yaml") as file:
        for leaf in leaves(defaults, schema).keys() - other:
            if "[]" in leaf:
                continue
            less, where = copy.deepcopy(values), leaf.split(".")
            inner = less
            for name in where[:-1]:
                inner = inner[name]
            assert inner.pop(where[-1], None) is not None, leaf
            if leaf == "zones":
                less["zones"] = [{"name": "c"}]
            more = [o for s in hidden.get(leaf, []) for o in ("--set", s)]
            file.seek(0)
            file.truncate()
            yaml.dump(less, file)
            file.flush()
            assert (helm.template("mesh", "--values", file.name, *more)
                    != helm.template("mesh", "--values", path, *more)), leaf


def the_commands_of_the_readme_work():
    text = README.replace("\\\n", " ")
    installs = re.findall(r"^helm install (\S+) charts/prober (.*)$", text,
                          re.M)
    assert len(installs) >= 2, installs
    names = set()
    for release, options in installs:
        made = helm.objects(helm.template(release, *shlex.split(options)))
        assert helm.of_kind("Deployment", made), options
        names |= {o["metadata"]["name"] for o in made}
    # What they talk about is made.
    for name in re.findall(r"(?:deploy|svc)/(\S+)", README):
        assert name in names, (name, names)


if __name__ == "__main__":
    tap.run([
        lint_has_nothing_to_say,
        kubernetes_takes_what_is_made,
        wrong_values_are_refused_by_name,
        every_pod_passes_the_restricted_standard,
        the_program_reads_every_configuration,
        the_control_port_may_be_elsewhere,
        dashboards_are_taken_as_they_are,
        what_values_say_reaches_the_configuration,
        a_selector_finds_the_pods_of_the_mesh_and_no_other,
        pods_stay_in_their_zone_whatever_else_is_wished,
        no_policy_leads_to_a_metadata_service,
        the_gossip_key_is_one_of_256_bits_and_not_printed_twice,
        alerts_go_off_when_they_should,
        readme_values_and_schema_are_the_same,
        every_object_of_the_schema_is_closed,
        every_value_changes_something,
        the_commands_of_the_readme_work,
    ])
