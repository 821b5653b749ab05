"""What all pods that ``deploy`` makes have in common: they run as ``restricted`` pods must. Pure."""

from __future__ import annotations

from kubernetes.aio import client as k

from ..settings import KubernetesSettings

USER = 1000
"""That of our images."""


def contained() -> k.V1SecurityContext:
    """Of each container."""
    return k.V1SecurityContext(
        allow_privilege_escalation=False,
        read_only_root_filesystem=True,
        capabilities=k.V1Capabilities(drop=["ALL"]),
    )


def unprivileged() -> k.V1PodSecurityContext:
    """Of each pod."""
    return k.V1PodSecurityContext(
        run_as_non_root=True,
        run_as_user=USER,
        run_as_group=USER,
        fs_group=USER,
        fs_group_change_policy="OnRootMismatch",
        seccomp_profile=k.V1SeccompProfile(type="RuntimeDefault"),
    )


def resources(cpu: str, memory: str, *, cpu_limit: str = "") -> k.V1ResourceRequirements:
    """What a container may use; as much is kept for it, but for CPU beyond ``cpu``."""
    return k.V1ResourceRequirements(
        requests={"cpu": cpu, "memory": memory}, limits={"cpu": cpu_limit or cpu, "memory": memory}
    )


def tolerations(settings: KubernetesSettings) -> list[k.V1Toleration] | None:
    """Those of jobs."""
    found = [
        k.V1Toleration(
            key=item.key or None, operator=item.operator, value=item.value or None, effect=item.effect or None
        )
        for item in settings.tolerations
    ]
    return found or None


def pull_secrets(settings: KubernetesSettings) -> list[k.V1LocalObjectReference] | None:
    """Those of jobs."""
    return [k.V1LocalObjectReference(name=name) for name in settings.pull_secrets] or None
