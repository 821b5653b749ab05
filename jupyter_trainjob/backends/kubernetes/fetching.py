"""URIs as inputs in a cluster: the server fetches them into the object store before the pod starts.

Not the pod: what an operator allows is a prefix of a path, which no NetworkPolicy can tell from another on the same
host, and whatever the sidecar may reach the job's own code reaches too, for they share a network. So the server
fetches, with the rules of :mod:`..local.fetch`, and a pod reads from the store alone, as ever.

The Job is made suspended, with the annotation :data:`.objects.FETCHING`; all there is to fetch stands in the orders in
its Secret, so that whichever server sees such a Job goes on with it. One patch lets it start.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import IO, Any, cast

from ...resources.names import fetched_prefix
from ...resources.trainjob import UriInput
from ...resources.uris import UriError, allowed
from ...storage.base import ObjectStore, StoreError
from ..base import AttemptRef, AttemptRequest, BackendError
from ..local.fetch import FetchRules, pieces
from ..orders import check_room
from . import delivery, listing, objects
from .connect import MERGE_PATCH, Connection, Reply
from .reading import Object, annotation, meta
from .settings import KubernetesSettings

log = logging.getLogger(__name__)

TRIES = 6
AGAIN_SECONDS, AGAIN_MOST_SECONDS = 5.0, 60.0
"""After the first try that failed, doubled after each further one."""
AT_ONCE = 2
"""Attempts whose inputs are fetched at the same time: each may take minutes."""
RELEASES = 5
"""So often a Job is looked at anew that changed between the look and the patch."""


class CalledOff(Exception):
    """Nobody wants it any more."""


def wanted(request: AttemptRequest) -> bool:
    """Whether the attempt has anything to fetch."""
    return any(isinstance(item, UriInput) for item in request.job.spec.inputs)


def is_fetching(job: Object | None) -> bool:
    """Whether a Job waits for what is fetched, and nobody gave it up or cancelled it."""
    over = annotation(job, objects.CANCELLED) is not None or annotation(job, objects.GAVE_UP) is not None
    return annotation(job, objects.FETCHING) is not None and not over


def conditions(job: Object | None, failed: str = "") -> list[dict[str, str]]:
    """What is to be told of it. ``failed``: how the last try did. Pure."""
    if is_fetching(job):
        message = failed or "The job starts when its inputs are there: they are being brought."
        return [{"type": "InputsReady", "status": "False", "reason": "Preparing", "message": message}]
    told = annotation(job, objects.FETCHED)
    if told is None:
        return []
    return [
        {"type": "InputsReady", "status": "True", "reason": "Brought", "message": "Its inputs are there."},
        {"type": "InputsFetched", "status": "True", "reason": "Fetched", "message": told},
    ]


class Arriving(io.RawIOBase):
    """Pieces that come as a file to be stored: nothing of it is kept, and whatever is wrong with it keeps it from being
    stored. ``took(size)`` is called for each piece before it is passed on, and may raise.
    """

    def __init__(self, found: Iterator[bytes], took: Callable[[int], None]) -> None:
        self._found, self._took, self._rest = found, took, memoryview(b"")
        self.digest, self.size = hashlib.sha256(), 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """What is there of the piece that came last, else of the next."""
        if not self._rest:
            piece = next(self._found, b"")
            self._took(len(piece))
            self.digest.update(piece)
            self.size += len(piece)
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class Fetching:
    """All of one backend's. ``job(ref)``: as the watch told of it last."""

    def __init__(
        self,
        api: Connection,
        store: ObjectStore,
        settings: KubernetesSettings,
        rules: FetchRules,
        job: Callable[[AttemptRef], Object | None],
    ) -> None:
        self._api, self._store, self._settings, self._rules, self._job = api, store, settings, rules, job
        self._tries: dict[AttemptRef, int] = {}
        self._failed: dict[AttemptRef, str] = {}
        self._closed = False
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="backend-fetching")

    def close(self) -> None:
        """Begin nothing more; what is under way ends with the process, or when its Job is looked at."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def check(self, request: AttemptRequest) -> None:
        """Raises :class:`BackendError` for what may not be fetched, which the record may not know yet."""
        for item in request.job.spec.inputs:
            if isinstance(item, UriInput):
                try:
                    allowed(item.uri, self._rules.prefixes)
                except UriError as error:
                    raise BackendError(f"The input {item.path!r} can't be fetched: {error}.", permanent=True) from None

    async def fetch(self, ref: AttemptRef) -> Object | None:
        """All that an attempt wants, then let it start, or give it up; the Job as it is then.

        Raises :class:`BackendError` where it is to be tried again, and ``StoreError``.
        """
        job = self._job(ref)
        if job is None or not is_fetching(job):
            return None
        name = str(meta(job)["name"])
        secret = await self._api.request("GET", self._path("/api/v1", "secrets", ref.name))
        orders = base64.b64decode((secret.body.get("data") or {}).get(delivery.ORDERS, ""))
        try:
            if hashlib.sha256(orders).hexdigest() != annotation(job, objects.ORDERS):
                raise BackendError(
                    f"The orders in the Secret {ref.name} are gone, or not those that its Job was made with.",
                    permanent=secret.ok,
                )
            told = await asyncio.get_running_loop().run_in_executor(self._threads, self._bring, ref, orders)
        except CalledOff:
            await self._clear_if_gone(ref)
            return None
        except (BackendError, StoreError) as error:
            if self._again(ref, error):
                raise
            patch = objects.give_up_patch({"limit": "BackendError", "message": str(error)})
            return (await self._patch(name, patch)).body
        self._tries.pop(ref, None)
        self._failed.pop(ref, None)
        released = await self._release(name, told)
        if released is None:
            await self._clear_if_gone(ref)
        return released

    def failed(self, ref: AttemptRef) -> str:
        """How the last try to bring its inputs failed, and when the next one is; empty where none did."""
        return self._failed.get(ref, "")

    def _again(self, ref: AttemptRef, error: BackendError | StoreError) -> bool:
        """Whether that is tried again; then it is said when. A store that is away costs no try: it is ours to mend."""
        tries = self._tries.get(ref, 0) + isinstance(error, BackendError)
        self._tries[ref] = tries
        if isinstance(error, BackendError):
            if error.permanent or tries >= TRIES:
                return False
            error.after = max(error.after or 0.0, min(AGAIN_MOST_SECONDS, AGAIN_SECONDS * 2 ** (tries - 1)))
        pause = getattr(error, "after", None) or AGAIN_SECONDS
        then = datetime.now(timezone.utc) + timedelta(seconds=pause)
        which = f" (try {tries + 1} of {TRIES})" if isinstance(error, BackendError) else ""
        self._failed[ref] = (
            f"Its inputs could not be brought yet: {str(error).rstrip('.')}. That is tried again at {then:%H:%M:%S} "
            f"UTC{which}."
        )
        return True

    async def _release(self, name: str, told: str) -> Object | None:
        """Let the Job start as it is now, unless somebody cancelled it meanwhile."""
        for _ in range(RELEASES):
            job = await self._api.request("GET", self._path("/apis/batch/v1", "jobs", name))
            if not job.ok or not is_fetching(job.body):
                return None
            reply = await self._patch(name, objects.fetched_patch(job.body, told))
            if reply.ok:
                return reply.body
        raise BackendError(f"the Job {name} is changed by somebody else all the time")

    async def forget(self, ref: AttemptRef) -> None:
        """Remove what was fetched for it. Of a Job that somebody deleted nobody knows whether that was anything."""
        self._tries.pop(ref, None)
        self._failed.pop(ref, None)
        job = self._job(ref)
        brought = annotation(job, objects.FETCHING) is not None or annotation(job, objects.FETCHED) is not None
        if job is None or brought:
            await self._clear(ref)

    async def _clear_if_gone(self, ref: AttemptRef) -> None:
        """Somebody deleted the Job while a file of it came: who looked after that may have been here already."""
        if self._job(ref) is None:
            await self._clear(ref)

    async def _clear(self, ref: AttemptRef) -> None:
        try:
            await asyncio.to_thread(self._store.delete_prefix, fetched_prefix(ref.uid, ref.attempt))
        except StoreError as error:
            raise BackendError(f"What was fetched for {ref.name} can't be removed now: {error}") from error

    def _bring(self, ref: AttemptRef, orders: bytes) -> str:
        """Blocks. What came, for people; raises :class:`BackendError`, :class:`CalledOff` and ``StoreError``."""
        deadline = time.monotonic() + self._rules.maximum_seconds
        given: dict[str, Any] = json.loads(orders)
        inputs, limit = listing.inputs_of(given, self._store), given["limits"]["inputBytes"]
        count = sum({one["get"]: one["bytes"] or 0 for one in inputs}.values())
        told = []

        def going_on() -> None:
            if self._closed or not is_fetching(self._job(ref)):
                raise CalledOff

        def took(size: int) -> None:
            nonlocal count
            going_on()
            count += size
            check_room(count, limit, more=True)

        for one in inputs:
            if "uri" not in one:
                continue
            with pieces(one["uri"], self._rules, deadline=deadline, going_on=going_on) as found:
                arriving = Arriving(found, took)
                self._store.put(one["get"], cast(IO[bytes], arriving))
            told.append(f"{one['path']}: sha256:{arriving.digest.hexdigest()} ({arriving.size} bytes)")
        return "; ".join(told)

    async def _patch(self, name: str, patch: Object) -> Reply:
        path = self._path("/apis/batch/v1", "jobs", name)
        return await self._api.request("PATCH", path, body=patch, content_type=MERGE_PATCH)

    def _path(self, group: str, kind: str, name: str) -> str:
        return f"{group}/namespaces/{self._settings.namespace}/{kind}/{name}"
