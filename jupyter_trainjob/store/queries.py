"""From filters to SQL. Nothing here runs a statement."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, FromClause, Select, UnaryExpression, and_, exists, func, or_, select, union

from ..resources.errors import BadRequest
from ..resources.visible import Visible
from .paging import fingerprint
from .selectors import Requirement, parse_selector
from .tables import documents, labels, resources
from .times import to_text

Order = Literal["newest", "oldest"]


@dataclass(frozen=True)
class Filters:
    """What a list holds. Texts are checked by :func:`make_filters`."""

    kind: str
    namespaces: tuple[str, ...] | None
    owner: str | None
    labels: tuple[Requirement, ...]
    phases: tuple[str, ...]
    queue: str | None
    text: str
    finished_before: str | None
    visible: Visible | None = None

    def fingerprint(self, order: Order) -> str:
        """Differs for lists that differ."""
        return fingerprint(
            kind=self.kind,
            namespaces=self.namespaces,
            owner=self.owner,
            labels=[[part.key, part.operator, part.values] for part in self.labels],
            phases=self.phases,
            queue=self.queue,
            text=self.text,
            finished_before=self.finished_before,
            visible=self.visible and [self.visible.owner, sorted(self.visible.namespaces), sorted(self.visible.queues)],
            order=order,
        )


def make_filters(
    kind: str,
    *,
    namespaces: Collection[str] | None,
    owner: str | None,
    label_selector: str,
    phases: Collection[str],
    queue: str | None,
    text: str,
    finished_before: datetime | None,
    visible: Visible | None = None,
) -> Filters:
    """Check what the caller gave; :class:`BadRequest` names what can't be."""
    return Filters(
        kind=kind,
        namespaces=None if namespaces is None else tuple(sorted({storable(item, "namespace") for item in namespaces})),
        owner=None if owner is None else storable(owner, "owner"),
        labels=tuple(parse_selector(label_selector)),
        # A Phase is a str whose str() is not its value.
        phases=tuple(sorted({storable(getattr(phase, "value", phase), "phase") for phase in phases})),
        queue=None if queue is None else storable(queue, "queue"),
        text=storable(text, "search text").lower(),
        finished_before=None if finished_before is None else to_text(finished_before),
        visible=visible,
    )


def is_storable(text: str) -> bool:
    """Whether every database can hold it: PostgreSQL knows no NUL, UTF-8 no lone surrogate."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def storable(text: str, what: str) -> str:
    """``text`` if :func:`is_storable`, else :class:`BadRequest`."""
    if not is_storable(text):
        raise BadRequest(
            f"The {what} {text[:80]!r} holds a character that can't be stored.",
            remedy="Leave out NUL characters and lone surrogates.",
        )
    return text


def list_ids(filters: Filters, order: Order, after: int | None, limit: int) -> Select[Any]:
    """The ids of one page.

    What one person may see is an "or" of owner, namespaces and queues, and so are several phases. No index serves an
    "or" in order; each of its branches has one. So the page is made of the first ids of each branch.
    """
    pages = [_ordered(branch, order, after, limit) for branch in _walks(filters)]
    if len(pages) == 1:
        return pages[0]
    merged = union(*(select(page.subquery().c.id) for page in pages)).subquery()
    return select(merged.c.id).order_by(_direction(merged.c.id, order)).limit(limit)


def list_documents(filters: Filters, order: Order, after: int | None, limit: int) -> Select[Any]:
    """Ids and documents of one page: the ids first, so that only documents of the answer are fetched."""
    ids = list_ids(filters, order, after, limit).subquery("page")
    query = (
        select(ids.c.id, documents.c.document, resources.c.owner, resources.c.phase)
        .join(documents, documents.c.id == ids.c.id)
        .join(resources, resources.c.id == ids.c.id)
    )
    return query.order_by(_direction(ids.c.id, order))


def count_ids(filters: Filters) -> Select[Any]:
    """How many there are."""
    branches = [_ids(branch) for branch in _branches(filters)]
    ids = branches[0].subquery() if len(branches) == 1 else union(*branches).subquery()
    return select(func.count()).select_from(ids)


def _direction(key: Any, order: Order) -> UnaryExpression[Any]:
    found: UnaryExpression[Any] = key.desc() if order == "newest" else key.asc()
    return found


def _ids(filters: Filters) -> Select[Any]:
    source, key, conditions = _source(filters)
    return select(key).select_from(source).where(*conditions)


def _ordered(filters: Filters, order: Order, after: int | None, limit: int) -> Select[Any]:
    query = _ids(filters)
    key: Any = query.selected_columns[0]
    if after is not None:
        query = query.where(key < after if order == "newest" else key > after)
    return query.order_by(_direction(key, order)).limit(limit)


def _walks(filters: Filters) -> list[Filters]:
    """Lists whose union it is and that an index serves in order."""
    walks = []
    for branch in _branches(filters):
        narrow = branch.owner is not None or branch.namespaces is not None or branch.queue is not None
        if narrow or branch.labels or branch.finished_before is not None:
            walks.append(branch)
        else:  # the phase is all there is: few jobs run, and finding them must not mean passing all that ended
            walks += [replace(branch, phases=(phase,)) for phase in branch.phases] or [branch]
    return walks


def _branches(filters: Filters) -> list[Filters]:
    """The same without ``visible``: lists whose union is what may be seen."""
    visible = filters.visible
    if visible is None:
        return [filters]
    all_here = replace(filters, visible=None)
    if filters.owner == visible.owner:
        return [all_here]
    asked = filters.namespaces
    seen = tuple(sorted(visible.namespaces if asked is None else visible.namespaces.intersection(asked)))
    if asked is not None and len(seen) == len(asked):
        return [all_here]
    branches = []
    if filters.owner is None:
        branches.append(replace(all_here, owner=visible.owner))
    if seen:
        branches.append(replace(all_here, namespaces=seen))
    if filters.queue is None:
        branches += [replace(all_here, queue=queue) for queue in sorted(visible.queues - {""})]
    elif filters.queue in visible.queues - {""}:
        return [all_here]
    return branches or [replace(all_here, namespaces=())]


def _source(filters: Filters) -> tuple[FromClause, Any, list[ColumnElement[bool]]]:
    """What to walk, its id column, and what must hold.

    With a label that has to have one value the walk is over that label's index, else over that of the resources;
    either way ids come in order and a page costs its own length, not the list's.
    """
    driver = next((part for part in filters.labels if part.operator == "in" and len(part.values) == 1), None)
    rest = [part for part in filters.labels if part is not driver]
    conditions: list[ColumnElement[bool]] = []
    table: Any = resources
    source: FromClause = resources
    if driver is not None:
        table = source = labels
        conditions += [labels.c.key == driver.key, labels.c.value == driver.values[0]]
        if filters.phases or filters.queue is not None or filters.text or filters.finished_before is not None:
            source = labels.join(resources, resources.c.id == labels.c.id)
    conditions.append(table.c.kind == filters.kind)
    if filters.namespaces is not None:
        conditions.append(_is_one_of(table.c.namespace, filters.namespaces))
    if filters.owner is not None:
        conditions.append(table.c.owner == filters.owner)
    if filters.phases:
        conditions.append(_is_one_of(resources.c.phase, filters.phases))
    if filters.queue is not None:
        conditions.append(resources.c.queue == filters.queue)
    if filters.finished_before is not None:
        conditions.append(resources.c.finished < filters.finished_before)
    conditions += [_label_condition(table.c.id, part) for part in rest]
    if filters.text:
        conditions.append(_text_condition(table.c.id, filters.text))
    return source, table.c.id, conditions


def visible_condition(visible: Visible) -> ColumnElement[bool]:
    """:meth:`Visible.holds` as SQL, for the few rows that a name leaves."""
    return or_(
        resources.c.owner == visible.owner,
        resources.c.namespace.in_(sorted(visible.namespaces)),
        resources.c.queue.in_(sorted(visible.queues - {""})),
    )


def _is_one_of(column: Any, values: tuple[str, ...]) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = column == values[0] if len(values) == 1 else column.in_(values)
    return condition


def _label_condition(key: Any, part: Requirement) -> ColumnElement[bool]:
    other = labels.alias()
    condition = and_(other.c.id == key, other.c.key == part.key)
    if part.operator in ("in", "notin"):
        condition = and_(condition, _is_one_of(other.c.value, part.values))
    found = exists(select(other.c.id).where(condition))
    return found if part.operator in ("in", "exists") else ~found


def _text_condition(key: Any, text: str) -> ColumnElement[bool]:
    """Names and label values are ASCII, so ``lower`` does the same in every database."""
    other = labels.alias()
    in_label = select(other.c.id).where(other.c.id == key, func.lower(other.c.value).contains(text, autoescape=True))
    return or_(resources.c.name.contains(text, autoescape=True), exists(in_label))
