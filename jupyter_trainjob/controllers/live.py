"""The engine of admission, kept from pass to pass and told of what the record tells: a pass costs what changed."""

from __future__ import annotations

from collections.abc import Sequence

from ..scheduling.engine import Engine
from ..scheduling.model import NodeView
from .snapshot import RecordCache, Told


class LiveEngine:
    """What decides. It is a cache: whenever it can't follow, it is made anew from a snapshot and decides the same."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._nodes: tuple[NodeView, ...] = ()
        self.built = 0
        """How often it was made from a snapshot."""

    def drop(self) -> None:
        """What it decided last has not come true as it stands: look at everything anew."""
        self._engine = None

    def current(self, cache: RecordCache, nodes: tuple[NodeView, ...], now: float) -> Engine:
        """The engine with all that ``cache`` knows at ``now``, in seconds of the epoch. Looks at the cache alone."""
        told = cache.take_told()
        engine, self._engine = self._engine, None  # until it knows all that was told: what breaks off here is lost
        if told is None or engine is None or nodes != self._nodes or not _follow(engine, told, now):
            engine = Engine(cache.snapshot(0, nodes, now))
            self._nodes = nodes
            self.built += 1
        self._engine = engine
        return engine


def _follow(engine: Engine, told: Sequence[Told], now: float) -> bool:
    """Apply changes in turn; False where that can't be done."""
    engine.advance(now)
    for one in told:
        if one.waits is not None:
            if one.uid in engine.active:
                return False
            engine.submit(one.waits)
        elif one.holds is not None:
            if not _hold(engine, one):
                return False
        elif one.uid in engine.active:
            _end(engine, one)
        else:
            if one.uid in engine.jobs or one.uid in engine.aside:
                engine.remove(one.uid)
            if one.ended is not None:
                engine.count(one.ended)
    return True


def _hold(engine: Engine, told: Told) -> bool:
    view = told.holds
    assert view is not None
    known = engine.active.get(told.uid)
    if known is None:
        if told.uid in engine.jobs or told.uid in engine.aside:
            engine.remove(told.uid)
        engine.begin(view)
        return True
    if known.view == view:
        return True
    if view.since < known.view.since or (view.waits and not known.view.waits):
        return False  # it was counted as begun at a time at which it had not
    engine.end(told.uid, known.view.since, recorded=False)  # for no time at all: nothing is charged
    engine.begin(view)
    return True


def _end(engine: Engine, told: Told) -> None:
    since = engine.active[told.uid].view.since
    if told.ended is None or told.ended.since != since:
        engine.end(told.uid, since, recorded=False)
        if told.ended is not None:
            engine.count(told.ended)
    else:
        engine.end(told.uid, told.ended.end)
