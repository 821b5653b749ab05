"""What an operator sets for ``jupyter trainjob deploy``, as traitlets. Rules and defaults: ``settings``."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from traitlets import Bool, CaselessStrEnum, Dict, Integer, List, Unicode
from traitlets.config import Configurable

from .settings import KUBE_DNS, PARTS, DeploySettings

_PEERS = "as peers of a NetworkPolicy: [{'ipBlock': {'cidr': '10.0.0.5/32'}}]"


class KubernetesDeploySettings(Configurable):
    """What jupyter trainjob deploy makes in a cluster."""

    leave_out = List(
        CaselessStrEnum(tuple(PARTS)),
        help="Parts that somebody else makes: " + "; ".join(f"{name}: {what}" for name, what in PARTS.items()) + ".",
    ).tag(config=True)
    account = Unicode("trainjob-server", help="ServiceAccount of the server, and name of its roles.").tag(config=True)
    kueue = Bool(
        False,
        help="Whether queues hand jobs over to Kueue: the server then also has the rights to look at its objects.",
    ).tag(config=True)
    all_pods = Bool(
        True,
        help="Whether the server may read the pods of all namespaces, to know what others have of the nodes. Without "
        "it a job that finds no room on a node waits there instead of in our queue.",
    ).tag(config=True)
    pod_security_version = Unicode(
        "v1.35",
        help="Version of Pod Security's level restricted that the namespace enforces; older clusters take their own.",
    ).tag(config=True)
    quota = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        default_value={"pods": "200", "services.loadbalancers": "0", "services.nodeports": "0"},
        help="The namespace's ResourceQuota, such as {'requests.cpu': '64', 'requests.memory': '256Gi', 'pods': "
        "'200'}. Jobs wait in our queue where it bounds them.",
    ).tag(config=True)
    container_defaults = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        default_value={"cpu": "500m", "memory": "512Mi"},
        help="What the LimitRange gives to containers that say nothing; ours say all.",
    ).tag(config=True)
    store_peers = List(
        Dict(),
        help=f"Whom pods of jobs may reach, {_PEERS}. Default: the object store's address; for the name of a service "
        "in the cluster its namespace; for another name the addresses that it has when deploy runs.",
    ).tag(config=True)
    store_ports = List(
        Integer(),
        help="Ports of the store's pods. Default: that of its URL, which may be a service's in front of them.",
    ).tag(config=True)
    dns_peers = List(
        Dict(),
        default_value=[KUBE_DNS],
        help="The name servers, which pods of jobs may ask only where the store is told by a name. Default: the pods "
        "k8s-app=kube-dns of kube-system.",
    ).tag(config=True)
    index_peers = List(
        Dict(),
        help=f"The package index that pods which build environments may reach, {_PEERS}. Default: those of "
        "the indexes that the backend's settings name; one with changing addresses, as PyPI, has to be said here.",
    ).tag(config=True)
    index_ports = List(Integer(), [443], help="Ports of the package index.").tag(config=True)
    environments_storage_class = Unicode(
        "",
        help="StorageClass, of volumes that several nodes may write, of KubernetesBackendSettings.environments_claim, "
        "which is then made as large as environments_disk. Default: the claim is made by somebody else.",
    ).tag(config=True)
    prepull_images = List(
        Unicode(), help="Further images that nodes pull beforehand; each has to have the program true."
    ).tag(config=True)
    service_image = Unicode(
        "", help="Image of the service, as jupyter trainjob images build service --push names it."
    ).tag(config=True)
    replicas = Integer(1, min=1, help="Pods of the service. More than one share a record in PostgreSQL.").tag(
        config=True
    )
    service_resources = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        default_value={"cpu": "200m", "cpu_limit": "2", "memory": "1Gi"},
        help="What each of them may use.",
    ).tag(config=True)
    storage = Unicode("10Gi", help="Disk of the service: its record, unless that is in PostgreSQL, and uploads.").tag(
        config=True
    )
    storage_class = Unicode("", help="StorageClass of that disk. Default: the cluster's own.").tag(config=True)
    port = Integer(8890, help="Port of the service.").tag(config=True)
    server_options = Dict(help="Options of ServerApp for the service, such as {'base_url': '/jobs/'}.").tag(config=True)
    store_secret = Unicode(
        "trainjob-store",
        help="Secret with the key 'credentials': the object store's keys, as credentials_file has them.",
    ).tag(config=True)
    token_secret = Unicode(
        "trainjob-tokens", help="Secret with the key 'tokens.yaml': the file that jupyter trainjob token create makes."
    ).tag(config=True)
    database_secret = Unicode(
        "",
        help="Secret with the key 'url': PostgreSQL's URL. Default: none, and an SQLite record on a disk of its own.",
    ).tag(config=True)

    def settings(self, *, without_service: bool = False) -> DeploySettings:
        """``without_service``: leave it out too. Raises :class:`..settings.SettingsError`."""
        given: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(DeploySettings)}
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        if without_service:
            given["leave_out"] = (*given["leave_out"], "service")
        return DeploySettings(**given)
