"""The backend of a cluster: attempts as Jobs, followed by watch, their outputs taken from the object store."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from ...resources.profile import Profile
from ...storage.base import ObjectStore, StoreError
from ..base import (
    AttemptRef,
    AttemptRequest,
    BackendError,
    NodeCapacity,
    Observation,
    Place,
)
from ..local.fetch import FetchRules
from . import delivery, evidence, objects, report
from .attempts import Attempt, Attempts
from .complaints import Complaints
from .connect import Access, Connection, Refused
from .environments import Environments
from .errands import Errands
from .fetching import Fetching, is_fetching
from .fetching import wanted as fetches
from .following import Following, Last
from .handover import Handover
from .kueue import Kueue
from .lanes import Lanes
from .offering import Offering
from .orphans import Orphans
from .pool import Pool
from .reading import is_done
from .renewal import Renewal
from .room import Room
from .settings import KubernetesSettings
from .watch import Object, Watch

log = logging.getLogger(__name__)

START_SECONDS = 15.0
"""So long a start waits for the cluster's first word."""
LOOK_SECONDS = 3.0
"""So long an answer is waited for that only confirms what the watches tell."""
KILL_SECONDS = 1
ISOLATION = "namespaces+cgroups"


class KubernetesBackend(Offering):
    """Runs attempts in one namespace of a cluster. ``settings`` say which, and how."""

    def __init__(self, *, name: str, settings: KubernetesSettings, fetching: FetchRules | None = None) -> None:
        self.name = name
        self._rules = fetching or FetchRules()
        self._settings = settings
        self._terms = delivery.terms(name, settings)
        self._errands = Errands(lambda ref: self._changed(ref), name)
        self._connection: Connection | None = None
        self._following: Following | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._changed: Callable[[AttemptRef], None] = lambda ref: None
        self._has_room: Callable[[], None] = lambda: None
        self._told_room: list[NodeCapacity] = []

    # Life of the backend

    def serves(self, record: str) -> None:
        """What it makes bears the id, and what bears another's is left alone."""
        self._settings = replace(self._settings, record=record)

    async def start(self, store: ObjectStore, changed: Callable[[AttemptRef], None]) -> None:
        """Connect, list, watch. A cluster that is away for the moment is waited for behind the scenes.

        Raises :class:`BackendError` where waiting would not help: a wrong configuration, a right that is missing.
        """
        self._changed = changed
        settings = self._settings
        delivery.signing(store, self.name)
        self._connection = await Connection.open(Access(settings.kubeconfig, settings.context))
        self._secrets = Handover(self._connection, store, settings, self._terms)
        self._following = following = Following(store, changed, self.name)
        self._lanes = Lanes(changed)
        self._attempts = Attempts(self._connection, settings, changed)
        self._attempts.told = self._lanes.leave
        self._complaints = Complaints(self._connection, self._path("events"), self._complained, self.name)
        self._renewal = Renewal(self._attempts, following, self._secrets, self._errands, self.name)
        self._orphans = Orphans(self._secrets, self._attempts, self.name)
        self._attempts.wanted, self._attempts.pod_changed = following.wanted, following.poke
        self._attempts.job_gone = following.break_off
        self._environments = environments = Environments(
            self._connection,
            store,
            settings,
            name=self.name,
            jobs=self._jobs,
            pods=self._attempts.pods,
            changed=changed,
        )
        self._attempts.helper_changed = environments.job_changed
        self._fetching = Fetching(self._connection, store, settings, self._rules, self._attempts.job)
        self._room = Room(self._connection, settings, self._room_changed)
        self._kueue = Kueue(self._connection, settings.namespace, self._closed)
        self._attempts.borne = self._kueue.borne
        self._pool = Pool(self._connection, store, self._secrets, self._attempts, self._room, self.name)
        self._attempts.slots_changed = self._pool.changed
        self._attempts.theirs_changed = self._room.noticed
        for watch in self._watches:
            watch.start()
        try:
            await self._secrets.trust_store_soon()
            await self._look_around()
        except BaseException:
            await self.stop()
            raise
        self._tasks.append(asyncio.create_task(self._renewal.run(), name=f"backend-{self.name}-renew"))
        self._pool.start()

    async def _look_around(self) -> None:
        words = [asyncio.create_task(watch.first_word.wait()) for watch in self._watches]
        _, silent = await asyncio.wait(words, timeout=START_SECONDS)
        for task in silent:
            task.cancel()
        for watch in (self._jobs, self._attempts.pods):
            error = watch.failure
            if error is not None and (error.permanent or _is_final(error)):
                raise error
        if self._jobs.failure is None and not silent:
            await self._check_namespace()
            if await self._orphans.find():
                return
        else:
            log.warning("backend %s: %s", self.name, self._jobs.failure or "the cluster has not answered yet")
        self._tasks.append(asyncio.create_task(self._orphans.find_later(), name=f"backend-{self.name}-orphans"))

    async def _check_namespace(self) -> None:
        name = self._settings.namespace
        with contextlib.suppress(Refused):  # a right that only this look needs
            reply = await self._api.request("GET", f"/api/v1/namespaces/{name}", patience=2.0)
            if reply.code == 404:
                raise BackendError(
                    f"The cluster at {self._api.address} has no namespace {name!r}.",
                    remedy="`jupyter trainjob deploy` makes it, with all else that is needed.",
                    permanent=True,
                )

    async def stop(self) -> None:
        """Stop looking. Attempts go on."""
        if self._connection is None:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._errands.stop()
        await self._complaints.stop()
        self._lanes.clear()
        self._fetching.close()
        await self._pool.stop()
        self._room.stop()
        await self._kueue.stop()
        for watch in self._watches:
            await watch.stop()
        if self._following is not None:
            await self._following.stop()
        await self._connection.close()
        self._connection, self._tasks = None, []

    # The port

    def may_create(self, ref: AttemptRef) -> bool:
        """As far as the cluster keeps up with what was made before."""
        return self._need().job(ref) is not None or self._lanes.enter(ref)

    def give_up_turn(self, ref: AttemptRef) -> None:
        """See :mod:`.lanes`."""
        if self._connection is not None:
            self._lanes.give_up(ref)

    async def create(self, request: AttemptRequest) -> None:
        """The Secret, then the Job, or one that waits for it. What a server that died in between left is taken up."""
        if self._need().job(request.ref) is not None:
            return
        self._lanes.keep(request.ref)
        untold = False
        try:
            await self._make(request)
            untold = self._jobs.awaits(request.ref.name)
        finally:
            (self._lanes.leave_soon if untold else self._lanes.leave)(request.ref)

    async def _make(self, request: AttemptRequest) -> None:
        ref, settings = request.ref, self._settings
        self._fetching.check(request)
        try:
            environment = await self._environment_of(request.job)
            files = await self._secrets.prepare(request, environment)
        except StoreError as error:
            raise BackendError(f"The object store can't be used: {error}") from error
        digest, fetching = hashlib.sha256(files[delivery.ORDERS]).hexdigest(), fetches(request)
        job = objects.job(request, settings, orders_digest=digest, environment=environment, fetching=fetching)
        self._attempts.created(ref)
        self._orphans.refs.add(ref)  # until there is a Job with which it goes
        found = await self._pool.take(request, files, digest) or await self._attempts.make(ref, job)
        self._orphans.refs.discard(ref)
        self._jobs.put(found)
        await self._secrets.give(ref, found)
        self._bring_soon(ref, found)

    async def observe(self, ref: AttemptRef) -> Observation:
        """From what the watches and the sidecar told. Raises :class:`BackendError` before their first word."""
        attempts, following = self._need(), self._follower
        job = attempts.job(ref)
        if job is None:
            if not attempts.complete:
                told = attempts.trouble() or f"The cluster has not told yet what it has of {ref.name}."
                raise BackendError(told)
            job = attempts.buried(ref) or await self._looked_up(ref)
        if job is None:
            return await self._left(ref)
        known = attempts.of(ref)
        sight = attempts.sight(job, known)
        self._help(ref, known, sight)
        self._bring_soon(ref, job)
        if objects.is_kueues(job):
            self._kueue.notice()
        if sight.state == "queued":  # there is nothing to read in the store, and nobody to read what would be signed
            return report.observation(ref, job, sight, {}, None, ISOLATION)
        self._pool.help(ref, job, sight, following.state(ref), self._errands)
        following.want(ref)
        if objects.is_kueues(job):
            self._renewal.if_due(ref, known)
        harvest = following.harvest(ref, lambda: attempts.last(ref)) if sight.state == "ended" else None
        trouble, unfetched = following.trouble(ref), self._fetching.failed(ref)
        seen = report.observation(ref, job, sight, following.state(ref), harvest, ISOLATION, trouble, unfetched)
        if self._lacked_environment(job, seen):
            self._errands.begin(ref, "environment", self._distrust(job))
        return seen

    async def _looked_up(self, ref: AttemptRef) -> Object | None:
        """The Job, asked for: what the watches tell may be behind, and ``gone`` ends a job for good."""
        if self._follower.reaps(ref):
            return None
        reply = await self._api.request("GET", self._path("jobs", ref.name), patience=LOOK_SECONDS)
        found = [reply.body] if reply.ok else []
        if not reply.ok and self._attempts.has_nameless():  # one of them may have become this attempt's
            query = {"labelSelector": objects.selector(self._settings, ref)}
            reply = await self._api.request("GET", self._path("jobs"), query=query, patience=LOOK_SECONDS)
            found = reply.body.get("items") or []
        for job in found:
            if objects.ref_of(job) == ref:
                self._jobs.put(job)
        return self._attempts.job(ref)

    async def _left(self, ref: AttemptRef) -> Observation:
        """Of an attempt without Job and pod: what the store still has, if nobody came for it yet."""
        following = self._follower
        try:
            state = await following.left(ref)
        except StoreError as error:
            raise BackendError(f"What {ref.name} left can't be read now: {error}") from error
        if not state:
            return Observation(ref, "gone")
        harvest = following.harvest(ref, lambda: Last(True))
        return report.observation(ref, {}, evidence.left(state), state, harvest, ISOLATION, following.trouble(ref))

    async def cancel(self, ref: AttemptRef, message: str) -> None:
        """Note it at the Job, then delete the pod with its own grace: the code is interrupted, outputs are shipped."""
        job = self._need().job(ref)
        if job is None:
            return
        known = self._attempts.of(ref)
        noted = objects.CANCELLED in (job["metadata"].get("annotations") or {})
        if self._attempts.sight(job, known).state == "ended" and not noted:
            return
        pod = known.pod if known.pod is not None and not known.pod.get("deleted") else None
        placed = pod is not None and bool(pod["spec"].get("nodeName"))
        if not noted:
            patch = objects.cancel_patch(message)
            if not placed:
                patch["spec"] = objects.halt(job)  # so that no pod comes any more
            reply = await self._api.patch(self._path("jobs", self._attempts.name(ref)), patch)
            if reply is not None:
                self._jobs.put(reply)
        if pod is not None and placed and not pod["metadata"].get("deletionTimestamp"):
            await self._api.delete(self._path("pods", pod["metadata"]["name"]))
        self._changed(ref)

    async def delete(self, ref: AttemptRef) -> None:
        """The Job and with it its pods, which are killed; the Secret goes with the Job."""
        known, name = self._need().known.get(ref), self._attempts.name(ref)
        pod = known.pod if known is not None else None
        dying = pod is not None and bool(pod["metadata"].get("deletionTimestamp"))
        if pod is not None and not pod.get("deleted") and not dying and not is_done(pod):
            await self._api.delete(self._path("pods", pod["metadata"]["name"]), gracePeriodSeconds=KILL_SECONDS)
        await self._fetching.forget(ref)
        there = await self._api.delete(self._path("jobs", name), propagationPolicy="Background")
        await self._secrets.remove(ref, with_job=there)
        self._orphans.refs.discard(ref)
        self._lanes.leave(ref)
        await self._pool.forget(name)
        self._attempts.drop(ref)
        await self._follower.drop(ref, clean=True)

    async def places(self, refs: Collection[AttemptRef]) -> dict[AttemptRef, Place]:
        """As Kueue tells it, of those that there is a Job of."""
        found = {ref: self._need().job(ref) for ref in refs}
        return await self._kueue.places({ref: job for ref, job in found.items() if job is not None})

    async def check_kueue(self, local_queue: str, priority_classes: Collection[str]) -> None:
        """By what there is in the cluster now."""
        self._need()
        await self._kueue.check(local_queue, priority_classes)

    async def attempts(self) -> list[AttemptRef]:
        """By the labels of the Jobs, and of the Secrets that never got one."""
        return sorted(self._need().refs() | self._orphans.refs, key=lambda ref: ref.name)

    def is_ours(self, ref: AttemptRef) -> bool:
        """By the label of its Job, or of its Secret where it has none."""
        self._need()
        return self._orphans.is_ours(ref)

    async def capacity(self) -> list[NodeCapacity]:
        """Nodes that our pods may use, less what others have of them, within what others leave of the quota."""
        self._told_room = self._capacity()
        return self._told_room

    async def sizes(self) -> list[NodeCapacity]:
        """Nodes as they would be if all were well and nobody else used them, each within the whole quota."""
        self._need()
        return self._room.sizes()

    def on_room(self, changed: Callable[[], None]) -> None:
        """Told within seconds of a node, a quota or others' pods that changed."""
        self._has_room = changed

    def keep_warm(self, profiles: Collection[Profile] | None) -> None:
        """See :mod:`.pool`. Whose turn it is to be made is another server's to say, too."""
        if self._connection is not None:
            self._pool.keep(profiles)
            if profiles is None:
                self._lanes.clear()

    def describe(self) -> dict[str, Any]:
        """Which cluster, and whether what is known of it is current."""
        self._need()
        warnings = [text for watch in (self._jobs, self._attempts.pods) if (text := watch.trouble())]
        warnings += [*self._room.warnings(), *self._kueue.warnings()]
        return {
            "type": "kubernetes",
            "isolation": ISOLATION,
            "address": self._api.address,
            "namespace": self._settings.namespace,
            "requests": self._api.requests,
            "lagSeconds": self._jobs.lag(),
            "warnings": [*warnings, *self._pool.warnings],
            "warm": self._pool.describe(),
        }

    # Behind it

    @property
    def _watches(self) -> tuple[Watch, ...]:
        return self._jobs, self._attempts.pods, *self._room.watches

    @property
    def _jobs(self) -> Watch:
        return self._attempts.jobs

    @property
    def _api(self) -> Connection:
        if self._connection is None:
            raise BackendError(f"The backend {self.name!r} has not been started.")
        return self._connection

    @property
    def _follower(self) -> Following:
        if self._following is None:
            raise BackendError(f"The backend {self.name!r} has not been started.")
        return self._following

    def _need(self) -> Attempts:
        """Those of a backend that was started."""
        _ = self._api
        return self._attempts

    def _capacity(self) -> list[NodeCapacity]:
        attempts = self._need()
        return self._room.capacity(attempts.ours(), attempts.helpers())

    def _closed(self, job: str) -> None:
        ref = objects.ref_of(self._jobs.objects.get(job) or {})
        if ref is not None:
            self._changed(ref)

    def _room_changed(self) -> None:
        self._pool.changed()
        if self._capacity() != self._told_room:
            self._has_room()

    def _path(self, kind: str, name: str = "") -> str:
        group = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
        return f"{group}/namespaces/{self._settings.namespace}/{kind}" + (f"/{name}" if name else "")

    def _help(self, ref: AttemptRef, known: Attempt, sight: evidence.Sight) -> None:
        """What an attempt that does not get on needs: a look at its events, an end."""
        if sight.give_up is not None:
            self._errands.begin(ref, "give up", self._give_up(ref, sight.give_up))
        elif sight.stuck:
            pod = known.pod
            self._complaints.ask(ref, pod["metadata"]["name"] if pod is not None else self._attempts.name(ref))

    def _bring_soon(self, ref: AttemptRef, job: Object) -> None:
        if is_fetching(job):
            self._errands.begin(ref, "fetching its inputs", self._fetch(ref))

    async def _fetch(self, ref: AttemptRef) -> None:
        job = await self._fetching.fetch(ref)
        if job is not None:
            self._jobs.put(job)

    async def _give_up(self, ref: AttemptRef, why: dict[str, str]) -> None:
        await self._distrusted(self._attempts.job(ref), why["message"])
        patch = {**objects.give_up_patch(why), "spec": objects.halt(self._attempts.job(ref) or {})}
        reply = await self._api.patch(self._path("jobs", self._attempts.name(ref)), patch)
        if reply is not None:
            self._jobs.put(reply)

    def _complained(self, ref: AttemptRef, events: list[Object]) -> None:
        if (known := self._attempts.known.get(ref)) is not None:
            known.events = events
            self._changed(ref)


def _is_final(error: BackendError) -> bool:
    return isinstance(error, Refused) and error.status in (401, 403)
