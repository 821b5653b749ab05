"""What is brought home at the end, where something of it can't be."""

from __future__ import annotations

import errno
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
