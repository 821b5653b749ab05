"""Pod Security ``restricted``, written down from the published standard, to hold our pods against.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ (restricted, which includes baseline).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"),
}
_SYSCTLS = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start"}


def violations(pod: dict[str, Any]) -> list[str]:
    """What a namespace with ``restricted`` would not admit of a pod's spec."""
    return [*_of_pod(pod), *(finding for container in _containers(pod) for finding in _of_container(container, pod))]


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"], *pod.get("ephemeralContainers", [])]


def _of_pod(pod: dict[str, Any]) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield f"{name} is set"
    for volume in pod.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= _VOLUMES:
            yield f"volume {volume['name']} is of type {kinds - _VOLUMES}"
    context = pod.get("securityContext", {})
    if context.get("runAsUser") == 0:
        yield "pod runs as user 0"
    for sysctl in context.get("sysctls", []):
        if sysctl["name"] not in _SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    for name in ("seLinuxOptions", "windowsOptions", "appArmorProfile"):
        if name in context:
            yield f"{name} is set"


def _of_container(container: dict[str, Any], pod: dict[str, Any]) -> Iterator[str]:
    name, own, all_of = container["name"], container.get("securityContext", {}), pod.get("securityContext", {})
    if own.get("privileged"):
        yield f"{name} is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may escalate its privileges"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield f"{name} does not drop ALL capabilities"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{name} adds capabilities {capabilities['add']}"
    if not own.get("runAsNonRoot", all_of.get("runAsNonRoot")):
        yield f"{name} may run as root"
    if own.get("runAsUser", all_of.get("runAsUser")) == 0:
        yield f"{name} runs as user 0"
    seccomp = own.get("seccompProfile", all_of.get("seccompProfile", {})).get("type")
    if seccomp not in ("RuntimeDefault", "Localhost"):
        yield f"{name} has the seccomp profile {seccomp}"
    if own.get("procMount", "Default") != "Default":
        yield f"{name} has the proc mount {own['procMount']}"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield f"{name} has a host port"
    for hook in (
        *container.get("lifecycle", {}).values(),
        *(container[probe] for probe in ("livenessProbe", "readinessProbe", "startupProbe") if probe in container),
    ):
        if hook.get("httpGet", {}).get("host") or hook.get("tcpSocket", {}).get("host"):
            yield f"{name} asks another host in a probe or hook"
