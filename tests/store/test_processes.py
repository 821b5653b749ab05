"""Several servers on one record: real processes, racing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from jupyter_trainjob.resources.trainjob import TrainJob
from jupyter_trainjob.store import Store

from .making import job

PROCESSES, ROUNDS = 4, 15
RACING = Path(__file__).with_name("racing.py")


def _start(url: str, number: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(RACING), url, str(number), str(ROUNDS), str(PROCESSES)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _go(racers: list[subprocess.Popen[str]], awaited: str) -> None:
    """Let them all go on once each has said ``awaited``."""
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == f"{awaited}\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()


@pytest.mark.slow
def test_racing_processes_lose_and_double_nothing(url: str) -> None:
    with Store.open(url) as store:
        store.write(lambda w: w.create(job("counter", annotations={"polite": "0", "exclusive": "0"})))
        racers = [_start(url, number) for number in range(PROCESSES)]
        _go(racers, "ready")
        _go(racers, "done")
        told = [json.loads(racer.communicate(timeout=120)[0]) for racer in racers]
        assert [racer.returncode for racer in racers] == [0] * PROCESSES

        won = Counter(name for tale in told for name in tale["won"])
        assert won == Counter({f"name-{turn}": 1 for turn in range(ROUNDS)}), "each name exactly once"
        counter = store.read(lambda r: r.get(TrainJob, "ada", "counter"))
        expected = str(PROCESSES * ROUNDS)
        assert counter.metadata.annotations == {"polite": expected, "exclusive": expected}, "no update lost"
        assert sum(tale["epochs"] for tale in told) == store.read(lambda r: r.scheduler_epoch())

        # 1 counter; per round 1 name, and per process and round 1 generated name and 2 updates; 1 end per process
        total = 1 + ROUNDS + PROCESSES * ROUNDS * 3 + PROCESSES
        feed = store.read(lambda r: r.changes(0, limit=total + 1))
        assert [change.version for change in feed.changes] == list(range(1, total + 1)), "no gap, none twice"
        everything = [[change.version, change.type, change.resource.metadata.name] for change in feed.changes]
        for tale in told:
            assert tale["seen"] == everything[: len(tale["seen"])], "each process saw the same, in the same order"
            assert len(tale["seen"]) >= total - PROCESSES


@pytest.mark.slow
def test_processes_that_open_a_new_record_at_once_make_it_once(url: str) -> None:
    code = "import sys; from jupyter_trainjob.store import Store; s = Store.open(sys.argv[1]); s.close()"
    racers = [subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [racer.communicate(timeout=60)[1] for racer in racers] == [""] * 4
    with Store.open(url) as store:
        assert store.read(lambda r: r.version()) == 0


def test_a_process_killed_in_a_write_leaves_nothing_half_done(url: str) -> None:
    code = """
import os, signal, sys
from jupyter_trainjob.store import Store
sys.path.insert(0, sys.argv[2])
from making import job

def half(writer):
    writer.create(job("half"))
    os.kill(os.getpid(), signal.SIGKILL)

with Store.open(sys.argv[1]) as store:
    store.write(lambda w: w.create(job("whole")))
    store.write(half)
"""
    done = subprocess.run([sys.executable, "-c", code, url, str(RACING.parent)], timeout=60)
    assert done.returncode == -9
    with Store.open(url) as store:
        assert [item.metadata.name for item in store.read(lambda r: r.list(TrainJob)).items] == ["whole"]
        assert store.write(lambda w: w.create(job("next"))).metadata.resource_version == "2"
