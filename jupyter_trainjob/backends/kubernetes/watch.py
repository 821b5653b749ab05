"""One list, then one watch a kind: what the cluster has is known here without ever asking twice.

A :class:`Watch` keeps a trimmed copy of each object and says when one changed. A watch that breaks goes on where it
was; one that was away for too long (410) lists once more. Whether the copy is current is told, never assumed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from ..base import BackendError
from .connect import Connection, Expired, Refused, back_off

log = logging.getLogger(__name__)

Object = dict[str, Any]
PAGE = 500
WATCH_SECONDS = (300, 600)
"""After so long the server ends a watch, and it is begun again where it was."""
SILENCE_SECONDS = 130.0
"""Bookmarks come about once a minute: a watch that says nothing for so long is dead."""
QUIET_SECONDS = 10.0
"""So long without a watch is told nobody: servers restart."""
FORBIDDEN_SECONDS = 60.0
"""The longest pause where we may not look: rights are given and taken while servers run, and one that restarts may
refuse for an instant what it allows.
"""
SHORT_SECONDS = 1.0
"""A watch that ends sooner without a word was refused politely."""
RELIST_FAILURES = 8
_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
)


def trimmed(found: Object, *spec: str) -> Object:
    """What is kept of an object: names, labels and such, these keys of its ``spec``, and its ``status``."""
    meta, wanted = found.get("metadata", {}), found.get("spec", {})
    return {
        "metadata": {key: meta[key] for key in _METADATA if key in meta},
        "spec": {key: wanted[key] for key in spec if key in wanted},
        "status": found.get("status", {}),
    }


class Watch:
    """All objects of one kind, by name, as the server last told of them.

    ``path``: of the list, such as ``/apis/batch/v1/namespaces/jobs/jobs``. ``what``: for people, such as ``Jobs``.
    ``trim``: makes what is kept. ``changed(old, new)`` is called on the loop for every change; ``new`` is None for
    an object that is gone. ``told(object)`` is called when the watch tells of a write of ours. ``fields``: a field
    selector. ``across``: over all namespaces, so that objects are kept by ``namespace/name``. ``moved``: tells the path
    anew where the server does not know it any more; empty for nobody knows. ``lags``: the latest times in seconds from
    an answer to one of our own writes until the watch told of it.
    """

    def __init__(
        self,
        connection: Connection,
        path: str,
        *,
        what: str,
        selector: str = "",
        fields: str = "",
        across: bool = False,
        trim: Callable[[Object], Object],
        changed: Callable[[Object | None, Object | None], None] = lambda old, new: None,
        told: Callable[[Object], None] = lambda found: None,
        moved: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self.what = what
        self.objects: dict[str, Object] = {}
        self.lists = 0
        self.lags: deque[float] = deque(maxlen=1000)
        self.failure: BackendError | None = None
        self.first_word = asyncio.Event()
        """Set by the first list, and by the first failure."""
        self.complete = asyncio.Event()
        """Set by the first list. :attr:`objects` are current while :meth:`trouble` is empty."""
        self._connection, self._path = connection, path
        self._selector, self._fields, self._across = selector, fields, across
        self._trim, self._changed, self._told, self._moved = trim, changed, told, moved
        self._version = ""
        self._put: dict[str, float] = {}
        self._dropped: set[str] = set()
        self._following = False
        self._away_since = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to list and watch, for ever."""
        self._task = asyncio.create_task(self._run(), name=f"watch-{self.what}")

    async def stop(self) -> None:
        """Leave off."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    @property
    def synced(self) -> bool:
        """Whether :attr:`objects` was ever complete."""
        return self.complete.is_set()

    @property
    def away_seconds(self) -> float:
        """For how long nothing could be heard; 0 while a watch stands."""
        return 0.0 if self._following else time.monotonic() - self._away_since

    def lag(self, share: float = 0.99) -> float:
        """Seconds that so large a ``share`` of the latest :attr:`lags` did not exceed; 0 where there were none."""
        ordered = sorted(self.lags)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    @property
    def forbidden(self) -> bool:
        """Whether we may not look."""
        return isinstance(self.failure, Refused) and self.failure.status == 403

    def trouble(self) -> str:
        """In a sentence, why :attr:`objects` may be old; empty while all is well."""
        away = self.away_seconds
        if away < QUIET_SECONDS and not self.forbidden:
            return ""
        since = f"for {away:.0f} s, and what is told of them may be old" if self.synced else "yet"
        why = f": {self.failure}" if self.failure is not None else "."
        return f"{self.what} of the cluster could not be followed {since}{why}"

    def put(self, found: Object) -> None:
        """Take in the answer to a write of ours: the watch tells of it only later."""
        meta = found.get("metadata", {})
        name = self._name(meta)
        if meta.get("uid", "") in self._dropped:
            return  # of our own removal, whatever is still told of it
        if name not in self.objects and _number(meta.get("resourceVersion")) <= _number(self._version):
            return  # the watch has told of it already, and that it is gone
        if self._is_newer(found):
            self._put[name] = time.monotonic()
            self._set(name, self._trim(found))

    def awaits(self, name: str) -> bool:
        """Whether a write of ours is still to be told of."""
        return name in self._put

    def drop(self, name: str) -> None:
        """Forget an object that we had deleted, whatever is still told of it."""
        old = self.objects.pop(name, None)
        if old is not None:
            self._dropped.add(old["metadata"].get("uid", ""))
            self._changed(old, None)

    # Behind it

    async def _run(self) -> None:
        failures = 0
        while True:
            failed, after = False, None
            began = time.monotonic()
            try:
                if not self._version:
                    await self._list()
                told = await self._follow()
                failed = not told and time.monotonic() - began < SHORT_SECONDS
            except Expired:
                log.info("The watch of %s was away for too long, and lists them anew.", self.what)
                self._version, failed = "", True
                after = 0.0 if failures == 0 else None
            except BackendError as error:
                failed = True
                after = self._failed(error, failures + 1)
                if isinstance(error, Refused) and error.status == 404:
                    self._version = ""  # the kind itself is not there, or not there any more
            except Exception as error:  # whatever a server says that is none: told, and tried again
                log.exception("The watch of %s broke", self.what)
                self._version, failed = "", True
                self._failed(BackendError(f"What the API server said could not be read: {error!r}."), failures + 1)
            failures = failures + 1 if failed else 0
            if failures >= RELIST_FAILURES:
                self._version = ""
            if failed:
                pause = back_off(failures)
                await asyncio.sleep(pause if after is None else after and max(after, pause))

    def _failed(self, error: BackendError, count: int) -> float | None:
        if self.failure is None or str(self.failure) != str(error):
            log.warning("%s can't be followed now, and will be tried again: %s", self.what, error)
        self.failure = error
        self.first_word.set()
        if self.forbidden:
            return back_off(count + 4, longest=FORBIDDEN_SECONDS)
        return error.after

    async def _list(self) -> None:
        """All of them, in pages; what is no longer there is gone."""
        self.lists += 1
        found: dict[str, Object] = {}
        query = {"limit": str(PAGE), **self._query()}
        while True:
            reply = await self._connection.request("GET", self._path, query=query, patience=0.0)
            if not reply.ok:
                if self._moved is not None:
                    self._path = await self._moved() or self._path
                raise BackendError(f"{self.what} can't be listed: the API server does not know {self._path}.")
            for item in reply.body.get("items") or []:
                found[self._name(item["metadata"])] = item
            meta = reply.body.get("metadata", {})
            if not meta.get("continue"):
                break
            query["continue"] = meta["continue"]
        self._version = meta["resourceVersion"]
        reached = _number(self._version)
        for name, old in list(self.objects.items()):
            if name not in found and _number(old["metadata"].get("resourceVersion")) <= reached:
                self._gone(name, old)
        for name, item in found.items():
            self._see(name, item)
        self._dropped.clear()
        self.complete.set()
        self._word()

    async def _follow(self) -> int:
        """Watch until the server ends it; how many events it had."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),  # noqa: S311 - no secret
            **self._query(),
        }
        count = 0
        try:
            async with self._connection.stream(self._path, query, SILENCE_SECONDS) as lines:
                self._following = True
                self._word()
                async for line in lines:
                    if line.strip():
                        count += 1
                        self._event(json.loads(line))
        finally:
            if self._following:
                self._following, self._away_since = False, time.monotonic()
        return count

    def _event(self, event: Object) -> None:
        kind, found = event.get("type"), event.get("object", {})
        if kind == "ERROR":
            text = str(found.get("message") or found.get("reason") or found)
            if found.get("code") == 410:
                raise Expired(text)
            raise BackendError(f"The API server ended the watch of {self.what}: {text[:500]}.")
        meta = found["metadata"]
        if kind in ("ADDED", "MODIFIED"):
            self._see(self._name(meta), found)
        elif kind == "DELETED":
            self._dropped.discard(meta.get("uid", ""))
            if self._is_newer(found):
                self._gone(self._name(meta), self._trim(found))
        self._version = meta["resourceVersion"]

    def _see(self, name: str, found: Object) -> None:
        at = self._put.pop(name, None)
        if at is not None:
            self.lags.append(time.monotonic() - at)
            self._told(found)
        if found["metadata"].get("uid", "") not in self._dropped and self._is_newer(found):
            self._set(name, self._trim(found))

    def _set(self, name: str, new: Object) -> None:
        old = self.objects.get(name)
        if old is not None and old["metadata"].get("uid") != new["metadata"].get("uid"):
            self._gone(name, old)
            old = None
        self.objects[name] = new
        self._changed(old, new)

    def _gone(self, name: str, last: Object) -> None:
        self._put.pop(name, None)
        if self.objects.pop(name, None) is not None:
            self._changed(last, None)

    def _is_newer(self, found: Object) -> bool:
        meta = found.get("metadata", {})
        known = self.objects.get(self._name(meta))
        return known is None or _number(meta.get("resourceVersion")) > _number(known["metadata"].get("resourceVersion"))

    def _word(self) -> None:
        self.failure = None
        self.first_word.set()

    def _query(self) -> dict[str, str]:
        told = {"labelSelector": self._selector, "fieldSelector": self._fields}
        return {name: value for name, value in told.items() if value}

    def _name(self, meta: Object) -> str:
        name = str(meta.get("name", ""))
        return f"{meta.get('namespace', '')}/{name}" if self._across else name


def _number(version: str | None) -> int:
    """Versions of one kind can be compared as numbers (Kubernetes ≥ 1.35 says so, and it was always so with etcd)."""
    return int(version) if version and version.isdigit() else 0
