"""What a job may choose in a cluster: its image, and volumes of its profile. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ...resources import images
from ...resources.errors import FieldError
from ...resources.profile import OWN_LOOPBACK, Profile
from ...resources.trainjob import TrainJob
from ...resources.volumes import looked_at
from .settings import KubernetesSettings

OFFERS = frozenset({"image", "volumes", OWN_LOOPBACK})


def image_problem(image: str, profile_image: str, settings: KubernetesSettings) -> str:
    """Why a job may not run in ``image``; empty where it may. The operator's own, its profile's too, need no
    permission.
    """
    if image == profile_image or _is_one_of(image, settings.images.values()):
        return ""
    return images.image_problem(image, settings.allowed_images, settings.digests)


def _is_one_of(image: str, own: Iterable[str]) -> bool:
    """Whether it is one of the operator's, however it is written."""
    try:
        found = images.read_image(image)
    except images.ImageError:
        return False
    return any((found.tagged, found.digest) == (one.tagged, one.digest) for one in map(images.read_image, own))


def problems(job: TrainJob, profile: Profile, settings: KubernetesSettings) -> list[FieldError]:
    """What of the complete ``job`` can't be had. Neither a registry nor the cluster is asked."""
    found: list[FieldError] = []
    image = job.spec.environment.image
    if image and (problem := image_problem(image, profile.spec.environment.image, settings)):
        remedy = "Choose one of these, or leave it out for the profile's."
        if not settings.allowed_images:
            remedy = "Leave it out, choose a profile that has it, or ask the operator (allowed_images)."
        found.append(FieldError("spec.environment.image", problem, image[:200], remedy))
    meta = job.metadata
    return found + looked_at(job.spec.volumes, profile.spec.volumes, meta.owner, meta.namespace)[1]
