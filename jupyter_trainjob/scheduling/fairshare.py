"""Fair Tree: who among siblings has had least for their shares, from the root down to the users.

Source: Slurm, https://slurm.schedmd.com/fair_tree.html. The order of jobs (:mod:`.order`) compares by the same
numbers; what is here ranks a whole tree at once, for reports and for the published properties.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from .model import QueueView


@dataclass(frozen=True, slots=True)
class Account:
    """A queue or, without children, a user. ``usage`` is of a user; an account's is the sum."""

    name: str
    shares: float = 1.0
    usage: float = 0.0
    children: tuple[Account, ...] = ()

    @property
    def total(self) -> float:
        """Its usage, or that of all users below it."""
        return math.fsum(child.total for child in self.children) if self.children else self.usage


def level_fair_share(account: Account, siblings: Sequence[Account]) -> float:
    """``LF = S / U``: shares over usage, each as a part of all siblings' (``siblings`` has ``account`` in it).

    Infinite where nothing was used; more than 1 where it had less than its share.
    """
    if account.total == 0:
        return math.inf
    shares = account.shares / math.fsum(one.shares for one in siblings)
    return shares / (account.total / math.fsum(one.total for one in siblings))


def fair_tree(roots: Sequence[Account]) -> Mapping[str, float]:
    """Each user's factor: rank from the bottom / number of users, the first has 1.0.

    Siblings by LF, the largest first, depth-first. Users of equal LF share a rank; a user tied with an account has
    the rank of its best user; the children of tied accounts are merged before they are sorted.
    """
    users = _count(roots)
    ranks: dict[str, int] = {}
    _visit([(one, level_fair_share(one, roots)) for one in roots], users, ranks)
    return {name: rank / users for name, rank in ranks.items()}


def _count(accounts: Sequence[Account]) -> int:
    return sum(_count(one.children) if one.children else 1 for one in accounts)


def _visit(
    siblings: list[tuple[Account, float]], left: int, ranks: dict[str, int], tied_with: int | None = None
) -> int:
    """Rank the users below; ``left`` have no rank yet. The best of them have ``tied_with``, where it is given."""
    ordered = sorted(siblings, key=lambda pair: -pair[1])
    for _, tied in groupby(ordered, key=lambda pair: pair[1]):
        merged: list[tuple[Account, float]] = []
        rank, users = left if tied_with is None else tied_with, 0
        for one, _ in tied:
            if one.children:
                merged += [(child, level_fair_share(child, one.children)) for child in one.children]
            else:
                ranks[one.name] = rank
                users += 1
        left -= users
        if merged:
            left = _visit(merged, left, ranks, rank if users else tied_with)
        tied_with = None
    return left


def targets(users: Sequence[tuple[str, str]], queues: Mapping[str, QueueView]) -> dict[tuple[str, str], float]:
    """What each user is due: down the tree, weight over the weights of all siblings that have jobs."""
    below: dict[str, dict[tuple[str, str], int]] = {}
    for queue, owner in users:
        below.setdefault(queue, {})[queue, owner] = queues[queue].shares.get(owner, 1)
        while queue in queues:
            parent = queues[queue].parent if queues[queue].parent in queues else ""
            if (queue, "") in below.setdefault(parent, {}):
                break
            below[parent][queue, ""] = queues[queue].weight
            queue = parent
    found: dict[tuple[str, str], float] = {}
    level = [("", 1.0)]
    while level:
        name, due = level.pop()
        siblings = below.get(name, {})
        for (queue, owner), weight in siblings.items():
            part = due * weight / sum(siblings.values())
            if owner:
                found[queue, owner] = part
            else:
                level.append((queue, part))
    return found
