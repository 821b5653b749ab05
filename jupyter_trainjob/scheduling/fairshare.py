"""What the weights of the tree give to each user, for reports.

The order of jobs (:mod:`.order`) is Fair Tree's (https://slurm.schedmd.com/fair_tree.html): siblings by shares over
usage, from the root down to the users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .model import QueueView


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
