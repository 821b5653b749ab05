"""Many jobs in one request: the points of a sweep, or jobs that depend on each other. All of them, or none."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from ..resources import names
from ..resources.errors import FieldError, Invalid, invalid
from ..resources.trainjob import FIRST_CHOSEN_SEED, Sweep, TrainJob, check_parameters
from ..resources.words import counted
from ..store import Store, Writer
from . import checks
from .draft import read_draft, turn_gate
from .identity import Identity
from .roles import Roles
from .submission import Submission, note_asking

MOST_POINTS = 1000
MOST_ITEMS = 200
"""Each of these is looked at for itself, code and all."""
HOW = "Send {template, points, maxParallel}, or {items}."


class Batches:
    """Accepts them."""

    def __init__(self, *, store: Store, roles: Roles, submission: Submission) -> None:
        self._store = store
        self._roles = roles
        self._submission = submission

    async def submit(self, identity: Identity, namespace: str, data: Any) -> list[TrainJob]:
        """Queue them. Raises as :meth:`.Submission.submit` does, with the fields of the whole body."""
        await self._roles.namespace(identity, namespace)
        self._roles.require(identity, "create", "TrainJob", namespace=namespace)
        if not isinstance(data, dict) or ("items" in data) == ("points" in data):
            raise _wrong("(the whole object)", "it has neither points nor items, or both", HOW)
        order: list[int] | None = None
        if "items" in data:
            jobs, order = await self._items(identity, namespace, data["items"])
        else:
            jobs = await self._points(identity, namespace, data)

        def create(writer: Writer) -> list[TrainJob]:
            self._submission.check_room(writer, identity, jobs)
            for job in jobs if order is not None else jobs[:1]:  # the points of a sweep name the same
                self._submission.check_kept(writer, job)
            if order is None:
                return writer.create_all(jobs)
            made: dict[int, TrainJob] = {}
            for index in order:
                job = jobs[index].model_copy(deep=True)
                _bind(job, {one.metadata.name: one for one in made.values()})
                made[index] = writer.create(job)
            return [made[index] for index in range(len(jobs))]

        done = await self._store.awrite(create)
        note_asking(identity, done)
        return done

    # Points

    async def _points(self, identity: Identity, namespace: str, data: Mapping[str, Any]) -> list[TrainJob]:
        points = data["points"]
        if not isinstance(points, list) or not 1 <= len(points) <= MOST_POINTS:
            count = counted(len(points), "point") if isinstance(points, list) else "no list"
            raise _wrong("points", f"{count}; there may be 1 to {MOST_POINTS}", "Send the rest as another sweep.")
        parallel = data.get("maxParallel")
        if parallel is not None and (isinstance(parallel, bool) or not isinstance(parallel, int) or parallel < 1):
            raise _wrong("maxParallel", "it is no whole number from 1 on", "Write for example 3, or leave it out.")
        template = read_draft(data.get("template"), owner=identity.username, namespace=namespace)
        if template.metadata.name:
            remedy = "Give metadata.generateName in its place."
            raise _wrong("template.metadata.name", "many jobs can't have one name", remedy)
        given = _parameters(template, points)
        fixed_seed = template.spec.seed is not None
        base = dict(template.spec.parameters)
        template.spec = template.spec.model_copy(update={"parameters": {**base, **given[0]}})
        await self._submission.prepare(identity, template)
        differing = sorted({name for one in given for name in one})
        name = names.full_name(template.metadata.generate_name)
        jobs = []
        for index, one in enumerate(given):
            sweep = Sweep(name=name, index=index, size=len(given), point=differing, max_parallel=parallel)
            gates = list(template.spec.scheduling_gates)
            if parallel is not None and index >= parallel:
                gates.append(turn_gate(name, parallel))
            seed = template.spec.seed if fixed_seed else FIRST_CHOSEN_SEED + secrets.randbelow(2**31)
            spec = template.spec.model_copy(
                update={"parameters": {**base, **one}, "sweep": sweep, "scheduling_gates": gates, "seed": seed}
            )
            labels = {**template.metadata.labels, names.SWEEP_LABEL: name}
            meta = template.metadata.model_copy(update={"labels": labels})
            jobs.append(template.model_copy(update={"spec": spec, "metadata": meta}))
        self._check_language(jobs)
        return jobs

    def _check_language(self, jobs: Sequence[TrainJob]) -> None:
        for index, job in enumerate(jobs):
            if errors := checks.parameter_errors(job, job.spec.environment.language):
                where = [_at(error, f"points[{index}].", "spec.") for error in errors]
                raise invalid(where, "The batch")

    # Items

    async def _items(self, identity: Identity, namespace: str, items: Any) -> tuple[list[TrainJob], list[int]]:
        """The jobs, and in which order they can be made."""
        if not isinstance(items, list) or not 1 <= len(items) <= MOST_ITEMS:
            count = counted(len(items), "item") if isinstance(items, list) else "no list"
            raise _wrong("items", f"{count}; there may be 1 to {MOST_ITEMS}", "Send the rest in another request.")
        drafts, errors = [], []
        for index, item in enumerate(items):
            try:
                drafts.append(read_draft(item, owner=identity.username, namespace=namespace))
            except Invalid as error:
                errors += [_at(one, f"items[{index}].") for one in error.details]
        if errors:
            raise invalid(errors, "The batch")
        order = _in_turn(drafts)
        beside = {draft.metadata.name for draft in drafts if draft.metadata.name}
        for index, draft in enumerate(drafts):
            try:
                await self._submission.prepare(identity, draft, beside=beside)
            except Invalid as error:
                errors += [_at(one, f"items[{index}].") for one in error.details]
        if errors:
            raise invalid(errors, "The batch")
        return drafts, order


def _parameters(template: TrainJob, points: Sequence[Any]) -> list[dict[str, Any]]:
    """The parameters of each point, checked as those of a job are."""
    found = []
    for index, point in enumerate(points):
        given = point.get("parameters", {}) if isinstance(point, dict) else None
        if not isinstance(given, dict) or set(point) - {"parameters"}:
            raise _wrong(f"points[{index}]", "it is no {parameters: {name: value}}", "Write that.")
        try:
            check_parameters({**template.spec.parameters, **given})
        except ValueError as error:
            raise _wrong(f"points[{index}].parameters", str(error), "Give this point other values.") from None
        found.append(given)
    return found


def _in_turn(drafts: Sequence[TrainJob]) -> list[int]:
    """The places of the jobs, each behind those that it depends on; :class:`Invalid` shows a circle."""
    places = {draft.metadata.name: index for index, draft in enumerate(drafts) if draft.metadata.name}
    parents = [
        [places[gate.job] for gate in draft.spec.scheduling_gates if gate.type == "dependency" and gate.job in places]
        for draft in drafts
    ]
    done: dict[int, None] = {}
    path: list[int] = []

    def visit(index: int) -> None:
        if index in done:
            return
        if index in path:
            circle = [*path[path.index(index) :], index]
            told = " → ".join(drafts[one].metadata.name for one in circle)
            where = f"items[{path[-1]}].spec.schedulingGates"
            raise _wrong(where, f"the jobs wait for each other: {told}", "Take one of these dependencies out.")
        path.append(index)
        for parent in parents[index]:
            visit(parent)
        path.pop()
        done[index] = None

    for index in range(len(drafts)):
        visit(index)
    return list(done)


def _bind(job: TrainJob, made: Mapping[str, TrainJob]) -> None:
    """Dependencies on jobs of the batch get their uids, now that there are any."""
    for gate in job.spec.scheduling_gates:
        parent = made.get(gate.job) if gate.type == "dependency" else None
        if parent is not None:
            gate.job = parent.metadata.uid
            gate.message = gate.message or f"it waits until {parent.metadata.name} has {gate.condition}"


def _at(error: FieldError, where: str, less: str = "") -> FieldError:
    return FieldError(where + error.field.removeprefix(less), error.message, error.value, error.remedy)


def _wrong(field: str, message: str, remedy: str) -> Invalid:
    return invalid([FieldError(field, message, None, remedy)], "The batch")
