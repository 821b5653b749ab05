"""What one person may see, as data: the record turns it into a query, the feed into a filter. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Visible:
    """A thing is visible if it is the owner's, or lies in one of ``namespaces``, or waits in one of ``queues``.

    ``None`` in the place of a ``Visible`` means that all is.
    """

    owner: str
    namespaces: frozenset[str] = frozenset()
    """Where all is visible, whoever owns it (not where one only has a place for one's own things)."""
    queues: frozenset[str] = frozenset()

    def holds(self, *, owner: str, namespace: str, queue: str) -> bool:
        """Whether a thing with these is visible."""
        return owner == self.owner or namespace in self.namespaces or (queue != "" and queue in self.queues)
