"""A text is found wherever it stands in a log, as if the log were one piece of bytes."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jupyter_trainjob.storage import logreader, logsearch
from jupyter_trainjob.storage.base import ObjectInfo
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.storage.logjoin import join_segments
from jupyter_trainjob.storage.loglayout import Hole, LogRecord, record_key, segment_key
from jupyter_trainjob.storage.logs import LogWriter
from jupyter_trainjob.storage.logsearch import Found, Wanted, search

PREFIX = "jobs/u/1/"


class Away(FilesystemStore):
    """A real store that can't append, as S3: segments do not grow."""

    can_append = False
    poll_seconds, ship_seconds = 0.02, 0.05


@pytest.fixture(params=[FilesystemStore, Away], ids=["append", "put"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FilesystemStore:
    made: FilesystemStore = request.param(tmp_path / "store")
    return made


def written(store: FilesystemStore, data: bytes, *, close: bool = True, **options: int) -> LogWriter:
    log = LogWriter(store, PREFIX, **options)
    log.write(data)
    if close:
        log.close()
    return log


def all_of(store: FilesystemStore, wanted: Wanted, seconds: float = 60.0) -> Found:
    """As a caller goes on until all was looked at."""
    offsets: list[int] = []
    count, offset = 0, wanted.offset
    while True:
        left = Wanted(wanted.text, wanted.fold, offset, wanted.end, wanted.most - len(offsets))
        found = search(store, PREFIX, left, seconds)
        offsets, count = offsets + found.offsets, count + found.count
        if found.next_offset is None:
            return Found(offsets, count, None)
        assert found.next_offset > offset, "it gets on"
        offset = found.next_offset


def laid(store: FilesystemStore, data: bytes, segment: int, hole: Hole | None, *, joined: bool) -> None:
    """A log as its writer leaves it, in segments of so many bytes: while it grows, or joined."""
    store.delete_prefix(PREFIX)
    told = LogRecord(len(data), False, hole, 0, [hole] if hole else [])
    store.put(record_key(PREFIX), told.to_json())
    for first, last in [(0, hole[0]), (hole[1], len(data))] if hole else [(0, len(data))]:
        for start in range(first, last, segment):
            store.put(segment_key(PREFIX, start), data[start : min(start + segment, last)])
    if joined:
        assert join_segments(store, PREFIX, told).holes == told.holes


@st.composite
def logs(draw: st.DrawFn) -> tuple[bytes, Hole | None]:
    """A log, and what of it is not kept."""
    pieces = draw(st.lists(st.sampled_from([b"a", b"b", b"A", b"\xc3", b"\n"]), min_size=1, max_size=60))
    first, last = sorted([draw(st.integers(0, len(pieces))), draw(st.integers(0, len(pieces)))])
    return b"".join(pieces), (first, last) if 0 < first < last < len(pieces) else None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    log=logs(),
    text=st.lists(st.sampled_from([b"a", b"B", b"\xc3"]), min_size=1, max_size=4).map(b"".join),
    fold=st.booleans(),
    part=st.tuples(st.integers(0, 62), st.none() | st.integers(0, 62)),
    piece=st.integers(1, 7) | st.just(100),
    segment=st.integers(1, 9) | st.just(100),
    joined=st.booleans(),
    hurry=st.booleans(),
)
@example((b"a" * 20, (4, 10)), b"a", False, (6, 8), 7, 100, False, False)  # an end within the hole
@example((b"a" * 20, (4, 10)), b"a", False, (6, 12), 7, 100, True, False)  # and one behind it, nearer than the piece
def test_it_finds_what_a_search_in_one_piece_finds(
    store: FilesystemStore,
    log: tuple[bytes, Hole | None],
    text: bytes,
    fold: bool,
    part: tuple[int, int | None],
    piece: int,
    segment: int,
    joined: bool,
    hurry: bool,
) -> None:
    data, hole = log
    offset, end = part
    laid(store, data, segment, hole, joined=joined)
    last = len(data) if end is None else min(end, len(data))
    places = [
        max(first, offset) + match.start()
        for first, behind in ([(0, hole[0]), (hole[1], len(data))] if hole else [(0, len(data))])
        for match in re.finditer(re.escape(text), data[max(first, offset) : min(behind, last)], re.IGNORECASE * fold)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logsearch, "READ_BYTES", piece)
        patch.setattr(logsearch, "READ_AWAY_BYTES", piece)
        found = all_of(store, Wanted(text, fold, offset, end), seconds=0.0 if hurry else 60.0)
    assert found == Found(places, len(places), None)


class Clock:
    """Of a store whose every answer takes a millisecond, and nothing else takes any."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Slow(Away):
    """One whose clock can be read."""

    clock: Clock

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        self.clock.now += 0.001
        return super().get(key, start, end)

    def stat(self, key: str) -> ObjectInfo:
        self.clock.now += 0.001
        return super().stat(key)


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slow:
    store = Slow(tmp_path / "store")
    store.clock = Clock()
    monkeypatch.setattr(logsearch, "time", store.clock)
    monkeypatch.setattr(logreader, "time", store.clock)
    return store


def test_the_time_is_kept_where_a_log_lies_in_many_small_pieces(slow: Slow) -> None:
    data = b"".join(b"%07d\n" % number for number in range(3000))
    laid(slow, data, 20, None, joined=False)
    offset: int | None = 0
    offsets, answers = [], 0
    while offset is not None:
        began = slow.clock.now
        found = search(slow, PREFIX, Wanted(b"\n", offset=offset, most=3000), 0.3)
        assert slow.clock.now - began < 0.6
        offsets, offset, answers = offsets + found.offsets, found.next_offset, answers + 1
    assert offsets == list(range(7, len(data), 8))
    assert answers == 5, "1,200 pieces, some 300 each"


def test_a_log_that_was_joined_is_read_in_large_pieces(slow: Slow) -> None:
    laid(slow, b"needle" + b"." * 2**22, 2**20, None, joined=True)
    began = slow.clock.now
    assert search(slow, PREFIX, Wanted(b"needle"), 0.3) == Found([0], 1, None)
    assert slow.clock.now - began < 0.0045, "its record, its bytes, and that there are no more"


def test_who_has_gone_is_not_searched_for(slow: Slow) -> None:
    laid(slow, b"." * 3000, 3, None, joined=False)
    until = slow.clock.now + 0.05
    search(slow, PREFIX, Wanted(b"a long needle"), 60, lambda: slow.clock.now >= until)
    assert slow.clock.now - until < 0.01
    began = slow.clock.now
    search(slow, PREFIX, Wanted(b"a long needle"), 60, lambda: True)
    assert slow.clock.now - began < 0.01, "also before there was enough to find it in"


def test_a_log_that_still_grows_is_searched_as_far_as_it_has_come(store: FilesystemStore) -> None:
    log = written(store, b"one two ", close=False)
    until = time.monotonic() + 60
    while (offsets := search(store, PREFIX, Wanted(b"two"), 60).offsets) != [4]:
        assert not offsets and time.monotonic() < until
        time.sleep(0.02)  # its writer has a thread of its own
    log.write(b"two")
    log.close()
    assert search(store, PREFIX, Wanted(b"two"), 60) == Found([4, 8], 2, None)


def test_a_part_is_looked_at_by_its_ends(store: FilesystemStore) -> None:
    written(store, b"x.x.x.x")
    assert search(store, PREFIX, Wanted(b"x", offset=1, end=5), 60).offsets == [2, 4]
    assert search(store, PREFIX, Wanted(b"x.x", end=2), 60).offsets == []
    assert search(store, PREFIX, Wanted(b"x", offset=100), 60) == Found([], 0, None)


def test_more_than_are_told_are_counted(store: FilesystemStore) -> None:
    written(store, b"ab" * 1_000_000)
    found = search(store, PREFIX, Wanted(b"ba", most=3), 60)
    assert (found.offsets, found.count) == ([1, 3, 5], 999_999)


def test_nothing_is_found_across_what_was_left_out(store: FilesystemStore) -> None:
    data = b"".join(b"%07d\n" % number for number in range(10_000))
    written(store, data, cap_bytes=8192)
    found = search(store, PREFIX, Wanted(b"\n"), 60)
    assert 0 < found.count < 2000
    assert all(data[offset : offset + 1] == b"\n" for offset in found.offsets), "offsets are those of what was printed"
    assert found.offsets[-1] == len(data) - 1
    numbers: Any = search(store, PREFIX, Wanted(b"0009999"), 60)
    assert numbers.offsets == [data.index(b"0009999")]


def test_no_text_is_refused(store: FilesystemStore) -> None:
    with pytest.raises(ValueError, match="no text"):
        search(store, PREFIX, Wanted(b""), 60)
