"""What is read of a store that pods wrote into: checked, joined, pruned; on a real filesystem store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.backends.base import AttemptRef
from jupyter_trainjob.backends.kubernetes.harvest import forget, gather, parsed, read_state
from jupyter_trainjob.storage.base import ObjectInfo
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.storage.loglayout import LogRecord, measured, record_key, segment_key
from jupyter_trainjob.storage.logs import LogReader

REF = AttemptRef("abc", 2)
PREFIX = "jobs/abc/2/"


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    return FilesystemStore(tmp_path)


def a_state(**more: Any) -> dict[str, Any]:
    log = {"size": 10, "stored": 10, "complete": True, "gap": None, "missing": 0}
    return {
        "state": "ended",
        "ready": "2026-11-22T10:00:00.5Z",
        "log": log,
        "metrics": {**log, "size": 0},
        "usage": {"cpuSeconds": 1.5, "peakMemoryBytes": 2**26},
        "claims": {"end": {"outcome": "ok", "results": []}},
        "notebook": True,
        "files": [{"path": "a.txt", "size": 4}],
        "filesTotal": 1,
        "filesBytes": 4,
        "conditions": [],
        **more,
    }


def put_state(store: FilesystemStore, **more: Any) -> None:
    store.put(f"{PREFIX}state.json", json.dumps(a_state(**more)).encode())


def test_an_ended_attempt_is_one_log_and_what_the_sidecar_says(store: FilesystemStore) -> None:
    store.put(segment_key(PREFIX, 0), b"hello ")
    store.put(segment_key(PREFIX, 6), b"you\n")
    store.put(f"{PREFIX}orders/source.ipynb", b"{}")
    put_state(store)
    for _ in range(2):  # a server that died between any two lines does it again
        found = gather(store, REF)
        assert found.log_complete and (found.log.size, found.log.missing) == (10, 0)
        assert found.files == [{"path": "a.txt", "size": 4}] and found.notebook and found.conditions == []
        assert found.state["claims"]["end"]["outcome"] == "ok"
        assert LogReader(store, PREFIX).read(0, 100).data == b"hello you\n"
        assert sorted(info.key for info in store.list(PREFIX)) == [
            f"{PREFIX}log.bytes",
            f"{PREFIX}log.json",
            f"{PREFIX}state.json",
        ]
    forget(store, REF)
    assert not store.exists(f"{PREFIX}state.json") and store.exists(f"{PREFIX}log.bytes")


class Walking(FilesystemStore):
    """Lists as some servers do, folder by folder: meanwhile another does ``between`` before ``log/``."""

    between: Callable[[], object] | None = None

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        found = list(super().list(prefix, limit=limit))
        if self.between is None:
            return iter(found)
        do, self.between = self.between, None
        before = [info for info in found if "/log/" not in info.key]
        do()
        return iter([*before, *(info for info in super().list(prefix, limit=limit) if "/log/" in info.key)])


def test_two_servers_that_put_a_log_in_order_at_once_lose_none_of_it(tmp_path: Path) -> None:
    store = Walking(tmp_path)
    store.put(segment_key(PREFIX, 0), b"hello ")
    store.put(segment_key(PREFIX, 6), b"you\n")
    put_state(store)
    store.between = lambda: gather(FilesystemStore(tmp_path), REF)
    found = gather(store, REF)
    assert (found.log.size, found.log.missing, found.log_complete) == (10, 0, True)
    assert LogReader(store, PREFIX).read(0, 100).data == b"hello you\n"


def test_what_the_cap_left_out_is_removed_and_told(store: FilesystemStore) -> None:
    for start in (0, 10, 20, 30):
        store.put(segment_key(PREFIX, start), b"x" * 10)
    log = {"size": 40, "complete": True, "gap": [10, 30], "missing": 0}
    put_state(store, log=log)
    found = gather(store, REF)
    assert (found.log.gap, found.log.missing, found.log_complete) == ((10, 30), 0, True)
    assert store.stat(f"{PREFIX}log.bytes").size == 20


def test_bytes_that_never_came_are_counted(store: FilesystemStore) -> None:
    store.put(segment_key(PREFIX, 0), b"x" * 10)
    put_state(store, log={"size": 25, "complete": True, "gap": None, "missing": 15})
    found = gather(store, REF)
    assert (found.log.size, found.log.missing, found.log.holes) == (25, 15, [(10, 25)])


def test_a_sidecar_that_was_killed_leaves_what_is_in_the_store(store: FilesystemStore) -> None:
    store.put(segment_key(PREFIX, 0), b"half")
    store.put(f"{PREFIX}files/deep/b.bin", b"123")
    put_state(store, state="running", log={"size": 9, "complete": False, "gap": None, "missing": 0}, files=[])
    found = gather(store, REF)
    assert not found.log_complete and (found.log.size, found.log.missing) == (9, 5)
    assert found.files == [{"path": "deep/b.bin", "size": 3}] and (found.files_total, found.files_bytes) == (1, 3)
    assert [(item["type"], item["status"]) for item in found.conditions] == [("OutputsComplete", "False")]
    assert not found.notebook


@pytest.mark.parametrize(
    ("told", "broken"),
    [
        ({"state": "starting", "failed": {"limit": "StorageError", "message": "data.csv is gone"}}, False),
        ({"state": "starting", "ready": ""}, False),
        ({"state": "starting"}, True),
        ({"state": "running", "ready": ""}, True),
    ],
)
def test_outputs_are_missed_only_of_code_that_may_have_run(
    store: FilesystemStore, told: dict[str, Any], broken: bool
) -> None:
    nothing = {"size": 0, "complete": False, "gap": None, "missing": 0}
    put_state(store, claims={}, log=nothing, notebook=False, files=[], **told)
    found = gather(store, REF, begun=True)
    assert [item["type"] for item in found.conditions] == (["OutputsComplete"] if broken else [])
    assert gather(store, REF, begun=False).conditions == [], "its container never ran"


@pytest.mark.parametrize("where", ["state", "record"])
def test_a_capped_log_of_a_killed_sidecar_misses_what_it_misses(store: FilesystemStore, where: str) -> None:
    for start in (0, 10, 20, 40):
        store.put(segment_key(PREFIX, start), b"x" * 10)
    told = {"size": 50, "complete": False, "gap": [10, 30], "missing": 10}
    put_state(store, state="running", log=told if where == "state" else {**told, "gap": None})
    if where == "record":
        store.put(record_key(PREFIX), LogRecord(50, gap=(10, 30)).to_json())
    found = gather(store, REF)
    assert (found.log.size, found.log.gap, found.log.missing) == (50, (10, 40), 0)
    assert store.stat(f"{PREFIX}log.bytes").size == 20 and not found.log_complete


def test_a_gap_that_is_not_pruned_yet_makes_nothing_less_than_whole() -> None:
    stored = [(0, 10), (10, 10), (25, 10), (40, 10)]
    assert measured(stored, LogRecord(55, gap=(10, 30))).missing == 5


def test_last_words_count_where_the_last_state_is_not_in_the_store(store: FilesystemStore) -> None:
    put_state(store, state="running", claims={"progress": {"cellsDone": 1, "cells": 2}})
    words = {
        "protocol": 1,
        "log": {"size": 7, "complete": True, "gap": None, "missing": 7},
        "claims": {"end": {"outcome": "ok"}},
        "delivered": False,
    }
    found = gather(store, REF, json.dumps(words))
    assert found.state["claims"]["end"]["outcome"] == "ok" and found.state["claims"]["progress"]["cells"] == 2
    assert (found.log.size, found.log.missing) == (7, 7)


def test_nothing_at_all_is_told_as_nothing(store: FilesystemStore) -> None:
    assert read_state(store, REF) == {}
    found = gather(store, REF)
    assert found.state == {} and found.log.size == 0 and not found.log_complete


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"null"])
def test_what_is_no_state_is_none(data: bytes) -> None:
    assert parsed(data) == {}


def test_what_makes_no_sense_in_a_state_is_left_out() -> None:
    found = parsed(
        json.dumps(
            {
                "state": "dancing",
                "log": {"size": -1, "complete": "yes", "gap": [5, 1], "missing": True},
                "usage": {"cpuSeconds": "much", "peakMemoryBytes": 5, "diskBytes": -3},
                "claims": {"end": {"outcome": "perfect"}, "progress": {"cellsDone": -1}, "started": 5},
                "files": [{"path": 5}, {"size": 1}, "x", {"path": "ok", "size": "big"}],
                "filesTotal": 1e9,
                "conditions": [{"type": "A", "message": "m" * 5000}, {"reason": "untyped"}, 7],
                "main": {"exitCode": True, "limit": "L" * 1000, "lastWords": "\ud800"},
                "owner": "me",
            }
        ).encode()
    )
    assert found["state"] == "" and found["claims"] == {} and "owner" not in found
    assert found["log"] == {"size": 0, "complete": False, "gap": None, "missing": 0}
    assert found["usage"] == {"peakMemoryBytes": 5.0}
    assert found["files"] == [{"path": "ok", "size": 0}] and found["filesTotal"] == 0
    assert len(found["conditions"]) == 1 and len(found["conditions"][0]["message"]) == 2000
    assert found["main"]["exitCode"] is None and len(found["main"]["limit"]) == 64
    json.dumps(found).encode()


def test_lists_are_capped() -> None:
    files = [{"path": str(number), "size": 1} for number in range(3000)]
    found = parsed(json.dumps({"files": files, "conditions": [{"type": "A"}] * 100}).encode())
    assert len(found["files"]) == 1000 and len(found["conditions"]) == 20
