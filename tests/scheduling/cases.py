"""Random snapshots: small trees, few users, all policies on."""

from __future__ import annotations

from hypothesis import strategies as st

from jupyter_trainjob.scheduling.model import (
    Amount,
    Budget,
    Ceiling,
    NodeView,
    PodView,
    Policy,
    QueuedView,
    QueueView,
    Snapshot,
)

POLICY = Policy(half_life_seconds=500.0, window_seconds=20.0, ageing_seconds=60.0)
OWNERS = ["ada", "bob", "eve"]
LEAVES = ["a", "a1", "a2", "b"]

maybe_jobs = st.builds(Ceiling, st.none() | st.integers(1, 4), st.none() | st.integers(1, 8).map(lambda n: n * 1000))
guarantees = st.just(Ceiling()) | st.builds(Ceiling, st.none(), st.integers(1, 4).map(lambda n: n * 1000))
budgets = st.none() | st.builds(Budget, st.integers(1, 400).map(lambda n: n * 1000), st.sampled_from([50, 200]))


@st.composite
def queues(draw: st.DrawFn) -> dict[str, QueueView]:
    """root → a (→ a1, a2), b."""
    found = {}
    for name, parent in (("root", ""), ("a", "root"), ("a1", "a"), ("a2", "a"), ("b", "root")):
        found[name] = QueueView(
            name,
            "k",
            draw(st.sampled_from([True] * 9 + [False])),
            draw(st.just(Ceiling()) | maybe_jobs),
            draw(st.just(Ceiling()) | maybe_jobs),
            parent=parent,
            weight=draw(st.integers(1, 3)),
            shares=draw(st.dictionaries(st.sampled_from(OWNERS), st.integers(1, 3), max_size=2)),
            guaranteed=draw(guarantees),
            reclaim=draw(st.booleans()),
            budget=draw(budgets),
            per_user_budget=draw(budgets),
            top_priority=draw(st.integers(0, 1)),
        )
    return found


@st.composite
def jobs(draw: st.DrawFn, uid: str, since: float) -> QueuedView:
    count = draw(st.sampled_from([1, 1, 1, 2]))
    cpu = draw(st.sampled_from([500, 1000, 1000, 2000, 3000]))
    return QueuedView(
        uid,
        draw(st.sampled_from(OWNERS)),
        draw(st.sampled_from(LEAVES)),
        Amount(1, cpu * count, 0, 0),
        since,
        draw(st.sampled_from([0, 0, 0, 1])),
        draw(st.sampled_from([10, 30, 90])),
        "",
        (PodView(count, Amount(0, cpu)),) if count > 1 else (),
        draw(st.booleans()),
        draw(st.sampled_from([0.0] * 9 + [5.0])),
    )


nodes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(
    lambda sizes: tuple(NodeView("k", f"n{index}", Amount(0, size * 1000)) for index, size in enumerate(sizes))
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Nothing runs yet."""
    count = draw(st.integers(1, 9))
    waiting = tuple(draw(jobs(f"j{number}", float(draw(st.integers(0, 200))))) for number in range(count))
    return Snapshot(1, draw(queues()), draw(nodes), waiting, (), 200.0, POLICY)
