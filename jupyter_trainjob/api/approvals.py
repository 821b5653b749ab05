"""What is beyond a user's limits and may be approved, and the gate where it waits for that. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ..resources.queue import Approval
from ..resources.trainjob import Gate
from .limits import Refusal, first_of_each


def split(refused: Sequence[Refusal]) -> tuple[list[Refusal], list[Refusal]]:
    """Those that an instructor may let pass (the user's limits, the queue's time limit), and the others."""
    asks = [one for one in refused if one.scope == "user" or (one.scope, one.limit) == ("queue", "timeLimitSeconds")]
    return asks, [one for one in refused if one not in asks]


def gate(asks: Sequence[Refusal], rule: Approval, now: datetime) -> Gate:
    """Where such a job waits."""
    told = "; ".join(one.message for one in first_of_each(asks))
    return Gate(
        type="approval",
        message=f"it waits for an instructor's approval: {told}"[:500],
        until=now + timedelta(seconds=rule.within_seconds),
    )
