"""A server looks for garbage less often, unless somebody has set how often it does."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from jupyter_trainjob.controllers import garbage


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize("before", [(0, 10, 10), (30_000, 5, 5)])
def test_what_somebody_has_set_stays(before: tuple[int, int, int]) -> None:
    gc.set_threshold(*before)
    garbage.calm()
    assert gc.get_threshold() == before


def test_it_looks_less_often_and_still_finds_what_refers_to_itself() -> None:
    gc.set_threshold(700, 10, 10)
    garbage.calm()
    assert gc.get_threshold() == garbage.THRESHOLDS
    gone = 0

    class Circle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            nonlocal gone
            gone += 1

    kept = [Circle() for _ in range(2 * garbage.THRESHOLDS[0])]
    kept.clear()
    kept = [Circle() for _ in range(2 * garbage.THRESHOLDS[0])]
    assert gone > 0
