"""What goes wrong around an attempt: no supervisor, a store that is away, files cut short, no room."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from jupyter_trainjob.backends.base import AttemptRef, BackendError
from jupyter_trainjob.backends.local import attempt, cgroups, finish, process, recover, runtime
from jupyter_trainjob.backends.local.courier import Courier
from jupyter_trainjob.backends.local.events import EventReader
from jupyter_trainjob.backends.local.folder import Folder, try_lock
from jupyter_trainjob.backends.local.report import Report
from jupyter_trainjob.resources import mishaps
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.storage.logs import LogWriter, join

from .place import Place, a_request, prepared

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
SLEEP = "print('up', flush=True)\nimport time; time.sleep(60)"


def a_script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def killed(place: Place, ref: AttemptRef) -> None:
    """End the attempt's supervisor, and see to it that it is dead."""
    known = place.folder(ref).read("supervisor.json")
    assert known and process.send(known, signal.SIGKILL)
    while process.is_alive(known):
        time.sleep(0.005)


# A supervisor that does not start


@pytest.mark.asyncio
async def test_a_supervisor_that_can_not_start_leaves_nothing_and_the_next_try_works(
    strong: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = a_request("unstarted", "print('at last')")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", a_script(tmp_path / "broken", "echo 'no memory left' >&2; exit 1"))
        with pytest.raises(BackendError, match=r"supervisor can't be started: .*no memory left") as told:
            await strong.backend.create(request)
        assert not told.value.permanent
        assert (await strong.backend.observe(request.ref)).state == "gone"
        assert await strong.backend.attempts() == []
    await strong.backend.create(request)
    assert (await strong.until(request.ref, "ended")).claims["end"]["outcome"] == "ok"


@pytest.mark.asyncio
async def test_a_supervisor_that_started_in_spite_of_all_is_not_orphaned(
    strong: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", a_script(tmp_path / "odd", f'"{sys.executable}" "$@"; exit 1'))
    seen = await strong.run("print('fine')")
    assert seen.claims["end"]["outcome"] == "ok" and await strong.log(seen.ref) == b"fine\n"


@pytest.mark.asyncio
async def test_a_prepared_attempt_that_can_not_be_taken_up_is_gone(
    strong: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = a_request("halfway", "1")
    assert strong.backend._settings is not None
    await asyncio.to_thread(prepared, request, strong.backend._settings)
    monkeypatch.setattr(sys, "executable", a_script(tmp_path / "broken", "exit 1"))
    await strong.until(request.ref, "gone", seconds=10)


@pytest.mark.asyncio
async def test_a_folder_is_not_discarded_while_another_has_its_lock(strong: Place) -> None:
    request = a_request("busy", "1")
    assert strong.backend._settings is not None
    folder = await asyncio.to_thread(prepared, request, strong.backend._settings)
    lock = try_lock(folder.file("lock"))
    assert lock is not None
    discarding = asyncio.create_task(asyncio.to_thread(recover.discard, folder))
    await asyncio.sleep(0.2)
    assert not discarding.done() and os.path.isdir(folder.path)
    folder.write("supervisor.json", process.identity(os.getpid()))
    assert await discarding is False and os.path.isdir(folder.path)
    os.unlink(folder.file("supervisor.json"))
    os.close(lock)
    assert await asyncio.to_thread(recover.discard, folder) is True
    assert not os.path.exists(folder.path) and recover.discard(folder) is True


def test_the_lock_of_a_removed_file_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tmp_path / "lock", os.open

    def removed_meanwhile(*arguments: object, **named: object) -> int:
        descriptor = real(*arguments, **named)  # type: ignore[arg-type]
        path.unlink()
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", removed_meanwhile)
        assert try_lock(str(path)) is None
    assert try_lock(str(path)) is not None


# A store that does not take the end of the log


@contextmanager
def small_disk(path: Path, size: str):
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@ROOT
def test_a_log_that_the_store_does_not_take_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish, "LOG_SECONDS", 0.5)
    folder = Folder(str(tmp_path / "tj-u-1"))
    for name in ("work", "out"):
        (tmp_path / "tj-u-1" / name).mkdir(parents=True)
    orders = {"prefix": "jobs/u/1/", "results": [], "keep": ["**"], "inputs": []}
    orders["limits"] = {"log_bytes": 2**26, "disk_bytes": None}
    with small_disk(tmp_path / "small", "1m"):
        store = FilesystemStore(tmp_path / "small" / "store")
        spool = Path(folder.file("log.spool"))
        log, report = LogWriter(store, "jobs/u/1/", spool=spool), Report(folder, "u", 1, "process")
        log.write(b"x" * 3 * 2**20)
        courier = Courier(store, folder, orders)
        finish.Finisher(folder, orders, store, log, report, courier).finish({"exitCode": 0}, EventReader())
        report.flush(now=True)
        state = folder.read("state.json")
        assert state and state["state"] == "ended" and state["evidence"]["limit"] == "StorageError"
        assert (
            "The end of the log could not be stored and is kept where the job ran, as tj-u-1: Can't store"
            in (state["evidence"]["message"])
        )
        assert (state["log"]["size"], state["log"]["complete"]) == (3 * 2**20, False)
        assert [(c["type"], c["status"], c["reason"]) for c in state["conditions"]] == [
            ("LogComplete", "False", "StoreAway")
        ]
        recover.remove(folder, str(tmp_path / "kept"))
        kept = tmp_path / "kept" / "tj-u-1" / "log.spool"
        assert kept.stat().st_size > 2**20
        subprocess.run(["mount", "-o", "remount,size=16m", str(tmp_path / "small")], check=True)
        assert join(store, "jobs/u/1/", spool=kept).size == 3 * 2**20, "the log can't be finished from what was kept"


@pytest.mark.asyncio
async def test_a_supervisor_that_died_between_log_and_exit_record_is_recovered(strong: Place) -> None:
    ref = await strong.begin(SLEEP)
    await strong.log_holds(ref, b"up")
    killed(strong, ref)
    join(strong.store, f"jobs/{ref.uid}/{ref.attempt}/")
    seen = await strong.until(ref, "ended", seconds=10)
    assert seen.evidence["limit"] == "RunnerLost" and seen.log_complete and seen.log_size == 3


# Nothing waits behind what takes long


class Stuck(FilesystemStore):
    """A store that gives nothing until it is told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go = threading.Event()

    def stat(self, key: str):
        self.go.wait(30)
        return super().stat(key)


@pytest.mark.asyncio
async def test_observe_and_cancel_do_not_wait_for_creates(make_place, tmp_path: Path) -> None:
    place = await make_place()
    ref = await place.begin(SLEEP)
    await place.log_holds(ref, b"up")
    stuck = Stuck(tmp_path / "store")
    place.backend._settings = type(place.backend._settings)(**{**vars(place.backend._settings), "store": stuck})
    inputs = [{"type": "upload", "digest": "sha256:" + "0" * 64, "path": "x"}]
    requests = [a_request(f"slow-{n}", "1", inputs=inputs) for n in range(12)]
    creates = [asyncio.create_task(place.backend.create(request)) for request in requests]
    try:
        await asyncio.sleep(0.2)
        began = time.monotonic()
        assert (await asyncio.wait_for(place.backend.observe(ref), 5)).state == "running"
        await asyncio.wait_for(place.backend.cancel(ref, "now"), 5)
        assert (await place.until(ref, "ended", seconds=8)).evidence["cancelled"] == "now"
        assert time.monotonic() - began < 5
        assert not any(create.done() for create in creates)
    finally:
        stuck.go.set()
        ends = await asyncio.gather(*creates, return_exceptions=True)
    assert all(isinstance(end, BackendError) for end in ends)


@pytest.mark.asyncio
async def test_a_lost_attempt_is_told_as_it_was_until_it_is_recovered(
    strong: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, calls, real = threading.Event(), [], recover.recover

    def slow(folder: Folder) -> bool:
        calls.append(folder)
        go.wait(30)
        return real(folder)

    monkeypatch.setattr(recover, "recover", slow)
    ref = await strong.begin(SLEEP)
    await strong.log_holds(ref, b"up")
    killed(strong, ref)
    try:
        deadline = time.monotonic() + 5
        while not calls and time.monotonic() < deadline:
            assert (await asyncio.wait_for(strong.backend.observe(ref), 5)).state == "running"
            await asyncio.sleep(0.01)
        for _ in range(10):
            assert (await asyncio.wait_for(strong.backend.observe(ref), 5)).state == "running"
        assert len(calls) == 1, "one recovery at a time"
    finally:
        go.set()
    assert (await strong.until(ref, "ended", seconds=10)).evidence["limit"] == "RunnerLost"


@pytest.mark.asyncio
async def test_a_recovery_that_fails_is_told_and_tried_again(
    strong: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jupyter_trainjob.backends.local.backend.AGAIN_SECONDS", 0.1)
    failures, real = [OSError(24, "Too many open files"), RuntimeError("unheard of")], recover.recover

    def failing(folder: Folder) -> bool:
        if failures:
            raise failures.pop(0)
        return real(folder)

    monkeypatch.setattr(recover, "recover", failing)
    ref = await strong.begin(SLEEP)
    await strong.log_holds(ref, b"up")
    killed(strong, ref)
    assert (await strong.until(ref, "ended", seconds=10)).evidence["limit"] == "RunnerLost"
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text.rsplit(": ")[-1] for text in told] == ["[Errno 24] Too many open files", "unheard of"]


# The poller, and files cut short


@pytest.mark.asyncio
async def test_the_poller_survives_a_moment_without_descriptors(
    strong: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jupyter_trainjob.backends.local.backend.POLL_SECONDS", 0.05)
    await asyncio.sleep(2.1)  # the sleep that is on
    real, fails = os.listdir, [2]

    def listdir(path: object = ".") -> list[str]:
        if path == strong.backend._run and fails[0]:
            fails[0] -= 1
            raise OSError(24, "Too many open files")
        return real(path)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "listdir", listdir)
    await asyncio.sleep(0.5)
    assert fails == [0] and strong.backend._poller is not None and not strong.backend._poller.done()
    assert caplog.text.count("The attempts can't be looked at now; that will be tried again") == 2
    ref = await strong.begin("1")
    strong.told.clear()
    await strong.until(ref, "ended")
    assert ref in strong.told


@pytest.mark.asyncio
async def test_of_a_full_disk_the_backend_says_one_line(
    strong: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full, failed = OSError(errno.ENOSPC, "No space left on device"), [0]

    def failing(*arguments: object) -> None:
        failed[0] += 1
        raise full

    mishaps.told.forget()
    monkeypatch.setattr("jupyter_trainjob.backends.local.backend.POLL_SECONDS", 0.05)
    await asyncio.sleep(2.1)  # the sleep that is on
    ref = await strong.begin(SLEEP)
    await strong.log_holds(ref, b"up")
    strong.backend._forget(ref)
    for look in (attempt, "watch"), (os, "listdir"):  # first at each attempt, then at their list
        with monkeypatch.context() as patched:
            patched.setattr(*look, failing)
            while failed[0] < 5:
                await asyncio.sleep(0.05)
        failed[0] = 0
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [(record.getMessage(), record.exc_info) for record in told] == [
        (
            f"Attempt {ref.name} can't be looked at now: the disk is full. Free some space; this is told once a minute "
            "while it lasts. ([Errno 28] No space left on device)",
            None,
        )
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["", "\0\0\0", "[]", '{"pid": 1'])
async def test_an_unreadable_supervisor_record_is_a_lost_attempt(strong: Place, text: str) -> None:
    ref = await strong.begin(SLEEP)
    await strong.log_holds(ref, b"up")
    killed(strong, ref)
    await strong.stop()
    Path(strong.folder(ref).file("supervisor.json")).write_text(text)
    again = Place(strong.store, **strong.options)
    await again.start()
    try:
        seen = await again.until(ref, "ended", seconds=10)
        assert seen.evidence["limit"] == "RunnerLost" and await again.log(ref) == b"up\n"
        await again.backend.delete(ref)
        assert await again.backend.attempts() == []
    finally:
        await again.stop()


@pytest.mark.asyncio
async def test_unreadable_orders_end_the_attempt_and_keep_its_folder(place: Place) -> None:
    child = "import subprocess\nsubprocess.Popen(['sleep', '60'], start_new_session=True)\n"
    ref = await place.begin(f"open('kept', 'w').write('x')\n{child}{SLEEP}")
    await place.log_holds(ref, b"up")
    assert recover._marked(ref.name)
    Path(place.folder(ref).file("attempt.json")).write_text("")
    killed(place, ref)
    seen = await place.until(ref, "ended", seconds=10)
    assert recover._marked(ref.name) == []
    assert seen.evidence["limit"] == "StorageError"
    assert seen.evidence["message"].startswith("The attempt's orders (attempt.json) can't be read, after a power cut")
    await place.backend.delete(ref)
    assert Path(place.options["data_dir"], "kept", ref.name, "work", "kept").read_text() == "x"


@pytest.mark.asyncio
async def test_orders_that_were_unreadable_from_the_start_end_the_attempt(strong: Place) -> None:
    request = a_request("cut", "1")
    assert strong.backend._settings is not None
    folder = await asyncio.to_thread(prepared, request, strong.backend._settings)
    Path(folder.file("attempt.json")).write_text("")
    assert (await strong.until(request.ref, "ended", seconds=10)).evidence["limit"] == "StorageError"


@pytest.mark.asyncio
async def test_an_unreadable_state_is_none(strong: Place) -> None:
    ref = await strong.begin(SLEEP)
    await strong.log_holds(ref, b"up")
    killed(strong, ref)
    Path(strong.folder(ref).file("state.json")).write_text("")
    assert (await strong.backend.observe(ref)).state == "starting"
    assert (await strong.until(ref, "ended", seconds=10)).evidence["limit"] == "RunnerLost"


def test_what_must_outlast_a_power_cut_is_flushed_before_it_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, flushed, real = Folder(str(tmp_path)), [], os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append((os.readlink(f"/proc/self/fd/{descriptor}"), os.fstat(descriptor).st_size))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    folder.write("supervisor.json", {"pid": 1}, durable=True)
    folder.write("progress.json", {"pid": 1})
    report = Report(folder, "u", 1, "")
    report.flush(now=True)
    assert flushed == [(str(tmp_path / "supervisor.json.new"), len('{"pid": 1}'))]
    report.update(state="ended")
    report.flush(now=True)
    assert [path for path, _ in flushed[1:]] == [str(tmp_path / "state.json.new")]


# Cancel


def test_a_cancel_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, seen, real = Folder(str(tmp_path)), [], os.link

    def link(source: str, target: str) -> None:
        seen.append(folder.cancel_message())
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    attempt.cancel(folder, "enough")
    attempt.cancel(folder, "enough, I said")
    assert seen == [None, "enough"] and folder.cancel_message() == "enough"
    assert os.listdir(tmp_path) == ["cancel"]
    assert stat.S_IMODE((tmp_path / "cancel").stat().st_mode) == 0o600


@ROOT
def test_a_cancel_on_a_full_disk_loses_its_words_only(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "64k") as disk:
        with pytest.raises(OSError, match="No space left"), (disk / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        attempt.cancel(Folder(str(disk)), "make room")
        assert Folder(str(disk)).cancel_message() == ""


# What earlier lives left


@pytest.mark.asyncio
async def test_empty_groups_of_attempts_that_are_no_more_are_removed(strong: Place) -> None:
    settings = strong.backend._settings
    assert settings is not None
    if not settings.offer.cgroups:
        pytest.skip("no control groups can be made here")
    ref = await strong.begin(SLEEP)
    await strong.log_holds(ref, b"up")
    mine = settings.cgroup_owner
    orders = strong.folder(ref).read("attempt.json")
    assert orders and all(mine in path for path in orders["cgroup"]["folders"].values())
    names = {"left": f"{mine}.tj-left-1", "busy": f"{mine}.tj-busy-1", "others": "0123456789ab.tj-left-1"}
    groups = {what: cgroups.find(name) for what, name in names.items()}
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        for group in groups.values():
            assert group is not None
            group.create()
        groups["busy"].enter(sleeper.pid)
        await strong.stop()
        again = Place(strong.store, **strong.options)
        await again.start()
        assert again.backend._settings is not None and again.backend._settings.cgroup_owner == mine
        there = {what: [os.path.isdir(path) for path in group.folders.values()] for what, group in groups.items()}
        assert not any(there["left"]) and all(there["busy"]) and all(there["others"])
        assert all(os.path.isdir(path) for path in orders["cgroup"]["folders"].values())
        await again.backend.cancel(ref, "")
        await again.until(ref, "ended")
        await again.stop()
    finally:
        sleeper.kill()
        sleeper.wait()
        for group in groups.values():
            group.remove()


def test_each_data_folder_has_a_mark_of_its_own(tmp_path: Path) -> None:
    first = cgroups.owner(str(tmp_path / "a"))
    assert first == cgroups.owner(str(tmp_path / "a")) != cgroups.owner(str(tmp_path / "b"))
    (tmp_path / "a").write_text("")
    assert cgroups.owner(str(tmp_path / "a")) == ""


def test_the_trait_to_set_is_named() -> None:
    with pytest.raises(BackendError) as told:
        runtime.inspect("/no/such/python", [])
    assert "Set LocalBackendSettings.python to" in told.value.remedy
