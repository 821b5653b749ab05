"""What is taken back is the claimant's: nobody ends for it in vain, and nobody ends twice for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_trainjob.scheduling.decide import decide
from jupyter_trainjob.scheduling.model import (
    ActiveView,
    Amount,
    Ceiling,
    Decision,
    NodeView,
    PastView,
    QueuedView,
    QueueView,
    Snapshot,
)

from . import cases
from .test_engine import ended, follow

NODE = (NodeView("k", "n", Amount(0, 4000)),)
USED = PastView("ada", "mine", "k", Amount(1, 4000), -200_000.0, -100_000.0)


def make_room(snapshot: Snapshot, decision: Decision) -> Snapshot:
    """The snapshot after what is to end has ended, and queues again in its old place."""
    for one in decision.preemptions:
        (active,) = (view for view in snapshot.active if view.uid == one.uid)
        snapshot = ended(snapshot, one.uid)
        again = QueuedView(
            active.uid, active.owner, active.queue, active.need, active.since, 0, active.time_limit_seconds,
            preemptible=True,
        )  # fmt: skip
        snapshot = replace(snapshot, queued=(*snapshot.queued, again))
    claimed = {one.wanted_by for one in decision.preemptions}
    queued = (replace(job, claim=snapshot.time) if job.uid in claimed else job for job in snapshot.queued)
    return replace(snapshot, queued=tuple(queued))


def lab(guaranteed: Ceiling, yours: Ceiling, most: int = 0) -> dict[str, QueueView]:
    return {
        "lab": QueueView("lab", "k"),
        "mine": QueueView("mine", "k", parent="lab", guaranteed=guaranteed, reclaim=True),
        "yours": QueueView("yours", "k", parent="lab", guaranteed=yours, top_priority=most),
    }


@pytest.mark.parametrize(
    ("queues", "victim", "need", "priority"),
    [
        pytest.param(lab(Ceiling(cpu_millis=4000), Ceiling()), 4000, 4000, -1, id="a lower priority"),
        pytest.param(lab(Ceiling(cpu_millis=4000), Ceiling(), 10), 4000, 4000, -10, id="a much lower one"),
        pytest.param(lab(Ceiling(cpu_millis=2000), Ceiling(cpu_millis=2000)), 3000, 2000, 0, id="both are owed"),
        pytest.param(lab(Ceiling(cpu_millis=4000, gpu=0), Ceiling()), 4000, 4000, 0, id="no GPU is guaranteed"),
    ],
)
def test_who_makes_room_does_not_take_it_again(
    queues: dict[str, QueueView], victim: int, need: int, priority: int
) -> None:
    running = ActiveView("v", "ben", "yours", "k", "n", Amount(1, victim), 900.0, 3600, preemptible=True)
    claimant = QueuedView("m", "ada", "mine", Amount(1, need), 990.0, priority, 600)
    view = Snapshot(1, queues, NODE, (claimant,), (running,), 1000.0, past=(USED,))
    decision = decide(view)
    assert [(one.uid, one.wanted_by) for one in decision.preemptions] == [("v", "m")]
    view = make_room(view, decision)
    view = replace(view, now=1060.0)
    decision = decide(view)
    assert ([one.uid for one in decision.admissions], decision.preemptions) == (["m"], ())


def test_a_job_that_is_owed_more_is_before_one_that_is_owed_nothing_but_a_name() -> None:
    """Nothing of a thing is no guarantee that one could be short of."""
    queues = lab(Ceiling(cpu_millis=4000, gpu=0), Ceiling())
    jobs = [QueuedView(uid, uid, queue, Amount(1, 4000), 0.0) for uid, queue in (("m", "mine"), ("b", "yours"))]
    view = Snapshot(1, queues, NODE, tuple(jobs), (), 1000.0, past=(USED,))
    assert [one.uid for one in decide(view).admissions] == ["m"]


def test_the_room_of_an_older_claim_is_not_taken_twice() -> None:
    """While the first victim ends its room is the first claimant's: the second gets a victim of its own."""
    queues = lab(Ceiling(cpu_millis=4000), Ceiling())
    loans = tuple(
        ActiveView(f"v{n}", "ben", "yours", "k", "n", Amount(1, 2000), 900.0 + n, 3600, preemptible=True)
        for n in range(2)
    )
    jobs = tuple(QueuedView(f"m{n}", "ada", "mine", Amount(1, 2000), 990.0 + n) for n in range(2))
    view = Snapshot(1, queues, NODE, jobs, loans, 1000.0)
    first = decide(view).preemptions
    assert [(one.uid, one.wanted_by) for one in first] == [("v1", "m0")]
    view = replace(
        view, active=(loans[0], replace(loans[1], ending=True)), queued=(replace(jobs[0], claim=1000.0), jobs[1])
    )
    assert decide(view).preemptions == (), "the first of all waits, and will have room"
    limited = {**queues, "lab": replace(queues["lab"], limits=Ceiling(cpu_millis=4000))}
    view = replace(view, queues=limited, nodes=(NodeView("k", "n", Amount(0, 9000)),))
    for _ in range(2):
        decision = decide(view)
        assert not decision.admissions


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases.snapshots(), st.data())
def test_who_others_end_for_starts_next(snapshot: Snapshot, data: st.DataObject) -> None:
    first = follow(snapshot, decide(snapshot))
    claims = tuple(replace(job, uid=f"c{job.uid}", owner="zoe", since=job.since + 1000) for job in snapshot.queued)
    second = replace(first, queued=(*first.queued, *claims), now=1300.0)
    for _ in range(20):
        decision = decide(second)
        second = follow(second, decision)
        running = {one.uid: one for one in second.active}
        if not decision.preemptions:
            return
        assert all(running[one.uid].preemptible for one in decision.preemptions)
        (wanted,) = {one.wanted_by for one in decision.preemptions}
        second = make_room(second, decision)
        second = replace(second, now=second.time + data.draw(st.sampled_from([0.0, 10.0, 60.0, 300.0])))
        decision = decide(second)
        assert wanted == decision.admissions[0].uid, "it is the first of all"
        second = follow(second, decision)


def test_a_guarantee_is_taken_back_for_the_jobs_of_the_queues_below() -> None:
    """It is the course that has it and reclaims; jobs are sent to its groups."""
    queues = lab(Ceiling(cpu_millis=4000), Ceiling()) | {"group": QueueView("group", "k", parent="mine")}
    running = ActiveView("v", "ben", "yours", "k", "n", Amount(1, 4000), 900.0, 3600, preemptible=True)
    claimant = QueuedView("m", "ada", "group", Amount(1, 4000), 990.0, 0, 600)
    view = Snapshot(1, queues, NODE, (claimant,), (running,), 1000.0)
    assert [(one.uid, one.wanted_by) for one in decide(view).preemptions] == [("v", "m")]
    lends = queues | {"mine": replace(queues["mine"], reclaim=False)}
    assert decide(replace(view, queues=lends)).preemptions == ()
