"""Opening a record: is it ours to open, is its schema the one we know, and if it is older, migrate it.

A migration runs under a lock (a file beside the SQLite database, an advisory lock in PostgreSQL) in one transaction;
SQLite is copied first, to ``<file>.backup-<revision>-<time>``.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, column, insert, inspect, select, table, text

from .._version import __version__
from ..resources.errors import Unavailable
from .engines import Engines
from .tables import REVISIONS, VERSION_TABLE, schema_history
from .times import Clock, to_text

LOCK_SECONDS = 120.0
MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x7472_6A6F_6273  # "trjobs"


def bring_up_to_date(engines: Engines, clock: Clock) -> None:
    """Make or migrate the schema; :class:`Unavailable` where that can't be or must not be."""
    if _revision(engines) == REVISIONS[-1]:
        return
    if engines.sqlite:
        path = Path(str(engines.url.database))
        with _file_lock(path.with_name(path.name + ".migrate-lock")):
            revision = _revision(engines)
            if revision not in (None, REVISIONS[-1]):
                _backup(path, f"{revision}-{clock():%Y%m%dT%H%M%SZ}")
            _migrate(engines.write, clock, engines.where)
    else:
        _migrate(engines.write, clock, engines.where)


def _revision(engines: Engines) -> str | None:
    """The schema's revision, None where there is none yet. Refuses one that we don't know."""
    with engines.read.connect() as connection, connection.begin():
        return _checked_revision(connection, engines.where)


def _checked_revision(connection: Connection, where: str) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    versions = table(VERSION_TABLE, column("version_num"))
    revision = connection.execute(select(versions.c.version_num)).scalar()
    if revision is not None and revision not in REVISIONS:
        brought = connection.execute(
            select(schema_history.c.app_version).where(schema_history.c.revision == revision)
        ).scalar()
        newer = f"jupyter_trainjob {brought} or newer" if brought else "a newer jupyter_trainjob"
        raise Unavailable(
            f"The record {where} has the schema revision {revision!r}, made by jupyter_trainjob "
            f"{brought or '(unknown)'}; this is version {__version__}, which knows revisions up to {REVISIONS[-1]!r}.",
            remedy=f"Install {newer}, or go back to the backup that was made before the migration.",
        )
    return revision


def _migrate(engine: Engine, clock: Clock, where: str) -> None:
    from alembic import command  # slow to import, and rarely needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        if _checked_revision(connection, where) == REVISIONS[-1]:
            return  # another process was faster
        config.attributes["connection"] = connection
        command.upgrade(config, REVISIONS[-1])
        row = {"revision": REVISIONS[-1], "app_version": __version__, "migrated": to_text(clock())}
        connection.execute(insert(schema_history).values(row))


def _backup(path: Path, suffix: str) -> Path:
    """A consistent copy, complete before it has its name."""
    target = path.with_name(f"{path.name}.backup-{suffix}")
    unfinished = target.with_name(target.name + ".part")
    try:
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        source, copy = sqlite3.connect(path), sqlite3.connect(unfinished)
        try:
            source.backup(copy)
        finally:
            copy.close()
            source.close()
        unfinished.replace(target)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):  # the first error is the one to tell
            unfinished.unlink()
        raise Unavailable(
            f"The backup {target} that has to come before the migration can't be written: {error}.",
            remedy="Make room beside the database; nothing was migrated.",
        ) from error
    return target


@contextmanager
def _file_lock(path: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"Another process has been migrating the record for {seconds:.0f} s (it holds {path}).",
                        remedy="Wait for it, or end it if it hangs.",
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
