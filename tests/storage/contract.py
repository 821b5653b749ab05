"""What every object store must do. A test module of a store subclasses :class:`StoreContract` and gives ``store``."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_trainjob.storage.base import CHUNK_BYTES, KeyMissing, KeyTaken, StoreError, check_key, open_store

ODD_KEYS = [
    "blobs/ü/日本語/🚀.bin",
    "a b/c&d=e?f#g%20h+i",
    "quotes'\"`$(x)/;|<>",
    "." + "dots./..more/...",
    "é/e\u0301",
    "x" * 255,
    "/".join(["y" * 99] * 9),
    "-/--help",
    "xl.meta/part.1",
    " begins/ends ",
    ".minio.sys/\x85\u2028",
    "+%2F&amp;<b>/%00",
]
BAD_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    "../a",
    "a/../b",
    ".",
    "a/.",
    "a\0b",
    "a\\b",
    "a\nb",
    "\ud800",
    "x" * 256,
    "y/" * 500 + "z",
    "a/.sgwtmp/b",
    "a__XLDIR__/b",
    "a\uffff",
]


class StoreContract:
    """Subclass it, and give a fixture ``store`` with an empty store for each test."""

    def test_a_whole_file_is_put_wherever_it_is_read_or_named(self, store: Any, tmp_path: Any) -> None:
        named = (tmp_path / "named").open("w+b")
        with named, tempfile.TemporaryFile() as nameless:
            for key, file in (("a/named", named), ("a/nameless", nameless)):
                file.write(key.encode() * 100_000)
                file.flush()
                info = store.put_file(key, file, if_absent=True)
                assert (info.key, info.size) == (key, len(key) * 100_000)
                with pytest.raises(KeyTaken):
                    store.put_file(key, file, if_absent=True)
                assert store.get(key) == key.encode() * 100_000
                store.delete(key)
                store.put_file(key, file, if_absent=True)
                store.put_file(key, file)
                assert store.get(key) == key.encode() * 100_000

    def test_what_was_put_is_got_back_whole_and_in_ranges(self, store: Any) -> None:
        data = os.urandom(3 * CHUNK_BYTES + 17)
        assert store.put("a/b", data).size == len(data)
        assert store.get("a/b") == data
        assert store.stat("a/b") == store.put("a/b", data)
        before = store.stat("a/b").version
        assert before and store.stat("a/b").version == before
        store.put("a/b", data + b".")
        assert store.stat("a/b").version != before
        store.put("a/b", data)
        assert store.get("a/b", 5, 10) == data[5:10]
        assert store.get("a/b", CHUNK_BYTES - 1, 2 * CHUNK_BYTES + 1) == data[CHUNK_BYTES - 1 : 2 * CHUNK_BYTES + 1]
        assert store.get("a/b", len(data) - 3, len(data) + 99) == data[-3:]
        assert store.get("a/b", len(data)) == b""
        assert store.get("a/b", 7, 7) == b""
        with store.open("a/b") as chunks:
            assert all(len(chunk) <= CHUNK_BYTES for chunk in chunks)

    def test_files_are_streamed_in(self, store: Any) -> None:
        data = os.urandom(2 * CHUNK_BYTES + 1)
        assert store.put("file", io.BytesIO(data)).size == len(data)
        assert store.get("file") == data
        assert store.put("empty", b"").size == 0
        assert store.get("empty") == b""

    def test_a_missing_object_is_told_by_name(self, store: Any) -> None:
        for call in (store.get, store.stat):
            with pytest.raises(KeyMissing, match="no/such"):
                call("no/such")
        assert not store.exists("no/such")
        store.put("no/such/thing", b"x")
        with pytest.raises(KeyMissing):
            store.get("no/such")
        store.delete("no/such")
        assert store.exists("no/such/thing")
        assert list(store.list(f"no/{'n' * 300}/")) == [], "a name that nothing can have"

    def test_put_replaces_but_not_where_it_must_be_absent(self, store: Any) -> None:
        store.put("k", b"1", if_absent=True)
        with pytest.raises(KeyTaken, match="k"):
            store.put("k", b"2", if_absent=True)
        assert store.get("k") == b"1"
        store.put("k", b"3")
        assert store.get("k") == b"3"

    def test_of_many_at_once_one_wins_where_it_must_be_absent(self, store: Any) -> None:
        won: list[int] = []

        def put(number: int) -> None:
            try:
                store.put("race/k", b"%d" % number, if_absent=True)
                won.append(number)
            except KeyTaken:
                pass

        threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert store.get("race/k") == b"%d" % won[0]

    def test_readers_see_the_old_object_or_the_new_one(self, store: Any) -> None:
        old, new = b"o" * (2 * CHUNK_BYTES), b"n" * (2 * CHUNK_BYTES)
        store.put("swap", old)
        stop = threading.Event()

        def swap() -> None:
            while not stop.is_set():
                store.put("swap", new, durable=False)
                store.put("swap", old, durable=False)

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            for _ in range(20):
                assert store.get("swap") in (old, new)
        finally:
            stop.set()
            thread.join()

    def test_a_failed_put_leaves_what_was_there(self, store: Any) -> None:
        class Broken(io.RawIOBase):
            def read(self, size: int = -1) -> bytes:
                raise RuntimeError("the source broke")

        store.put("k", b"old")
        with pytest.raises(RuntimeError, match="the source broke"):
            store.put("k", Broken())
        assert store.get("k") == b"old"
        assert [info.key for info in store.list("")] == ["k"]

    def test_listing_is_in_byte_order_by_prefix_behind_and_limited(self, store: Any) -> None:
        keys = ["a", "a.b", "a-b", "b/1", "b/10", "b/2", "b.c", "b0", "c/d/e", "c/d!", "é", "z", "Z"]
        for key in keys:
            store.put(key, key.encode(), durable=False)
        wanted = sorted(keys, key=lambda key: key.encode())
        assert [info.key for info in store.list("")] == wanted
        assert all(info.size == len(info.key.encode()) for info in store.list(""))
        assert [info.key for info in store.list("b")] == [key for key in wanted if key.startswith("b")]
        assert [info.key for info in store.list("b/")] == ["b/1", "b/10", "b/2"]
        assert [info.key for info in store.list("b/1")] == ["b/1", "b/10"]
        for key in [*keys, "b/", "c/d", "0", "~"]:
            later = [one for one in wanted if one.encode() > key.encode()]
            assert [info.key for info in store.list("", after=key)] == later
        assert [info.key for info in store.list("", after="b/1", limit=2)] == ["b/10", "b/2"]
        assert list(store.list("nothing/")) == []

    def test_deleting_is_idempotent_and_spares_neighbours(self, store: Any) -> None:
        for key in ("p/1", "p/q/2", "pp/3"):
            store.put(key, b"x")
        store.delete("p/1")
        store.delete("p/1")
        assert store.delete_prefix("p/") == 1
        assert [info.key for info in store.list("")] == ["pp/3"]
        with pytest.raises(ValueError, match="slash"):
            store.delete_prefix("p")

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_odd_keys_are_kept_as_they_are(self, store: Any, key: str) -> None:
        store.put(key, b"x")
        assert store.get(key) == b"x"
        assert [info.key for info in store.list("")] == [key]
        store.delete(key)
        assert list(store.list("")) == []

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_what_is_no_key_is_refused_by_every_method(self, store: Any, key: str) -> None:
        for call in (lambda: store.put(key, b""), lambda: store.get(key), lambda: store.delete(key)):
            with pytest.raises(ValueError, match="is no object key"):
                call()

    def test_where_a_key_is_another_ones_folder_nothing_is_overwritten(self, store: Any) -> None:
        store.put("a/b", b"x")
        for key in ("a", "a/b/c"):
            try:
                store.put(key, b"y")
            except StoreError as error:
                assert "another object's key is its folder" in str(error)
            else:
                assert store.get(key) == b"y"
        assert store.get("a/b") == b"x"

    def test_a_list_goes_on_over_its_pages(self, store: Any) -> None:
        keys = [f"many/{number:04d}" for number in range(1100)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: store.put(key, b"", durable=False), keys))
        assert [info.key for info in store.list("many/")] == keys
        assert [info.key for info in store.list("many/", after=keys[40], limit=1040)] == keys[41:1081]
        assert store.delete_prefix("many/") == 1100
        assert list(store.list("")) == []

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(key=st.text(min_size=1, max_size=60), data=st.binary(max_size=50))
    def test_any_key_that_is_one_goes_round(self, store: Any, key: str, data: bytes) -> None:
        try:
            check_key(key)
        except ValueError:
            with pytest.raises(ValueError, match="is no object key"):
                store.put(key, data)
            return
        store.put(key, data, durable=False)
        assert store.get(key) == data
        assert [info for info in store.list("")] == [store.stat(key)]
        assert store.delete_prefix("folder/") == 0
        store.put(f"folder/{key}", data, durable=False)
        assert store.delete_prefix("folder/") == 1
        store.delete(key)
        assert list(store.list("")) == []

    def test_another_process_opens_the_same_store_by_its_description(self, store: Any) -> None:
        store.put("k", b"v")
        assert open_store(store.describe()).get("k") == b"v"

    def test_where_it_can_append_objects_grow(self, store: Any) -> None:
        if not store.can_append:
            with pytest.raises(NotImplementedError):
                store.append("k", b"x", 0)
            return
        store.append("g/k", b"abc", 0)
        store.append("g/k", b"def", 3)
        store.append("g/k", b"def", 3)
        assert store.get("g/k") == b"abcdef"
        with pytest.raises(StoreError, match="has only 6 bytes"):
            store.append("g/k", b"x", 7)
        with pytest.raises(StoreError):
            store.append("g/new", b"x", 7)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=40))
def test_a_key_either_is_refused_or_stays_below_the_root(key: str) -> None:
    try:
        check_key(key)
    except ValueError:
        return
    assert not set(key.split("/")) & {"", ".", ".."}
    assert "\0" not in key
