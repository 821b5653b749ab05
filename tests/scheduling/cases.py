"""Random snapshots: small trees, few users, all policies on."""

from __future__ import annotations

from hypothesis import strategies as st

from jupyter_trainjob.scheduling.model import (
    UNLIMITED,
    ActiveView,
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
OWNERS = ["ada", "bob", "eve", "ada" + UNLIMITED]
TREE = {"root": "", "a": "root", "a1": "a", "a2": "a", "b": "root", "c": "root", "d": "a", "old": ""}
LEAVES = ["a", "a1", "a2", "b", "b", "c", "d"]

maybe_jobs = st.builds(
    Ceiling,
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 8).map(lambda n: n * 1000),
    st.none() | st.integers(2, 8),
    st.none() | st.none() | st.integers(0, 2),
)
guarantees = st.just(Ceiling()) | st.builds(
    Ceiling,
    st.none(),
    st.none() | st.integers(1, 4).map(lambda n: n * 1000),
    st.none() | st.integers(0, 4),
    st.none() | st.integers(0, 2),
)
budgets = st.none() | st.builds(Budget, st.integers(1, 400).map(lambda n: n * 1000), st.sampled_from([50, 200]))


@st.composite
def queues(draw: st.DrawFn) -> dict[str, QueueView]:
    """root → a (→ a1, a2, d), b, c. ``c`` is of another backend, ``d`` is Kueue's; ``old`` has what was there."""
    found = {"old": QueueView("old", "k")}
    for name, parent in TREE.items():
        if name == "old":
            continue
        found[name] = QueueView(
            name,
            "m" if name == "c" else "k",
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
            local_queue="theirs" if name == "d" else "",
        )
    return found


@st.composite
def jobs(draw: st.DrawFn, uid: str, since: float) -> QueuedView:
    count = draw(st.sampled_from([1, 1, 1, 2]))
    cpu = draw(st.sampled_from([500, 1000, 1000, 2000, 3000]))
    memory = draw(st.sampled_from([0, 1, 1, 2, 3]))
    gpu = draw(st.sampled_from([0, 0, 0, 1, 2])) if count == 1 else 0
    gate = draw(st.sampled_from([""] * 14 + ["it is on hold"]))
    return QueuedView(
        uid,
        draw(st.sampled_from(OWNERS)),
        draw(st.sampled_from(LEAVES)),
        Amount(1, cpu * count, memory * count, gpu),
        since,
        draw(st.sampled_from([0, 0, 0, 1])),
        draw(st.sampled_from([10, 30, 90])),
        gate,
        (PodView(count, Amount(0, cpu, memory)),) if count > 1 else (),
        draw(st.booleans()),
        draw(st.sampled_from([0.0] * 9 + [5.0])),
    )


sizes = st.builds(
    lambda cpu, memory, gpu: Amount(0, cpu * 1000, memory, gpu), st.integers(1, 4), st.integers(1, 6), st.integers(0, 2)
)


@st.composite
def nodes(draw: st.DrawFn) -> tuple[NodeView, ...]:
    """Up to three of ``k``, one of ``m``."""
    found = draw(st.lists(sizes, min_size=1, max_size=3))
    theirs = [NodeView("m", "m0", draw(sizes))]
    return tuple([NodeView("k", f"n{index}", size) for index, size in enumerate(found)] + theirs)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Nothing runs yet, but perhaps one that a node has become too small for."""
    count = draw(st.integers(1, 9))
    waiting = tuple(draw(jobs(f"j{number}", float(draw(st.integers(0, 200))))) for number in range(count))
    there = draw(nodes())
    active: tuple[ActiveView, ...] = ()
    if draw(st.booleans()) and len(there) > 2:
        need = there[0].size + Amount(1, 2000, 1)
        active = (ActiveView("over", "old", "old", "k", "n0", need, 190.0, draw(st.sampled_from([20, 300]))),)
    return Snapshot(1, draw(queues()), there, waiting, active, 200.0, POLICY)
