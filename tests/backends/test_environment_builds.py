"""Who waits for which build, whose turn it is, and what becomes of a build that nobody waits for."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.api.serve import defaults
from jupyter_trainjob.backends.base import AttemptRef
from jupyter_trainjob.backends.environments import not_built
from jupyter_trainjob.backends.local import process
from jupyter_trainjob.backends.local.environments import builds as module
from jupyter_trainjob.backends.local.environments import cache as cache_module
from jupyter_trainjob.backends.local.environments import python as python_module
from jupyter_trainjob.backends.local.environments.box import Bounds, Box, BuildFailed, BuildStopped
from jupyter_trainjob.backends.local.environments.builds import Builds
from jupyter_trainjob.backends.local.environments.cache import Environments, Keeping
from jupyter_trainjob.backends.local.environments.recipes import Found, Site
from jupyter_trainjob.backends.local.folder import try_lock
from jupyter_trainjob.backends.local.probe import Offer, probe
from jupyter_trainjob.backends.local.runtime import inspect
from jupyter_trainjob.config import LocalBackendSettings
from jupyter_trainjob.resources.names import requirements_key
from jupyter_trainjob.resources.trainjob import Requirements
from jupyter_trainjob.storage.base import StoreError
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .packages import sdist, wheel

REQUIRED: dict[str, Any] = {"format": "requirements.txt"}
PLAIN = Offer("process", None, cgroups=False, drop=False)


class Held(Environments):
    """Its builds take until the test lets them end."""

    def __init__(self, folder: str, store: FilesystemStore) -> None:
        super().__init__(
            folder,
            store=store,
            runtime=inspect(sys.executable, []),
            offer=PLAIN,
            keeping=Keeping(),
            uid_range=(1, 0),
            uid_locks="",
            nproc_per_sandbox=False,
        )
        self.begun: list[str] = []
        self.done: set[str] = set()
        self.stopped: list[str] = []
        self.error: Exception | None = None

    def find(self, requirements: Requirements) -> tuple[Found, str] | None:
        return (Found("/x"), "sha256:1") if requirements.digest in self.done else None

    def build(self, requirements: Requirements, stop: threading.Event | None = None) -> str:
        self.begun.append(requirements.digest)
        while requirements.digest not in self.done:
            if self.error is not None:
                raise self.error
            if self.stop.is_set() or (stop is not None and stop.is_set()):
                self.stopped.append(requirements.digest)
                raise BuildStopped
            time.sleep(0.01)
        return "sha256:1"


@pytest.fixture
def held(tmp_path: Path, store: FilesystemStore) -> Held:
    return Held(str(tmp_path / "environments"), store)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest_asyncio.fixture
async def builds(held: Held, told: list[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Builds]:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)

    def changed(ref: AttemptRef) -> None:
        told.append(ref.uid)

    made = Builds(held, changed)
    yield made
    await made.stop()


def named(name: str) -> Requirements:
    return Requirements.model_construct(format="ivy", digest=name)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_owners_take_turns(builds: Builds, held: Held) -> None:
    for number in range(4):
        await builds.state(f"ada-{number}", named(f"ada-{number}"), "ada")
    waits = await builds.state("ben-0", named("ben-0"), "ben")
    assert "it waits until other environments are built" in waits.message
    await until(lambda: len(held.begun) == 2)
    held.done.add("ada-0")
    await until(lambda: len(held.begun) == 3)
    assert held.begun[2] == "ben-0", "ada has one under way, and ben came last but has none"
    held.done.add("ben-0")
    await until(lambda: len(held.begun) == 4)
    assert held.begun[3] == "ada-2", "then first come, first served"


@pytest.mark.asyncio
async def test_a_build_that_nobody_waits_for_any_more_is_stopped(
    builds: Builds, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ABANDONED_SECONDS", 0.5)
    for name in ("one", "two", "three"):
        await builds.state(name, named(name))
    await until(lambda: len(held.begun) == 2)
    began = time.monotonic()
    while time.monotonic() - began < 1.5:
        await builds.state("two", named("two"))
        await asyncio.sleep(0.05)
    assert held.stopped == ["one"]
    assert held.begun == ["one", "two"], "nobody asked for the third one either: it was never begun"
    again = await builds.state("one", named("one"))
    assert again.state == "building"
    await until(lambda: held.begun[2:] == ["one"])


@pytest.mark.asyncio
async def test_the_words_of_a_build_stay_while_nothing_happens(builds: Builds, held: Held) -> None:
    await builds.state("u", named("one"))
    await until(lambda: held.begun == ["one"])
    first = await builds.state("u", named("one"))
    assert first.message == "Maven installs ivy one…" and first.since is not None
    await asyncio.sleep(1.1)
    assert await builds.state("u", named("one")) == first


@pytest.mark.asyncio
async def test_a_fault_of_the_builder_is_told_once_and_not_built_for_ever(
    builds: Builds, held: Held, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    held.error = RuntimeError("no such thing")
    await builds.state("u", named("one"))
    await until(lambda: told == ["u"])
    for _ in range(3):
        state = await builds.state("u", named("one"))
        assert state.state == "failed"
        assert "the builder itself broke, RuntimeError: no such thing" in state.message
    assert held.begun == ["one"]
    held.error = None
    assert (await builds.state("later", named("one"))).state == "building", "a job that is sent now builds again"
    await until(lambda: held.begun == ["one", "one"])
    assert [record.exc_info is not None for record in caplog.records] == [True]


@pytest.mark.parametrize("sandboxed", [False, True])
def test_a_build_that_is_killed_says_so(tmp_path: Path, sandboxed: bool) -> None:
    runtime = inspect(sys.executable, [])
    offer = (
        probe(runtime, str(tmp_path), uid=64_990 if os.geteuid() == 0 else 0, allow_cgroups=False)
        if sandboxed
        else PLAIN
    )
    if sandboxed and offer.bwrap is None:
        pytest.skip("this machine has no sandbox")
    for name in ("root", "scratch", "scratch/etc", "scratch/home"):
        (tmp_path / name).mkdir()
    for name in ("passwd", "group"):
        (tmp_path / "scratch/etc" / name).touch()
    lock = os.open(tmp_path, os.O_RDONLY)
    box = Box(
        offer=replace(offer, drop=False),
        runtime=runtime,
        bounds=Bounds(),
        drop=None,
        root=str(tmp_path / "root"),
        scratch=str(tmp_path / "scratch"),
        log=str(tmp_path / "log"),
        nproc_per_sandbox=False,
        lock=lock,
        stopped=lambda: False,
    )
    kills = "import os, sys; print('Collecting pandas', flush=True); os.kill(os.getpid(), int(sys.argv[1]))"
    with pytest.raises(BuildFailed, match=r"killed from outside \(signal 9\), which a machine does") as killed:
        box.run([sys.executable, "-c", kills, "9"], network=False)
    requirements = Requirements(format="requirements.txt", digest="sha256:" + "ab" * 32)
    told = not_built(requirements, str(killed.value), killed.value.otherwise)
    assert told.endswith("of memory. The list may be right: retry the job when there is more.")
    assert box.run([sys.executable, "-c", kills, "15"], network=False) not in (0, 137), "its own business"
    os.close(lock)


@pytest.mark.asyncio
async def test_none_is_begun_while_what_is_needed_fills_the_room(builds: Builds, held: Held) -> None:
    held._keeping = replace(held._keeping, max_bytes=1000)
    place = Path(held._folder, "0" * 32)
    place.mkdir()
    (place / "used").touch()
    (place / "ready.json").write_text(json.dumps({"lock": "x", "bytes": 2000}))
    os.utime(place / "used", (time.time() + 5,) * 2)
    state = await builds.state("u", named("one"))
    assert state.state == "building"
    assert state.message == (
        "it waits for room: the environments that other jobs need take 0.0 GiB and all together may take 0.0 GiB; it "
        "begins when some of those jobs have ended"
    )
    assert held.begun == []
    os.utime(place / "used", (1, 1))  # nobody's any more
    await builds.state("u", named("one"))
    await until(lambda: held.begun == ["one"])


# What is needed stays


def an_environment(environments: Environments, key: str) -> Path:
    """One that was last used long ago."""
    place = Path(environments._folder, key)
    place.mkdir()
    (place / "used").touch()
    (place / "ready.json").write_text(json.dumps({"lock": "x", "bytes": 2000}))
    os.utime(place / "used", (1, 1))
    return place


def plain(tmp_path: Path, store: FilesystemStore, **options: str) -> Environments:
    run = tmp_path / "run"
    run.mkdir(exist_ok=True)
    return Environments(
        str(tmp_path / "environments"),
        store=store,
        runtime=inspect(sys.executable, []),
        offer=PLAIN,
        keeping=Keeping(site=Site(pip=options)),
        uid_range=(1, 0),
        uid_locks="",
        nproc_per_sandbox=False,
        run_folder=str(run),
    )


def test_an_attempt_keeps_the_environment_that_it_was_started_in(tmp_path: Path, store: FilesystemStore) -> None:
    """Its list's key is another one by now: the operator changed an option of pip."""
    environments = plain(tmp_path, store)
    kept, other = an_environment(environments, "a" * 32), an_environment(environments, "b" * 32)
    attempt = tmp_path / "run" / "tj-u-1"
    attempt.mkdir()
    (attempt / "attempt.json").write_text(json.dumps({"environment": {"PATH": f"{kept}/root/bin:/usr/bin"}}))
    assert environments.collect([]) == 1
    assert kept.exists() and not other.exists()


def test_a_store_that_is_away_ends_the_sweep(
    tmp_path: Path, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = plain(tmp_path, store)
    digest = f"sha256:{hashlib.sha256(b'six').hexdigest()}"
    store.put(requirements_key(digest), b"six\n")
    requirements = Requirements(format="requirements.txt", digest=digest)
    place = an_environment(environments, environments.key(requirements))

    def away(key: str) -> bytes:
        raise StoreError("the disk is away")

    with monkeypatch.context() as context:
        context.setattr(store, "get", away)
        with pytest.raises(StoreError):
            environments.collect([requirements])
    assert place.exists()


def test_a_cache_that_can_not_be_removed_is_not_held_for_ever(
    tmp_path: Path, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = plain(tmp_path, store)
    environments._keeping = replace(environments._keeping, max_bytes=1)
    cached = Path(environments._folder, "pip")
    cached.mkdir()
    (cached / "wheel").write_bytes(bytes(10_000))

    def refused(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as context:
        context.setattr(cache_module, "remove_tree", refused)
        with pytest.raises(PermissionError):
            environments.collect([])
    environments.collect([])
    assert not cached.exists()


def test_a_pip_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_module, "_ASK_SECONDS", 0.001)
    with pytest.raises(BuildFailed, match=r"the options of the server's pip can't be asked for: .*timed out"):
        python_module._configured()


def test_a_service_builds_from_wheels_and_a_laptop_from_source_too() -> None:
    assert LocalBackendSettings().environment_builds == "source"
    assert LocalBackendSettings(config=defaults()).environment_builds == "wheels"


SERVER = """
import sys
sys.path[:0] = json.loads(sys.argv[1])
from pathlib import Path
from backends.test_environment_builds import plain
from jupyter_trainjob.resources.trainjob import Requirements
from jupyter_trainjob.storage.filesystem import FilesystemStore
folder = Path(sys.argv[2])
environments = plain(folder, FilesystemStore(folder / "store"), **{"no-index": "true", "find-links": sys.argv[3]})
environments.build(Requirements(format="requirements.txt", digest=sys.argv[4]))
"""


def test_a_build_without_a_sandbox_ends_with_its_server(tmp_path: Path, store: FilesystemStore) -> None:
    """Else the next server would clear the folder while a build of the last one still writes there."""
    wheels, told = tmp_path / "wheels", tmp_path / "told"
    wheels.mkdir()
    code = f"import time\nopen({str(told)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\nSEEN = 1"
    sdist(wheels, "slow", code)
    digest = f"sha256:{hashlib.sha256(b'slow').hexdigest()}"
    store.put(requirements_key(digest), b"slow\n")
    command = [sys.executable, "-c", "import json" + SERVER, json.dumps([str(Path(__file__).parents[1]), *sys.path])]
    server = subprocess.Popen([*command, str(tmp_path), str(wheels), digest])
    deadline = time.monotonic() + 60
    while not (told.exists() and told.read_text()):
        assert server.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    builder = int(told.read_text())
    ticks = process.start_ticks(builder)
    environments = plain(tmp_path, store, **{"no-index": "true", "find-links": str(wheels)})
    lock = os.path.join(environments._folder, "locks", environments.key(Requirements(**REQUIRED, digest=digest)))
    assert try_lock(lock) is None
    server.kill()
    server.wait()
    deadline = time.monotonic() + 10
    while (taken := try_lock(lock)) is None:
        assert time.monotonic() < deadline, "something of the build still holds the lock"
        time.sleep(0.02)
    os.close(taken)
    alive = process.is_alive({**process.identity(builder), "startTicks": ticks})
    if alive:
        os.kill(builder, signal.SIGKILL)
    assert not alive, "the lock is free, but setup.py still runs"


def test_pips_cache_is_not_used_where_nothing_hides_it(tmp_path: Path, store: FilesystemStore) -> None:
    wheels = tmp_path / "wheels"
    wheel(wheels, "tinylib", "1.0", "")
    digest = f"sha256:{hashlib.sha256(b'tinylib').hexdigest()}"
    store.put(requirements_key(digest), b"tinylib\n")
    environments = plain(tmp_path, store, **{"no-index": "true", "find-links": str(wheels)})
    environments.build(Requirements(**REQUIRED, digest=digest))
    assert not Path(environments._folder, "pip").exists()
