"""What the scheduler promises whatever comes: limits, packing, reservations, no starvation, a reason for everyone."""

from __future__ import annotations

import heapq
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_trainjob.scheduling.decide import admit, decide, run
from jupyter_trainjob.scheduling.engine import Engine
from jupyter_trainjob.scheduling.explain import explain_all
from jupyter_trainjob.scheduling.model import (
    UNLIMITED,
    ActiveView,
    Amount,
    Budget,
    Ceiling,
    NodeView,
    PastView,
    QueuedView,
    QueueView,
    Snapshot,
)

from . import cases
from .test_engine import ended, follow


def check_limits(snapshot: Snapshot) -> None:
    """Nothing of all that runs is above any limit, and it all fits on the nodes one by one."""
    use: dict[tuple[str, str], Amount] = {}
    on: dict[str, Amount] = {}
    spent: dict[tuple[str, str], int] = {}
    window_of = {}
    for name, view in snapshot.queues.items():
        window_of[name, ""] = view.budget
    started = [
        (one.queue, one.owner, one.since, one.need.cpu_millis * one.time_limit_seconds) for one in snapshot.active
    ]
    started += [
        (one.queue, one.owner, one.since, round(one.need.cpu_millis * (one.end - one.since))) for one in snapshot.past
    ]
    for active in snapshot.active:
        for node, need in active.places or ((active.node, active.need),):
            on[node] = on.get(node, Amount()) + need
        use[active.queue, active.owner] = use.get((active.queue, active.owner), Amount()) + active.need
        queue = active.queue
        while queue:
            use[queue, ""] = use.get((queue, ""), Amount()) + active.need
            queue = snapshot.queues[queue].parent
    for (queue, owner), amount in use.items():
        view = snapshot.queues[queue]
        if not owner.endswith(UNLIMITED):
            assert (view.per_user if owner else view.limits).exceeded_by(amount) is None
    for node in snapshot.nodes:
        there = on.get(node.name, Amount())
        if all(one.uid != "over" or one.node != node.name for one in snapshot.active):
            assert there.cpu_millis <= node.size.cpu_millis and there.memory_bytes <= node.size.memory_bytes
            assert there.gpu <= node.size.gpu
    for queue, owner, since, cost in started:
        names = [(queue, owner)]
        while queue:
            names.append((queue, ""))
            queue = snapshot.queues[queue].parent
        for name in names:
            view = snapshot.queues[name[0]]
            budget = view.per_user_budget if name[1] else view.budget
            if name[1].endswith(UNLIMITED):
                continue
            if budget is not None and budget.window(since) == budget.window(snapshot.time):
                spent[name] = spent.get(name, 0) + cost
    for (queue, owner), cost in spent.items():
        view = snapshot.queues[queue]
        budget = view.per_user_budget if owner else view.budget
        assert budget is not None and cost <= budget.cpu_milliseconds


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases.snapshots(), st.data())
def test_every_limit_holds_at_every_instant_and_everyone_is_told_why(snapshot: Snapshot, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 6))):
        decision = decide(snapshot)
        told = explain_all(snapshot, snapshot.time)
        assert set(told) == {job.uid for job in snapshot.queued}
        for one in decision.waiting:
            sentence = told[one.uid].waiting_for
            assert told[one.uid].position == one.position
            assert (one.position is None) == (one.blocker.scope == "gate")
            assert sentence.endswith(".") and sentence[0].isupper() and "next look" not in sentence
        for queue in snapshot.queues:
            there = {job.uid for job in snapshot.queued if job.queue == queue and not job.gate}
            places = sorted(one.position or 0 for one in decision.waiting if one.uid in there)
            assert places == list(range(1, len(places) + 1))
        snapshot = follow(snapshot, decision)
        check_limits(snapshot)
        if snapshot.active and data.draw(st.booleans()):
            snapshot = ended(snapshot, data.draw(st.sampled_from([one.uid for one in snapshot.active])))
        snapshot = replace(snapshot, now=snapshot.time + data.draw(st.sampled_from([0.0, 10.0, 60.0])))


flat = st.lists(
    st.builds(
        QueuedView,
        uid=st.uuids().map(str),
        owner=st.sampled_from(cases.OWNERS),
        queue=st.just("q"),
        need=st.sampled_from([500, 1000, 2000, 4000]).map(lambda cpu: Amount(1, cpu)),
        since=st.integers(0, 100).map(float),
        time_limit_seconds=st.sampled_from([10, 50, 200, 1000]),
    ),
    max_size=12,
    unique_by=lambda view: view.uid,
)


@settings(max_examples=100, deadline=None)
@given(
    flat, st.lists(st.tuples(st.sampled_from([1000, 2000]), st.integers(0, 90), st.sampled_from([50, 300])), max_size=4)
)
def test_what_is_backfilled_never_delays_the_reserved_start(
    jobs: list[QueuedView], load: list[tuple[int, int, int]]
) -> None:
    nodes = tuple(NodeView("k", f"n{number}", Amount(0, 4000)) for number in range(2))
    active = tuple(
        ActiveView(f"r{number}", "old", "q", "k", f"n{number % 2}", Amount(1, cpu), float(since), limit)
        for number, (cpu, since, limit) in enumerate(load)
    )
    queue = QueueView("q", "k")
    snapshot = Snapshot(1, {"q": queue}, nodes, tuple(jobs), active, 100.0, cases.POLICY)
    engine = Engine(snapshot)
    while (choice := engine.pick()) is not None:
        before = {machine: engine.held(machine) for machine in engine.machines.values()}
        job = engine.jobs[choice.entry[4]]
        for machine, held in before.items():
            if held is None or choice.entry < held.entry:
                continue  # it comes before the one with the reservation, and may delay it
            machine.start(job.uid, engine.now + job.time_limit_seconds, choice.places)
            assert machine.reservation(held.group, engine.now)[0] <= held.start + 0.01
            machine.end(job.uid, choice.places)
        admit(engine, job, choice.places)
    for node in nodes:
        assert engine.machines["k"].by_name[node.name].cpu >= 0


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(0, 30), st.sampled_from(["wide", "unlucky", "low"]))
def test_nobody_starves(slots: int, phase: int, kind: str) -> None:
    """One job against an endless stream of others that come at once when one starts, of a higher priority or
    smaller.
    """
    policy = cases.POLICY
    queues = {"q": QueueView("q", "k", shares={"ben": 1000} if kind == "unlucky" else {})}
    nodes = (NodeView("k", "n", Amount(0, slots * 1000)),)
    mine = QueuedView("mine", "ada", "q", Amount(1, slots * 1000 if kind == "wide" else 1000), 0.0, 0, 40)
    engine = Engine(Snapshot(1, queues, nodes, (), (), 0.0, policy))
    ends: list[tuple[float, str]] = []
    serial = 0

    def other() -> None:
        nonlocal serial
        serial += 1
        limit = 20 + (phase * serial) % 31
        engine.submit(
            QueuedView(f"o{serial}", "ben", "q", Amount(1, 1000), engine.now, 3 if kind == "low" else 0, limit)
        )

    for _ in range(slots + 2):
        other()
    run(engine)
    for uid, active in engine.active.items():
        heapq.heappush(ends, (active.end, uid))
        other()
    engine.submit(mine)
    while "mine" not in engine.active:
        time, uid = heapq.heappop(ends)
        assert time < 4 * policy.ageing_seconds + 500, "it waits for ever"
        engine.advance(time)
        engine.end(uid, time)
        for admission in run(engine).admissions:
            heapq.heappush(ends, (engine.active[admission.uid].end, admission.uid))
            other()


def test_a_flood_is_charged_inside_one_window() -> None:
    """Without the entry penalty the first user would have all ten slots: both have used nothing when the pass
    begins.
    """
    jobs = [QueuedView(f"a{n}", "ada", "q", Amount(1, 1000), float(n)) for n in range(10)]
    jobs += [QueuedView(f"b{n}", "ben", "q", Amount(1, 1000), 50.0 + n) for n in range(10)]
    view = Snapshot(1, {"q": QueueView("q", "k")}, (NodeView("k", "n", Amount(0, 10_000)),), tuple(jobs), (), 60.0)
    started = [admission.uid for admission in decide(view).admissions]
    assert sum(uid.startswith("a") for uid in started) == 5
    assert started[:4] == ["a0", "b0", "a1", "b1"]


def test_ten_thousand_jobs_gain_nothing_by_their_age() -> None:
    """Two days after a flood only the flood's first job is aged: the newcomer is next."""
    flood = [QueuedView(f"f{n:04}", "ada", "q", Amount(1, 1000), 0.0) for n in range(1000)]
    fresh = QueuedView("fresh", "ben", "q", Amount(1, 1000), 200_000.0)
    nodes = (NodeView("k", "n", Amount(0, 2000)),)
    view = Snapshot(1, {"q": QueueView("q", "k")}, nodes, (*flood, fresh), (), 200_000.0)
    assert [admission.uid for admission in decide(view).admissions] == ["f0000", "fresh"]


def test_an_instructor_moves_a_job_to_the_front() -> None:
    jobs = [QueuedView(f"j{n}", "ada", "q", Amount(1, 1000), float(n), 1) for n in range(3)]
    late = QueuedView("late", "ben", "q", Amount(1, 1000), 9.0, -5, front=10.0)
    later = QueuedView("later", "eve", "q", Amount(1, 1000), 9.0, -5, front=11.0)
    queue = QueueView("q", "k", top_priority=1, limits=Ceiling(jobs=3))
    view = Snapshot(1, {"q": queue}, (NodeView("k", "n", Amount(0, 9000)),), (*jobs, late, later), (), 12.0)
    assert [admission.uid for admission in decide(view).admissions] == ["later", "late", "j0"]


def test_a_paused_queue_pauses_those_below() -> None:
    queues = {"top": QueueView("top", "k", open=False), "q": QueueView("q", "k", parent="top")}
    view = Snapshot(
        1, queues, (NodeView("k", "n", Amount(0, 9000)),), (QueuedView("j", "ada", "q", Amount(1, 1000), 0.0),), ()
    )
    (waiting,) = decide(view).waiting
    assert waiting.blocker.message == "queue top is paused"


def test_queues_in_a_circle_do_not_hang() -> None:
    queues = {"a": QueueView("a", "k", parent="b"), "b": QueueView("b", "k", parent="a")}
    job = QueuedView("j", "ada", "a", Amount(1, 1000), 0.0)
    view = Snapshot(1, queues, (NodeView("k", "n", Amount(0, 9000)),), (job,), ())
    assert len(decide(view).admissions) == 1


def test_what_is_backfilled_spends_no_budget_of_who_waits_for_the_nodes() -> None:
    """The whole budget of ``q`` is what ``big`` needs; its nodes are ``r``'s, and gaps are there for small jobs."""
    queues = {"q": QueueView("q", "k", budget=Budget(4000 * 600, 3600)), "r": QueueView("r", "k")}
    engine = Engine(Snapshot(1, queues, (NodeView("k", "n", Amount(0, 4000)),), (), (), 0.0))
    ends: list[tuple[float, str]] = []
    serial = 0

    def other(queue: str) -> None:
        nonlocal serial
        serial += 1
        limit = 200 if queue == "q" else 3000
        engine.submit(QueuedView(f"{queue}{serial}", queue, queue, Amount(1, 1000), engine.now, 0, limit))

    def start() -> None:
        for admission in run(engine).admissions:
            heapq.heappush(ends, (engine.active[admission.uid].end, admission.uid))
            if admission.uid != "big":
                other(admission.uid[0])

    for _ in range(4):
        other("q")
        other("r")
    start()
    engine.submit(QueuedView("big", "ada", "q", Amount(1, 4000), 0.0, 0, 600))
    while "big" not in engine.active:
        time = min(engine.timers.next(), ends[0][0])
        assert time < 4 * 86400, "it waits for ever"
        engine.advance(max(time, engine.now))
        while ends and ends[0][0] <= time:
            engine.end(heapq.heappop(ends)[1], time)
        start()


def test_a_budget_is_reserved_for_no_job_that_can_never_start() -> None:
    queue = QueueView("q", "k", budget=Budget(60_000, 3600))
    jobs = (
        QueuedView("huge", "ada", "q", Amount(1, 1000, 10), 0.0, 9, 60),
        QueuedView("j", "bob", "q", Amount(1, 1000), 1.0, 0, 60),
    )
    view = Snapshot(1, {"q": queue}, (NodeView("k", "n", Amount(0, 4000)),), jobs, (), 10.0)
    assert [one.uid for one in decide(view).admissions] == ["j"]


def test_who_waits_for_a_reserved_budget_is_told_so() -> None:
    queue = QueueView("q", "k", budget=Budget(3_600_000 * 4, 86400))
    busy = ActiveView("r", "eve", "q", "k", "n", Amount(1, 1000), 0.0, 3600)
    jobs = (
        QueuedView("big", "ada", "q", Amount(1, 4000), 0.0, 9, 2700),
        QueuedView("j", "bob", "q", Amount(1, 1000), 1.0, 0, 60),
    )
    view = Snapshot(1, {"q": queue}, (NodeView("k", "n", Amount(0, 4000)),), jobs, (busy,), 10.0)
    told = {one.uid: one.blocker for one in decide(view).waiting}
    assert told["big"].scope == "node"
    assert (told["j"].scope, told["j"].message) == (
        "order",
        "jobs ahead wait first: the budget of queue q has 0 of 4 CPU-hours left, the job may take 0.01667; "
        "the next begins in 24 h",
    )


def test_the_front_is_before_who_is_aged_and_before_higher_priorities() -> None:
    """It is the queue's first; its queue stands among the others as it did."""
    nodes = (NodeView("k", "n", Amount(0, 4000)),)
    queues = {
        "q": QueueView("q", "k", limits=Ceiling(jobs=1)),
        "other": QueueView("other", "k", limits=Ceiling(jobs=1)),
    }
    late = QueuedView("late", "ben", "q", Amount(1, 1000), 90_000.0, 0, front=90_001.0)
    for before in (
        QueuedView("old", "ada", "q", Amount(1, 1000), 0.0),
        QueuedView("high", "ada", "q", Amount(1, 1000), 89_000.0, 7),
        QueuedView("old", "ben", "q", Amount(1, 1000), 0.0),
    ):
        decision = decide(Snapshot(1, queues, nodes, (before, late), (), 90_002.0))
        assert [one.uid for one in decision.admissions] == ["late"]
    far = QueuedView("far", "eve", "other", Amount(1, 4000), 0.0, 1)
    old = QueuedView("old", "ada", "q", Amount(1, 4000), 0.0)
    view = Snapshot(1, queues, nodes, (far, old, replace(late, need=Amount(1, 4000))), (), 90_002.0)
    assert [one.uid for one in decide(view).admissions] == ["far"], "another queue's aged job of a higher priority"
    assert [(one.uid, one.position) for one in decide(view).waiting] == [("late", 1), ("old", 2)]


def test_a_job_that_can_never_start_keeps_nobody_from_ageing() -> None:
    """The limit was lowered, or the nodes have left, after it was sent: the user's next job ages in its place."""
    nodes = (NodeView("k", "n", Amount(0, 1000)),)
    old = QueuedView("old", "ada", "q", Amount(1, 1000), 10.0, -1)
    fresh = QueuedView("fresh", "ben", "q", Amount(1, 1000), 864_000.0)
    for queue, dead in (
        (QueueView("q", "k"), replace(old, uid="dead", since=0.0, need=Amount(1, 8000))),
        (
            QueueView("q", "k", budget=Budget(4_000_000, 3600)),
            replace(old, uid="dead", since=0.0, time_limit_seconds=9000),
        ),
        (
            QueueView("q", "k", per_user=Ceiling(memory_bytes=5)),
            replace(old, uid="dead", since=0.0, need=Amount(1, 1, 9)),
        ),
    ):
        view = Snapshot(1, {"q": queue}, nodes, (dead, old, fresh), (), 864_000.0)
        (admission,) = decide(view).admissions
        assert (admission.uid, admission.overtook) == ("old", False)


def test_an_approved_job_is_its_owners_use_as_any_other() -> None:
    """The limits of each user are not for it; fair share is: who used the machine all day is not first by it."""
    past = PastView("ada", "q", "k", Amount(1, 4000), 0.0, 50_000.0)
    big = QueuedView("big", "ada" + UNLIMITED, "q", Amount(1, 4000), 50_000.0)
    bobs = QueuedView("bobs", "bob", "q", Amount(1, 1000), 60_000.0)
    nodes = (NodeView("k", "n", Amount(0, 4000)),)
    view = Snapshot(1, {"q": QueueView("q", "k")}, nodes, (big, bobs), (), 60_001.0, past=(past,))
    assert [one.uid for one in decide(view).admissions] == ["bobs"]
