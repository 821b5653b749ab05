"""The first page of 100 of 100,000 ended jobs, by namespace, owner and label, over HTTP."""

from __future__ import annotations

import sqlite3
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from jupyter_trainjob.resources.base import ObjectMeta
from jupyter_trainjob.resources.trainjob import (
    Attempt,
    CellSource,
    LogStatus,
    OutputStatus,
    Phase,
    Reason,
    Resources,
    TrainJob,
    TrainJobSpec,
    Usage,
)
from jupyter_trainjob.store import Store, Writer

from .server import running_server
from .stats import median, percentile

OWNERS, COURSES = 50, 10
BATCH = 2000
FIRST = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=10)
"""Not so long ago that retention takes the jobs away."""


def make(number: int) -> TrainJob:
    """An ended job as the controller leaves it."""
    owner = f"user{number % OWNERS}"
    start = FIRST + timedelta(seconds=number)
    end = start + timedelta(seconds=30)
    job = TrainJob(
        metadata=ObjectMeta(
            generate_name=f"digits{number % 7}",
            namespace=f"course{number % COURSES}",
            owner=owner,
            labels={"model": f"m{number % 4}", "lr": f"0.{number % 9}"},
        ),
        spec=TrainJobSpec(
            source=CellSource(code="from sklearn.datasets import load_digits\nprint(load_digits().data.shape)\n" * 5),
            queue="default",
            profile="default",
            resources=Resources(cpu="1", memory="1Gi", disk="2Gi", processes=256),
            time_limit_seconds=300,
        ),
    )
    job.status.phase, job.status.reason = Phase.SUCCEEDED, Reason.COMPLETED.value
    job.status.queued, job.status.finished = start, end
    usage = Usage(cpu_seconds=12.5, peak_memory_bytes=2**28, processes=12)
    job.status.attempts = [
        Attempt(
            number=1,
            backend="local",
            admitted=start,
            start=start,
            end=end,
            reason=Reason.COMPLETED,
            usage=usage,
            exit_code=0,
        )
    ]
    job.status.log = LogStatus(size=1234, complete=True)
    job.status.outputs = OutputStatus(notebook=True)
    return job


def fill(data_dir: Path, count: int) -> None:
    """Write ``count`` ended jobs into a new record."""
    store = Store.open(f"sqlite:///{data_dir / 'record.sqlite'}")

    def batch(writer: Writer, first: int) -> None:
        for number in range(first, min(first + BATCH, count)):
            writer.create(make(number))

    for first in range(0, count, BATCH):
        store.write(lambda writer, first=first: batch(writer, first))  # type: ignore[misc]
    store.close()


def run(*, quick: bool = False) -> dict[str, Any]:
    """Median over 200 requests, each with another owner or label."""
    count, rounds = (10_000, 30) if quick else (100_000, 200)
    times = []
    began = time.perf_counter()
    with running_server(prepare=lambda folder: fill(folder, count)) as server, server.http() as http:
        filled = time.perf_counter() - began
        for number in range(rounds + 20):
            owner = number % OWNERS
            query = {
                "namespace": f"course{owner % COURSES}",
                "owner": f"user{owner}",
                "labelSelector": f"model in (m{owner % 4},m{(owner + 2) % 4})" if number % 2 else f"model=m{owner % 4}",
                "limit": "100",
            }
            start = time.perf_counter()
            answer = http.get("trainjobs", params=query)
            took = time.perf_counter() - start
            answer.raise_for_status()
            items = answer.json()["items"]
            if len(items) != 100 or any(item["metadata"]["owner"] != f"user{owner}" for item in items):
                raise RuntimeError(f"{len(items)} items, not the 100 of user{owner} that are there")
            if number >= 20:
                times.append(took)
        size = sum(path.stat().st_size for path in server.data_dir.glob("record.sqlite*"))
    with sqlite3.connect(":memory:") as connection:
        version = connection.execute("select sqlite_version()").fetchone()[0]
    figures = {
        "benchmark": "list_jobs",
        "jobs": count,
        "requests": len(times),
        "p50_ms": round(median(times) * 1000, 2),
        "p99_ms": round(percentile(times, 99) * 1000, 2),
        "fill_s": round(filled, 1),
        "record_bytes": size,
        "sqlite_version": version,
    }
    return {**figures, "pass": figures["p50_ms"] <= 20}
