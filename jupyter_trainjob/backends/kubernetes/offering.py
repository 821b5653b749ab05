"""What the cluster's backend offers at submit, and prepares before a job may start."""

from __future__ import annotations

from collections.abc import Collection

from ...resources.errors import FieldError
from ...resources.profile import Profile
from ...resources.trainjob import Requirements, TrainJob
from ..base import Backend, BackendError, EnvironmentState, KernelInfo, Observation
from . import choices
from .environments import Environments
from .objects import ENVIRONMENT as ENVIRONMENT_FOLDER
from .reading import Object, annotation
from .settings import KubernetesSettings
from .volumes import ENVIRONMENT, Environment

KERNELS = {
    "python": KernelInfo("python3", "python", "Python 3"),
    "r": KernelInfo("ir", "r", "R"),
    "scala": KernelInfo("scala", "scala", "Scala"),
}


class Offering(Backend):
    """A part of the backend of a cluster. ``_environments`` is None until it was started."""

    _settings: KubernetesSettings
    _environments: Environments | None = None

    def offers(self) -> frozenset[str]:
        """Images, volumes, and the loopback that every pod has."""
        return choices.OFFERS

    async def check(self, job: TrainJob, profile: Profile) -> list[FieldError]:
        """By the operator's allow-list and the profile's volumes."""
        return choices.problems(job, profile, self._settings)

    async def environment(
        self,
        uid: str,
        requirements: Requirements,
        *,
        minimum_isolation: str = "",
        owner: str = "",
        language: str = "",
        image: str = "",
        profile_image: str = "",
    ) -> EnvironmentState:
        """On a volume of the cluster, by a Job of our own."""
        if self._environments is None:
            raise BackendError(f"The backend {self.name!r} has not been started.")
        return await self._environments.state(uid, requirements, image, profile_image)

    async def _environment_of(self, job: TrainJob) -> Environment | None:
        """Where that of a job lies. Raises :class:`BackendError`, and ``StoreError``."""
        return await self._environments.of(job) if self._environments is not None else None

    async def _distrusted(self, job: Object | None, why: str) -> None:
        """A Job is given up; where its environment could not be mounted, that is not there."""
        if job is not None and '"environment"' in why:
            await self._distrust(job)

    async def _distrust(self, job: Object) -> None:
        """What the attempt was to run in is not there."""
        if self._environments is not None:
            await self._environments.distrust(job)

    def _lacked_environment(self, job: Object, seen: Observation) -> bool:
        """Whether an attempt ended because what it was to run in is not there, though it could be mounted: where a
        volume was emptied, the kubelet makes an empty folder.
        """
        if seen.state != "ended" or annotation(job, ENVIRONMENT_FOLDER) is None:
            return False
        told = seen.evidence
        return told.get("limit") == "BackendError" and f"'{ENVIRONMENT}/" in str(told.get("message"))

    async def check_requirements(self, format: str, text: str) -> None:
        """By what the operator lets build, and the images that there are."""
        if self._environments is not None:
            self._environments.check(format, text)

    async def collect_environments(self, needed: Collection[Requirements]) -> int:
        """By age and size."""
        return await self._environments.collect(needed) if self._environments is not None else 0

    async def kernels(self) -> list[KernelInfo]:
        """One for each language that there is an image for."""
        there = [KERNELS[language] for language in self._settings.images if language in KERNELS]
        return sorted(there, key=lambda kernel: kernel.name)
