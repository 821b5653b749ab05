"""What a decision sees and what it says. Plain values; built from the record by ``controllers.snapshot``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..resources.quantity import format_bytes, format_cpu
from ..resources.words import counted

Scope = Literal["queue", "user", "node", "order", "gate", "paused", "missing", "kueue"]

UNITS: Mapping[str, str] = {"runningJobs": "running job", "cpu": "CPU", "memory": "memory", "gpu": "GPU"}
"""Of what there are limits, and what one of it is called."""

REMEDIES: Mapping[Scope, str] = {
    "user": "Wait until jobs of yours in this queue end, or cancel one.",
    "queue": "Wait until jobs of this queue end, or ask its instructor for a higher limit.",
    "node": "Ask for less (cancel the job and send it again), or wait until running jobs end.",
    "order": "Wait: the jobs ahead come first.",
    "gate": "Release the job if it is held; else it queues when what it waits for has happened.",
    "paused": "Ask the queue's instructor or an operator when it opens again, or use another queue.",
    "missing": "Wait until it is back, or send the job again to another queue; if it stays so, tell the operator.",
    "kueue": "Wait: the cluster's queue decides. If it stays so, cancel the job, or ask the operator.",
}
"""Scope of a blocker → what the job's owner can do."""


def show(limit: str, value: int) -> str:
    """A value of a limit for a person: ``1500`` CPUs in thousandths → ``1500m``."""
    if limit == "cpu":
        return format_cpu(value)
    return format_bytes(value) if limit == "memory" else str(value)


def quantity(limit: str, value: int) -> str:
    """The same with its unit: ``1 CPU``, ``1500m CPUs``, ``2 running jobs``, ``1Gi memory``."""
    return counted(show(limit, value), UNITS[limit], UNITS[limit] if limit == "memory" else "")


@dataclass(frozen=True, slots=True)
class Amount:
    """A quantity of everything that is limited: jobs, thousandths of a CPU, bytes, GPUs."""

    jobs: int = 0
    cpu_millis: int = 0
    memory_bytes: int = 0
    gpu: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.jobs + other.jobs,
            self.cpu_millis + other.cpu_millis,
            self.memory_bytes + other.memory_bytes,
            self.gpu + other.gpu,
        )

    def __sub__(self, other: Amount) -> Amount:
        return Amount(
            self.jobs - other.jobs,
            self.cpu_millis - other.cpu_millis,
            self.memory_bytes - other.memory_bytes,
            self.gpu - other.gpu,
        )


NOTHING = Amount()


@dataclass(frozen=True, slots=True)
class Ceiling:
    """An upper bound on an :class:`Amount`; None is no bound."""

    jobs: int | None = None
    cpu_millis: int | None = None
    memory_bytes: int | None = None
    gpu: int | None = None

    def exceeded_by(self, amount: Amount) -> str | None:
        """The first bound that ``amount`` is above, by its name in the API; None where it fits."""
        if self.jobs is not None and amount.jobs > self.jobs:
            return "runningJobs"
        if self.cpu_millis is not None and amount.cpu_millis > self.cpu_millis:
            return "cpu"
        if self.memory_bytes is not None and amount.memory_bytes > self.memory_bytes:
            return "memory"
        if self.gpu is not None and amount.gpu > self.gpu:
            return "gpu"
        return None


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue's rules."""

    name: str
    backend: str
    open: bool = True
    limits: Ceiling = field(default_factory=Ceiling)
    per_user: Ceiling = field(default_factory=Ceiling)
    local_queue: str = ""
    """Kueue's, which orders and admits its jobs: they are handed over once no gate and no user's limit is shut."""

    @property
    def elsewhere(self) -> bool:
        """Whether order and room of its jobs are decided elsewhere."""
        return self.local_queue != ""


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node's whole size for our jobs. ``per_job``: what each but the first takes beside what it asks for."""

    backend: str
    name: str
    size: Amount
    per_job: Amount = NOTHING
    jobs: int | None = None
    """How many may run on it at once; None is no bound."""
    gpu_only: bool = False
    called: str = "the machine"
    shared: tuple[SharedView, ...] = ()
    """What bounds all nodes of the backend together, and is in their sizes already."""


@dataclass(frozen=True, slots=True)
class SharedView:
    """A bound on all nodes of a backend. ``size``: for our jobs, with what each takes beside; ``whole``: for all."""

    limit: str
    size: int
    whole: int
    called: str


@dataclass(frozen=True, slots=True)
class QueuedView:
    """A job that waits. ``since`` is in seconds of the epoch; ``gate`` says why it may not queue yet, or is empty."""

    uid: str
    owner: str
    queue: str
    need: Amount
    since: float
    priority: int = 0
    time_limit_seconds: int = 3600
    gate: str = ""


@dataclass(frozen=True, slots=True)
class ActiveView:
    """An attempt that holds its quota: admitted or running."""

    uid: str
    owner: str
    queue: str
    backend: str
    node: str
    need: Amount
    since: float
    time_limit_seconds: int = 3600
    waits: bool = False
    """Kueue has it and has not admitted it: of its user's limits it holds a part, of the nodes nothing."""


@dataclass(frozen=True)
class Snapshot:
    """Everything a decision depends on, as of one ``epoch`` of the record."""

    epoch: int
    queues: Mapping[str, QueueView]
    nodes: tuple[NodeView, ...]
    queued: tuple[QueuedView, ...]
    active: tuple[ActiveView, ...]


@dataclass(frozen=True, slots=True)
class Blocker:
    """One limit that keeps a job waiting. ``used`` is without the job; all three are in the limit's own unit."""

    limit: str
    scope: Scope
    queue: str
    requested: int = 0
    used: int = 0
    maximum: int = 0
    message: str = ""

    def to_dict(self) -> dict[str, str]:
        """JSON form, for people: quantities as they write them (``1500m``, ``2Gi``), ``""`` where none applies."""
        amounts = (self.requested, self.used, self.maximum)
        requested, used, maximum = (show(self.limit, value) if self.limit in UNITS else "" for value in amounts)
        return {
            "limit": self.limit,
            "scope": self.scope,
            "queue": self.queue,
            "requested": requested,
            "used": used,
            "maximum": maximum,
            "message": self.message,
            "remedy": REMEDIES[self.scope],
        }


@dataclass(frozen=True, slots=True)
class Admission:
    """Start this job on that node."""

    uid: str
    node: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a job is not started. ``position`` counts from 1 within its queue; None while a gate holds it."""

    uid: str
    position: int | None
    blocker: Blocker


@dataclass(frozen=True)
class Decision:
    """The outcome of one pass: every queued job is in exactly one of the two."""

    admissions: tuple[Admission, ...]
    waiting: tuple[Waiting, ...]
