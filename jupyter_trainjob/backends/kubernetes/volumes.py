"""The volumes of a job's pod, their sizes, and who pays for them. Pure.

Pages of an in-memory volume count as memory of the container that wrote them. So each volume lies where its writer's
share of memory can carry it:

- ``in``, at /trainjob/in, written by the sidecar: on disk. Gigabytes of inputs would be the sidecar's memory, and what
  writes there is ours and bounded.
- ``out``, at /trainjob/out, and ``work``, at /work and /tmp (one budget), written by the job: in memory or on disk, as
  ``settings.scratch`` says.
- ``shm``, at /dev/shm, written by the job: in memory; it counts as the job's memory, as everywhere.
- ``buffer``, at /trainjob/buffer, written by the sidecar: on disk.
- ``orders``, at /var/run/trainjob: the Secret, mounted in the sidecar only.
- ``environment``, at /trainjob/environment: of the claim of environments what the job's requirements became, read-only.
- ``runner``, at ``settings.home``, written by the container that brings it, and only for images without it: on disk.

``scratch: memory`` (the default): ``work`` and ``out`` are sized tmpfs. A full one is told at once (ENOSPC), whereas
the kubelet looks at disk volumes every ten seconds only, in which a loop writes tens of gigabytes to the node. What is
written counts as the *job's memory*. It is not added to what the pod asks for: a job of 1 GiB would hold 3 GiB of a
node, nobody's quota would say so, and the pods that don't fit any more would hang unschedulable, outside of our queue.
So ``work`` has as many bytes as the job's disk, but leaves its processes 256 MiB of the memory, or half of it.

``scratch: disk``: for nodes with room on disk, and jobs whose checkpoints are larger than their memory. ``work`` has
the job's whole disk. The main container holds it, which looks every tenth of a second and ends the job; behind it is
the kubelet (``sizeLimit``, and the limit of ephemeral storage), which evicts the pod within ten seconds or so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from ...resources.names import slug
from ...resources.quantity import byte_count, format_bytes
from ...resources.trainjob import TrainJob
from ...resources.volumes import AllowedVolume, Mount, NfsShare
from .labels import INSTALLATION, MANAGED_BY, MANAGER
from .settings import KubernetesSettings

Manifest = dict[str, Any]
MIB = 2**20
IN, OUT, WORK, ORDERS, BUFFER = "/trainjob/in", "/trainjob/out", "/work", "/var/run/trainjob", "/trainjob/buffer"
TMP = "/tmp"  # noqa: S108 - a volume of the pod's own
KEPT_FREE = 256 * MIB
"""Memory that files leave to the job's processes, if it has twice as much."""
ENVIRONMENT = "/trainjob/environment"
"""Where a job sees the environment of its requirements, and where that was built."""
OUT_BYTES = 64 * MIB
"""The log's window and our reports. Notebook, results and metrics come on top: they count as the job's disk."""
LOGS_BYTES = 64 * MIB
"""What a container may write through the kubelet: its own accidents."""
RUNNER_BYTES = 2**30
REQUESTED_DISK = 64 * MIB
"""Of ephemeral storage, for each container: limits are for the worst case, and would leave most of a node idle."""


@dataclass(frozen=True)
class Environment:
    """Where a job's environment lies in the claim, and what ``job.json`` tells of it."""

    folder: str
    """Below :func:`top`."""
    interpreter: str = ""
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sizes:
    """Bytes of each volume, and of memory and disk of the containers."""

    work: int
    out: int
    shm: int
    inputs: int
    buffer: int
    main_memory: int
    main_disk: int
    sidecar_memory: int
    sidecar_disk: int


def sizes(job: TrainJob, settings: KubernetesSettings) -> Sizes:
    """For a job whose resources are complete."""
    resources = job.spec.resources
    memory, disk = resources.memory_bytes, byte_count(resources.disk or "2Gi")
    in_memory = settings.scratch == "memory"
    work = min(disk, max(memory - KEPT_FREE, memory // 2)) if in_memory else disk
    out = OUT_BYTES + work
    inputs = disk + OUT_BYTES
    buffer = byte_count(settings.sidecar.buffer)
    return Sizes(
        work=work,
        out=out,
        shm=byte_count(resources.shm or "64Mi"),
        inputs=inputs,
        buffer=buffer,
        main_memory=memory + byte_count(settings.reserve),
        main_disk=LOGS_BYTES + (0 if in_memory else work + out),
        sidecar_memory=byte_count(settings.sidecar.memory),
        sidecar_disk=LOGS_BYTES + inputs + buffer,
    )


def pod_volumes(
    found: Sizes,
    settings: KubernetesSettings,
    *,
    secret: str,
    mounts: list[Mount],
    inject: bool,
    environment: Environment | None = None,
) -> list[Manifest]:
    """The pod's ``volumes``."""
    scratch = "Memory" if settings.scratch == "memory" else ""
    volumes = [
        _empty("in", found.inputs),
        _empty("out", found.out, scratch),
        _empty("work", found.work, scratch),
        _empty("shm", found.shm, "Memory"),
        _empty("buffer", found.buffer),
        {"name": "orders", "secret": {"secretName": secret, "defaultMode": 0o440}},
    ]
    if inject:
        volumes.append(_empty("runner", RUNNER_BYTES))
    if environment is not None:
        claim = {"claimName": settings.environments.claim, "readOnly": True}
        volumes.append({"name": "environment", "persistentVolumeClaim": claim})
    return volumes + [
        {"name": name, "persistentVolumeClaim": {"claimName": claim_name(mount.allowed), "readOnly": read_only}}
        for name, mount, read_only in _claims(mounts)
    ]


def main_mounts(
    settings: KubernetesSettings, mounts: list[Mount], *, inject: bool, environment: Environment | None = None
) -> list[Manifest]:
    """What the job's own container sees."""
    found: list[Manifest] = [
        {"name": "in", "mountPath": IN, "readOnly": True},
        {"name": "out", "mountPath": OUT},
        {"name": "work", "mountPath": WORK, "subPath": "work"},
        {"name": "work", "mountPath": TMP, "subPath": "tmp"},
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - a volume of the pod's own
    ]
    if inject:
        found.append({"name": "runner", "mountPath": settings.home, "readOnly": True})
    if environment is not None:
        path = f"{top(settings)}/{environment.folder}/root"
        found.append({"name": "environment", "mountPath": ENVIRONMENT, "subPath": path, "readOnly": True})
    for mount in mounts:
        seen: Manifest = {"name": _volume(mount.allowed), "mountPath": mount.mount_path, "readOnly": mount.read_only}
        found.append(seen | ({"subPath": mount.sub_path} if mount.sub_path else {}))
    return found


def top(settings: KubernetesSettings) -> str:
    """The folder of the claim of environments that is this installation's."""
    return f"trainjob-{settings.installation_label}"


def sidecar_mounts() -> list[Manifest]:
    """What the sidecar sees: it never writes where the job does."""
    return [
        {"name": "in", "mountPath": IN},
        {"name": "out", "mountPath": OUT, "readOnly": True},
        {"name": "work", "mountPath": WORK, "subPath": "work", "readOnly": True},
        {"name": "buffer", "mountPath": BUFFER},
        {"name": "orders", "mountPath": ORDERS, "readOnly": True},
    ]


def claim_name(allowed: AllowedVolume) -> str:
    """Its PersistentVolumeClaim. That of an NFS share is ours: a pod under ``restricted`` may mount no share itself."""
    return allowed.claim or _share_name(allowed)


def share(allowed: AllowedVolume, settings: KubernetesSettings) -> list[Manifest]:
    """The PersistentVolume and the claim by which pods reach an NFS share; empty for what is a claim already."""
    if allowed.nfs is None:
        return []
    name = f"{settings.namespace}-{_share_name(allowed)}"
    size = {"storage": "1Ti"}  # NFS holds no size; a claim and its volume must name the same
    modes = ["ReadWriteMany"] if allowed.writable else ["ReadOnlyMany"]
    labels = {MANAGED_BY: MANAGER, INSTALLATION: settings.installation_label}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": _share_name(allowed), "namespace": settings.namespace, "labels": labels},
        "spec": {"accessModes": modes, "storageClassName": "", "volumeName": name, "resources": {"requests": size}},
    }
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "accessModes": modes,
            "capacity": size,
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": settings.namespace, "name": _share_name(allowed)},
            "nfs": {**_nfs(allowed.nfs), "readOnly": not allowed.writable},
        },
    }
    return [volume, claim]


def _nfs(shared: NfsShare) -> Manifest:
    return {"server": shared.server, "path": shared.path}


def _share_name(allowed: AllowedVolume) -> str:
    text = f"{allowed.nfs.server}:{allowed.nfs.path}:{allowed.writable}" if allowed.nfs else ""
    return f"nfs-{slug(allowed.name, 40)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _claims(mounts: list[Mount]) -> list[tuple[str, Mount, bool]]:
    """Each volume once, read-only where nobody writes into it."""
    found: dict[str, tuple[str, Mount, bool]] = {}
    for mount in mounts:
        name = _volume(mount.allowed)
        before = found.get(name)
        found[name] = (name, mount, mount.read_only and (before is None or before[2]))
    return list(found.values())


def _volume(allowed: AllowedVolume) -> str:
    return f"volume-{allowed.name}"


def _empty(name: str, size: int, medium: str = "") -> Manifest:
    return {
        "name": name,
        "emptyDir": {"sizeLimit": format_bytes(size)} | ({"medium": medium} if medium else {}),
    }
