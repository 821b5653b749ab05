"""What comes from inside the job: reports that are checked, and files that are taken with care."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from jupyter_trainjob.backends.local import collect, finish
from jupyter_trainjob.backends.local.events import EVENTS_PER_SECOND, LINE_BYTES, EventReader
from jupyter_trainjob.backends.local.folder import Folder
from jupyter_trainjob.backends.local.limits import Limits, Outside, verdict
from jupyter_trainjob.backends.rules import size
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .place import Place

END = {"type": "end", "outcome": "ok", "error": None, "results": []}


def test_events_come_whole_however_the_bytes_are_cut() -> None:
    lines = [{"type": "started"}, {"type": "notebook"}, END]
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    for cut in range(1, len(data)):
        reader = EventReader()
        found = [event for piece in (data[:cut], data[cut:]) for event in reader.feed(piece, 0.0)]
        assert [event["type"] for event in found] == ["started", "notebook", "end"] and reader.malformed == 0


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"[]",
        b'{"type": "unheard"}',
        b'{"type": "end", "outcome": "fine"}',
        b'{"type": "end", "outcome": "ok", "results": {}}',
        b'{"type": "end", "outcome": "error", "error": "text"}',
        b'{"type": "progress", "cellsDone": -1, "cells": 1}',
        b'{"type": "progress", "cellsDone": true, "cells": 1}',
        b'{"type": "progress", "cellsDone": 1, "cells": 1, "fraction": 2}',
        b'{"type": "progress", "cellsDone": 1, "cells": 1, "fraction": NaN}',
        b'{"type": "progress", "cellsDone": 1, "cells": 1, "message": {}}',
        b'{"type": "hello", "runnerProtocol": "1"}',
        b'{"type": "waiting", "unready": 5}',
        b'{"type": "started"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"type": "started", "x": "' + b"x" * LINE_BYTES + b'"}',
    ],
    ids=lambda line: line[:40].decode("latin-1"),
)
def test_a_malformed_event_is_counted_and_dropped(line: bytes) -> None:
    reader = EventReader()
    assert [event["type"] for event in reader.feed(line + b'\n{"type": "started"}\n', 0.0)] == ["started"]
    assert reader.malformed == 1


def test_a_line_without_end_takes_no_memory() -> None:
    reader = EventReader()
    for _ in range(64):
        assert reader.feed(b"x" * 2**20, 0.0) == []
        assert len(reader._rest) <= LINE_BYTES
    assert [event["type"] for event in reader.feed(b'\n{"type": "started"}\n', 0.0)] == ["started"]


def test_texts_are_bounded_and_can_be_stored() -> None:
    error = {"ename": "E" * 999, "evalue": "\ud800", "traceback": "t" * 10**6, "line": 3, "extra": "dropped"}
    line = json.dumps({"type": "end", "outcome": "error", "error": error, "results": [{"name": "x", "size": 1}] * 999})
    (event,) = EventReader().feed(line.encode() + b"\n", 0.0)
    assert len(event["error"]["ename"]) == 200 and len(event["error"]["traceback"]) == 65536
    assert event["error"]["evalue"] == "?" and "extra" not in event["error"]
    assert len(event["results"]) == 256
    json.dumps(event, allow_nan=False).encode("utf-8")


def test_why_a_runner_could_not_begin_is_said_once() -> None:
    """It tells it in a report and on stderr."""
    told = finish.evidence(2 << 8, None, "BackendError", "R needs 256 files.", None, b"R needs 256 files.\n")
    assert told["message"] == "R needs 256 files."
    told = finish.evidence(2 << 8, None, "BackendError", "It speaks protocol 2.", None, b"Killed\n")
    assert told["message"] == "It speaks protocol 2. Killed"


def test_how_a_result_was_written_is_passed_on() -> None:
    """Without it, what R brings home would be opened as a pickle."""
    told = {"name": "df", "size": 9, "type": "data.frame", "format": "frame", "python": "", "error": ""}
    [event] = EventReader().feed(json.dumps({**END, "results": [told]}).encode() + b"\n", 0.0)
    assert event["results"] == [told]


def test_too_many_reports_are_dropped_but_never_the_end() -> None:
    reader = EventReader()
    progress = b'{"type": "progress", "cellsDone": 0, "cells": 1}\n'
    kept = reader.feed(progress * 1000 + json.dumps(END).encode() + b"\n", 7.5)
    assert len(kept) == EVENTS_PER_SECOND + 1 and kept[-1]["type"] == "end"
    assert reader.dropped == 1000 - EVENTS_PER_SECOND
    assert len(reader.feed(progress, 8.1)) == 1


@pytest.mark.asyncio
async def test_garbage_on_the_event_pipe_is_a_condition_and_changes_nothing(strong: Place) -> None:
    code = (
        "import os\nos.write(3, b'{broken\\n' + os.urandom(50000) + b'\\n')\ntell(type='started')\nprint('still here')"
    )
    seen = await strong.run(code)
    assert seen.claims["end"]["outcome"] == "ok"
    (condition,) = [one for one in seen.conditions if one["type"] == "RunnerReports"]
    assert condition["status"] == "False" and "were malformed" in condition["message"]


@pytest.mark.asyncio
async def test_the_job_can_not_call_its_failure_the_infrastructures(strong: Place) -> None:
    seen = await strong.run("tell(type='failed', message='the backend did it')\nraise ValueError(1)")
    assert "limit" not in seen.evidence and seen.claims["end"]["error"]["ename"] == "ValueError"


# Which limit it was

LIMITS = Limits(memory_bytes=2**29, processes=32, disk_bytes=2**30, file_size_bytes=2**26, open_files=128)
ALL = frozenset({"nproc", "nofile", "fsize"})


def an_end(outcome: str, ename: str = "", evalue: str = "", traceback: str = "") -> dict:
    return {"outcome": outcome, "error": {"ename": ename, "evalue": evalue, "traceback": traceback}}


@pytest.mark.parametrize(
    ("outside", "end", "limit"),
    [
        (Outside(), an_end("ok"), ""),
        (Outside(), an_end("error", "ValueError", "x"), ""),
        (Outside(), None, ""),
        (Outside(struck="TimeLimit", struck_message="m"), an_end("interrupted"), "TimeLimit"),
        (Outside(struck="TimeLimit", struck_message="m"), an_end("ok"), ""),
        (Outside(struck="DiskLimit", oom_kills=1), None, "DiskLimit"),
        (Outside(oom_kills=1), an_end("kernelDied"), "OutOfMemory"),
        (Outside(oom_kills=1), an_end("ok"), ""),
        (Outside(), an_end("error", "MemoryError"), ""),
        (Outside(task_refusals=3), an_end("error", "ValueError", "x"), ""),
        (Outside(task_refusals=3), an_end("error", "RuntimeError", "can't start new thread"), "ProcessLimit"),
        (Outside(task_refusals=3), an_end("kernelDied"), "ProcessLimit"),
        (Outside(), an_end("error", "BlockingIOError", "[Errno 11] Resource temporarily unavailable"), ""),
        (Outside(rlimits=ALL), an_end("error", "BlockingIOError", "[Errno 11] x", "sock.recv(1)"), ""),
        (Outside(rlimits=ALL), an_end("error", "BlockingIOError", "[Errno 11] x", "os.fork()"), "ProcessLimit"),
        (Outside(rlimits=ALL, peak_tasks=56), an_end("error", "BlockingIOError", "[Errno 11] x"), "ProcessLimit"),
        (Outside(rlimits=ALL), an_end("error", "OSError", "[Errno 24] Too many open files"), "OpenFilesLimit"),
        (Outside(), an_end("error", "OSError", "[Errno 24] Too many open files"), ""),
        (Outside(rlimits=ALL), an_end("error", "OSError", "[Errno 27] File too large"), "FileSizeLimit"),
        (Outside(rlimits=ALL, largest_file_bytes=2**26), an_end("kernelDied"), "FileSizeLimit"),
        (Outside(shm_full=True), an_end("error", "OSError", "[Errno 28] No space left"), "DiskLimit"),
        (Outside(shm_full=True), an_end("kernelDied"), "DiskLimit"),
        (Outside(shm_full=True), an_end("error", "ValueError", "x"), ""),
        (
            Outside(shm_sized=True, host_free_bytes=2**40),
            an_end("error", "OSError", "[Errno 28] No space"),
            "DiskLimit",
        ),
        (Outside(shm_sized=True, host_free_bytes=2**40), an_end("error", "OSError", "[Errno 5] I/O"), ""),
        (Outside(shm_sized=True, host_free_bytes=4096), an_end("error", "OSError", "[Errno 28] No"), "StorageError"),
        (Outside(host_free_bytes=4096), an_end("error", "OSError", "[Errno 28] No space left"), "StorageError"),
        (Outside(host_free_bytes=2**40), an_end("error", "OSError", "[Errno 28] No space left"), ""),
    ],
)
def test_which_limit_it_was(outside: Outside, end: dict | None, limit: str) -> None:
    found, message = verdict(outside, LIMITS, end)
    assert found == limit
    assert bool(message) == bool(limit) or outside.struck


def test_sizes_are_written_for_people() -> None:
    assert [size(n) for n in (0, 1000, 2**29, 3 * 2**29, 2**41)] == [
        "0 bytes",
        "1000 bytes",
        "512 MiB",
        "1.5 GiB",
        "2048 GiB",
    ]


# What is brought home


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_only_regular_files_with_one_name_come_home(work: Path, tmp_path: Path, store: FilesystemStore) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (work / "a" / "b").mkdir(parents=True)
    (work / "a" / "b" / "deep").write_text("deep")
    (work / "plain").write_text("plain")
    (work / "empty").touch()
    (work / "link").symlink_to(secret)
    (work / "folder-link").symlink_to(tmp_path)
    os.link(secret, work / "hard")
    os.mkfifo(work / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(work / "socket"))
    (work / "input").symlink_to(secret)
    (work / "back\\slash").write_text("x")
    Path(os.fsdecode(os.fsencode(work) + b"/\xff")).write_text("x")
    found = collect.files(store, "jobs/u/1/", str(work), ["**"], ["input"])
    assert found.files == [{"path": "a/b/deep", "size": 4}, {"path": "empty", "size": 0}, {"path": "plain", "size": 5}]
    assert (found.total, found.bytes) == (3, 9)
    assert {info.key for info in store.list("jobs/u/1/")} == {
        f"jobs/u/1/files/{p}" for p in ("a/b/deep", "empty", "plain")
    }
    told = "; ".join(found.skipped)
    for words in ("'link' is a link", "'hard' has several names", "'fifo' is no regular file", "can't be stored"):
        assert words in told
    assert "input" not in told and "secret" not in told
    condition = found.condition()
    assert condition and condition["type"] == "OutputsComplete" and condition["message"].startswith("Not kept: ")
    assert "more)." in condition["message"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device files")
def test_a_device_is_no_output(work: Path, store: FilesystemStore) -> None:
    subprocess.run(["mknod", str(work / "disk"), "b", "7", "0"], check=True)
    found = collect.files(store, "p/", str(work), ["**"], [])
    assert found.total == 0 and found.skipped == ["'disk' is no regular file"]


def test_the_globs_choose(work: Path, store: FilesystemStore) -> None:
    for path in ("top.csv", "top.txt", "out/a.csv", "out/x/b.csv", "out/x/c.txt", "[x].csv"):
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).touch()

    def kept(*globs: str) -> list[str]:
        return [one["path"] for one in collect.files(store, "p/", str(work), list(globs), []).files]

    assert kept("*.csv") == ["[x].csv", "top.csv"]
    assert kept("**/*.csv") == ["[x].csv", "out/a.csv", "out/x/b.csv", "top.csv"]
    assert kept("out/") == ["out/a.csv", "out/x/b.csv", "out/x/c.txt"]
    assert kept("out/*") == ["out/a.csv"]
    assert kept("top.???") == ["top.csv", "top.txt"]
    assert kept("[tz]op.[!c]*") == ["top.txt"]
    assert kept() == []


def test_a_very_deep_folder_is_left_and_told(work: Path, store: FilesystemStore) -> None:
    deep = work
    for _ in range(collect.MAX_DEPTH + 2):
        deep = deep / "d"
        deep.mkdir()
    (deep / "x").touch()
    found = collect.files(store, "p/", str(work), ["**"], [])
    assert found.total == 0 and "folders deep" in found.skipped[0]


def test_nobody_looks_around_for_files_that_nobody_asked_for(work: Path, store: FilesystemStore) -> None:
    deep = work
    for _ in range(collect.MAX_DEPTH + 2):
        deep = deep / "d"
        deep.mkdir()
    found = collect.files(store, "p/", str(work), [], [])
    assert (found.total, found.skipped) == (0, [])


def test_one_file_is_never_reached_through_a_link(work: Path, tmp_path: Path, store: FilesystemStore) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "r").write_text("secret")
    (work / "results").symlink_to(tmp_path / "elsewhere")
    (work / "notebook.ipynb").symlink_to(tmp_path / "elsewhere" / "r")
    assert collect.one_file(store, "k1", str(work), "results/r", maximum=10**6) is None
    assert collect.one_file(store, "k2", str(work), "notebook.ipynb", maximum=10**6) is None
    assert collect.one_file(store, "k3", str(work), "missing", maximum=10**6) is None
    (work / "large").write_text("12345")
    found = collect.Collected()
    assert collect.one_file(store, "k4", str(work), "large", maximum=4, found=found) is None
    assert found.skipped == ["'large' is larger than 4 bytes"]
    assert collect.one_file(store, "k4", str(work), "large", maximum=5) == 5
    assert [info.key for info in store.list("")] == ["k4"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_the_end_is_written_down_on_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        folder = Folder(str(disk))
        folder.write("state.json", {"state": "running"})
        folder.make_reserve()
        with (disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(4096))
        folder.write("state.json", {"state": "ended", "files": ["x" * 100] * 300})
        assert (folder.read("state.json") or {})["state"] == "ended"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.asyncio
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
async def test_a_store_that_is_full_is_a_storage_error_and_the_folder_is_kept(make_place, tmp_path: Path) -> None:
    disk = tmp_path / "small"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=True)
    try:
        place = await make_place()
        place.store = small = FilesystemStore(disk / "store")
        place.backend._settings = type(place.backend._settings)(**{**vars(place.backend._settings), "store": small})
        seen = await place.run("open('big', 'wb').write(bytes(20 * 2**20))")
        assert seen.evidence["limit"] == "StorageError"
        assert "could not be stored and are kept where the job ran, as tj-" in seen.evidence["message"]
        await place.backend.delete(seen.ref)
        kept = Path(place.options["data_dir"], "kept", seen.ref.name)
        assert (kept / "work" / "big").stat().st_size == 20 * 2**20
        assert (await place.backend.observe(seen.ref)).state == "gone"
    finally:
        subprocess.run(["umount", str(disk)], check=True)
