"""Queues and profiles: made, replaced and deleted by those who may."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from ..resources import audit
from ..resources.base import ObjectMeta, Resource, parse
from ..resources.errors import Conflict, FieldError, Forbidden, NotFound, TrainJobError, invalid
from ..resources.names import is_name
from ..resources.profile import Profile
from ..resources.queue import Limits, Queue
from ..resources.trainjob import Phase, TrainJob
from ..resources.volumes import astray
from ..resources.words import counted
from ..storage.base import ObjectStore
from ..store import Filter, Reader, Store, Writer
from . import requirements, tree
from .identity import Identity
from .ports import Backends
from .roles import OPERATOR, Roles

C = TypeVar("C", bound=Resource)

INSTRUCTORS_CHANGE = frozenset(
    {
        "description",
        "limits",
        "shares",
        "per_user",
        "per_user_budget",
        "queued_per_user",
        "max_time_limit_seconds",
        "priorities",
        "approval",
        "admission",
    }
)
"""What an instructor of a queue may replace in it; where its jobs run and who may use it are the operator's."""

ADMISSIONS: dict[str, Literal["Open", "Paused", "Draining"]] = {"pause": "Paused", "drain": "Draining", "open": "Open"}
"""Verb → ``spec.admission``."""

MAX_TOLD = 2000
"""Characters of what changed in a queue that the audit log tells; ten thousand people may have shares in it."""

_NOT_FINAL = [phase.value for phase in Phase if not phase.final]


class Catalogue:
    """Cluster-wide resources. All methods raise as :meth:`.Roles.require` does, and :class:`Invalid`."""

    def __init__(self, *, store: Store, objects: ObjectStore, roles: Roles, backends: Backends) -> None:
        self._store = store
        self._objects = objects
        self._backends = backends
        self._roles = roles

    async def create(self, identity: Identity, model: type[C], data: Any) -> C:
        """Make one. :class:`AlreadyExists`."""
        kind = model.__name__
        self._roles.require(identity, "create", kind)
        new = _read(model, data, None)
        self._check_backend(new)
        new.metadata.owner = identity.username
        await self._check_list(identity, new)
        await self._check_kueue(new)

        def run(writer: Writer) -> C:
            self._keep_list(identity, new)
            _check_volumes(writer, new)
            _check_tree(writer, new)
            return writer.create(new)

        made = await self._store.awrite(run)
        audit.note(identity.username, "create", made, _changes(made, model()))
        return made

    async def replace(self, identity: Identity, model: type[C], name: str, data: Any) -> C:
        """Put ``data`` in its place; ``metadata.resourceVersion`` is checked when given (:class:`Conflict`)."""
        kind = model.__name__
        new = _read(model, data, name)
        await self._check_list(identity, new)
        known = await self._store.aread(lambda reader: reader.get(model, "", name))
        self._roles.require(identity, "update", kind, resource=known)
        await self._check_kueue(new, known)
        told: list[str] = []

        def run(writer: Writer) -> C:
            old = writer.get(model, "", name)
            self._roles.require(identity, "update", kind, resource=old)
            if OPERATOR not in self._roles.held(identity, resource=old):
                self._keep_backend(new, old)
                _only_limits(identity, new, old)
            self._check_backend(new, old)
            checked = new.metadata.resource_version != ""
            self._keep_list(identity, new)
            _check_volumes(writer, new)
            _check_tree(writer, new, old)
            fresh = old.model_copy(deep=True)
            fresh.spec = new.spec
            fresh.metadata.labels = new.metadata.labels
            fresh.metadata.annotations = new.metadata.annotations
            if checked:
                fresh.metadata.resource_version = new.metadata.resource_version
            stored = writer.update(fresh, check=checked)
            told[:] = [_changes(stored, old)]
            if isinstance(old, Queue) and isinstance(stored, Queue) and tightens(stored, old):
                writer.advance_scheduler_epoch(None)  # a pass that saw the old limits must not commit
            return stored

        done = await self._store.awrite(run)
        if told[0]:
            audit.note(identity.username, "update", done, told[0])
        return done

    async def turn(self, identity: Identity, name: str, how: str, message: str = "") -> Queue:
        """``pause`` a queue (nothing starts), ``drain`` it (what waits runs, nothing new is taken), or ``open`` it."""
        admission = ADMISSIONS[how]

        def run(writer: Writer) -> Queue:
            queue = writer.get(Queue, "", name)
            self._roles.require(identity, "update", "Queue", resource=queue)
            queue.spec.admission = admission
            writer.advance_scheduler_epoch(None)
            return writer.update(queue, check=False)

        done = await self._store.awrite(run)
        audit.note(identity.username, how, done, message)
        return done

    async def delete(self, identity: Identity, model: type[C], name: str) -> C:
        """Delete one that no job waits or runs with, and that no queue is below. :class:`Conflict` where some is."""
        kind = model.__name__
        self._roles.require(identity, "delete", kind)

        def run(writer: Writer) -> C:
            old = writer.get(model, "", name)
            if isinstance(old, Queue):
                _refuse_used(writer, old)
            writer.remove(old)
            if isinstance(old, Queue):
                writer.advance_scheduler_epoch(None)
            return old

        gone = await self._store.awrite(run)
        audit.note(identity.username, "delete", gone)
        return gone

    def _keep_backend(self, new: Resource, old: Resource) -> None:
        """Who leaves it out where it is the first of all means no other."""
        if not (isinstance(new, Queue) and isinstance(old, Queue)) or new.spec.backend:
            return
        if self._backends.backend_of("") == old.spec.backend:
            new.spec.backend = old.spec.backend

    def _check_backend(self, new: Resource, old: Resource | None = None) -> None:
        """A queue may go on naming a backend that went away, so that its other fields can still be changed."""
        if not isinstance(new, Queue) or new.spec.backend in ("", *self._backends.backend_names):
            return
        if isinstance(old, Queue) and old.spec.backend == new.spec.backend:
            return
        there = ", ".join(sorted(self._backends.backend_names)) or "none"
        problem = f"there is no backend {new.spec.backend[:80]!r}; there are: {there}"
        remedy = "Name one of these; TrainJobExtension.backends says which there are."
        raise invalid([FieldError("spec.backend", problem, new.spec.backend[:80], remedy)], "The Queue")

    async def _check_kueue(self, new: Resource, old: Resource | None = None) -> None:
        """Whether Kueue is there, and has what the queue names. Where that can't be told, its jobs will say."""
        if not isinstance(new, Queue) or new.spec.kueue is None:
            return
        if isinstance(old, Queue) and (old.spec.kueue, old.spec.backend) == (new.spec.kueue, new.spec.backend):
            return
        try:
            await self._backends.check_kueue(self._backends.backend_of(new.spec.backend), new.spec.kueue)
        except TrainJobError as error:
            if not getattr(error, "permanent", False):
                return
            raise invalid(
                [FieldError("spec.kueue", str(error), new.spec.kueue.local_queue, error.remedy)], "The Queue"
            ) from error

    async def _check_list(self, identity: Identity, new: Resource) -> None:
        if isinstance(new, Profile):
            listed = await requirements.look(self._objects, identity.username, new.spec.environment.requirements)
            if listed.errors:
                raise invalid(listed.errors, "The Profile")

    def _keep_list(self, identity: Identity, new: Resource) -> None:
        if isinstance(new, Profile):
            lost = requirements.keep(self._objects, identity.username, new.spec.environment.requirements)
            if lost:
                raise invalid(lost, "The Profile")


def _changes(new: Resource, old: Resource) -> str:
    """``limits.cpu 8 → 64, admission Open → Paused``; of a profile the names alone, for there are secrets in it."""
    if not isinstance(new, Queue):
        fields = type(new.spec).model_fields
        changed = [name for name in fields if getattr(new.spec, name) != getattr(old.spec, name)]
        return ", ".join(str(fields[name].alias or name) for name in changed)
    was, now = _flat(old.to_dict()["spec"]), _flat(new.to_dict()["spec"])
    names = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
    return ", ".join(f"{name} {_told(was.get(name))} → {_told(now.get(name))}" for name in names)[:MAX_TOLD]


def _flat(spec: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in spec.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return found


def _told(value: Any) -> str:
    return "none" if value is None else str(value)


def _check_volumes(reader: Reader, new: Resource) -> None:
    """Volumes that would lie inside of what another profile's jobs may write, or the other way round."""
    if not isinstance(new, Profile) or not new.spec.volumes:
        return
    others = [one for one in reader.list(Profile, limit=1000).items if one.metadata.name != new.metadata.name]
    named = [(repr(volume.name), volume) for volume in new.spec.volumes]
    for other in others:
        of = f" of the profile {other.metadata.name!r}"
        theirs = [(f"{volume.name!r}{of}", volume) for volume in other.spec.volumes]
        if problem := astray([*named, *theirs]):
            raise invalid([FieldError("spec.volumes", problem, None, "Correct one of the two.")], "The Profile")


def _check_tree(reader: Reader, new: Resource, old: Resource | None = None) -> None:
    """What does not fit among the other queues. One that stays as it is there may be changed otherwise."""
    if not isinstance(new, Queue):
        return
    if isinstance(old, Queue) and all(
        getattr(new.spec, name) == getattr(old.spec, name) for name in ("parent", "limits", "guaranteed", "priorities")
    ):
        return
    if errors := tree.problems(new, tree.all_queues(reader)):
        raise invalid(errors, "The Queue")


def tightens(new: Queue, old: Queue) -> bool:
    """Whether an admission that the old queue allowed might not be allowed by the new one."""
    place = ("backend", "kueue", "parent")
    if new.spec.admission != "Open" or any(getattr(new.spec, name) != getattr(old.spec, name) for name in place):
        return True
    budgets = ((new.spec.budget, old.spec.budget), (new.spec.per_user_budget, old.spec.per_user_budget))
    if any(now is not None and now != was for now, was in budgets):
        return True
    return _lower(new.spec.limits, old.spec.limits) or _lower(new.spec.per_user, old.spec.per_user)


def _lower(new: Limits, old: Limits) -> bool:
    pairs = (
        (new.running_jobs, old.running_jobs),
        (new.cpu_millis, old.cpu_millis),
        (new.memory_bytes, old.memory_bytes),
        (new.gpu, old.gpu),
    )
    return any(now is not None and (was is None or now < was) for now, was in pairs)


def _read(model: type[C], data: Any, name: str | None) -> C:
    """``data`` as a resource with what a user may set."""
    if name is not None and not is_name(name):
        raise NotFound(f"There is no {model.__name__} {name[:80]!r}.", remedy="Look at the list for its name.")
    errors = []
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if key != "status"}
        data.setdefault("kind", model.__name__)
    new = parse(model, data)
    if name is not None and new.metadata.name not in ("", name):
        errors.append(
            FieldError("metadata.name", f"the address says {name!r}", new.metadata.name, "Leave it out: names stay.")
        )
    if name is None and not new.metadata.name:
        errors.append(FieldError("metadata.name", "this field is needed", None, "Write a name such as 'gpu'."))
    if new.metadata.namespace:
        problem = f"a {model.__name__} is for the whole server and has no namespace"
        errors.append(FieldError("metadata.namespace", problem, new.metadata.namespace, "Leave it out."))
    errors += _spec_errors(new)
    if errors:
        raise invalid(errors, f"The {model.__name__}")
    new.metadata = ObjectMeta(
        name=name or new.metadata.name,
        labels=new.metadata.labels,
        annotations=new.metadata.annotations,
        resource_version=new.metadata.resource_version,
    )
    return new


def _spec_errors(new: Resource) -> list[FieldError]:
    errors = []
    if isinstance(new, Queue) and new.spec.priorities.minimum > new.spec.priorities.maximum:
        errors.append(
            FieldError(
                "spec.priorities.minimum", "it is more than the maximum", new.spec.priorities.minimum, "Swap them."
            )
        )
    if isinstance(new, Queue) and new.spec.kueue is not None and new.spec.limits != Limits():
        problem = "Kueue says how much of this queue runs at once, so these limits would have no effect"
        remedy = "Leave spec.limits out, and set the quota of the ClusterQueue; spec.perUser works."
        errors.append(FieldError("spec.limits", problem, None, remedy))
    if isinstance(new, Profile):
        bound = new.spec.max_time_limit_seconds
        if bound is not None and new.spec.time_limit_seconds > bound:
            errors.append(
                FieldError(
                    "spec.timeLimitSeconds",
                    f"the default of {new.spec.time_limit_seconds} s is more than maxTimeLimitSeconds, {bound}",
                    new.spec.time_limit_seconds,
                    f"Write at most {bound}.",
                )
            )
    return errors


def _only_limits(identity: Identity, new: Resource, old: Resource) -> None:
    """:class:`Forbidden` where an instructor would change more than limits."""
    changed = [name for name in type(old.spec).model_fields if getattr(new.spec, name) != getattr(old.spec, name)]
    beyond = [name for name in changed if name not in INSTRUCTORS_CHANGE]
    if beyond:
        raise Forbidden(
            f"{identity.username} may change the limits of the {old.kind} {old.metadata.name!r}, but not "
            f"{', '.join(beyond)}.",
            remedy="Leave that as it is, or ask an operator.",
        )


def _refuse_used(writer: Writer, queue: Queue) -> None:
    name = queue.metadata.name
    count = writer.count(TrainJob, Filter(queue=name, phases=_NOT_FINAL))
    if count:
        raise Conflict(
            f"{counted(count, 'job waits or runs', 'jobs wait or run')} in the queue {name!r}; it can't be deleted.",
            remedy="Set its admission to Draining, and delete it when they have ended.",
        )
    below = sorted(one.metadata.name for one in tree.all_queues(writer).values() if one.spec.parent == name)
    if below:
        raise Conflict(
            f"Below the queue {name!r} {'is' if len(below) == 1 else 'are'} {', '.join(below)}; it can't be deleted.",
            remedy="Delete what is below first, or give it another spec.parent.",
        )
