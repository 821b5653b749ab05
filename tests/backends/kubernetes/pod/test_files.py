"""Files that are replaced whole, in folders that are not ours alone."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jupyter_trainjob.backends.kubernetes.pod.files import replace, sweep
from jupyter_trainjob.backends.kubernetes.pod.shipper import Spool


@contextmanager
def no_file_larger_than(count: int) -> Iterator[None]:
    """As a volume that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_folders_in_the_way_are_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "ended"
    for name in ("ended", "ended.new"):
        (tmp_path / name / "deep").mkdir(parents=True)
    replace(str(path), b"mine")
    replace(str(path), b"mine again")
    assert path.read_bytes() == b"mine again"
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".new") and name != "ended.new"]


def test_what_can_not_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "told.json"
    replace(str(path), b"old")
    with no_file_larger_than(10), pytest.raises(OSError, match="File too large"):
        replace(str(path), b"x" * 100)
    assert os.listdir(tmp_path) == ["told.json"] and path.read_bytes() == b"old"


def test_a_spool_forgets_what_a_killed_life_had_begun(tmp_path: Path) -> None:
    Spool(str(tmp_path), 100).append(0, b"kept")
    for name in (f"{4:020d}.0123456789abcdef.new", f"{4:020d}.new"):
        (tmp_path / name).write_bytes(b"half")
    spool = Spool(str(tmp_path), 100)
    assert os.listdir(tmp_path) == [f"{0:020d}"] and spool.end == 4


def test_a_sweep_leaves_what_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a.new").touch()
    (tmp_path / "b.new").mkdir()
    (tmp_path / "c").touch()
    sweep(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["b.new", "c"]
