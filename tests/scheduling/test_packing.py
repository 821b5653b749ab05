"""A gang is placed exactly when some assignment of its pods to nodes exists."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_trainjob.scheduling.packing import Kinds, Vector, _Search, never_fits, pack, times

vectors = st.tuples(st.just(1), st.integers(0, 6), st.integers(0, 6), st.integers(0, 2))
bins = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12), st.integers(0, 12), st.integers(0, 3)), max_size=4)
kinds = st.lists(st.tuples(st.integers(1, 3), vectors), min_size=1, max_size=3).filter(
    lambda found: sum(count for count, _ in found) <= 6
)


def brute_force(pods: list[tuple[int, Vector]], free: list[Vector]) -> bool:
    flat = [need for count, need in pods for _ in range(count)]
    for places in product(range(len(free)), repeat=len(flat)):
        left = [list(room) for room in free]
        for place, need in zip(places, flat, strict=True):
            for index in range(4):
                left[place][index] -= need[index]
        if all(value >= 0 for room in left for value in room):
            return True
    return False


@settings(max_examples=400, deadline=None)
@given(kinds, bins)
def test_as_brute_force_for_up_to_four_nodes(pods: list[tuple[int, Vector]], free: list[Vector]) -> None:
    found = pack([(count, [need] * len(free)) for count, need in pods], free)
    assert (found is not None) == brute_force(pods, free)
    if found is not None:
        left = [list(room) for room in free]
        for place, kind, some in found:
            for index in range(4):
                left[place][index] -= some * pods[kind][1][index]
        assert all(value >= 0 for room in left for value in room)
        for kind, (count, _) in enumerate(pods):
            assert sum(some for _, which, some in found if which == kind) == count


def test_eight_cpus_on_two_nodes_of_four() -> None:
    free = [(9, 4, 9, 0)] * 2
    assert pack([(1, [(1, 8, 1, 0)] * 2)], free) is None
    assert pack([(2, [(1, 4, 1, 0)] * 2)], free) == [(0, 0, 1), (1, 0, 1)]
    assert times((1, 3, 0, 0), (9, 7, 0, 0)) == 2


def test_several_kinds_are_searched() -> None:
    # Greedy by kind fails here: the two of 3 must not share the node of 6 that the one of 6 needs.
    free = [(9, 6, 9, 0), (9, 3, 9, 0), (9, 3, 9, 0)]
    found = pack([(2, [(1, 3, 1, 0)] * 3), (1, [(1, 6, 1, 0)] * 3)], free)
    assert found is not None and (0, 1, 1) in found


@settings(max_examples=200, deadline=None)
@given(kinds, bins)
def test_what_is_said_never_to_fit_never_does(pods: list[tuple[int, Vector]], free: list[Vector]) -> None:
    shaped = [(count, [need] * len(free)) for count, need in pods]
    assert never_fits(shaped, free) == (pack(shaped, free) is None), "so few pods are always decided"


def searched(kinds: Kinds, free: list[Vector]) -> tuple[bool, _Search]:
    search = _Search(kinds, free)
    return search.run() is not None, search


@pytest.mark.parametrize("count", [8, 10_000])
def test_many_kinds_that_fit_are_placed_at_once(count: int) -> None:
    kinds = [(count, [(1, 1, 2**20, 0)])] * 64
    found, search = searched(kinds, [(10**6, 10**6, 2**40, 0)])
    assert found
    assert search.steps <= 200


def test_a_search_ends_after_so_many_steps_and_then_nothing_is_said() -> None:
    # 64 kinds of which each fits alone, and all together by the sums, and no two pods of which share a bin.
    free = [(10**6, 5, 100, 0)] * 500
    kinds = [(8, [(1, 3, 1 + kind % 7, 0)] * 500) for kind in range(64)]
    assert pack(kinds, free) is None
    found, search = searched(kinds, free)
    assert not found and not search.decided
    assert search.steps <= search.most + 64, "each step is counted, also those that only make choices"
    assert len(search.vain) <= search.most
    assert not never_fits(kinds, free), "what was not decided is not refused"


def test_more_together_than_there_is_is_told_without_a_search() -> None:
    free = [(10**6, 4, 100, 0), (10**6, -8, 100, 0)]
    kinds = [(1, [(1, 3, 1, 0)] * 2), (1, [(1, 2, 1, 0)] * 2)]
    assert never_fits(kinds, free)
    assert not never_fits(kinds, [(10**6, 5, 100, 0), (10**6, -8, 100, 0)])


def test_more_nodes_than_functions_may_call_each_other() -> None:
    free = [(10, 3, 9, 0)] * 3000
    found = pack([(1500, [(1, 2, 1, 0)] * 3000), (1500, [(1, 3, 1, 0)] * 3000)], free)
    assert found is not None and len(found) == 3000
