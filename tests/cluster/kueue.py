"""Kueue in a test cluster: what its own kustomization says, changed where this cluster is not the usual one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .cluster import Cluster

IMAGE = "localhost/trainjob-tests/kueue:v0.16.2"
WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
# Without these nobody notices that Kueue is gone; what else there is of it, a namespace and types, does nothing.
TAKEN_AWAY = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations", "apiservices", "deployments")


def install(cluster: Cluster) -> None:
    """Return when Kueue admits jobs; some ten seconds. Doing it again is no error."""
    cluster.import_image(cluster.images / "kueue.tar")
    cluster.apply(*manifests(cluster.images / "kueue.yaml"))
    cluster.kubectl("-n", "kueue-system", "rollout", "status", "deployment/kueue-controller-manager", "--timeout=120s")


def remove(cluster: Cluster) -> None:
    """Take Kueue out of the way of whoever creates jobs."""
    for kind in TAKEN_AWAY:
        cluster.kubectl("-n", "kueue-system", "delete", kind, "-l", "app.kubernetes.io/name=kueue", "--wait=false")


def manifests(file: Path) -> list[dict[str, Any]]:
    """The objects of ``kubectl kustomize config/default``, ready for a small cluster of one node."""
    with file.open() as text:
        objects = [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]
    for one in objects:
        if one["kind"] == "Deployment":
            _small(one["spec"]["template"]["spec"]["containers"][0])
        elif one["kind"] == "ConfigMap":
            one["data"] = {name: _configuration(text) for name, text in one["data"].items()}
        elif one["kind"] in WEBHOOKS:
            one["webhooks"] = [hook for hook in one["webhooks"] if _is_about_jobs(hook)]
    return objects


def _small(container: dict[str, Any]) -> None:
    container["image"] = IMAGE
    container["imagePullPolicy"] = "Never"
    container["resources"]["requests"]["cpu"] = "50m"
    container["readinessProbe"] |= {"initialDelaySeconds": 1, "periodSeconds": 1}


def _configuration(text: str) -> str:
    """One replica needs no election; of the kinds of jobs, only Kubernetes' own is installed here."""
    configuration = yaml.safe_load(text)
    configuration["leaderElection"]["leaderElect"] = False
    configuration["integrations"]["frameworks"] = ["batch/job"]
    return yaml.safe_dump(configuration)


def _is_about_jobs(hook: dict[str, Any]) -> bool:
    groups = {group for rule in hook["rules"] for group in rule["apiGroups"]}
    return groups <= {"batch", "kueue.x-k8s.io"}


def queue(namespace: str, *, cpu: str, memory: str) -> list[dict[str, Any]]:
    """A LocalQueue ``jobs`` in ``namespace`` whose jobs may use so much at once, in quantities of Kubernetes.

    Kueue admits no job that asks for anything the queue does not cover: so disk is covered as well, with plenty.
    """
    version = "kueue.x-k8s.io/v1beta2"
    quota = {"cpu": cpu, "memory": memory, "ephemeral-storage": "1Ti"}
    resources = [{"name": name, "nominalQuota": amount} for name, amount in quota.items()]
    group = {"coveredResources": list(quota), "flavors": [{"name": namespace, "resources": resources}]}
    cluster_queue = {
        "namespaceSelector": {},
        "queueingStrategy": "BestEffortFIFO",
        "preemption": {"withinClusterQueue": "LowerPriority"},
        "resourceGroups": [group],
    }
    return [
        {"apiVersion": version, "kind": "ResourceFlavor", "metadata": {"name": namespace}},
        {"apiVersion": version, "kind": "ClusterQueue", "metadata": {"name": namespace}, "spec": cluster_queue},
        {
            "apiVersion": version,
            "kind": "LocalQueue",
            "metadata": {"name": "jobs", "namespace": namespace},
            "spec": {"clusterQueue": namespace},
        },
    ]
