"""What the watches of Jobs and pods tell of our attempts: the Job of each, and the last that was seen of its pod.

An attempt's Job is known by its labels, whatever it is called. Nothing here is lost with a server: the next one finds
it out again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial

from ..base import AttemptRef, BackendError
from . import capacity, evidence, kept, objects, slots
from .connect import Connection, conflict
from .following import Last
from .reading import Object, is_done, meta
from .settings import KubernetesSettings
from .watch import Watch


@dataclass
class Attempt:
    """What is remembered of one attempt beside its Job."""

    pod: Object | None = None
    tombstone: Object | None = None
    """The Job, where somebody deleted it."""
    events: list[Object] = field(default_factory=list)


class Attempts:
    """All of one backend's. ``changed(ref)`` is called, on the loop, for every change of its Job or pod."""

    def __init__(
        self, connection: Connection, settings: KubernetesSettings, changed: Callable[[AttemptRef], None]
    ) -> None:
        self._api, self._settings, self._changed, self._now = connection, settings, changed, connection.now
        selector, namespace = objects.selector(settings), settings.namespace
        self.jobs = Watch(
            connection,
            f"/apis/batch/v1/namespaces/{namespace}/jobs",
            what="Jobs",
            selector=selector,
            trim=kept.job,
            changed=self._job_changed,
            told=self._job_told,
        )
        self.pods = Watch(
            connection,
            f"/api/v1/namespaces/{namespace}/pods",
            what="Pods",
            selector=selector,
            trim=lambda found: kept.pod(found, settings),
            changed=self._pod_changed,
        )
        self.known: dict[AttemptRef, Attempt] = {}
        self.slot_pods: dict[str, Object] = {}
        """The pods of slots, idle and claimed, by the names of their Jobs."""
        self.slots_changed: Callable[[], None] = lambda: None
        self.theirs_changed: Callable[[], None] = lambda: None
        """A pod of another record's attempt or slot came or went."""
        self._names: dict[AttemptRef, str] = {}
        self._idle: dict[str, None] = {}
        """The names of idle slots' Jobs: whoever starts an attempt asks, and there may be thousands of other Jobs."""
        self._theirs: set[str] = set()
        """Jobs of other records, by name: their servers share our installation."""
        self._removed: set[AttemptRef] = set()
        """Deleted by us, while their pods are still ending."""
        self.pod_changed: Callable[[AttemptRef], None] = lambda ref: None
        self.helper_changed: Callable[[Object], None] = lambda job: None
        """Of a Job of ours that is no attempt's."""
        self.told: Callable[[AttemptRef], None] = lambda ref: None
        """Its Job, which we made, has been told of by the watch."""
        self.job_gone: Callable[[AttemptRef], None] = lambda ref: None
        self.borne: Callable[[Object], Object] = lambda job: job
        """A Job with what else is known of it."""
        self.wanted: Callable[[AttemptRef], bool] = lambda ref: False
        """Whether somebody looked at it lately."""

    @property
    def complete(self) -> bool:
        """Whether Jobs and pods were ever told in full."""
        return self.jobs.synced and self.pods.synced

    def trouble(self) -> str:
        """Why what is known may be old; empty while all is well."""
        return self.jobs.trouble() or self.pods.trouble()

    def refs(self) -> set[AttemptRef]:
        """Those that there is a Job of."""
        return set(self._names)

    def name(self, ref: AttemptRef) -> str:
        """What its Job is called, or would be."""
        return self._names.get(ref, ref.name)

    def has_nameless(self) -> bool:
        """Whether there are Jobs of ours that are no attempt's, as far as that was told."""
        return len(self._names) + len(self._theirs) < len(self.jobs.objects)

    def job(self, ref: AttemptRef) -> Object | None:
        """Its Job, as far as that was told."""
        return self.jobs.objects.get(self.name(ref))

    def of(self, ref: AttemptRef) -> Attempt:
        """What is remembered of it; made if need be."""
        return self.known.setdefault(ref, Attempt())

    def buried(self, ref: AttemptRef) -> Object | None:
        """In the place of a Job that somebody deleted, as long as its pod is known."""
        known = self.known.get(ref)
        if known is None or known.pod is None:
            return None
        if known.tombstone is None:  # deleted before this server looked
            known.tombstone = kept.tombstone(None, datetime.now(timezone.utc))
        return known.tombstone

    def sight(self, job: Object, known: Attempt) -> evidence.Sight:
        """What the cluster tells of it now."""
        now = self._now()
        startup = self._settings.startup_seconds
        return evidence.look(self.borne(job), known.pod, known.events, now=now, startup_seconds=startup)

    def last(self, ref: AttemptRef) -> Last:
        """What the cluster tells of its end."""
        job, known = self.job(ref) or self.buried(ref), self.known.get(ref)
        if job is None or known is None:
            return Last(True)
        sight = self.sight(job, known)
        return Last(sight.sidecar_over, sight.termination, sight.begun, partial(evidence.is_unexplained, sight))

    def ours(self) -> capacity.Ours:
        """What our attempts have of the cluster; so do idle slots, which go when an attempt needs it. What builds and
        removes environments is among :meth:`helpers`, as others' pods are.
        """
        return capacity.ours(self.mine(), self.pods_by_job(), self._settings)

    def mine(self) -> list[Object]:
        """The Jobs of attempts and slots, but for those of other records."""
        return [
            job
            for name, job in self.jobs.objects.items()
            if name not in self._theirs and (objects.ref_of(job) is not None or slots.is_slot(job))
        ]

    def idle(self) -> list[Object]:
        """The Jobs of slots that are nobody's yet, but for those of other records."""
        return [self.jobs.objects[name] for name in self._idle]

    def pods_by_job(self) -> dict[str, Object | None]:
        """The pods of attempts and slots, by the names of their Jobs."""
        return {**self.slot_pods, **{self.name(ref): known.pod for ref, known in self.known.items()}}

    def helpers(self) -> list[Object]:
        """Pods of this installation that are none of our attempts', such as those that build environments."""
        return [
            pod
            for pod in self.pods.objects.values()
            if self._is_theirs(pod) or (objects.ref_of(pod) is None and not slots.is_slot(pod))
        ]

    async def make(self, ref: AttemptRef, job: Object) -> Object:
        """The Job as the cluster has it, made if need be. Raises :class:`BackendError`."""
        namespace = self._settings.namespace
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        reply = await self._api.request("POST", path, body=job)
        if reply.code == 404:
            raise BackendError(f"The cluster has no namespace {namespace!r}.")
        if reply.code == 409 and not reply.taken:
            raise conflict(reply, f"make the Job {ref.name}")
        if reply.taken:
            reply = await self._api.request("GET", f"{path}/{ref.name}")
            if not reply.ok or objects.ref_of(reply.body) != ref:
                raise BackendError(
                    f"The cluster has another Job called {ref.name} in the namespace {namespace!r}, or is removing "
                    "one.",
                    remedy="Look at it with kubectl; it is none of ours.",
                )
        return reply.body

    def created(self, ref: AttemptRef) -> None:
        """It is made anew."""
        self._removed.discard(ref)

    def drop(self, ref: AttemptRef) -> None:
        """Forget it: its Job is deleted, its pod ends by itself."""
        known = self.known.pop(ref, None)
        if known is not None and known.pod is not None and not known.pod.get("deleted"):
            self._removed.add(ref)
        self.jobs.drop(self.name(ref))

    def _job_told(self, job: Object) -> None:
        if (ref := objects.ref_of(job)) is not None:
            self.told(ref)

    def _job_changed(self, old: Object | None, new: Object | None) -> None:
        before, ref = objects.ref_of(old or {}), objects.ref_of(new or old or {})
        name = str(meta(new or old)["name"])
        if new is not None and slots.is_idle(new) and not self._is_theirs(new):
            self._idle[name] = None
        else:
            self._idle.pop(name, None)
        if self._is_theirs(new or old or {}):
            self._of_others(name, there=new is not None)
            return
        if before is not None and (new is None or before != ref) and self._names.get(before) == name:
            del self._names[before]
        if slots.is_slot(new or old or {}):
            self._slot_changed(name, new, ref)
        if ref is None:
            self.helper_changed(new or old or {})
            return
        if new is not None:
            self._names[ref] = name
        else:
            self._bury(ref, old)
        self._changed(ref)

    def _is_theirs(self, found: Object) -> bool:
        return objects.is_of(found, self._settings) is False

    def _of_others(self, name: str, *, there: bool) -> None:
        if there and name not in self._theirs:
            self._theirs.add(name)
            if self.slot_pods.pop(name, None) is not None:  # one that was anybody's, and was claimed just now
                self.slots_changed()
        elif not there:
            self._theirs.discard(name)

    def _slot_changed(self, name: str, job: Object | None, ref: AttemptRef | None) -> None:
        pod = self.slot_pods.get(name) if job is not None else self.slot_pods.pop(name, None)
        if ref is not None and job is not None and pod is not None and self.of(ref).pod is None:
            self.of(ref).pod = pod  # which waited for it
        self.slots_changed()

    def _slot_pod_changed(self, pod: Object, *, gone: bool) -> None:
        name = slots.job_of(pod)
        if gone and name not in self.jobs.objects:
            self.slot_pods.pop(name, None)
        else:
            self.slot_pods[name] = {**pod, "deleted": True} if gone else pod
        self.slots_changed()

    def _ref_of_pod(self, pod: Object) -> AttemptRef | None:
        """By its labels; those of a slot that was claimed just now are its Job's."""
        found = objects.ref_of(pod)
        if found is None and slots.is_slot(pod):
            return objects.ref_of(self.jobs.objects.get(slots.job_of(pod)) or {})
        return found

    def _bury(self, ref: AttemptRef, job: Object | None) -> None:
        known = self.known.get(ref)
        # A pod that went before its Job tells the end to whoever looks after the attempt, and to nobody else.
        ended = known is not None and known.pod is not None and bool(known.pod.get("deleted"))
        if known is not None and known.pod is not None and (not ended or self.wanted(ref)):
            known.tombstone = kept.tombstone(job, datetime.now(timezone.utc))
        else:
            self.known.pop(ref, None)
        self.job_gone(ref)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A pod that is gone from the cluster stays known: its end is evidence."""
        pod = new if new is not None else old
        if self._is_theirs(pod or {}):
            if old is None or new is None or is_done(old) != is_done(new) or old["spec"] != new["spec"]:
                self.theirs_changed()
            return
        if pod is not None and slots.is_slot(pod):
            self._slot_pod_changed(pod, gone=new is None)
        ref = self._ref_of_pod(pod or {})
        if pod is None or ref is None:
            return
        if ref in self._removed:  # its pod takes its grace
            if new is None:
                self._removed.discard(ref)
            return
        known = self.of(ref)
        if known.pod is None or kept.is_later(pod, known.pod):
            known.pod = pod if new is not None else {**pod, "deleted": True}
        abandoned = new is None and ref not in self._names and self.jobs.synced
        if abandoned and not self.wanted(ref):
            self.known.pop(ref, None)
        self.pod_changed(ref)
        self._changed(ref)
