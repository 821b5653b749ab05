"""What a list is asked for, and the same once it is checked. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ..resources.errors import BadRequest
from ..resources.visible import Visible
from .paging import fingerprint
from .selectors import Requirement, parse_selector
from .times import to_text

Order = Literal["newest", "oldest"]


@dataclass(frozen=True)
class Filter:
    """Which objects of a kind are meant: those that pass every part. An empty one leaves out nothing."""

    namespaces: Collection[str] | None = None
    """None means all, an empty collection none; cluster-wide objects lie in ``""``."""
    owner: str | None = None
    labels: str = ""
    """A Kubernetes selector."""
    phases: Collection[str] = ()
    queue: str | None = None
    text: str = ""
    """Looked for in names and label values, upper or lower case alike."""
    finished_before: datetime | None = None
    visible: Visible | None = None
    """Leaves out what one person may not see."""

    def checked(self, kind: str) -> Selection:
        """These objects of ``kind``; :class:`BadRequest` names a selector or a text that can't be."""
        spaces, before = self.namespaces, self.finished_before
        return Selection(
            kind=kind,
            namespaces=None if spaces is None else tuple(sorted({storable(item, "namespace") for item in spaces})),
            owner=None if self.owner is None else storable(self.owner, "owner"),
            labels=tuple(parse_selector(self.labels)),
            # A Phase is a str whose str() is not its value.
            phases=tuple(sorted({storable(getattr(phase, "value", phase), "phase") for phase in self.phases})),
            queue=None if self.queue is None else storable(self.queue, "queue"),
            text=storable(self.text, "search text").lower(),
            finished_before=None if before is None else to_text(before),
            visible=self.visible,
        )


ALL = Filter()


@dataclass(frozen=True)
class Selection:
    """What a list holds: a :class:`Filter` on a kind, in a form that SQL can be made of."""

    kind: str
    namespaces: tuple[str, ...] | None
    owner: str | None
    labels: tuple[Requirement, ...]
    phases: tuple[str, ...]
    queue: str | None
    text: str
    finished_before: str | None
    visible: Visible | None

    def fingerprint(self, order: Order) -> str:
        """Differs for lists that differ."""
        return fingerprint(
            kind=self.kind,
            namespaces=self.namespaces,
            owner=self.owner,
            labels=[[part.key, part.operator, part.values] for part in self.labels],
            phases=self.phases,
            queue=self.queue,
            text=self.text,
            finished_before=self.finished_before,
            visible=self.visible and [self.visible.owner, sorted(self.visible.namespaces), sorted(self.visible.queues)],
            order=order,
        )


def is_storable(text: str) -> bool:
    """Whether every database can hold it: PostgreSQL knows no NUL, UTF-8 no lone surrogate."""
    return "\0" not in text and (text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text))


def storable(text: str, what: str) -> str:
    """``text`` if :func:`is_storable`, else :class:`BadRequest`."""
    if not is_storable(text):
        raise BadRequest(
            f"The {what} {text[:80]!r} holds a character that can't be stored.",
            remedy="Leave out NUL characters and lone surrogates.",
        )
    return text
