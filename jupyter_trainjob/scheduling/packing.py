"""Whether a gang's pods fit on nodes one by one, and where each goes. All of them, or none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

Vector = tuple[int, int, int, int]
"""Pods, thousandths of a CPU, bytes, GPUs."""
Packing = list[tuple[int, int, int]]
"""Bin, type of pod, how many."""
Kinds = Sequence[tuple[int, Sequence[Vector]]]
"""Of each type of pod: how many, and what one takes in each bin (a bin that must not have it: more than all)."""

MAX_STEPS = 20_000
"""A search that takes more (beside one way through all bins) gives up: some 20 ms. Only with several kinds of pods in
one job can it come so far.
"""


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


def pack(kinds: Kinds, free: Sequence[Vector]) -> Packing | None:
    """Put ``count`` pods of each kind into the bins, or None where no way was found.

    One kind is exact and takes one look at each bin; several are searched, exactly up to :data:`MAX_STEPS`: whether
    they really don't fit is what :func:`never_fits` says.
    """
    if len(kinds) == 1:
        return _pack_equal(kinds[0][0], kinds[0][1], free)
    return None if _too_much(kinds, free) else _Search(kinds, free).run()


def never_fits(kinds: Kinds, free: Sequence[Vector]) -> bool:
    """Whether it is certain that they don't fit. False too where :data:`MAX_STEPS` did not suffice to tell."""
    if len(kinds) == 1:
        return _pack_equal(kinds[0][0], kinds[0][1], free) is None
    if _too_much(kinds, free):
        return True
    search = _Search(kinds, free)
    return search.run() is None and search.decided


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


def _too_much(kinds: Kinds, free: Sequence[Vector]) -> bool:
    """Whether one kind alone does not fit, or all together take more than all bins have."""
    if any(_pack_equal(count, needs, free) is None for count, needs in kinds):
        return True
    for part in range(4):
        least = sum(count * min(need[part] for need in needs) for count, needs in kinds)
        if least > sum(max(0, room[part]) for room in free):
            return True
    return False


class _Search:
    """Bin after bin, each filled as much as may be, remembering what was tried in vain.

    Depth first, on a list of its own: there may be more nodes than Python lets functions call each other.
    """

    def __init__(self, kinds: Kinds, free: Sequence[Vector]) -> None:
        self.needs = [needs for _, needs in kinds]
        self.counts = tuple(count for count, _ in kinds)
        self.free = free
        # Roomy bins first: what fits at all is found soon.
        self.bins = sorted(range(len(free)), key=lambda index: (-free[index][1], -free[index][2], index))
        self.vain: set[tuple[int, tuple[int, ...]]] = set()
        self.steps = 0
        self.most = MAX_STEPS + 2 * len(self.needs) * len(self.bins)

    @property
    def decided(self) -> bool:
        """Whether nothing was left out for its length."""
        return self.steps <= self.most

    def run(self) -> Packing | None:
        """The first packing that is found."""
        left = self.counts
        path: list[tuple[tuple[int, ...], Iterator[tuple[int, ...]], tuple[int, ...]]] = []
        ahead = self._of_bin(0, left)
        while self.decided:
            taken = next(ahead, None)
            if taken is None:  # what is left does not fit into this bin and those after it
                self.vain.add((len(path), left))
                if not path:
                    return None
                left, ahead, _ = path.pop()
                continue
            if self._leaves_room(self.bins[len(path)], left, taken):
                continue
            path.append((left, ahead, taken))
            left = tuple(have - some for have, some in zip(left, taken, strict=True))
            if not any(left):
                return [
                    (self.bins[place], kind, some)
                    for place, (_, _, taken) in enumerate(path)
                    for kind, some in enumerate(taken)
                    if some
                ]
            ahead = self._of_bin(len(path), left)
        return None

    def _of_bin(self, place: int, left: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        self.steps += 1
        if place == len(self.bins) or (place, left) in self.vain:
            return iter(())
        index = self.bins[place]
        return self._choices(index, left, 0, self.free[index])

    def _leaves_room(self, index: int, left: tuple[int, ...], taken: tuple[int, ...]) -> bool:
        """Whether one pod more would have gone into the bin: then that is tried, and it is never worse."""
        needs = [needs[index] for needs in self.needs]
        rest = [
            there - sum(some * need[part] for some, need in zip(taken, needs, strict=True))
            for part, there in enumerate(self.free[index])
        ]
        return any(
            some < have and all(need[part] <= max(0, rest[part]) for part in range(4))
            for some, have, need in zip(taken, left, needs, strict=True)
        )

    def _choices(self, index: int, left: tuple[int, ...], kind: int, room: Vector) -> Iterator[tuple[int, ...]]:
        """How many of each kind from ``kind`` on the bin may take, the most of the first kinds first."""
        need = self.needs[kind][index]
        most = min(left[kind], times(need, room))
        if kind == len(left) - 1:
            yield (most,)  # one more of the last kind is never worse
            return
        for some in range(most, -1, -1):
            self.steps += 1
            if not self.decided:
                return
            rest = (
                room[0] - some * need[0],
                room[1] - some * need[1],
                room[2] - some * need[2],
                room[3] - some * need[3],
            )
            for below in self._choices(index, left, kind + 1, rest):
                yield (some, *below)
