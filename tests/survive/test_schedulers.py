"""Several servers on one record, each of which believes that it leads; and one that takes over."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from jupyter_trainjob.controllers.bootstrap import ensure_defaults
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.resources.trainjob import CellSource, Phase, TrainJob
from jupyter_trainjob.store import Filter, Store, Writer

from ..controllers.conftest import make_job
from .replay import BUDGET, LIMITS, most_at_once, of_some_size, stays_within, versions
from .test_crash import ROOT, start

LIMIT = 5


def fill(store: Store, count: int) -> None:
    def write(writer: Writer) -> None:
        ensure_defaults(writer, "default", "default")
        queue = writer.get(Queue, "", "default")
        queue.spec.limits = type(queue.spec.limits)(**{**LIMITS, "running_jobs": LIMIT})
        queue.spec.budget = BUDGET
        writer.update(queue)
        for number in range(count):
            job = of_some_size(make_job(owner=f"u{number % 9}"), number)
            job.spec.source = CellSource(code="0.05 ok")
            writer.create(job)

    store.write(write)


def test_four_schedulers_and_three_hundred_jobs(url: str) -> None:
    with Store.open(url) as store:
        fill(store, 300)
        command = [sys.executable, "-m", "tests.survive.scheduler", url]
        several = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
        assert [one.wait(240) for one in several] == [0] * 4
        jobs = store.read(lambda reader: reader.list(TrainJob, limit=1000)).items
        assert [len(job.status.attempts) for job in jobs] == [1] * 300
        admissions = [job.metadata.uid for job in versions(store) if job.status.phase is Phase.ADMITTED]
        assert len(admissions) == len(set(admissions)) == 300, "exactly as many admissions as jobs"
        assert stays_within(most_at_once(store), LIMIT)


@pytest.mark.slow
def test_the_other_takes_over_when_the_leader_is_killed(postgresql_url: str, tmp_path: Path) -> None:
    with Store.open(postgresql_url) as store:
        fill(store, 60)
        first = start(postgresql_url, tmp_path)
        second: subprocess.Popen[str] | None = None
        try:
            assert first.stdout is not None and first.stdout.readline() == "leading\n"
            second = start(postgresql_url, tmp_path)
            while store.read(lambda reader: reader.count(TrainJob, Filter(phases=[Phase.SUCCEEDED]))) < 10:
                time.sleep(0.02)
            first.kill()
            killed = time.monotonic()
            assert second.stdout is not None and second.stdout.readline() == "leading\n"
            took = time.monotonic() - killed
            while store.read(lambda reader: reader.count(TrainJob, Filter(phases=[Phase.SUCCEEDED]))) < 60:
                time.sleep(0.05)
        finally:
            for one in (first, second):
                if one is not None:
                    one.kill()
                    one.communicate()
        assert took < 15
        assert stays_within(most_at_once(store), LIMIT)
        starts = (tmp_path / "starts").read_text().split()
        assert len(starts) == len(set(starts)) == 60
