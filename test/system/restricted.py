"""What Kubernetes' Pod Security Standard "restricted" demands of a pod, as
far as a manifest shows it."""

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral",
           "persistentVolumeClaim", "projected", "secret"}


def violations(spec):
    """Why a pod of this spec would be refused; empty when it would not."""
    why = [f"{key} is on" for key in ("hostNetwork", "hostPID", "hostIPC")
           if spec.get(key)]
    for volume in spec.get("volumes", []):
        why += [f"volume {volume['name']} is a {kind}"
                for kind in volume.keys() - {"name"} - VOLUMES]
    pod = spec.get("securityContext", {})
    if pod.get("sysctls"):
        why.append("sysctls")
    for kind in "initContainers", "containers", "ephemeralContainers":
        for container in spec.get(kind, []):
            why += [f"{container['name']}: {w}"
                    for w in _of_container(pod, container)]
    return why


def _of_container(pod, container):
    own = container.get("securityContext", {})
    both = {**pod, **own}
    capabilities = own.get("capabilities", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "may escalate"
    if capabilities.get("drop") != ["ALL"]:
        yield "keeps capabilities"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "adds capabilities"
    if both.get("runAsNonRoot") is not True:
        yield "may be root"
    if both.get("runAsUser") == 0:
        yield "is root"
    if both.get("seccompProfile", {}).get("type") not in (
            "RuntimeDefault", "Localhost"):
        yield "no seccomp profile"
    if own.get("procMount", "Default") != "Default":
        yield "another /proc"
    if any(p.get("hostPort") for p in container.get("ports", [])):
        yield "a port of the host"
