"""Profile: a ready choice of environment, resources and limits, with a name. Cluster-wide."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .base import Model, Resource, Status
from .isolation import Isolation
from .trainjob import Environment, Network, Resources


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
    network: Network = Field(default_factory=Network)
    minimum_isolation: Literal[""] | Isolation = ""


class ProfileStatus(Status):
    """What is."""


class Profile(Resource):
    """A profile."""

    PLURAL: ClassVar[str] = "profiles"
    NAMESPACED: ClassVar[bool] = False

    kind: Literal["Profile"] = "Profile"
    spec: ProfileSpec = Field(default_factory=ProfileSpec)
    status: ProfileStatus = Field(default_factory=ProfileStatus)
