"""An attempt's life: made once, found again, ended by every hand that can end it, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jupyter_trainjob.backends.base import AttemptRef, BackendError
from jupyter_trainjob.backends.local import process
from jupyter_trainjob.backends.local.backend import LocalBackend
from jupyter_trainjob.resources.profile import Profile

from .place import Place, a_request, prepared

pytestmark = pytest.mark.asyncio

SLEEP = "print('up', flush=True)\nimport time; time.sleep(60)"


def marked(ref: AttemptRef) -> list[int]:
    """Processes that still belong to an attempt."""
    mark = f"TRAINJOB_ATTEMPT={ref.name}".encode()
    found = []
    for pid in process.all_pids():
        try:
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
        except OSError:
            continue
    return found


def supervisor(place: Place, ref: AttemptRef) -> dict:
    known = place.folder(ref).read("supervisor.json")
    assert known is not None
    return known


async def test_an_unknown_attempt_is_gone(strong: Place) -> None:
    ref = AttemptRef("nobody", 1)
    assert (await strong.backend.observe(ref)).state == "gone"
    await strong.backend.cancel(ref, "")
    await strong.backend.delete(ref)


async def test_creating_twice_makes_one(strong: Place) -> None:
    request = a_request("once", "print('x')\nopen('f', 'a').write('x')")
    await asyncio.gather(*[strong.backend.create(request) for _ in range(4)])
    first = supervisor(strong, request.ref)
    seen = await strong.until(request.ref, "ended")
    await strong.backend.create(request)
    assert supervisor(strong, request.ref) == first
    assert seen.files == [{"path": "f", "size": 1}]
    assert await strong.log(request.ref) == b"x\n"
    assert await strong.backend.attempts() == [request.ref]


async def test_a_crash_between_folder_and_supervisor_is_made_good_at_the_next_start(strong: Place) -> None:
    request = a_request("halfway", "print('made good')")
    settings = strong.backend._settings
    assert settings is not None
    await asyncio.to_thread(prepared, request, settings)
    await strong.stop()
    again = Place(strong.store, **strong.options)
    await again.start()
    try:
        seen = await again.until(request.ref, "ended")
        assert seen.claims["end"]["outcome"] == "ok"
    finally:
        await again.stop()


async def test_a_half_made_folder_is_no_attempt(strong: Place) -> None:
    Path(strong.options["data_dir"], "run", ".new-tj-x-1-abcd").mkdir()
    assert await strong.backend.attempts() == []


async def test_cancel_interrupts_at_once(place: Place) -> None:
    ref = await place.begin(SLEEP)
    await place.log_holds(ref, b"up")
    began = time.monotonic()
    await place.backend.cancel(ref, "not needed")
    await place.backend.cancel(ref, "twice is once")
    seen = await place.until(ref, "ended")
    assert time.monotonic() - began < 1
    assert seen.evidence["cancelled"] == "not needed" and "limit" not in seen.evidence
    assert seen.claims["end"]["outcome"] == "interrupted"
    assert marked(ref) == []


async def test_cancel_of_code_that_does_not_listen(make_place) -> None:
    place = await make_place(grace_seconds=0.6)
    ref = await place.begin("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP)
    await place.log_holds(ref, b"up")
    await place.backend.cancel(ref, "")
    seen = await place.until(ref, "ended", seconds=5)
    assert seen.evidence["cancelled"] == "" and seen.evidence["signal"] == 9


async def test_cancel_before_anything_runs(strong: Place) -> None:
    ref = await strong.begin(SLEEP)
    await strong.backend.cancel(ref, "changed my mind")
    seen = await strong.until(ref, "ended", seconds=12)
    assert seen.evidence["cancelled"] == "changed my mind"
    assert "limit" not in seen.evidence


async def test_delete_of_a_running_attempt_leaves_nothing(place: Place) -> None:
    ref = await place.begin(SLEEP)
    await place.log_holds(ref, b"up")
    known = supervisor(place, ref)
    await place.backend.delete(ref)
    assert (await place.backend.observe(ref)).state == "gone"
    assert await place.backend.attempts() == []
    assert not process.is_alive(known) and marked(ref) == []
    await place.backend.delete(ref)


ORPHAN = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 10)
        time.sleep(30)
    os._exit(0)
os.wait()
time.sleep(0.1)
"""


async def test_what_left_its_session_and_parents_does_not_outlive_the_attempt(place: Place) -> None:
    seen = await place.run(ORPHAN)
    assert seen.claims["end"]["outcome"] == "ok"
    assert marked(seen.ref) == []


async def test_a_supervisor_that_is_killed_takes_the_job_with_it(place: Place) -> None:
    ref = await place.begin("open('kept', 'w').write('so far')\n" + SLEEP)
    await place.log_holds(ref, b"up")
    assert marked(ref)
    assert process.send(supervisor(place, ref), signal.SIGKILL)
    began = time.monotonic()
    seen = await place.until(ref, "ended", seconds=10)
    assert time.monotonic() - began < 3, "its death was not seen at once"
    assert seen.evidence["limit"] == "RunnerLost"
    assert "supervisor was killed" in seen.evidence["message"]
    assert marked(ref) == []
    assert seen.files == [{"path": "kept", "size": 6}]
    assert await place.log(ref) == b"up\n" and seen.log_complete


async def test_a_supervisor_that_is_told_to_stop_ends_the_job_in_order(strong: Place) -> None:
    ref = await strong.begin(SLEEP)
    await strong.log_holds(ref, b"up")
    assert process.send(supervisor(strong, ref), signal.SIGTERM)
    seen = await strong.until(ref, "ended", seconds=10)
    assert seen.evidence["limit"] == "RunnerLost" and seen.claims["end"]["outcome"] == "interrupted"


async def test_after_a_reboot_the_attempt_says_so(strong: Place) -> None:
    ref = await strong.begin(SLEEP)
    await strong.log_holds(ref, b"up")
    known = supervisor(strong, ref)
    process.send(known, signal.SIGSTOP)  # so that its death is not seen before the folder says "another boot"
    strong.folder(ref).write("supervisor.json", {**known, "bootId": "00000000-0000-0000-0000-000000000000"})
    process.send(known, signal.SIGKILL)
    seen = await strong.until(ref, "ended", seconds=10)
    assert seen.evidence["hostRestarted"] is True
    assert seen.evidence["message"] == "The machine restarted while the job ran."
    assert await strong.log(ref) == b"up\n"


async def test_the_attempt_goes_on_while_no_server_is_there(place: Place) -> None:
    ref = await place.begin("print('up', flush=True)\nimport time; time.sleep(1); print('done')")
    await place.log_holds(ref, b"up")
    await place.stop()
    again = Place(place.store, **place.options)
    await again.start()
    try:
        seen = await again.until(ref, "ended")
        assert seen.claims["end"]["outcome"] == "ok" and await again.log(ref) == b"up\ndone\n"
    finally:
        await again.stop()


SERVER = """
import asyncio, signal, sys
from tests.backends.place import Place, a_request
from jupyter_trainjob.storage.filesystem import FilesystemStore

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored

async def main():
    place = Place(FilesystemStore(sys.argv[1]), data_dir=sys.argv[2], runner=(sys.executable, "-I", "-c", sys.argv[3]))
    await place.start()
    await place.backend.create(a_request("survivor", sys.argv[4]))
    await place.log_holds(a_request("survivor", "1").ref, b"up")
    print("running", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
async def test_the_attempt_outlives_a_server_whose_whole_group_is_killed(make_place, tmp_path: Path, number) -> None:
    place = await make_place()
    code = "print('up', flush=True)\nimport time; time.sleep(1.5); print('survived')"
    command = [sys.executable, "-c", SERVER, str(tmp_path / "store"), str(tmp_path / "data")]
    server = subprocess.Popen(
        [*command, place.options["runner"][3], code],
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "SECRET_OF_THE_SERVER": "x"},
    )
    try:
        assert await asyncio.to_thread(server.stdout.readline) == b"running\n"
    finally:
        os.killpg(server.pid, number)
        server.communicate()
    seen = await place.until(AttemptRef("survivor", 1), "ended")
    assert seen.claims["end"]["outcome"] == "ok"
    assert await place.log(seen.ref) == b"up\nsurvived\n"
    for _ in range(200):  # the end is written first, then told to all sockets there are
        sockets = [name for name in os.listdir(tmp_path / "data" / "run") if name.endswith(".sock")]
        if len(sockets) == 1:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the dead server's socket is still there: {sockets}")


async def test_two_servers_see_the_same_attempt(strong: Place) -> None:
    other = Place(strong.store, **strong.options)
    await other.start()
    try:
        ref = await strong.begin(SLEEP)
        await other.until(ref, "running")
        await other.backend.cancel(ref, "from the other")
        seen = await strong.until(ref, "ended")
        assert seen.evidence["cancelled"] == "from the other"
        assert ref in strong.told and ref in other.told
    finally:
        await other.stop()


async def test_a_weaker_sandbox_than_demanded_is_refused(make_place) -> None:
    place = await make_place(minimum_isolation="namespaces", allow_bwrap=False, allow_landlock=False)
    with pytest.raises(BackendError) as told:
        await place.backend.create(a_request("weak", "1"))
    assert told.value.permanent
    assert "The sandbox on this machine is 'process', but 'namespaces' is demanded." in str(told.value)
    assert "bubblewrap is switched off" in str(told.value)
    assert await place.backend.attempts() == []


async def test_a_profile_may_demand_more_than_the_backend(make_place) -> None:
    place = await make_place(allow_bwrap=False)
    request = a_request("weak", "1")
    profile = Profile.model_validate({"kind": "Profile", "spec": {"minimumIsolation": "namespaces+cgroups"}})
    with pytest.raises(BackendError, match="'namespaces\\+cgroups' is demanded"):
        await place.backend.create(type(request)(request.ref, request.job, profile, request.blob_prefix))


async def test_a_process_sandbox_is_a_standing_warning(make_place) -> None:
    place = await make_place(allow_bwrap=False, allow_landlock=False)
    assert "jobs run as ordinary processes" in place.backend.describe()["warnings"][0]
    seen = await place.run("1")
    assert [c["reason"] for c in seen.conditions if c["type"] == "Isolated"] == ["ProcessOnly"]


async def test_a_bubblewrap_that_does_not_work_is_not_used(make_place, tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    place = await make_place(bwrap=str(fake))
    assert place.backend.describe()["isolation"] == "landlock+seccomp"
    assert any("No permissions to create new namespace" in text for text in place.backend.describe()["warnings"])


async def test_an_interpreter_that_does_not_run_is_named(tmp_path: Path, store) -> None:
    backend = LocalBackend(data_dir=str(tmp_path / "data"), python="/no/such/python")
    with pytest.raises(BackendError, match="'/no/such/python' for jobs does not run"):
        await backend.start(store, lambda ref: None)


async def test_a_runner_that_can_not_start_is_the_backends_fault(make_place) -> None:
    place = await make_place(runner=(sys.executable, "-I", "-c", "import sys; sys.exit('no such module')"))
    seen = await place.run("1")
    assert seen.evidence["limit"] == "BackendError" and seen.evidence["exitCode"] == 1
    assert "no such module" in seen.evidence["message"]


async def test_a_runner_of_another_protocol_is_named(make_place) -> None:
    hello = 'import os, time; os.write(3, b\'{"type": "hello", "runnerProtocol": 2}\\n\'); time.sleep(30)'
    place = await make_place(runner=(sys.executable, "-I", "-c", hello))
    seen = await place.run("1")
    assert seen.evidence["limit"] == "BackendError"
    assert "speaks protocol 2, this server speaks 1" in seen.evidence["message"]


async def test_a_runner_that_dies_leaves_its_last_words(strong: Place) -> None:
    seen = await strong.run("import os; os.write(2, b'Fatal Python error: all is lost'); os.kill(os.getpid(), 11)")
    assert "limit" not in seen.evidence and seen.evidence["signal"] == 11
    assert seen.evidence["message"].endswith("Its last words: Fatal Python error: all is lost")


async def test_capacity_is_measured_or_told(make_place) -> None:
    (node,) = await (await make_place()).backend.capacity()
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < node.cpu_millis <= len(os.sched_getaffinity(0)) * 1000
    assert total * 0.4 < node.memory_bytes < total or node.memory_bytes < total
    (node,) = await (await make_place(cpu_millis=1500, memory_bytes=2**31)).backend.capacity()
    assert (node.cpu_millis, node.memory_bytes) == (1500, 2**31)


async def test_a_supervisor_that_fails_says_why(strong: Place) -> None:
    ref = await strong.begin(SLEEP)
    await strong.log_holds(ref, b"up")
    Path(strong.folder(ref).file("supervisor.log")).write_text("Traceback …\nOSError: [Errno 5] Input/output error\n")
    process.send(supervisor(strong, ref), signal.SIGKILL)
    seen = await strong.until(ref, "ended", seconds=10)
    assert seen.evidence["message"].endswith("the job ended with it: OSError: [Errno 5] Input/output error")


async def test_what_crashes_left_half_done_is_tidied_at_the_next_start(strong: Place) -> None:
    run = Path(strong.options["data_dir"], "run")
    (run / ".gone-tj-x-1-77" / "work" / "locked").mkdir(parents=True)
    (run / ".gone-tj-x-1-77" / "work" / "locked").chmod(0)
    (run / ".new-tj-y-1-abcd").mkdir()
    (run / ".new-tj-z-1-abcd").mkdir()
    os.utime(run / ".new-tj-y-1-abcd", (0, 0))
    await strong.stop()
    again = Place(strong.store, **strong.options)
    await again.start()
    await again.stop()
    assert sorted(os.listdir(run)) == [".new-tj-z-1-abcd"]


async def test_a_quiet_attempt_costs_next_to_nothing(place: Place) -> None:
    ref = await place.begin("print('up', flush=True)\nimport time; time.sleep(60)")
    await place.log_holds(ref, b"up")
    await asyncio.sleep(0.5)
    pid, told = supervisor(place, ref)["pid"], len(place.told)

    def used() -> float:
        return sum(int(field) for field in process.stat_fields(pid)[11:13]) / os.sysconf("SC_CLK_TCK")

    before = used()
    await asyncio.sleep(3)
    assert used() - before < 0.3, "more than a tenth of a CPU goes into watching"
    assert len(place.told) - told <= 8, "it tells the server of changes that are none"
    await place.backend.delete(ref)
