"""A text is found wherever it stands in a log, as if the log were one piece of bytes."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_trainjob.storage import logsearch
from jupyter_trainjob.storage.filesystem import FilesystemStore
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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(st.sampled_from([b"a", b"b", b"A", b"\xc3", b"\n"]), min_size=1, max_size=60).map(b"".join),
    text=st.lists(st.sampled_from([b"a", b"B", b"\xc3"]), min_size=1, max_size=4).map(b"".join),
    fold=st.booleans(),
    piece=st.integers(1, 7),
    hurry=st.booleans(),
)
def test_it_finds_what_a_search_in_one_piece_finds(
    store: FilesystemStore, data: bytes, text: bytes, fold: bool, piece: int, hurry: bool
) -> None:
    store.delete_prefix(PREFIX)
    written(store, data)
    places = [match.start() for match in re.finditer(re.escape(text), data, re.IGNORECASE if fold else 0)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logsearch, "READ_BYTES", piece)
        patch.setattr(logsearch, "READ_AWAY_BYTES", piece)
        assert all_of(store, Wanted(text, fold), seconds=0.0 if hurry else 60.0) == Found(places, len(places), None)


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
