"""A DaemonSet that has each node pull the images before a job waits for them. Pure."""

from __future__ import annotations

from kubernetes.aio import client as k

from ..settings import KubernetesSettings
from . import pods
from .marks import IMAGES, PREPULL, metadata, of_component
from .settings import DeploySettings


def images(settings: KubernetesSettings, deploy: DeploySettings) -> list[str]:
    """What nodes are to have, as jobs name it."""
    found = [*settings.images.values(), settings.helper_image, *deploy.prepull_images]
    return list(dict.fromkeys(settings.pinned(image) for image in found))


def daemon_set(settings: KubernetesSettings, deploy: DeploySettings) -> k.V1DaemonSet:
    """Each image is an init container that ends at once; then one that is there already sleeps for ever."""
    selected = of_component(settings, IMAGES)
    pod = k.V1PodSpec(
        automount_service_account_token=False,
        enable_service_links=False,
        termination_grace_period_seconds=0,
        dns_policy=settings.dns_policy if settings.dns_policy != "None" else "Default",
        security_context=pods.unprivileged(),
        node_selector=dict(settings.node_selector) or None,
        tolerations=pods.tolerations(settings),
        image_pull_secrets=pods.pull_secrets(settings),
        init_containers=[
            _container(f"image-{number}", image, ["true"], settings)
            for number, image in enumerate(images(settings, deploy))
        ],
        containers=[_container("wait", settings.pinned(settings.helper_image), ["sleep", "infinity"], settings)],
    )
    return k.V1DaemonSet(
        api_version="apps/v1",
        kind="DaemonSet",
        metadata=metadata(settings, PREPULL, IMAGES),
        spec=k.V1DaemonSetSpec(
            selector=k.V1LabelSelector(match_labels=selected),
            template=k.V1PodTemplateSpec(metadata=k.V1ObjectMeta(labels=selected), spec=pod),
        ),
    )


def _container(name: str, image: str, command: list[str], settings: KubernetesSettings) -> k.V1Container:
    return k.V1Container(
        name=name,
        image=image,
        image_pull_policy=settings.pull_policy,
        command=command,
        security_context=pods.contained(),
        resources=pods.resources("5m", "16Mi", cpu_limit="100m"),
    )
