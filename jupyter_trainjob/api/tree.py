"""The tree that queues form by ``spec.parent``: what of a new one can't be, and what lies above one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..resources.errors import FieldError
from ..resources.quantity import format_bytes, format_cpu
from ..resources.queue import Limits, Queue
from ..resources.words import counted
from ..store import Reader

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
    return errors


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
