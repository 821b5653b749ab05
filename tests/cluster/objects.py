"""Objects that tests create, in wire form, as a namespace under Pod Security ``restricted`` takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

RESTRICTED = {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def namespace(name: str) -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "trainjob-tests": "true"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod_spec(command: Sequence[str], image: str, pull_policy: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": list(command),
        "securityContext": CONTAINED,
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}},
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "dnsPolicy": "Default",  # there may be no DNS in the cluster
        "terminationGracePeriodSeconds": 1,
        "securityContext": RESTRICTED,
        "containers": [container],
    }


def pod(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def job(name: str, spec: dict[str, Any], **more: object) -> dict[str, Any]:
    """``more`` goes into the Job's spec, as ``suspend=True``."""
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template, **more},
    }


def policy(name: str, selects: str, allows: str | None = None, *, port: int = 8000) -> dict[str, Any]:
    """Who may come in to pods labelled ``app: selects``: nobody, or only pods labelled ``app: allows`` on one port."""
    spec: dict[str, Any] = {"podSelector": {"matchLabels": {"app": selects}}, "policyTypes": ["Ingress"]}
    if allows is not None:
        peers = [{"podSelector": {"matchLabels": {"app": allows}}}]
        spec["ingress"] = [{"from": peers, "ports": [{"protocol": "TCP", "port": port}]}]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}
