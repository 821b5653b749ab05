"""Reading the record, within one transaction that sees one moment."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Select, bindparam, func, select

from ..resources import names
from ..resources.base import R, Resource
from ..resources.errors import BadRequest, Expired, NotFound
from ..resources.registry import KINDS
from ..resources.visible import Visible
from . import paging
from .filters import ALL, Filter, Order, is_storable, storable
from .queries import count_ids, list_documents, visible_condition
from .tables import blobs, changes, counters, documents, ended, labels, leases, owner_references, resources
from .times import from_text, to_text
from .types import BlobRow, Change, ChangePage, ChangeType, EndedRow, LeaseRow, News, Page, Stored

# Made once: to make a statement costs more than to run it.
BY_UID: Select[Any] = (
    select(documents.c.id, documents.c.document)
    .join(resources, resources.c.id == documents.c.id)
    .where(resources.c.uid == bindparam("uid_"), resources.c.kind == bindparam("kind_"))
)
_BY_NAME = (
    select(documents.c.document)
    .join(resources, resources.c.id == documents.c.id)
    .where(
        resources.c.kind == bindparam("kind_"),
        resources.c.namespace == bindparam("namespace_"),
        resources.c.name == bindparam("name_"),
    )
)
BY_UIDS: Select[Any] = (
    select(resources.c.id, resources.c.uid, documents.c.document)
    .join(documents, resources.c.id == documents.c.id)
    .where(resources.c.uid.in_(bindparam("uids_", expanding=True)), resources.c.kind == bindparam("kind_"))
)
_COUNTERS = select(counters.c.name, counters.c.value).where(counters.c.name.in_(bindparam("names_", expanding=True)))
_COUNTER = select(counters.c.value).where(counters.c.name == bindparam("name_"))


class Reader:
    """What can be asked. Good only inside the function that :meth:`.Store.read` handed it to."""

    def __init__(self, connection: Connection) -> None:
        self._raw = connection

    @property
    def _connection(self) -> Connection:
        """Where to ask."""
        return self._raw

    # One object

    def get(self, model: type[R], namespace: str, name: str) -> R:
        """The object of this name; the namespace of a cluster-wide kind is not looked at. :class:`NotFound`."""
        found = self._by_name(model, namespace, name)
        if found is None:
            raise _not_found(model, namespace, name)
        return found

    def by_uid(self, model: type[R], uid: str) -> R:
        """The object of this uid; :class:`NotFound`."""
        row = self._uid_row(model.__name__, uid) if is_storable(uid) else None
        if row is None:
            raise NotFound(
                f"There is no {model.__name__} with the uid {uid[:80]!r}.", remedy="It may have been deleted."
            )
        return parse_document(model, row[1])

    def by_uids(self, model: type[R], uids: Collection[str]) -> dict[str, R]:
        """Those of these objects that there are, by uid."""
        asked = {"uids_": [uid for uid in uids if is_storable(uid)], "kind_": model.__name__}
        return {uid: parse_document(model, text) for _, uid, text in self._connection.execute(BY_UIDS, asked).all()}

    def find(self, model: type[R], namespace: str, text: str, visible: Visible | None = None) -> R:
        """What a person means by ``text``: a uid, a full name, or a short name (the latest that has it).

        All three look only into ``namespace`` (cluster-wide kinds have none), and only at what is ``visible``: the
        rest is :class:`NotFound` as if it were not there.
        """
        namespace = namespace if model.NAMESPACED else ""
        if not is_storable(text) or not is_storable(namespace):
            raise _not_found(model, namespace, text)
        here = [resources.c.kind == model.__name__, resources.c.namespace == namespace]
        if visible is not None:
            here.append(visible_condition(visible))
        row = self._document(resources.c.uid == text, *here) or self._document(resources.c.name == text, *here)
        if row is None:
            called_so = select(labels.c.id).where(
                labels.c.kind == model.__name__,
                labels.c.key == names.NAME_LABEL,
                labels.c.value == text,
                labels.c.namespace == namespace,
            )
            latest = select(func.max(resources.c.id)).where(resources.c.id.in_(called_so), *here)
            row = self._document(resources.c.id == latest.scalar_subquery())
        if row is None:
            raise _not_found(model, namespace, text)
        return parse_document(model, row)

    def owned_by(self, uid: str) -> builtins.list[Resource]:
        """Every object, of any kind, with an ownerReference to ``uid``; oldest first."""
        if not is_storable(uid):
            return []
        query = (
            select(resources.c.kind, documents.c.document)
            .join(owner_references, owner_references.c.id == resources.c.id)
            .join(documents, documents.c.id == resources.c.id)
            .where(owner_references.c.owner_uid == uid)
            .order_by(resources.c.id)
        )
        return [parse_document(KINDS[kind], document) for kind, document in self._connection.execute(query)]

    # Many objects

    def list(
        self, model: type[R], where: Filter = ALL, *, order: Order = "newest", limit: int = 100, continue_: str = ""
    ) -> Page[R]:
        """A page of the objects that ``where`` means, in the order of their creation.

        :class:`BadRequest` names a selector, a token or a limit that can't be.
        """
        page = self.list_stored(model, where, order=order, limit=limit, continue_=continue_)
        return Page([item.resource for item in page.items], page.continue_, page.resource_version, page.remaining)

    def list_stored(
        self,
        model: type[R],
        where: Filter = ALL,
        *,
        order: Order = "newest",
        limit: int = 100,
        continue_: str = "",
        max_bytes: int | None = None,
    ) -> Page[Stored[R]]:
        """:meth:`list`, but the objects stay the texts that they are in the record until they are asked for.

        With ``max_bytes`` the page ends before the object that would make its texts longer than that.
        """
        if limit < 1:
            raise BadRequest(f"The limit {limit} is less than 1.", remedy="Ask for 1 or more objects a page.")
        selection = where.checked(model.__name__)
        token = selection.fingerprint(order)
        start = paging.decode(continue_, token) if continue_ else None
        version = start.version if start else self.version()
        if selection.namespaces == ():
            return Page([], "", version, 0)
        query = list_documents(selection, order, start.last if start else None, limit + 1)
        items: builtins.list[Stored[R]] = []
        last, size = 0, 0
        with self._connection.execute(query) as rows:
            for row in rows:
                size += len(row.document.encode()) if max_bytes is not None else 0
                if len(items) == limit or (items and max_bytes is not None and size > max_bytes):
                    return Page(items, paging.encode(paging.Position(last, version), token), version)
                items.append(Stored(model, row.document, row.owner, row.phase))
                last = row.id
        return Page(items, "", version, 0)

    def count(self, model: type[R], where: Filter = ALL) -> int:
        """How many objects ``where`` means."""
        selection = where.checked(model.__name__)
        if selection.namespaces == ():
            return 0
        return int(self._connection.execute(count_ids(selection)).scalar_one())

    def count_by_queue(self, model: type[Resource], owner: str, phase: str) -> dict[str, int]:
        """How many objects of ``owner`` are in ``phase``, by queue."""
        query = (
            select(resources.c.queue, func.count())
            .where(resources.c.kind == model.__name__, resources.c.owner == owner, resources.c.phase == phase)
            .group_by(resources.c.queue)
        )
        return {queue: int(count) for queue, count in self._connection.execute(query).all()}

    def state_of(self, model: type[Resource]) -> tuple[int, int]:
        """Differs whenever any object of ``model`` was made, changed or removed meanwhile. For kinds of few objects."""
        query = select(func.count(), func.coalesce(func.max(resources.c.version), 0))
        row = self._connection.execute(query.where(resources.c.kind == model.__name__)).one()
        return int(row[0]), int(row[1])

    def namespaces(self, model: type[Resource]) -> builtins.list[str]:
        """The namespaces that hold objects of ``model``, in order."""
        kind = resources.c.kind == model.__name__
        query = select(resources.c.namespace).where(kind).distinct().order_by(resources.c.namespace)
        return builtins.list(self._connection.execute(query).scalars())

    def deleting(self, model: type[R], *, limit: int = 1000) -> builtins.list[R]:
        """Objects whose deletion was asked for and that are still there; oldest first."""
        query = (
            select(documents.c.document)
            .join(resources, resources.c.id == documents.c.id)
            .where(resources.c.kind == model.__name__, resources.c.deletion.is_not(None))
            .order_by(resources.c.id)
            .limit(limit)
        )
        return [parse_document(model, document) for document in self._connection.execute(query).scalars()]

    # The feed

    def version(self) -> int:
        """The feed's version as this transaction sees it; 0 in an empty record."""
        return self._counter("version")

    def changes(
        self,
        since: int,
        *,
        limit: int = 1000,
        namespaces: Collection[str] | None = None,
        owner: str | None = None,
        kinds: Collection[str] = (),
        known: News | None = None,
    ) -> ChangePage:
        """What was written after version ``since``, in order.

        ``namespaces``: None means all; cluster-wide objects lie in ``""``. The page's ``version`` is where to ask on,
        also when all that happened was filtered out. ``known`` is read and added to: those that share it share the
        resources, too. :class:`Expired` when the feed can't tell all of it any more.
        """
        if limit < 1:
            raise BadRequest(f"The limit {limit} is less than 1.", remedy="Ask for 1 or more changes a page.")
        told = self._connection.execute(_COUNTERS, {"names_": ["version", "pruned"]}).all()
        newest, pruned = (int(dict(told)[name]) for name in ("version", "pruned"))
        if not pruned <= since <= newest:
            problem = f"goes back to {pruned}" if since < pruned else f"is at {newest} only (was a backup restored?)"
            raise Expired(
                f"The changes after version {since} can't be told: the feed {problem}.",
                remedy="List again and follow the feed from the list's resourceVersion.",
                data={"oldest": pruned, "newest": newest},
            )
        query = select(changes.c.version, changes.c.type, changes.c.kind, changes.c.document).where(
            changes.c.version > since
        )
        if namespaces is not None:
            query = query.where(changes.c.namespace.in_([storable(item, "namespace") for item in namespaces]))
        if owner is not None:
            query = query.where(changes.c.owner == storable(owner, "owner"))
        if kinds:
            query = query.where(changes.c.kind.in_([storable(item, "kind") for item in kinds]))
        rows = self._connection.execute(query.order_by(changes.c.version).limit(limit)).all()
        found = [(known and known.get(row[0])) or _change(*row) for row in rows]
        if known is not None:
            known.keep(found)
        return ChangePage(found, found[-1].version if len(found) == limit else newest)

    # Beside the resources

    def scheduler_epoch(self) -> int:
        """How often admissions or limits were changed."""
        return self._counter("scheduler_epoch")

    def blob(self, owner: str, digest: str) -> BlobRow | None:
        """What is known of an owner's blob; None if there is none."""
        if not is_storable(owner) or not is_storable(digest):
            return None
        row = self._connection.execute(select(blobs).where(blobs.c.owner == owner, blobs.c.digest == digest)).first()
        return _blob(row) if row else None

    def blobs_unused_since(self, before: datetime, *, limit: int = 1000) -> builtins.list[BlobRow]:
        """Blobs last used before then, the longest unused first."""
        query = select(blobs).where(blobs.c.last_used < to_text(before)).order_by(blobs.c.last_used).limit(limit)
        return [_blob(row) for row in self._connection.execute(query)]

    def blob_owners(self) -> builtins.list[str]:
        """Those who have blobs."""
        return list(self._connection.execute(select(blobs.c.owner).distinct()).scalars())

    def stored_bytes(self, owner: str) -> int:
        """The sum of the sizes of an owner's blobs."""
        query = select(func.coalesce(func.sum(blobs.c.size), 0)).where(blobs.c.owner == storable(owner, "owner"))
        return int(self._connection.execute(query).scalar_one())

    def ended(self, since: float) -> Iterator[EndedRow]:
        """What attempts held that ended after then (seconds of the epoch), in no order."""
        query = select(ended).where(ended.c.until > since)
        for row in self._connection.execution_options(yield_per=1000).execute(query):
            yield EndedRow(*row)

    def lease(self, name: str) -> LeaseRow | None:
        """Who holds it (it may have run out); None if nobody ever did or it was released."""
        row = self._connection.execute(select(leases).where(leases.c.name == name)).first()
        return LeaseRow(row.name, row.holder, from_text(row.expires)) if row else None

    # Helpers

    def _counter(self, name: str) -> int:
        return int(self._connection.execute(_COUNTER, {"name_": name}).scalar_one())

    def _uid_row(self, kind: str, uid: str) -> tuple[int, str] | None:
        """Key and document."""
        row = self._connection.execute(BY_UID, {"uid_": uid, "kind_": kind}).first()
        return None if row is None else (row[0], row[1])

    def _by_name(self, model: type[R], namespace: str, name: str) -> R | None:
        namespace = namespace if model.NAMESPACED else ""
        if not is_storable(namespace) or not is_storable(name):
            return None
        asked = {"kind_": model.__name__, "namespace_": namespace, "name_": name}
        row = self._connection.execute(_BY_NAME, asked).scalar()
        return None if row is None else parse_document(model, row)

    def _document(self, *conditions: Any) -> str | None:
        query: Select[Any] = (
            select(documents.c.document).join(resources, resources.c.id == documents.c.id).where(*conditions)
        )
        return cast("str | None", self._connection.execute(query).scalar())


def parse_document(model: type[R], document: str) -> R:
    """A resource from its JSON text."""
    return model.model_validate_json(document)


def _change(version: int, type_: ChangeType, kind: str, document: str) -> Change:
    return Change(version, type_, parse_document(KINDS[kind], document))


def _blob(row: Any) -> BlobRow:
    return BlobRow(row.owner, row.digest, row.size, from_text(row.created), from_text(row.last_used))


def _not_found(model: type[Resource], namespace: str, name: str) -> NotFound:
    where = f" in the namespace {namespace[:80]!r}" if model.NAMESPACED else ""
    return NotFound(
        f"There is no {model.__name__} {name[:80]!r}{where}.",
        remedy="Look at the list for its name; it may have been deleted.",
    )
