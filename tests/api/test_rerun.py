"""A job once more as it was recorded, whatever its profile and its index of packages have become."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from jupyter_trainjob.api.services import Services
from jupyter_trainjob.resources import names
from jupyter_trainjob.resources.profile import Profile
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


async def profile(services: Services, **defaults: str) -> None:
    def write(writer: Any) -> None:
        found = writer.get(Profile, "", "default")
        for key, value in defaults.items():
            setattr(found.spec.defaults, key, value)
        found.spec.maximum.memory = defaults["memory"]
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
    await profile(services, memory="512Mi")
    again = (await alice("POST", at(job, "rerun"), json={}, expect=201)).json()
    assert again["spec"] == job["spec"], "the profile's new bound is for new jobs"
    assert again["status"]["codeHash"] == job["status"]["codeHash"]
    assert again["metadata"]["labels"][names.RERUN_OF_LABEL] == job["metadata"]["name"]
    assert again["metadata"]["name"] != job["metadata"]["name"]


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
async def test_only_ones_own(bob: Caller, alice: Caller, submit: Submit, run: Run) -> None:
    job = await submit(alice)
    await run(job, Phase.SUCCEEDED)
    await bob.refused("POST", at(job, "rerun"), 404)
