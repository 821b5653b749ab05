"""What a namespace keeps in the object store, against its limit: uploads, and the logs and outputs of its jobs.

An ended job's outputs are always kept, also beyond the limit; it is new uploads and new jobs that wait until there is
room. Uploads count in their owner's own namespace, attempts where their job is, with what was found of them in the
store when they ended.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from functools import cached_property

from ..resources.errors import Expired, TooMany
from ..resources.quantity import format_bytes
from ..resources.trainjob import TrainJob
from ..store import Filter, Reader
from .identity import Identity

PAGE = 500
RETRY_AFTER_SECONDS = 3600.0


@dataclass(frozen=True)
class _Space:
    """The jobs of one namespace, as of a version of the feed. Never changed: a later one takes its place."""

    version: int
    sizes: dict[str, int] = field(default_factory=dict)
    """uid → bytes of its attempts."""

    @cached_property
    def bytes(self) -> int:
        """Of all."""
        return sum(self.sizes.values())


class NamespaceQuota:
    """``limit_bytes`` for each namespace; 0: none. Follows the feed, so that asking again costs next to nothing."""

    def __init__(self, limit_bytes: int = 0) -> None:
        self.limit_bytes = limit_bytes
        self._spaces: dict[str, _Space] = {}
        self._lock = threading.Lock()

    def used(self, reader: Reader, identity: Identity, namespace: str) -> int:
        """Bytes that ``namespace`` keeps. Of uploads it knows those of the one who asks, in their own namespace."""
        uploads = reader.stored_bytes(identity.username) if namespace == identity.namespace else 0
        return uploads + self._space(reader, namespace).bytes

    def left(self, reader: Reader, identity: Identity) -> int | None:
        """Bytes that one may still upload; None where nothing limits it, below 0 beyond the limit."""
        if not self.limit_bytes:
            return None
        return self.limit_bytes - self.used(reader, identity, identity.namespace)

    def check(self, reader: Reader, identity: Identity, namespace: str, more: int = 0) -> None:
        """:class:`TooMany` where ``more`` bytes have no room; with 0, where there is none at all.

        Within a write transaction to be called before anything is written, and in a reading one before that: the
        first look at a namespace goes through all of its jobs, and no write should wait for it.
        """
        if not self.limit_bytes:
            return
        used = self.used(reader, identity, namespace)
        if used + max(more, 1) > self.limit_bytes:
            raise self.error(namespace, used, more)

    def error(self, namespace: str, used: int, more: int = 0) -> TooMany:
        """That there is no room."""
        wanted = f", and {more} more bytes have no room" if more else ""
        return TooMany(
            f"The namespace {namespace!r} keeps {used} bytes of uploads, logs and outputs; "
            f"its limit is {format_bytes(self.limit_bytes)}{wanted}.",
            remedy="Delete jobs whose outputs you no longer need; uploads that none uses go after a while.",
            retry_after_seconds=RETRY_AFTER_SECONDS,
            data={"limit": self.limit_bytes, "used": used, "requested": more},
        )

    def _space(self, reader: Reader, namespace: str) -> _Space:
        """As ``reader`` sees it, or later. Nobody waits for another's look."""
        known = self._spaces.get(namespace)
        try:
            fresh = _followed(known, reader, namespace) if known is not None else _look(reader, namespace)
        except Expired:
            fresh = _look(reader, namespace)
        with self._lock:
            latest = self._spaces.get(namespace)
            if latest is None or latest is known or latest.version < fresh.version:
                self._spaces[namespace] = fresh
        return fresh


def _followed(space: _Space, reader: Reader, namespace: str) -> _Space:
    version, newest = space.version, reader.version()
    if version >= newest:  # more: a transaction that began before the latest look
        return space
    sizes = dict(space.sizes)
    while version < newest:
        page = reader.changes(version, namespaces=[namespace], kinds=["TrainJob"], limit=PAGE)
        for change in page.changes:
            job = change.resource
            if change.type == "DELETED" or not isinstance(job, TrainJob):
                sizes.pop(job.metadata.uid, None)
            else:
                sizes[job.metadata.uid] = sum(attempt.stored_bytes for attempt in job.status.attempts)
        version = page.version
    return _Space(version, sizes)


def _look(reader: Reader, namespace: str) -> _Space:
    space = _Space(reader.version())
    token = ""
    while True:
        page = reader.list_stored(TrainJob, Filter(namespaces=[namespace]), limit=PAGE, continue_=token)
        for stored in page.items:
            job = json.loads(stored.text)  # as text: there may be thousands, and two numbers are wanted of each
            attempts = job.get("status", {}).get("attempts", [])
            space.sizes[job["metadata"]["uid"]] = sum(attempt.get("storedBytes", 0) for attempt in attempts)
        token = page.continue_
        if not token:
            return space
