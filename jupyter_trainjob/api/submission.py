"""From what a person sends to a queued job, or to every reason why not, at once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ..resources import audit, names
from ..resources.errors import FieldError, Invalid, NotFound, invalid
from ..resources.failpoints import reach
from ..resources.profile import Profile
from ..resources.queue import Queue
from ..resources.trainjob import (
    FIRST_CHOSEN_SEED,
    CellSource,
    Phase,
    TrainJob,
)
from ..storage.base import ObjectStore
from ..store import Reader, Store, Writer
from . import approvals, checks, inputs, kernels, reproduce, requirements, room, sources, tree
from .defaults import complete
from .draft import KERNEL_ANNOTATION, read_draft
from .identity import Identity
from .inspection import Inspection
from .kernels import Choice
from .limits import Node, Refusal, first_of_each, may_use, priority_error, refusals
from .ports import Backends, Kernel, Ranking
from .quota import NamespaceQuota
from .roles import STEERS, Roles


@dataclass
class _Found:
    """What the record says about a draft."""

    profile: Profile | None = None
    queue: Queue | None = None
    above: list[Queue] = field(default_factory=list)
    errors: list[FieldError] = field(default_factory=list)


@dataclass
class _Examined:
    """All that can be said of a draft but for its size."""

    found: _Found
    findings: sources.Findings
    kernel: Choice
    nodes: Sequence[Node]
    errors: list[FieldError]
    listed: requirements.Listed


class Submission:
    """Accepts jobs."""

    def __init__(
        self,
        *,
        store: Store,
        objects: ObjectStore,
        roles: Roles,
        ranking: Ranking,
        backends: Backends,
        default_queue: str = "default",
        default_profile: str = "default",
        inspector: sources.Inspector | None = None,
        input_uris: Collection[str] = (),
        quota: NamespaceQuota | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._store = store
        self._objects = self.objects = objects
        self._roles = roles
        self._ranking = ranking
        self._default_queue = default_queue
        self._default_profile = default_profile
        self._backends = backends
        self._input_uris = tuple(input_uris)
        self.quota = quota or NamespaceQuota()
        self._inspection = Inspection(store, objects, inspector or sources.Inspector())
        self._clock = clock or (lambda: datetime.now(timezone.utc))

    async def submit(self, identity: Identity, namespace: str, data: Any, dry_run: bool = False) -> TrainJob:
        """Queue what ``data`` asks for; with ``dry_run`` only tell what would be, and when it would run.

        Raises :class:`Invalid` with all bad fields, :class:`TooMany`, :class:`NotFound` for the namespace,
        :class:`AlreadyExists` for a full name that is taken.
        """
        await self._roles.namespace(identity, namespace)
        self._roles.require(identity, "create", "TrainJob", namespace=namespace)
        draft = read_draft(data, owner=identity.username, namespace=namespace)
        return await self._queue(identity, draft, dry_run)

    async def again(self, identity: Identity, old: TrainJob) -> TrainJob:
        """Queue a new job that is ``old`` once more, for the same owner."""
        draft = reproduce.draft_again(old)
        draft.metadata.labels[names.RETRY_OF_LABEL] = old.metadata.name
        return await self._queue(identity, draft, dry_run=False)

    async def rerun(self, identity: Identity, old: TrainJob, parameters: Mapping[str, Any]) -> TrainJob:
        """Queue a new job that does what ``old`` did, with other ``parameters`` if any: see :mod:`.reproduce`."""
        draft = reproduce.draft_again(old)
        draft.metadata.labels[names.RERUN_OF_LABEL] = old.metadata.name
        draft.status.image_digest = old.status.image_digest
        reproduce.with_parameters(draft, parameters)
        found = await asyncio.to_thread(reproduce.locked, self._objects, old)
        if found is not None:
            owner = old.metadata.owner
            await self._store.awrite(lambda writer: reproduce.keep_list(self._objects, writer, owner, found))
            draft.spec.environment.requirements = found[0]
        return await self._queue(identity, draft, dry_run=False, profile=reproduce.recorded_profile(old))

    async def inspect(self, identity: Identity, data: Any) -> dict[str, Any]:
        """``{language, kernel, parameters, problems}`` of what ``data`` would send, which need not be whole yet.

        Raises :class:`Invalid` where it can't be read as a job at all, and what :meth:`submit` raises.
        """
        given = data.get("metadata") if isinstance(data, dict) else None
        place = given.get("namespace") if isinstance(given, dict) else None
        namespace = place if isinstance(place, str) and place else identity.namespace
        await self._roles.namespace(identity, namespace)
        self._roles.require(identity, "create", "TrainJob", namespace=namespace)
        seen = await self._examine(identity, read_draft(data, owner=identity.username, namespace=namespace))
        return {
            "language": "" if seen.kernel.error else seen.kernel.language,
            "kernel": seen.kernel.kernel,
            "parameters": [parameter.to_dict() for parameter in seen.findings.parameters],
            "problems": [error.to_dict() for error in seen.errors],
        }

    async def _examine(
        self, identity: Identity, draft: TrainJob, recorded: Profile | None = None, beside: Collection[str] = ()
    ) -> _Examined:
        found = await self._store.aread(lambda reader: self._look(reader, identity, draft, recorded, beside))
        found.errors += await inputs.look(self._objects, draft)
        asked_for = draft.spec.environment.requirements
        listed = await requirements.look(self._objects, draft.metadata.owner, asked_for)
        found.errors += listed.errors
        profile, queue = found.profile or Profile(), found.queue or Queue()  # blank ones refuse nothing
        nodes: Sequence[Node] = ()
        there: Sequence[Kernel] | None = None
        if found.queue is not None:
            queue.spec.backend = self._backends.backend_of(queue.spec.backend)
            nodes = await self._backends.capacity(queue.spec.backend)
            there = await self._backends.kernels(queue.spec.backend)
        asked, fallback = kernels.asked(there, draft.spec.environment), kernels.of_profile(there, profile)
        findings = await self._inspect(draft, asked, fallback)
        told = kernels.of_source(there, findings.kernel, findings.language, f"spec.source.{_text_field(draft)}")
        kernel = kernels.decide(there, asked, told, fallback)
        errors = [*checks.unsupported(draft), *found.errors, *findings.errors]
        errors += [kernel.error] if kernel.error else checks.parameter_errors(draft, kernel.language)
        return _Examined(found, findings, kernel, nodes, errors, listed)

    async def _queue(
        self, identity: Identity, draft: TrainJob, dry_run: bool, profile: Profile | None = None
    ) -> TrainJob:
        await self.prepare(identity, draft, profile)
        reproduce.wait_in_turn(draft)
        await self._store.aread(lambda reader: self.check_room(reader, identity, [draft]))  # here it may take long
        if dry_run:
            return await self._explained(draft)
        made = await self._store.awrite(lambda writer: self._create(writer, identity, draft))
        note_asking(identity, [made])
        return made

    async def prepare(
        self, identity: Identity, draft: TrainJob, profile: Profile | None = None, beside: Collection[str] = ()
    ) -> None:
        """Complete a draft, so that it can be created; :class:`Invalid` with all that is wrong with it.

        ``beside``: full names of jobs that are sent with it, on which it may depend.
        """
        seen = await self._examine(identity, draft, profile, beside)
        found, findings, errors = seen.found, seen.findings, seen.errors
        profile, queue = found.profile or Profile(), found.queue or Queue()
        draft.spec = complete(draft.spec, profile, queue, seen.kernel, found.above)
        errors += requirements.language_errors(draft)
        if not errors:  # one may be that the list is another's, which nothing may be told about
            errors += await self._requirements_errors(draft, profile, queue, seen.listed)
        errors += checks.network_errors(draft, found.profile) if found.profile is not None else []
        if found.profile is not None and found.queue is not None:
            errors += await self._choice_errors(identity, draft, profile, queue)
        errors += await inputs.size_errors(self._objects, draft)
        refused = await self._refusals(draft, profile, queue, seen)
        if queue.spec.approval is not None:
            asks, refused = approvals.split(refused)
            if asks:
                draft.spec.scheduling_gates.append(approvals.gate(asks, queue.spec.approval, self._clock()))
        refused = first_of_each(refused)
        errors += [refusal.error() for refusal in refused]
        if errors or found.profile is None or found.queue is None:
            error = invalid(errors, "The TrainJob")
            error.data = {"refusals": [refusal.to_dict() for refusal in refused]} if refused else {}
            raise error
        self._stamp(draft, found.profile, findings)

    async def _refusals(self, draft: TrainJob, profile: Profile, queue: Queue, seen: _Examined) -> list[Refusal]:
        asked = (draft.spec, profile, queue, seen.nodes, seen.found.above)
        if draft.spec.pod_sets:  # finding out whether they all fit may take a while
            return await asyncio.to_thread(refusals, *asked)
        return refusals(*asked)

    async def _requirements_errors(
        self, draft: TrainJob, profile: Profile, queue: Queue, listed: requirements.Listed
    ) -> list[FieldError]:
        asked = draft.spec.environment.requirements
        if asked is None:
            return []
        everybodys = await self._store.aread(lambda reader: requirements.is_profiles(reader, asked.digest))
        return await requirements.backend_errors(
            self._objects, self._backends, queue.spec.backend, draft, profile, everybodys, listed
        )

    async def _choice_errors(
        self, identity: Identity, draft: TrainJob, profile: Profile, queue: Queue
    ) -> list[FieldError]:
        """An image and volumes that the queue's backend has none of, or not these."""
        backend, chosen = queue.spec.backend, checks.chosen(draft, profile)
        if not chosen or backend not in self._backends.backend_names:
            return []
        lacking = [what for what in chosen if what not in self._backends.offers(backend)]
        if not lacking:
            return [*await self._backends.check_job(backend, draft, profile)]
        queues = (await self._store.aread(lambda reader: reader.list(Queue, limit=1000))).items
        usable = {one.metadata.name: one.spec.backend for one in queues if may_use(one, identity)}
        offers = {name: self._backends.offers(self._backends.backend_of(named)) for name, named in usable.items()}
        return [
            checks.not_offered(
                what, chosen[what], queue.metadata.name, [name for name, has in offers.items() if what in has]
            )
            for what in lacking
        ]

    def _create(self, writer: Writer, identity: Identity, draft: TrainJob) -> TrainJob:
        self.check_room(writer, identity, [draft])
        self.check_kept(writer, draft)
        made = writer.create(draft)
        reach("submission.written")
        return made

    def check_room(self, reader: Reader, identity: Identity, drafts: Sequence[TrainJob]) -> None:
        """:class:`TooMany` where these jobs, of one owner in one namespace, are more than may be kept or may wait."""
        self.quota.check(reader, identity, drafts[0].metadata.namespace)
        room.check(reader, drafts)

    def check_kept(self, writer: Writer, draft: TrainJob) -> None:
        """In the transaction that creates it: :class:`Invalid` where what it names has gone meanwhile."""
        lost = checks.blob_errors(writer, draft) + inputs.gone_outputs(writer, draft)
        lost = lost or requirements.keep(self._objects, draft.metadata.owner, draft.spec.environment.requirements)
        if lost:
            raise invalid(lost, "The TrainJob")
        for _, digest in draft.spec.uploads():
            blob = writer.blob(draft.metadata.owner, digest)
            if blob is not None:  # counts as used from today on
                writer.put_blob(blob.owner, blob.digest, blob.size)

    def _stamp(self, job: TrainJob, profile: Profile, findings: sources.Findings) -> None:
        job.metadata.finalizers = [names.OBJECTS_FINALIZER]
        if findings.kernel:
            job.metadata.annotations[KERNEL_ANNOTATION] = findings.kernel
        job.status.phase = Phase.QUEUED
        job.status.queued = self._clock()
        job.status.code_hash = findings.code_hash
        if job.spec.seed is None:
            job.spec.seed = FIRST_CHOSEN_SEED + secrets.randbelow(2**31)
        if findings.code_hash:
            job.metadata.labels[names.CODE_LABEL] = names.code_label(findings.code_hash)
        job.status.profile_snapshot = profile.model_copy(update={"status": type(profile.status)()}).to_dict()

    async def _explained(self, job: TrainJob) -> TrainJob:
        told = await self._ranking.explain(job)
        job.status.position = told.position
        job.status.waiting_for = told.waiting_for
        job.status.estimated_start = told.estimated_start
        return job

    # What the record says

    def _look(
        self, reader: Reader, identity: Identity, job: TrainJob, recorded: Profile | None, beside: Collection[str]
    ) -> _Found:
        found = _Found()
        profile_name = job.spec.profile or self._default_profile
        if recorded is not None:
            found.profile = reproduce.profile_for(recorded, reader)
        else:
            found.profile = checks.named(
                reader, Profile, profile_name, "spec.profile", found.errors, lambda profile: True
            )
        queue_name = job.spec.queue or (found.profile.spec.queue if found.profile else "") or self._default_queue
        if found.profile is not None or job.spec.queue:
            found.queue = checks.named(
                reader, Queue, queue_name, "spec.queue", found.errors, lambda queue: may_use(queue, identity)
            )
        if found.queue is not None:
            if found.queue.spec.parent:
                found.above = tree.above(found.queue, tree.all_queues(reader))
            found.errors += self._queue_errors(found.queue, found.above, identity, job)
        found.errors += checks.blob_errors(reader, job)
        found.errors += checks.path_errors(job)
        found.errors += self._gate_errors(reader, identity, job, beside)
        found.errors += inputs.uri_errors(job, self._input_uris)
        found.errors += inputs.settle_outputs(
            reader,
            job,
            self._roles.visible(identity),
            lambda parent: self._roles.allowed(identity, "outputs", "TrainJob", resource=parent),
        )
        found.errors += checks.reference_errors(reader, job)
        return found

    def _queue_errors(
        self, queue: Queue, above: Sequence[Queue], identity: Identity, job: TrainJob
    ) -> list[FieldError]:
        errors = []
        name = queue.metadata.name
        drained = next((one.metadata.name for one in (queue, *above) if one.spec.admission == "Draining"), "")
        if drained:
            whose = "" if drained == name else f", which {name!r} is below,"
            errors.append(
                FieldError(
                    "spec.queue",
                    f"the queue {drained!r}{whose} is being emptied and takes no new jobs",
                    name,
                    "Choose another queue, or wait until the operator opens it again.",
                )
            )
        problem = _priority(self._roles, identity, job, [queue, *above])
        return errors + ([problem] if problem else [])

    def _gate_errors(
        self, reader: Reader, identity: Identity, job: TrainJob, beside: Collection[str]
    ) -> list[FieldError]:
        """Dependencies get the uid of the job they name; those that can't be get an error."""
        errors = []
        for index, gate in enumerate(job.spec.scheduling_gates):
            gate.by, gate.until = job.metadata.owner if gate.type == "hold" else "", None
            where = f"spec.schedulingGates[{index}].job"
            if gate.type != "dependency" or gate.job in beside:
                continue
            if gate.job and gate.job == job.metadata.name:
                errors.append(FieldError(where, "a job can't wait for itself", gate.job, "Name another job."))
                continue
            try:
                parent = reader.find(TrainJob, job.metadata.namespace, gate.job, visible=self._roles.visible(identity))
            except NotFound:
                errors.append(
                    FieldError(
                        where,
                        f"there is no job {gate.job[:80]!r} in namespace {job.metadata.namespace!r}",
                        gate.job[:80],
                        "Name one that the list of jobs shows, by its name or uid.",
                    )
                )
                continue
            problem = checks.never(gate, parent)
            if problem:
                errors.append(FieldError(where, problem, gate.job, "Run that job again first."))
            gate.job = parent.metadata.uid
            gate.message = gate.message or f"it waits until {parent.metadata.name} has {gate.condition}"
        return errors

    async def _inspect(self, job: TrainJob, asked: Choice, fallback: Choice) -> sources.Findings:
        return await self._inspection.findings(job, asked.language, fallback.language)

    def close(self) -> None:
        """End what looks at code."""
        self._inspection.close()


def _text_field(job: TrainJob) -> str:
    return "code" if isinstance(job.spec.source, CellSource) else "digest"


def priority_problem(reader: Reader, roles: Roles, identity: Identity, job: TrainJob) -> FieldError | None:
    """What is wrong with the job's priority in its queue, if anything."""
    return _priority(roles, identity, job, tree.path(job.spec.queue, reader))


def _priority(roles: Roles, identity: Identity, job: TrainJob, queues: Sequence[Queue]) -> FieldError | None:
    """``queues``: the job's and those above it. Who steers one goes beyond its range, and not beyond those above."""
    return priority_error(job.spec, [one for one in queues if roles.held(identity, resource=one).isdisjoint(STEERS)])


def note_asking(identity: Identity, made: Sequence[TrainJob]) -> None:
    """Write into the audit log which of these new jobs wait for an instructor, for what and until when."""
    for job in made:
        for gate in job.spec.scheduling_gates:
            if gate.type == "approval":
                until = f" (until {gate.until:%Y-%m-%d %H:%M} UTC)" if gate.until else ""
                audit.note(identity.username, "ask", job, gate.message + until)


__all__ = ["Invalid", "Submission"]
