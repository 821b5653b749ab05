"""Queue: whose turn it is, and how much may run at once. Cluster-wide."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .base import Model, Resource, Status
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


class PriorityRange(Model):
    """The priorities that jobs of the queue may ask for. Instructors may go beyond."""

    minimum: int = -100
    maximum: int = 0


class QueueSpec(Model):
    """What is wanted."""

    description: str = Field(default="", max_length=500)
    backend: str = Field(default="local", description="The named backend that runs its jobs.")
    limits: Limits = Field(default_factory=Limits, description="Of all jobs of the queue together.")
    per_user: Limits = Field(default_factory=Limits, description="Of one owner's jobs in the queue together.")
    queued_per_user: int | None = Field(default=1000, ge=0, description="Jobs of one owner that may wait.")
    max_time_limit_seconds: int | None = Field(default=None, ge=1)
    priorities: PriorityRange = Field(default_factory=PriorityRange)
    users: list[str] | None = Field(default=None, description="Who may submit; None means everybody.")
    groups: list[str] = Field(default_factory=list, description="Groups that may submit, beside users.")
    admission: Literal["Open", "Paused", "Draining"] = Field(
        default="Open", description="Paused: nothing starts. Draining: nothing new is accepted either."
    )


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
