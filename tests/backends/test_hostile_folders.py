"""What jobs leave behind must neither stop a server nor fill its disk."""

from __future__ import annotations

import os
from pathlib import Path

from jupyter_trainjob.backends.local import collect, recover
from jupyter_trainjob.storage.filesystem import FilesystemStore


def test_a_tree_thousands_deep_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    here = os.getcwd()
    try:
        os.chdir(root)
        for _ in range(3000):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    recover.remove_tree(str(root))
    assert not root.exists()


def test_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    recover.remove_tree(str(tmp_path / "nothing"))


def test_sparse_files_count_by_what_they_would_become(tmp_path: Path) -> None:
    store, work = FilesystemStore(tmp_path / "store"), tmp_path / "work"
    work.mkdir()
    for number in range(5):
        with (work / f"f{number}").open("wb") as file:
            file.truncate(40 * 1024)
    found = collect.files(store, "p/", str(work), ["**"], [], maximum_bytes=100 * 1024)
    assert (found.total, found.bytes) == (2, 80 * 1024)
    condition = found.condition()
    assert condition is not None
    assert "'f2' would make the outputs larger than the job's 102400 bytes of disk" in condition["message"]
