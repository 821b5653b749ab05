"""A job once more as it was recorded, whatever its profile and its index of packages have become."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from jupyter_trainjob.api.services import Services
from jupyter_trainjob.resources import names
from jupyter_trainjob.resources.profile import Profile, ProfileSpec
from jupyter_trainjob.resources.requirements import check_requirements, exact, normalised
from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .conftest import Caller, Run, Submit
from .test_verbs import at

HASH = "a" * 64


def test_what_pip_installed_is_asked_for_exactly() -> None:
    packages = [
        {"name": "numpy", "version": "2.1.0", "sha256": HASH},
        {"name": "six", "version": "1.16", "sha256": HASH},
    ]
    text = exact("requirements.txt", {"asked": ["numpy>=2"], "packages": packages})
    assert text == f"numpy==2.1.0 --hash=sha256:{HASH}\nsix==1.16 --hash=sha256:{HASH}\n"
    assert check_requirements("requirements.txt", text) == []
    packages[0]["sha256"] = ""
    text = exact("requirements.txt", {"asked": [], "packages": packages})
    assert text == "numpy==2.1.0\nsix==1.16\n", "pip takes hashes of all packages or of none"


def test_lists_for_r_and_scala_are_exact_already() -> None:
    jars = "org.scalanlp:breeze_2.13:2.1.0\n"
    assert exact("ivy", {"asked": normalised("ivy", jars).splitlines(), "packages": []}) == jars
    lock = {
        "R": {"Version": "4.2.2", "Repositories": [{"Name": "MAIN", "URL": "https://r.example/main"}]},
        "Packages": {
            "tiny": {"Package": "tiny", "Version": "1.0", "Source": "Repository", "Repository": "MAIN"},
            "odd": {"Package": "odd", "Version": "0.2"},
        },
    }
    kept = normalised("renv.lock", json.dumps(lock))
    again = exact("renv.lock", {"asked": kept.splitlines(), "packages": []})
    assert check_requirements("renv.lock", again) == []
    assert normalised("renv.lock", again) == kept, "it is the same environment"


async def profile(services: Services, **changes: Any) -> None:
    """Change the profile as an operator does; ``defaults`` and ``maximum`` are given as JSON."""

    def write(writer: Any) -> None:
        found = writer.get(Profile, "", "default")
        spec = {**found.spec.model_dump(by_alias=True, mode="json"), **changes}
        found.spec = ProfileSpec.model_validate(spec)
        writer.update(found)

    await services.store.awrite(write)


@pytest.mark.asyncio
async def test_it_keeps_limits_parameters_and_seed_though_the_profile_changed(
    alice: Caller, submit: Submit, run: Run, services: Services
) -> None:
    job = await submit(alice, code="print(lr)", parameters={"lr": 0.1})
    assert 0 <= job["spec"]["seed"] < 2**32
    early = await alice.refused("POST", at(job, "rerun"), 409)
    assert "is Queued; only one that has ended can be run again." in early["message"]
    await run(job, Phase.SUCCEEDED)
    await profile(services, defaults={"memory": "512Mi"}, timeLimitSeconds=60)
    again = (await alice("POST", at(job, "rerun"), json={}, expect=201)).json()
    assert again["spec"] == job["spec"], "the profile's new defaults are for new jobs"
    assert again["status"]["codeHash"] == job["status"]["codeHash"]
    assert again["metadata"]["labels"][names.RERUN_OF_LABEL] == job["metadata"]["name"]
    assert again["metadata"]["name"] != job["metadata"]["name"]


@pytest.mark.asyncio
async def test_the_profiles_bounds_of_today_hold_as_for_any_job(
    alice: Caller, submit: Submit, run: Run, services: Services
) -> None:
    job = await submit(alice)
    await run(job, Phase.SUCCEEDED)
    await profile(services, maximum={"memory": "512Mi"}, maxTimeLimitSeconds=60)
    told = {item["field"]: item for item in (await alice.refused("POST", at(job, "rerun"), 422))["details"]}
    memory, seconds = told["spec.resources.memory"], told["spec.timeLimitSeconds"]
    assert memory["message"] == "1Gi memory is more than the profile 'default' allows, 512Mi"
    assert memory["remedy"] == "Ask for at most 512Mi, or choose another profile."
    assert seconds["message"] == "3600 s is more than the profile 'default' allows, 60 s"
    await profile(services, maximum={"memory": "4Gi"}, maxTimeLimitSeconds=None)
    again = (await alice("POST", at(job, "rerun"), expect=201)).json()
    assert again["spec"] == job["spec"]
    assert again["status"]["profileSnapshot"]["spec"]["maximum"]["memory"] == "4Gi", "a retry is bounded so, too"


@pytest.mark.parametrize(
    ("then", "today", "expected"),
    [
        ("", "namespaces", "namespaces"),
        ("namespaces", "", "namespaces"),
        ("landlock+seccomp", "namespaces+cgroups", "namespaces+cgroups"),
        ("namespaces", "process", "namespaces"),
    ],
)
@pytest.mark.asyncio
async def test_isolation_is_the_stricter_of_then_and_today(
    alice: Caller, submit: Submit, run: Run, services: Services, then: str, today: str, expected: str
) -> None:
    await profile(services, minimumIsolation=then)
    job = await submit(alice)
    await run(job, Phase.SUCCEEDED)
    await profile(services, minimumIsolation=today)
    again = (await alice("POST", at(job, "rerun"), expect=201)).json()
    assert again["status"]["profileSnapshot"]["spec"].get("minimumIsolation", "") == expected


@pytest.mark.asyncio
async def test_where_the_profile_is_gone_the_recorded_bounds_hold(
    alice: Caller, submit: Submit, run: Run, services: Services
) -> None:
    await profile(services, maximum={"memory": "2Gi"}, minimumIsolation="namespaces")
    job = await submit(alice)
    await run(job, Phase.SUCCEEDED)

    def write(writer: Any) -> None:
        found = writer.get(Profile, "", "default")
        writer.remove(found)

    await services.store.awrite(write)
    again = (await alice("POST", at(job, "rerun"), expect=201)).json()
    spec = again["status"]["profileSnapshot"]["spec"]
    assert (spec["maximum"]["memory"], spec["minimumIsolation"]) == ("2Gi", "namespaces")


@pytest.mark.asyncio
async def test_other_parameters_go_over_the_recorded_ones(alice: Caller, submit: Submit, run: Run) -> None:
    job = await submit(alice, code="print(lr, depth)", parameters={"lr": 0.1, "depth": 2})
    await run(job, Phase.FAILED)
    again = (await alice("POST", at(job, "rerun"), json={"parameters": {"lr": 0.5}}, expect=201)).json()
    assert again["spec"]["parameters"] == {"lr": 0.5, "depth": 2} and again["spec"]["seed"] == job["spec"]["seed"]
    told = await alice.refused("POST", at(job, "rerun"), 422, json={"parameters": {"rate": 1}})
    assert told["details"][0]["field"] == "spec.parameters.rate"
    told = await alice.refused("POST", at(job, "rerun"), 422, json={"parameters": [1]})
    assert told["details"][0]["message"] == "the parameters are a JSON list, not an object"


async def with_lock(services: Services, job: dict[str, Any], digest: str) -> None:
    def write(writer: Any) -> None:
        fresh = writer.by_uid(TrainJob, job["metadata"]["uid"])
        fresh.status.environment_lock = digest
        writer.update(fresh)

    await services.store.awrite(write)


@pytest.mark.asyncio
async def test_the_environment_is_the_exact_one_that_was_built(
    alice: Caller, submit: Submit, run: Run, services: Services, objects: FilesystemStore
) -> None:
    text = b"six\n"
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    await alice("PUT", f"/blobs/{digest}", content=text, expect=201)
    environment = {"requirements": {"format": "requirements.txt", "digest": digest}}
    job = await submit(alice, environment=environment)
    await run(job, Phase.SUCCEEDED)
    told = await alice.refused("POST", at(job, "rerun"), 409)
    assert "never had its environment" in told["message"] and told["remedy"].startswith("Retry it")
    packages = [{"name": "six", "version": "1.16.0", "sha256": HASH}]
    lock = json.dumps({"asked": ["six"], "packages": packages}).encode()
    lock_digest = f"sha256:{hashlib.sha256(lock).hexdigest()}"
    await with_lock(services, job, lock_digest)
    told = await alice.refused("POST", at(job, "rerun"), 409)
    assert "are no longer in the object store" in told["message"]
    objects.put(names.environment_lock_key(lock_digest), lock)
    again = (await alice("POST", at(job, "rerun"), expect=201)).json()
    asked = again["spec"]["environment"]["requirements"]["digest"]
    assert objects.get(names.requirements_key(asked)) == f"six==1.16.0 --hash=sha256:{HASH}\n".encode()


@pytest.mark.asyncio
async def test_a_job_whose_input_is_deleted_says_so_once(
    alice: Caller, submit: Submit, run: Run, services: Services, objects: FilesystemStore
) -> None:
    parent = await submit(alice, name="parent")
    uid = parent["metadata"]["uid"]
    await run(parent, Phase.SUCCEEDED)
    objects.put(f"jobs/{uid}/1/files/big", b"m")
    job = await submit(alice, inputs=[{"type": "output", "job": "parent", "file": "big", "path": "big"}])
    await run(job, Phase.SUCCEEDED)
    await services.store.awrite(lambda writer: writer.remove(writer.by_uid(TrainJob, uid)))
    for verb in ("rerun", "retry"):
        told = await alice.refused("POST", at(job, verb), 422)
        (detail,) = told["details"]
        assert detail["message"] == f"it reads 'big' of job {uid}, which is not there (any more) in namespace 'alice'"
        assert detail["remedy"].startswith("If it was deleted, run its code again, and submit this one anew")


@pytest.mark.asyncio
async def test_only_ones_own(bob: Caller, alice: Caller, submit: Submit, run: Run) -> None:
    job = await submit(alice)
    await run(job, Phase.SUCCEEDED)
    await bob.refused("POST", at(job, "rerun"), 404)
