"""The pods that build the environments of jobs, and that remove them. Pure.

One Job an environment, called after its backend's scope and all that decides what comes out. Its pod runs three
containers, one after another:

- ``make`` sees the whole claim, makes a folder of its own in it, and ends,
- ``build`` sees ``root`` of that folder and nothing else of the claim: code of strangers may run here. It runs in the
  image of the jobs, under the path at which they will see it. It holds no credential,
- ``finish`` runs our own code only: it marks the folder as whole and puts what was installed into the object store, by
  a form that is good for one prefix. By then nothing of ``build`` runs any more.

A job gets ``root`` read-only, by ``subPath``: no part of that way was ever writable for a build or a job.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ...resources.images import read_image
from ...resources.quantity import byte_count, cpu_millis, format_bytes, format_cpu
from . import containers, objects
from .settings import KubernetesSettings
from .volumes import ENVIRONMENT, LOGS_BYTES, ORDERS, REQUESTED_DISK, RUNNER_BYTES, Environment, Manifest, top

BUILDS = "jupyter-trainjob/builds"
"""Label of pods and Jobs that are no attempts: the NetworkPolicies tell by it who may reach the package index."""
BUILDING, REMOVING = "environment", "removal"
SCOPE = "jupyter-trainjob/scope"
"""Label of such a Job: the backend that made it. Others may share its namespace, its installation and its claim."""
FOLDER = "jupyter-trainjob/folder"
"""Annotation of such a Job and its pod: the folder that it fills, below :func:`.volumes.top`: ``SCOPE/NAME``."""
LIST = "jupyter-trainjob/list"
"""Annotation, for people: which list of requirements."""
MAKE, BUILD, FINISH = "make", "build", "finish"
CLAIM = "/trainjob/environments"
SCRATCH = "/tmp"  # noqa: S108 - a volume of the pod's own
CREDENTIALS = "/var/run/trainjob-store"
MODULE = "backends/kubernetes/environments_pod.py"
ENDING_SECONDS = 120
"""For the pod to be placed again and to end, behind what the build itself may take."""
_REMOVAL_SECONDS = 3600


@dataclass(frozen=True)
class Wanted:
    """An environment by all that decides what comes out."""

    key: str
    """32 hexadecimal digits."""
    format: str
    text: str
    content: str
    """The digest of the list's normal form alone."""
    image: str
    """What its jobs run in."""
    scope: str
    """Of the backend that builds it, see :mod:`.environments_records`."""

    @property
    def name(self) -> str:
        """Of the Job and the Secret."""
        return f"tj-env-{self.scope}-{self.key}"


def removal_name(scope: str) -> str:
    """Of the Job that removes."""
    return f"tj-env-removal-{scope}"


def found(format: str, folder: str) -> Environment:
    """How a job sees the environment in ``folder``."""
    if format == "renv.lock":
        return Environment(folder, libraries=(f"{ENVIRONMENT}/library",))
    return Environment(folder, interpreter=f"{ENVIRONMENT}/bin/python")


def labels(settings: KubernetesSettings, what: str, scope: str) -> dict[str, str]:
    """Of a Job that is no attempt's, and of its pod."""
    return {
        objects.MANAGED_BY: objects.MANAGER,
        objects.INSTALLATION: settings.installation_label,
        BUILDS: what,
        SCOPE: scope,
    }


def orders(wanted: Wanted, settings: KubernetesSettings, prefix: str) -> dict[str, Any]:
    """``orders.json`` of a build. Whoever's code is built may read them, the index's password included."""
    rules = settings.environments
    return {
        "format": wanted.format,
        "text": wanted.text,
        "pip": dict(rules.pip),
        "builds": rules.builds,
        "rRepositories": list(rules.r_repositories),
        "seconds": rules.seconds,
        "diskBytes": byte_count(rules.disk),
        "memoryBytes": byte_count(rules.memory),
        "prefix": prefix,
    }


def secret(wanted: Wanted, settings: KubernetesSettings, files: dict[str, bytes]) -> Manifest:
    """What the containers read: ``orders.json`` all, the rest ``finish`` alone."""
    return objects.opaque(wanted.name, settings, labels(settings, BUILDING, wanted.scope), files)


def build(wanted: Wanted, settings: KubernetesSettings, folder: str, shown: str, *, ca: bool) -> Manifest:
    """The Job. ``folder``: as in :data:`FOLDER`, never used before. ``shown``: the list, for people."""
    rules = settings.environments
    image, inject = wanted.image, objects.needs_runner(wanted.image, settings)
    disk = byte_count(rules.disk)
    place, claim = f"{top(settings)}/{folder}", {"name": "claim", "mountPath": CLAIM}
    told = {"name": "orders", "mountPath": ORDERS, "readOnly": True}
    building = _container(BUILD, image, settings, inject=inject, cpu=rules.cpu, memory=rules.memory, disk=disk)
    building["volumeMounts"] = [
        {"name": "claim", "mountPath": ENVIRONMENT, "subPath": f"{place}/root"},
        {"name": "scratch", "mountPath": SCRATCH},
        told,
        *([{"name": "runner", "mountPath": settings.home, "readOnly": True}] if inject else []),
    ]
    making, ending = _small(MAKE, settings, place), _small(FINISH, settings, place)
    making["volumeMounts"] = [claim]
    scratch = {"name": "scratch", "mountPath": SCRATCH, "readOnly": True}
    ending["volumeMounts"] = [
        claim,
        scratch,
        told,
        {"name": "credentials", "mountPath": CREDENTIALS, "readOnly": True},
    ]
    pod = {
        "initContainers": [making, *([containers.runner(settings)] if inject else []), building],
        "containers": [ending],
        "volumes": [
            {"name": "claim", "persistentVolumeClaim": {"claimName": rules.claim}},
            {"name": "scratch", "emptyDir": {"sizeLimit": format_bytes(disk)}},
            _files("orders", wanted.name, ["orders.json"]),
            _files("credentials", wanted.name, ["credentials.json", *(["ca.crt"] if ca else [])]),
            *([{"name": "runner", "emptyDir": {"sizeLimit": format_bytes(RUNNER_BYTES)}}] if inject else []),
        ],
    }
    annotations = {FOLDER: folder, LIST: shown}
    seconds = settings.startup_seconds + rules.seconds + ENDING_SECONDS
    return _job(wanted.name, settings, labels(settings, BUILDING, wanted.scope), pod, annotations, seconds)


def removal(settings: KubernetesSettings, scope: str, folders: list[str], known: list[str]) -> Manifest:
    """The Job that removes ``folders``, and of the backend's those that are not ``known`` and have been lying there
    for days.
    """
    mine = f"{scope}/"
    told = {
        "remove": [folder.removeprefix(mine) for folder in folders if folder.startswith(mine)],
        "known": [folder.removeprefix(mine) for folder in known if folder.startswith(mine)],
    }
    removing = _small(REMOVING, settings, f"{top(settings)}/{scope}", json.dumps(told))
    removing["volumeMounts"] = [{"name": "claim", "mountPath": CLAIM}]
    pod = {
        "containers": [removing],
        "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": settings.environments.claim}}],
    }
    return _job(removal_name(scope), settings, labels(settings, REMOVING, scope), pod, {}, _REMOVAL_SECONDS)


def _job(
    name: str,
    settings: KubernetesSettings,
    given: dict[str, str],
    pod: Manifest,
    annotations: dict[str, str],
    seconds: int,
) -> Manifest:
    both = {"labels": given, **({"annotations": annotations} if annotations else {})}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": settings.namespace, **both},
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": seconds,
            "ttlSecondsAfterFinished": settings.ttl_seconds,
            "template": {"metadata": both, "spec": {**_shared(settings), **pod}},
        },
    }


def _shared(settings: KubernetesSettings) -> Manifest:
    """What all these pods have, as jobs have it. They go where jobs may go, without a profile's own tolerations."""
    return {
        **objects.bounded(settings, settings.user_ids[0], [*settings.tolerations]),
        "terminationGracePeriodSeconds": 5,
    }


def _small(what: str, settings: KubernetesSettings, *arguments: str) -> Manifest:
    """A container of our own code in our own image."""
    own = settings.sidecar
    made = _container(what, settings.helper_image, settings, cpu=own.cpu, memory=own.memory, cpu_limit=own.cpu_limit)
    made["command"] += arguments
    return made


def _container(
    what: str,
    image: str,
    settings: KubernetesSettings,
    *,
    cpu: str,
    memory: str,
    cpu_limit: str = "",
    disk: int = 0,
    inject: bool = False,
) -> Manifest:
    limits = {
        "cpu": format_cpu(cpu_millis(cpu_limit or cpu)),
        "memory": format_bytes(byte_count(memory)),
        "ephemeral-storage": format_bytes(disk + LOGS_BYTES),
    }
    requests = {**limits, "cpu": format_cpu(cpu_millis(cpu)), "ephemeral-storage": format_bytes(REQUESTED_DISK)}
    python = settings.injected_python if inject else settings.python
    own = read_image(image).name == read_image(settings.helper_image).name
    return {
        **containers.common(what, settings.pinned(image) if own else image, settings),
        "command": [python, "-I", f"{settings.package}/{MODULE}", what],
        "env": [{"name": "LANG", "value": "C.UTF-8"}, {"name": "TMPDIR", "value": SCRATCH}],
        "resources": {"requests": requests, "limits": limits},
    }


def _files(volume: str, secret: str, names: list[str]) -> Manifest:
    items = [{"key": name, "path": name} for name in names]
    return {"name": volume, "secret": {"secretName": secret, "defaultMode": 0o440, "items": items}}
