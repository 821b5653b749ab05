"""Queue: whose turn it is, and how much may run at once. Cluster-wide."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from .base import Model, Resource, Status
from .names import is_domain
from .quantity import ByteQuantity, CpuQuantity, byte_count, cpu_millis


class Limits(Model):
    """How much may be in use at once. None means no limit."""

    running_jobs: int | None = Field(default=None, ge=0)
    cpu: CpuQuantity | None = None
    memory: ByteQuantity | None = None
    gpu: int | None = Field(default=None, ge=0)

    @property
    def cpu_millis(self) -> int | None:
        """Thousandths of a CPU, or None."""
        return cpu_millis(self.cpu) if self.cpu is not None else None

    @property
    def memory_bytes(self) -> int | None:
        """Bytes, or None."""
        return byte_count(self.memory) if self.memory is not None else None


class Budget(Model):
    """CPU-hours that may be spent in each window. A running job counts with its whole time limit, an ended one with
    what it took, in the window in which it started.
    """

    core_hours: float = Field(gt=0, le=1e9)
    window_seconds: int = Field(
        default=7 * 86400, ge=60, le=366 * 86400, description="Windows follow each other from the start of 1970, UTC."
    )


class PriorityRange(Model):
    """The priorities that jobs of the queue, and of those below it, may ask for. Its instructors may go beyond."""

    minimum: int = -100
    maximum: int = 0

    def holds(self, priority: int) -> bool:
        """Whether it is in the range."""
        return self.minimum <= priority <= self.maximum


class Approval(Model):
    """A job beyond what its owner may have waits for an instructor's word, in place of being refused."""

    within_seconds: int = Field(
        default=3 * 86400, ge=60, le=90 * 86400, description="So long it waits; then it ends without having run."
    )


class PriorityClass(Model):
    """A WorkloadPriorityClass of the cluster, for jobs of a priority and above."""

    name: str
    minimum: int = Field(
        default=-1_000_000, description="Jobs of this priority and above have it, up to the next class."
    )

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return _object_name(_short(value), "a WorkloadPriorityClass")


class Kueue(Model):
    """The queue in a cluster that orders and admits the jobs of ours. Its quota is that of its ClusterQueue."""

    local_queue: str = Field(description="The LocalQueue, in the namespace where the backend's jobs run.")
    priority_classes: list[PriorityClass] = Field(
        default_factory=list,
        max_length=64,
        description="What our priorities are to Kueue; without one that fits, all jobs are equal there.",
    )

    @field_validator("local_queue")
    @classmethod
    def _local_queue(cls, value: str) -> str:
        return _object_name(_short(value), "a LocalQueue")

    @field_validator("priority_classes")
    @classmethod
    def _priority_classes(cls, value: list[PriorityClass]) -> list[PriorityClass]:
        minima = [one.minimum for one in value]
        twice = next((minimum for minimum in minima if minima.count(minimum) > 1), None)
        if twice is not None:
            raise ValueError(f"two classes begin at the priority {twice}; give each a minimum of its own")
        return value

    def class_of(self, priority: int) -> str:
        """The class of a job of this priority; empty where none fits."""
        fitting = [one for one in self.priority_classes if one.minimum <= priority]
        return max(fitting, key=lambda one: one.minimum).name if fitting else ""


def _short(value: str) -> str:
    """Kueue is told by labels of the Job."""
    if len(value) > 63:
        raise ValueError(f"{value[:80]!r} is longer than a label may be, 63 characters; give it a shorter name")
    return value


def _object_name(value: str, what: str) -> str:
    if not is_domain(value):
        raise ValueError(f"{value[:80]!r} is no name of {what}; write lower-case letters, digits, dashes and dots")
    return value


ANY_NUMBER = 10**9
"""What null stands as in the record, which leaves out what is null, so that the default would come back."""


class QueueSpec(Model):
    """What is wanted."""

    description: str = Field(default="", max_length=500)
    backend: str = Field(
        default="", description="The named backend that runs its jobs. Empty: the first that the server has."
    )
    kueue: Kueue | None = Field(
        default=None, description="Jobs are handed to Kueue, which says whose turn it is and how much may run."
    )
    parent: str = Field(default="", description="The queue above it in the tree. Empty: none.")
    weight: int = Field(default=1, ge=1, le=10_000, description="Its share against the queues and users beside it.")
    shares: dict[str, Annotated[int, Field(ge=1, le=10_000)]] = Field(
        default_factory=dict, max_length=10_000, description="The weights of single users in it; 1 where none is given."
    )
    limits: Limits = Field(default_factory=Limits, description="Of all jobs of the queue and those below it together.")
    guaranteed: Limits = Field(
        default_factory=Limits,
        description="What it may count on: below it, it comes before its siblings. More is borrowed while it is free.",
    )
    reclaim: bool = Field(
        default=False,
        description="Its jobs, within what is guaranteed, may end preemptible jobs of siblings that borrow.",
    )
    budget: Budget | None = Field(default=None, description="Of all jobs of the queue and those below it together.")
    per_user: Limits = Field(default_factory=Limits, description="Of one owner's jobs in the queue together.")
    per_user_budget: Budget | None = Field(default=None, description="Of one owner's jobs in the queue together.")
    approval: Approval | None = Field(
        default=None,
        description="A job beyond perUser, perUserBudget or maxTimeLimitSeconds waits until an instructor approves it. "
        "Without this it is refused.",
    )
    queued_per_user: int | None = Field(
        default=1000,
        ge=0,
        description="Jobs of one owner that may wait in the queue and those below it. null: any number.",
    )
    max_time_limit_seconds: int | None = Field(
        default=None, ge=1, description="Of jobs of the queue and those below it."
    )
    priorities: PriorityRange = Field(default_factory=PriorityRange)
    users: list[str] | None = Field(default=None, description="Who may submit; None means everybody.")
    groups: list[str] = Field(default_factory=list, description="Groups that may submit, beside users.")
    admission: Literal["Open", "Paused", "Draining"] = Field(
        default="Open", description="Paused: nothing starts. Draining: nothing new is accepted either."
    )

    @field_validator("queued_per_user")
    @classmethod
    def _queued_per_user(cls, value: int | None) -> int:
        return ANY_NUMBER if value is None else value

    @property
    def queued_bound(self) -> int | None:
        """``queued_per_user``; None: any number."""
        return None if self.queued_per_user == ANY_NUMBER else self.queued_per_user


class QueueUse(Model):
    """What is in use. Always computed from the record, never stored."""

    running_jobs: int = 0
    queued_jobs: int = 0
    cpu: str = "0"
    memory: str = "0"
    gpu: int = 0


class QueueStatus(Status):
    """What is."""

    use: QueueUse | None = Field(default=None, description="Of all owners. Computed on read.")
    mine: QueueUse | None = Field(default=None, description="Of the one who asks. Computed on read.")


class Queue(Resource):
    """A queue."""

    PLURAL: ClassVar[str] = "queues"
    NAMESPACED: ClassVar[bool] = False

    kind: Literal["Queue"] = "Queue"
    spec: QueueSpec = Field(default_factory=QueueSpec)
    status: QueueStatus = Field(default_factory=QueueStatus)
