"""Images and volumes at submit: taken where the queue's backend has them, else refused with what to do instead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jupyter_trainjob.api.services import Services
from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.store import Writer

from .conftest import Caller, Run, cell
from .test_submission import fields

pytestmark = pytest.mark.asyncio

LAB = "registry.example.org/course/lab:2026"
DIGEST = f"sha256:{'d' * 64}"
IMAGE, VOLUMES = {"image": LAB}, [{"name": "data"}]


async def far(operator: Caller, services: Services, *allowed: str) -> None:
    """A queue whose jobs run in a cluster, and a profile with volumes."""
    await operator("POST", "/queues", expect=201, json={"metadata": {"name": "far"}, "spec": {"backend": "other"}})
    volumes = [
        {"name": "data", "claim": "course", "subPath": "sets"},
        {"name": "home", "claim": "course", "subPath": "homes/{owner}", "writable": True},
    ]
    profile = {"metadata": {"name": "lab"}, "spec": {"volumes": volumes, "queue": "far"}}
    await operator("POST", "/profiles", expect=201, json=profile)
    backend: Any = services.backends
    backend.cluster = replace(backend.cluster, allowed_images=allowed)


def sent(**spec: Any) -> dict[str, Any]:
    return cell(profile="lab", **spec)


async def test_where_jobs_are_processes_there_are_neither(alice: Caller, operator: Caller, services: Services) -> None:
    asked = cell(environment=IMAGE, volumes=VOLUMES)
    found = await fields(alice, asked)
    assert found["spec.environment.image"] == {
        "field": "spec.environment.image",
        "message": "no image can be chosen in the queue 'default': its jobs run on the server's own machine",
        "value": LAB,
        "remedy": "Leave --image out, and send what the job needs with --requirements. No queue here has images.",
    }
    assert found["spec.volumes"] == {
        "field": "spec.volumes",
        "message": "there are no volumes in the queue 'default': its jobs run on the server's own machine",
        "value": "data",
        "remedy": "Leave --volume out, and send files with --files or --input. No queue here has volumes.",
    }
    await far(operator, services)
    found = await fields(alice, asked)
    assert found["spec.environment.image"]["remedy"].endswith(" Queues that have images: far.")
    assert found["spec.volumes"]["remedy"].endswith(" Queues that have volumes: far.")


async def test_an_image_of_the_allow_list_is_taken_and_others_are_told_it(
    alice: Caller, operator: Caller, services: Services
) -> None:
    await far(operator, services)
    found = await fields(alice, sent(environment=IMAGE))
    assert found["spec.environment.image"]["message"] == (
        f"the image '{LAB}' can't be chosen: this server's operator allows none but those of the profiles"
    )
    assert "ask the operator (allowed_images)" in found["spec.environment.image"]["remedy"]
    backend: Any = services.backends
    backend.cluster = replace(backend.cluster, allowed_images=("registry.example.org/course/",))
    job = (await alice("POST", "/namespaces/alice/trainjobs", expect=201, json=sent(environment=IMAGE))).json()
    assert job["spec"]["environment"]["image"] == LAB
    for wrong, says in (
        ("registry.example.org/course-of-another/x", "is not among those that this server's operator allows"),
        ("registry.example.org/course/LAB", "names are in lower case"),
        ("registry.example.org/course/lab@sha256:12", "write @sha256: and 64 hexadecimal digits"),
        ("registry.example.org/course/lab; rm -rf /", "is no name of an image"),
        ("x" * 3000, "is no name of an image"),
    ):
        found = await fields(alice, sent(environment={"image": wrong}))
        assert says in found["spec.environment.image"]["message"], wrong


async def test_volumes_of_the_profile_are_taken_and_all_else_is_told(
    alice: Caller, operator: Caller, services: Services
) -> None:
    await far(operator, services)
    asked = [{"name": "data"}, {"name": "home", "mountPath": "/mnt/me", "readOnly": False}]
    job = (await alice("POST", "/namespaces/alice/trainjobs", expect=201, json=sent(volumes=asked))).json()
    assert job["spec"]["volumes"] == [
        {"name": "data", "mountPath": "", "readOnly": True},
        {"name": "home", "mountPath": "/mnt/me", "readOnly": False},
    ]
    wrong = [{"name": "others"}, {"name": "data", "readOnly": False}, {"name": "home", "mountPath": "/var/run"}]
    found = await fields(alice, sent(volumes=wrong))
    assert found["spec.volumes[0].name"]["message"] == ("the profile allows no volume 'others'; it allows: data, home")
    assert found["spec.volumes[1].readOnly"]["message"] == "the volume 'data' may only be read"
    assert "/var is the system's" in found["spec.volumes[2].mountPath"]["message"]
    found = await fields(alice, sent(volumes=[{"name": "home", "subPath": "../bob"}]))
    assert "subPath" in "".join(found), found


async def test_a_retry_takes_todays_image_and_a_rerun_the_recorded_one(
    alice: Caller, operator: Caller, services: Services, run: Run
) -> None:
    await far(operator, services)
    profile = {"metadata": {"name": "ready"}, "spec": {"queue": "far", "environment": IMAGE}}
    await operator("POST", "/profiles", expect=201, json=profile)
    job = (await alice("POST", "/namespaces/alice/trainjobs", expect=201, json=cell(profile="ready"))).json()
    await run(job, Phase.FAILED)
    recorded = f"registry.example.org/course/lab@{DIGEST}"

    def pulled(writer: Writer) -> None:
        old = writer.by_uid(TrainJob, job["metadata"]["uid"])
        old.status.image_digest = recorded
        writer.update(old, check=False)

    services.store.write(pulled)
    profile["spec"] = {"queue": "far", "environment": {"image": "registry.example.org/course/lab:2027"}}
    await operator("PUT", "/profiles/ready", expect=200, json=profile)
    name = job["metadata"]["name"]
    again = (await alice("POST", f"/namespaces/alice/trainjobs/{name}/retry", expect=201)).json()
    assert again["spec"]["environment"]["image"].endswith("lab:2027") and not again["status"].get("imageDigest")
    same = (await alice("POST", f"/namespaces/alice/trainjobs/{name}/rerun", expect=201)).json()
    assert same["spec"]["environment"]["image"] == LAB and same["status"]["imageDigest"] == recorded


async def test_two_profiles_don_t_mount_from_inside_of_each_other(
    alice: Caller, operator: Caller, services: Services
) -> None:
    await far(operator, services)
    inner = [{"name": "notes", "claim": "course", "subPath": "homes/{owner}/notes"}]
    profile = {"metadata": {"name": "inner"}, "spec": {"volumes": inner}}
    status = await operator.refused("POST", "/profiles", 422, json=profile)
    assert status["details"][0]["field"] == "spec.volumes"
    assert status["details"][0]["message"] == (
        "the volume 'notes' lies inside of 'home' of the profile 'lab', into which jobs may write: a link that one of "
        "them leaves there would lead to another person's files; give it a folder beside that one"
    )
    inner[0]["subPath"] = "notes/{owner}"
    await operator("POST", "/profiles", expect=201, json=profile)


async def test_a_network_takes_the_jobs_word_the_profiles_and_the_backends(
    alice: Caller, operator: Caller, services: Services
) -> None:
    asked = cell(network={"mode": "profile"})
    assert (await fields(alice, asked))["spec.network.mode"] == {
        "field": "spec.network.mode",
        "message": "the profile 'default' allows its jobs no network",
        "value": "profile",
        "remedy": "Leave --network out, and bring what the job reads with --files, --input or --uri; or choose a "
        "profile that allows it.",
    }
    profile = {"metadata": {"name": "default"}, "spec": {"network": {"mode": "host"}}}
    await operator("PUT", "/profiles/default", expect=200, json=profile)
    refused = (await fields(alice, asked))["spec.network.mode"]
    assert refused["message"] == "jobs in the queue 'default' never have a network, whatever their profile allows"
    assert refused["remedy"] == "Leave --network out. No queue here has it."
    backend: Any = services.backends
    offered = {"network:host"}
    backend.offers = lambda name: frozenset(offered)
    job = (await alice("POST", "/namespaces/alice/trainjobs", expect=201, json=asked)).json()
    assert job["spec"]["network"] == {"mode": "profile"}
    job = (await alice("POST", "/namespaces/alice/trainjobs", expect=201, json=cell())).json()
    assert job["spec"]["network"] == {"mode": "none"}, "whoever does not ask has none"
    refused = (await fields(alice, cell(network={"mode": "loopback"})))["spec.network.mode"]
    assert refused["message"] == (
        "jobs in the queue 'default' can't have a loopback of their own: it would open the machine's network"
    )
    offered.add("network:loopback")
    await alice("POST", "/namespaces/alice/trainjobs", expect=201, json=cell(network={"mode": "loopback"}))


async def test_a_network_that_the_operator_has_closed_is_closed_for_what_is_run_again(
    alice: Caller, operator: Caller, services: Services, run: Run
) -> None:
    backend: Any = services.backends
    backend.offers = lambda name: frozenset({"network:host"})
    profile = {"metadata": {"name": "default"}, "spec": {"network": {"mode": "host"}}}
    await operator("PUT", "/profiles/default", expect=200, json=profile)
    asked = cell(network={"mode": "profile"})
    job = (await alice("POST", "/namespaces/alice/trainjobs", expect=201, json=asked)).json()
    await run(job, Phase.SUCCEEDED)
    profile["spec"] = {"network": {"mode": "none"}}
    await operator("PUT", "/profiles/default", expect=200, json=profile)
    path = f"/namespaces/alice/trainjobs/{job['metadata']['name']}/rerun"
    refused = await alice.refused("POST", path, 422, json={})
    assert refused["details"][0]["field"] == "spec.network.mode"
