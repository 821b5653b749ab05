"""What an operator says about the environments of jobs in a cluster. Checked with the other settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from ...resources.names import is_domain
from ...resources.quantity import byte_count, cpu_millis

Builds = Literal["none", "wheels", "source"]


@dataclass(frozen=True)
class EnvironmentRules:
    """Where the environments of jobs' requirements lie, and how they are built."""

    claim: str = ""
    """PersistentVolumeClaim in the jobs' namespace; empty: none are built."""
    builds: Builds = "wheels"
    """``wheels``: only what runs no code of a package while it is installed, for the pods that build have a network."""
    pip: Mapping[str, str] = field(default_factory=dict)
    r_repositories: tuple[str, ...] = ()
    seconds: int = 1800
    cpu: str = "1"
    memory: str = "2Gi"
    disk: str = "10Gi"
    """What one build may use."""
    all_disk: str = "50Gi"
    days: float = 30.0
    """How much all may take together, and how long one stays that nobody uses."""


def problems(rules: EnvironmentRules) -> Iterator[str]:
    """All that is wrong with them, each with what to write."""
    if rules.claim and not is_domain(rules.claim):
        yield f"environments_claim {rules.claim!r} is no name of a PersistentVolumeClaim"
    if rules.builds not in get_args(Builds):
        yield f"environment_builds {rules.builds!r} is none of {', '.join(get_args(Builds))}"
    for name, text, read in (
        ("build_cpu", rules.cpu, cpu_millis),
        ("build_memory", rules.memory, byte_count),
        ("build_disk", rules.disk, byte_count),
        ("environments_disk", rules.all_disk, byte_count),
    ):
        try:
            if read(text) <= 0:
                yield f"{name} is {text!r}, which is nothing"
        except ValueError as error:
            yield f"{name}: {error}"
    if rules.seconds < 10:
        yield f"build_seconds {rules.seconds} is too little; write at least 10"
