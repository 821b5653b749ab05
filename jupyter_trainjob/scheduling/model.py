"""What a decision sees and what it says. Plain values; built from the record by ``controllers.snapshot``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..resources.quantity import format_bytes, format_cpu
from ..resources.words import counted

if TYPE_CHECKING:
    from .usage import Ledger, Weights

Scope = Literal["queue", "user", "node", "order", "gate", "paused", "missing", "kueue", "budget"]

UNITS: Mapping[str, str] = {"runningJobs": "running job", "cpu": "CPU", "memory": "memory", "gpu": "GPU"}
"""Of what there are limits, and what one of it is called."""

REMEDIES: Mapping[Scope, str] = {
    "user": "Wait until jobs of yours in this queue end, or cancel one.",
    "queue": "Wait until jobs of this queue end, or ask its instructor for a higher limit.",
    "node": "Ask for less (cancel the job and send it again), or wait until running jobs end.",
    "order": "Wait: the jobs ahead come first.",
    "gate": "",
    "paused": "Ask the queue's instructor or an operator when it opens again, or use another queue.",
    "missing": "Wait until it is back, or send the job again to another queue; if it stays so, tell the operator.",
    "budget": "Wait until the budget's next window, or ask the queue's instructor for more.",
    "kueue": "Wait: the cluster's queue decides. If it stays so, cancel the job, or ask the operator.",
}
"""Scope of a blocker → what the job's owner can do."""


GATE_REMEDIES: Mapping[str, str] = {
    "hold": "Release it: %trainjob release NAME (in Python job.release()).",
    "held": "Ask who put it on hold, or an instructor of the queue, to release it.",
    "dependency": "Nothing to do: it queues when that job has ended so.",
    "sweep": "Nothing to do: it queues when one of the others ends.",
    "retry": "Nothing to do; or cancel it.",
    "approval": "Ask an instructor of the queue; or ask for less, in a new job.",
}
"""Kind of a gate → the same."""


def show(limit: str, value: int) -> str:
    """A value of a limit for a person: ``1500`` CPUs in thousandths → ``1500m``."""
    if limit == "cpu":
        return format_cpu(value)
    return format_bytes(value) if limit == "memory" else str(value)


def quantity(limit: str, value: int) -> str:
    """The same with its unit: ``1 CPU``, ``1500m CPUs``, ``2 running jobs``, ``1Gi memory``."""
    return counted(show(limit, value), UNITS[limit], UNITS[limit] if limit == "memory" else "")


class Amount(NamedTuple):
    """A quantity of everything that is limited: jobs, thousandths of a CPU, bytes, GPUs."""

    jobs: int = 0
    cpu_millis: int = 0
    memory_bytes: int = 0
    gpu: int = 0

    def __add__(self, other: Amount) -> Amount:  # type: ignore[override]
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
UNLIMITED = "\x1fapproved"
"""Behind an owner's name: this user's jobs that the limits of each user are not for. They are a leaf of their own."""


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
class Budget:
    """So many CPU-seconds (in thousandths) may be spent in each window of time, counted from the epoch."""

    cpu_milliseconds: int
    window_seconds: int

    def window(self, time: float) -> int:
        """The number of the window that ``time`` (seconds of the epoch) lies in."""
        return math.floor(time / self.window_seconds)


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for the whole tree."""

    half_life_seconds: float = 7 * 86400.0
    """In which usage counts half; Slurm's default."""
    window_seconds: float = 300.0
    """Usage is sampled so often."""
    ageing_seconds: float = 86400.0
    """Waiting so long is worth one priority."""


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue's rules."""

    name: str
    backend: str
    open: bool = True
    limits: Ceiling = field(default_factory=Ceiling)
    per_user: Ceiling = field(default_factory=Ceiling)
    local_queue: str = ""
    """Kueue's, which orders and admits its jobs: they are handed over once nothing but nodes could stop them."""
    parent: str = ""
    """The queue above; empty, missing or going round in a circle: none."""
    weight: int = 1
    shares: Mapping[str, int] = field(default_factory=dict)
    """Users whose weight is not 1."""
    guaranteed: Ceiling = field(default_factory=Ceiling)
    """What it may count on; None: nothing in particular."""
    reclaim: bool = False
    """Whether its jobs within the guarantee may end preemptible ones of borrowers."""
    budget: Budget | None = None
    per_user_budget: Budget | None = None
    top_priority: int = 0
    """That of a job moved to the front."""

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
class PodView:
    """``count`` equal pods; ``need.jobs`` counts nothing."""

    count: int
    need: Amount


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
    pods: tuple[PodView, ...] = ()
    """Where ``need`` is not one pod's: what each needs. All are placed, or none."""
    preemptible: bool = False
    front: float = 0.0
    """When an instructor moved it to the front, in seconds of the epoch; 0: nobody did."""
    claim: float = 0.0
    """Since when others end for it, in seconds of the epoch; 0: nobody does. It comes before all until it starts."""
    gate_kind: str = "gate"
    """``hold``, ``dependency``, ``approval``, ``environment`` …, where there is a gate; ``held``: on hold by somebody
    else than the owner.
    """


@dataclass(frozen=True, slots=True)
class ActiveView:
    """An attempt that holds its quota: admitted or running. ``since`` is its admission, in seconds of the epoch."""

    uid: str
    owner: str
    queue: str
    backend: str
    node: str
    need: Amount
    since: float
    time_limit_seconds: int = 3600
    waits: bool = False
    """Kueue has it and has not admitted it: of limits and budgets it holds a part, of the nodes nothing."""
    places: tuple[tuple[str, Amount], ...] = ()
    """Node and need of each pod, where it has several; else all of it is on ``node``."""
    preemptible: bool = False
    overtook: bool = False
    """As its admission said."""
    ending: bool = False
    """It is being stopped: not to be counted on for more room, nor to be stopped again."""
    begun: float = 0.0
    """When its code began, in seconds of the epoch; 0: not yet. From then its time limit runs."""

    @property
    def latest_end(self) -> float:
        """When it has ended at the latest; inf: nobody knows, -inf: at any moment."""
        if self.waits:
            return math.inf
        return -math.inf if self.ending else max(self.since, self.begun) + self.time_limit_seconds


@dataclass(frozen=True, slots=True)
class PastView:
    """An attempt that has ended; those that a :class:`.usage.Ledger` holds are none of the snapshot's."""

    owner: str
    queue: str
    backend: str
    need: Amount
    since: float
    end: float
    overtook: bool = False


@dataclass(frozen=True)
class Snapshot:
    """Everything a decision depends on, as of one ``epoch`` of the record."""

    epoch: int
    queues: Mapping[str, QueueView]
    nodes: tuple[NodeView, ...]
    queued: tuple[QueuedView, ...]
    active: tuple[ActiveView, ...]
    now: float | None = None
    """Seconds of the epoch; None: the latest moment that is in it."""
    policy: Policy = field(default_factory=Policy)
    past: tuple[PastView, ...] = ()
    ledger: Ledger | None = None
    weights: Weights | None = None
    """By which usage is charged; None: those of ``nodes``."""

    @property
    def time(self) -> float:
        """``now``, or the latest moment there is."""
        if self.now is not None:
            return self.now
        moments = [job.since for job in self.queued] + [job.since for job in self.active]
        return max(moments, default=0.0)


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
    kind: str = ""
    """Of a gate, where the remedy is another than for its ``limit``."""

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
            "remedy": GATE_REMEDIES.get(self.kind or self.limit, "") if self.scope == "gate" else REMEDIES[self.scope],
        }


@dataclass(frozen=True, slots=True)
class Admission:
    """Start this job on that node, or (a gang) its pods on those."""

    uid: str
    node: str
    places: tuple[tuple[str, Amount], ...] = ()
    overtook: bool = False
    """It started before another job of the same user in the same queue whose turn was earlier."""


@dataclass(frozen=True, slots=True)
class Preemption:
    """End this job and queue it again: ``wanted_by`` is owed its room, and has a claim on it (``QueuedView.claim``)."""

    uid: str
    wanted_by: str
    message: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """The first job that the nodes of ``backend`` have no room for starts at ``start`` (seconds of the epoch)."""

    backend: str
    uid: str
    start: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a job is not started. ``position`` counts from 1 within its queue; None while a gate holds it."""

    uid: str
    position: int | None
    blocker: Blocker


class Decision:
    """The outcome of one pass: every queued job is in exactly one of ``admissions`` and ``waiting``.

    Why the others wait, and who has a reservation, is worked out when somebody asks, from the state that the pass left.
    """

    def __init__(
        self,
        admissions: tuple[Admission, ...],
        waiting: Callable[[], tuple[Waiting, ...]],
        reservations: Callable[[], tuple[Reservation, ...]],
        preemptions: tuple[Preemption, ...] = (),
    ) -> None:
        self.admissions = admissions
        self.preemptions = preemptions
        self._reservations = reservations
        self._waiting = waiting

    @cached_property
    def waiting(self) -> tuple[Waiting, ...]:
        """The others, as they come to their turn."""
        return self._waiting()

    @cached_property
    def reservations(self) -> tuple[Reservation, ...]:
        """The starts that nothing that comes later may delay."""
        return self._reservations()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decision) and self._values() == other._values()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Decision{self._values()}"

    def _values(self) -> tuple[object, ...]:
        return self.admissions, self.preemptions, self.reservations, self.waiting
