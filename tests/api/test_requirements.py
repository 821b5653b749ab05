"""Lists of requirements at submit: judged at once, kept apart from uploads, a profile's for everybody."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jupyter_trainjob.api.services import Services
from jupyter_trainjob.resources.names import blob_key, requirements_key
from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.store import Writer

from .conftest import Caller, cell
from .test_submission import fields, upload

pytestmark = pytest.mark.asyncio

LOCK = json.dumps({"R": {}, "Packages": {"dplyr": {"Package": "dplyr", "Version": "1.1.4"}}}).encode()


def asks(digest: str, format: str = "requirements.txt", **environment: Any) -> dict[str, Any]:
    return cell(environment={"requirements": {"format": format, "digest": digest}, **environment})


async def test_a_list_is_kept_where_environments_are_built_from(alice: Caller, services: Services) -> None:
    digest = await upload(alice, b"numpy==2.1.0\n")
    job = (await alice("POST", "/namespaces/alice/trainjobs", expect=201, json=asks(digest))).json()
    assert job["spec"]["environment"]["requirements"] == {"format": "requirements.txt", "digest": digest}
    assert services.objects.get(requirements_key(digest)) == b"numpy==2.1.0\n"


async def test_a_list_is_read_once(alice: Caller, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    job = asks(await upload(alice, b"numpy==2.1.0\n"))
    await alice("POST", "/namespaces/alice/trainjobs", expect=201, json=job)  # from now on it is kept
    read, get = [], services.objects.get

    def counted(key: str, *span: Any) -> bytes:
        read.append(key)
        return get(key, *span)

    monkeypatch.setattr(services.objects, "get", counted)
    await alice("POST", "/namespaces/alice/trainjobs", expect=201, json=job)
    digest = job["spec"]["environment"]["requirements"]["digest"]
    assert [key for key in read if key.endswith(digest.removeprefix("sha256:"))] == [blob_key("alice", digest)]


async def test_everything_that_is_wrong_with_it_is_told_at_once(alice: Caller) -> None:
    digest = await upload(alice, b"numpy\n-e .\n--index-url https://evil.example\n")
    status = await alice.refused("POST", "/namespaces/alice/trainjobs", 422, json=asks(digest))
    messages = [one["message"] for one in status["details"]]
    assert [message.partition(": ")[2][:7] for message in messages] == ["line 2:", "line 3:"]
    assert "editable install" in messages[0] and "the operator's to say" in messages[1]
    assert status["details"][0]["remedy"] == "Correct the list and send it again."


async def test_what_is_no_text_or_too_large(alice: Caller) -> None:
    found = await fields(alice, asks(await upload(alice, b"\xff\xfe")))
    assert "no text in UTF-8" in found["spec.environment.requirements.digest"]["message"]
    found = await fields(alice, asks(await upload(alice, b"numpy\n" * 200_000)))
    assert "larger than 1024 KiB" in found["spec.environment.requirements.digest"]["message"]


async def test_anothers_list_is_missing(alice: Caller, bob: Caller) -> None:
    digest = await upload(bob, b"numpy\n")
    found = await fields(alice, asks(digest))
    assert "alice has uploaded nothing" in found["spec.environment.requirements.digest"]["message"]


async def test_nothing_is_told_of_anothers_list(alice: Caller, bob: Caller, operator: Caller) -> None:
    """Not even whether the backend would take it: what it says may quote the list."""
    await operator("POST", "/queues", expect=201, json={"metadata": {"name": "far"}, "spec": {"backend": "other"}})
    digest = await upload(bob, LOCK)
    job = asks(digest, "renv.lock", language="r")
    elsewhere = {**job, "spec": {**job["spec"], "queue": "far"}}
    await bob("POST", "/namespaces/bob/trainjobs", expect=201, json=elsewhere)  # now it is among those that are built
    assert set(await fields(alice, job)) == {"spec.environment.requirements.digest"}


async def test_a_list_for_another_language(alice: Caller) -> None:
    found = await fields(alice, asks(await upload(alice, LOCK), "renv.lock"))
    finding = found["spec.environment.requirements.format"]
    assert finding["message"] == "a renv.lock is for jobs in r, and this one is in python"
    assert finding["remedy"] == "Send a requirements.txt."


async def test_a_list_that_the_queues_backend_never_builds(alice: Caller, operator: Caller) -> None:
    digest = await upload(alice, LOCK)
    found = await fields(alice, asks(digest, "renv.lock", language="r"))
    assert found["spec.environment.requirements"] == {
        "field": "spec.environment.requirements",
        "message": "nothing is built from source",
        "value": "renv.lock",
        "remedy": "Leave the requirements out.",
    }
    await operator("POST", "/queues", expect=201, json={"metadata": {"name": "far"}, "spec": {"backend": "other"}})
    elsewhere = {**asks(digest, "renv.lock", language="r")}
    elsewhere["spec"] = {**elsewhere["spec"], "queue": "far"}
    await alice("POST", "/namespaces/alice/trainjobs", expect=201, json=elsewhere)


async def test_a_profiles_list_that_the_queues_backend_never_builds(alice: Caller, operator: Caller) -> None:
    requirements = {"format": "renv.lock", "digest": await upload(operator, LOCK)}
    profile = {"metadata": {"name": "stats"}, "spec": {"environment": {"language": "r", "requirements": requirements}}}
    await operator("POST", "/profiles", expect=201, json=profile)
    found = await fields(alice, cell(profile="stats"))
    assert found["spec.profile"] == {
        "field": "spec.profile",
        "message": "its renv.lock can't be had in the queue 'default': nothing is built from source",
        "value": "stats",
        "remedy": "Choose another profile or queue, and tell the operator.",
    }


async def test_a_profiles_list_is_for_everybody_and_for_a_retry(
    alice: Caller, operator: Caller, services: Services
) -> None:
    wrong = await upload(operator, b"-e .\n")
    profile = {"metadata": {"name": "vision"}, "spec": {"environment": {}}}
    profile["spec"] = {"environment": {"requirements": {"format": "requirements.txt", "digest": wrong}}}
    status = await operator.refused("POST", "/profiles", 422, json=profile)
    assert "editable install" in status["details"][0]["message"]
    digest = await upload(operator, b"torch\n")
    profile["spec"] = {"environment": {"requirements": {"format": "requirements.txt", "digest": digest}}}
    (await operator("POST", "/profiles", expect=201, json=profile)).json()
    job = (await alice("POST", "/namespaces/alice/trainjobs", expect=201, json=cell(profile="vision"))).json()
    assert job["spec"]["environment"]["requirements"]["digest"] == digest
    assert services.objects.get(requirements_key(digest)) == b"torch\n"
    name = job["metadata"]["name"]

    def over(writer: Writer) -> None:
        old = writer.by_uid(TrainJob, job["metadata"]["uid"])
        old.status.phase, old.status.reason = Phase.FAILED, "CodeError"
        writer.update(old, check=False)

    services.store.write(over)
    again = (await alice("POST", f"/namespaces/alice/trainjobs/{name}/retry", expect=201)).json()
    assert again["spec"]["environment"]["requirements"]["digest"] == digest
