"""What the record hands out beside resources."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Generic, Literal, NamedTuple, TypeVar

from ..resources.base import R, Resource

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]


class Stored(Generic[R]):
    """An object as the record holds it. Reading its text into a model costs more than fetching it: that waits until
    somebody asks, which lists of ended jobs never do.
    """

    def __init__(self, model: type[R], text: str, owner: str, phase: str) -> None:
        self._model = model
        self.text = text
        """Its wire form, as JSON text."""
        self.owner = owner
        self.phase = phase

    @cached_property
    def resource(self) -> R:
        """The object itself."""
        return self._model.model_validate_json(self.text)


T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a list.

    ``continue_`` is empty on the last page. ``resource_version`` is the feed's version when the *first* page was
    read: following the feed from there misses nothing. ``remaining`` is 0 on the last page, None where unknown.
    """

    items: list[T]
    continue_: str
    resource_version: int
    remaining: int | None = None


@dataclass(frozen=True)
class Change:
    """One change: ``resource`` as it was written at ``version`` (DELETED: as it was last)."""

    version: int
    type: ChangeType
    resource: Resource


class News:
    """The latest changes that somebody has read, for others who follow the feed as closely. For any thread."""

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._changes: OrderedDict[int, Change] = OrderedDict()
        self._keeping = threading.Lock()

    def get(self, version: int) -> Change | None:
        """The change of that version, if it is still here."""
        return self._changes.get(version)

    def keep(self, found: list[Change]) -> None:
        """These were read."""
        with self._keeping:
            for change in found[-self._most :]:
                self._changes[change.version] = change
            while len(self._changes) > self._most:
                self._changes.popitem(last=False)  # of a plain dict the first is looked for among all that were deleted


@dataclass(frozen=True)
class ChangePage:
    """Changes in the order of their versions; ask on with ``since=version``."""

    changes: list[Change]
    version: int


@dataclass(frozen=True)
class BlobRow:
    """What is known of an uploaded blob. Its bytes lie in the object store."""

    owner: str
    digest: str
    size: int
    created: datetime
    last_used: datetime


class EndedRow(NamedTuple):
    """What an ended attempt held, from ``since`` until ``until`` (seconds of the epoch)."""

    uid: str
    attempt: int
    queue: str
    owner: str
    backend: str
    cpu_millis: int
    memory_bytes: int
    gpu: int
    since: float
    until: float
    overtook: bool


@dataclass(frozen=True)
class LeaseRow:
    """Who holds a lease, and until when."""

    name: str
    holder: str
    expires: datetime
