"""Usage that decays, in whole numbers, so that sums do not depend on the order they were made in.

A job that uses ``rate`` from ``a`` to ``b`` has at ``t`` the decayed usage ∫ rate · 0.5^((t−s)/h) ds over [a, b],
which is
``rate · (g(b) − g(a)) / g(t)`` in units of h / ln 2, where ``g(t) = 2^(t/h)``. The numerator does not change as time
goes by: it is what is kept. Comparing two usages compares the numerators, at any time.

The same number, not multiplied by h / ln 2, is HTCondor's real user priority (``π ← β·π + (1−β)·ρ``,
``β = 0.5^(dt/h)``) and Kueue's ``(1−A)·prev + A·cur``, ``A = 1 − 0.5^(dt/h)``: the mean amount in use, seen back in
time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .model import Amount, Budget, PastView

ONE = 32
"""``g`` at the reference is two to this."""
FURTHEST = 512
"""So many half-lives from the reference numbers are still of a handy size; count anew before that."""


@dataclass(frozen=True, slots=True)
class Clock:
    """``g(t)`` in whole numbers: two to the (half-lives since ``reference`` + 32)."""

    reference: float
    half_life_seconds: float

    def growth(self, time: float) -> int:
        """At ``time``, in seconds of the epoch; 0 for what is long past."""
        exponent = (time - self.reference) / self.half_life_seconds + ONE
        if exponent < 0:
            return 0
        if exponent > FURTHEST + ONE:
            raise OverflowError(
                f"usage is counted from {self.reference:.0f}, {exponent - ONE:.0f} half-lives ago; count it anew"
            )
        # Two steps, for a float has 53 bits: what is kept are whole numbers of equal fineness at all times.
        whole = math.floor(exponent)
        return int(2.0 ** (exponent - whole + 52)) >> (52 - whole) if whole <= 52 else int(2.0**exponent)

    def charge(self, rate: int, since: float, until: float) -> int:
        """What ``rate`` in that time adds to a usage."""
        return rate * (self.growth(until) - self.growth(since))


def reference_for(time: float, half_life_seconds: float) -> float:
    """Where counting begins, when there is no ledger: the same for all moments of a long time."""
    step = half_life_seconds * FURTHEST / 2
    return math.floor(time / step) * step


@dataclass(frozen=True, slots=True)
class Weights:
    """What one unit is worth in thousandths of a CPU: Slurm's ``TRESBillingWeights``, of the machine's own make."""

    memory: float = 0.0
    """For a byte."""
    gpu: float = 0.0

    @classmethod
    def of(cls, sizes: Iterable[Amount]) -> Weights:
        """Where all of the memory, and all GPUs, are worth as much as all CPUs."""
        total = sum(sizes, Amount())
        return cls(
            total.cpu_millis / total.memory_bytes if total.memory_bytes else 0.0,
            total.cpu_millis / total.gpu if total.gpu else 0.0,
        )

    def billing(self, need: Amount) -> int:
        """The dominant resource of ``need`` in thousandths of a CPU, at least 1.

        The maximum, not the sum (Slurm's ``PriorityFlags=MAX_TRES``): who takes all memory takes the whole node, and no
        more than it.
        """
        return max(1, need.cpu_millis, round(need.memory_bytes * self.memory), round(need.gpu * self.gpu))


Leaf = tuple[str, str]
"""Queue and owner."""


@dataclass
class Ledger:
    """What ended attempts used, summed: by queue and owner, so that a snapshot need not hold every one of them."""

    reference: float
    half_life_seconds: float
    used: dict[Leaf, int] = field(default_factory=dict)
    """Numerators, by :class:`Clock`."""
    spent: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """Queue, owner, number of the budget's window → thousandths of CPU-seconds."""
    last: dict[Leaf, float] = field(default_factory=dict)
    """When a job of theirs last started in its turn."""

    def add(self, past: PastView, rate: int, budgets: Mapping[str, Budget | None], now: float = -math.inf) -> None:
        """Count one more. ``budgets``: of the queue and those above, by name; ``""`` is that of the user in the
        queue. What it took of a window that is over ``now`` is of no account.
        """
        leaf = (past.queue, past.owner)
        charge = Clock(self.reference, self.half_life_seconds).charge(rate, past.since, past.end)
        self.used[leaf] = self.used.get(leaf, 0) + charge
        if not past.overtook:
            self.last[leaf] = max(self.last.get(leaf, 0.0), past.since)
        for name, budget in budgets.items():
            if budget is not None and now < (budget.window(past.since) + 1) * budget.window_seconds:
                key = (name or past.queue, "" if name else past.owner, budget.window(past.since))
                self.spent[key] = self.spent.get(key, 0) + cost(past)

    def copy(self) -> Ledger:
        """One that does not change when this one does."""
        return Ledger(self.reference, self.half_life_seconds, dict(self.used), dict(self.spent), dict(self.last))


def cost(past: PastView) -> int:
    """What an ended attempt takes of a budget, in thousandths of CPU-seconds."""
    return round(past.need.cpu_millis * max(0.0, past.end - past.since))
