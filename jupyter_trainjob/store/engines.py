"""Database connections: which URL is meant, and how each database is set up."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from ..resources.errors import BadRequest, Unavailable

BUSY_SECONDS = 15.0
"""How long a writer waits for another process' writer."""
CONNECT_SECONDS = 10
HUNG_SECONDS = 60.0
"""When PostgreSQL ends a writer that has stopped in the middle of a transaction."""
READERS = 4
CACHE_KIB = 4096
"""Of each connection to SQLite: the operating system has the whole file in its own cache, once for all of them."""
_SQLITE_MINIMUM = (3, 35)
_EXAMPLES = "Write 'sqlite:////path/to/record.sqlite' or 'postgresql+psycopg://user:password@host/database'."


@dataclass(frozen=True)
class Engines:
    """One engine for each way of working; on PostgreSQL they differ in isolation only."""

    url: URL
    where: str
    """The database for messages, without its password."""
    read: Engine
    write: Engine

    @property
    def sqlite(self) -> bool:
        """Whether it is SQLite; else it is PostgreSQL."""
        return self.url.get_backend_name() == "sqlite"

    def dispose(self) -> None:
        """Close every connection."""
        self.read.dispose()
        self.write.dispose()


def parse_url(text: str) -> URL:
    """The URL, with the driver we use; :class:`BadRequest` for a database we don't know."""
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except ArgumentError:
        raise BadRequest("The record's database URL can't be read.", remedy=_EXAMPLES) from None
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise BadRequest(f"The record can't be kept in a database of the kind {backend!r}.", remedy=_EXAMPLES)
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise BadRequest(
            "The record needs a database file: one in memory would be lost, and others could not see it.",
            remedy=_EXAMPLES,
        )
    return url.set(drivername="sqlite+pysqlite", database=os.path.realpath(url.database))


def make_engines(url: URL) -> Engines:
    """Engines for a parsed URL; nothing connects yet."""
    if url.get_backend_name() == "sqlite":
        where = str(url.database)
        return Engines(url, where, _sqlite(url, write=False), _sqlite(url, write=True))
    return Engines(url, url.render_as_string(hide_password=True), *_postgresql(url))


def prepare_sqlite_file(path: Path) -> None:
    """Make folder and file for the eyes of this user only, where they are not there yet."""
    if sqlite3.sqlite_version_info < _SQLITE_MINIMUM:
        raise Unavailable(
            f"SQLite {sqlite3.sqlite_version} is too old for the record, which needs 3.35.",
            remedy="Use a Python that comes with a newer SQLite, or keep the record in PostgreSQL.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Unavailable(
            f"The record {path} can't be opened for writing: {error.strerror}.",
            remedy="Check that its folder exists and belongs to the user of this server, and that the disk has space.",
        ) from error


def _sqlite(url: URL, *, write: bool) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1 if write else READERS,
        max_overflow=0 if write else 2 * READERS,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False, "cached_statements": 256},
    )

    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver would begin and commit at moments of its own choice
        if write:
            _switch_to_wal(connection)
        for pragma in _pragmas(write):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", _begin("BEGIN IMMEDIATE" if write else "BEGIN"))
    return engine


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Readers and the writer don't block each other then. Kept in the file; waits while another process reads it."""
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"unable to open database file in WAL mode, it stays in {mode!r} mode")


def _pragmas(write: bool) -> tuple[str, ...]:
    common = ("foreign_keys=ON", "synchronous=FULL", "temp_store=MEMORY", f"cache_size=-{CACHE_KIB}")
    if write:
        return ("journal_size_limit=67108864", *common)
    return (*common, "query_only=ON")


def _begin(statement: str) -> Callable[[Connection], None]:
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    return begin


def _postgresql(url: URL) -> tuple[Engine, Engine]:
    """A reader sees one moment. A writer waits, at its first statement, until it is the only one (see Store)."""
    if "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(CONNECT_SECONDS)})
    read = create_engine(
        url,
        isolation_level="REPEATABLE READ",
        pool_size=READERS,
        max_overflow=2 * READERS,
        pool_recycle=3600,
        execution_options={"postgresql_readonly": True},
    )
    write = create_engine(url, isolation_level="READ COMMITTED", pool_size=1, max_overflow=1, pool_recycle=3600)

    def connected(connection: Any, _record: Any) -> None:
        # A writer that hangs must not stop all others for ever: those give up, and in the end the server ends it.
        connection.execute(f"SET lock_timeout = {int(BUSY_SECONDS * 1000)}")
        connection.execute(f"SET idle_in_transaction_session_timeout = {int(HUNG_SECONDS * 1000)}")
        connection.commit()

    event.listen(write, "connect", connected)
    return read, write
