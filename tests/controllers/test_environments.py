"""Jobs with requirements: not before their environment is there, and with a reason where it can't be."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection
from datetime import datetime, timezone

import pytest

from jupyter_trainjob.backends.base import AttemptRef, EnvironmentState, Observation
from jupyter_trainjob.controllers import environments as module
from jupyter_trainjob.controllers.ending import ending
from jupyter_trainjob.controllers.environments import EnvironmentController
from jupyter_trainjob.controllers.manager import utc_now
from jupyter_trainjob.controllers.means import Means
from jupyter_trainjob.resources.names import requirements_key
from jupyter_trainjob.resources.profile import Profile
from jupyter_trainjob.resources.trainjob import Cancel, Environment, Gate, Phase, Requirements, TrainJob
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Store

from .conftest import job_of, make_job, running, until, until_phase
from .instant import InstantBackend

Submit = Callable[..., TrainJob]


class BuildingBackend(InstantBackend):
    """One whose environments are as far as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.state = EnvironmentState("building", "it waits until other environments are built")
        self.asked: list[str] = []
        self.demanded: list[tuple[str, str, str]] = []
        self.kept: list[Requirements] = []

    def becomes(self, state: EnvironmentState) -> None:
        self.state = state
        for uid in set(self.asked):
            self._changed(AttemptRef(uid, 0))

    async def environment(
        self,
        uid: str,
        requirements: Requirements,
        *,
        minimum_isolation: str = "",
        owner: str = "",
        language: str = "",
        image: str = "",
        profile_image: str = "",
    ) -> EnvironmentState:
        self.asked.append(uid)
        self.demanded.append((minimum_isolation, owner, profile_image))
        return self.state

    async def collect_environments(self, needed: Collection[Requirements]) -> int:
        self.kept = list(needed)
        return 0


def requirements(text: str = "numpy") -> Requirements:
    return Requirements(format="requirements.txt", digest=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")


def environment() -> Environment:
    return Environment(requirements=requirements())


BUILDING = EnvironmentState(
    "building",
    "pip installs requirements.txt sha256:ab12…",
    since=datetime(2026, 11, 22, 11, 2, 3, tzinfo=timezone.utc),
)
READY = EnvironmentState("ready", lock="sha256:" + "7" * 64)


@pytest.mark.asyncio
async def test_a_job_is_not_admitted_before_its_environment_is_there(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    backend = BuildingBackend()
    async with running(store, objects, backend) as manager:
        uid = submit("needs", environment=environment()).metadata.uid
        other = submit("plain").metadata.uid
        await until_phase(store, other, Phase.SUCCEEDED)
        await until(lambda: job_of(store, uid).status.reason == "EnvironmentBuilding")
        begin = job_of(store, uid)
        assert begin.status.message == "its environment is not begun yet: it waits until other environments are built"
        assert [(one.type, one.status, one.reason) for one in begin.status.conditions] == [
            ("EnvironmentReady", "Unknown", "Waiting")
        ]
        backend.becomes(BUILDING)
        await until(lambda: job_of(store, uid).status.message.startswith("its environment is being built"))
        waiting = job_of(store, uid)
        assert waiting.status.phase is Phase.QUEUED
        (condition,) = waiting.status.conditions
        assert (condition.type, condition.status, condition.reason) == ("EnvironmentReady", "Unknown", "Building")
        assert condition.message == BUILDING.message and condition.last_transition_time == BUILDING.since
        assert (
            waiting.status.message
            == "its environment is being built: pip installs requirements.txt sha256:ab12… since 11:02 UTC"
        )
        told = await manager.ranking.explain(waiting)
        assert told.waiting_for == (
            "Its environment is being built: pip installs requirements.txt sha256:ab12… since 11:02 UTC."
        )
        assert told.position is None
        backend.becomes(READY)
        done = await until_phase(store, uid, Phase.SUCCEEDED)
    assert done.status.environment_lock == READY.lock
    assert done.status.reason == "Completed" and done.status.message == ""
    assert "EnvironmentReady" not in {one.type for one in done.status.conditions}
    assert [ref.uid for ref in backend.created] == [other, uid]


@pytest.mark.asyncio
async def test_a_build_that_fails_ends_the_job_before_any_attempt(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    backend = BuildingBackend()
    backend.state = EnvironmentState("failed", "The environment can't be built: ERROR: No matching distribution found")
    async with running(store, objects, backend):
        uid = submit(environment=environment()).metadata.uid
        done = await until_phase(store, uid, Phase.FAILED)
    assert done.status.reason == "EnvironmentError"
    assert "No matching distribution found" in done.status.message
    assert done.status.attempts == [] and backend.created == []


@pytest.mark.asyncio
async def test_a_waiting_job_can_be_cancelled(store: Store, objects: FilesystemStore, submit: Submit) -> None:
    backend = BuildingBackend()
    async with running(store, objects, backend):
        uid = submit(environment=environment()).metadata.uid
        await until(lambda: job_of(store, uid).status.reason == "EnvironmentBuilding")
        job = job_of(store, uid)
        job.spec.cancel = Cancel(requested_at=utc_now(), by="ada")
        store.write(lambda writer: writer.update(job, check=False))
        done = await until_phase(store, uid, Phase.CANCELLED)
    assert done.status.reason == "CancelledByUser"
    assert "EnvironmentReady" not in {one.type for one in done.status.conditions}, "nobody builds it for this job now"


@pytest.mark.asyncio
async def test_a_job_that_is_held_waits_for_its_environment_no_more(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    backend = BuildingBackend()
    backend.state = BUILDING
    async with running(store, objects, backend) as manager:
        uid = submit(environment=environment()).metadata.uid
        await until(lambda: bool(job_of(store, uid).status.conditions))
        job = job_of(store, uid)
        job.spec.scheduling_gates = [Gate(type="hold")]
        store.write(lambda writer: writer.update(job, check=False))
        await until(lambda: not job_of(store, uid).status.conditions)
        held = job_of(store, uid)
        assert (held.status.phase, held.status.reason, held.status.message) == (Phase.QUEUED, "", "")
        assert (await manager.ranking.explain(held)).waiting_for == "It is on hold."
        held.spec.scheduling_gates = []
        store.write(lambda writer: writer.update(held, check=False))
        await until(lambda: job_of(store, uid).status.reason == "EnvironmentBuilding")


@pytest.mark.asyncio
async def test_it_is_not_built_behind_a_gate(store: Store, objects: FilesystemStore, submit: Submit) -> None:
    """Builds have little room: first those of jobs that could run."""
    backend = BuildingBackend()
    backend.auto = False
    async with running(store, objects, backend):
        parent = submit("parent").metadata.uid
        gate = Gate(type="dependency", job=parent)
        child = submit("child", environment=environment(), scheduling_gates=[gate]).metadata.uid
        held = submit("held", environment=environment(), scheduling_gates=[Gate(type="hold")]).metadata.uid
        await until_phase(store, parent, Phase.RUNNING)
        await asyncio.sleep(0.3)
        assert backend.asked == []
        backend.finish(AttemptRef(parent, 1))
        await until(lambda: child in backend.asked)
        backend.becomes(READY)
        await until(lambda: job_of(store, child).status.environment_lock == READY.lock)
        assert held not in backend.asked


@pytest.mark.asyncio
async def test_nothing_is_written_while_nothing_happens(
    store: Store, objects: FilesystemStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    backend = BuildingBackend()
    async with running(store, objects, backend):
        uid = submit(environment=environment()).metadata.uid
        await until(lambda: job_of(store, uid).status.reason == "EnvironmentBuilding")
        version, asked = job_of(store, uid).metadata.resource_version, len(backend.asked)
        await until(lambda: len(backend.asked) > asked + 3)
        assert job_of(store, uid).metadata.resource_version == version


@pytest.mark.asyncio
async def test_the_backend_is_told_the_profiles_minimum_and_image_and_whose_job_it_is(
    store: Store, objects: FilesystemStore
) -> None:
    backend = BuildingBackend()
    job = make_job(environment=environment(), owner="ben")
    profile = Profile.model_validate({"metadata": {"name": "p"}, "spec": {"minimumIsolation": "namespaces"}})
    profile.spec.environment.image = "lab"
    job.status.profile_snapshot = profile.to_dict()
    store.write(lambda writer: writer.create(job))
    async with running(store, objects, backend):
        await until(lambda: backend.asked)
    assert set(backend.demanded) == {("namespaces", "ben", "lab")}


@pytest.mark.asyncio
async def test_an_environment_that_vanished_is_built_again_before_the_start(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    backend = BuildingBackend()
    job = make_job(environment=environment())
    job.status.environment_lock = "sha256:" + "6" * 64
    uid = store.write(lambda writer: writer.create(job)).metadata.uid
    async with running(store, objects, backend):
        await until(lambda: uid in backend.asked)
        assert job_of(store, uid).status.phase is Phase.ADMITTED
        assert backend.created == []
        await until(lambda: bool(job_of(store, uid).status.message))
        assert job_of(store, uid).status.message == (
            "It waits for its environment again: it waits until other environments are built"
        )
        backend.becomes(BUILDING)
        await until(lambda: "is being built" in job_of(store, uid).status.message)
        again = job_of(store, uid)
        assert again.status.phase is Phase.ADMITTED and again.status.message == (
            "Its environment was gone and is being built again: pip installs requirements.txt sha256:ab12… since 11:02 "
            "UTC"
        )
        (condition,) = [one for one in again.status.conditions if one.type == "EnvironmentReady"]
        assert (condition.status, condition.reason, condition.message) == ("Unknown", "Building", BUILDING.message)
        version, asked = again.metadata.resource_version, len(backend.asked)
        await until(lambda: len(backend.asked) > asked + 1)
        assert job_of(store, uid).metadata.resource_version == version, "nothing is written while nothing happens"
        backend.auto = False
        backend.becomes(READY)
        started = await until_phase(store, uid, Phase.RUNNING)
        assert "EnvironmentReady" not in {one.type for one in started.status.conditions}
        assert started.status.message == ""
        backend.finish(AttemptRef(uid, 1))
        done = await until_phase(store, uid, Phase.SUCCEEDED)
    assert done.status.environment_lock == READY.lock, "it says what it ran with"


@pytest.mark.asyncio
async def test_one_that_is_there_again_is_waited_for_no_longer(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    """The same as before, so that its lock tells of no change; and tries that failed before don't count any more."""
    backend = BuildingBackend()
    backend.state, backend.auto = BUILDING, False
    job = make_job(environment=environment())
    job.status.environment_lock = READY.lock
    uid = store.write(lambda writer: writer.create(job)).metadata.uid
    async with running(store, objects, backend) as manager:
        manager._jobs._tries[uid] = 9
        await until(lambda: bool(job_of(store, uid).status.conditions))
        await until(lambda: uid not in manager._jobs._tries)
        backend.becomes(READY)
        started = await until_phase(store, uid, Phase.RUNNING)
        assert "EnvironmentReady" not in {one.type for one in started.status.conditions}
        backend.finish(AttemptRef(uid, 1))
        await until_phase(store, uid, Phase.SUCCEEDED)


@pytest.mark.asyncio
async def test_what_live_jobs_and_profiles_name_stays(store: Store, objects: FilesystemStore, submit: Submit) -> None:
    import logging

    live, profiles, old = requirements("live"), requirements("profile's"), requirements("old")
    for one in (live, profiles, old):
        objects.put(requirements_key(one.digest), b"x")
    submit(environment=Environment(requirements=live))
    profile = Profile.model_validate({"metadata": {"name": "gpu"}})
    profile.spec.environment.requirements = profiles
    store.write(lambda writer: writer.create(profile))
    backend = BuildingBackend()
    controller = EnvironmentController(Means(store, objects, {"local": backend}, utc_now, logging.getLogger("test")))
    await controller.collect()
    assert {one.digest for one in backend.kept} == {live.digest, profiles.digest}
    assert objects.exists(requirements_key(old.digest)), "a job may be about to name it"
    await controller.collect()
    left = {info.key for info in objects.list("environments/requirements/")}
    assert left == {requirements_key(live.digest), requirements_key(profiles.digest)}


def missing(job: TrainJob, ename: str, evalue: str) -> str:
    error = {"ename": ename, "evalue": evalue, "line": 1}
    seen = Observation(
        AttemptRef("u", 1), "ended", evidence={"exitCode": 0}, claims={"end": {"outcome": "error", "error": error}}
    )
    return ending(job.spec, seen).message


def test_a_missing_module_says_which_environment_it_was_and_what_to_do() -> None:
    job = make_job(profile="default")
    assert missing(job, "ModuleNotFoundError", "No module named 'xgboost'") == (
        "ModuleNotFoundError: No module named 'xgboost' (line 1). The environment of this job: profile 'default', no "
        "requirements of its own. Send a list with what is missing: --requirements requirements.txt (or --files, if it "
        "is a file of yours)."
    )
    asked = make_job(profile="default", environment=environment())
    words = missing(asked, "ModuleNotFoundError", "No module named 'xgboost'")
    assert (
        f"profile 'default', requirements.txt {requirements().digest[:15]}…. Add what is missing to that list" in words
    )
    assert "--requirements renv.lock" in missing(job, "Error", "there is no package called ‘dplyr’")
    assert "environment" not in missing(job, "ImportError", "cannot import name 'x'")
