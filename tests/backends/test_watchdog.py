"""What is seen of a job's memory and disk from outside, past what it may do to hide it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from jupyter_trainjob.backends.local import watchdog

PASSING = "import sys; print('up', flush=True); sys.stdin.read()"


@contextlib.contextmanager
def a_process(code: str, folder: Path) -> Iterator[int]:
    """One that did what ``code`` says, and waits."""
    command = [sys.executable, "-I", "-c", f"import ctypes, mmap, os, socket\n{code}\n{PASSING}"]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as made:
        assert made.stdin and made.stdout and made.stdout.readline() == b"up\n"
        yield made.pid
        made.stdin.close()


def test_page_tables_are_memory_too(tmp_path: Path) -> None:
    code = """
size = 16 * 2**30
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
place = libc.mmap(None, ctypes.c_size_t(size), 1, 0x4022, -1, ctypes.c_size_t(0))
libc.madvise(ctypes.c_void_p(place), ctypes.c_size_t(size), 15)
for start in range(0, size, 2**21):
    ctypes.string_at(place + start, 1)
"""
    with a_process(code, tmp_path) as pid:
        tables = watchdog.Tables()
        bare = watchdog.look([pid], exact_above=20 * 2**20).memory_bytes
        assert watchdog.look([pid], exact_above=20 * 2**20, tables=tables).memory_bytes > bare + 24 * 2**20
        assert watchdog.look([pid], exact_above=20 * 2**20, tables=tables).memory_bytes > bare + 24 * 2**20


def test_files_without_a_name_count_while_they_are_mapped(tmp_path: Path) -> None:
    code = """
with open("x", "w+b") as file:
    file.write(bytes(2**23))
    file.flush()
    kept = mmap.mmap(file.fileno(), 4096)
os.unlink("x")
"""
    with a_process(code, tmp_path) as pid:
        nameless = watchdog.Nameless(tmp_path.stat().st_dev, 2**23)
        assert nameless.bytes([pid], 10.0) >= 2**23
        assert nameless.bytes([pid], 10.1) >= 2**23, "also between two looks"
    assert nameless.bytes([pid], 20.0) == 0


def test_a_large_folder_is_counted_in_slices(tmp_path: Path) -> None:
    for folder in range(3):
        (tmp_path / f"{folder}").mkdir()
        for number in range(400):
            (tmp_path / f"{folder}" / f"{number}").touch()
    before = len(os.listdir("/proc/self/fd"))
    walk, slices = watchdog.Walk([str(tmp_path)]), 1
    while not walk.go_on(0.0):
        slices += 1
    assert slices >= 6 and walk.found.files == 3 * 401 == watchdog.disk([str(tmp_path)]).files
    broken_off = watchdog.Walk([str(tmp_path)])
    assert not broken_off.go_on(0.0)
    broken_off.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_became_a_link_leads_nowhere(tmp_path: Path) -> None:
    work, host = tmp_path / "work", tmp_path / "host"
    (work / "a/b").mkdir(parents=True)
    (host / "b").mkdir(parents=True)
    (host / "b/large").write_bytes(bytes(2**20))
    walk = watchdog.Walk([str(work)])
    while walk.found.files < 2:
        assert not walk.go_on(0.0)  # until it has seen b, and not looked into it
    (work / "a").rename(work / "aside")
    (work / "a").symlink_to(host)
    assert walk.go_on(60.0)
    assert walk.found.used_bytes < 2**20


def test_what_lies_deeper_than_a_path_may_name_is_counted_and_no_folder_stays_open(tmp_path: Path) -> None:
    opened = len(os.listdir("/proc/self/fd"))
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 100, dir_fd=here)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    with os.fdopen(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here), "wb") as file:
        file.write(bytes(2**20))
    os.close(here)
    found = watchdog.disk([str(tmp_path)])
    assert (found.files, found.largest_file_bytes, found.unseen) == (61, 2**20, "")
    assert found.used_bytes >= 2**20
    broken_off = watchdog.Walk([str(tmp_path)])
    broken_off.go_on(0)
    broken_off.close()
    assert len(os.listdir("/proc/self/fd")) == opened
