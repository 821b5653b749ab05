"""Room that is counted node by node as things start and end is what packing everything anew finds."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_trainjob.scheduling.model import NOTHING, Amount, NodeView, PodView, QueuedView
from jupyter_trainjob.scheduling.nodes import MANY, Caps, Group, Machine
from jupyter_trainjob.scheduling.packing import pack, times

NEEDS = [Amount(0, cpu, memory) for cpu in (1, 2, 3) for memory in (0, 1, 2)]
sizes = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 5)), min_size=1, max_size=5)
some_nodes = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 9), st.integers(0, 2), st.none() | st.integers(1, 3)),
    min_size=1,
    max_size=5,
)
steps = st.lists(
    st.tuples(st.booleans(), st.sampled_from(NEEDS), st.integers(0, 4), st.integers(0, 6), st.booleans()), max_size=12
)


def slowly(machine: Machine, group: Group, caps: Caps) -> bool:
    ((count, need),) = group.pods
    free = [caps.get(node, node.free) for node in machine.nodes]
    return pack([(count, [node.takes(need) for node in machine.nodes])], free) is not None


def soonest(machine: Machine, group: Group, now: float) -> float:
    ((count, need),) = group.pods
    takes = [node.takes(need) for node in machine.nodes]
    for time in sorted({now, *(max(now, end) for node in machine.nodes for end, _ in node.ends)}):
        if pack([(count, takes)], [node.free_at(time) for node in machine.nodes]) is not None:
            return time
    return math.inf


@settings(max_examples=300, deadline=None)
@given(sizes, st.sampled_from(NEEDS), st.integers(1, 4), steps)
def test_as_packed_anew(
    shape: list[tuple[int, int, int]], need: Amount, count: int, moves: list[tuple[bool, Amount, int, int, bool]]
) -> None:
    views = [NodeView("k", f"n{i}", Amount(0, cpu, memory), jobs=jobs) for i, (cpu, memory, jobs) in enumerate(shape)]
    machine = Machine("k", views)
    pods = (PodView(count, need),) if count > 1 else ()
    job = QueuedView("j", "ada", "q", Amount(1, need.cpu_millis * count, need.memory_bytes * count), 0.0, pods=pods)
    group = machine.shape(job, 0).group
    running: dict[str, str] = {}
    for serial, (starts, other, node, end, asks) in enumerate(moves):
        name = f"n{node}"
        if starts and node < len(shape) and machine.by_name[name].fits(other):
            running[f"r{serial}"] = name
            machine.start(f"r{serial}", float(end), ((name, other),))
        elif running and not starts:
            uid = sorted(running)[node % len(running)]
            machine.end(uid, ((running.pop(uid), other),))
        if asks:
            check(machine, group, 3.0)
    check(machine, group, 3.0)


def check(machine: Machine, group: Group, now: float) -> None:
    halved = machine.nodes[0]
    capped: Caps = {halved: (halved.free[0], halved.free[1] // 2, halved.free[2], 0)}
    for caps in ({}, capped):
        fits = slowly(machine, group, caps)
        assert machine.fits_beside(group, caps) == fits
        places = machine.place(group, caps)
        assert (places is not None) == fits
        if places is not None:
            assert len(places) == group.pods[0][0]
            for node in machine.nodes:
                here = sum(name == node.name for name, _ in places)
                assert here <= times(node.takes(group.pods[0][1]), caps.get(node, node.free))
    assert machine.fits(group) == slowly(machine, group, {})
    start, held = machine.reservation(group, now)
    assert start == soonest(machine, group, now)
    assert all(value >= 0 for free in held.values() for value in free[1:])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_many_needs_found_by_size_are_those_found_one_by_one(data: st.DataObject) -> None:
    """Whatever starts and ends; with and without a part of a node held back."""
    extra = Amount(0, 100, 1)
    views = [
        NodeView(
            "k",
            f"n{index}",
            Amount(0, cpu * 1000, memory, gpu),
            extra if index % 2 else NOTHING,
            slots,
            gpu_only=index == 3,
        )
        for index, (cpu, memory, gpu, slots) in enumerate(data.draw(some_nodes))
    ]
    machine = Machine("k", views)
    needs = [Amount(1, cpu, memory, gpu) for cpu in (500, 1000, 2000) for memory in range(8) for gpu in (0, 1)]
    groups = [machine.shape(QueuedView(f"j{n}", "ada", "q", need, 0.0), 0).group for n, need in enumerate(needs)]
    assert len(groups) > MANY
    running: list[str] = []
    for step in range(data.draw(st.integers(1, 12))):
        fitting = machine.fitting()
        assert set(fitting) == {group for group in groups if machine.fits(group)}
        node = data.draw(st.sampled_from(machine.nodes))
        caps = {node: tuple(max(0, one // 2) for one in node.free)}
        for group in groups:
            assert group.room is not None
            assert machine.fits_beside(group, caps) == group.room.fits(caps), (group.need, caps)  # type: ignore[arg-type]
        if running and data.draw(st.booleans()):
            uid = running.pop()
            machine.end(uid, ((uid.partition("@")[2], NOTHING),))
        elif fitting:
            group = data.draw(st.sampled_from(sorted(fitting, key=lambda one: one.need)))
            ((there, need),) = machine.place(group) or ()
            running.append(f"r{step}@{there}")
            machine.start(running[-1], 100.0, ((there, need),))
        if data.draw(st.booleans()) and len(groups) > MANY + 1:
            gone = groups.pop(data.draw(st.integers(0, len(groups) - 1)))
            machine.forget(gone)
