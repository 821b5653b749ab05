"""What can be done to a job that is there. Verbs change its spec; what comes of it is the controllers' to say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Literal

from ..resources import audit, names
from ..resources.base import parse
from ..resources.errors import Conflict, FieldError, Forbidden, NotFound, invalid
from ..resources.trainjob import Approved, Cancel, Front, Gate, Phase, TrainJob
from ..store import Store, Writer
from .catalogue import Catalogue
from .draft import is_reserved, reserved_error
from .identity import Identity
from .ports import Backends
from .roles import STEERS, Roles
from .submission import Submission, priority_problem

MAX_MESSAGE = 500
AUDITED = ("front", "approve", "reject")
"""Verbs of instructors; others are noted where they are done to somebody else's job, or end its wait for approval."""
Propagation = Literal["cascade", "orphan"]


class Verbs:
    """Cancel, hold, release, front, approve, reject, retry, delete and patch. Each checks the role, and is one
    transaction of the record.

    All raise :class:`NotFound` or :class:`Forbidden` as :meth:`.Roles.require` does, and :class:`Conflict` where the
    job's state does not allow the verb.
    """

    def __init__(
        self,
        *,
        store: Store,
        roles: Roles,
        submission: Submission,
        backends: Backends,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._store = store
        self._roles = roles
        self._submission = submission
        self._clock = clock or (lambda: datetime.now(timezone.utc))
        self.catalogue = Catalogue(store=store, objects=submission.objects, roles=roles, backends=backends)

    async def cancel(self, identity: Identity, job: TrainJob, message: str = "") -> TrainJob:
        """Ask it to end. A second time changes nothing. :class:`Conflict` where it has ended already."""
        note = _message(message)

        def change(fresh: TrainJob) -> None:
            if fresh.status.phase.final:
                raise _ended(fresh, "cancelled")
            if fresh.spec.cancel is None:
                fresh.spec.cancel = Cancel(requested_at=self._clock(), by=identity.username, message=note)

        return await self._change(identity, "cancel", job, change, note)

    async def hold(self, identity: Identity, job: TrainJob, message: str = "") -> TrainJob:
        """Keep it from starting until it is released. :class:`Conflict` unless it is queued.

        Somebody else's hold takes the place of the owner's: it is another who has to release it.
        """
        note = _message(message)

        def change(fresh: TrainJob) -> None:
            _only_queued(fresh, "held")
            _not_elsewhere(fresh, "it can't be held")
            held = [gate for gate in fresh.spec.scheduling_gates if gate.type == "hold"]
            if not held:
                fresh.spec.scheduling_gates.append(Gate(type="hold", message=note, by=identity.username))
            elif identity.username != fresh.metadata.owner and not _others_hold(fresh):
                held[0].by, held[0].message = identity.username, note

        return await self._change(identity, "hold", job, change, note)

    async def release(self, identity: Identity, job: TrainJob, message: str = "") -> TrainJob:
        """Take a hold away. :class:`Conflict` unless it is queued; nothing happens where nothing holds it.

        What somebody else put on hold its owner does not release, unless they steer its queue: :class:`Forbidden`.
        """
        note = _message(message)

        def change(fresh: TrainJob) -> None:
            _only_queued(fresh, "released")
            by = _others_hold(fresh)
            own = fresh.metadata.owner == identity.username
            if by and own and self._roles.held(identity, resource=fresh).isdisjoint(STEERS):
                raise Forbidden(
                    f"{by} put the job {fresh.metadata.name!r} on hold; {identity.username} may not release it.",
                    remedy=f"Ask {by}, or another instructor of its queue or namespace, or an operator.",
                )
            self._open(fresh, "hold")

        return await self._change(identity, "release", job, change, note)

    async def front(self, identity: Identity, job: TrainJob, message: str = "") -> TrainJob:
        """Let it be the first of its queue; of several the one that was moved last. :class:`Conflict` unless queued."""
        note = _message(message)

        def change(fresh: TrainJob) -> None:
            _only_queued(fresh, "moved to the front")
            _not_elsewhere(fresh, "its place there stays what it was")
            fresh.spec.front = Front(requested_at=self._clock(), by=identity.username)

        return await self._change(identity, "front", job, change, note)

    async def approve(self, identity: Identity, job: TrainJob, message: str = "") -> TrainJob:
        """Let it go beyond its owner's limits. :class:`Conflict` where it does not wait for that."""
        note = _message(message)

        def change(fresh: TrainJob) -> None:
            _waits_for_approval(fresh, "approved")
            fresh.spec.approved = Approved(at=self._clock(), by=identity.username, message=note)
            self._open(fresh, "approval")

        return await self._change(identity, "approve", job, change, note)

    async def reject(self, identity: Identity, job: TrainJob, message: str = "") -> TrainJob:
        """End it without having run. :class:`Conflict` where it does not wait for an approval."""
        note = _message(message)

        def change(fresh: TrainJob) -> None:
            _waits_for_approval(fresh, "rejected")
            if fresh.spec.cancel is None:
                text = f"not approved: {note}" if note else "not approved"
                fresh.spec.cancel = Cancel(requested_at=self._clock(), by=identity.username, message=text)

        return await self._change(identity, "reject", job, change, note)

    def _open(self, job: TrainJob, kind: str) -> None:
        """Take the gates of a kind away."""
        kept = [gate for gate in job.spec.scheduling_gates if gate.type != kind]
        if len(kept) == len(job.spec.scheduling_gates):
            return
        job.spec.scheduling_gates = kept
        if not kept:
            job.status.queued = self._clock()  # time spent behind a gate is not time in the queue

    async def retry(self, identity: Identity, job: TrainJob, message: str = "") -> TrainJob:
        """A new job with the same spec, labelled with the old one's name. :class:`Conflict` before that one's end."""
        note = _message(message)
        old = await self._over(identity, job, "retried")
        new = await self._submission.again(identity, old)
        _note(identity, "retry", old, f"as {new.metadata.name}" + (f": {note}" if note else ""))
        return new

    async def rerun(self, identity: Identity, job: TrainJob, parameters: Any = None) -> TrainJob:
        """A new job that does what this one did, as recorded; ``parameters`` (name → value) go over the recorded ones.

        :class:`Conflict` before its end.
        """
        over = {} if parameters is None else parameters
        if not isinstance(over, dict):
            problem = f"the parameters are a JSON {type(over).__name__}, not an object"
            raise invalid([FieldError("parameters", problem, None, 'Send {"parameters": {"lr": 0.1}}.')], "The rerun")
        old = await self._over(identity, job, "run again")
        new = await self._submission.rerun(identity, old, over)
        _note(identity, "rerun", old, f"as {new.metadata.name}")
        return new

    async def _over(self, identity: Identity, job: TrainJob, done: str) -> TrainJob:
        """The job as it is in the record, which has ended."""
        self._roles.require(identity, "retry", "TrainJob", resource=job)
        fresh = await self._store.aread(lambda reader: reader.by_uid(TrainJob, job.metadata.uid))
        if not fresh.status.phase.final:
            raise Conflict(
                f"The job {fresh.metadata.name!r} is {fresh.status.phase.value}; "
                f"only one that has ended can be {done}.",
                remedy="Wait for its end, or cancel it first.",
            )
        return fresh

    async def delete(
        self, identity: Identity, job: TrainJob, propagation: Propagation = "cascade"
    ) -> tuple[TrainJob, bool]:
        """Delete it: ``(as it was last, whether it is gone)``.

        One that runs is cancelled first; logs and outputs go before the record does, which a controller sees to.
        ``cascade`` deletes what names it as its owner as well, ``orphan`` takes the reference away. A second time
        changes nothing.
        """
        self._roles.require(identity, "delete", "TrainJob", resource=job)

        def run(writer: Writer) -> tuple[TrainJob, bool]:
            fresh = writer.by_uid(TrainJob, job.metadata.uid)
            if propagation == "orphan":
                _orphan(writer, fresh)
            if fresh.metadata.deletion_timestamp is not None:
                return fresh, False
            if fresh.status.phase.final and not fresh.metadata.finalizers and not writer.owned_by(fresh.metadata.uid):
                writer.remove(fresh)
                return fresh, True
            fresh.metadata.deletion_timestamp = self._clock()
            if not fresh.status.phase.final and fresh.spec.cancel is None:
                text = f"deleted by {identity.username}"
                fresh.spec.cancel = Cancel(requested_at=self._clock(), by=identity.username, message=text)
            return writer.update(fresh, check=False), False

        done = await self._store.awrite(run)
        if job.metadata.deletion_timestamp is None:
            _note(identity, "delete", done[0])
        return done

    async def patch(self, identity: Identity, job: TrainJob, data: Any) -> TrainJob:
        """Merge labels, annotations and priority (RFC 7396: null removes); anything else is an :class:`Invalid`.

        ``metadata.resourceVersion``, when given, must be the job's: :class:`Conflict`.
        """
        self._roles.require(identity, "update", "TrainJob", resource=job)
        errors = list(_patch_errors(data))
        if errors:
            raise invalid(errors, "The change")
        metadata = data.get("metadata") or {}
        version = metadata.get("resourceVersion")
        priority = (data.get("spec") or {}).get("priority")

        def run(writer: Writer) -> TrainJob:
            fresh = writer.by_uid(TrainJob, job.metadata.uid)
            fresh.metadata.labels = _merged(fresh.metadata.labels, metadata.get("labels"))
            fresh.metadata.annotations = _merged(fresh.metadata.annotations, metadata.get("annotations"))
            if priority is not None and priority != fresh.spec.priority:
                if fresh.status.phase is not Phase.QUEUED:
                    raise Conflict(
                        f"The job {fresh.metadata.name!r} is {fresh.status.phase.value}; "
                        "a priority only matters while it is queued.",
                        remedy="Leave spec.priority out.",
                    )
                _not_elsewhere(fresh, "its priority there stays what it was")
                fresh.spec.priority = priority
                problem = priority_problem(writer, self._roles, identity, fresh)
                if problem:
                    raise invalid([problem], "The change")
            checked = parse(TrainJob, fresh.model_dump(by_alias=True), "The change")
            if version is not None:
                checked.metadata.resource_version = str(version)
            return writer.update(checked, check=version is not None)

        done = await self._store.awrite(run)
        told = [*sorted(key for key in metadata if key != "resourceVersion")]
        _note(identity, "update", done, ", ".join(told + ([] if priority is None else [f"priority {priority}"])))
        return done

    async def _change(
        self, identity: Identity, verb: str, job: TrainJob, change: Callable[[TrainJob], None], note: str = ""
    ) -> TrainJob:
        """Apply ``change`` to the record's own copy, in one transaction. ``note``: why, for the audit log."""
        self._roles.require(identity, verb, "TrainJob", resource=job)

        def run(writer: Writer) -> TrainJob:
            fresh = writer.by_uid(TrainJob, job.metadata.uid)
            change(fresh)
            return writer.update(fresh, check=False)

        done = await self._store.awrite(run)
        _note(identity, verb, done, note)
        return done


def _note(identity: Identity, verb: str, job: TrainJob, message: str = "") -> None:
    """Into the audit log, where it belongs there."""
    asks = any(gate.type == "approval" for gate in job.spec.scheduling_gates)
    if verb in AUDITED or asks or identity.username != job.metadata.owner:
        audit.note(identity.username, verb, job, message)


def _others_hold(job: TrainJob) -> str:
    """Who put it on hold, where that was not its owner."""
    holds = (gate.by for gate in job.spec.scheduling_gates if gate.type == "hold")
    return next((by for by in holds if by not in ("", job.metadata.owner)), "")


def _message(text: Any) -> str:
    if not isinstance(text, str):
        raise invalid(
            [FieldError("message", "it is no text", None, "Write a sentence, or leave it out.")], "The request"
        )
    if len(text) > MAX_MESSAGE:
        problem = f"it has {len(text)} characters, the limit is {MAX_MESSAGE}"
        raise invalid([FieldError("message", problem, text[:80], "Write a shorter one.")], "The request")
    return text


def _waits_for_approval(job: TrainJob, done: str) -> None:
    _only_queued(job, done)
    if not any(gate.type == "approval" for gate in job.spec.scheduling_gates):
        raise Conflict(
            f"The job {job.metadata.name!r} does not wait for an approval; it can't be {done}.",
            remedy="Look at what it waits for with why.",
        )


def _ended(job: TrainJob, done: str) -> Conflict:
    phase, reason = job.status.phase.value, job.status.reason
    how = f"{phase} ({reason})" if reason and reason != phase else phase
    return Conflict(
        f"The job {job.metadata.name!r} has ended already: {how}. It can't be {done} any more.",
        remedy="Retry it to run it again, or delete it.",
        data={"phase": phase, "reason": reason},
    )


def _only_queued(job: TrainJob, done: str) -> None:
    if job.status.phase.final:
        raise _ended(job, done)
    if job.status.phase is not Phase.QUEUED:
        raise Conflict(
            f"The job {job.metadata.name!r} is {job.status.phase.value}; only a queued one can be {done}.",
            remedy="Cancel it if it shall not go on.",
            data={"phase": job.status.phase.value},
        )


def _not_elsewhere(job: TrainJob, so: str) -> None:
    attempt = job.status.live_attempt
    if attempt is None:
        return
    where = f" (LocalQueue {attempt.local_queue})" if attempt.local_queue else ""
    raise Conflict(
        f"The job {job.metadata.name!r} has been handed to Kueue{where}: {so}.",
        remedy="Cancel it and send it again, or ask the operator.",
        data={"phase": job.status.phase.value},
    )


def _orphan(writer: Writer, parent: TrainJob) -> None:
    for child in writer.owned_by(parent.metadata.uid):
        child.metadata.owner_references = [
            reference for reference in child.metadata.owner_references if reference.uid != parent.metadata.uid
        ]
        writer.update(child, check=False)


_MAY_CHANGE = "What may change: metadata.labels, metadata.annotations, spec.priority. For the rest, send a new job."


def _patch_errors(data: Any) -> list[FieldError]:
    if not isinstance(data, dict):
        return [FieldError("(the whole object)", "it is no JSON object", None, _MAY_CHANGE)]
    errors = []
    for key, value in data.items():
        if key in ("apiVersion", "kind"):
            expected = "TrainJob" if key == "kind" else "jupyter-trainjob/v1"
            if value != expected:
                errors.append(FieldError(key, f"it is {expected!r} and can't be changed", None, "Leave it out."))
        elif key == "metadata":
            errors += _metadata_errors(value)
        elif key == "spec":
            errors += _spec_errors(value)
        else:
            errors.append(FieldError(key, "it can't be changed", None, _MAY_CHANGE))
    return errors


def _metadata_errors(metadata: Any) -> list[FieldError]:
    if not isinstance(metadata, dict):
        return [FieldError("metadata", "it is no JSON object", None, _MAY_CHANGE)]
    errors = []
    for key, value in metadata.items():
        if key == "resourceVersion":
            if not isinstance(value, str):
                errors.append(FieldError("metadata.resourceVersion", "it is no text", None, "Send it as it was read."))
        elif key in ("labels", "annotations"):
            errors += _text_errors(f"metadata.{key}", key, value)
        else:
            errors.append(FieldError(f"metadata.{key}", "it can't be changed", None, _MAY_CHANGE))
    return errors


def _text_errors(where: str, word: str, texts: Any) -> list[FieldError]:
    if not isinstance(texts, dict):
        return [FieldError(where, "it is no JSON object", None, "Send {key: text}, null to remove a key.")]
    errors = []
    for key, text in texts.items():
        at = f"{where}.{key[:80]}"
        if is_reserved(word, key):
            errors.append(reserved_error(word, key))
        elif text is not None and not isinstance(text, str):
            errors.append(FieldError(at, "it is no text", None, "Send text, or null to remove it."))
        elif word == "labels":
            problem = names.label_key_error(key) or (names.label_value_error(text) if text else None)
            if problem:
                errors.append(FieldError(at, problem, text))
    return errors


def _spec_errors(spec: Any) -> list[FieldError]:
    if not isinstance(spec, dict):
        return [FieldError("spec", "it is no JSON object", None, _MAY_CHANGE)]
    errors = [FieldError(f"spec.{key}", "it can't be changed", None, _MAY_CHANGE) for key in spec if key != "priority"]
    priority = spec.get("priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, int):
        errors.append(FieldError("spec.priority", "it is no whole number", None, "Write for example -10 or 0."))
    return errors


def _merged(texts: dict[str, str], change: dict[str, str | None] | None) -> dict[str, str]:
    merged = {**texts, **(change or {})}
    return {key: value for key, value in merged.items() if value is not None}


__all__ = ["NotFound", "Propagation", "Verbs"]
