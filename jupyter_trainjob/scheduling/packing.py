"""Whether a gang's pods fit on nodes one by one, and where each goes. All of them, or none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Vector = tuple[int, int, int, int]
"""Pods, thousandths of a CPU, bytes, GPUs."""
Packing = list[tuple[int, int, int]]
"""Bin, type of pod, how many."""

MAX_STEPS = 20_000
"""A search that takes more gives up: only with many nodes and several kinds of pods in one job can it come so far."""


def times(need: Vector, free: Vector) -> int:
    """How often ``need`` goes into ``free``."""
    # Asked for every node that changed, so no loop.
    least = free[0] // need[0]
    if need[1] and (fit := free[1] // need[1]) < least:
        least = fit
    if need[2] and (fit := free[2] // need[2]) < least:
        least = fit
    if need[3] and (fit := free[3] // need[3]) < least:
        least = fit
    return least if least > 0 else 0


def pack(kinds: Sequence[tuple[int, Sequence[Vector]]], free: Sequence[Vector]) -> Packing | None:
    """Put ``count`` pods of each kind into the bins, or None where they don't fit.

    ``kinds``: count, and what one such pod takes in each bin (a bin that must not have it: more than all). One kind is
    exact and takes one look at each bin; several are searched, exactly up to :data:`MAX_STEPS`.
    """
    if len(kinds) == 1:
        return _pack_equal(kinds[0][0], kinds[0][1], free)
    for index, (count, needs) in enumerate(kinds):
        if _pack_equal(count, needs, free, index) is None:
            return None
    return _Search(kinds, free).run()


def _pack_equal(count: int, needs: Sequence[Vector], free: Sequence[Vector], kind: int = 0) -> Packing | None:
    found = spread(count, [(-min(count, times(needs[index], room)), index) for index, room in enumerate(free)])
    return None if found is None else [(index, kind, taken) for index, taken in found]


def spread(count: int, rooms: Iterable[tuple[int, int]]) -> list[tuple[int, int]] | None:
    """Bins for ``count`` equal pods, and how many go into each: those with most room first. ``rooms``: less the room
    (more than ``count`` is as good as ``count``), and the bin.
    """
    found = []
    for room, index in sorted(rooms):
        if count == 0 or room == 0:
            break
        taken = min(-room, count)
        found.append((index, taken))
        count -= taken
    return found if count == 0 else None


class _Search:
    """Bin after bin, each filled as much as may be, remembering what was tried in vain."""

    def __init__(self, kinds: Sequence[tuple[int, Sequence[Vector]]], free: Sequence[Vector]) -> None:
        self.needs = [needs for _, needs in kinds]
        self.counts = tuple(count for count, _ in kinds)
        self.free = free
        # Roomy bins first: what fits at all is found soon.
        self.bins = sorted(range(len(free)), key=lambda index: (-free[index][1], -free[index][2], index))
        self.vain: set[tuple[int, tuple[int, ...]]] = set()
        self.steps = 0

    def run(self) -> Packing | None:
        """The first packing that is found."""
        return self._fill(0, self.counts)

    def _fill(self, place: int, left: tuple[int, ...]) -> Packing | None:
        if not any(left):
            return []
        self.steps += 1
        if place == len(self.bins) or (place, left) in self.vain or self.steps > MAX_STEPS:
            return None
        index = self.bins[place]
        for taken in self._choices(index, left, 0, self.free[index]):
            rest = self._fill(place + 1, tuple(have - some for have, some in zip(left, taken, strict=True)))
            if rest is not None:
                return [(index, kind, some) for kind, some in enumerate(taken) if some] + rest
        self.vain.add((place, left))
        return None

    def _choices(self, index: int, left: tuple[int, ...], kind: int, room: Vector) -> list[tuple[int, ...]]:
        need = self.needs[kind][index]
        most = min(left[kind], times(need, room))
        if kind == len(left) - 1:
            return [(most,)]  # one more of the last kind is never worse
        found = []
        for some in range(most, -1, -1):
            rest = (
                room[0] - some * need[0],
                room[1] - some * need[1],
                room[2] - some * need[2],
                room[3] - some * need[3],
            )
            found += [(some, *below) for below in self._choices(index, left, kind + 1, rest)]
        return found
