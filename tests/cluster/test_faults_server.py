"""Our server killed between every two of its steps, and with a clock that is minutes off: each job ends once, truly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_trainjob.resources.trainjob import Phase

from .backends import bring_image
from .cluster import Cluster
from .lives import Server, World, world

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

LINES = """
import time
for n in range(30):
    print('line', n, flush=True)
    time.sleep(0.1)
_ = open('made', 'w').write('1234')
"""
ALL = b"".join(b"line %d\n" % n for n in range(30))
LIVES = 120


@pytest.fixture
def shared(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[World]:
    bring_image(cluster)
    with world(cluster, namespace, tmp_path) as made:
        yield made


def live_through(shared: World, uid: str, cancel_at: str = "") -> list[str]:
    """Server after server, each killed at the first step that none was killed at before, until all is done; the steps.

    ``cancel_at``: the job is cancelled when so much of its log can be read.
    """
    steps = shared.folder / "steps"
    steps.touch()
    for _ in range(LIVES):
        server = shared.server(crash=str(steps))

        def is_over(server: Server = server) -> bool:
            if cancel_at and shared.job(uid).spec.cancel is None and cancel_at.encode() in shared.log(uid):
                shared.cancel(uid, "enough")
            return server.process.poll() is not None or (shared.job(uid).status.phase.final and not shared.left())

        shared.until(is_over)
        if server.process.poll() is None:
            server.stop()
            return steps.read_text().splitlines()
        assert server.process.returncode == -9, server.said[-3000:]
    raise AssertionError(f"not over after {LIVES} lives: {steps.read_text()}")


def test_a_server_that_is_killed_at_every_step_runs_a_job_once_and_loses_nothing(shared: World) -> None:
    uid = shared.submit(LINES)
    steps = live_through(shared, uid)
    job = shared.job(uid)
    assert job.status.phase is Phase.SUCCEEDED and len(job.status.attempts) == 1, (steps, job.status)
    assert shared.log(uid) == ALL and job.status.log.complete and job.status.log.size == len(ALL)
    assert [(file.path, file.size) for file in job.status.outputs.files] == [("made", 4)]
    shared.once()
    shared.limit(running_jobs=1)
    assert shared.at_once() == 1, "what ended holds nothing"
    wanted = {"POST secrets", "POST jobs", "PATCH secrets/*", "DELETE jobs/*"}
    assert not {step for step in wanted if not any(done.startswith(f"after {step}") for done in steps)}, steps
    assert len(steps) >= 12, steps


@pytest.mark.soak
def test_a_server_that_is_killed_at_every_step_cancels_a_job_once(shared: World) -> None:
    uid = shared.submit("print('up', flush=True)\nimport time\ntime.sleep(100)")
    steps = live_through(shared, uid, cancel_at="up")
    job = shared.job(uid)
    assert job.status.phase is Phase.CANCELLED and len(job.status.attempts) == 1, (steps, job.status)
    assert "enough" in job.status.message and shared.log(uid).startswith(b"up\n") and job.status.log.complete
    shared.once()
    assert any("DELETE pods" in step for step in steps), steps


@pytest.mark.parametrize("skew", [120, pytest.param(-120, marks=pytest.mark.soak)])
def test_a_server_whose_clock_is_two_minutes_off_tells_the_same_truth(
    cluster: Cluster, namespace: str, tmp_path: Path, skew: int
) -> None:
    bring_image(cluster)
    data = b"a,b\n1,2\n"
    digest = hashlib.sha256(data).hexdigest()
    with world(cluster, namespace, tmp_path, startup_seconds=60) as shared:
        shared.limit(running_jobs=2)
        shared.store.put(f"blobs/ada/{digest}", data)
        server = shared.server(skew=skew)
        server.until_it_leads()
        inputs = [{"type": "upload", "digest": f"sha256:{digest}", "path": "in.csv"}]
        read = shared.submit(f"{LINES}\nprint(open('in.csv').read())", inputs=inputs)
        late = shared.submit("import time\ntime.sleep(60)", timeLimitSeconds=4)
        third = shared.submit("print('third')")
        whole, limited, last = shared.ended(read, late, third)
        assert whole.status.phase is Phase.SUCCEEDED, (whole.status, server.said[-3000:])
        assert shared.log(read) == ALL + data + b"\n" and whole.status.log.complete
        assert limited.status.reason == "TimeLimit", limited.status
        assert last.status.phase is Phase.SUCCEEDED and shared.log(third) == b"third\n"
        for job in (whole, limited, last):
            [attempt] = job.status.attempts
            assert attempt.start and attempt.end and 0 <= (attempt.end - attempt.start).total_seconds() < 60
        shared.once()
