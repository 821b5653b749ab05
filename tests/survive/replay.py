"""What the record says happened, instant by instant."""

from __future__ import annotations

from collections.abc import Iterator

from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.store import Store


def versions(store: Store) -> Iterator[TrainJob]:
    """Every version of every job, in turn."""
    since = 0
    while True:
        page = store.read(lambda reader, since=since: reader.changes(since, limit=500))  # type: ignore[misc]
        for change in page.changes:
            if isinstance(change.resource, TrainJob):
                yield change.resource
        if page.version == since:
            return
        since = page.version


def most_at_once(store: Store) -> int:
    """How many attempts held their quota at the same instant, at most."""
    active: set[str] = set()
    most = 0
    for job in versions(store):
        if job.status.phase in (Phase.ADMITTED, Phase.RUNNING):
            active.add(job.metadata.uid)
        else:
            active.discard(job.metadata.uid)
        most = max(most, len(active))
    return most
