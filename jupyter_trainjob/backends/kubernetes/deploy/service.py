"""The service that everybody's Jupyter server forwards to: its configuration, its disk, its pods, its address. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from kubernetes.aio import client as k

from ..settings import KubernetesSettings
from . import pods
from .marks import DATA, OBJECT, SERVICE, metadata, of_component
from .settings import DeploySettings

CONFIGURATION, ETC, DATA_DIR = "jupyter_server_config.json", "/etc/jupyter", "/data"
STORE_KEYS, TOKENS = "/etc/trainjob/store", "/etc/trainjob/tokens"
STORE_FILE, TOKEN_FILE, DATABASE_KEY = "credentials", "tokens.yaml", "url"
"""Keys of the Secrets that an operator makes."""
DB_VARIABLE = "JUPYTER_TRAINJOB_DB_URL"
STORE_CA, PODS_CA = "store-ca.crt", "pods-ca.crt"
READY, ALIVE = "/trainjob/api/v1/readyz", "/trainjob/api/v1/healthz"
CONFIG_DIGEST = "jupyter-trainjob/configuration"
"""Annotation of the pods: a changed configuration makes new ones."""


def configuration(
    given: Mapping[str, Mapping[str, Any]],
    backend: str,
    settings: KubernetesSettings,
    deploy: DeploySettings,
    files: Mapping[str, str],
    *,
    store_url: str,
) -> dict[str, str]:
    """The files of the service's Secret. ``given``: class → trait → value, as the operator set them here.

    What is true of this machine only (folders, a kubeconfig, the record's URL) is replaced by what is true of the pod.
    ``files``: certificates, by :data:`STORE_CA` and :data:`PODS_CA`. ``store_url``: the store's as pods see it.
    """
    extension = {**given.get("TrainJobExtension", {})}
    for name in ("data_dir", "db_url", "remote_url", "remote_token", "local_user", "kernel_access"):
        extension.pop(name, None)
    options = dict(extension.get("backends", {}).get(backend, {}))
    own = {**given.get("KubernetesBackendSettings", {}), **options}
    for name in ("kubeconfig", "context", "store_ca_file", "type"):
        own.pop(name, None)
    if PODS_CA in files:
        own["store_ca_file"] = f"{ETC}/{PODS_CA}"
    extension["backends"] = {backend: {"type": "kubernetes"}}
    store = {**given.get("ObjectStoreSettings", {})}
    for name in ("pod_url", "ca_file"):
        store.pop(name, None)
    store |= {"url": store_url, "credentials_file": f"{STORE_KEYS}/{STORE_FILE}"}
    if STORE_CA in files:
        store["ca_file"] = f"{ETC}/{STORE_CA}"
    sections = {
        "ServerApp": {**deploy.server_options},
        "TrainJobExtension": extension,
        "KubernetesBackendSettings": {**own, "namespace": settings.namespace},
        "ObjectStoreSettings": store,
        "SchedulingSettings": {**given.get("SchedulingSettings", {})},
        "KubernetesDeploySettings": _for_the_doctor(deploy),
        "FileIdentityProvider": {"token_file": f"{TOKENS}/{TOKEN_FILE}"},
    }
    text = json.dumps({name: section for name, section in sections.items() if section}, indent=2, sort_keys=True)
    return {CONFIGURATION: f"{text}\n", **files}


def _for_the_doctor(deploy: DeploySettings) -> dict[str, Any]:
    """What of the deployment matters to what the server may do: so that the doctor in its pod knows."""
    usual = {"kueue": False, "all_pods": True, "leave_out": ()}
    return {
        name: list(value) if name == "leave_out" else value
        for name, default in usual.items()
        if (value := getattr(deploy, name)) != default
    }


def secret(settings: KubernetesSettings, files: Mapping[str, str]) -> k.V1Secret:
    """All of the configuration: passwords of package indexes may stand anywhere in it, in addresses above all.

    ``data`` and not ``stringData``: what is no longer wanted of the latter would stay.
    """
    data = {name: base64.b64encode(text.encode()).decode() for name, text in files.items()}
    return k.V1Secret(
        api_version="v1", kind="Secret", metadata=metadata(settings, OBJECT, SERVICE), type="Opaque", data=data
    )


def claim(settings: KubernetesSettings, deploy: DeploySettings) -> k.V1PersistentVolumeClaim:
    """The disk of the record, where that is SQLite."""
    return _claim(metadata(settings, DATA, SERVICE), "ReadWriteOnce", deploy.storage_class, deploy.storage)


def environments(settings: KubernetesSettings, deploy: DeploySettings) -> k.V1PersistentVolumeClaim:
    """The disk of the environments of jobs' requirements, which pods on all nodes see."""
    found, rules = metadata(settings, settings.environments.claim), settings.environments
    return _claim(found, "ReadWriteMany", deploy.environments_storage_class, rules.all_disk)


def _claim(found: k.V1ObjectMeta, mode: str, storage_class: str, size: str) -> k.V1PersistentVolumeClaim:
    return k.V1PersistentVolumeClaim(
        api_version="v1",
        kind="PersistentVolumeClaim",
        metadata=found,
        spec=k.V1PersistentVolumeClaimSpec(
            access_modes=[mode],
            storage_class_name=storage_class or None,
            resources=k.V1VolumeResourceRequirements(requests={"storage": size}),
        ),
    )


def address(settings: KubernetesSettings, deploy: DeploySettings) -> k.V1Service:
    """Where it is reached in the cluster. Who forwards to it stays at one pod as long as that lives."""
    return k.V1Service(
        api_version="v1",
        kind="Service",
        metadata=metadata(settings, OBJECT, SERVICE),
        spec=k.V1ServiceSpec(
            type="ClusterIP",
            selector=of_component(settings, SERVICE),
            session_affinity="ClientIP",
            ports=[k.V1ServicePort(name="http", port=deploy.port, target_port="http", protocol="TCP")],
        ),
    )


def deployment(settings: KubernetesSettings, deploy: DeploySettings, data: Mapping[str, str]) -> k.V1Deployment:
    """One pod with a disk, or several that share a database. ``data``: the configuration: a change is seen."""
    selected = of_component(settings, SERVICE)
    digest = hashlib.sha256(json.dumps(dict(data), sort_keys=True).encode()).hexdigest()
    shared = bool(deploy.database_secret)
    strategy = (
        k.V1DeploymentStrategy(
            type="RollingUpdate", rolling_update=k.V1RollingUpdateDeployment(max_surge=1, max_unavailable=0)
        )
        if shared
        else k.V1DeploymentStrategy(type="Recreate")
    )
    return k.V1Deployment(
        api_version="apps/v1",
        kind="Deployment",
        metadata=metadata(settings, OBJECT, SERVICE),
        spec=k.V1DeploymentSpec(
            replicas=deploy.replicas,
            revision_history_limit=3,
            selector=k.V1LabelSelector(match_labels=selected),
            strategy=strategy,
            template=k.V1PodTemplateSpec(
                metadata=k.V1ObjectMeta(labels=selected, annotations={CONFIG_DIGEST: digest}),
                spec=_pod(settings, deploy, shared=shared),
            ),
        ),
    )


def _pod(settings: KubernetesSettings, deploy: DeploySettings, *, shared: bool) -> k.V1PodSpec:
    spread = k.V1TopologySpreadConstraint(
        max_skew=1,
        topology_key="kubernetes.io/hostname",
        when_unsatisfiable="ScheduleAnyway",
        label_selector=k.V1LabelSelector(match_labels=of_component(settings, SERVICE)),
    )
    return k.V1PodSpec(
        service_account_name=deploy.account,
        automount_service_account_token=True,
        enable_service_links=False,
        termination_grace_period_seconds=60,
        dns_policy="Default" if settings.dns_policy == "Default" else "ClusterFirst",
        security_context=pods.unprivileged(),
        image_pull_secrets=pods.pull_secrets(settings),
        topology_spread_constraints=[spread] if deploy.replicas > 1 else None,
        containers=[_container(settings, deploy, shared=shared)],
        volumes=_volumes(deploy, shared=shared),
    )


def _container(settings: KubernetesSettings, deploy: DeploySettings, *, shared: bool) -> k.V1Container:
    environment = []
    if shared:
        source = k.V1SecretKeySelector(name=deploy.database_secret, key=DATABASE_KEY)
        environment.append(k.V1EnvVar(name=DB_VARIABLE, value_from=k.V1EnvVarSource(secret_key_ref=source)))
    return k.V1Container(
        name=SERVICE,
        image=settings.pinned(deploy.service_image),
        image_pull_policy=settings.pull_policy,
        args=[
            "serve",
            "--ServerApp.ip=0.0.0.0",
            f"--ServerApp.port={deploy.port}",
            f"--TrainJobExtension.data_dir={DATA_DIR}",
        ],
        env=environment or None,
        ports=[k.V1ContainerPort(name="http", container_port=deploy.port, protocol="TCP")],
        startup_probe=_probe(ALIVE, deploy, every=2, times=150),
        readiness_probe=_probe(READY, deploy, every=5, times=3),
        liveness_probe=_probe(ALIVE, deploy, every=20, times=6),
        termination_message_policy="FallbackToLogsOnError",  # for the doctor: why it does not start
        security_context=pods.contained(),
        resources=pods.resources(
            deploy.service_resources["cpu"],
            deploy.service_resources["memory"],
            cpu_limit=deploy.service_resources["cpu_limit"],
        ),
        volume_mounts=[
            k.V1VolumeMount(name="data", mount_path=DATA_DIR),
            k.V1VolumeMount(name="tmp", mount_path="/tmp"),  # noqa: S108 - a volume of the pod's own
            k.V1VolumeMount(name="configuration", mount_path=ETC, read_only=True),
            k.V1VolumeMount(name="store", mount_path=STORE_KEYS, read_only=True),
            k.V1VolumeMount(name="tokens", mount_path=TOKENS, read_only=True),
        ],
    )


def _probe(path: str, deploy: DeploySettings, *, every: int, times: int) -> k.V1Probe:
    base = str(deploy.server_options.get("base_url", "/")).strip("/")
    whole = f"/{base}{path}" if base else path
    return k.V1Probe(
        http_get=k.V1HTTPGetAction(path=whole, port="http"),
        period_seconds=every,
        timeout_seconds=5,
        failure_threshold=times,
    )


def _volumes(deploy: DeploySettings, *, shared: bool) -> list[k.V1Volume]:
    kept = k.V1PersistentVolumeClaimVolumeSource(claim_name=DATA)
    data = (
        k.V1Volume(name="data", empty_dir=k.V1EmptyDirVolumeSource(size_limit=deploy.storage))
        if shared
        else k.V1Volume(name="data", persistent_volume_claim=kept)
    )
    return [
        data,
        k.V1Volume(name="tmp", empty_dir=k.V1EmptyDirVolumeSource(size_limit="1Gi")),
        _secret("configuration", OBJECT),
        _secret("store", deploy.store_secret),
        _secret("tokens", deploy.token_secret),
    ]


def _secret(name: str, of: str) -> k.V1Volume:
    return k.V1Volume(name=name, secret=k.V1SecretVolumeSource(secret_name=of, default_mode=0o440))
