"""Lists of requirements at submit: read, judged, and kept apart from the uploads for as long as a job names them.

A job may name a list that its owner uploaded, or that of a profile. Either is copied to a place of its own, by its
digest alone: what an environment is built from does not hang on whose upload it was.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from ..resources.errors import FieldError, TrainJobError, Unavailable
from ..resources.names import blob_key, requirements_key
from ..resources.profile import Profile
from ..resources.requirements import MAX_BYTES, check_requirements
from ..resources.trainjob import Requirements, TrainJob
from ..storage.base import KeyMissing, ObjectStore, StoreError
from ..store import Reader
from .ports import Backends

LANGUAGES = {"requirements.txt": "python", "renv.lock": "r", "ivy": "scala"}
MAX_TOLD = 20
_WHERE = "spec.environment.requirements"


@dataclass(frozen=True)
class Listed:
    """A list that its owner uploaded, as it was read: ``errors`` say what is wrong with it. Without ``text`` it is not
    there, which others tell, or no text.
    """

    requirements: Requirements | None = None
    text: str | None = None
    errors: list[FieldError] = field(default_factory=list)


def fits(requirements: Requirements | None, language: str) -> bool:
    """Whether a list is for jobs in ``language``; one that is none fits all."""
    return requirements is None or LANGUAGES[requirements.format] == language


def language_errors(job: TrainJob) -> list[FieldError]:
    """A list that the job's kernel has no use for."""
    asked, language = job.spec.environment.requirements, job.spec.environment.language
    if asked is None or fits(asked, language):
        return []
    wanted = next((name for name, one in LANGUAGES.items() if one == language), "")
    remedy = f"Send a {wanted}." if wanted else "Leave it out."
    problem = f"a {asked.format} is for jobs in {LANGUAGES[asked.format]}, and this one is in {language or 'none'}"
    return [FieldError(f"{_WHERE}.format", problem, asked.format, remedy)]


async def backend_errors(
    objects: ObjectStore,
    backends: Backends,
    backend: str,
    job: TrainJob,
    profile: Profile,
    everybodys: bool,
    listed: Listed,
) -> list[FieldError]:
    """A list that the queue's backend never makes an environment of. One that isn't there is told by others.

    The message may quote it: another's list is read only where it is ``everybodys``, see :func:`is_profiles`.
    ``listed``: what was read for the job already.
    """
    asked = job.spec.environment.requirements
    if asked is None:
        return []
    text = listed.text if listed.requirements == asked else None
    if text is None:
        text = await asyncio.to_thread(_text, objects, job.metadata.owner, asked, everybodys)
    if text is None or check_requirements(asked.format, text):
        return []
    try:
        await backends.check_requirements(backend, asked.format, text)
    except TrainJobError as error:
        if asked != profile.spec.environment.requirements:
            return [FieldError(_WHERE, error.message, asked.format, error.remedy)]
        problem = f"its {asked.format} can't be had in the queue {job.spec.queue!r}: {error.message}"
        remedy = "Choose another profile or queue, and tell the operator."
        return [FieldError("spec.profile", problem, profile.metadata.name, remedy)]
    return []


def is_profiles(reader: Reader, digest: str) -> bool:
    """Whether a profile names this list: then every job may."""
    lists = [profile.spec.environment.requirements for profile in reader.list(Profile, limit=1000).items]
    return any(one is not None and one.digest == digest for one in lists)


def keep(objects: ObjectStore, owner: str, requirements: Requirements | None) -> list[FieldError]:
    """Copy ``owner``'s upload to where environments are built from, unless it is there. Blocks for one small file.

    To be called in the transaction that writes who names it: lists that nobody names are removed in one.
    """
    if requirements is None:
        return []
    key = requirements_key(requirements.digest)
    try:
        if not objects.exists(key):
            objects.put(key, objects.get(blob_key(owner, requirements.digest)))
    except KeyMissing:
        return [_missing(owner, requirements)]
    except StoreError as error:
        raise Unavailable(f"The {requirements.format} can't be kept now: {error}", remedy="Send it again.") from error
    return []


async def look(objects: ObjectStore, owner: str, requirements: Requirements | None) -> Listed:
    """The list that ``owner`` uploaded, and what is wrong with it."""
    return Listed() if requirements is None else await asyncio.to_thread(_look, objects, owner, requirements)


def _look(objects: ObjectStore, owner: str, requirements: Requirements) -> Listed:
    key = blob_key(owner, requirements.digest)

    def wrong(problem: str, remedy: str) -> Listed:
        return Listed(requirements, None, [FieldError(f"{_WHERE}.digest", problem, None, remedy)])

    try:
        if objects.stat(key).size > MAX_BYTES:
            problem = f"the {requirements.format} is larger than {MAX_BYTES // 1024} KiB"
            return wrong(problem, "A list of requirements is a few lines.")
        text = objects.get(key).decode("utf-8")
    except KeyMissing:
        return Listed(requirements)
    except UnicodeDecodeError:
        return wrong(f"the {requirements.format} is no text in UTF-8", "Save it as UTF-8.")
    except StoreError as error:
        raise _unreadable(requirements, error) from error
    remedy = "Correct the list and send it again."
    errors = [
        FieldError(f"{_WHERE}.digest", f"{requirements.format}: {problem}", None, remedy)
        for problem in check_requirements(requirements.format, text)[:MAX_TOLD]
    ]
    return Listed(requirements, text, errors)


def _text(objects: ObjectStore, owner: str, requirements: Requirements, everybodys: bool) -> str | None:
    shared = [requirements_key(requirements.digest)] if everybodys else []
    for key in (blob_key(owner, requirements.digest), *shared):
        try:
            if objects.stat(key).size <= MAX_BYTES:
                return objects.get(key).decode("utf-8", "replace")
        except KeyMissing:
            continue
        except StoreError as error:
            raise _unreadable(requirements, error) from error
    return None


def _unreadable(requirements: Requirements, error: StoreError) -> Unavailable:
    return Unavailable(f"The {requirements.format} can't be read now: {error}", remedy="Send it again.")


def _missing(owner: str, requirements: Requirements) -> FieldError:
    problem = f"{owner} has uploaded nothing with the digest {requirements.digest[:19]}…"
    return FieldError(f"{_WHERE}.digest", problem, requirements.digest, "Upload it first: PUT /blobs/<digest>.")
