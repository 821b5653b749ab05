"""How many jobs of one owner may wait: in a queue, and in all that are below one."""

from __future__ import annotations

from collections.abc import Mapping

from ..resources.errors import NotFound, TooMany
from ..resources.queue import Queue
from ..resources.trainjob import Phase, TrainJob
from ..resources.words import counted
from ..store import Reader

RETRY_AFTER_SECONDS = 30.0


def check_room(reader: Reader, owner: str, asked: Mapping[str, int]) -> None:
    """:class:`TooMany` when ``owner``, who asks for so many more in these queues, would have more jobs waiting than one
    of them, or a queue above it, allows.
    """
    tree = _Tree(reader)
    waiting: Mapping[str, int] | None = None
    for name in dict.fromkeys(one for queue in asked for one in tree.path(queue)):
        queue = tree.queues[name]
        bound = queue.spec.queued_per_user if queue is not None else None
        if bound is None:
            continue
        if waiting is None:
            waiting = reader.count_by_queue(TrainJob, owner, Phase.QUEUED.value)
        used = sum(count for one, count in waiting.items() if name in tree.path(one))
        count = sum(more for one, more in asked.items() if name in tree.path(one))
        if used + count > bound:
            raise _too_many(owner, name, used, count, bound, name not in asked)


class _Tree:
    """Of the queues that somebody asks for, each read once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.queues: dict[str, Queue | None] = {}

    def path(self, name: str) -> list[str]:
        """The queue and those above it that there are, the nearest first."""
        found: list[str] = []
        while name and name not in found:
            if name not in self.queues:
                try:
                    self.queues[name] = self._reader.get(Queue, "", name)
                except NotFound:
                    self.queues[name] = None
            queue = self.queues[name]
            if queue is None:
                break
            found.append(name)
            name = queue.spec.parent
        return found


def _too_many(owner: str, name: str, used: int, count: int, bound: int, above: bool) -> TooMany:
    more = f", and these are {count}" if count > 1 else ""
    place = f"the queue {name!r}" + (" and those below it" if above else "")
    return TooMany(
        f"{owner} has {counted(used, 'job')} waiting in {place}; it allows {bound}{more}.",
        remedy="Wait until some of them started, or cancel some." if count <= bound else "Send fewer at a time.",
        retry_after_seconds=RETRY_AFTER_SECONDS,
        data={
            "refusals": [
                {
                    "limit": "queuedPerUser",
                    "scope": "above" if above else "user",
                    "name": name,
                    "requested": str(count),
                    "used": str(used),
                    "maximum": str(bound),
                }
            ]
        },
    )
