"""What waiting and running jobs still name: it is not removed, however old it is and whoever asks."""

from __future__ import annotations

from collections.abc import Iterator

from ..resources.trainjob import OutputInput, Requirements, TrainJob
from ..store import Filter, Reader
from .snapshot import LIVE

PAGE = 1000


def uploads(reader: Reader) -> set[tuple[str, str]]:
    """Owner and digest of every upload that is needed."""
    return {(job.metadata.owner, digest) for job in _live(reader) for _, digest in job.spec.uploads()}


def requirements(reader: Reader) -> Iterator[Requirements]:
    """The lists of requirements that are needed, some of them several times."""
    for job in _live(reader, '"requirements"'):
        if job.spec.environment.requirements is not None:
            yield job.spec.environment.requirements


def jobs(reader: Reader) -> set[str]:
    """The uid of every job whose outputs are needed."""
    return {uid for job in _live(reader, '"output"') for uid in parents(job)}


def is_needed(reader: Reader, uid: str) -> bool:
    """Whether a waiting or running job names outputs of the job ``uid``."""
    return any(uid in parents(job) for job in _live(reader, uid) if job.metadata.uid != uid)


def parents(job: TrainJob) -> set[str]:
    """The jobs whose outputs ``job`` reads."""
    return {item.job for item in job.spec.inputs if isinstance(item, OutputInput)}


def _live(reader: Reader, text: str = "") -> Iterator[TrainJob]:
    """The jobs that have not ended; only those whose stored JSON holds ``text`` are parsed."""
    token = ""
    while True:
        page = reader.list_stored(TrainJob, Filter(phases=LIVE), limit=PAGE, continue_=token)
        for stored in page.items:
            if text in stored.text:
                yield stored.resource
        token = page.continue_
        if not token:
            return
