"""Profile: a ready choice of environment, resources and limits, with a name. Cluster-wide."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from .base import Model, Resource, Status
from .images import read_image
from .isolation import Isolation
from .names import is_domain, label_key_error, label_value_error
from .quantity import byte_count
from .trainjob import Environment, Network, Resources
from .volumes import AllowedVolume, astray


def standard_resources() -> Resources:
    """What a job gets where neither it nor its profile says otherwise. Nothing is left open."""
    return Resources(
        cpu="1",
        memory="1Gi",
        gpu=0,
        shm="64Mi",
        disk="2Gi",
        processes=256,
        open_files=1024,
        file_size="2Gi",
        log="64Mi",
    )


def completed(asked: Resources, defaults: Resources) -> Resources:
    """``asked`` with nothing left open: from a profile's ``defaults``, then the standard's.

    A default gives way where it would contradict what was asked for.
    """
    builtin = standard_resources()
    filled = {
        name: next(
            value
            for value in (getattr(asked, name), getattr(defaults, name), getattr(builtin, name))
            if value is not None
        )
        for name in Resources.model_fields
    }
    for part, whole in (("file_size", "disk"), ("shm", "memory")):
        if getattr(asked, part) is None and byte_count(filled[part]) > byte_count(filled[whole]):
            filled[part] = filled[whole]
    return Resources(**filled)


class Toleration(Model):
    """A taint of nodes that jobs of the profile put up with."""

    key: str = Field(default="", description="Empty, with operator Exists: every taint.")
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(default="", description="Empty: all.")

    @model_validator(mode="after")
    def _whole(self) -> Toleration:
        problem = label_key_error(self.key) if self.key else None
        if problem:
            raise ValueError(f"{self.key[:80]!r} is no key of a taint: {problem}")
        if not self.key and self.operator != "Exists":
            raise ValueError("a toleration without a key needs the operator Exists")
        if self.operator == "Exists" and self.value:
            raise ValueError("a toleration with the operator Exists has no value; leave it out, or write Equal")
        if label_value_error(self.value):
            raise ValueError(f"{self.value[:80]!r} is no value of a taint: {label_value_error(self.value)}")
        return self


class Placement(Model):
    """On which nodes of a cluster, and how, jobs run. The backend ``local`` has one machine and looks at none of it."""

    gpu_resource: str = Field(
        default="",
        description="What nodes call their GPUs, such as nvidia.com/gpu; empty: the backend's.",
    )
    node_selector: dict[str, str] = Field(default_factory=dict, description="Labels that a node must have.")
    tolerations: list[Toleration] = Field(default_factory=list, max_length=32)
    runtime_class: str = Field(default="", description="RuntimeClass, such as gvisor; empty: the backend's.")

    @field_validator("gpu_resource")
    @classmethod
    def _gpu_resource(cls, value: str) -> str:
        if value and ("/" not in value or label_key_error(value) or value.split("/")[0].endswith("kubernetes.io")):
            raise ValueError(f"{value[:80]!r} is no extended resource; write a name such as nvidia.com/gpu")
        return value

    @field_validator("node_selector")
    @classmethod
    def _node_selector(cls, value: dict[str, str]) -> dict[str, str]:
        for key, text in value.items():
            problem = label_key_error(key) or label_value_error(text)
            if problem:
                raise ValueError(f"node label {key[:80]}={text[:80]!r}: {problem}")
        return value

    @field_validator("runtime_class")
    @classmethod
    def _runtime_class(cls, value: str) -> str:
        if value and not is_domain(value):
            raise ValueError(f"{value[:80]!r} is no name of a RuntimeClass; write one such as 'gvisor'")
        return value


Reach = Literal["none", "loopback", "host"]
"""What a job can talk to: nothing outside of itself; nothing, with a loopback of its own; what the machine can."""
HOST_NETWORK, OWN_LOOPBACK = "network:host", "network:loopback"
"""What only some backends offer."""


class AllowedNetwork(Model):
    """What those of its jobs may reach that ask for it (``network.mode: profile``); nothing by default."""

    mode: Reach = Field(
        default="none",
        description="host: whatever the machine reaches, services on its loopback and metadata addresses included; "
        "only where the operator allows that in the backend's settings (host_network).",
    )


def reach(network: Network, profile: Profile) -> Reach:
    """What a job with this ``network`` can talk to under ``profile``."""
    return profile.spec.network.mode if network.mode == "profile" else network.mode


class ProfileSpec(Model):
    """What is wanted."""

    description: str = Field(default="", max_length=500)
    queue: str = Field(default="", description="Where its jobs wait, unless the job says otherwise.")
    environment: Environment = Field(default_factory=Environment)
    defaults: Resources = Field(
        default_factory=standard_resources,
        description="What a job gets that asks for nothing.",
    )
    maximum: Resources = Field(default_factory=Resources, description="What a job may ask for at most.")
    time_limit_seconds: int = Field(default=3600, ge=1)
    max_time_limit_seconds: int | None = Field(default=None, ge=1)
    network: AllowedNetwork = Field(default_factory=AllowedNetwork)
    minimum_isolation: Literal[""] | Isolation = ""
    placement: Placement = Field(default_factory=Placement)
    volumes: list[AllowedVolume] = Field(
        default_factory=list, max_length=32, description="What its jobs may mount; nothing else is."
    )

    @field_validator("environment")
    @classmethod
    def _environment(cls, value: Environment) -> Environment:
        if value.image:
            read_image(value.image)
        return value

    @field_validator("volumes")
    @classmethod
    def _volumes(cls, value: list[AllowedVolume]) -> list[AllowedVolume]:
        names = [volume.name for volume in value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two volumes are called {twice!r}; give each a name of its own")
        if problem := astray((repr(volume.name), volume) for volume in value):
            raise ValueError(problem)
        return value


class ProfileStatus(Status):
    """What is."""


class Profile(Resource):
    """A profile."""

    PLURAL: ClassVar[str] = "profiles"
    NAMESPACED: ClassVar[bool] = False

    kind: Literal["Profile"] = "Profile"
    spec: ProfileSpec = Field(default_factory=ProfileSpec)
    status: ProfileStatus = Field(default_factory=ProfileStatus)
