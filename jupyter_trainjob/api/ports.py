"""What the API asks of those who act. Implemented by ``controllers/``, which this room does not import."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from ..resources.errors import FieldError
from ..resources.profile import Profile
from ..resources.queue import Kueue, QueueUse
from ..resources.trainjob import TrainJob
from ..scheduling.explain import Explanation
from .limits import Node


class Ranking(Protocol):
    """Who is next, told from the record."""

    async def explain(self, job: TrainJob) -> Explanation:
        """Position, what it waits for and an estimate; all empty for a job that does not wait."""

    async def explain_many(self, jobs: Sequence[TrainJob]) -> dict[str, Explanation]:
        """The same for those of ``jobs`` that wait, by uid."""

    async def queue_uses(self, *owners: str | None) -> list[Mapping[str, QueueUse]]:
        """For each of ``owners`` (None: all of them together), what is in use in each queue and those below it."""


class Kernel(Protocol):
    """A kernel that jobs may run in."""

    @property
    def name(self) -> str:
        """Of its kernelspec."""

    @property
    def language(self) -> str:
        """In lower case."""

    @property
    def display_name(self) -> str:
        """For people."""


class Backends(Protocol):
    """The places where jobs run."""

    @property
    def backend_names(self) -> Collection[str]:
        """Those that are configured."""

    def backend_of(self, named: str) -> str:
        """Where a queue's jobs run whose spec names ``named``; empty means the first that is configured."""

    async def capacity(self, backend: str) -> Sequence[Node]:
        """Its nodes; none where it isn't known."""

    async def kernels(self, backend: str) -> Sequence[Kernel] | None:
        """Its kernels; None where it isn't known."""

    def offers(self, backend: str) -> Collection[str]:
        """What jobs may choose there: some of what :meth:`.Backend.offers` lists; nothing where it isn't known."""

    async def check_job(self, backend: str, job: TrainJob, profile: Profile) -> Sequence[FieldError]:
        """What of a job's image and volumes can't be had there."""

    async def check_kueue(self, backend: str, kueue: Kueue) -> None:
        """Raises a ``TrainJobError`` where jobs of a queue with ``spec.kueue`` would wait for ever (``permanent``), or
        nobody can tell now; nothing where the backend isn't known.
        """

    async def check_requirements(self, backend: str, format: str, text: str) -> None:
        """Raises a ``TrainJobError`` that says why, and what to do, for a list that it never builds from."""
