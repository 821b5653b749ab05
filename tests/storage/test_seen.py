"""What a store shows through one list is what it shows itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_trainjob.storage import seen as module
from jupyter_trainjob.storage.base import KeyMissing, ObjectStore
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.storage.seen import Seen, seen

PREFIX = "jobs/u/1/"
KEYS = [f"{PREFIX}{name}" for name in ("log.json", "log/0", "log/1", "log/ö", "files/a")] + ["jobs/u/2/log/0"]
PREFIXES = [PREFIX, f"{PREFIX}log/", f"{PREFIX}none/", "jobs/u/", "jobs/u/2/"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["put", "get", "stat", "exists", "delete"]), st.sampled_from(KEYS)),
        st.tuples(st.sampled_from(["list", "delete_prefix"]), st.sampled_from(PREFIXES)),
    ),
    max_size=12,
)


def result(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except KeyMissing:
        return "missing"


def do(store: ObjectStore, what: str, key: str, step: int) -> Any:
    if what == "put":
        return store.put(key, b"%d" % step, durable=False).size
    if what == "list":
        rest = f"{PREFIX}log/0" if step % 3 == 0 else ""
        return [(info.key, info.size) for info in store.list(key, after=rest, limit=2 if step % 2 else None)]
    if what == "stat":
        return result(lambda: store.stat(key).size)
    return result(lambda: getattr(store, what)(key))


@given(before=st.sets(st.sampled_from(KEYS)), steps=STEPS)
def test_it_is_the_store_itself(before: set[str], steps: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        plain, below = FilesystemStore(one), FilesystemStore(two)
        for store in (plain, below):
            for key in before:
                store.put(key, b"before", durable=False)
        through = seen(below, PREFIX)
        assert isinstance(through, Seen)
        for number, (what, key) in enumerate(steps):
            assert do(through, what, key, number) == do(plain, what, key, number), (what, key)
        assert list(below.list("")) == list(plain.list(""))


def test_what_is_not_there_is_not_asked_for(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FilesystemStore(tmp_path)
    store.put(KEYS[0], b"{}")
    through = seen(store, PREFIX)
    for name in ("open", "stat", "list", "delete", "delete_prefix"):
        monkeypatch.setattr(store, name, None)
    for key in KEYS[1:5]:
        assert result(lambda key=key: through.get(key)) == result(lambda key=key: through.stat(key)) == "missing"  # type: ignore[misc]
        through.delete(key)
    assert [info.key for info in through.list(PREFIX)] == KEYS[:1]
    assert through.delete_prefix(f"{PREFIX}orders/") == 0


def test_more_than_a_page_is_looked_at_as_it_is(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    store = FilesystemStore(tmp_path)
    for key in KEYS[:3]:
        store.put(key, b"x")
    assert seen(store, PREFIX) is store and seen(store, f"{PREFIX}log/") is not store
