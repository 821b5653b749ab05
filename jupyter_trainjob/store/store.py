"""The record's door: transactions, threads, and waiting for changes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, column, select, table, text
from sqlalchemy.exc import DBAPIError

from .._version import __version__
from ..resources.errors import TrainJobError, Unavailable
from .engines import READERS, Engines, make_engines, parse_url, prepare_sqlite_file
from .failures import classify, unavailable, unknown_outcome
from .filesystems import refuse_network_filesystem
from .opening import bring_up_to_date
from .reader import Reader
from .sources import CHANNEL, open_source
from .tables import REVISIONS, VERSION_TABLE, counters
from .times import Clock, now
from .watching import Watcher
from .writer import Writer

T = TypeVar("T")

WRITE_TRIES = 4
GROUP = 64
"""So many writes that wait at the same time share a transaction, and with it the flush to disk."""
RETRY_SECONDS = 15.0
_SCHEMA = table(VERSION_TABLE, column("version_num"))
# SQLite has no FOR UPDATE, and SQLAlchemy leaves it out there.
_LOCK = (
    select(select(_SCHEMA.c.version_num).scalar_subquery())
    .select_from(counters)
    .where(counters.c.name == "version")
    .with_for_update(of=counters)
)


class Store:
    """The record. All methods may be called from any thread; the ``a…`` ones never block the event loop.

    Every database failure comes out as :class:`~jupyter_trainjob.resources.errors.Unavailable`; what the functions
    raise themselves comes out as it is, after a rollback.
    """

    def __init__(self, engines: Engines, clock: Clock) -> None:
        self._engines = engines
        self._clock = clock
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="trainjob-writer")
        self._pending: deque[tuple[Callable[[Writer], Any], Future[Any]]] = deque()
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="trainjob-reader")
        self._watcher = Watcher(lambda: open_source(engines))
        self._in_write = threading.local()
        self._closed = False

    @classmethod
    def open(cls, url: str, clock: Clock = now) -> Store:
        """Open the record at ``url`` (``sqlite:////file`` or ``postgresql+psycopg://…``); make or migrate its schema.

        :class:`~jupyter_trainjob.resources.errors.BadRequest` for a URL that can't be,
        :class:`~jupyter_trainjob.resources.errors.Unavailable` for a database that is not there, is newer than
        this software, or lies on a network filesystem.
        """
        parsed = parse_url(url)
        engines = make_engines(parsed)
        try:
            if engines.sqlite:
                path = Path(str(parsed.database))
                refuse_network_filesystem(path)
                prepare_sqlite_file(path)
            bring_up_to_date(engines, clock)
        except DBAPIError as error:
            engines.dispose()
            raise unavailable(error, engines.where) from error
        except BaseException:
            engines.dispose()
            raise
        return cls(engines, clock)

    def close(self) -> None:
        """Finish what was begun, answer those who wait, and let go of the database. Twice is no error."""
        self._closed = True
        self._watcher.close()
        self._writing.shutdown()
        self._reading.shutdown()
        self._engines.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def file(self) -> Path | None:
        """Where SQLite keeps it; None for a database server."""
        return Path(str(self._engines.url.database)) if self._engines.sqlite else None

    # Transactions

    def read(self, fn: Callable[[Reader], T]) -> T:
        """Run ``fn`` in a read-only transaction that sees one moment, in this thread."""
        self._check_open()
        for last in (False, True):
            try:
                with self._engines.read.connect() as connection, connection.begin():
                    return fn(Reader(connection))
            except DBAPIError as error:
                if last or not error.connection_invalidated:
                    raise unavailable(error, self._engines.where) from error
        raise AssertionError("unreachable")

    def write(self, fn: Callable[[Writer], T]) -> T:
        """Run ``fn`` in a transaction on the writer thread, and commit; what ``fn`` raises rolls back.

        No other writer, in any process, overlaps it. ``fn`` may be run again when a transaction has to be repeated,
        so it must do nothing but ask and write. It must not call :meth:`write` itself.
        """
        return self._submit_write(fn).result()

    async def aread(self, fn: Callable[[Reader], T]) -> T:
        """:meth:`read`, in a thread of the reader pool."""
        self._check_open()
        return await asyncio.wrap_future(self._submit(self._reading, lambda: self.read(fn)))

    async def awrite(self, fn: Callable[[Writer], T]) -> T:
        """:meth:`write`, without blocking the loop. Cancelling the waiting does not undo the write."""
        return await asyncio.shield(asyncio.wrap_future(self._submit_write(fn)))

    # The feed

    def wait(self, version: int, timeout_seconds: float) -> bool:
        """Whether the feed moves beyond ``version`` within that time; other processes' writes count."""
        self._check_open()
        done: Future[bool] = Future()
        key = self._watcher.add(version, done.set_result)
        try:
            return done.result(timeout_seconds)
        except FutureTimeout:
            return False
        finally:
            self._watcher.discard(key)

    async def await_change(self, version: int, timeout_seconds: float) -> bool:
        """:meth:`wait` for the event loop; no thread is held while it waits."""
        self._check_open()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()

        def finish(beyond: bool) -> None:
            if not done.done():
                done.set_result(beyond)

        key = self._watcher.add(version, lambda beyond: loop.call_soon_threadsafe(finish, beyond))
        try:
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the result.
            await asyncio.wait((done,), timeout=timeout_seconds)
        finally:
            self._watcher.discard(key)
        return done.done() and done.result()

    # Helpers

    def _submit_write(self, fn: Callable[[Writer], T]) -> Future[T]:
        self._check_open()
        if getattr(self._in_write, "active", False):
            raise RuntimeError("a write inside a write would wait for itself; use the Writer that was handed to you")
        done: Future[T] = Future()
        waiting = (fn, done)
        self._pending.append(waiting)
        try:
            self._submit(self._writing, self._write_pending)
        except BaseException:
            with suppress(ValueError):  # another's turn took it along
                self._pending.remove(waiting)
                raise
        return done

    def _write_pending(self) -> None:
        """What waits to be written now, in one transaction where that goes well: what costs most is the flush.

        Where anything of it fails, each is written by itself.
        """
        group: list[tuple[Callable[[Writer], Any], Future[Any]]] = []
        while self._pending and len(group) < GROUP:
            fn, done = self._pending.popleft()
            if done.set_running_or_notify_cancel():
                group.append((fn, done))
        if len(group) > 1:
            try:
                found = self._write_together([fn for fn, _ in group])
            except BaseException as error:  # nobody knows whether it was written
                for _, done in group:
                    done.set_exception(error)
                return
            if found is not None:
                for (_, done), (result, problem) in zip(group, found, strict=True):
                    if problem is None:
                        done.set_result(result)
                    else:
                        done.set_exception(problem)
                return
        for fn, done in group:
            try:
                result = self._run_write(fn)
            except BaseException as error:  # whoever waits for it is told
                done.set_exception(error)
            else:
                done.set_result(result)

    def _write_together(self, fns: Sequence[Callable[[Writer], Any]]) -> list[tuple[Any, TrainJobError | None]] | None:
        """Their results, or why they refused; None where nothing was written and each is to be tried by itself.

        Who refuses before writing anything (a conflict, a name that is taken) is no trouble to the others.
        """
        self._in_write.active = True
        committing = False
        try:
            with self._engines.write.connect() as connection:
                transaction = connection.begin()
                try:
                    self._be_the_only_writer(connection)
                    found: list[tuple[Any, TrainJobError | None]] = []
                    writer = Writer(connection, self._clock)
                    for fn in fns:
                        before = writer.alterations
                        try:
                            found.append((fn(writer), None))
                        except TrainJobError as refusal:
                            if writer.alterations != before:
                                raise
                            found.append((None, refusal))
                    writer.send()
                    self._announce(connection, writer)
                    committing = True
                    transaction.commit()
                except BaseException:
                    transaction.rollback()
                    raise
        except DBAPIError as error:
            if committing and classify(error) == "disconnected":
                raise unknown_outcome(error, self._engines.where) from error
            return None
        except Exception:  # of one of them, which is told when it fails alone
            return None
        finally:
            self._in_write.active = False
        if writer.written is not None:
            self._watcher.moved(writer.written)
        return found

    def _submit(self, pool: ThreadPoolExecutor, call: Callable[[], T]) -> Future[T]:
        try:
            return pool.submit(call)
        except RuntimeError:  # how a pool says that it was shut down a moment ago
            self._check_open()
            raise

    def _run_write(self, fn: Callable[[Writer], T]) -> T:
        self._in_write.active = True
        try:
            give_up = time.monotonic() + RETRY_SECONDS
            for tries_left in reversed(range(WRITE_TRIES)):
                result = self._try_write(fn, give_up if tries_left else 0.0)
                if result is not None:
                    return result[0]
                time.sleep(0.05)
            raise AssertionError("unreachable")
        finally:
            self._in_write.active = False

    def _try_write(self, fn: Callable[[Writer], T], give_up: float) -> tuple[T] | None:
        """One go; None means that the transaction was rolled back and is worth repeating (until ``give_up``)."""
        committing = False
        try:
            with self._engines.write.connect() as connection:
                transaction = connection.begin()
                try:
                    self._be_the_only_writer(connection)
                    writer = Writer(connection, self._clock)
                    result = fn(writer)
                    writer.send()
                    self._announce(connection, writer)
                    committing = True
                    transaction.commit()
                except BaseException:
                    transaction.rollback()
                    raise
        except DBAPIError as error:
            failure = classify(error)
            if failure == "disconnected" and committing:
                raise unknown_outcome(error, self._engines.where) from error
            if failure not in ("busy", "disconnected") or time.monotonic() > give_up:
                raise unavailable(error, self._engines.where) from error
            return None
        if writer.written is not None:
            self._watcher.moved(writer.written)
        return (result,)

    def _be_the_only_writer(self, connection: Connection) -> None:
        """What BEGIN IMMEDIATE did on SQLite: every writer of every process waits here for the one before.

        Also looks whether another, newer process has migrated the schema under our feet.
        """
        revision = connection.execute(_LOCK).scalar_one()
        if revision != REVISIONS[-1]:
            raise Unavailable(
                f"The record {self._engines.where} was migrated to the schema revision {revision!r} while this server "
                f"(version {__version__}) ran, which knows {REVISIONS[-1]!r}.",
                remedy="Restart this server with the version that the others have.",
            )

    def _announce(self, connection: Connection, writer: Writer) -> None:
        if writer.written is not None and not self._engines.sqlite:
            connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("The record is closed: the server is stopping.", remedy="Try again when it is back.")
