"""What is read of a store while attempts run and when they end: whatever lies there, an attempt comes to its end."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import AttemptRef, BackendError
from jupyter_trainjob.backends.kubernetes import following as module
from jupyter_trainjob.backends.kubernetes.following import Following, Last
from jupyter_trainjob.backends.kubernetes.harvest import Harvest
from jupyter_trainjob.storage.base import KeyMissing, StoreError
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.storage.loglayout import LogRecord, record_key, segment_key

from .test_harvest import PREFIX, REF, a_state, put_state

pytestmark = pytest.mark.asyncio


class Store(FilesystemStore):
    """Raises what :attr:`raises` holds, one after the other, instead of listing. Where :attr:`slow` is set, it puts
    only when :attr:`on` is.
    """

    raises: list[BaseException]
    slow = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.in_the_middle, self.on = threading.Event(), threading.Event()

    def put(self, key: str, data: Any, **options: Any) -> Any:
        if self.slow:
            self.in_the_middle.set()
            self.on.wait(20)
        return super().put(key, data, **options)

    def list(self, prefix: str, **options: Any) -> Any:
        if self.raises:
            raise self.raises.pop(0)
        return super().list(prefix, **options)


class Place:
    """A store and who follows it; :meth:`ended` asks as the backend does: whenever it is told of a change."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.store.raises = []
        self.changed = asyncio.Event()
        self.following = Following(self.store, self._changed, "test")
        self.last = Last(True)

    def _changed(self, ref: AttemptRef) -> None:
        self.changed.set()

    async def ended(self, seconds: float = 10) -> Harvest:
        until = time.monotonic() + seconds
        while (found := self.following.harvest(REF, lambda: self.last)) is None:
            await asyncio.wait_for(self.changed.wait(), until - time.monotonic())
            self.changed.clear()
        return found

    async def until(self, wanted: Callable[[], bool], seconds: float = 10) -> None:
        until = time.monotonic() + seconds
        while not wanted():
            assert time.monotonic() < until
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path)
    yield made
    await made.following.stop()


async def test_a_segment_that_another_server_removed_meanwhile_is_looked_for_again(place: Place) -> None:
    place.store.put(segment_key(PREFIX, 0), b"0123456789")
    put_state(place.store)
    place.store.raises = [KeyMissing(segment_key(PREFIX, 0))]
    assert (await place.ended()).log.size == 10


async def test_a_record_that_makes_no_sense_ends_nothing_for_ever(place: Place) -> None:
    place.store.put(segment_key(PREFIX, 0), b"0123456789")
    place.store.put(record_key(PREFIX), b'{"size": "many"')
    put_state(place.store)
    with pytest.raises(asyncio.TimeoutError):
        await place.ended(1.0)
    assert "this is no log record" in place.following.trouble(REF)
    place.store.delete(record_key(PREFIX))
    assert (await place.ended()).log_complete


@pytest.mark.parametrize("data", [b'{"size": Infinity}', b"[" * 100_000, b"7", b"\xff"])
async def test_whatever_is_no_record_is_told_as_such(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"this is no log record"):
        LogRecord.from_json(data)


async def test_what_nobody_thought_of_is_told_and_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.2)
    put_state(place.store)
    place.store.raises = [ZeroDivisionError("never seen before")]
    assert (await place.ended()).log.size == 10
    assert "Reading what tj-abc-2 left broke" in caplog.text and "never seen before" in caplog.text


_ = (json, StoreError, a_state)


async def test_a_store_that_stays_away_at_the_end_leaves_the_sidecars_last_words(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.3)
    put_state(place.store, state="running", claims={"progress": {"cellsDone": 1, "cells": 2}})
    place.store.raises = [StoreError("the store is away")] * 100
    log = {"size": 90, "complete": True, "gap": [10, 30], "missing": 7}
    words = json.dumps({"protocol": 1, "log": log, "claims": {"end": {"outcome": "ok"}}, "delivered": False})
    place.last = Last(True, words)
    found = await place.ended()
    assert found.state["claims"]["end"]["outcome"] == "ok" and found.state["claims"]["progress"]["cells"] == 2
    assert (found.log.size, found.log.gap, found.log.missing) == (90, (10, 30), 7) and not found.log_complete


async def test_a_store_that_was_away_long_ago_has_its_whole_time_at_the_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sidecar may ship for minutes: what counts is how long the store fails, not how long that took."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 3.0)
    monkeypatch.setattr(module, "SLOWEST_SECONDS", 0.1)
    put_state(place.store, state="running")
    place.last = Last(False)
    assert place.following.harvest(REF, lambda: place.last) is None
    await asyncio.sleep(3.5)
    place.store.raises = [StoreError("the store is away")] * 3
    place.last = Last(True)
    put_state(place.store)
    assert (await place.ended()).log_complete and place.store.raises == []


async def test_the_end_waits_for_the_clusters_word_on_who_made_it(place: Place) -> None:
    put_state(place.store)
    told = threading.Event()
    place.last = Last(True, "", True, lambda state: state["state"] == "ended" and not told.is_set())
    with pytest.raises(asyncio.TimeoutError):
        await place.ended(1.0)
    told.set()
    place.following.poke(REF)
    assert (await place.ended()).log_complete


async def test_a_word_that_never_comes_is_waited_for_no_longer_than_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORD_SECONDS", 0.5)
    put_state(place.store)
    place.last = Last(True, "", True, lambda state: True)
    assert (await place.ended()).log_complete


async def test_a_flood_does_not_fill_the_store_while_the_job_runs(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PRUNE_BYTES", 25)
    for start in (0, 10, 20, 30, 40):
        place.store.put(segment_key(PREFIX, start), b"x" * 10)
    put_state(place.store, state="running", log={"size": 50, "complete": False, "gap": [10, 40], "missing": 0})
    place.following.want(REF)
    await place.until(lambda: not place.store.exists(segment_key(PREFIX, 30)))
    assert [place.store.exists(segment_key(PREFIX, start)) for start in (0, 10, 20, 40)] == [True, False, False, True]


@pytest.mark.parametrize("begun", [True, False])
async def test_only_an_attempt_whose_code_ran_can_have_lost_anything(place: Place, begun: bool) -> None:
    place.last = Last(True, "", begun)
    found = await place.ended()
    assert (found.state, found.log.size, found.log_complete) == ({}, 0, not begun)
    assert [item["type"] for item in found.conditions] == (["OutputsComplete"] if begun else [])
    assert place.store.exists(record_key(PREFIX)), "whoever reads the log is told that no more will come"


async def begin_slowly(place: Place) -> None:
    """A harvest that is in the middle of putting the joined log."""
    place.store.put(segment_key(PREFIX, 0), b"0123456789")
    put_state(place.store)
    place.store.slow = True
    assert place.following.harvest(REF, lambda: place.last) is None
    await asyncio.to_thread(place.store.in_the_middle.wait, 10)


def left(place: Place) -> list[str]:
    return [info.key for info in place.store.list("jobs/")]


async def test_nothing_is_written_any_more_once_the_removal_has_returned(place: Place) -> None:
    await begin_slowly(place)
    removal = asyncio.create_task(place.following.drop(REF, clean=True))
    await asyncio.sleep(0.3)
    assert not removal.done(), "a thread is in the middle of a put"
    place.store.on.set()
    await asyncio.wait_for(removal, 10)
    place.store.delete_prefix("jobs/")
    await asyncio.sleep(0.3)
    assert left(place) == []


async def test_a_store_that_holds_a_harvest_up_holds_its_removal_up_and_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.2)
    await begin_slowly(place)
    for _ in range(2):
        with pytest.raises(BackendError, match=r"What tj-abc-2 left is still being put in order") as told:
            await place.following.drop(REF, clean=True)
        assert not told.value.permanent
    place.store.on.set()
    await place.until(lambda: all(step.done() for step in place.following._leaving[REF]))
    await place.following.drop(REF, clean=True)


async def test_a_harvest_of_a_job_that_another_server_removed_writes_nothing_behind_it(place: Place) -> None:
    await begin_slowly(place)
    place.following.break_off(REF)
    place.store.on.set()
    await place.until(lambda: all(step.done() for step in place.following._leaving[REF]))
    assert not place.store.exists(record_key(PREFIX)), "the step under way was the last"
    place.store.slow = False
    assert (await place.ended()).log.size == 10, "where it was a stranger, it is read all the same"
