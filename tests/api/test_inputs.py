"""Inputs that lie elsewhere: other jobs' outputs and URIs. Settled at submit, or refused with what to do."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import Any

import pytest

from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .conftest import Caller, Run, Server, Submit, cell

pytestmark = pytest.mark.asyncio


def output(job: str, file: str = "model.pt", **more: Any) -> dict[str, Any]:
    return {"type": "output", "job": job, "file": file, "path": "data/model", **more}


async def refusal(caller: Caller, item: dict[str, Any], namespace: str = "") -> dict[str, Any]:
    path = f"/namespaces/{namespace or caller.name}/trainjobs"
    status = await caller.refused("POST", path, 422, json=cell(inputs=[item]))
    assert len(status["details"]) == 1, status
    found: dict[str, Any] = status["details"][0]
    return found


async def test_an_ended_jobs_output_is_settled_to_its_uid_and_last_attempt(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    first = await submit(alice, name="train")
    uid = first["metadata"]["uid"]
    await run(first, Phase.SUCCEEDED)
    objects.put(f"jobs/{uid}/1/files/model.pt", b"m")
    objects.put(f"jobs/{uid}/1/files/runs/1/loss.csv", b"l")
    for file in ("model.pt", "runs", "runs/1", "."):
        made = await submit(alice, inputs=[output("train", file)])
        assert made["spec"]["inputs"] == [{**output(uid, file), "attempt": 1}]
        assert made["spec"]["schedulingGates"] == []


async def test_a_running_jobs_output_adds_the_gate_that_waits_for_it(alice: Caller, submit: Submit, run: Run) -> None:
    first = await submit(alice, name="train")
    uid, name = first["metadata"]["uid"], first["metadata"]["name"]
    made = await submit(alice, inputs=[output("train"), output(name, "log.txt", path="b")])
    (gate,) = made["spec"]["schedulingGates"]
    assert (gate["type"], gate["job"], gate["condition"]) == ("dependency", uid, "succeeded")
    assert gate["message"] == f"it waits until {name} has succeeded: what that job leaves is its input data/model"
    assert [item.get("attempt") for item in made["spec"]["inputs"]] == [None, None]
    shown = (await alice("GET", f"/namespaces/alice/trainjobs/{made['metadata']['uid']}", expect=200)).json()
    assert shown["status"]["waitingFor"].lower() == f"{gate['message']}.".lower()

    own = [{"type": "dependency", "job": "train", "condition": "finished"}]
    made = await submit(alice, inputs=[output("train")], schedulingGates=own)
    assert [gate["condition"] for gate in made["spec"]["schedulingGates"]] == ["finished"]
    await run(first)
    made = await submit(alice, inputs=[output("train", attempt=1)])
    assert len(made["spec"]["schedulingGates"]) == 1


async def test_a_job_that_one_may_not_read_is_missing_as_one_that_there_never_was(
    alice: Caller, member: Caller, instructor: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    theirs = await submit(instructor, namespace="ml101", name="solution")
    await run(theirs, Phase.SUCCEEDED)
    objects.put(f"jobs/{theirs['metadata']['uid']}/1/files/model.pt", b"m")
    for name in ("solution", theirs["metadata"]["name"], theirs["metadata"]["uid"]):
        told = await refusal(member, output(name), namespace="ml101")
        there_never_was = await refusal(member, output("nothing"), namespace="ml101")
        assert told["message"] == there_never_was["message"].replace("nothing", name)
        assert told["field"] == "spec.inputs[0].job"
        assert "list of jobs" in told["remedy"]
    elsewhere = await submit(member, namespace="ml101", inputs=[])  # one's own can be read
    await run(elsewhere, Phase.SUCCEEDED)
    objects.put(f"jobs/{elsewhere['metadata']['uid']}/1/files/model.pt", b"m")
    await submit(member, namespace="ml101", inputs=[output(elsewhere["metadata"]["uid"])])
    await submit(instructor, namespace="ml101", inputs=[output(elsewhere["metadata"]["uid"])])
    assert (await refusal(alice, output(elsewhere["metadata"]["uid"])))["field"] == "spec.inputs[0].job"


async def test_what_the_other_job_did_not_leave(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore, server: Server
) -> None:
    first = await submit(alice, name="train")
    uid = first["metadata"]["uid"]
    await run(first, Phase.FAILED)
    told = await refusal(alice, output("train", "."))
    assert told["message"] == "that job left no files"
    objects.put(f"jobs/{uid}/1/files/model.pt", b"m")
    told = await refusal(alice, output("train", "modle.pt"))
    assert told["message"] == "that job left no file and no folder 'modle.pt'"
    assert told["remedy"] == "Did you mean 'model.pt'? It left: model.pt."
    told = await refusal(alice, output("train", "." * 300))
    assert told["message"] == f"that job left no file and no folder '{'.' * 200}'"
    told = await refusal(alice, output("train", attempt=2))
    assert (told["field"], told["message"]) == (
        "spec.inputs[0].attempt",
        f"{first['metadata']['name']} has had 1 attempt",
    )

    never = await submit(alice, name="never")

    def cancelled(writer: Any) -> None:
        job = writer.by_uid(TrainJob, never["metadata"]["uid"])
        job.status.phase = Phase.CANCELLED
        writer.update(job)

    await server.services.store.awrite(cancelled)
    assert "ended before it started" in (await refusal(alice, output("never")))["message"]


async def test_a_job_that_is_being_deleted_can_not_be_named_any_more(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    first = await submit(alice, name="train")
    await run(first, Phase.SUCCEEDED)
    objects.put(f"jobs/{first['metadata']['uid']}/1/files/model.pt", b"m")
    await alice("DELETE", f"/namespaces/alice/trainjobs/{first['metadata']['uid']}")
    assert "there is no job 'train'" in (await refusal(alice, output("train")))["message"]


async def test_uris_only_where_the_operator_allows_them(alice: Caller, server: Server) -> None:
    item = {"type": "uri", "uri": "https://data.example.org/sets/a.csv", "path": "a.csv"}
    told = await refusal(alice, item)
    assert told["message"] == "this server's operator allows no URIs as inputs"
    assert "Upload the file" in told["remedy"]
    server.services.submission._input_uris = ("https://data.example.org/sets/",)
    made = await alice("POST", "/namespaces/alice/trainjobs", json=cell(inputs=[item]), expect=201)
    assert made.json()["spec"]["inputs"] == [item]
    told = await refusal(alice, {**item, "uri": "https://data.example.org/private/a.csv"})
    assert "among what this server's operator allows: https://data.example.org/sets/" in told["message"]


async def test_scripts_and_folders_are_taken_and_hostile_archives_are_not(alice: Caller) -> None:
    async def upload(data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        await alice("PUT", f"/blobs/{digest}", content=data)
        return digest

    async def submit(source: dict[str, Any], expect: int = 201) -> dict[str, Any]:
        job = {"metadata": {"generateName": "x"}, "spec": {"source": source}}
        made: dict[str, Any] = (await alice("POST", "/namespaces/alice/trainjobs", json=job, expect=expect)).json()
        return made

    made = await submit({"type": "script", "digest": await upload(b"print(1)"), "path": "train.py"})
    assert made["spec"]["environment"]["language"] == "python"
    folder = {"type": "folder", "entry": "run.py"}
    await submit({**folder, "digest": await upload(packed("run.py", b"print(1)"))})
    for data, because in (
        (packed("../run.py", b"print(1)"), "the folder can't be taken: '../run.py' leaves the folder"),
        (b"nothing of the kind", "no whole .tar.gz"),
        (packed("main.py", b"print(1)"), "the folder has no file 'run.py'"),
        (packed("run.py", b"print(1"), "line 1"),
    ):
        told = await submit({**folder, "digest": await upload(data)}, expect=422)
        assert because in told["message"], told


def packed(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


# How much they are


async def test_inputs_of_more_bytes_than_the_jobs_disk_are_refused_at_submit(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    first = await submit(alice, name="train")
    await run(first, Phase.SUCCEEDED)
    objects.put(f"jobs/{first['metadata']['uid']}/1/files/model.pt", bytes(2**20))
    data = b"x" * 2**20
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    await alice("PUT", f"/blobs/{digest}", content=data, expect=201)
    uploads = [{"type": "upload", "digest": digest, "path": f"x{n}"} for n in range(10)]  # equal ones count once
    spec = {"inputs": [*uploads, output("train")]}
    job = cell(**spec, resources={"disk": "2Mi"})
    await alice("POST", "/namespaces/alice/trainjobs", json=job, expect=201)
    job = cell(**spec, resources={"disk": "1Mi"})
    status = await alice.refused("POST", "/namespaces/alice/trainjobs", 422, json=job)
    (told,) = status["details"]
    assert told["field"] == "spec.resources.disk"
    assert told["message"] == "the inputs have 2Mi together, and the job has 1Mi of disk"
    assert told["remedy"] == "Ask for at least 2Mi with --disk, or name fewer inputs."
