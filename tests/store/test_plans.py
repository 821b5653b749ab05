"""Lists stay quick however long they are: by their plans, and by the clock."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import datetime, timezone

import pytest
import sqlalchemy as sa

from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.resources.visible import Visible
from jupyter_trainjob.store import Filter, Store, Writer
from jupyter_trainjob.store.filters import Order
from jupyter_trainjob.store.queries import list_ids

from .making import job

ACTIVE = [Phase.ADMITTED, Phase.RUNNING]
FINAL = [phase for phase in Phase if phase.final]
ME = Visible("ada", frozenset({"course"}), frozenset({"big"}))


def _plan(store: Store, where: Filter, order: Order = "newest") -> str:
    query = list_ids(where.checked("TrainJob"), order, 10**6, 101)
    with store._engines.read.connect() as connection:
        text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        return "\n".join(row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))


@pytest.mark.parametrize(
    ("where", "index"),
    [
        (Filter(), "resources_kind"),
        (Filter(namespaces=["course"]), "resources_namespace"),
        (Filter(owner="ada"), "resources_owner"),
        (Filter(queue="big"), "resources_queue"),
        (Filter(phases=["Queued"]), "resources_phase"),
        (Filter(phases=ACTIVE), "resources_phase"),
        (Filter(namespaces=["course"], owner="ada", labels="team=blue"), "labels_owned"),
        (Filter(labels="team=blue"), "labels_all"),
        (Filter(visible=ME), "resources_queue"),
        (Filter(visible=ME, labels="team=blue"), "labels_all"),
    ],
)
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_page_walks_an_index_in_order(sqlite_url: str, order: Order, where: Filter, index: str) -> None:
    with Store.open(sqlite_url) as store:
        plan = _plan(store, where, order)
    assert f"ix_trainjob_{index}" in plan
    assert "SCAN trainjob" not in plan, plan
    merged = where.visible or len(where.phases) > 1
    assert merged or "TEMP B-TREE" not in plan, plan


def test_retention_finds_the_old_without_passing_the_young(sqlite_url: str) -> None:
    old = Filter(phases=FINAL, labels="!keep", finished_before=datetime(2026, 1, 1, tzinfo=timezone.utc))
    with Store.open(sqlite_url) as store:
        assert "ix_trainjob_resources_finished (kind=? AND finished<?)" in _plan(store, old, "oldest")


COPIES = """
INSERT INTO trainjob_resources
    SELECT id + :by, uid || :by, kind, namespace, name || '-' || :by, owner, phase, queue, created, finished, deletion,
           version + :by
    FROM trainjob_resources WHERE id <= :rows;
INSERT INTO trainjob_documents SELECT id + :by, document FROM trainjob_documents WHERE id <= :rows;
INSERT INTO trainjob_labels
    SELECT id + :by, key, value, kind, namespace, owner FROM trainjob_labels WHERE id <= :rows
"""


def _hundred_thousand(writer: Writer) -> None:
    """1,000 made, and copied by SQL."""
    rows = 1000
    for number in range(rows):
        one = job(
            namespace=f"course-{number % 5}",
            owner=f"student-{number % 20}",
            labels={"team": ["red", "blue"][number % 2], "rare": f"r{number % 100}"},
            queue=f"queue-{number % 4}",
            phase=FINAL[number % 3],
            code="print(1)\n" * 50,
        )
        one.status.finished = datetime(2026, 1, 1, tzinfo=timezone.utc)
        writer.create(one)
    for copy in range(1, 100):
        for statement in COPIES.split(";"):
            writer._connection.execute(sa.text(statement), {"by": copy * rows, "rows": rows})


@pytest.mark.slow
def test_of_a_hundred_thousand_jobs_each_page_is_as_quick_as_the_first_hundred(url: str) -> None:
    with Store.open(url) as store:
        store.write(_hundred_thousand)
        if not store._engines.sqlite:  # the autovacuum's work, which a test can't wait for
            engine = store._engines.write.execution_options(isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(sa.text("VACUUM ANALYZE"))
        mine = Filter(namespaces=["course-0"], owner="student-0", labels="team=red")
        wheres = {
            "namespace, owner, label": mine,
            "rare label": Filter(labels="rare=r7,team=blue"),
            "visible": Filter(visible=ME),
            "active": Filter(phases=ACTIVE),
            "everything": Filter(),
        }
        took = {name: _median_ms(lambda where=where: _page(store, where)) for name, where in wheres.items()}
        assert len(_page(store, mine)) == 100
    assert max(took.values()) < 10 * took["everything"], took  # a walk over all jobs takes hundreds of times as long


def _page(store: Store, where: Filter) -> list[TrainJob]:
    return store.read(lambda r: r.list(TrainJob, where)).items


def _median_ms(call: Callable[[], object]) -> float:
    times = []
    for _ in range(11):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)
