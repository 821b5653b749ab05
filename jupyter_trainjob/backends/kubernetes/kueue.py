"""Kueue: what it says of our Jobs that wait for it. It admits them; we only hand over, ask and tell.

Where a Job stands is asked of its visibility API, and only when a person looks. Why it waits stands in its Workload:
these are watched from the first Job on that is Kueue's, and never where no queue uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..base import AttemptRef, BackendError, Place
from .connect import Connection, Refused, Reply
from .objects import KUEUE_QUEUE, is_kueues
from .reading import Object, conditions, meta, true
from .watch import Watch, trimmed

log = logging.getLogger(__name__)

GROUP = "kueue.x-k8s.io"
VISIBILITY = "visibility.kueue.x-k8s.io"
LINE_SECONDS = 3.0
"""So long what was heard of a line is told again to others who ask."""
LOOK_SECONDS = 2.0
"""Somebody is waiting for the answer."""
ABSENT_SECONDS = 10.0
"""Whether Kueue is there is asked at most this often while it isn't."""
PAGE, PAGES = 1000, 10


class Kueue:
    """One cluster's, as far as one namespace is concerned. ``closed(job name)`` is called when a Workload is over."""

    def __init__(self, api: Connection, namespace: str, closed: Callable[[str], None]) -> None:
        self._api, self._namespace, self._closed = api, namespace, closed
        self._versions: dict[str, str] = {}
        self._absent_until = 0.0
        self._workloads: dict[str, Object] = {}
        self._watch: Watch | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._lines: dict[str, tuple[float, dict[str, int]]] = {}
        self._asking = asyncio.Lock()

    def notice(self) -> None:
        """There is a Job that is Kueue's: from now on its Workloads are watched."""
        if self._watch is None and self._beginning is None and time.monotonic() >= self._absent_until:
            self._beginning = asyncio.create_task(self._begin(), name="kueue")

    async def stop(self) -> None:
        """Leave off."""
        if self._beginning is not None:
            self._beginning.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beginning
        if self._watch is not None:
            await self._watch.stop()
        self._watch = self._beginning = None

    def warnings(self) -> list[str]:
        """Why what is told of waiting may be old."""
        told = self._watch.trouble() if self._watch is not None else ""
        return [told] if told else []

    def borne(self, job: Object) -> Object:
        """``job`` with its Workload beside it, under ``workload``, where it is Kueue's and that is known."""
        workload = self._workloads.get(str(meta(job).get("name"))) if is_kueues(job) else None
        return {**job, "workload": workload} if workload is not None else job

    async def places(self, jobs: Mapping[AttemptRef, Object]) -> dict[AttemptRef, Place]:
        """Where suspended Jobs stand, and why they wait. Raises nothing: what can't be told is told so."""
        self.notice()
        await self._hear()
        lines = {name: await self._line(name) for name in {_queue(job) for job in jobs.values()}}
        found = {}
        for ref, job in jobs.items():
            at = lines[_queue(job)].get(str(meta(job).get("name")))
            found[ref] = Place(at + 1 if at is not None else None, self._why(job))
        return found

    async def check(self, local_queue: str, priority_classes: Collection[str]) -> None:
        """Raises :class:`BackendError`, permanent where a queue that names these would wait for ever."""
        if not await self._version(GROUP):
            raise _not_installed()
        wanted = [(f"namespaces/{self._namespace}/localqueues/{local_queue}", self._no_queue(local_queue))]
        wanted += [
            (f"workloadpriorityclasses/{name}", f"the cluster has no WorkloadPriorityClass {name!r}")
            for name in priority_classes
        ]
        for path, missing in wanted:
            try:
                reply = await self._get(GROUP, path)
            except Refused as error:
                if error.status != 403:  # a right that only this look needs
                    raise
                continue
            if reply is None:
                raise _not_installed()
            if reply.code == 404:
                raise BackendError(f"{missing}.", remedy="Make it first, or name another.", permanent=True)

    # Behind it

    def _no_queue(self, name: str) -> str:
        return f"the namespace {self._namespace} has no LocalQueue {name!r}"

    async def _begin(self) -> None:
        self._absent_until = time.monotonic() + ABSENT_SECONDS
        try:
            if path := await self._path():
                self._watch = Watch(
                    self._api, path, what="Workloads", trim=_trim, changed=self._changed, moved=self._moved
                )
                self._watch.start()
        except BackendError as error:
            log.info("Kueue can't be asked now: %s", error)
        finally:
            self._beginning = None

    async def _path(self) -> str:
        """Of Workloads; empty where there is no Kueue."""
        version = await self._version(GROUP)
        return f"/apis/{GROUP}/{version}/namespaces/{self._namespace}/workloads" if version else ""

    async def _moved(self) -> str:
        """The same, where the path that was good is no more: Kueue was upgraded, or taken away."""
        self._versions.pop(GROUP, None)
        return await self._path()

    async def _get(self, group: str, rest: str, query: Mapping[str, str] | None = None) -> Reply | None:
        """What lies at ``rest``, by the version that the cluster has now; None where it does not know the group."""
        version, tried = await self._version(group), ""
        reply = None
        while version and version != tried:
            path = f"/apis/{group}/{version}/{rest}"
            reply = await self._api.request("GET", path, query=query, patience=LOOK_SECONDS)
            if reply.code != 404:
                return reply
            self._versions.pop(group, None)  # a cluster is upgraded while servers run
            version, tried = await self._version(group), version
        return reply if version else None

    async def _version(self, group: str) -> str:
        """The version that the cluster prefers; empty where it does not know the group."""
        if group not in self._versions:
            reply = await self._api.request("GET", f"/apis/{group}", patience=LOOK_SECONDS)
            if not reply.ok:
                return ""
            self._versions[group] = str(reply.body["preferredVersion"]["version"])
        return self._versions[group]

    def _changed(self, old: Object | None, new: Object | None) -> None:
        name = _job_name(new or old or {})
        if new is not None:
            self._workloads[name] = new
            if true(new, "Finished"):
                self._closed(name)
        elif self._workloads.get(name, {}).get("metadata", {}).get("uid") == meta(old).get("uid"):
            self._workloads.pop(name, None)

    async def _hear(self) -> None:
        """Give a watch that has only begun a moment for its first list."""
        if self._beginning is not None:
            await asyncio.wait([self._beginning], timeout=LOOK_SECONDS)
        if self._watch is not None and not self._watch.synced:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._watch.first_word.wait(), LOOK_SECONDS)

    async def _line(self, local_queue: str) -> dict[str, int]:
        """Job → place in the LocalQueue, from 0; empty where that can't be told now."""
        async with self._asking:
            until, line = self._lines.get(local_queue, (0.0, {}))
            if time.monotonic() < until:
                return line
            try:
                line = await self._ask(local_queue)
            except BackendError:  # the position is left out, then
                line = {}
            self._lines[local_queue] = (time.monotonic() + LINE_SECONDS, line)
            return line

    async def _ask(self, local_queue: str) -> dict[str, int]:
        line: dict[str, int] = {}
        for page in range(PAGES):
            query = {"limit": str(PAGE), "offset": str(page * PAGE)}
            path = f"namespaces/{self._namespace}/localqueues/{local_queue}/pendingworkloads"
            reply = await self._get(VISIBILITY, path, query)
            items = (reply.body.get("items") or []) if reply is not None else []
            line |= {_job_name(item): int(item.get("positionInLocalQueue") or 0) for item in items}
            if len(items) < PAGE:
                break
        return line

    def _why(self, job: Object) -> str:
        where = f"Kueue (LocalQueue {_queue(job)})"
        if self._watch is None:
            return f"{where}: Kueue is not installed in the cluster, or can't be asked, so nothing admits it"
        if self._watch.forbidden:
            return f"{where} has not admitted it; why is not known here, for this server may not read Workloads"
        workload = self._workloads.get(str(meta(job).get("name")))
        if workload is None:
            return f"{where} has not taken notice of it; if that lasts, Kueue does not run, or can't use the Job"
        return f"{where}: {why(workload)}"


def why(workload: Object) -> str:
    """Why a Workload is not admitted, as its conditions tell it: a clause without a full stop. Pure."""
    told = conditions(workload)
    evicted, reserved, checks = (told.get(name, {}) for name in ("Evicted", "QuotaReserved", "Admitted"))
    if true(workload, "Finished"):
        return f"it is closed: {_clause(told['Finished'])}"
    if (workload.get("spec") or {}).get("active") is False:
        said = _clause(evicted) if evicted.get("status") == "True" else "somebody deactivated it"
        return f"it is set aside until an operator activates its Workload again: {said}"
    if reserved.get("status") == "True" and checks.get("status") != "True":
        said = _clause(checks)
        return "its quota is reserved, and it waits for the admission checks" + (f": {said}" if said else "")
    if reserved.get("status") == "False":
        return _clause(reserved) or "it waits for its turn"
    return "it waits for its turn"


def _not_installed() -> BackendError:
    return BackendError(
        "Kueue is not installed in the cluster.", remedy="Install it, or leave spec.kueue out.", permanent=True
    )


def _clause(condition: Object) -> str:
    return " ".join(str(condition.get("message") or "").split()).rstrip(" .")[:800]


def _queue(job: Object) -> str:
    return str((meta(job).get("labels") or {}).get(KUEUE_QUEUE) or "")


def _job_name(workload: Object) -> str:
    owners: list[dict[str, Any]] = meta(workload).get("ownerReferences") or []
    return next((str(one.get("name")) for one in owners if one.get("kind") == "Job"), "")


def _trim(found: Object) -> Object:
    kept = trimmed(found, "active")
    return {**kept, "status": {"conditions": (found.get("status") or {}).get("conditions") or []}}
