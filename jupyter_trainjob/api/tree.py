"""The tree that queues form by ``spec.parent``: what of a new one can't be, and what lies above and below one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ..resources.errors import Expired, FieldError, NotFound
from ..resources.quantity import format_bytes, format_cpu
from ..resources.queue import Limits, PriorityRange, Queue
from ..resources.words import counted
from ..store import Reader, Store

PAGE = 500
_WORDS = {"running_jobs": "running job", "cpu": "CPU", "memory": "memory", "gpu": "GPU"}
_FIELDS = {"running_jobs": "runningJobs", "cpu": "cpu", "memory": "memory", "gpu": "gpu"}


def all_queues(reader: Reader) -> dict[str, Queue]:
    """Every queue of the record by name."""
    found: dict[str, Queue] = {}
    token = ""
    while True:
        page = reader.list(Queue, limit=PAGE, continue_=token)
        found |= {queue.metadata.name: queue for queue in page.items}
        token = page.continue_
        if not token:
            return found


def lineage(name: str, queues: Mapping[str, Queue]) -> Iterator[str]:
    """``name`` and the names above it, the nearest first. In a circle the last one is ``name``, or one from before."""
    seen: list[str] = []
    while name:
        yield name
        if name in seen:
            return
        seen.append(name)
        queue = queues.get(name)
        name = queue.spec.parent if queue is not None else ""


def above(queue: Queue, queues: Mapping[str, Queue]) -> list[Queue]:
    """The queues above ``queue``, the nearest first; those that are not there, and what goes round, are left out."""
    names = dict.fromkeys(lineage(queue.spec.parent, queues))
    return [queues[name] for name in names if name in queues and name != queue.metadata.name]


def path(name: str, reader: Reader) -> list[Queue]:
    """The queue and those above it, the nearest first, one look at the record each."""
    found: dict[str, Queue] = {}
    while name and name not in found:
        try:
            found[name] = reader.get(Queue, "", name)
        except NotFound:
            if not found:
                raise
            break
        name = found[name].spec.parent
    return list(found.values())


def children(queues: Mapping[str, Queue]) -> dict[str, list[str]]:
    """Queue → the names of those right below it."""
    found: dict[str, list[str]] = {}
    for name, queue in queues.items():
        if queue.spec.parent:
            found.setdefault(queue.spec.parent, []).append(name)
    return found


def below(name: str, children: Mapping[str, Collection[str]]) -> set[str]:
    """``name`` and the names of all queues below it."""
    found: set[str] = set()
    ahead = [name]
    while ahead:
        one = ahead.pop()
        if one not in found:
            found.add(one)
            ahead += children.get(one, ())
    return found


class QueueTree:
    """Which queues lie below which, kept from one request to the next and read anew once a queue was written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: tuple[int, dict[str, list[str]]] | None = None
        """The version of the record that it is of, and the :func:`children`."""

    async def children(self) -> Mapping[str, Collection[str]]:
        """As the record has them now."""
        return await self._store.aread(self._look)

    def _look(self, reader: Reader) -> Mapping[str, Collection[str]]:
        kept = self._kept
        if kept is None or _written(reader, kept[0]):
            kept = (-1, children(all_queues(reader)))
        self._kept = (reader.version(), kept[1])
        return kept[1]


def _written(reader: Reader, since: int) -> bool:
    """Whether a queue may have been written after that version."""
    try:
        return bool(reader.changes(since, limit=1, kinds=["Queue"]).changes)
    except Expired:
        return True


def problems(new: Queue, queues: Mapping[str, Queue]) -> list[FieldError]:
    """What of ``new`` does not fit among ``queues``, the others as they are in the record."""
    name, parent = new.metadata.name, new.spec.parent
    tree = {**queues, name: new}
    if parent and parent not in tree:
        there = ", ".join(sorted(queues)) or "none"
        remedy = f"Make it first, or name one of these: {there}."
        return [FieldError("spec.parent", f"there is no queue {parent[:80]!r}", parent[:80], remedy)]
    circle = _circle(name, tree)
    if circle:
        problem = f"the queues would go round in a circle: {' → '.join(circle)}"
        return [FieldError("spec.parent", problem, parent, "Name a queue that is not below this one.")]
    errors = _over_own(new)
    for upper in [new, *above(new, tree)][:2]:
        errors += _over_given(upper, tree, new)
    return errors + _beyond_range(new, tree)


def _beyond_range(new: Queue, tree: Mapping[str, Queue]) -> list[FieldError]:
    """A range of priorities wider than that of the queue above: one order is for all, whoever writes the range."""
    name, span = new.metadata.name, new.spec.priorities
    upper = tree.get(new.spec.parent)
    if upper is not None:
        most = upper.spec.priorities
        if not (most.holds(span.minimum) and most.holds(span.maximum)):
            problem = f"{_span(span)} is not within the range of the queue {upper.metadata.name!r}, {_span(most)}"
            remedy = f"Write numbers from {_span(most)}, or widen the range of {upper.metadata.name!r} first."
            return [FieldError("spec.priorities", problem, None, remedy)]
    for child in (one for one in tree.values() if one.spec.parent == name != one.metadata.name):
        less = child.spec.priorities
        if not (span.holds(less.minimum) and span.holds(less.maximum)):
            problem = f"{_span(span)} is less than the queue {child.metadata.name!r} below it has, {_span(less)}"
            remedy = f"Narrow the range of {child.metadata.name!r} first."
            return [FieldError("spec.priorities", problem, None, remedy)]
    return []


def _span(span: PriorityRange) -> str:
    return f"{span.minimum} to {span.maximum}"


def _circle(name: str, queues: Mapping[str, Queue]) -> list[str]:
    found = list(lineage(name, queues))
    return found if len(found) > 1 and found[-1] == name else []


def _values(limits: Limits) -> dict[str, int]:
    given = {
        "running_jobs": limits.running_jobs,
        "cpu": limits.cpu_millis,
        "memory": limits.memory_bytes,
        "gpu": limits.gpu,
    }
    return {key: value for key, value in given.items() if value is not None}


def _told(key: str, value: int) -> str:
    text = format_cpu(value) if key == "cpu" else format_bytes(value) if key == "memory" else str(value)
    return counted(text, _WORDS[key], "memory" if key == "memory" else "")


def _over_own(new: Queue) -> list[FieldError]:
    """Guarantees above the queue's own limits: nobody could ever use them."""
    most = _values(new.spec.limits)
    return [
        FieldError(
            f"spec.guaranteed.{_FIELDS[key]}",
            f"{_told(key, value)} is more than the queue's own limit, {_told(key, most[key])}",
            str(getattr(new.spec.guaranteed, key)),
            f"Guarantee at most {_told(key, most[key])}, or raise spec.limits.{_FIELDS[key]}.",
        )
        for key, value in _values(new.spec.guaranteed).items()
        if key in most and value > most[key]
    ]


def _over_given(upper: Queue, tree: Mapping[str, Queue], new: Queue) -> list[FieldError]:
    """Where the queues right below ``upper`` are promised more together than it has to give: what is guaranteed to it,
    or where nothing is, its limit.
    """
    errors = []
    name, mine = upper.metadata.name, new.metadata.name
    limits, promised = _values(upper.spec.limits), _values(upper.spec.guaranteed)
    children = [queue for queue in tree.values() if queue.spec.parent == name and queue.metadata.name != name]
    for key, bound in {**limits, **promised}.items():
        parts = {one.metadata.name: _values(one.spec.guaranteed).get(key, 0) for one in children}
        total = sum(parts.values())
        if total <= bound or (mine != name and not parts.get(mine)):
            continue
        source = "guaranteed" if key in promised else "limits"
        what = "is guaranteed" if source == "guaranteed" else "may use"
        listed = ", ".join(f"{one} {_told(key, part)}" for one, part in sorted(parts.items()) if part)
        problem = f"{_told(key, total)} would be guaranteed below {name!r}, which {what} {_told(key, bound)}: {listed}"
        if mine == name:
            field, given = f"spec.{source}.{_FIELDS[key]}", str(getattr(getattr(new.spec, source), key))
            remedy = f"Write at least {_told(key, total)}, or lower what is guaranteed to the queues below first."
        else:
            field, given = f"spec.guaranteed.{_FIELDS[key]}", str(getattr(new.spec.guaranteed, key))
            left = max(0, bound - total + parts[mine])
            remedy = f"Guarantee at most {_told(key, left)} here, or raise spec.{source} of the queue {name!r} first."
        errors.append(FieldError(field, problem, given, remedy))
    return errors
