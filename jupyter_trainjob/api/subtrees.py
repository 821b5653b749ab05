"""A role in a queue holds in all queues below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from ..resources.queue import Queue
from ..store import Reader, Store
from .identity import QUEUE_PREFIX, Identity
from .tree import all_queues, lineage

INSTRUCTOR = "instructor"


class Subtrees:
    """Knows the tree of queues, and reads it again when any of them has changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: tuple[tuple[int, int], Mapping[str, Queue]] = ((-1, -1), {})
        """The tree and what state it is of, replaced together: several requests may look at once."""

    async def applied(self, identity: Identity) -> Identity:
        """``identity`` with its roles in queues for those below them, too."""
        if not any(place.startswith(QUEUE_PREFIX) for place in identity.roles):
            return identity
        tree = await self._store.aread(self._look)
        return replace(identity, roles=MappingProxyType(spread(identity.roles, tree)))

    def _look(self, reader: Reader) -> Mapping[str, Queue]:
        state, (known, tree) = reader.state_of(Queue), self._known
        if state != known:
            tree = all_queues(reader)
            self._known = (state, tree)
        return tree


def spread(roles: Mapping[str, str], queues: Mapping[str, Queue]) -> dict[str, str]:
    """``roles`` with those for queues below: what is said of a queue itself goes before what is said of those above,
    the nearest first; but who instructs a queue instructs all below it.
    """
    found = dict(roles)
    for name in queues:
        told = [roles[place] for one in lineage(name, queues) if (place := QUEUE_PREFIX + one) in roles]
        if told:
            found[QUEUE_PREFIX + name] = INSTRUCTOR if INSTRUCTOR in told else told[0]
    return found
