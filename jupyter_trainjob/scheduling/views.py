"""Resources as the scheduler sees them."""

from __future__ import annotations

from ..resources.queue import Budget as QueueBudget
from ..resources.queue import Limits, Queue
from .model import Budget, Ceiling, QueueView


def ceiling(limits: Limits) -> Ceiling:
    """Limits in numbers."""
    return Ceiling(limits.running_jobs, limits.cpu_millis, limits.memory_bytes, limits.gpu)


def budget(budget: QueueBudget | None) -> Budget | None:
    """CPU-hours as thousandths of CPU-seconds."""
    return Budget(round(budget.core_hours * 3_600_000), budget.window_seconds) if budget is not None else None


def queue_view(queue: Queue, default_backend: str = "") -> QueueView:
    """A queue's rules. Draining refuses new jobs, at the API: those that wait run."""
    spec = queue.spec
    return QueueView(
        queue.metadata.name,
        spec.backend or default_backend,
        spec.admission != "Paused",
        ceiling(spec.limits),
        ceiling(spec.per_user),
        spec.kueue.local_queue if spec.kueue is not None else "",
        spec.parent,
        spec.weight,
        dict(spec.shares),
        ceiling(spec.guaranteed),
        spec.reclaim,
        budget(spec.budget),
        budget(spec.per_user_budget),
        spec.priorities.maximum,
    )
