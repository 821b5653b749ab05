"""What a new record holds: one queue and one profile."""

from __future__ import annotations

from ..resources.base import ObjectMeta
from ..resources.errors import NotFound
from ..resources.profile import Profile, ProfileSpec
from ..resources.queue import Queue, QueueSpec
from ..store import Writer


def ensure_defaults(writer: Writer, queue: str, profile: str) -> None:
    """Make the default queue and profile where they are missing; never change one that is there."""
    try:
        writer.get(Queue, "", queue)
    except NotFound:
        writer.create(
            Queue(
                metadata=ObjectMeta(name=queue, owner="system"),
                spec=QueueSpec(description="Everybody's, bounded by the machine alone."),
            )
        )
    try:
        writer.get(Profile, "", profile)
    except NotFound:
        writer.create(
            Profile(
                metadata=ObjectMeta(name=profile, owner="system"),
                spec=ProfileSpec(description="One CPU, 1 GiB of memory, one hour."),
            )
        )
