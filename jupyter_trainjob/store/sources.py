"""How each database tells of other processes' writes."""

from __future__ import annotations

import time
from typing import Any, cast

from sqlalchemy import Connection, Engine, select, text

from .engines import Engines
from .tables import counters
from .watching import Source

POLL_SECONDS = 0.05
LISTEN_SECONDS = 0.5
"""How long a listening connection waits at a stretch; a Store that closes waits for no longer than this."""
CHANNEL = "trainjob_feed"
_VERSION = select(counters.c.value).where(counters.c.name == "version")


class SQLiteSource:
    """``PRAGMA data_version`` differs once any other connection has committed; it costs a few microseconds."""

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def version(self) -> int:
        """The feed's version now."""
        with self._connection.begin():
            return int(self._connection.execute(_VERSION).scalar_one())

    def pause(self) -> None:
        """Until some connection has committed, or for a while."""
        driver = cast(Any, self._connection.connection.driver_connection)
        before = driver.execute("PRAGMA data_version").fetchone()
        deadline = time.monotonic() + LISTEN_SECONDS
        while time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            if driver.execute("PRAGMA data_version").fetchone() != before:
                return

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()


class PostgreSQLSource:
    """LISTEN on a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._connection: Connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._connection.execute(text(f"LISTEN {CHANNEL}"))

    def version(self) -> int:
        """The feed's version now."""
        return int(self._connection.execute(_VERSION).scalar_one())

    def pause(self) -> None:
        """Until a notification comes, or for a while."""
        driver = cast(Any, self._connection.connection.driver_connection)
        for _ in driver.notifies(timeout=LISTEN_SECONDS, stop_after=1):
            pass

    def close(self) -> None:
        """Close the connection rather than give it back: it listens."""
        self._connection.invalidate()
        self._connection.close()


def open_source(engines: Engines) -> Source:
    """The source for this database."""
    return SQLiteSource(engines.read) if engines.sqlite else PostgreSQLSource(engines.read)
