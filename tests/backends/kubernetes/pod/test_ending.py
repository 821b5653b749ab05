"""What is brought home at the end, where something of it can't be."""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.backends.kubernetes.pod import ending
from jupyter_trainjob.backends.kubernetes.pod.ending import Collection
from jupyter_trainjob.backends.kubernetes.pod.files import Places
from jupyter_trainjob.backends.kubernetes.pod.orders import Orders
from jupyter_trainjob.storage.base import StoreError
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .pods import PREFIX, Pod


class Spoilt(FilesystemStore):
    """Fails for what is called so, as a file does that can't be read, or a store that won't have it."""

    calls = 0

    def put(self, key: str, data: Any, **how: Any) -> Any:
        self.calls += 1
        if key.endswith("unreadable"):
            raise OSError(errno.EIO, "Input/output error")
        if key.endswith("refused"):
            raise StoreError("too large")
        return super().put(key, data, **how)


@pytest.fixture
def store(tmp_path: Path) -> Spoilt:
    return Spoilt(tmp_path / "store")


@pytest.fixture
def collection(pod: Pod, store: Spoilt) -> Collection:
    pod.orders()
    (pod.root / "out" / "job").mkdir()
    (pod.root / "out" / "job" / "notebook.ipynb").write_text("{}")
    for name in ("a", "b-unreadable", "c", "d-refused", "e"):
        (pod.root / "work" / name).write_text(name)
    orders, places = Orders(str(pod.root / "orders")), Places(pod.environment)
    return Collection(store, orders, places, [], lambda: None)


def test_files_that_fail_for_good_stay_behind_alone(collection: Collection, store: Spoilt) -> None:
    assert collection.bring(time.monotonic() + 30) == ""
    found = collection.found
    assert [one["path"] for one in found.files] == ["a", "c", "e"] and found.total == 3 and found.bytes == 3
    remark = (found.condition() or {})["message"]
    assert "'b-unreadable' was refused" in remark and "'d-refused' was refused" in remark and collection.notebook


def test_an_error_of_its_own_blames_no_object_and_ends_with_the_time(
    collection: Collection, store: Spoilt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(ending.collect, "files", broken)
    problem = collection.bring(time.monotonic() + 0.5)
    assert "could be read in time" in problem and "Too many open files" in problem
    assert store.calls == 1 and store.exists(f"{PREFIX}notebook.ipynb")
    assert collection.found.skipped == [], "the notebook, which came, was not refused"


@pytest.mark.parametrize(
    "error",
    [
        {"ename": "E" * 20_000, "evalue": "ü" * 20_000, "traceback": "t" * 20_000, "line": 3},
        {f"more-{number}": "x" * 39 for number in range(500)},
    ],
)
def test_the_last_words_are_whole_json_whatever_the_job_claims(tmp_path: Path, error: dict[str, Any]) -> None:
    words = tmp_path / "words"
    state = {
        "log": {"size": 10, "complete": True, "gap": None, "missing": 0},
        "filesTotal": 1,
        "filesBytes": 2,
        "failed": {"limit": "BackendError", "message": "ü" * 4000},
        "main": {"exitCode": 0, "message": "ü" * 2000, "lastWords": "l" * 4096},
        "claims": {"end": {"outcome": "error", "error": error, "results": []}},
    }
    ending.termination(str(words), state, "ü" * 5000)
    said = words.read_bytes()
    assert len(said) <= ending.TERMINATION_BYTES
    told = json.loads(said)
    assert (told["filesTotal"], told["log"]["size"], told["main"]["exitCode"]) == (1, 10, 0)
    assert told["failed"]["limit"] == "BackendError" and told["problem"].startswith("ü")
