"""So many Jobs at once as the cluster keeps up with, in the order in which they came, and none forgotten."""

from __future__ import annotations

import asyncio
import time

import pytest

from jupyter_trainjob.backends.base import AttemptRef
from jupyter_trainjob.backends.kubernetes import lanes
from jupyter_trainjob.backends.kubernetes.lanes import Lanes

pytestmark = pytest.mark.asyncio
REFS = [AttemptRef(f"u{number}", 1) for number in range(20)]


async def until(called: list[AttemptRef], wanted: list[AttemptRef]) -> None:
    deadline = time.monotonic() + 10
    while called != wanted and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert called == wanted


async def test_who_comes_when_all_are_taken_is_called_in_turn() -> None:
    called: list[AttemptRef] = []
    three = Lanes(called.append, 3)
    assert [three.enter(ref) for ref in REFS[:6]] == [True] * 3 + [False] * 3
    assert three.enter(REFS[0])  # it has one
    three.leave(REFS[1])
    assert called == [REFS[3]]
    assert not three.enter(REFS[1])  # others wait for longer
    assert three.enter(REFS[3])
    three.leave(REFS[4])  # nobody wants it any more
    three.leave(REFS[0])
    three.leave(REFS[2])
    assert called == [REFS[3], REFS[5], REFS[1]]
    three.clear()


async def test_one_that_is_being_made_keeps_it_and_one_that_is_not_told_of_leaves_at_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[AttemptRef] = []
    monkeypatch.setattr(lanes, "ENTERED_SECONDS", 0.05)
    monkeypatch.setattr(lanes, "TOLD_SECONDS", 0.05)
    one = Lanes(called.append, 1)
    assert one.enter(REFS[0]) and not one.enter(REFS[1])
    one.keep(REFS[0])
    one.give_up(REFS[0])
    await asyncio.sleep(0.3)
    assert called == []
    one.leave_soon(REFS[0])
    one.give_up(REFS[0])  # it is made: the news of it is waited for
    assert called == []
    await until(called, [REFS[1]])
    for late in (one.leave_soon, one.keep, one.leave, one.give_up):
        late(REFS[5])  # it has none
    assert one.enter(REFS[1]) and not one.enter(REFS[2])
    await until(called, [REFS[1], REFS[2]])  # whoever entered and was never made
    one.clear()


async def test_whoever_gives_up_is_not_called_and_whoever_is_called_and_late_comes_before_newer_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[AttemptRef] = []
    monkeypatch.setattr(lanes, "TURN_SECONDS", 0.05)
    two = Lanes(called.append, 2)
    assert [two.enter(ref) for ref in REFS[:6]] == [True, True, False, False, False, False]
    two.keep(REFS[0])
    two.give_up(REFS[2])
    two.give_up(REFS[1])
    await until(called, [REFS[3], REFS[4], REFS[5]])
    await asyncio.sleep(0.3)  # nobody came for a turn
    assert two.enter(REFS[6]) and not two.enter(REFS[7]) and not two.enter(REFS[4])
    two.give_up(REFS[6])
    assert called[3:] == [REFS[4]]
    assert two.enter(REFS[4])
    two.leave(REFS[4])
    assert called[4:] == [REFS[7]]
    two.clear()
