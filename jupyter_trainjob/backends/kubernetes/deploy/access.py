"""The namespace, the server's account and its rights. Pure."""

from __future__ import annotations

from kubernetes.aio import client as k

from ..settings import KubernetesSettings
from . import rights
from .marks import SERVER, metadata
from .settings import DeploySettings

POD_SECURITY = "pod-security.kubernetes.io"
LEVEL = "restricted"
RBAC = "rbac.authorization.k8s.io"


def namespace(settings: KubernetesSettings, deploy: DeploySettings) -> k.V1Namespace:
    """Pods that are not ``restricted`` are refused there, warned of and noted."""
    security = {}
    for mode in ("enforce", "warn", "audit"):
        security[f"{POD_SECURITY}/{mode}"] = LEVEL
        security[f"{POD_SECURITY}/{mode}-version"] = deploy.pod_security_version
    return k.V1Namespace(
        api_version="v1",
        kind="Namespace",
        metadata=metadata(settings, settings.namespace, cluster=True, labels=security),
    )


def account(settings: KubernetesSettings, deploy: DeploySettings) -> k.V1ServiceAccount:
    """Whom the service runs as. Nothing gets its token by itself: the service's pod asks for it."""
    return k.V1ServiceAccount(
        api_version="v1",
        kind="ServiceAccount",
        metadata=metadata(settings, deploy.account, SERVER),
        automount_service_account_token=False,
    )


def role(settings: KubernetesSettings, deploy: DeploySettings) -> k.V1Role:
    """What the server does in the namespace of the jobs."""
    return k.V1Role(
        api_version=f"{RBAC}/v1",
        kind="Role",
        metadata=metadata(settings, deploy.account, SERVER),
        rules=_rules(deploy, cluster=False),
    )


def binding(settings: KubernetesSettings, deploy: DeploySettings) -> k.V1RoleBinding:
    """The account has the role."""
    return k.V1RoleBinding(
        api_version=f"{RBAC}/v1",
        kind="RoleBinding",
        metadata=metadata(settings, deploy.account, SERVER),
        role_ref=k.V1RoleRef(api_group=RBAC, kind="Role", name=deploy.account),
        subjects=[_subject(settings, deploy)],
    )


def cluster_role(settings: KubernetesSettings, deploy: DeploySettings) -> k.V1ClusterRole:
    """What the server reads of the cluster. It changes nothing there."""
    return k.V1ClusterRole(
        api_version=f"{RBAC}/v1",
        kind="ClusterRole",
        metadata=metadata(settings, cluster_name(settings, deploy), SERVER, cluster=True),
        rules=_rules(deploy, cluster=True),
    )


def cluster_binding(settings: KubernetesSettings, deploy: DeploySettings) -> k.V1ClusterRoleBinding:
    """The account has the cluster role."""
    name = cluster_name(settings, deploy)
    return k.V1ClusterRoleBinding(
        api_version=f"{RBAC}/v1",
        kind="ClusterRoleBinding",
        metadata=metadata(settings, name, SERVER, cluster=True),
        role_ref=k.V1RoleRef(api_group=RBAC, kind="ClusterRole", name=name),
        subjects=[_subject(settings, deploy)],
    )


def cluster_name(settings: KubernetesSettings, deploy: DeploySettings) -> str:
    """Of the objects that are in no namespace: several installations may share a cluster."""
    return f"{deploy.account}-{settings.namespace}"


def _subject(settings: KubernetesSettings, deploy: DeploySettings) -> k.RbacV1Subject:
    return k.RbacV1Subject(kind="ServiceAccount", name=deploy.account, namespace=settings.namespace)


def _rules(deploy: DeploySettings, *, cluster: bool) -> list[k.V1PolicyRule]:
    return [
        k.V1PolicyRule(api_groups=[group], resources=[resource], verbs=verbs)
        for group, resource, verbs in rights.rules(
            rights.wanted(kueue=deploy.kueue, all_pods=deploy.all_pods), cluster=cluster
        )
    ]
