"""Pods that try what pods can do: one listens, others try to reach it and the store, one for each further image.

First as pods of jobs are: nothing may be reached but the store. Then with a policy of the trial's own that opens the
port: what is open now was closed by policy before, and not by accident.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from kubernetes.aio import client as k

from ...base import BackendError
from ..connect import Connection, Refused, Reply
from ..deploy import pods
from ..deploy.marks import of_jobs
from ..deploy.plan import wire
from ..reading import Object, container, meta, part, status
from ..settings import KubernetesSettings

PROBE = "jupyter-trainjob/probe"
"""Label of the pods of one trial."""
PORT = 8000
"""Of the one that listens."""
POLL_SECONDS = 0.5
PULL_SECONDS = 120.0
POLICY_SECONDS = 30.0
"""So long a network plugin may take to open what a policy opens."""
LIFE_SECONDS = 600
"""After this the cluster ends what a doctor that was killed left."""
_BAD_IMAGE = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError")
_POLICIES = "/apis/networking.k8s.io/v1/namespaces"


@dataclass(frozen=True)
class Seen:
    """What came of one pod. ``problem``: why it never ran; ``words``: what it said at its end."""

    problem: str = ""
    node: str = ""
    words: str = ""
    created: str = ""
    """By the API server's clock."""
    forbidden: bool = False
    """It was not made, because whoever asked may not make pods."""


class Trial:
    """The objects of one trial. Removed by :meth:`clear`, whatever became of it."""

    def __init__(self, api: Connection, settings: KubernetesSettings) -> None:
        self.api, self.settings = api, settings
        self.name = f"trainjob-probe-{secrets.token_hex(4)}"
        self._pods: list[str] = []
        self._opened = False

    async def open_port(self) -> bool:
        """Let pods of the trial reach :data:`PORT` of each other from now on; False where we may not."""
        selector = k.V1LabelSelector(match_labels={PROBE: self.name})
        peers = [k.V1NetworkPolicyPeer(pod_selector=selector)]
        ports = [k.V1NetworkPolicyPort(port=PORT, protocol="TCP")]
        policy = k.V1NetworkPolicy(
            api_version="networking.k8s.io/v1",
            kind="NetworkPolicy",
            metadata=k.V1ObjectMeta(name=self.name, namespace=self.settings.namespace),
            spec=k.V1NetworkPolicySpec(
                pod_selector=selector,
                policy_types=["Ingress", "Egress"],
                ingress=[k.V1NetworkPolicyIngressRule(var_from=peers, ports=ports)],
                egress=[k.V1NetworkPolicyEgressRule(to=peers, ports=ports)],
            ),
        )
        try:
            reply = await self.api.request(
                "POST", f"{_POLICIES}/{self.settings.namespace}/networkpolicies", body=wire(policy)
            )
        except Refused as refused:
            if refused.status != 403:
                raise
            return False
        self._opened = reply.ok
        return reply.ok

    async def listener(self) -> tuple[str, Seen]:
        """The address of a pod that listens, or why there is none."""
        name = f"{self.name}-listens"
        seen = await self._start(name, self._source("serve", str(PORT)), self.settings.helper_image)
        if seen is not None:
            return "", seen
        pod, problem = await self._until(name, lambda pod: bool(part(container(pod, "main"), "running")))
        address = str(status(pod).get("podIP") or "")
        return address, Seen(problem or ("" if address else "it has no address"))

    async def look(self, told: dict[str, Any]) -> Seen:
        """A pod that tries what pods of jobs reach, until its end."""
        command = self._source("look", json.dumps({"port": PORT, **told}))
        return await self._to_its_end(f"{self.name}-looks", command, self.settings.helper_image)

    async def wait(self, address: str) -> Seen:
        """A pod that waits for the port to be open."""
        command = self._source("wait", json.dumps({"host": address, "port": PORT, "seconds": POLICY_SECONDS}))
        return await self._to_its_end(f"{self.name}-waits", command, self.settings.helper_image)

    async def image(self, number: int, image: str) -> Seen:
        """A pod of ``image`` that ends at once."""
        return await self._to_its_end(f"{self.name}-image-{number}", ["true"], image)

    async def clear(self) -> None:
        """Remove all of it."""
        paths = [self._path(name) for name in self._pods]
        if self._opened:  # first what opens a port
            paths.insert(0, f"{_POLICIES}/{self.settings.namespace}/networkpolicies/{self.name}")
        problem: BackendError | None = None
        for path in paths:
            try:
                await self.api.request("DELETE", path, body={"gracePeriodSeconds": 0})
            except BackendError as error:  # the rest is to go all the same
                problem = error
        if problem is not None:
            raise problem

    def _source(self, *words: str) -> list[str]:
        source = files(__package__).joinpath("inpod.py").read_text("utf-8")
        return [self.settings.python, "-I", "-c", source, *words]

    async def _to_its_end(self, name: str, command: list[str], image: str) -> Seen:
        seen = await self._start(name, command, image)
        if seen is not None:
            return seen
        pod, problem = await self._until(name, lambda pod: status(pod).get("phase") in ("Succeeded", "Failed"))
        ended = part(container(pod, "main"), "terminated")
        if not problem and ended.get("exitCode") != 0:
            problem = str(
                ended.get("message") or status(pod).get("message") or f"it ended with {ended.get('exitCode')}"
            )
        node = str((pod.get("spec") or {}).get("nodeName") or "")
        return Seen(problem, node, str(ended.get("message") or ""), str(meta(pod).get("creationTimestamp") or ""))

    async def _start(self, name: str, command: list[str], image: str) -> Seen | None:
        """None where the pod was made."""
        pod = wire(_pod(self.settings, name, {**of_jobs(self.settings), PROBE: self.name}, command, image))
        try:
            reply: Reply = await self.api.request("POST", self._path(), body=pod)
        except Refused as refused:
            return Seen(str(refused), forbidden="cannot create resource" in str(refused))
        if not reply.ok:
            return Seen(str(reply.body.get("message") or reply.body.get("reason") or reply.code))
        self._pods.append(name)
        return None

    async def _until(self, name: str, good: Any) -> tuple[Object, str]:
        """The pod as it is then, and why it will not get there."""
        until = time.monotonic() + PULL_SECONDS
        while True:
            reply = await self.api.request("GET", self._path(name))
            if not reply.ok:
                return {}, "somebody removed the pod, or its node was emptied"
            pod = reply.body
            waiting = part(container(pod, "main"), "waiting")
            if good(pod):
                return pod, ""
            if waiting.get("reason") in _BAD_IMAGE:
                return pod, f"{waiting.get('reason')}: {waiting.get('message') or 'no reason given'}"
            if status(pod).get("phase") in ("Failed", "Succeeded"):
                return pod, str(status(pod).get("message") or status(pod).get("reason") or "it has ended")
            if time.monotonic() > until:
                return pod, _held_up(pod, waiting)
            await asyncio.sleep(POLL_SECONDS)

    def _path(self, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.settings.namespace}/pods" + (f"/{name}" if name else "")


def _held_up(pod: Object, waiting: Object) -> str:
    told = [item for item in status(pod).get("conditions") or [] if item.get("status") == "False"]
    why = waiting.get("reason") or next((item["message"] for item in told if item.get("message")), "no reason given")
    return f"it has not come up within {PULL_SECONDS:.0f} s ({why})"


def _pod(settings: KubernetesSettings, name: str, labels: dict[str, str], command: list[str], image: str) -> k.V1Pod:
    main = k.V1Container(
        name="main",
        image=settings.pinned(image),
        image_pull_policy=settings.pull_policy,
        command=command,
        env=[k.V1EnvVar(name="TMPDIR", value="/scratch")],
        security_context=pods.contained(),
        resources=pods.resources("50m", "64Mi", cpu_limit="500m"),
        volume_mounts=[k.V1VolumeMount(name="scratch", mount_path="/scratch")],
    )
    return k.V1Pod(
        api_version="v1",
        kind="Pod",
        metadata=k.V1ObjectMeta(name=name, namespace=settings.namespace, labels=labels),
        spec=k.V1PodSpec(
            restart_policy="Never",
            active_deadline_seconds=LIFE_SECONDS,
            automount_service_account_token=False,
            enable_service_links=False,
            termination_grace_period_seconds=1,
            dns_policy=settings.dns_policy,
            dns_config=k.V1PodDNSConfig(nameservers=["127.0.0.1"]) if settings.dns_policy == "None" else None,
            security_context=pods.unprivileged(),
            node_selector=dict(settings.node_selector) or None,
            tolerations=pods.tolerations(settings),
            image_pull_secrets=pods.pull_secrets(settings),
            runtime_class_name=settings.runtime_class or None,
            containers=[main],
            volumes=[k.V1Volume(name="scratch", empty_dir=k.V1EmptyDirVolumeSource(size_limit="16Mi"))],
        ),
    )
