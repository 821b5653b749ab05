"""What a transaction has written and not sent to the database yet: many rows in one statement cost a tenth."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from .tables import changes, counters, documents, ended, labels, owner_references, resources

Row = dict[str, Any]

_KEY: BindParameter[int] = bindparam("key_")
_COUNTER = select(counters.c.value).where(counters.c.name == bindparam("name_"))
_TOTAL = select(changes.c.total).where(changes.c.version == bindparam("version_"))
_SET_VERSION = update(counters).where(counters.c.name == "version").values(value=bindparam("version_"))
# In this order: a row is there before those that point at it, and before it is changed.
_STATEMENTS = {
    "resource": insert(resources),
    "document": insert(documents),
    "label": insert(labels),
    "reference": insert(owner_references),
    "resource_change": update(resources).where(resources.c.id == _KEY),
    "document_change": update(documents).where(documents.c.id == _KEY),
    "change": insert(changes),
}
_ENDED = {
    "sqlite": sqlite.insert(ended).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(ended).on_conflict_do_nothing(),
}


class Pending:
    """Rows by statement, and the feed's version. Whoever asks the database calls :meth:`send` first."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: dict[str, list[Row]] = {name: [] for name in _STATEMENTS}
        self._ended: list[Row] = []
        self._waits = False
        self._version: int | None = None
        self._sent = 0
        self.count = 0
        """How many rows there were, sent or not."""
        self._total = 0

    def add(self, name: str, row: Row) -> None:
        """One more row for the statement of this name."""
        self._rows[name].append(row)
        self.count += 1
        self._waits = True

    def end(self, row: Row) -> None:
        """What an attempt held; nothing happens where that is known."""
        self._ended.append(row)
        self.count += 1
        self._waits = True

    def next_version(self) -> int:
        """What the next change will have as its version: they are in commit order, without gaps.

        Nobody else writes until this transaction ends, so that they may be counted here.
        """
        if self._version is None:
            version = int(self._connection.execute(_COUNTER, {"name_": "version"}).scalar_one())
            self._total = self._connection.execute(_TOTAL, {"version_": version}).scalar() or 0
            self._version = self._sent = version
        return self._version + 1

    def change(self, version: int, row: Row) -> None:
        """The change of that version, which is :meth:`next_version`."""
        self._version = version
        self._total += len(row["document"])
        self.add("change", {"version": version, "total": self._total, **row})

    def send(self) -> None:
        """Let the database know all of it."""
        if not self._waits:
            return
        self._waits = False
        for name, statement in _STATEMENTS.items():
            rows = self._rows[name]
            if rows:
                self._connection.execute(statement, rows)
                self._rows[name] = []
        if self._ended:
            self._connection.execute(_ENDED[self._connection.dialect.name], self._ended)
            self._ended = []
        if self._version is not None and self._version != self._sent:
            self._connection.execute(_SET_VERSION, {"version_": self._version})
            self._sent = self._version
