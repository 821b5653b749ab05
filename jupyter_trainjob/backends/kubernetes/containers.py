"""The containers of a job's pod: the job's own, the sidecar, and the one that brings the runner. Pure.

All run as ``restricted`` pods must, with the environment made from nothing: what the user set travels in ``job.json``.
"""

from __future__ import annotations

from typing import Any

from ...resources.quantity import byte_count, cpu_millis, format_bytes, format_cpu
from ..base import AttemptRequest
from ..local.sandbox import MARK
from .settings import KubernetesSettings
from .volumes import BUFFER, REQUESTED_DISK, RUNNER_BYTES, TMP, Manifest, Sizes

MAIN, SIDECAR, RUNNER = "main", "sidecar", "runner"
"""Their names."""

_STAGED = "/trainjob/runner"
SEAL = "seal"
"""The Secret's key of it."""


def main(
    request: AttemptRequest,
    settings: KubernetesSettings,
    image: str,
    found: Sizes,
    mounts: list[Manifest],
    *,
    inject: bool,
) -> Manifest:
    """The job's own container. It holds no credential of any kind."""
    resources = request.job.spec.resources
    limits: dict[str, str] = {
        "cpu": format_cpu(resources.cpu_millis),
        "memory": format_bytes(found.main_memory),
        "ephemeral-storage": format_bytes(found.main_disk + (RUNNER_BYTES if inject else 0)),
    }
    requests = {**limits, "ephemeral-storage": format_bytes(REQUESTED_DISK)}
    if resources.gpu:
        gpus = gpu_resource(request, settings)
        limits[gpus] = requests[gpus] = str(resources.gpu)
    return {
        **common(MAIN, image, settings),
        "command": _command(settings, "main", settings.injected_python if inject else settings.python),
        "env": _seal(request.ref.name)
        + _environment(
            {
                MARK: request.ref.name,
                "HOME": f"{TMP}/home",
                "TMPDIR": TMP,
                "USER": "job",
                "LOGNAME": "job",
                "LANG": "C.UTF-8",
            }
        ),
        "resources": {"requests": requests, "limits": limits},
        "volumeMounts": mounts,
    }


def gpu_resource(request: AttemptRequest, settings: KubernetesSettings) -> str:
    """What the nodes of the job's profile call a GPU."""
    return request.profile.spec.placement.gpu_resource or settings.gpu_resources[0]


def sidecar(request: AttemptRequest, settings: KubernetesSettings, found: Sizes, mounts: list[Manifest]) -> Manifest:
    """Fetches, says ready, ships. A native sidecar: started before the job and ended after it."""
    own = settings.sidecar
    requests = {
        "cpu": format_cpu(cpu_millis(own.cpu)),
        "memory": format_bytes(found.sidecar_memory),
        "ephemeral-storage": format_bytes(REQUESTED_DISK),
    }
    limits = {
        "cpu": format_cpu(cpu_millis(own.cpu_limit)),
        "memory": format_bytes(found.sidecar_memory),
        "ephemeral-storage": format_bytes(found.sidecar_disk),
    }
    return {
        **common(SIDECAR, settings.pinned(settings.helper_image), settings),
        "restartPolicy": "Always",
        "command": _command(settings, "sidecar", settings.python),
        "env": _environment({MARK: request.ref.name, "TMPDIR": BUFFER, "LANG": "C.UTF-8"}),
        "resources": {"requests": requests, "limits": limits},
        "volumeMounts": mounts,
    }


def runner(settings: KubernetesSettings) -> Manifest:
    """Copies all that is ours out of our image, for an image that has a kernel and none of it.

    After the sidecar in the list, so that inputs are fetched meanwhile.
    """
    limits = {"cpu": "1", "memory": format_bytes(byte_count(settings.sidecar.memory))}
    disk = format_bytes(RUNNER_BYTES)
    return {
        **common(RUNNER, settings.pinned(settings.helper_image), settings),
        "command": ["cp", "-dR", f"{settings.home}/.", f"{_STAGED}/"],
        "env": _environment({"LANG": "C.UTF-8"}),
        "resources": {
            "requests": {
                **limits,
                "cpu": format_cpu(cpu_millis(settings.sidecar.cpu)),
                "ephemeral-storage": format_bytes(REQUESTED_DISK),
            },
            "limits": {**limits, "ephemeral-storage": disk},
        },
        "volumeMounts": [{"name": "runner", "mountPath": _STAGED}],
    }


def common(name: str, image: str, settings: KubernetesSettings) -> dict[str, Any]:
    """What every container of ours has, so that ``restricted`` takes it."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": settings.pull_policy,
        "workingDir": "/",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "File",
    }


def _command(settings: KubernetesSettings, part: str, python: str) -> list[str]:
    return [python, "-I", f"{settings.package}/backends/kubernetes/pod", part]


def _seal(secret: str) -> list[dict[str, Any]]:
    """What our first process marks its words with. Nobody else in the container can read its environment."""
    reference = {"name": secret, "key": SEAL, "optional": True}
    return [{"name": "TRAINJOB_SEAL", "valueFrom": {"secretKeyRef": reference}}]


def _environment(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]
