"""Two servers on one record and one cluster: one leads, the other takes over; if both lead, nothing is done twice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from jupyter_trainjob.resources.trainjob import Phase
from tests.store.postgresql import running_server

from .backends import bring_image
from .cluster import Cluster
from .lives import World, world

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

TAKE_OVER_SECONDS = 15


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with running_server() as url:
        yield url


@pytest.fixture
def shared(cluster: Cluster, namespace: str, postgresql: str, tmp_path: Path) -> Iterator[World]:
    """Servers in pid namespaces of their own, as pods on one node are."""
    bring_image(cluster)
    schema = namespace.replace("-", "_")
    admin = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    there = sa.make_url(postgresql).update_query_dict({"options": f"-csearch_path={schema}"})
    with world(cluster, namespace, tmp_path, there.render_as_string(hide_password=False)) as made:
        yield made


def lines(count: int) -> tuple[str, bytes]:
    code = f"import time\nfor n in range({count}):\n    print('line', n, flush=True)\n    time.sleep(0.1)"
    return code, b"".join(b"line %d\n" % n for n in range(count))


def check(shared: World, uids: list[str], log: bytes, limit: int) -> None:
    """Each ran once, to its end, within the limit; nothing of it is left."""
    for job in shared.ended(*uids):
        assert job.status.phase is Phase.SUCCEEDED and len(job.status.attempts) == 1, job.status
        assert shared.log(job.metadata.uid) == log and job.status.log.complete
    shared.once()
    assert shared.at_once() <= limit
    shared.until(lambda: not shared.left())


def test_the_other_takes_over_within_fifteen_seconds_and_nothing_is_lost(shared: World) -> None:
    first = shared.server(apart=True)
    first.until_it_leads()
    second = shared.server(apart=True)
    shared.until(lambda: "up" in second.said.split())
    shared.limit(running_jobs=2)
    code, log = lines(60)
    uids = [shared.submit(code) for _ in range(5)]
    shared.until(lambda: b"line 5\n" in shared.log(uids[0]))
    assert first.leads and not second.leads
    first.kill()
    killed = time.monotonic()
    second.until_it_leads()
    assert time.monotonic() - killed <= TAKE_OVER_SECONDS
    check(shared, uids, log, 2)


def test_two_that_both_believe_they_lead_run_each_job_once(shared: World, soak: bool) -> None:
    """And are killed now and then, at any moment."""
    chance = random.Random(20261122)
    shared.limit(running_jobs=3)
    servers = [shared.server(apart=True, insists=True) for _ in range(2)]
    for server in servers:
        server.until_it_leads()
    code, log = lines(20)
    uids = [shared.submit(code) for _ in range(60 if soak else 5)]
    cancelled = shared.submit("print('up', flush=True)\nimport time\ntime.sleep(150)")
    for _ in range(30 if soak else 3):
        time.sleep(chance.uniform(0.5, 3.0))
        index = chance.randrange(2)
        servers[index].kill()
        servers[index] = shared.server(apart=True, insists=True)
    for server in servers:
        server.until_it_leads()
    shared.until(lambda: b"up" in shared.log(cancelled), 240)
    shared.cancel(cancelled, "enough")
    shared.ended(cancelled)
    assert shared.job(cancelled).status.phase is Phase.CANCELLED
    check(shared, uids, log, 3)
