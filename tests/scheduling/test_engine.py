"""The quick decision is the slow one, and the one made bit by bit is the one made anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_trainjob.scheduling import nodes, tree
from jupyter_trainjob.scheduling.decide import decide, run
from jupyter_trainjob.scheduling.engine import Engine
from jupyter_trainjob.scheduling.model import (
    UNLIMITED,
    ActiveView,
    Amount,
    Budget,
    Ceiling,
    Decision,
    NodeView,
    PastView,
    QueuedView,
    QueueView,
    Snapshot,
)

from . import cases
from .naive import naive


def follow(snapshot: Snapshot, decision: Decision) -> Snapshot:
    """The snapshot after the decision's admissions."""
    jobs = {job.uid: job for job in snapshot.queued}
    begun = []
    for admission in decision.admissions:
        job = jobs.pop(admission.uid)
        queue = snapshot.queues[job.queue]
        active = ActiveView(
            job.uid, job.owner, job.queue, queue.backend, admission.node, job.need, snapshot.time,
            job.time_limit_seconds, queue.elsewhere,
        )  # fmt: skip
        how = {"places": admission.places, "preemptible": job.preemptible, "overtook": admission.overtook}
        begun.append(replace(active, **how))  # type: ignore[arg-type]
    return replace(snapshot, queued=tuple(jobs.values()), active=(*snapshot.active, *begun))


def end_of(snapshot: Snapshot, uid: str) -> float:
    (active,) = (one for one in snapshot.active if one.uid == uid)
    return min(snapshot.time, active.since + active.time_limit_seconds)


def ended(snapshot: Snapshot, uid: str) -> Snapshot:
    """The snapshot after that job's end: now, or when its time was over."""
    (active,) = (one for one in snapshot.active if one.uid == uid)
    end = end_of(snapshot, uid)
    past = PastView(active.owner, active.queue, active.backend, active.need, active.since, end, active.overtook)
    rest = tuple(one for one in snapshot.active if one.uid != uid)
    return replace(snapshot, active=rest, past=(*snapshot.past, *(() if active.waits else (past,))))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases.snapshots(), st.data())
def test_every_decision_is_that_of_the_policy_worked_out_slowly(snapshot: Snapshot, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        decision = decide(snapshot)
        assert [(one.uid, one.node, one.overtook) for one in decision.admissions] == naive(snapshot)
        snapshot = follow(snapshot, decision)
        snapshot = replace(snapshot, now=snapshot.time + data.draw(st.sampled_from([0.0, 1.0, 15.0, 70.0])))
        for active in snapshot.active:
            if data.draw(st.booleans()):
                snapshot = ended(snapshot, active.uid)


@pytest.mark.parametrize("few", [False, True])
def test_bit_by_bit_is_as_from_a_fresh_snapshot(few: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a ``few`` needs are as many as thousands are, and logs too short for what happens between looks."""
    if few:
        monkeypatch.setattr(nodes, "MANY", 3)
        monkeypatch.setattr(nodes, "LOG_LENGTH", 4)
        monkeypatch.setattr(tree, "LOG_LENGTH", 3)
    bit_by_bit()


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases.snapshots(), st.data())
def bit_by_bit(snapshot: Snapshot, data: st.DataObject) -> None:
    engine, serial = Engine(snapshot), 0
    for _ in range(data.draw(st.integers(1, 10))):
        decision = run(engine)
        assert decision == decide(snapshot)
        snapshot = follow(snapshot, decision)
        for _ in range(data.draw(st.sampled_from([1, 1, 2, 3]))):
            serial += 1
            snapshot = one_event(engine, snapshot, data, serial)


def one_event(engine: Engine, snapshot: Snapshot, data: st.DataObject, serial: int) -> Snapshot:
    """Something happens, which the engine is told; what is the case then."""
    what = data.draw(st.sampled_from(["end", "end", "end", "submit", "cancel", "change", "begin", "wait", "wait"]))
    if what == "end" and snapshot.active:
        uid = data.draw(st.sampled_from([one.uid for one in snapshot.active]))
        engine.end(uid, end_of(snapshot, uid))
        return ended(snapshot, uid)
    if what == "submit":
        job = data.draw(cases.jobs(f"s{serial}", snapshot.time))
        engine.submit(job)
        return replace(snapshot, queued=(*snapshot.queued, job))
    if what == "cancel" and snapshot.queued:
        uid = data.draw(st.sampled_from([one.uid for one in snapshot.queued]))
        engine.remove(uid)
        return replace(snapshot, queued=tuple(one for one in snapshot.queued if one.uid != uid))
    if what == "change" and snapshot.queued:
        job = data.draw(st.sampled_from(snapshot.queued))
        front, claim = data.draw(st.sampled_from([(0.0, 0.0), (7.0, 0.0), (8.0, 0.0), (0.0, snapshot.time)]))
        other = replace(job, priority=data.draw(st.integers(0, 1)), front=front, claim=claim)
        engine.submit(other)
        return replace(snapshot, queued=tuple(other if one is job else one for one in snapshot.queued))
    if what == "begin" and snapshot.active:
        active = data.draw(st.sampled_from(snapshot.active))
        code = replace(active, begun=snapshot.time, waits=False)
        engine.end(active.uid, active.since, recorded=False)
        engine.begin(code)
        return replace(snapshot, active=tuple(code if one is active else one for one in snapshot.active))
    if what == "wait":
        snapshot = replace(snapshot, now=snapshot.time + data.draw(st.sampled_from([1.0, 9.0, 25.0, 70.0, 150.0])))
        engine.advance(snapshot.time)
    return snapshot


@settings(deadline=None)
@given(st.data())
def test_jobs_of_one_need_start_by_the_places_they_were_told(data: st.DataObject) -> None:
    """Of everyone one after another, by their usage; a user's approved jobs are the user's."""
    owners = st.sampled_from(["ada", "ada" + UNLIMITED, "bob", "bob" + UNLIMITED, "eve"])
    waiting = [
        QueuedView(f"j{number}", data.draw(owners), "q", Amount(1, 1000), float(number), 0, 600)
        for number in range(data.draw(st.integers(2, 12)))
    ]
    queue = QueueView("q", "k", shares={"bob": data.draw(st.integers(1, 3))})
    holds = ActiveView("r", "zoe", "q", "k", "n", Amount(1, 1000), 90.0, 600)
    nodes = (NodeView("k", "n", Amount(0, 1000)),)
    engine = Engine(Snapshot(1, {"q": queue}, nodes, tuple(waiting), (holds,), 100.0))
    told = [one.uid for one in run(engine).waiting]
    started = []
    while engine.active:
        (uid,) = engine.active
        engine.end(uid, engine.now, recorded=False)
        if uid != "r":  # each is charged as the places suppose
            owner = waiting[int(uid[1:])].owner
            engine.count(PastView(owner, "q", "k", Amount(1, 1000), 100.0, 700.0))
        started += [one.uid for one in run(engine).admissions]
    assert started == told


def test_a_waiting_job_gets_another_priority() -> None:
    """One that was not the first of its shape, and comes to a shape that others have already."""

    def job(uid: str, priority: int = 0) -> QueuedView:
        return QueuedView(uid, "ada", "q", Amount(1, 1000), float(ord(uid)), priority)

    queues = {"q": QueueView("q", "k", limits=Ceiling(1))}
    nodes = (NodeView("k", "n", Amount(0, 4000)),)
    waiting = (job("b"), job("d"), job("c", 1))
    engine = Engine(Snapshot(1, queues, nodes, waiting, (), 200.0))
    engine.submit(job("d", 1))
    order = []
    for _ in waiting:
        (admission,) = run(engine).admissions
        order.append(admission.uid)
        engine.end(admission.uid, 200.0)
    assert order == ["c", "d", "b"]


def test_needs_and_users_that_are_gone_are_forgotten() -> None:
    """A server runs for months, and people ask for ``3.5Gi`` today and for ``3.6Gi`` tomorrow."""
    queue = QueueView("q", "k", per_user_budget=Budget(10**9, 50))
    nodes = (NodeView("k", "n", Amount(0, 4000, 10_000)),)
    engine = Engine(Snapshot(1, {"q": queue}, nodes, (), (), 0.0))
    for number in range(300):
        job = QueuedView(f"j{number}", f"user{number}", "q", Amount(1, 1000, number), float(number), 0, 60 + number)
        engine.advance(float(number))
        engine.submit(job)
        if number % 2:
            engine.remove(job.uid)
        else:
            (admission,) = run(engine).admissions
            engine.end(admission.uid, engine.now)
    machine = engine.machines["k"]
    assert (len(machine.groups), machine.everything.memory, machine.everything.dearest) == (0, 0, 0)
    assert len(engine.leaves) == 150, "who had something is known"
    assert all(len(leaf.spent) <= 1 for leaf in engine.leaves.values())
    engine.submit(QueuedView("last", "eve", "q", Amount(1, 1000, 5), 300.0))
    assert [one.uid for one in run(engine).admissions] == ["last"]


def test_who_is_gone_leaves_no_timer_behind() -> None:
    """A budget's window may be a year, and people send and cancel."""
    year = QueueView("q", "k", budget=Budget(10**9, 366 * 86400), per_user_budget=Budget(10**9, 366 * 86400))
    engine = Engine(Snapshot(1, {"q": year}, (NodeView("k", "n", Amount(0, 1000)),), (), (), 0.0))
    for number in range(1000):
        engine.submit(QueuedView("j", f"user{number % 20}", "q", Amount(1, 1000), 0.0))
        engine.remove("j")
    for number in range(300):
        engine.submit(QueuedView(f"k{number}", f"user{number}", "q", Amount(1, 1000), 0.0))
    assert len(engine.leaves) == 300
    assert len(engine.timers) < 2 * 301 + 200
    due = [branch.owner for _, branch in engine.timers.past(366 * 86400)]
    assert sorted(due) == sorted(["", *(f"user{number}" for number in range(300))]), "who is there has a timer"
    assert len(engine.timers) == 0


def test_who_came_and_went_changes_nobodys_share() -> None:
    """Two queues are tied, and in each a user: what each of them used, against all of their queue, is the same."""
    queues = {name: QueueView(name, "k") for name in "ab"}
    nodes = (NodeView("k", "n", Amount(0, 3000)),)
    active = tuple(ActiveView(f"r{name}", f"user-{name}", name, "k", "n", Amount(1, 1000), 0.0) for name in "ab")
    jobs = tuple(
        QueuedView(f"j{name}", f"user-{name}", name, Amount(1, 1000), since)
        for name, since in (("a", 20.0), ("b", 10.0))
    )
    view = Snapshot(1, queues, nodes, jobs, active, 100.0)
    engine = Engine(view)
    engine.submit(QueuedView("new", "newcomer", "b", Amount(1, 1000), 99.0))
    engine.remove("new")
    assert run(engine).admissions == decide(view).admissions
    assert [one.uid for one in decide(view).admissions] == ["jb"]
