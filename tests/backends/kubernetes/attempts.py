"""Attempts to build objects from: one to read, and any there may be (hypothesis)."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings, Sidecar
from jupyter_trainjob.resources.base import ObjectMeta
from jupyter_trainjob.resources.profile import Profile, standard_resources
from jupyter_trainjob.resources.trainjob import (
    CellSource,
    Environment,
    EnvVar,
    Outputs,
    Resources,
    TrainJob,
    TrainJobSpec,
    Volume,
)

DIGEST = "sha256:" + "d" * 64
IMAGES = {
    "python": "docker.io/trainjob/python:1",
    "r": "docker.io/trainjob/r:1",
    "scala": "docker.io/trainjob/scala:1",
}
SETTINGS = KubernetesSettings(images=IMAGES)
UID = "3f0c9a4e1b7d4c0c8a5e2f6d9b1a7c3e"


def request(
    *,
    attempt: int = 1,
    uid: str = UID,
    owner: str = "ada",
    queue: str = "default",
    profile: dict[str, Any] | None = None,
    **spec: Any,
) -> AttemptRequest:
    """An attempt of a complete job."""
    found = Profile.model_validate({"metadata": {"name": "default"}, "spec": profile or {}})
    spec["resources"] = Resources(**{**standard_resources().model_dump(), **spec.get("resources", {})})
    job = TrainJob(
        metadata=ObjectMeta(name="digits-x7k2p", namespace=owner if owner.isalnum() else "course", uid=uid),
        spec=TrainJobSpec(**{"source": CellSource(code="print(1)"), "time_limit_seconds": 300, "queue": queue, **spec}),
    )
    job.metadata.owner = owner
    return AttemptRequest(AttemptRef(uid, attempt), job, found, "blobs/ada/")


_bytes = st.sampled_from(["64Mi", "100M", "1Gi", "1234567890", "1.5Gi", "64Gi"])
_names = st.text(max_size=300)
_volumes = [
    {"name": "data", "claim": "course-data", "subPath": "sets"},
    {"name": "home", "nfs": {"server": "nfs.example.org", "path": "/export"}, "subPath": "{owner}", "writable": True},
]
_placements = st.fixed_dictionaries(
    {},
    optional={
        "gpuResource": st.sampled_from(["nvidia.com/gpu", "nvidia.com/mig-1g.5gb"]),
        "nodeSelector": st.just({"example.org/pool": "gpu"}),
        "tolerations": st.just([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]),
        "runtimeClass": st.just("gvisor"),
    },
)


@st.composite
def requests(draw: st.DrawFn) -> AttemptRequest:
    """Any attempt."""
    mounts = [
        Volume(name="data", mount_path=draw(st.sampled_from(["", "/mnt/x", "/data"]))),
        Volume(name="home", mount_path="/home/me", read_only=draw(st.booleans())),
    ]
    return request(
        attempt=draw(st.integers(1, 10**6)),
        owner=draw(_names),
        queue=draw(st.text("abc-", min_size=1, max_size=63)),
        profile={"placement": draw(_placements), "volumes": _volumes},
        resources=draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "cpu": st.sampled_from(["100m", "1", "1.5", "0.333", "64"]),
                    "memory": _bytes,
                    "disk": _bytes,
                    "shm": st.sampled_from(["64Mi", "1Gi"]),
                    "gpu": st.integers(0, 8),
                },
            )
        ),
        environment=Environment(
            language=draw(st.sampled_from(["", "python", "r", "scala"])),
            image=draw(st.sampled_from(["", "registry.example.org/course/lab:2026"])),
            env=[EnvVar(name="SECRET_OF_MINE", value=draw(st.text("xyz", max_size=20)))],
        ),
        outputs=Outputs(names=draw(st.sampled_from([[], ["model"]]))),
        volumes=draw(st.sampled_from([[], mounts[:1], mounts])),
        time_limit_seconds=draw(st.integers(1, 30 * 24 * 3600)),
    )


@st.composite
def settings(draw: st.DrawFn) -> KubernetesSettings:
    """Any settings that allow the course's image."""
    return KubernetesSettings(
        namespace=draw(st.sampled_from(["trainjob", "a" * 63])),
        installation=draw(st.text(min_size=1, max_size=200)),
        images=IMAGES,
        allowed_images=("registry.example.org/course/",),
        digests=draw(st.sampled_from([{}, {IMAGES["python"]: DIGEST}])),
        pull_policy=draw(st.sampled_from(["Always", "IfNotPresent", "Never"])),
        pull_secrets=draw(st.sampled_from([(), ("registry",)])),
        node_selector=draw(st.sampled_from([{}, {"example.org/pool": "class"}])),
        runtime_class=draw(st.sampled_from(["", "kata"])),
        priority_class=draw(st.sampled_from(["", "low"])),
        service_account=draw(st.sampled_from(["", "trainjob-job"])),
        dns_policy=draw(st.sampled_from(["ClusterFirst", "Default", "None"])),
        host_users=draw(st.sampled_from([None, False])),
        user_ids=draw(st.sampled_from([(1000, 1000), (100_000, 165_535)])),
        scratch=draw(st.sampled_from(["memory", "disk"])),
        sidecar=draw(st.sampled_from([Sidecar(), Sidecar(cpu="50m", cpu_limit="50m")])),
    )
