"""Kernels that wait for jobs: a job that finds one is the same job, only sooner."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.paths import jupyter_path

from jupyter_trainjob.backends.base import AttemptRequest
from jupyter_trainjob.backends.local import process
from jupyter_trainjob.backends.local.folder import Folder, try_lock
from jupyter_trainjob.backends.local.waiting import Waiting
from jupyter_trainjob.backends.local.warm import slot
from jupyter_trainjob.backends.local.warm.kinds import blank, kind
from jupyter_trainjob.backends.local.warm.pool import Pool, Warmth
from jupyter_trainjob.backends.local.warm.sizes import MOST, WINDOW_SECONDS, Kind, plan, wanted
from jupyter_trainjob.resources.profile import Profile, standard_resources
from jupyter_trainjob.resources.trainjob import FIRST_CHOSEN_SEED
from tests.scala import share_compiled

from .conftest import LEVELS, MakePlace
from .place import Place, a_request
from .test_local_languages import needs_r, needs_scala

SEED = FIRST_CHOSEN_SEED + 7
GIB = 2**30
STANDARD = standard_resources()
ENOUGH = {"cpu": STANDARD.cpu, "shm": STANDARD.shm, "memory": "1Gi", "openFiles": 512, "processes": 128}


def same(place: Place) -> list[slot.Slot]:
    return list(slot.there(f"{place.options['data_dir']}/run"))


async def ready(place: Place, count: int = 1, seconds: float = 300) -> list[slot.Slot]:
    """Wait until so many kernels wait."""
    until = time.monotonic() + seconds
    while place.backend.describe()["warm"]["warm"] < count:
        assert time.monotonic() < until, place.backend.describe()
        await asyncio.sleep(0.05)
    return [one for one in await asyncio.to_thread(same, place) if one.warm]


async def warm_place(
    make_place: MakePlace, level: str = "", kernelspec_dirs: tuple[str, ...] = (), **warmth: Any
) -> Place:
    given = {"budget_bytes": GIB, "least": {"default": 1}, **warmth}
    kernels = kernelspec_dirs or tuple(jupyter_path("kernels"))
    options = {**(LEVELS[level] if level else {}), "runner": (), "kernelspec_dirs": kernels}
    options["startup_seconds"] = 300.0
    place = await make_place(warmth=Warmth(**given), **options)
    if level and place.backend.describe()["isolation"] != level:
        pytest.skip(f"this machine offers {place.backend.describe()}")
    place.backend.keep_warm([Profile.model_validate({"kind": "Profile", "metadata": {"name": "default"}})])
    return place


async def run(place: Place, code: str, **spec: Any) -> tuple[Any, str]:
    seen = await place.run(code, seed=spec.pop("seed", SEED), seconds=400, **spec)
    return seen, (await place.log(seen.ref)).decode()


# What fits what, and how many


def test_a_kernel_fits_what_was_settled_when_it_started() -> None:
    usual = kind(a_request("a", "1", seed=SEED), [])
    assert usual
    assert usual == kind(a_request("b", "2", seed=SEED + 1, resources={"memory": "2Gi", "disk": "1Gi"}), [])
    others: list[AttemptRequest] = [
        a_request("a", "1", seed=SEED, environment={"language": "r"}, resources={"openFiles": 512}),
        a_request("a", "1", seed=SEED, environment={"env": [{"name": "A", "value": "1"}]}),
        a_request("a", "1", seed=SEED, resources={"cpu": "2"}),
        a_request("a", "1", seed=SEED, resources={"shm": "64Mi"}),
    ]
    kinds = {usual, kind(a_request("a", "1", seed=SEED), ["numpy"]), *(kind(one, []) for one in others)}
    assert len(kinds) == 6 and "" not in kinds


@pytest.mark.parametrize(
    "spec",
    [
        {"seed": 7},
        {"seed": SEED, "environment": {"kernel": "python3"}},
        {"seed": SEED, "environment": {"language": "julia"}},
        {"seed": SEED, "environment": {"requirements": {"format": "requirements.txt", "digest": f"sha256:{'0' * 64}"}}},
        {"seed": SEED, "environment": {"language": "r"}, "resources": {"openFiles": 128}},
    ],
)
def test_some_jobs_never_find_one(spec: dict[str, Any]) -> None:
    assert kind(a_request("a", "1", **spec), []) == ""


def test_the_job_of_a_profile_that_asks_for_nothing_fits_its_kernel() -> None:
    profile = Profile.model_validate({"kind": "Profile", "metadata": {"name": "default"}})
    request = blank(profile)
    assert kind(request, []) == kind(blank(profile, "x"), []) != ""


def test_as_many_wait_as_began_together_of_late() -> None:
    now = 10_000.0
    assert wanted(Kind(), now) == 0
    assert wanted(Kind(least=2), now) == 2
    assert wanted(Kind(uses=[now - 100, now - 50]), now) == 1
    assert wanted(Kind(uses=[now - 100, now - 99, now - 95]), now) == 3
    assert wanted(Kind(uses=[now - WINDOW_SECONDS - 1]), now) == 0
    assert wanted(Kind(uses=[now - 1.0] * 50), now) == MOST


def test_the_budget_goes_to_what_was_used_last_and_one_of_each_first() -> None:
    now = 100.0
    kinds = {"old": Kind(uses=[10.0, 11.0], memory_bytes=100), "new": Kind(uses=[90.0, 91.0], memory_bytes=100)}
    guesses = {"old": 1, "new": 1}
    assert plan(kinds, now, 0, guesses) == {"old": 0, "new": 0}
    assert plan(kinds, now, 199, guesses) == {"old": 0, "new": 1}
    assert plan(kinds, now, 300, guesses) == {"old": 1, "new": 2}
    assert plan({"big": Kind(least=1)}, now, 500, {"big": 600}) == {"big": 0}


def a_pool() -> Pool:
    settings: Any = None
    executor: Any = None
    return Pool("local", settings, Warmth(GIB), executor)


def with_env(number: int) -> AttemptRequest:
    env = [{"name": "TRIAL", "value": f"secret-{number}"}]
    return a_request("a", "print('its own')", seed=SEED, environment={"env": env}, parameters={"lr": "1"})


def test_a_kind_with_a_jobs_own_variables_waits_from_its_second_use_on() -> None:
    pool = a_pool()
    for number in range(20):
        pool.take(with_env(number))
    guesses = dict.fromkeys(pool._kinds, 1)
    assert len(guesses) == 20 and set(plan(pool._kinds, time.monotonic(), GIB, guesses).values()) == {0}
    pool.take(with_env(3))
    assert sum(plan(pool._kinds, time.monotonic(), GIB, guesses).values()) == 2


def test_of_a_job_nothing_is_kept_but_its_kind_and_that_not_for_ever() -> None:
    pool = a_pool()
    pool.take(with_env(1))
    [model] = pool._models.values()
    assert "its own" not in str(model.job.to_dict()) and model.job.spec.parameters == {}
    [known] = pool._kinds.values()
    pool._forget()
    assert pool._models
    known.uses = [time.monotonic() - WINDOW_SECONDS]
    pool._forget()
    assert pool._models == {} == pool._kinds


# A job in one


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("level", list(LEVELS))
async def test_folders_user_limits_and_environment_are_the_jobs_own(make_place: MakePlace, level: str) -> None:
    place = await warm_place(make_place, level)
    [waiting] = await ready(place)
    code = """
import json, os, pathlib, random, resource
pathlib.Path("kept.txt").write_text(lr)
limits = [resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0] for name in ("NOFILE", "FSIZE", "CORE")]
given = [os.environ[name] for name in ("TRAINJOB_JOB_UID", "TRAINJOB_ATTEMPT", "TRAINJOB_SEED")]
print(json.dumps([os.getuid(), limits, given, sorted(os.listdir(".")), random.random()]))
answer = 42
"""
    spec = {"parameters": {"lr": "0.5"}, "outputs": {"names": ["answer"]}, "resources": {**ENOUGH, "openFiles": 200}}
    seen, log = await run(place, code, **spec)
    assert place.backend.describe()["warm"]["profiles"]["default"] == {"claimed": 1, "missed": 0}
    uid, limits, given, files, drawn = json.loads(log)
    assert limits == [200, 64 * 2**20, 0] and files == ["kept.txt"]
    assert given == [seen.ref.uid, seen.ref.name, str(SEED)]
    assert seen.isolation == level and seen.claims["end"]["outcome"] == "ok"
    assert [one["path"] for one in seen.files] == ["kept.txt"] and not seen.claims["end"]["results"][0]["error"]
    if place.backend.describe()["ownUsers"]:
        assert 64000 <= uid <= 64999
    [following] = await ready(place)
    assert following.name != waiting.name
    _, again = await run(place, code, **spec)
    assert json.loads(again)[4] == drawn
    if place.backend.describe()["ownUsers"]:
        assert json.loads(again)[0] != uid


@pytest.mark.asyncio
async def test_use_decides_and_what_was_used_before_the_job_is_not_its_own(make_place: MakePlace) -> None:
    place = await warm_place(make_place, least={}, imports={"default": ["numpy", "no_such_package"]})
    await asyncio.sleep(1)
    assert same(place) == []
    await run(place, "1", resources=ENOUGH)
    [waiting] = await ready(place)
    assert waiting.memory_bytes > 2**20
    seen, log = await run(place, "import sys; print('numpy' in sys.modules, 'numpy' in globals())", resources=ENOUGH)
    assert log == "True False\n"
    assert seen.usage["cpuSeconds"] < 2


@pytest.mark.slow
@pytest.mark.asyncio
async def test_limits_hold_as_ever(make_place: MakePlace) -> None:
    place = await warm_place(make_place)
    ends = {
        "x = bytearray(900 * 2**20); import time; time.sleep(20)": "OutOfMemory",
        "import time; time.sleep(60)": "TimeLimit",
        "kept = [open('/dev/null') for _ in range(900)]": "OpenFilesLimit",
        "open('big', 'wb').write(bytes(2**27))": "FileSizeLimit",
        "import os, time\nfor _ in range(300):\n    if os.fork() == 0: time.sleep(8); os._exit(0)": "ProcessLimit",
    }
    for code, limit in ends.items():
        await ready(place)
        resources = {**ENOUGH, "memory": "512Mi", "processes": 48}
        seen, _ = await run(place, code, timeLimitSeconds=2 if limit == "TimeLimit" else 60, resources=resources)
        assert seen.evidence.get("limit") == limit, (code, seen)
    assert place.backend.describe()["warm"]["profiles"]["default"]["claimed"] == len(ends)


@pytest.mark.asyncio
async def test_one_that_dies_between_claim_and_start_is_replaced_by_a_cold_start(
    make_place: MakePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await warm_place(make_place)
    await ready(place)
    claim = slot.claim

    def claim_and_kill(name: str, target: Folder, asked: dict[str, Any]) -> bool:
        done = claim(name, target, asked)
        known = target.read("supervisor.json")
        assert done and known is not None and process.send(known, signal.SIGKILL)
        while process.is_alive(known):
            time.sleep(0.01)
        return done

    monkeypatch.setattr(slot, "claim", claim_and_kill)
    seen, log = await run(place, "print('all the same')", resources=ENOUGH)
    assert log == "all the same\n" and seen.claims["end"]["outcome"] == "ok", seen


@pytest.mark.asyncio
@pytest.mark.parametrize("heard", [False, True])
async def test_one_that_dies_with_its_orders_before_it_is_replaced_by_a_cold_start(
    make_place: MakePlace, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """``heard``: it could still be told of them, for it was only leaving."""
    place = await warm_place(make_place)
    await ready(place)
    wake = slot.wake

    def kill_and_wake(folder: Folder) -> bool:
        known = folder.read("supervisor.json")
        assert known is not None and folder.read("attempt.json") is not None
        assert process.send(known, signal.SIGKILL)
        while process.is_alive(known):
            time.sleep(0.01)
        return heard or wake(folder)

    monkeypatch.setattr(slot, "wake", kill_and_wake)
    seen, log = await run(place, "print('all the same')", resources=ENOUGH)
    assert log == "all the same\n" and seen.claims["end"]["outcome"] == "ok", seen
    assert place.backend.describe()["warm"]["profiles"]["default"] == {"claimed": 1, "missed": 0}


def test_one_that_leaves_while_it_is_claimed_leaves_the_folder(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / ".warm-x"))
    (tmp_path / ".warm-x/work").mkdir(parents=True)
    leaving = Waiting.__new__(Waiting)
    leaving._place = os.open(folder.path, os.O_PATH | os.O_DIRECTORY)
    try:
        claim = try_lock(folder.file("claim"))
        assert claim is not None
        leaving._remove()
        assert os.listdir(tmp_path) == [".warm-x"], "whoever has the lock may be about to rename it"
        os.rename(folder.path, tmp_path / "tj-job-1")
        os.close(claim)
        leaving._remove()
        assert sorted(os.listdir(tmp_path / "tj-job-1")) == ["claim", "work"]
        os.rename(tmp_path / "tj-job-1", folder.path)
        leaving._remove()
        assert os.listdir(tmp_path) == []
    finally:
        os.close(leaving._place)


@pytest.mark.asyncio
async def test_one_that_is_not_ready_in_time_is_ended(make_place: MakePlace) -> None:
    kernels = tuple(jupyter_path("kernels"))
    options = {"warmth": Warmth(GIB, {"default": 1}), "runner": (), "kernelspec_dirs": kernels}
    place = await make_place(startup_seconds=0.05, **options)
    place.backend.keep_warm([Profile.model_validate({"kind": "Profile", "metadata": {"name": "default"}})])
    until = time.monotonic() + 60
    while not place.backend._warm._pauses:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
    assert [name for name in os.listdir(f"{place.options['data_dir']}/run") if name.startswith(".warm-")] == []


@pytest.mark.asyncio
async def test_the_pool_goes_on_after_any_error(
    make_place: MakePlace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: Any) -> Folder:
        raise ImportError("No module named 'pyseccomp'")

    monkeypatch.setattr(slot, "make", gone)
    place = await warm_place(make_place)
    until = time.monotonic() + 60
    while "can't be kept waiting now: No module named 'pyseccomp'" not in caplog.text:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
    monkeypatch.undo()
    assert place.backend._warm._pauses
    place.backend._warm._pauses.clear()
    place.backend._warm._news.set()
    await ready(place)


@pytest.mark.asyncio
async def test_a_claim_that_was_cut_off_is_gone_on_with_by_the_next_server(
    make_place: MakePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await warm_place(make_place)
    await ready(place)
    monkeypatch.setattr(type(place.backend), "_made", lambda self, ref: asyncio.sleep(0))
    monkeypatch.setattr(type(place.backend), "_take_up", lambda self, ref: asyncio.sleep(0))
    ref = await place.begin("print('later')", seed=SEED, resources=ENOUGH)
    assert (await place.backend.observe(ref)).state == "starting"
    monkeypatch.undo()
    seen = await place.until(ref, "ended", seconds=60)
    assert await place.log(seen.ref) == b"later\n"


@pytest.mark.asyncio
async def test_nothing_waits_once_the_server_has_gone(make_place: MakePlace) -> None:
    place = await warm_place(make_place)
    [waiting] = await ready(place)
    folder = Folder(f"{place.options['data_dir']}/run/{waiting.name}")
    orders = folder.read("slot.json")
    await place.stop()
    assert same(place) == [] and not os.path.exists(folder.path)
    assert not orders["cgroup"] or not any(os.path.exists(path) for path in orders["cgroup"]["folders"].values())


@pytest.mark.asyncio
async def test_two_servers_on_one_folder_use_each_others_and_end_their_own(make_place: MakePlace) -> None:
    first = await warm_place(make_place)
    await ready(first)
    second = await warm_place(make_place, least={})
    await second.run("1", seed=FIRST_CHOSEN_SEED - 1, resources=ENOUGH)  # which fits none
    await second.stop()
    assert len(same(first)) == 1, "it was the first one's"
    third = await warm_place(make_place, least={})
    await ready(third)
    await run(third, "1", resources=ENOUGH)
    assert third.backend.describe()["warm"]["profiles"]["default"] == {"claimed": 1, "missed": 0}


@pytest.mark.asyncio
async def test_one_whose_server_was_killed_leaves_by_itself(tmp_path: Path) -> None:
    code = """
import asyncio, sys
from pathlib import Path
from jupyter_trainjob.backends.local.backend import LocalBackend
from jupyter_trainjob.backends.local.warm.pool import Pool, Warmth
from jupyter_trainjob.resources.profile import Profile
from jupyter_trainjob.storage.filesystem import FilesystemStore
async def main():
    backend = LocalBackend(data_dir=sys.argv[1], warmth=Warmth(2**30, {"default": 1}))
    await backend.start(FilesystemStore(Path(sys.argv[1]) / "store"), lambda ref: None)
    backend.keep_warm([Profile.model_validate({"kind": "Profile", "metadata": {"name": "default"}})])
    await asyncio.sleep(600)
asyncio.run(main())
"""
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(tmp_path / "data"))
    run_folder = tmp_path / "data/run"
    until = time.monotonic() + 120
    while not run_folder.exists() or not [one for one in slot.there(str(run_folder)) if one.warm]:
        assert time.monotonic() < until
        await asyncio.sleep(0.1)
    [waiting] = slot.there(str(run_folder))
    known = Folder(str(run_folder / waiting.name)).read("supervisor.json")
    server.kill()
    await server.wait()
    while process.is_alive(known) or (run_folder / waiting.name).exists():
        assert time.monotonic() < until
        await asyncio.sleep(0.1)


@needs_r
@pytest.mark.slow
@pytest.mark.asyncio
async def test_r_waits_too(make_place: MakePlace) -> None:
    place = await warm_place(make_place, least={}, imports={"default": ["stats4"]})
    code = "cat(Sys.getenv('TRAINJOB_ATTEMPT'), 'stats4' %in% loadedNamespaces(), '\\n')"
    spec: dict[str, Any] = {"environment": {"language": "r"}, "resources": ENOUGH}
    _, cold = await run(place, code, **spec)
    await ready(place)
    seen, warm = await run(place, code, **spec)
    assert cold.endswith(" FALSE \n") and warm == f"{seen.ref.name} TRUE \n"


@needs_r
@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_servers_log_tells_of_kernels_that_are_not_quite_ready(
    make_place: MakePlace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = tmp_path / "kernels" / "ir"
    shutil.copytree(KernelSpecManager().get_kernel_spec("ir").resource_dir, kernel)
    spec = json.loads((kernel / "kernel.json").read_text())
    (kernel / "kernel.json").write_text(json.dumps({**spec, "env": {"R_PROFILE_USER": str(kernel / "profile.R")}}))
    (kernel / "profile.R").write_text(
        "local({ real <- srcfilecopy; unlockBinding('srcfilecopy', baseenv()); assign('srcfilecopy', function(...) "
        "if (identical(..1, '<cell>')) stop('no sources today') else real(...), baseenv()) })\n"
    )
    place = await warm_place(make_place, least={}, kernelspec_dirs=(str(tmp_path / "kernels"),))
    asked: dict[str, Any] = {"environment": {"language": "r"}, "resources": ENOUGH}
    await run(place, "1", **asked)
    await ready(place)
    told = "a kernel that waits for jobs is not quite ready: a cell that does nothing failed: our code did not tell"
    assert caplog.text.count(told) == 1


@needs_scala
@pytest.mark.slow
@pytest.mark.asyncio
async def test_scala_waits_too(make_place: MakePlace, tmp_path: Path, scala_compiled: Path) -> None:
    share_compiled(scala_compiled, tmp_path / "data")
    place = await warm_place(make_place, least={}, budget_bytes=4 * GIB)
    code = 'println(System.getenv("TRAINJOB_ATTEMPT") + " " + scala.util.Random.nextInt)'
    spec: dict[str, Any] = {"environment": {"language": "scala"}, "resources": {**ENOUGH, "memory": "2Gi"}}
    first, cold = await run(place, code, **spec)
    await ready(place)
    seen, warm = await run(place, code, **spec)
    assert cold.split() == [first.ref.name, cold.split()[1]]
    assert warm.split() == [seen.ref.name, cold.split()[1]]
    assert place.backend.describe()["warm"]["profiles"]["default"]["claimed"] == 1
