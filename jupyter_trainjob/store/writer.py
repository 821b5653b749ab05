"""Writing the record, within one transaction that no other writer overlaps."""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta
from typing import Any

from pydantic_core import PydanticSerializationError
from sqlalchemy import Connection, delete, func, insert, select, update

from ..resources import names
from ..resources.base import ObjectMeta, R, Resource
from ..resources.errors import AlreadyExists, BadRequest, Conflict, FieldError, NotFound, TrainJobError, invalid
from .filters import storable
from .reader import Reader
from .tables import blobs, changes, counters, documents, ended, labels, leases, owner_references, resources
from .times import Clock, to_text
from .types import ChangeType, EndedRow

NAME_TRIES = 8
KEPT_CHANGE_BYTES = 256 * 1024 * 1024


class Writer(Reader):
    """What can be changed. Good only inside the function that :meth:`.Store.write` handed it to.

    From its first statement on it is the only writer of the record, in whichever process: what it reads stays true
    until it commits, so "count, then create" needs no further care.
    """

    def __init__(self, connection: Connection, clock: Clock) -> None:
        super().__init__(connection)
        self._clock = clock
        self.written: int | None = None
        """The feed's version after the last change of this transaction; None while there is none."""

    def create(self, resource: R) -> R:
        """Store a new object and return it as stored; the argument stays as it is.

        Sets uid, creationTimestamp, generation, resourceVersion, and the name from generateName (which becomes the
        label ``jupyter-trainjob/name``). :class:`AlreadyExists` when the name is taken.
        """
        _check_place(resource)
        new = resource.model_copy(deep=True)
        meta = new.metadata
        meta.name = self._free_name(new)
        meta.uid = str(uuid.uuid4())
        meta.creation_timestamp = self._clock()
        meta.deletion_timestamp = None
        meta.generation = 1
        version = self._next_version()
        meta.resource_version = str(version)
        self._connection.execute(
            insert(resources).values(
                id=version,
                uid=meta.uid,
                kind=new.kind,
                namespace=meta.namespace,
                name=meta.name,
                owner=storable(meta.owner, "owner"),
                created=to_text(meta.creation_timestamp),
                **_columns(new),
            )
        )
        document = _document(new)
        self._connection.execute(insert(documents).values(id=version, document=document))
        self._put_labels(version, new)
        self._put_references(version, meta)
        self._record(version, "ADDED", new, document)
        return new

    def update(self, resource: R, *, check: bool = True) -> R:
        """Store a changed object and return it as stored; the argument stays as it is.

        With ``check``, :class:`Conflict` unless ``metadata.resourceVersion`` is the stored one. A changed spec
        raises the generation. uid, owner, creationTimestamp, namespace and name can't change
        (:class:`~jupyter_trainjob.resources.errors.Invalid`). Nothing is written, and no version used, where nothing
        differs. :class:`NotFound` when it is gone.
        """
        _check_place(resource)
        key, old = self._stored(resource)
        new = resource.model_copy(deep=True)
        if check and new.metadata.resource_version != old.metadata.resource_version:
            raise _stale(new, old)
        _keep_immutable(new.metadata, old.metadata)
        new.metadata.generation = old.metadata.generation + (new.spec != old.spec)
        new.metadata.resource_version = old.metadata.resource_version
        if new == old:
            return old
        version = self._next_version()
        new.metadata.resource_version = str(version)
        document = _document(new)
        self._connection.execute(update(resources).where(resources.c.id == key).values(**_columns(new)))
        self._connection.execute(update(documents).where(documents.c.id == key).values(document=document))
        if new.metadata.labels != old.metadata.labels:
            self._connection.execute(delete(labels).where(labels.c.id == key))
            self._put_labels(key, new)
        if new.metadata.owner_references != old.metadata.owner_references:
            self._connection.execute(delete(owner_references).where(owner_references.c.id == key))
            self._put_references(key, new.metadata)
        self._record(version, "MODIFIED", new, document)
        return new

    def remove(self, resource: Resource) -> None:
        """Take the object (this uid) out for good; the feed tells DELETED. :class:`NotFound` when it is gone."""
        key, old = self._stored(resource)
        version = self._next_version()
        old.metadata.resource_version = str(version)
        self._connection.execute(delete(resources).where(resources.c.id == key))  # the rest cascades
        self._record(version, "DELETED", old, _document(old))

    def advance_scheduler_epoch(self, seen: int | None = None) -> bool:
        """Raise the epoch; with ``seen``, only from that value. False: it was another, nothing changed."""
        statement = update(counters).where(counters.c.name == "scheduler_epoch").values(value=counters.c.value + 1)
        if seen is not None:
            statement = statement.where(counters.c.value == seen)
        return self._connection.execute(statement).rowcount == 1

    def record_id(self) -> str:
        """What tells this record from all others: made once, and the same for all servers on it. Sixteen digits.

        A copy of the record has the same.
        """
        known = self._connection.execute(select(counters.c.value).where(counters.c.name == "record")).scalar()
        if known is None:
            known = secrets.randbits(63)
            self._connection.execute(insert(counters).values(name="record", value=known))
        return f"{known:016x}"

    def put_blob(self, owner: str, digest: str, size: int) -> None:
        """Note an owner's blob, or that it is used again."""
        now = to_text(self._clock())
        here = (blobs.c.owner == storable(owner, "owner"), blobs.c.digest == storable(digest, "digest"))
        done = self._connection.execute(update(blobs).where(*here).values(size=size, last_used=now))
        if done.rowcount == 0:
            row = {"owner": owner, "digest": digest, "size": size, "created": now, "last_used": now}
            self._connection.execute(insert(blobs).values(row))

    def drop_blob(self, owner: str, digest: str) -> None:
        """Forget an owner's blob; nothing happens where there is none."""
        self._connection.execute(delete(blobs).where(blobs.c.owner == owner, blobs.c.digest == digest))

    def note_ended(self, row: EndedRow) -> None:
        """Keep what an attempt held; once, however often it is told."""
        known = select(ended.c.uid).where(ended.c.uid == row.uid, ended.c.attempt == row.attempt)
        if self._connection.execute(known).first() is None:
            self._connection.execute(insert(ended).values(row._asdict()))

    def forget_ended(self, before: float) -> int:
        """Let go of what ended before then (seconds of the epoch); how many."""
        return self._connection.execute(delete(ended).where(ended.c.until < before)).rowcount

    def acquire_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take or prolong a lease. False while another holder's has not run out."""
        now = self._clock()
        held = self.lease(name)
        if held is not None and held.holder != holder and held.expires > now:
            return False
        row = {"holder": storable(holder, "lease holder"), "expires": to_text(now + timedelta(seconds=seconds))}
        if held is None:
            self._connection.execute(insert(leases).values(name=storable(name, "lease"), **row))
        else:
            self._connection.execute(update(leases).where(leases.c.name == name).values(row))
        return True

    def release_lease(self, name: str, holder: str) -> None:
        """Give it back; nothing happens where ``holder`` does not hold it."""
        self._connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))

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
        done = self._connection.execute(delete(changes).where(changes.c.version <= pruned))
        if done.rowcount:
            self._connection.execute(update(counters).where(counters.c.name == "pruned").values(value=pruned))

    # Helpers

    def _next_version(self) -> int:
        """Allocated in this transaction, on a row that it locks: versions are in commit order, without gaps."""
        statement = update(counters).where(counters.c.name == "version").values(value=counters.c.value + 1)
        self.written = self._connection.execute(statement.returning(counters.c.value)).scalar_one()
        return self.written

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
        for _ in range(NAME_TRIES):
            name = names.full_name(meta.generate_name)
            if not self._taken(new, name):
                return name
        raise AlreadyExists(
            f"No free name was found for {meta.generate_name!r} in {NAME_TRIES} tries.", remedy="Try again."
        )

    def _taken(self, new: Resource, name: str) -> bool:
        query = select(resources.c.id).where(
            resources.c.kind == new.kind, resources.c.namespace == new.metadata.namespace, resources.c.name == name
        )
        return self._connection.execute(query).first() is not None

    def _stored(self, resource: R) -> tuple[int, R]:
        """Key and stored form: by uid where it is given, else by name."""
        meta = resource.metadata
        query = select(resources.c.id, documents.c.document).join(documents, documents.c.id == resources.c.id)
        query = query.where(resources.c.kind == resource.kind)
        if meta.uid:
            query = query.where(resources.c.uid == meta.uid)
        else:
            query = query.where(resources.c.namespace == meta.namespace, resources.c.name == meta.name)
        row = self._connection.execute(query).first()
        if row is not None:
            return row.id, type(resource).model_validate_json(row.document)
        if meta.uid and self._taken(resource, meta.name):
            raise Conflict(
                f"The {resource.kind} {meta.name!r} that you read was deleted, and another one has its name now.",
                remedy="Read it again and repeat the change there, if it is still wanted.",
            )
        raise NotFound(f"There is no {resource.kind} {meta.name!r} any more.", remedy="It was deleted.")

    def _put_labels(self, key: int, resource: Resource) -> None:
        meta = resource.metadata
        rows = [
            {
                "id": key,
                "key": name,
                "value": value,
                "kind": resource.kind,
                "namespace": meta.namespace,
                "owner": meta.owner,
            }
            for name, value in meta.labels.items()
        ]
        if rows:
            self._connection.execute(insert(labels), rows)

    def _put_references(self, key: int, meta: ObjectMeta) -> None:
        uids = dict.fromkeys(reference.uid for reference in meta.owner_references)
        if uids:
            rows = [{"owner_uid": storable(uid, "ownerReference"), "id": key} for uid in uids]
            self._connection.execute(insert(owner_references), rows)

    def _record(self, version: int, type_: ChangeType, resource: Resource, document: str) -> None:
        before = select(changes.c.total).where(changes.c.version == version - 1).scalar_subquery()
        self._connection.execute(
            insert(changes).values(
                version=version,
                type=type_,
                kind=resource.kind,
                namespace=resource.metadata.namespace,
                owner=resource.metadata.owner,
                total=func.coalesce(before, 0) + len(document),
                document=document,
            )
        )


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
