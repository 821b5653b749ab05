"""The server is killed at every step of a job's life, and the next one goes on from there."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from jupyter_trainjob.controllers.bootstrap import ensure_defaults
from jupyter_trainjob.controllers.manager import utc_now
from jupyter_trainjob.resources.failpoints import NAMES, VARIABLE
from jupyter_trainjob.resources.names import OBJECTS_FINALIZER, SWEEP_LABEL
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.resources.trainjob import Cancel, CellSource, Gate, Phase, Retries, Sweep, TrainJob
from jupyter_trainjob.store import Filter, Store, Writer

from ..benchmarks.admission_rate import cell, with_instant_backend
from ..controllers.conftest import make_job
from .ondisk import OnDisk
from .replay import BUDGET, LIMITS, most_at_once, of_some_size, stays_within, versions

LIVE = [phase for phase in Phase if not phase.final]
ROOT = Path(__file__).parents[2]


def start(url: str, folder: Path, failpoint: str = "") -> subprocess.Popen[str]:
    environment = {**os.environ, VARIABLE: failpoint, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.survive.server", url, str(folder)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)


class Trial:
    """A record, what was sent to it, and how each job is to end."""

    def __init__(self, url: str, folder: Path, seed: int) -> None:
        self.url, self.folder = url, folder
        self.store = Store.open(url)
        self.random = random.Random(seed)
        self.expected: dict[str, tuple[Phase, ...]] = {}
        self.deleted: set[str] = set()
        self.store.write(self._limit)

    def _limit(self, writer: Writer) -> None:
        ensure_defaults(writer, "default", "default")
        queue = writer.get(Queue, "", "default")
        queue.spec.limits = type(queue.spec.limits)(**LIMITS)
        queue.spec.budget = BUDGET
        writer.update(queue)

    def _create(self, how: str, *expected: Phase, **spec: Any) -> str:
        seconds = self.random.choice([0.0, 0.02, 0.2])
        job = of_some_size(make_job("j", owner=self.random.choice(["ada", "bob"]), **spec), self.random.randrange(4))
        job.spec.source = CellSource(code=f"{seconds} {how}")
        job.metadata.finalizers = [OBJECTS_FINALIZER]
        if job.spec.sweep is not None:
            job.metadata.labels[SWEEP_LABEL] = job.spec.sweep.name
            job.metadata.owner = job.metadata.namespace = "ada"
        uid = self.store.write(lambda writer: writer.create(job)).metadata.uid
        self.expected[uid] = expected
        return uid

    def submit(self, count: int) -> None:
        """Jobs of every kind."""
        for _ in range(count // 8):
            parent = self._create("ok", Phase.SUCCEEDED)
            self._create("ok", Phase.SUCCEEDED, scheduling_gates=[Gate(type="dependency", job=parent)])
            failing = self._create("error", Phase.FAILED)
            self._create("ok", Phase.FAILED, scheduling_gates=[Gate(type="dependency", job=failing)])
            self._create("lost", Phase.SUCCEEDED, retries=Retries(limit=1))
            name = f"s-{self.random.randrange(10**9)}"
            for index in range(2):
                sweep = Sweep(name=name, index=index, size=2, max_parallel=1)
                gates = [Gate(type="sweep")] if index else []
                self._create("ok", Phase.SUCCEEDED, sweep=sweep, scheduling_gates=gates)
            doomed = self._create("ok", Phase.SUCCEEDED, Phase.CANCELLED)
            if self.random.random() < 0.5:
                self.deleted.add(doomed)
            self.change(doomed, self._delete if doomed in self.deleted else self._cancel)

    def change(self, uid: str, change: Callable[[TrainJob], None]) -> None:
        def write(writer: Writer) -> None:
            job = writer.by_uid(TrainJob, uid)
            change(job)
            writer.update(job)

        self.store.write(write)

    @staticmethod
    def _cancel(job: TrainJob) -> None:
        job.spec.cancel = Cancel(requested_at=utc_now(), by="ada")

    def _delete(self, job: TrainJob) -> None:
        self._cancel(job)
        job.metadata.deletion_timestamp = utc_now()

    def live(self) -> int:
        doomed = len(self.store.read(lambda reader: reader.deleting(TrainJob)))
        return self.store.read(lambda reader: reader.count(TrainJob, Filter(phases=LIVE))) + doomed

    def round(self, failpoint: str, seconds: float) -> bool:
        """Run a server until it kills itself, or has nothing to do; whether it did the former."""
        with start(self.url, self.folder, failpoint) as server:
            try:
                end = time.monotonic() + seconds
                while server.poll() is None and time.monotonic() < end and self.live():
                    time.sleep(0.05)
                return server.poll() == -9
            finally:
                server.kill()

    def check(self) -> None:
        """None lost, none run twice, none stuck, limits kept, ends right."""
        jobs = {job.metadata.uid: job for job in self.store.read(lambda r: r.list(TrainJob, limit=5000)).items}
        assert set(self.expected) - self.deleted <= set(jobs)
        for uid, job in jobs.items():
            assert job.status.phase in self.expected[uid], (job.spec.source, job.status)
            ended = [attempt.end for attempt in job.status.attempts]
            assert all(ended), "an attempt that nobody ended"
        starts = OnDisk(self.folder).starts()
        assert len(starts) == len(set(starts)), "an attempt began twice"
        began = {f"{job.metadata.uid}.{one.number}" for job in versions(self.store) for one in job.status.attempts}
        assert set(starts) <= began, "nothing runs that the record knows nothing of"
        assert stays_within(most_at_once(self.store), LIMITS["running_jobs"])
        noted = {(row.uid, row.attempt) for row in self.store.read(lambda reader: list(reader.ended(0.0)))}
        assert noted == {(job.metadata.uid, one.number) for job in jobs.values() for one in job.status.attempts} | {
            pair for pair in noted if pair[0] in self.deleted
        }
        assert list((self.folder / "attempts").iterdir()) == []


def test_killed_at_every_step(sqlite_url: str, tmp_path: Path, soak: bool) -> None:
    """Eight jobs a round; in the long form a thousand."""
    trial = Trial(sqlite_url, tmp_path, seed=6)
    steps = [name for name in NAMES if not name.startswith("submission")]
    rounds = steps * (10 if soak else 1)
    trial.random.shuffle(rounds)
    struck = set()
    for step in rounds:
        trial.submit(8)
        if trial.round(f"{step}:{trial.random.randint(1, 3)}", 20):
            struck.add(step)
    assert trial.round("", 120) is False
    assert trial.live() == 0, "some are stuck"
    trial.check()
    assert len(struck) >= len(steps) - 2, f"never came to {set(steps) - struck}"
    trial.store.close()


def test_killed_while_a_job_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was answered is there, once; what was not is not there, nor half of it."""
    place = f"--TrainJobExtension.data_dir={tmp_path}"
    told: list[str] = []
    monkeypatch.setenv(VARIABLE, "submission.written:3")
    with with_instant_backend(place) as server, server.http() as http:
        jobs = f"namespaces/{http.get('me').json()['username']}/trainjobs"
        with pytest.raises(httpx.TransportError):
            while len(told) < 3:
                told.append(http.post(jobs, json=cell()).raise_for_status().json()["metadata"]["uid"])
    assert len(told) == 2
    monkeypatch.delenv(VARIABLE)
    with with_instant_backend(place) as server, server.http() as http:
        found: dict[str, str] = {}
        end = time.monotonic() + 60
        while set(found.values()) != {"Succeeded"} and time.monotonic() < end:
            time.sleep(0.1)
            found = {one["metadata"]["uid"]: one["status"]["phase"] for one in http.get(jobs).json()["items"]}
    assert found == dict.fromkeys(told, "Succeeded")
