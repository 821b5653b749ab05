"""The pool of slots: keeps as many warm as the configuration says, gives each to one attempt, and makes way for jobs.

One server keeps it, the one that leads; any may claim from it. Idle slots count for nothing: no job waits for what they
have, they go when a job needs their room or is held up for want of some, and none is made while a job has no node.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...resources.profile import Profile
from ...storage.base import ObjectStore, StoreError
from ..base import AttemptRef, AttemptRequest, BackendError, NodeCapacity
from . import capacity, delivery, objects, slots
from .attempts import Attempts
from .capacity import Amount
from .connect import MERGE_PATCH, Connection, Refused, conflict
from .errands import Errands
from .evidence import Sight
from .handover import AUTHORITIES, Handover
from .pod import waiting
from .pod.seal import new_key
from .reading import Object, annotation, meta
from .room import Room

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""Between two looks at the pool where nothing changed."""
CALM_SECONDS = 0.5
"""Changes that come together are looked at together."""
WAY_SECONDS = 30.0
"""After slots made way, so long none is made."""
STOP_SECONDS = 3.0
CLAIM_TRIES = 5
AGAIN_SECONDS = 10.0
"""Between two tries to hand orders over to a slot that says nothing."""
LONGEST_PAUSE_SECONDS = 600.0
HELD_UP = ("Unschedulable", "QuotaExceeded")
"""Why a pod waits for room."""


@dataclass(frozen=True)
class _Wanted:
    profile: Profile
    size: int


@dataclass
class _Told:
    """What was done for a claimed slot."""

    at: float = 0.0
    cleared: bool = False


@dataclass
class Pool:
    """All of one backend's. On the event loop; :meth:`start` before all else."""

    api: Connection
    store: ObjectStore
    handover: Handover
    attempts: Attempts
    room: Room
    name: str
    _profiles: list[Profile] | None = None
    _wanted: dict[str, _Wanted] = field(default_factory=dict)
    _problems: list[str] = field(default_factory=list)
    _told: dict[str, _Told] = field(default_factory=dict)
    _claimed: Counter[str] = field(default_factory=Counter)
    _missed: Counter[str] = field(default_factory=Counter)
    _pauses: dict[str, tuple[int, float]] = field(default_factory=dict)
    """After slots that never became warm: how many in a row, and until when none is made."""
    _quiet_until: float = 0.0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None
    _stopping: bool = False

    def __post_init__(self) -> None:
        self.settings, self.terms = self.handover.settings, self.handover.terms
        self.jobs, self.pods = self.attempts.jobs, self.attempts.slot_pods

    # Life

    def start(self) -> None:
        """Begin to look after it."""
        self._task = asyncio.create_task(self._run(), name=f"backend-{self.name}-pool")

    async def stop(self) -> None:
        """Leave off; slots stay. A request under way is let go through: cut off, it would leave a connection."""
        self._stopping = True
        self._news.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=STOP_SECONDS)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def keep(self, profiles: Collection[Profile] | None) -> None:
        """Keep slots of these from now on; None: another server does."""
        self._profiles = None if profiles is None else list(profiles)
        self._wanted, self._problems = {}, []
        there = {profile.metadata.name: profile for profile in profiles or ()}
        for name, size in sorted(self.settings.warm.items()):
            if profiles is None or not size:
                continue
            if name not in there:
                self._problems.append(f"warm names the profile {name!r}, which there is not")
                continue
            fits = slots.digest(slots.blank(there[name]), self.settings, self.terms)
            if fits:
                self._wanted[fits] = _Wanted(there[name], size)
            else:
                self._problems.append(
                    f"the profile {name!r} can't be kept warm: it needs a language of {', '.join(slots.LANGUAGES)}, an "
                    "image, no requirements, and a queue that is ours"
                )
        self._news.set()

    def changed(self) -> None:
        """Something of a slot or of the room for them is different now."""
        self._news.set()

    async def forget(self, name: str) -> None:
        """The Job ``name`` of an attempt is gone: nothing of it is left, if it was a slot's."""
        told = self._told.pop(name, None)
        if told is not None and not told.cleared:
            with contextlib.suppress(StoreError):
                await self.clear(name)

    # An attempt's start

    async def take(self, request: AttemptRequest, files: Mapping[str, bytes], orders_digest: str) -> Object | None:
        """Put the attempt's Secret, and claim a slot if one fits: its Job. None: it is to have a Job of its own.

        Safe to be killed between any two lines, and to be done by two servers at once: where the attempt runs stands in
        its Secret. Raises :class:`BackendError`.
        """
        idle, profile = self.idle(), request.profile.metadata.name
        names = slots.choose(slots.digest(request, self.settings, self.terms), idle) if idle else []
        slot = await self.handover.put(request, dict(files), names[0] if names else "")
        while slot:
            job = await self.claim(slot, request, orders_digest)
            if job is not None:
                self._claimed[profile] += 1
                self._told[slot] = _Told(time.monotonic())
                self.jobs.put(job)
                try:
                    await self.hand_over(slot, files)
                except StoreError as error:  # next_step sees to it
                    log.warning("backend %s: the orders of %s can't be put now: %s", self.name, request.ref.name, error)
                return job
            names = [name for name in names if name != slot]
            slot = await self.handover.decide(request.ref, slot, names[0] if names else "")
        self._missed[profile] += 1
        with contextlib.suppress(BackendError):  # what is in the way goes once the pod is held up
            await self.make_room(request)
        return None

    async def claim(self, name: str, request: AttemptRequest, orders_digest: str) -> Object | None:
        """The slot's Job, once it is the attempt's; None where it can never be. Raises :class:`BackendError`."""
        job = self.jobs.objects.get(name)
        for _ in range(CLAIM_TRIES):
            if job is None:
                reply = await self.api.request("GET", self._path(name))
                if not reply.ok:
                    return None
                job = reply.body
            owner = objects.ref_of(job)
            if owner == request.ref:
                return job
            if owner is not None or not slots.is_slot(job):
                return None
            now = self.api.now()
            if slots.seen(job, self.pods.get(name), now).state == "over":
                return None
            patch = slots.claim_patch(request, self.settings, job, orders_digest, now)
            reply = await self.api.request("PATCH", self._path(name), body=patch, content_type=MERGE_PATCH)
            if reply.ok:
                return reply.body
            job = None
        raise conflict(reply, f"claim the slot {name}")

    async def hand_over(self, name: str, files: Mapping[str, bytes]) -> None:
        """Put an attempt's orders and credentials where its slot looks for them. Raises ``StoreError``."""
        told = b'{"orders":%s,"credentials":%s}' % (files[delivery.ORDERS], files[delivery.CREDENTIALS])
        self._told.setdefault(name, _Told()).at = time.monotonic()
        await asyncio.to_thread(self.store.put, slots.key(name), told)

    def help(self, ref: AttemptRef, job: Object, sight: Sight, state: Mapping[str, Any], errands: Errands) -> None:
        """What an attempt in a slot still needs: that is handed over what a killed server did not, and that nothing
        lies about then; and what one needs that finds no room. ``state``: the sidecar's word.
        """
        if slots.is_slot(job) and sight.state == "running":
            name = str(meta(job)["name"])
            told = self._told.setdefault(name, _Told())
            if not state and time.monotonic() > told.at + AGAIN_SECONDS:
                errands.begin(ref, "handing over its orders", self._hand_over_again(ref, job))
            elif state and not told.cleared:
                errands.begin(ref, "clearing its slot up", self._settle(name))
        if any(one["reason"] in HELD_UP for one in sight.conditions) and self.idle():
            errands.begin(ref, "making way", self.give_way())

    async def _hand_over_again(self, ref: AttemptRef, job: Object) -> None:
        name = meta(job)["name"]
        self._told.setdefault(name, _Told()).at = time.monotonic()
        orders = await self.handover.read(ref, job)
        files = await asyncio.to_thread(delivery.files, orders, self.handover.signing, self.terms)
        await self.hand_over(name, files)

    async def _settle(self, name: str) -> None:
        """It has its job: nothing lies about any more."""
        await self.clear(name)
        self._told.setdefault(name, _Told()).cleared = True

    async def clear(self, name: str) -> None:
        """Remove what was handed over. Raises ``StoreError``."""
        await asyncio.to_thread(self.store.delete, slots.key(name))

    # Room

    def idle(self) -> list[slots.Slot]:
        """The idle slots."""
        now = self.api.now()
        return [slots.seen(job, self.pods.get(str(meta(job)["name"])), now) for job in self.attempts.idle()]

    async def make_room(self, request: AttemptRequest) -> None:
        """Let as many idle slots go as keep the attempt's pod from a node."""
        idle = self.idle()
        if not idle:
            return
        nodes, real, everything = self._room()
        asked = request.job.spec.resources
        need = Amount(asked.cpu_millis, asked.memory_bytes, asked.gpu or 0, 1)
        if not slots.has_room(nodes, everything, need):
            await self.give_way(slots.in_the_way(nodes, real, idle, need))

    async def give_way(self, names: Collection[str] | None = None) -> None:
        """Remove these idle slots, or all, and make none for a while. Raises :class:`BackendError`."""
        self._quiet_until = time.monotonic() + WAY_SECONDS
        wanted = [slot.name for slot in self.idle()] if names is None else list(names)
        if wanted:
            log.info("backend %s: %d waiting slots make way for a job", self.name, len(wanted))
        for name in wanted:
            await self._remove(name)

    def _room(self) -> tuple[list[NodeCapacity], dict[str, Amount], dict[str, Amount]]:
        """The nodes, what attempts have of them, and what attempts and idle slots have."""
        everything, pods = self.attempts.ours(), self.attempts.pods_by_job()
        real = capacity.use((job for job in self.attempts.mine() if not slots.is_idle(job)), pods)
        return self.room.capacity(everything, self.attempts.helpers()), real, dict(everything.nodes)

    # What is kept

    async def _run(self) -> None:
        while not self._stopping:
            self._news.clear()
            try:
                await self._tend()
            except (BackendError, StoreError) as error:
                log.warning("backend %s: the pool of slots can't be looked after now: %s", self.name, error)
                self._quiet_until = time.monotonic() + LOOK_SECONDS
            except Exception:  # one odd object in the cluster: told, and tried again
                log.exception("backend %s: looking after the pool of slots broke", self.name)
                self._quiet_until = time.monotonic() + LOOK_SECONDS
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), LOOK_SECONDS)
            if not self._stopping:
                await asyncio.sleep(CALM_SECONDS)

    async def _tend(self) -> None:
        if self._profiles is None or not self.attempts.complete or not self.room.nodes.synced:
            return
        there = self.idle()
        sizes = {fits: wanted.size for fits, wanted in self._wanted.items()}
        todo = slots.plan(
            sizes, there, oldest_seconds=self.terms.signed_seconds / 2, slowest_seconds=self.settings.startup_seconds
        )
        for slot in there:
            if self._stopping:
                return
            if slot.name in todo.remove:
                self._note(slot)
                await self._remove(slot.name)
            elif slot.state == "warm":
                self._pauses.pop(slot.fits, None)
        for fits, count in todo.make.items():
            for _ in range(count):
                if self._stopping or not self._may_make(fits):
                    return
                await self._make(fits)

    def _note(self, slot: slots.Slot) -> None:
        """A slot that is over before it was claimed: what made it fail may do so again."""
        if slot.state == "over" and slot.fits in self._wanted:
            count = self._pauses.get(slot.fits, (0, 0.0))[0] + 1
            pause = 0.0 if count == 1 else min(LONGEST_PAUSE_SECONDS, 5.0 * 2.0**count)
            self._pauses[slot.fits] = (count, time.monotonic() + pause)
            log.warning("backend %s: the waiting slot %s ended before it had a job", self.name, slot.name)

    def _may_make(self, fits: str) -> bool:
        now = time.monotonic()
        if now < self._quiet_until or now < self._pauses.get(fits, (0, 0.0))[1]:
            return False
        nodes, real, everything = self._room()
        if real.get("", Amount()).jobs:  # a job that has no node yet comes first
            return False
        asked = slots.blank(self._wanted[fits].profile).job.spec.resources
        return slots.has_room(nodes, everything, Amount(asked.cpu_millis, asked.memory_bytes, asked.gpu or 0, 1))

    async def _make(self, fits: str) -> None:
        """The Job, then the Secret that its pod waits for: so the cluster removes both together."""
        request = slots.blank(self._wanted[fits].profile, secrets.token_hex(6))
        name = request.ref.name
        url = await asyncio.to_thread(self.handover.signing.sign_get, slots.key(name), self.terms.signed_seconds)
        get = {"url": url, "expires": int(time.time()) + self.terms.signed_seconds}
        told = slots.told(request, get, self.terms)
        files = {waiting.ORDERS: delivery.to_json(told), delivery.SEAL: new_key().encode()}
        if self.settings.store_ca:
            files[AUTHORITIES] = self.settings.store_ca.encode()
        made = slots.manifest(request, self.settings, fits)
        reply = await self.api.request("POST", self._path(), body=made)
        if not reply.ok:
            raise conflict(reply, f"make the slot {name}")
        secret = objects.secret(request.ref, self.settings, made["metadata"]["labels"], files)
        owner = {**reply.body, "apiVersion": "batch/v1", "kind": "Job"}
        self.jobs.put(reply.body)
        path = f"/api/v1/namespaces/{self.settings.namespace}/secrets"
        await self.api.request("POST", path, body=objects.owned_by(secret, owner))

    async def _remove(self, name: str) -> None:
        """An idle slot; nothing where it is somebody's by now."""
        job = self.jobs.objects.get(name)
        if job is None or not slots.is_idle(job):
            return
        known = {"uid": meta(job)["uid"], "resourceVersion": meta(job)["resourceVersion"]}
        body = {"propagationPolicy": "Background", "preconditions": known}
        reply = await self.api.request("DELETE", self._path(name), body=body)
        if reply.code == 409:  # it changed just now: the watch will tell how
            return
        pod = self.pods.get(name)
        if pod is not None and not pod.get("deleted") and not meta(pod).get("deletionTimestamp"):
            path = f"/api/v1/namespaces/{self.settings.namespace}/pods/{meta(pod)['name']}"
            with contextlib.suppress(Refused):
                await self.api.request("DELETE", path, body={"gracePeriodSeconds": 1})
        self.jobs.drop(name)

    def _path(self, name: str = "") -> str:
        return f"/apis/batch/v1/namespaces/{self.settings.namespace}/jobs" + (f"/{name}" if name else "")

    # What is told

    def describe(self) -> dict[str, dict[str, int]]:
        """By profile: how many slots there are to be, are warm, are on their way; how many starts were warm and not."""
        there: dict[str, Counter[str]] = {}
        for slot in self.idle():
            job = self.jobs.objects[slot.name]
            there.setdefault(annotation(job, slots.PROFILE) or "", Counter())[slot.state] += 1
        return {
            name: {
                "size": size,
                "warm": there.get(name, Counter())["warm"],
                "warming": there.get(name, Counter())["warming"],
                "claimed": self._claimed[name],
                "missed": self._missed[name],
            }
            for name, size in sorted(self.settings.warm.items())
        }

    @property
    def warnings(self) -> list[str]:
        """What an operator should know of it."""
        failing = [
            self._wanted[fits].profile.metadata.name
            for fits, (count, _) in self._pauses.items()
            if count > 1 and fits in self._wanted
        ]
        return [
            *self._problems,
            *(f"slots of the profile {name!r} end before they have a job; look at their pods" for name in failing),
        ]
