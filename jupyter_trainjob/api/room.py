"""How many jobs of one owner may wait: in a queue, and in all queues below one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..resources.errors import TooMany
from ..resources.trainjob import Phase, TrainJob
from ..resources.words import counted
from ..store import Filter, Reader
from . import tree

RETRY_AFTER_SECONDS = 30.0


def check(reader: Reader, jobs: Sequence[TrainJob]) -> None:
    """:class:`TooMany` when the owner would have more jobs waiting than a queue, or one above it, allows."""
    owner = jobs[0].metadata.owner
    sent: Counter[str] = Counter()
    bounds: dict[str, int] = {}
    for name, count in Counter(job.spec.queue for job in jobs).items():
        for queue in tree.path(name, reader):
            sent[queue.metadata.name] += count
            if queue.spec.queued_bound is not None:
                bounds[queue.metadata.name] = queue.spec.queued_bound
    anywhere = reader.count(TrainJob, Filter(owner=owner, phases=[Phase.QUEUED])) if bounds else 0
    if all(anywhere + sent[name] <= bound for name, bound in bounds.items()):
        return  # as nearly always, and without a look at the whole tree
    children = tree.children(tree.all_queues(reader))
    for name, bound in bounds.items():
        here = tree.below(name, children)
        waiting = reader.count(TrainJob, Filter(owner=owner, queues=here, phases=[Phase.QUEUED]))
        if waiting + sent[name] > bound:
            raise _too_many(owner, name, waiting, sent[name], bound, "" if len(here) == 1 else " and those below it")


def _too_many(owner: str, queue: str, waiting: int, count: int, bound: int, below: str) -> TooMany:
    more = f", and these are {count}" if count > 1 else ""
    return TooMany(
        f"{owner} has {counted(waiting, 'job')} waiting in the queue {queue!r}{below}; it allows {bound}{more}.",
        remedy="Wait until some of them started, or cancel some." if count <= bound else "Send fewer at a time.",
        retry_after_seconds=RETRY_AFTER_SECONDS,
        data={
            "refusals": [
                {
                    "limit": "queuedPerUser",
                    "scope": "user",
                    "name": queue,
                    "requested": str(count),
                    "used": str(waiting),
                    "maximum": str(bound),
                }
            ]
        },
    )
