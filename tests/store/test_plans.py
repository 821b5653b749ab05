"""Lists stay quick however long they are: by their plans, and by the clock."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.resources.visible import Visible
from jupyter_trainjob.store import Store, Writer
from jupyter_trainjob.store.queries import Order, list_ids, make_filters

from .making import job

ACTIVE = [Phase.ADMITTED, Phase.RUNNING]
FINAL = [phase for phase in Phase if phase.final]
ME = Visible("ada", frozenset({"course"}), frozenset({"big"}))
NO_FILTER: dict[str, Any] = {
    **{"namespaces": None, "owner": None, "label_selector": "", "phases": (), "queue": None, "text": ""},
    **{"finished_before": None, "visible": None},
}


def _plan(store: Store, order: Order = "newest", **filters: Any) -> str:
    query = list_ids(make_filters("TrainJob", **{**NO_FILTER, **filters}), order, 10**6, 101)
    with store._engines.read.connect() as connection:
        text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        return "\n".join(row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "resources_kind"),
        ({"namespaces": ["course"]}, "resources_namespace"),
        ({"owner": "ada"}, "resources_owner"),
        ({"queue": "big"}, "resources_queue"),
        ({"phases": ["Queued"]}, "resources_phase"),
        ({"phases": ACTIVE}, "resources_phase"),
        ({"namespaces": ["course"], "owner": "ada", "label_selector": "team=blue"}, "labels_owned"),
        ({"label_selector": "team=blue"}, "labels_all"),
        ({"visible": ME}, "resources_queue"),
        ({"visible": ME, "label_selector": "team=blue"}, "labels_all"),
    ],
)
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_page_walks_an_index_in_order(sqlite_url: str, order: Order, filters: dict[str, Any], index: str) -> None:
    with Store.open(sqlite_url) as store:
        plan = _plan(store, order, **filters)
    assert f"ix_trainjob_{index}" in plan
    assert "SCAN trainjob" not in plan, plan
    merged = filters.get("visible") or len(filters.get("phases", ())) > 1
    assert merged or "TEMP B-TREE" not in plan, plan


def test_retention_finds_the_old_without_passing_the_young(sqlite_url: str) -> None:
    filters = {"phases": FINAL, "label_selector": "!keep", "finished_before": datetime(2026, 1, 1, tzinfo=timezone.utc)}
    with Store.open(sqlite_url) as store:
        assert "ix_trainjob_resources_finished (kind=? AND finished<?)" in _plan(store, "oldest", **filters)


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
def test_of_a_hundred_thousand_jobs_a_page_takes_milliseconds(url: str) -> None:
    with Store.open(url) as store:
        store.write(_hundred_thousand)
        if not store._engines.sqlite:  # the autovacuum's work, which a test can't wait for
            engine = store._engines.write.execution_options(isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(sa.text("VACUUM ANALYZE"))
        here: dict[str, Any] = {"namespaces": ["course-0"], "owner": "student-0"}
        pages: dict[str, Callable[[], Any]] = {
            "namespace, owner, label": lambda: store.read(lambda r: r.list(TrainJob, **here, labels="team=red")),
            "rare label": lambda: store.read(lambda r: r.list(TrainJob, labels="rare=r7,team=blue")),
            "visible": lambda: store.read(lambda r: r.list(TrainJob, visible=ME)),
            "active": lambda: store.read(lambda r: r.list(TrainJob, phases=ACTIVE)),
            "everything": lambda: store.read(lambda r: r.list(TrainJob)),
        }
        took = {name: _median_ms(page) for name, page in pages.items()}
        assert len(pages["namespace, owner, label"]().items) == 100
    assert max(took.values()) < 20, took


def _median_ms(call: Callable[[], object]) -> float:
    times = []
    for _ in range(11):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)
