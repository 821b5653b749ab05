"""One admission pass: order, limits, capacity, and the words for waiting."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_trainjob.scheduling import explain
from jupyter_trainjob.scheduling.decide import decide, order
from jupyter_trainjob.scheduling.estimate import latest_starts
from jupyter_trainjob.scheduling.explain import Explanation, duration, explain_all, explain_one
from jupyter_trainjob.scheduling.model import (
    GATE_REMEDIES,
    REMEDIES,
    ActiveView,
    Amount,
    Budget,
    Ceiling,
    NodeView,
    PodView,
    QueuedView,
    QueueView,
    Scope,
    SharedView,
    Snapshot,
)

GIB = 2**30


def job(
    uid: str, *, owner: str = "ada", queue: str = "q", cpu: int = 1000, memory: int = GIB, **rest: object
) -> QueuedView:
    return QueuedView(uid, owner, queue, Amount(1, cpu, memory, 0), **{"since": 0.0, **rest})  # type: ignore[arg-type]


def running(
    uid: str, *, owner: str = "ada", queue: str = "q", cpu: int = 1000, node: str = "n1", limit: int = 60
) -> ActiveView:
    return ActiveView(uid, owner, queue, "local", node, Amount(1, cpu, GIB, 0), 0.0, limit)


def snapshot(
    queued: list[QueuedView],
    active: list[ActiveView] | None = None,
    *,
    queues: list[QueueView] | None = None,
    nodes: list[NodeView] | None = None,
) -> Snapshot:
    views = queues or [QueueView("q", "local")]
    return Snapshot(
        7,
        {view.name: view for view in views},
        tuple(nodes if nodes is not None else [NodeView("local", "n1", Amount(0, 2000, 8 * GIB))]),
        tuple(queued),
        tuple(active or []),
    )


def admitted(view: Snapshot) -> list[str]:
    return [admission.uid for admission in decide(view).admissions]


def test_priority_goes_first_then_time_then_uid() -> None:
    jobs = [job("c", since=1), job("a", since=2), job("b", since=2), job("p", since=9, priority=5)]
    assert [item.uid for item in order(jobs)] == ["p", "c", "a", "b"]


def test_admits_up_to_the_size_of_the_node() -> None:
    assert admitted(snapshot([job(name, since=n) for n, name in enumerate("abc")])) == ["a", "b"]


def test_a_big_job_at_the_head_is_not_overtaken_by_small_ones() -> None:
    view = snapshot([job("big", cpu=2000), job("small", since=1)], [running("r")])
    decision = decide(view)
    assert decision.admissions == ()
    assert [waiting.position for waiting in decision.waiting] == [1, 2]
    assert "the machine has 1 of 2 CPUs free, the job needs 2" in decision.waiting[0].blocker.message
    behind = decision.waiting[1].blocker.to_dict()
    assert (behind["scope"], behind["limit"], behind["requested"]) == ("order", "cpu", "1")
    assert behind["remedy"] == "Wait: the jobs ahead come first."


def test_two_nodes_of_four_are_not_one_of_eight() -> None:
    nodes = [NodeView("local", name, Amount(0, 4000, 8 * GIB)) for name in ("n1", "n2")]
    assert admitted(snapshot([job("wide", cpu=8000)], nodes=nodes)) == []


def test_best_fit_keeps_the_empty_node_whole() -> None:
    nodes = [NodeView("local", name, Amount(0, 4000, 8 * GIB)) for name in ("n1", "n2")]
    decision = decide(
        snapshot([job("a"), job("b", cpu=4000, since=1)], [running("r", cpu=1000, node="n2")], nodes=nodes)
    )
    assert [(item.uid, item.node) for item in decision.admissions] == [("a", "n2"), ("b", "n1")]


def test_what_each_job_takes_beside_itself_is_counted_but_for_the_first() -> None:
    each = Amount(0, 100, GIB)
    node = NodeView("local", "n1", Amount(0, 3900, 64 * GIB), each)
    jobs = [job(name, since=n) for n, name in enumerate("abcd")]
    assert admitted(snapshot(jobs, nodes=[node])) == ["a", "b", "c"]
    assert admitted(snapshot([job("all", cpu=3900)], nodes=[node])) == ["all"]
    assert admitted(snapshot([job("a", cpu=2800)], [running("r")], nodes=[node])) == ["a"]
    assert admitted(snapshot([job("a", cpu=2801)], [running("r")], nodes=[node])) == []
    tight = NodeView("local", "n1", Amount(0, 64000, 3 * GIB), each)
    assert admitted(snapshot(jobs, nodes=[tight])) == ["a", "b"]


def test_a_node_takes_so_many_jobs_and_no_more() -> None:
    node = NodeView("local", "n1", Amount(0, 9000, 64 * GIB), jobs=2)
    decision = decide(snapshot([job("a"), job("b", since=1)], [running("r")], nodes=[node]))
    assert [item.uid for item in decision.admissions] == ["a"]
    assert decision.waiting[0].blocker.message == "the machine takes 2 jobs at once, and runs as many"


def test_a_node_for_gpus_is_left_to_those_who_ask_for_some() -> None:
    nodes = [NodeView("local", "gpu", Amount(0, 8000, 64 * GIB, 2), gpu_only=True)]
    assert admitted(snapshot([job("a")], nodes=nodes)) == []
    wanted = QueuedView("g", "ada", "q", Amount(1, 1000, GIB, 1), 0.0)
    assert admitted(snapshot([wanted], nodes=nodes)) == ["g"]


def test_one_users_limit_does_not_hold_back_the_others() -> None:
    queues = [QueueView("q", "local", per_user=Ceiling(jobs=1))]
    view = snapshot([job("a"), job("b", since=1), job("c", owner="bob", since=2)], queues=queues)
    decision = decide(view)
    assert [item.uid for item in decision.admissions] == ["a", "c"]
    assert decision.waiting[0].blocker.to_dict() == {
        "limit": "runningJobs",
        "scope": "user",
        "queue": "q",
        "requested": "1",
        "used": "1",
        "maximum": "1",
        "message": "queue q allows you 1 running job and you have 1",
        "remedy": "Wait until jobs of yours in this queue end, or cancel one.",
    }


@pytest.mark.parametrize(
    ("limits", "per_user", "message"),
    [
        (Ceiling(jobs=1), Ceiling(), "queue q allows 1 running job and has 1"),
        (Ceiling(jobs=0), Ceiling(), "queue q allows 0 running jobs and has 1"),
        (Ceiling(cpu_millis=1000), Ceiling(), "queue q allows 1 CPU and its jobs use 1"),
        (Ceiling(cpu_millis=1500), Ceiling(), "queue q allows 1500m CPUs and its jobs use 1"),
        (Ceiling(memory_bytes=GIB), Ceiling(), "queue q allows 1Gi memory and its jobs use 1Gi"),
        (Ceiling(gpu=0), Ceiling(), "queue q allows 0 GPUs and its jobs use 0"),
        (Ceiling(), Ceiling(jobs=1), "queue q allows you 1 running job and you have 1"),
        (Ceiling(), Ceiling(cpu_millis=1000), "queue q allows you 1 CPU and you use 1"),
        (Ceiling(), Ceiling(memory_bytes=GIB), "queue q allows you 1Gi memory and you use 1Gi"),
    ],
)
def test_a_reached_limit_says_which_and_how_much(limits: Ceiling, per_user: Ceiling, message: str) -> None:
    queues = [QueueView("q", "local", limits=limits, per_user=per_user)]
    wants = QueuedView("a", "ada", "q", Amount(1, 1000, GIB, 1), 0.0)
    (waiting,) = decide(snapshot([wants], [running("r")], queues=queues)).waiting
    assert waiting.blocker.message == message


def test_a_full_machine_says_what_is_free_of_how_much() -> None:
    nodes = [NodeView("local", "n1", Amount(0, 1000, 8 * GIB, 1))]
    (waiting,) = decide(snapshot([job("a")], [running("r")], nodes=nodes)).waiting
    assert waiting.blocker.message == "the machine has 0 of 1 CPU free, the job needs 1"
    (waiting,) = decide(snapshot([job("a", memory=9 * GIB)], nodes=nodes)).waiting
    assert waiting.blocker.message == "the machine has 8Gi of 8Gi memory free, the job needs 9Gi"


def test_a_full_queue_does_not_hold_back_another_queue() -> None:
    queues = [QueueView("q", "local", limits=Ceiling(jobs=1)), QueueView("other", "local")]
    view = snapshot([job("a"), job("b", queue="other", since=1)], [running("r")], queues=queues)
    assert admitted(view) == ["b"]


def test_paused_gone_and_gated_are_told_apart() -> None:
    queues = [QueueView("q", "local", open=False), QueueView("ok", "local")]
    view = snapshot([job("a"), job("b", queue="lost"), job("c", queue="ok", gate="it is on hold")], queues=queues)
    told = {waiting.uid: (waiting.position, waiting.blocker.scope) for waiting in decide(view).waiting}
    assert told == {"a": (1, "paused"), "b": (1, "missing"), "c": (None, "gate")}


def test_no_node_is_said() -> None:
    assert decide(snapshot([job("a")], nodes=[])).waiting[0].blocker.message == "backend local has no node now"


def test_the_latest_start_follows_the_time_limits() -> None:
    view = snapshot(
        [job("a", time_limit_seconds=100), job("b", cpu=2000, since=1)],
        [running("r", limit=60), running("s", limit=40)],
    )
    assert latest_starts(view, 10.0) == {"a": 40.0, "b": 140.0}


def test_waiting_in_words() -> None:
    queues = [QueueView("ml-101", "local", limits=Ceiling(jobs=2))]
    active = [running(uid, queue="ml-101", limit=370) for uid in "rs"]
    told = explain_all(
        snapshot([job(uid, queue="ml-101", since=n) for n, uid in enumerate("ab")], active, queues=queues), 10.0
    )
    assert told["a"].waiting_for == "Queue ml-101 allows 2 running jobs and has 2; at the latest in about 6 min."
    assert told["b"].position == 2
    assert "1 job is ahead" in told["b"].waiting_for


def test_a_dry_run_is_explained_without_being_there() -> None:
    view = snapshot([], [running("r"), running("s")])
    assert explain_one(view, job("new"), 0.0).position == 1
    assert view.queued == ()


def test_far_down_a_queue_a_dry_run_goes_by_the_pace_of_its_like(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told no start of a job that something else binds: whose owner has a budget left, say."""
    monkeypatch.setattr(explain, "MAX_STARTS", 3)
    one = Ceiling(jobs=1)
    ahead = [job(f"b{number}", owner="bob", since=1.0 + number, time_limit_seconds=60) for number in range(4)]
    mine = job("~", since=9.0, time_limit_seconds=60)

    def told(queue: QueueView, queued: list[QueuedView] = ahead, owner: str = "ada") -> Explanation:
        view = snapshot(queued, [running("r", owner="bob", limit=120)], queues=[queue])
        asked = replace(mine, owner=owner)
        found = explain_one(view, asked, 60.0)
        assert found.estimated_start is None
        if not explain.lacks_estimate(view, asked, found):
            return found
        return explain.behind(view, asked, found, explain_all(view, 60.0), 60.0)

    last = told(QueueView("q", "local", limits=one), owner="bob")
    assert last.estimated_start is not None
    assert last.estimated_start.timestamp() > 120 + 3 * 60, "after the last of those before it"
    assert last.waiting_for.endswith("4 jobs are ahead; at the latest in about 5 min.")
    hour = Budget(60_000, 3600)
    for queue in (
        QueueView("q", "local", limits=one, per_user_budget=hour),
        QueueView("q", "local", limits=one, budget=hour),
        QueueView("q", "local", limits=one, open=False),
    ):
        found = told(queue)
        assert (found.estimated_start, "latest" in found.waiting_for) == (None, False)
    own = QueueView("q", "local", per_user=one)
    eve = running("e", owner="ada", limit=600)
    view = snapshot(ahead, [running("r", owner="bob"), eve], queues=[own])
    found = explain_one(view, mine, 30.0)
    assert explain.lacks_estimate(view, mine, found), found
    assert explain.behind(view, mine, found, explain_all(view, 30.0), 30.0) == found, "bob's pace is not ada's"


def test_durations() -> None:
    assert [duration(value) for value in (0, 45, 360, 7200, 90 * 3600)] == ["1 s", "45 s", "6 min", "2 h", "4 d"]


jobs_strategy = st.lists(
    st.builds(
        QueuedView,
        uid=st.uuids().map(str),
        owner=st.sampled_from(["ada", "bob", "eve"]),
        queue=st.sampled_from(["q", "r"]),
        need=st.builds(Amount, st.just(1), st.integers(1, 4000), st.integers(1, 4 * GIB), st.integers(0, 1)),
        since=st.floats(0, 100),
        priority=st.integers(-2, 2),
        gate=st.sampled_from(["", "", "held"]),
    ),
    max_size=30,
    unique_by=lambda view: view.uid,
)
ceilings = st.builds(
    Ceiling,
    st.none() | st.integers(0, 5),
    st.none() | st.integers(0, 8000),
    st.none() | st.integers(0, 8 * GIB),
    st.none(),
)


@settings(max_examples=200, deadline=None)
@given(jobs_strategy, ceilings, ceilings, st.integers(1, 3))
def test_every_limit_holds_and_every_job_is_admitted_or_explained(
    jobs: list[QueuedView], limits: Ceiling, per_user: Ceiling, nodes: int
) -> None:
    queues = [QueueView("q", "local", limits=limits, per_user=per_user), QueueView("r", "local")]
    view = snapshot(
        jobs, queues=queues, nodes=[NodeView("local", f"n{n}", Amount(0, 4000, 8 * GIB, 1)) for n in range(nodes)]
    )
    decision = decide(view)
    by_uid = {item.uid: item for item in jobs}
    assert sorted(by_uid) == sorted([a.uid for a in decision.admissions] + [w.uid for w in decision.waiting])
    queue_use: dict[str, Amount] = {}
    user_use: dict[tuple[str, str], Amount] = {}
    node_use: dict[str, Amount] = {}
    for admission in decision.admissions:
        item = by_uid[admission.uid]
        assert not item.gate
        queue_use[item.queue] = queue_use.get(item.queue, Amount()) + item.need
        user_use[item.queue, item.owner] = user_use.get((item.queue, item.owner), Amount()) + item.need
        node_use[admission.node] = node_use.get(admission.node, Amount()) + item.need
    assert limits.exceeded_by(queue_use.get("q", Amount())) is None
    assert all(per_user.exceeded_by(use) is None for (queue, _), use in user_use.items() if queue == "q")
    for use in node_use.values():
        assert use.cpu_millis <= 4000 and use.memory_bytes <= 8 * GIB and use.gpu <= 1
    assert all(waiting.blocker.message for waiting in decision.waiting)
    # The same snapshot gives the same decision, whatever the order it came in.
    assert decide(replace(view, queued=tuple(reversed(view.queued)))) == decision


def test_who_waits_for_what_all_nodes_share_is_told_so_and_not_of_a_node() -> None:
    shared = (SharedView("cpu", 3300, 4000, "the quota class"),)
    each = Amount(0, 100, 0)
    nodes = [
        NodeView("local", name, Amount(0, 1500, 8 * GIB), each, called=f"the node {name}", shared=shared)
        for name in ("n1", "n2")
    ]
    view = snapshot([job("a", cpu=2000)], [running("r", node="n1"), running("s", node="n2")], nodes=nodes)
    waiting = decide(view).waiting[0]
    assert waiting.blocker.message == (
        "the quota class has 1100m of 4 CPUs free, the job needs 2100m (100m of it beside what it asked for)"
    )
    fits = replace(view, queued=(job("a", cpu=1000),))  # as far as the quota goes: it is the nodes that are full
    assert decide(fits).waiting[0].blocker.message.startswith("the node n1 has 400m of 1500m CPUs free")


def test_what_is_admitted_elsewhere_is_handed_over_whatever_room_there_is() -> None:
    queues = [
        QueueView("q", "local"),
        QueueView("k", "local", per_user=Ceiling(jobs=2), local_queue="jobs"),
    ]
    jobs = [job(f"k{n}", queue="k", cpu=64_000, since=float(n)) for n in range(3)]
    mine = job("mine", cpu=2000, since=9.0)
    view = snapshot([*jobs, mine, job("bobs", owner="bob", queue="k", cpu=64_000)], queues=queues)
    assert admitted(view) == ["bobs", "k0", "k1", "mine"]  # what is handed over takes nothing of the node
    told = explain_all(view, 0.0)
    assert told["k0"].waiting_for == "It is about to be handed to Kueue."
    assert told["k2"].waiting_for == "Queue k allows you 2 running jobs and you have 2."
    assert latest_starts(view, 0.0) == {"mine": 0.0}, "what is decided elsewhere can't be foretold here"
    shut = snapshot(jobs, queues=[replace(queues[1], open=False)])
    assert admitted(shut) == []


def test_what_waits_elsewhere_ends_at_no_time() -> None:
    queues = [QueueView("q", "local"), QueueView("k", "local", local_queue="jobs")]
    there = replace(running("k0", queue="k", node=""), waits=True)
    view = snapshot([job("a", cpu=2000)], [there, running("r", limit=60)], queues=queues)
    assert latest_starts(view, 0.0) == {"a": 60.0}
    assert latest_starts(replace(view, active=(there,), nodes=()), 0.0) == {}


def test_every_scope_has_a_remedy() -> None:
    assert set(REMEDIES) == set(get_args(Scope))
    assert all(text.endswith(".") for scope, text in REMEDIES.items() if scope != "gate")
    assert all(text.endswith(".") for text in GATE_REMEDIES.values())


@pytest.mark.parametrize(
    ("above", "kueue", "expected", "told"),
    [
        ({"open": False}, {}, [], "Queue top is paused;"),
        ({"limits": Ceiling(jobs=1)}, {}, ["k0"], "Queue top allows 1 running job and has 1."),
        (
            {},
            {"budget": Budget(120_000, 3600)},
            ["k0"],
            "The budget of queue k has 0.01667 of 0.03333 CPU-hours left, the job may take 0.02778;",
        ),
        (
            {},
            {"per_user_budget": Budget(120_000, 3600)},
            ["k0"],
            "Your budget in queue k has 0.01667 of 0.03333 CPU-hours left, the job may take 0.02778;",
        ),
    ],
)
def test_what_is_admitted_elsewhere_is_bound_by_all_but_nodes(
    above: dict[str, object], kueue: dict[str, object], expected: list[str], told: str
) -> None:
    queues = [
        QueueView("top", "local", **above),  # type: ignore[arg-type]
        QueueView("k", "local", parent="top", local_queue="jobs", **kueue),  # type: ignore[arg-type]
    ]
    jobs = [job(f"k{n}", queue="k", since=float(n), time_limit_seconds=(60, 100)[n]) for n in range(2)]
    view = snapshot(jobs, queues=queues)
    assert admitted(view) == expected
    assert explain_all(view, 0.0)["k1"].waiting_for.startswith(told)


def test_what_waits_elsewhere_holds_its_part_of_every_window_of_a_budget() -> None:
    queues = [QueueView("k", "local", local_queue="jobs", budget=Budget(60_000, 3600))]
    there = replace(running("k0", queue="k", node="", limit=60), waits=True)
    view = snapshot([job("k1", queue="k", since=1, time_limit_seconds=60)], [there], queues=queues)
    assert admitted(replace(view, now=7200.0)) == [], "it may begin at any time"
    assert admitted(replace(view, now=7200.0, active=())) == ["k1"]


def test_a_node_that_holds_more_than_its_size_takes_no_room_of_the_others() -> None:
    """A gang, and what runs in the gap of one that waits, fit on the other node as if that one were not there."""
    nodes = [NodeView("local", "n1", Amount(0, 2000, 8 * GIB)), NodeView("local", "n2", Amount(0, 4000, 8 * GIB))]
    too_much = [running(f"r{n}", cpu=4000) for n in range(2)]
    gang = replace(job("gang", cpu=2000, memory=2), pods=(PodView(2, Amount(0, 1000, 1)),))
    assert admitted(snapshot([gang], too_much, nodes=nodes)) == ["gang"]
    more = replace(gang, need=Amount(1, 6000, 2), pods=(PodView(2, Amount(0, 3000, 1)),))
    (waiting,) = decide(snapshot([more], too_much, nodes=nodes)).waiting
    assert waiting.blocker.message == (
        "its 2 pods of 3 CPUs do not fit on the nodes one by one, which have 4 CPUs free together"
    )
    small = job("small", since=1, time_limit_seconds=30)
    busy = [*too_much, running("s", node="n2")]
    assert admitted(snapshot([job("big", cpu=4000), small], busy, nodes=nodes)) == ["small"]


def test_a_limit_above_two_backends_stops_nobody_of_the_other_by_mistake() -> None:
    """The first on one backend is above the limit; who is next there is none of the other backend's jobs."""
    queues = [
        QueueView("top", "local", limits=Ceiling(memory_bytes=2 * GIB)),
        QueueView("q", "local", parent="top"),
        QueueView("far", "far", parent="top"),
    ]
    nodes = [NodeView("local", "n1", Amount(0, 1000, 8 * GIB)), NodeView("far", "f1", Amount(0, 4000, 8 * GIB))]
    jobs = [job("big", memory=3 * GIB), job("wide", queue="far", cpu=4000, since=1), job("q1", since=2)]
    decision = decide(snapshot(jobs, queues=queues, nodes=nodes))
    assert [(one.uid, one.node) for one in decision.admissions] == [("wide", "f1"), ("q1", "n1")]
