"""Writing the record, within one transaction that no other writer overlaps."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from pydantic_core import PydanticSerializationError
from sqlalchemy import Connection, CursorResult, Executable, bindparam, delete, func, insert, select, update

from ..resources import names
from ..resources.base import ObjectMeta, R, Resource
from ..resources.errors import AlreadyExists, BadRequest, Conflict, FieldError, NotFound, TrainJobError, invalid
from .filters import is_storable, storable
from .pending import Pending
from .reader import BY_UID, BY_UIDS, Reader, parse_document
from .tables import blobs, changes, counters, documents, ended, labels, leases, owner_references, resources
from .times import Clock, to_text
from .types import ChangeType, EndedRow

NAME_TRIES = 8
KEPT_CHANGE_BYTES = 256 * 1024 * 1024
_TAKEN = select(resources.c.id).where(
    resources.c.kind == bindparam("kind_"),
    resources.c.namespace == bindparam("namespace_"),
    resources.c.name == bindparam("name_"),
)

_TAKEN_OF = select(resources.c.name).where(
    resources.c.kind == bindparam("kind_"),
    resources.c.namespace == bindparam("namespace_"),
    resources.c.name.in_(bindparam("names_", expanding=True)),
)


class Writer(Reader):
    """What can be changed. Good only inside the function that :meth:`.Store.write` handed it to.

    From its first statement on it is the only writer of the record, in whichever process: what it reads stays true
    until it commits, so "count, then create" needs no further care.

    What is written is sent to the database in one go, at the end or when something is asked that it may matter to.
    """

    def __init__(self, connection: Connection, clock: Clock) -> None:
        super().__init__(connection)
        self._clock = clock
        self._pending = Pending(connection)
        self._seen: dict[tuple[str, str], tuple[int, str]] = {}
        """Key and document, by kind and uid, of what this transaction has read or written one by one."""
        self._names: set[tuple[str, str, str]] = set()
        """Kind, namespace and name of what it made."""
        self._offers: dict[tuple[str, str, str], list[str]] = {}
        """Names that are free, by kind, namespace and short name."""
        self._altered = 0
        self.written: int | None = None
        """The feed's version after the last change of this transaction; None while there is none."""

    @property
    def _connection(self) -> Connection:
        self._pending.send()
        return self._raw

    @property
    def alterations(self) -> int:
        """How much was written so far: whoever fails and has not raised it leaves nothing behind."""
        return self._altered + self._pending.count

    def _alter(self, statement: Executable) -> CursorResult[Any]:
        self._altered += 1
        return self._connection.execute(statement)

    def send(self) -> None:
        """Let the database know all that was written; the store does so before it commits."""
        self._pending.send()

    def create(self, resource: R) -> R:
        """Store a new object and return it as stored; the argument stays as it is.

        Sets uid, creationTimestamp, generation, resourceVersion, and the name from generateName (which becomes the
        label ``jupyter-trainjob/name``). :class:`AlreadyExists` when the name is taken.
        """
        _check_place(resource)
        new = _own_metadata(resource)
        meta = new.metadata
        meta.name = self._free_name(new)
        meta.uid = str(uuid.uuid4())
        meta.creation_timestamp = self._clock()
        meta.deletion_timestamp = None
        meta.generation = 1
        version = self._pending.next_version()
        meta.resource_version = str(version)
        row = {
            "id": version,
            "uid": meta.uid,
            "kind": new.kind,
            "namespace": meta.namespace,
            "name": meta.name,
            "owner": storable(meta.owner, "owner"),
            "created": to_text(meta.creation_timestamp),
            **_columns(new),
        }
        document = _document(new)
        references = _reference_rows(version, meta)
        self._pending.add("resource", row)
        self._pending.add("document", {"id": version, "document": document})
        self._put(version, new, references)
        self._names.add((new.kind, meta.namespace, meta.name))
        self._record(version, "ADDED", new, document, version)
        return new

    def create_all(self, found: Sequence[R]) -> list[R]:
        """:meth:`create` for each: whether names are free is asked once for all."""
        places: dict[tuple[str, str], dict[str, str]] = {}
        for one in found:
            short = one.metadata.generate_name
            if short and not one.metadata.name:
                places.setdefault((one.kind, one.metadata.namespace), {})[names.full_name(short)] = short
        for (kind, namespace), offers in places.items():
            asked = {"kind_": kind, "namespace_": namespace, "names_": list(offers)}
            taken = set(self._connection.execute(_TAKEN_OF, asked).scalars().all())
            for name, short in offers.items():
                if name not in taken:
                    self._offers.setdefault((kind, namespace, short), []).append(name)
        return [self.create(one) for one in found]

    def update(self, resource: R, *, check: bool = True) -> R:
        """Store a changed object and return it as stored; the argument stays as it is.

        With ``check``, :class:`Conflict` unless ``metadata.resourceVersion`` is the stored one. A changed spec
        raises the generation. uid, owner, creationTimestamp, namespace and name can't change
        (:class:`~jupyter_trainjob.resources.errors.Invalid`). Nothing is written, and no version used, where nothing
        differs. :class:`NotFound` when it is gone.
        """
        _check_place(resource)
        key, old = self._stored(resource)
        new = _own_metadata(resource)
        if check and new.metadata.resource_version != old.metadata.resource_version:
            raise _stale(new, old)
        _keep_immutable(new.metadata, old.metadata)
        new.metadata.generation = old.metadata.generation + (new.spec != old.spec)
        new.metadata.resource_version = old.metadata.resource_version
        if new == old:
            return old
        version = self._pending.next_version()
        new.metadata.resource_version = str(version)
        document = _document(new)
        columns = _columns(new)
        if new.metadata.labels != old.metadata.labels:
            self._alter(delete(labels).where(labels.c.id == key))
            self._put_labels(key, new)
        if new.metadata.owner_references != old.metadata.owner_references:
            references = _reference_rows(key, new.metadata)
            self._alter(delete(owner_references).where(owner_references.c.id == key))
            self._put_references(references)
        self._pending.add("resource_change", {"key_": key, **columns})
        self._pending.add("document_change", {"key_": key, "document": document})
        self._record(version, "MODIFIED", new, document, key)
        return new

    def remove(self, resource: Resource) -> None:
        """Take the object (this uid) out for good; the feed tells DELETED. :class:`NotFound` when it is gone."""
        key, old = self._stored(resource)
        version = self._pending.next_version()
        old.metadata.resource_version = str(version)
        self._alter(delete(resources).where(resources.c.id == key))  # the rest cascades
        self._record(version, "DELETED", old, _document(old), None)

    def advance_scheduler_epoch(self, seen: int | None = None) -> bool:
        """Raise the epoch; with ``seen``, only from that value. False: it was another, nothing changed."""
        statement = update(counters).where(counters.c.name == "scheduler_epoch").values(value=counters.c.value + 1)
        if seen is not None:
            statement = statement.where(counters.c.value == seen)
        return self._alter(statement).rowcount == 1

    def record_id(self) -> str:
        """What tells this record from all others: made once, and the same for all servers on it. Sixteen digits.

        A copy of the record has the same.
        """
        known = self._connection.execute(select(counters.c.value).where(counters.c.name == "record")).scalar()
        if known is None:
            known = secrets.randbits(63)
            self._alter(insert(counters).values(name="record", value=known))
        return f"{known:016x}"

    def put_blob(self, owner: str, digest: str, size: int) -> None:
        """Note an owner's blob, or that it is used again."""
        now = to_text(self._clock())
        here = (blobs.c.owner == storable(owner, "owner"), blobs.c.digest == storable(digest, "digest"))
        done = self._alter(update(blobs).where(*here).values(size=size, last_used=now))
        if done.rowcount == 0:
            row = {"owner": owner, "digest": digest, "size": size, "created": now, "last_used": now}
            self._alter(insert(blobs).values(row))

    def drop_blob(self, owner: str, digest: str) -> None:
        """Forget an owner's blob; nothing happens where there is none."""
        self._alter(delete(blobs).where(blobs.c.owner == owner, blobs.c.digest == digest))

    def note_ended(self, row: EndedRow) -> None:
        """Keep what an attempt held; once, however often it is told."""
        self._pending.end(row._asdict())

    def forget_ended(self, before: float) -> int:
        """Let go of what ended before then (seconds of the epoch); how many."""
        return self._alter(delete(ended).where(ended.c.until < before)).rowcount

    def acquire_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take or prolong a lease. False while another holder's has not run out."""
        now = self._clock()
        held = self.lease(name)
        if held is not None and held.holder != holder and held.expires > now:
            return False
        row = {"holder": storable(holder, "lease holder"), "expires": to_text(now + timedelta(seconds=seconds))}
        if held is None:
            self._alter(insert(leases).values(name=storable(name, "lease"), **row))
        else:
            self._alter(update(leases).where(leases.c.name == name).values(row))
        return True

    def release_lease(self, name: str, holder: str) -> None:
        """Give it back; nothing happens where ``holder`` does not hold it."""
        self._alter(delete(leases).where(leases.c.name == name, leases.c.holder == holder))

    def prune_changes(self, keep: int, *, keep_bytes: int = KEPT_CHANGE_BYTES) -> None:
        """Let the feed forget all but the last ``keep`` changes.

        It keeps fewer where they weigh more than ``keep_bytes``, which it then exceeds by less than one document.
        """
        newest = self.version()
        weight = self._connection.execute(select(changes.c.total).where(changes.c.version == newest)).scalar()
        if weight is None:
            return  # it is empty
        too_much = select(func.max(changes.c.version)).where(changes.c.total < weight - keep_bytes)
        pruned = max(newest - keep, self._connection.execute(too_much).scalar() or 0)
        done = self._alter(delete(changes).where(changes.c.version <= pruned))
        if done.rowcount:
            self._alter(update(counters).where(counters.c.name == "pruned").values(value=pruned))

    # Helpers

    def _free_name(self, new: Resource) -> str:
        meta = new.metadata
        if meta.name:
            if self._taken(new, meta.name):
                where = f" in the namespace {meta.namespace!r}" if new.NAMESPACED else ""
                raise AlreadyExists(
                    f"There is a {new.kind} {meta.name!r}{where} already.",
                    remedy="Choose another name, or give metadata.generateName to have a free one made.",
                )
            return meta.name
        if not meta.generate_name:
            raise invalid(
                [FieldError("metadata.name", "a name is needed", remedy="Give name or generateName.")], new.kind
            )
        meta.labels[names.NAME_LABEL] = meta.generate_name
        offers = self._offers.get((new.kind, meta.namespace, meta.generate_name))
        while offers:
            name = offers.pop()
            if (new.kind, meta.namespace, name) not in self._names:
                return name
        for _ in range(NAME_TRIES):
            name = names.full_name(meta.generate_name)
            if not self._taken(new, name):
                return name
        raise AlreadyExists(
            f"No free name was found for {meta.generate_name!r} in {NAME_TRIES} tries.", remedy="Try again."
        )

    def _taken(self, new: Resource, name: str) -> bool:
        place = (new.kind, new.metadata.namespace, name)
        if place in self._names:
            return True
        asked = dict(zip(("kind_", "namespace_", "name_"), place, strict=True))
        return self._raw.execute(_TAKEN, asked).first() is not None

    def by_uids(self, model: type[R], uids: Collection[str]) -> dict[str, R]:
        """Those of these objects that there are, by uid; each is then known to this transaction."""
        asked = {"uids_": [uid for uid in uids if is_storable(uid)], "kind_": model.__name__}
        found = {}
        for key, uid, text in self._connection.execute(BY_UIDS, asked).all():
            self._seen[model.__name__, uid] = (key, text)
            found[uid] = parse_document(model, text)
        return found

    def _uid_row(self, kind: str, uid: str) -> tuple[int, str] | None:
        found = self._seen.get((kind, uid))
        if found is None:
            row = self._raw.execute(BY_UID, {"uid_": uid, "kind_": kind}).first()
            if row is None:
                return None
            found = self._seen[kind, uid] = (row[0], row[1])
        return found

    def _stored(self, resource: R) -> tuple[int, R]:
        """Key and stored form: by uid where it is given, else by name."""
        meta = resource.metadata
        if meta.uid:
            row = self._uid_row(resource.kind, meta.uid)
        else:
            query = select(resources.c.id, documents.c.document).join(documents, documents.c.id == resources.c.id)
            query = query.where(
                resources.c.kind == resource.kind,
                resources.c.namespace == meta.namespace,
                resources.c.name == meta.name,
            )
            found = self._connection.execute(query).first()
            row = None if found is None else (found[0], found[1])
        if row is not None:
            return row[0], type(resource).model_validate_json(row[1])
        if meta.uid and self._taken(resource, meta.name):
            raise Conflict(
                f"The {resource.kind} {meta.name!r} that you read was deleted, and another one has its name now.",
                remedy="Read it again and repeat the change there, if it is still wanted.",
            )
        raise NotFound(f"There is no {resource.kind} {meta.name!r} any more.", remedy="It was deleted.")

    def _put(self, key: int, resource: Resource, references: list[dict[str, Any]]) -> None:
        """Its labels and what it belongs to."""
        self._put_labels(key, resource)
        self._put_references(references)

    def _put_labels(self, key: int, resource: Resource) -> None:
        meta = resource.metadata
        for name, value in meta.labels.items():
            row = {"id": key, "key": name, "value": value, "kind": resource.kind}
            self._pending.add("label", {**row, "namespace": meta.namespace, "owner": meta.owner})

    def _put_references(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self._pending.add("reference", row)

    def _record(self, version: int, type_: ChangeType, resource: Resource, document: str, key: int | None) -> None:
        """The change, for the feed and for who asks again in this transaction; ``key``: None where it is gone."""
        meta = resource.metadata
        row = {"type": type_, "kind": resource.kind, "namespace": meta.namespace, "owner": meta.owner}
        self._pending.change(version, {**row, "document": document})
        self.written = version
        if key is not None:
            self._seen[resource.kind, meta.uid] = (key, document)
        else:
            self._seen.pop((resource.kind, meta.uid), None)
            self._names.discard((resource.kind, meta.namespace, meta.name))


def _own_metadata(resource: R) -> R:
    """The same with metadata of its own: nothing else is set here."""
    meta = resource.metadata
    return resource.model_copy(update={"metadata": meta.model_copy(update={"labels": dict(meta.labels)})})


def _reference_rows(key: int, meta: ObjectMeta) -> list[dict[str, Any]]:
    uids = dict.fromkeys(reference.uid for reference in meta.owner_references)
    return [{"owner_uid": storable(uid, "ownerReference"), "id": key} for uid in uids]


def _columns(resource: Resource) -> dict[str, Any]:
    """What is searched by and can change. A kind without a phase or a queue has empty ones."""
    phase = getattr(resource.status, "phase", "")
    finished = getattr(resource.status, "finished", None)
    deletion = resource.metadata.deletion_timestamp
    return {
        "phase": getattr(phase, "value", phase),
        "queue": storable(getattr(resource.spec, "queue", ""), "queue"),
        "finished": None if finished is None else to_text(finished),
        "deletion": None if deletion is None else to_text(deletion),
        "version": int(resource.metadata.resource_version),
    }


def _document(resource: Resource) -> str:
    try:
        return resource.to_json()
    except PydanticSerializationError as error:
        raise BadRequest(
            f"The {resource.kind} holds something that can't be stored: {error}.",
            remedy="Leave out lone surrogates (halves of a character beyond the 16-bit ones).",
        ) from error


def _check_place(resource: Resource) -> None:
    namespace = resource.metadata.namespace
    storable(namespace, "namespace")
    if resource.NAMESPACED and not namespace:
        raise invalid([FieldError("metadata.namespace", "a namespace is needed")], f"The {resource.kind}")
    if not resource.NAMESPACED and namespace:
        problem = f"a {resource.kind} is for the whole server and has no namespace"
        raise invalid([FieldError("metadata.namespace", problem, namespace, "Leave it out.")], f"The {resource.kind}")


def _keep_immutable(new: ObjectMeta, old: ObjectMeta) -> None:
    """Fill in what was left out, refuse what was changed."""
    wrong = []
    for name, json_name in (
        ("uid", "uid"),
        ("owner", "owner"),
        ("creation_timestamp", "creationTimestamp"),
        ("namespace", "namespace"),
        ("name", "name"),
        ("deletion_timestamp", "deletionTimestamp"),
    ):
        was, given = getattr(old, name), getattr(new, name)
        if not given:
            setattr(new, name, was)
        elif given != was and not (name == "deletion_timestamp" and was is None):
            problem = f"it is {str(was)!r} and can't be changed"
            wrong.append(FieldError(f"metadata.{json_name}", problem, str(given), "Leave it as it was."))
    if wrong:
        raise invalid(wrong, "The change")


def _stale(new: Resource, old: Resource) -> TrainJobError:
    given = new.metadata.resource_version
    return Conflict(
        f"The {old.kind} {old.metadata.name!r} was changed meanwhile: it is at resourceVersion "
        f"{old.metadata.resource_version}, the change was made to {given or '(none given)'}.",
        remedy="Read it again, repeat the change on what you read, and send that.",
        data={"resourceVersion": old.metadata.resource_version},
    )
