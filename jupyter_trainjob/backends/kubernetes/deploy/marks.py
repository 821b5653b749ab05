"""Names and labels of what ``deploy`` makes. Pods of jobs bear others: policies tell them apart by these. Pure."""

from __future__ import annotations

from kubernetes.aio import client as k

from ..objects import INSTALLATION, MANAGED_BY, MANAGER
from ..settings import KubernetesSettings
from .settings import OBJECT as OBJECT

DEPLOYER = "jupyter-trainjob-deploy"
"""The field manager of all that is applied, and who manages it."""
DEPLOYED = "jupyter-trainjob/deployed"
"""Label of the pods of what is deployed. ``INSTALLATION`` marks the pods of jobs: what others have is counted by it."""
COMPONENT = "app.kubernetes.io/component"
NAME = "app.kubernetes.io/name"
SERVICE, IMAGES, SERVER = "service", "images", "server"

DATA = "trainjob-data"
PREPULL = "trainjob-images"
DENY_ALL, TO_STORE, OF_SERVICE, OF_BUILDERS = (
    "trainjob-deny-all",
    "trainjob-store",
    "trainjob-service",
    "trainjob-builders",
)


def labels(settings: KubernetesSettings, component: str = "") -> dict[str, str]:
    """Of an object that is ours."""
    found = {MANAGED_BY: DEPLOYER, NAME: "jupyter-trainjob", INSTALLATION: settings.installation_label}
    return found | ({COMPONENT: component} if component else {})


def of_component(settings: KubernetesSettings, component: str) -> dict[str, str]:
    """What the pods of the service, or of the DaemonSet, are selected by. It can never change."""
    return {DEPLOYED: settings.installation_label, NAME: "jupyter-trainjob", COMPONENT: component}


def of_jobs(settings: KubernetesSettings) -> dict[str, str]:
    """What the pods of jobs are selected by."""
    return {MANAGED_BY: MANAGER, INSTALLATION: settings.installation_label}


def metadata(
    settings: KubernetesSettings, name: str, component: str = "", *, cluster: bool = False, **more: dict[str, str]
) -> k.V1ObjectMeta:
    """``more``: annotations, or further labels. ``cluster``: of an object that is in no namespace."""
    own = labels(settings, component) | more.get("labels", {})
    return k.V1ObjectMeta(
        name=name,
        namespace=None if cluster else settings.namespace,
        labels=own,
        annotations=more.get("annotations"),
    )
