"""The port's words for environments: what a job's requirements become, once, outside the job.

A backend builds an environment where the network is, keeps it for all jobs that ask for the same, and shows it to them
read-only: a folder on this machine, a cached volume or an image layer in a cluster. The same content is the same
environment, by :func:`content_digest`; each backend adds what else its environments depend on (its interpreters, its
index).
"""

from __future__ import annotations

import hashlib

from ..resources.names import requirements_key
from ..resources.requirements import check_requirements, normalised
from ..resources.trainjob import Requirements
from ..storage.base import KeyMissing, ObjectStore
from .base import BackendError


def content(store: ObjectStore, requirements: Requirements) -> str:
    """The normal form of the list of requirements. Blocks. Raises :class:`BackendError` and ``StoreError``."""
    try:
        text = store.get(requirements_key(requirements.digest)).decode("utf-8", "replace")
    except KeyMissing:
        raise BackendError(
            f"The object store no longer has the job's {requirements.format}.",
            remedy="Submit the job again.",
            permanent=True,
        ) from None
    problems = check_requirements(requirements.format, text)
    if problems:
        raise BackendError(f"The job's {requirements.format}: {problems[0]}.", permanent=True)
    return normalised(requirements.format, text)


def content_digest(format: str, text: str) -> str:
    """64 hex digits that are equal for equal lists: ``text`` is in its normal form."""
    return hashlib.sha256(f"{format}\n{text}".encode()).hexdigest()


def named(requirements: Requirements) -> str:
    """For people: ``requirements.txt sha256:ab12cd34…``."""
    return f"{requirements.format} {requirements.digest[:15]}…"


_CORRECT = "Correct the list and submit it again; if the network or the index was away, retry the job."


def not_built(requirements: Requirements, words: str, remedy: str = "") -> str:
    """For the one whose job it is: ``words`` say why, ``remedy`` what to do where it is not the list's fault."""
    why = words.strip().rstrip(".")
    return f"The environment of this job can't be built ({named(requirements)}): {why}. {remedy or _CORRECT}"
