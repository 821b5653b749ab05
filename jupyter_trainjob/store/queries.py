"""From a selection to SQL. Nothing here runs a statement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, UnaryExpression, and_, exists, func, or_, select, union

from ..resources.visible import Visible
from .filters import Order, Selection
from .selectors import Requirement
from .tables import documents, labels, resources

MANY_QUEUES = 50
"""Who sees the jobs of more queues than this sees most of what there is: one walk over all of it finds a page soon, and
SQLite takes no union of 500 walks.
"""


def list_ids(selection: Selection, order: Order, after: int | None, limit: int) -> Select[Any]:
    """The ids of one page.

    What one person may see is an "or" of owner, namespaces and queues, and so are several phases. No index serves an
    "or" in order; each of its branches has one. So the page is made of the first ids of each branch.
    """
    pages = [_ordered(branch, order, after, limit) for branch in _walks(selection)]
    if len(pages) == 1:
        return pages[0]
    merged = union(*(select(page.subquery().c.id) for page in pages)).subquery()
    return select(merged.c.id).order_by(_direction(merged.c.id, order)).limit(limit)


def list_documents(selection: Selection, order: Order, after: int | None, limit: int) -> Select[Any]:
    """Ids and documents of one page: the ids first, so that only documents of the answer are fetched."""
    ids = list_ids(selection, order, after, limit).subquery("page")
    query = (
        select(ids.c.id, documents.c.document, resources.c.owner, resources.c.phase)
        .join(documents, documents.c.id == ids.c.id)
        .join(resources, resources.c.id == ids.c.id)
    )
    return query.order_by(_direction(ids.c.id, order))


def count_ids(selection: Selection) -> Select[Any]:
    """How many there are."""
    branches = [_ids(branch) for branch in _branches(selection)]
    ids = branches[0].subquery() if len(branches) == 1 else union(*branches).subquery()
    return select(func.count()).select_from(ids)


def _direction(key: Any, order: Order) -> UnaryExpression[Any]:
    found: UnaryExpression[Any] = key.desc() if order == "newest" else key.asc()
    return found


def _ids(selection: Selection) -> Select[Any]:
    source, key, conditions = _source(selection)
    return select(key).select_from(source).where(*conditions)


def _ordered(selection: Selection, order: Order, after: int | None, limit: int) -> Select[Any]:
    query = _ids(selection)
    key: Any = query.selected_columns[0]
    if after is not None:
        query = query.where(key < after if order == "newest" else key > after)
    return query.order_by(_direction(key, order)).limit(limit)


def _walks(selection: Selection) -> list[Selection]:
    """Lists whose union it is and that an index serves in order."""
    walks = []
    for branch in _branches(selection):
        narrow = branch.owner is not None or branch.namespaces is not None or branch.queue is not None
        if narrow or branch.labels or branch.finished_before is not None:
            walks.append(branch)
        else:  # the phase is all there is: few jobs run, and finding them must not mean passing all that ended
            walks += [replace(branch, phases=(phase,)) for phase in branch.phases] or [branch]
    return walks


def _branches(selection: Selection) -> list[Selection]:
    """The same without ``visible``: lists whose union is what may be seen."""
    visible = selection.visible
    if visible is None:
        return [selection]
    all_here = replace(selection, visible=None)
    if selection.owner == visible.owner:
        return [all_here]
    asked = selection.namespaces
    seen = tuple(sorted(visible.namespaces if asked is None else visible.namespaces.intersection(asked)))
    if asked is not None and len(seen) == len(asked):
        return [all_here]
    branches = []
    if selection.owner is None:
        branches.append(replace(all_here, owner=visible.owner))
    if seen:
        branches.append(replace(all_here, namespaces=seen))
    queues = sorted(visible.queues - {""})
    if selection.queue in queues:
        return [all_here]
    if selection.queue is None and len(queues) > MANY_QUEUES and selection.queues is None:
        branches.append(replace(all_here, queues=tuple(queues)))
    elif selection.queue is None:
        branches += [replace(all_here, queue=queue) for queue in queues]
    return branches or [replace(all_here, namespaces=())]


def _source(selection: Selection) -> tuple[FromClause, Any, list[ColumnElement[bool]]]:
    """What to walk, its id column, and what must hold.

    With a label that has to have one value the walk is over that label's index, else over that of the resources;
    either way ids come in order and a page costs its own length, not the list's.
    """
    driver = next((part for part in selection.labels if part.operator == "in" and len(part.values) == 1), None)
    rest = [part for part in selection.labels if part is not driver]
    conditions: list[ColumnElement[bool]] = []
    table: Any = resources
    source: FromClause = resources
    if driver is not None:
        table = source = labels
        conditions += [labels.c.key == driver.key, labels.c.value == driver.values[0]]
        apart = (selection.queue, selection.queues, selection.finished_before)
        if selection.phases or selection.text or any(part is not None for part in apart):
            source = labels.join(resources, resources.c.id == labels.c.id)
    conditions.append(table.c.kind == selection.kind)
    if selection.namespaces is not None:
        conditions.append(_is_one_of(table.c.namespace, selection.namespaces))
    if selection.owner is not None:
        conditions.append(table.c.owner == selection.owner)
    if selection.phases:
        conditions.append(_is_one_of(resources.c.phase, selection.phases))
    if selection.queue is not None:
        conditions.append(resources.c.queue == selection.queue)
    if selection.queues is not None:
        conditions.append(_is_one_of(resources.c.queue, selection.queues))
    if selection.finished_before is not None:
        conditions.append(resources.c.finished < selection.finished_before)
    conditions += [_label_condition(table.c.id, part) for part in rest]
    if selection.text:
        conditions.append(_text_condition(table.c.id, selection.text))
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
