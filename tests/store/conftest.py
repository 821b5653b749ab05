"""Fixtures of the record's tests.

``postgresql``   URL of a PostgreSQL server that lives as long as the test run (skips where there is none)
``url``          of an empty database, once SQLite, once PostgreSQL: each test that uses it runs on both
``store``        an open, empty Store on it
``sqlite_url``   of an empty SQLite database
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from jupyter_trainjob.store import Store

from .postgresql import running_server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    with running_server() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/record.sqlite"


@contextmanager
def _schema(server: str) -> Iterator[str]:
    """A schema of its own in the one database."""
    name = f"test_{uuid4().hex}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    there = sa.make_url(server).update_query_dict({"options": f"-csearch_path={name}"})
    yield there.render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {name} CASCADE"))


@pytest.fixture
def postgresql_url(postgresql: str) -> Iterator[str]:
    with _schema(postgresql) as url:
        yield url


@pytest.fixture(scope="module")
def postgresql_module_url(postgresql: str) -> Iterator[str]:
    with _schema(postgresql) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened
