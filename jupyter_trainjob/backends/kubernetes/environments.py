"""Environments of jobs' requirements in a cluster: built once by a Job of our own, on a volume, shared, removed again.

What is there is told by the object store, ``environments/ready/<scope>/<key>``: which folder of the claim holds it, its
lock, its size, when it was last used. It is written when the build's Job is complete, so a folder that it names is
whole. What is being built is told by the cluster: the Job is called after the key, so there is one at a time whoever
asks, and a server that comes back finds it. Each build fills a folder that was never used before. Names, labels and
folders have the backend's scope in them (:mod:`.environments_records`): others may share all else.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from ...resources.names import environment_lock_key
from ...resources.quantity import byte_count
from ...resources.requirements import beyond_wheels, shown
from ...resources.trainjob import Requirements, TrainJob
from ...storage.base import KeyMissing, ObjectStore, StoreError
from ..base import AttemptRef, BackendError, EnvironmentState
from ..environments import content, content_digest, named, not_built
from ..local.environments.recipes import LEAVE_OUT
from . import choices, delivery, environments_objects, environments_removal, objects
from .connect import MERGE_PATCH, Connection, conflict
from .environments_failure import holdup, why
from .environments_objects import FOLDER, Wanted
from .environments_pod import TOLD
from .environments_records import Records
from .environments_removal import Removal, is_build, is_over
from .reading import Object, annotation, meta, true
from .reading import time as read_time
from .settings import KubernetesSettings
from .volumes import Environment
from .watch import Watch

log = logging.getLogger(__name__)

VERSION = 1
"""Part of every key: raised when environments are to be built in another way."""
AT_ONCE = 2
FORGET_ALL_SECONDS = 3600.0
"""So long a failure is told to the jobs that waited for it. Others build again: what was away may be there by now."""
ABANDONED_SECONDS = 120.0
"""A build that nobody asked for during so long is ended: those who wait ask every ten seconds."""
MAX_TOLD_BYTES = 16 * 2**20
TOOLS = {"requirements.txt": "pip", "renv.lock": "R"}
LANGUAGES = {"requirements.txt": "python", "renv.lock": "r"}


@dataclass(frozen=True)
class _Failure:
    words: str
    at: float
    uids: frozenset[str]


@dataclass
class _Waiting:
    uids: set[str] = field(default_factory=set)
    asked: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Environments:
    """All of one backend's. On the event loop."""

    def __init__(
        self,
        api: Connection,
        store: ObjectStore,
        settings: KubernetesSettings,
        *,
        name: str,
        jobs: Watch,
        pods: Watch,
        changed: Callable[[AttemptRef], None],
    ) -> None:
        self._api, self._store, self._settings, self._backend = api, store, settings, name
        self._watch, self._pods, self._changed = jobs, pods, changed
        self._began = time.monotonic()
        self._waiting: dict[str, _Waiting] = {}
        self._failures: dict[str, _Failure] = {}
        self._texts: dict[str, tuple[str, str]] = {}
        """Lists by their digest: the normal form, and its own digest."""
        self._beginning = asyncio.Lock()
        whose = f"{name}\n{settings.installation}\n{settings.namespace}\n{settings.environments.claim}"
        self._records = Records(store, whose)
        self._removal = Removal(api, settings, jobs)

    # What the port asks

    def check(self, format: str, text: str) -> None:
        """Raises :class:`BackendError` for a list that is never built here."""
        rules = self._settings.environments
        leave_out = f"{LEAVE_OUT[0].upper()}{LEAVE_OUT[1:]}."

        def refuse(problem: str, remedy: str = leave_out) -> BackendError:
            return BackendError(problem, remedy=remedy, permanent=True)

        if not rules.claim or rules.builds == "none":
            why = "environment_builds is 'none'" if rules.claim else "environments_claim names no volume for them"
            raise refuse(f"the cluster {self._backend!r} builds no environments ({why})")
        if format == "ivy":
            raise refuse("jars are not fetched in a cluster: the images of Scala have no Maven")
        language = LANGUAGES[format]
        if language not in self._settings.images:
            raise refuse(f"the cluster {self._backend!r} has no image for {language}")
        if rules.builds == "source":
            return
        if format == "renv.lock":
            raise refuse(
                "the packages of an renv.lock are always built from source, which runs code of theirs, and this "
                "cluster does not (environment_builds is 'wheels')"
            )
        if beyond := beyond_wheels(text):
            problem = f"this cluster installs wheels of its index only, and {shown(beyond)!r} asks for more"
            raise refuse(problem, "Leave it out.")

    async def state(
        self, uid: str, requirements: Requirements, image: str, profile_image: str = ""
    ) -> EnvironmentState:
        """As :meth:`..base.Backend.environment` promises."""
        if image and (problem := choices.image_problem(image, profile_image, self._settings)):
            remedy = "Submit it again with another image, or without."
            return EnvironmentState("failed", f"The environment of this job is not built: {problem}. {remedy}")
        try:
            wanted = await self._wanted(requirements, image)
            self.check(wanted.format, wanted.text)
            waiting = self._waiting.setdefault(wanted.name, _Waiting())
            waiting.uids.add(uid)
            waiting.asked = time.monotonic()
            async with waiting.lock:
                told = await self._state(uid, requirements, wanted)
        except StoreError as error:
            return EnvironmentState("building", f"it can't be looked up now, and will be again: {error}")
        except BackendError as error:
            if not error.permanent:
                return EnvironmentState("building", f"it can't be looked up now, and will be again: {error}")
            return EnvironmentState("failed", not_built(requirements, str(error)))
        except Exception as error:  # told once, to the job; raised, it would be asked for again for ever
            log.exception("backend %s: the environment of %s broke", self._backend, named(requirements))
            return EnvironmentState("failed", not_built(requirements, f"{type(error).__name__}: {error}"))
        if told.state != "building":
            waiting.uids.discard(uid)
        return told

    async def of(self, job: TrainJob) -> Environment | None:
        """Where that of a job lies; None for a job without.

        Raises :class:`BackendError` where it is gone, and ``StoreError``.
        """
        requirements = job.spec.environment.requirements
        if requirements is None:
            return None
        wanted = await self._wanted(requirements, job.spec.environment.image)
        record = await asyncio.to_thread(self._records.get, wanted.key)
        if record is None:
            raise BackendError(
                f"The environment of the job ({named(requirements)}) is gone.", remedy="Run it again with retry."
            )
        return environments_objects.found(wanted.format, record["folder"])

    async def distrust(self, job: Object) -> None:
        """An attempt could not mount its environment: somebody emptied the volume. The next one is built anew."""
        folder = annotation(job, objects.ENVIRONMENT)
        for key, record in (await asyncio.to_thread(self._records.all)).items():
            if record["folder"] == folder:
                log.warning("backend %s: the environment in %s is gone from the volume", self._backend, folder)
                await asyncio.to_thread(self._records.delete, key)

    async def collect(self, needed: Collection[Requirements]) -> int:
        """Remove what nobody used for long, then the longest unused while all are too large; how many went."""
        if not self._settings.environments.claim:
            return 0
        if not (self._watch.synced and self._pods.synced):
            return 0  # nobody knows yet what jobs have
        rules, now = self._settings.environments, time.time()
        scope = await self._scope()
        await self._end_abandoned(scope)
        kept = {content for one in needed if (content := await self._content_or_none(one))}
        used = environments_removal.in_use(self._jobs.values(), self._pods.objects.values())
        records = await asyncio.to_thread(self._records.all)
        total, gone = sum(record["bytes"] for record in records.values()), 0
        for key, record in sorted(records.items(), key=lambda item: float(item[1]["used"])):
            old = now - record["used"] > rules.days * 86400
            if record["content"] in kept or record["folder"] in used:
                continue
            if old or total > byte_count(rules.all_disk):
                await asyncio.to_thread(self._records.delete, key)
                self._removal.add(record["folder"])
                total, gone = total - record["bytes"], gone + 1
        await self._removal.run(scope, [record["folder"] for record in records.values()], used)
        return gone

    # What the watches tell

    def job_changed(self, job: Object) -> None:
        """A Job of ours that is no attempt's is another than before."""
        for uid in list(self._waiting.get(str(meta(job).get("name")), _Waiting()).uids):
            self._changed(AttemptRef(uid, 0))

    @property
    def _jobs(self) -> dict[str, Object]:
        return self._watch.objects

    def _pod(self, name: str) -> Object | None:
        """That of a Job of ours."""
        found = (pod for pod in self._pods.objects.values() if (meta(pod).get("labels") or {}).get("job-name") == name)
        return next(found, None)

    # Building

    async def _state(self, uid: str, requirements: Requirements, wanted: Wanted) -> EnvironmentState:
        job = self._jobs.get(wanted.name)
        if job is None or is_over(job):
            record = await asyncio.to_thread(self._records.get, wanted.key)
            if record is not None:
                return await self._use(wanted, record)
        if job is None:
            return await self._begin(uid, requirements, wanted)
        if true(job, "Complete"):
            return await self._take(requirements, wanted, job)
        if true(job, "Failed"):
            return await self._fail(requirements, wanted, job)
        since = read_time(meta(job).get("creationTimestamp"))
        words = holdup(self._pod(wanted.name)) or f"{TOOLS[wanted.format]} installs {named(requirements)}"
        return EnvironmentState("building", words, since=since)

    async def _use(self, wanted: Wanted, record: dict[str, Any]) -> EnvironmentState:
        self._failures.pop(wanted.name, None)
        await asyncio.to_thread(self._records.touch, wanted.key, record)
        return EnvironmentState("ready", lock=str(record["lock"]))

    async def _begin(self, uid: str, requirements: Requirements, wanted: Wanted) -> EnvironmentState:
        failure = self._failures.get(wanted.name)
        if failure is not None and uid in failure.uids:
            return EnvironmentState("failed", failure.words)
        async with self._beginning:  # or many find the same free place
            under_way = [job for job in self._jobs.values() if is_build(job, wanted.scope) and not is_over(job)]
            if len(under_way) >= AT_ONCE:
                words = f"it waits until other environments are built ({named(requirements)})"
                return EnvironmentState("building", words)
            if crowded := await self._crowded():
                return EnvironmentState("building", crowded)
            job = await self._make(requirements, wanted)
        since = read_time(meta(job).get("creationTimestamp"))
        return EnvironmentState("building", f"{TOOLS[wanted.format]} installs {named(requirements)}", since=since)

    async def _crowded(self) -> str:
        records = await asyncio.to_thread(self._records.all)
        used, most = (
            sum(record["bytes"] for record in records.values()),
            byte_count(self._settings.environments.all_disk),
        )
        if used < most:
            return ""
        return (
            f"it waits for room: all environments take {used / 2**30:.1f} GiB and may take {most / 2**30:.1f} GiB; it "
            "begins when those that no job needs are removed"
        )

    async def _make(self, requirements: Requirements, wanted: Wanted) -> Object:
        """The Secret, then the Job, which then owns it."""
        settings, folder = self._settings, f"{wanted.scope}/{wanted.key}-{secrets.token_hex(4)}"
        seconds = settings.startup_seconds + settings.environments.seconds + environments_objects.ENDING_SECONDS
        orders = environments_objects.orders(wanted, settings, _prefix(wanted))
        signing = delivery.signing(self._store, self._backend)
        post = await asyncio.to_thread(signing.sign_post, orders["prefix"], seconds, MAX_TOLD_BYTES)
        files = {"orders.json": delivery.to_json(orders), "credentials.json": delivery.to_json({"post": post})}
        if settings.store_ca:
            files["ca.crt"] = settings.store_ca.encode()
        secret = environments_objects.secret(wanted, settings, files)
        reply = await self._api.request("POST", self._path("secrets"), body=secret)
        if reply.taken:
            body = {"data": secret["data"]}
            path = self._path("secrets", wanted.name)
            reply = await self._api.request("PATCH", path, body=body, content_type=MERGE_PATCH)
        if not reply.ok:
            raise conflict(reply, f"make the Secret {wanted.name}")
        body = environments_objects.build(wanted, settings, folder, named(requirements), ca=bool(settings.store_ca))
        reply = await self._api.request("POST", self._path("jobs"), body=body)
        if reply.taken:
            reply = await self._api.request("GET", self._path("jobs", wanted.name))
        if not reply.ok:
            raise conflict(reply, f"make the Job {wanted.name}")
        job: Object = reply.body
        self._watch.put(job)
        owned = objects.ownership(job)
        await self._api.request("PATCH", self._path("secrets", wanted.name), body=owned, content_type=MERGE_PATCH)
        return job

    async def _take(self, requirements: Requirements, wanted: Wanted, job: Object) -> EnvironmentState:
        """The build is complete: write down what it holds and that it is there, then remove its Job."""
        folder = annotation(job, FOLDER) or ""
        key = f"{_prefix(wanted)}{TOLD}"
        try:
            told = json.loads(await asyncio.to_thread(self._store.get, key))
            packages, size, about = told["packages"], int(told["bytes"]), dict(told["about"])
        except (KeyMissing, ValueError, KeyError, TypeError) as error:
            return await self._fail(requirements, wanted, job, f"it does not tell what it installed ({error!r})")
        lock = {
            "key": wanted.key,
            "format": wanted.format,
            "asked": wanted.text.splitlines(),
            "image": wanted.image,
            **{name: about[name] for name in ("interpreter", "R") if name in about},
            "packages": packages,
        }
        data = json.dumps(lock, indent=1, sort_keys=True, ensure_ascii=False).encode("utf-8", "backslashreplace")
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        record = {"folder": folder, "lock": digest, "bytes": size, "content": wanted.content}
        await asyncio.to_thread(self._store.put, environment_lock_key(digest), data)
        await asyncio.to_thread(self._records.put, wanted.key, record)
        await self._remove_build(wanted.name)
        await asyncio.to_thread(self._store.delete, key)
        return EnvironmentState("ready", lock=digest)

    async def _fail(self, requirements: Requirements, wanted: Wanted, job: Object, words: str = "") -> EnvironmentState:
        """Tell why to those who waited, and remove the Job, so that the next who asks builds again."""
        pod = self._pod(wanted.name) or await self._ask_pod(wanted.name)
        told = not_built(requirements, words or why(job, pod, self._settings.environments))
        waiting = self._waiting[wanted.name]
        self._failures[wanted.name] = _Failure(told, time.monotonic(), frozenset(waiting.uids))
        for old in [name for name, one in self._failures.items() if time.monotonic() - one.at > FORGET_ALL_SECONDS]:
            del self._failures[old]
        self._removal.add(annotation(job, FOLDER))
        await self._remove_build(wanted.name)
        return EnvironmentState("failed", told)

    async def _ask_pod(self, name: str) -> Object | None:
        query = {"labelSelector": f"job-name={name}", "limit": "5"}
        reply = await self._api.request("GET", self._path("pods"), query=query)
        return next(iter(reply.body.get("items") or []), None)

    async def _remove_build(self, name: str) -> None:
        """The Job and its pod; the Secret goes with it."""
        await self._api.delete(self._path("jobs", name), propagationPolicy="Background")
        await self._api.delete(self._path("secrets", name))
        self._watch.drop(name)

    async def _end_abandoned(self, scope: str) -> None:
        for name, job in list(self._jobs.items()):
            if not is_build(job, scope):
                continue
            asked = max(self._began, self._waiting.get(name, _Waiting()).asked)
            if time.monotonic() - asked > ABANDONED_SECONDS:
                self._removal.add(annotation(job, FOLDER))
                await self._remove_build(name)
                self._waiting.pop(name, None)

    # What is known of lists and environments

    async def _wanted(self, requirements: Requirements, image: str) -> Wanted:
        """Raises :class:`BackendError` and ``StoreError``."""
        text, digest = await self._list(requirements)
        settings = self._settings
        run_in = settings.pinned(image or settings.images.get(LANGUAGES.get(requirements.format, ""), ""))
        rules = settings.environments
        identity = {
            "version": VERSION,
            "content": digest,
            "image": run_in,
            "pip": dict(rules.pip) if requirements.format == "requirements.txt" else {},
            "repositories": list(rules.r_repositories) if requirements.format == "renv.lock" else [],
            "wheelsOnly": rules.builds == "wheels",
        }
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
        return Wanted(key, requirements.format, text, digest, run_in, await self._scope())

    async def _scope(self) -> str:
        return await asyncio.to_thread(self._records.scope)

    async def _list(self, requirements: Requirements) -> tuple[str, str]:
        name = f"{requirements.format} {requirements.digest}"
        known = self._texts.get(name)
        if known is None:
            text = await asyncio.to_thread(content, self._store, requirements)
            known = text, content_digest(requirements.format, text)
            if len(self._texts) > 1000:
                self._texts.clear()
            self._texts[name] = known
        return known

    async def _content_or_none(self, requirements: Requirements) -> str | None:
        try:
            return (await self._list(requirements))[1]
        except BackendError:  # its list is gone: then it can't be used either
            return None

    def _path(self, kind: str, name: str = "") -> str:
        group = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
        return f"{group}/namespaces/{self._settings.namespace}/{kind}" + (f"/{name}" if name else "")


def _prefix(wanted: Wanted) -> str:
    """Of the build's own objects."""
    return f"environments/builds/{wanted.scope}/{wanted.key}/"
