"""What is accepted as a job and what is not: every message that a person can get is read here."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest

from jupyter_trainjob.api.services import Services
from jupyter_trainjob.backends.base import NodeCapacity
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.store import Filter

from .conftest import Caller, OneBackend, Run, Submit, cell

pytestmark = pytest.mark.asyncio


async def fields(caller: Caller, job: dict[str, Any], namespace: str = "") -> dict[str, dict[str, Any]]:
    """Field → finding of a job that is refused."""
    status = await caller.refused("POST", f"/namespaces/{namespace or caller.name}/trainjobs", 422, json=job)
    return {detail["field"]: detail for detail in status["details"]}


async def upload(caller: Caller, data: bytes) -> str:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    response = await caller("PUT", f"/blobs/{digest}", content=data)
    assert response.status_code in (200, 201)
    return digest


def code_cell(source: str, **metadata: Any) -> dict[str, Any]:
    return {"cell_type": "code", "id": f"c{abs(hash(source)) % 10**8}", "metadata": metadata, "source": source,
            "outputs": [], "execution_count": None}  # fmt: skip


def notebook(*cells: dict[str, Any], nbformat: int = 4, minor: int = 5, **metadata: Any) -> bytes:
    document = {"nbformat": nbformat, "nbformat_minor": minor, "metadata": metadata, "cells": list(cells)}
    return json.dumps(document).encode()


async def send_notebook(caller: Caller, data: bytes, **spec: Any) -> dict[str, Any]:
    digest = await upload(caller, data)
    return {"spec": {"source": {"type": "notebook", "digest": digest, "path": "Lab 1.ipynb"}, **spec}}


# What is set


async def test_a_job_gets_owner_name_and_all_defaults(alice: Caller, submit: Submit) -> None:
    job = await submit(alice, name="digits")
    meta, spec, status = job["metadata"], job["spec"], job["status"]
    assert meta["name"].startswith("digits-")
    assert len(meta["name"]) == len("digits-") + 5
    assert meta["labels"]["jupyter-trainjob/name"] == "digits"
    assert (meta["owner"], meta["namespace"]) == ("alice", "alice")
    assert meta["finalizers"] == ["jupyter-trainjob/objects"]
    assert (spec["profile"], spec["queue"], spec["timeLimitSeconds"]) == ("default", "default", 3600)
    assert spec["environment"]["language"] == "python"
    assert spec["resources"] == {
        "cpu": "1", "memory": "1Gi", "gpu": 0, "shm": "64Mi", "disk": "2Gi",
        "processes": 256, "openFiles": 1024, "fileSize": "2Gi", "log": "64Mi",
    }  # fmt: skip
    assert status["phase"] == "Queued"
    assert status["queued"]
    assert status["profileSnapshot"]["metadata"]["name"] == "default"
    assert len(status["codeHash"]) == 64


async def test_defaults_give_way_to_what_was_asked_for(alice: Caller, submit: Submit) -> None:
    job = await submit(alice, resources={"disk": "1Gi", "memory": "32Mi"})
    assert job["spec"]["resources"]["fileSize"] == "1Gi"
    assert job["spec"]["resources"]["shm"] == "32Mi"


async def test_what_the_server_sets_is_dropped_so_that_what_was_read_can_be_sent_again(
    alice: Caller, submit: Submit
) -> None:
    job = await submit(alice)
    again = {**job, "metadata": {**job["metadata"], "name": ""}}
    again["metadata"]["labels"]["jupyter-trainjob/retry-of"] = "invented"
    again["status"] = {**job["status"], "phase": "Succeeded"}
    made = (await alice("POST", "/namespaces/alice/trainjobs", json=again, expect=201)).json()
    assert made["metadata"]["uid"] != job["metadata"]["uid"]
    assert made["status"]["phase"] == "Queued"
    assert "jupyter-trainjob/retry-of" not in made["metadata"]["labels"]


async def test_other_keys_of_the_servers_are_refused_not_dropped(alice: Caller) -> None:
    job = cell()
    job["metadata"] |= {
        "labels": {"jupyter-trainjob/kept": "true", "jupyter-trainjob/keep": "true"},
        "annotations": {"jupyter-trainjob/keep": "true", "mine": "x"},
    }
    found = await fields(alice, job)
    assert set(found) == {"metadata.labels.jupyter-trainjob/kept", "metadata.annotations.jupyter-trainjob/keep"}
    told = found["metadata.labels.jupyter-trainjob/kept"]
    assert told["message"] == "keys that start with jupyter-trainjob/ are the server's"
    assert told["remedy"] == "Take another, or the label jupyter-trainjob/keep."


async def test_code_hash_ignores_blanks_and_line_ends_only(alice: Caller, submit: Submit) -> None:
    one = await submit(alice, code="x = 1\nprint(x)")
    same = await submit(alice, code="x = 1  \r\nprint(x)\n\n")
    other = await submit(alice, code="x = 2\nprint(x)")
    assert one["status"]["codeHash"] == same["status"]["codeHash"] != other["status"]["codeHash"]


async def test_a_dry_run_tells_the_same_and_writes_nothing(alice: Caller, services: Services) -> None:
    answer = (await alice("POST", "/namespaces/alice/trainjobs?dryRun=true", json=cell(), expect=200)).json()
    assert answer["status"]["waitingFor"]
    assert answer["spec"]["resources"]["cpu"] == "1"
    assert await services.store.aread(lambda reader: reader.count(TrainJob)) == 0
    wrong = await alice.refused("POST", "/namespaces/alice/trainjobs?dryRun=true", 422, json=cell(" "))
    assert "the cell is empty" in wrong["message"]


async def test_a_taken_full_name_is_409(alice: Caller) -> None:
    job = {**cell(), "metadata": {"name": "one"}}
    await alice("POST", "/namespaces/alice/trainjobs", json=job, expect=201)
    status = await alice.refused("POST", "/namespaces/alice/trainjobs", 409, json=job)
    assert status["reason"] == "AlreadyExists"
    assert "'one'" in status["message"]


# Who and where


async def test_owner_namespace_and_cancel_in_a_body_are_errors_all_at_once(alice: Caller) -> None:
    job = cell()
    job["metadata"] |= {"owner": "bob", "namespace": "bob"}
    job["spec"] |= {"cancel": {"requestedAt": "2026-01-01T00:00:00Z", "by": "alice"}, "timeLimitSeconds": 0}
    found = await fields(alice, job)
    assert found["metadata.owner"]["message"] == "the owner is whoever sends the job, and that is alice"
    assert found["metadata.namespace"]["message"] == "the job is sent to namespace 'alice'"
    assert found["spec.cancel"]["remedy"] == "Leave it out; cancel is a verb."
    assert found["spec.timeLimitSeconds"]["message"].startswith("0 s is not between 1 second and 30 days")


async def test_an_unknown_namespace_names_those_one_may_use(alice: Caller, member: Caller, operator: Caller) -> None:
    status = await alice.refused("POST", "/namespaces/bob/trainjobs", 404, json=cell())
    assert status["message"] == "There is no namespace 'bob' that alice may use."
    assert status["remedy"] == "You may use: alice."
    status = await member.refused("POST", "/namespaces/ml102/trainjobs", 404, json=cell())
    assert status["remedy"] == "You may use: mona, ml101."
    status = await operator.refused("POST", "/namespaces/nowhere/trainjobs", 404, json=cell())
    assert status["remedy"] == "You may use: olga, ml101."


async def test_an_operator_may_use_a_namespace_that_the_record_holds(
    alice: Caller, operator: Caller, submit: Submit
) -> None:
    await submit(alice)
    job = await submit(operator, "alice")
    assert job["metadata"]["owner"] == "olga"


async def test_a_viewer_may_not_submit(viewer: Caller) -> None:
    status = await viewer.refused("POST", "/namespaces/ml101/trainjobs", 403, json=cell())
    assert status["message"] == "vera may not create a TrainJob in namespace 'ml101'."
    assert status["remedy"] == (
        "That is for its owner or a member or an instructor of its namespace or queue or an operator."
    )


# Profile, queue, limits


async def test_profile_queue_and_syntax_are_told_together_with_what_there_is(alice: Caller) -> None:
    found = await fields(alice, cell("for x in", profile="defualt", queue="gpu"))
    assert found["spec.profile"]["message"] == "there is no profile 'defualt'"
    assert found["spec.profile"]["remedy"] == "Did you mean 'default'? You may use: default."
    assert found["spec.queue"]["message"] == "there is no queue 'gpu'"
    assert found["spec.queue"]["remedy"] == "You may use: default."
    assert "line 1" in found["spec.source.code"]["message"]


@pytest.mark.parametrize(
    ("resources", "field", "message"),
    [
        ({"cpu": "-1"}, "cpu", "-1 is not more than nothing; write for example '1' or '500m'"),
        ({"cpu": "9999"}, "cpu", "9999 CPUs are more than any machine has; write for example '4'"),
        ({"memory": "5"}, "memory", "5 means 5 bytes; did you forget the unit? Write for example '5Gi'"),
        ({"memory": "1gb"}, "memory", "'1gb' has the unknown unit 'gb'; write G"),
        ({"memory": "lots"}, "memory",
         "'lots' is no quantity; write a number with a unit, such as '500m', '2' or '1Gi'"),
        ({"gpu": -1}, "gpu", "-1 is less than 0"),
        ({"disk": "1Gi", "fileSize": "2Gi"}, "fileSize",
         "2Gi file size is more than the job's disk, 1Gi; it lies on the disk"),
        ({"shm": "4Gi"}, "shm", "4Gi shared memory is more than the job's memory, 1Gi; it counts as memory"),
    ],
)  # fmt: skip
async def test_quantities(alice: Caller, resources: dict[str, Any], field: str, message: str) -> None:
    found = await fields(alice, cell(resources=resources))
    assert found[f"spec.resources.{field}"]["message"] == message


async def test_larger_than_possible_says_whose_limit_and_how_much(alice: Caller, operator: Caller) -> None:
    await operator(
        "POST", "/queues", expect=201,
        json={"metadata": {"name": "small"}, "spec": {"limits": {"cpu": "4", "gpu": 0}, "perUser": {"memory": "2Gi"},
                                                      "maxTimeLimitSeconds": 600}},
    )  # fmt: skip
    await operator(
        "POST", "/profiles", expect=201,
        json={"metadata": {"name": "tiny"}, "spec": {"maximum": {"cpu": "2", "processes": 300}, "queue": "small"}},
    )  # fmt: skip
    job = cell(
        profile="tiny", timeLimitSeconds=601, resources={"cpu": "3", "memory": "3Gi", "gpu": 1, "processes": 400}
    )
    status = await alice.refused("POST", "/namespaces/alice/trainjobs", 422, json=job)
    found = {detail["field"]: detail["message"] for detail in status["details"]}
    assert found == {
        "spec.resources.cpu": "3 CPUs is more than the profile 'tiny' allows, 2",
        "spec.resources.processes": "400 processes is more than the profile 'tiny' allows, 300",
        "spec.resources.gpu": "1 GPU is more than the queue 'small' has for all its jobs together, 0",
        "spec.resources.memory": "3Gi memory is more than the queue 'small' gives one person, 2Gi",
        "spec.timeLimitSeconds": "601 s is more than the queue 'small' allows, 600 s",
    }
    refusal = next(item for item in status["data"]["refusals"] if item["limit"] == "memory")
    assert (refusal["scope"], refusal["requested"], refusal["maximum"]) == ("user", "3Gi", "2Gi")
    fits = await alice("POST", "/namespaces/alice/trainjobs", json=cell(profile="tiny"), expect=201)
    assert fits.json()["spec"]["timeLimitSeconds"] == 600  # the profile's default gives way to the queue's limit


async def test_what_no_machine_has_is_refused(alice: Caller, services: Services) -> None:
    assert isinstance(services.backends, OneBackend)
    services.backends.nodes = [NodeCapacity("a", 8000, 2 * 2**30), NodeCapacity("b", 1000, 16 * 2**30)]
    found = await fields(alice, cell(resources={"cpu": "64", "gpu": 1}))
    assert found["spec.resources.cpu"]["message"] == "64 CPUs is more than any machine of 'local' has, 8"
    assert found["spec.resources.gpu"]["message"] == "1 GPU is more than any machine of 'local' has, 0"
    found = await fields(alice, cell(resources={"cpu": "4", "memory": "8Gi"}))
    assert found["spec.resources"]["message"] == (
        "no single machine of 'local' has 4 CPUs with 8Gi memory and 0 GPUs together"
    )


async def test_a_queue_of_others_a_drained_one_and_priorities(
    alice: Caller, bob: Caller, instructor: Caller, operator: Caller
) -> None:
    for name, spec in (
        ("closed", {"users": ["bob"]}),
        ("drained", {"admission": "Draining"}),
        ("gpu", {"priorities": {"minimum": -5, "maximum": 5}}),
    ):
        await operator("POST", "/queues", json={"metadata": {"name": name}, "spec": spec}, expect=201)
    found = await fields(alice, cell(queue="closed"))
    assert found["spec.queue"]["message"] == (
        "the queue 'closed' takes only jobs of certain users and groups, and you are none of them"
    )
    assert found["spec.queue"]["remedy"] == "You may use: default, drained, gpu."
    await bob("POST", "/namespaces/bob/trainjobs", json=cell(queue="closed"), expect=201)
    found = await fields(alice, cell(queue="drained", priority=1))
    assert found["spec.queue"]["message"] == "the queue 'drained' is being emptied and takes no new jobs"
    assert found["spec.priority"]["message"] == "1 is not in the range of the queue 'drained', -100 to 0"
    found = await fields(alice, cell(queue="gpu", priority=6))
    assert found["spec.priority"]["remedy"] == "Write a number from -5 to 5."
    await alice("POST", "/namespaces/alice/trainjobs", json=cell(queue="gpu", priority=5), expect=201)
    await instructor("POST", "/namespaces/ines/trainjobs", json=cell(queue="gpu", priority=50), expect=201)


async def test_too_many_waiting_is_429_and_exact_under_a_burst(
    alice: Caller, bob: Caller, operator: Caller, services: Services
) -> None:
    await operator("POST", "/queues", json={"metadata": {"name": "few"}, "spec": {"queuedPerUser": 3}}, expect=201)
    answers = await asyncio.gather(
        *(alice("POST", "/namespaces/alice/trainjobs", json=cell(queue="few")) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 5
    late = next(answer for answer in answers if answer.status_code == 429)
    assert late.json()["message"] == "alice has 3 jobs waiting in the queue 'few'; it allows 3."
    assert late.headers["Retry-After"] == "30"
    dry = await alice("POST", "/namespaces/alice/trainjobs?dryRun=true", json=cell(queue="few"))
    assert dry.status_code == 429
    await bob("POST", "/namespaces/bob/trainjobs", json=cell(queue="few"), expect=201)
    count = await services.store.aread(lambda reader: reader.count(TrainJob, Filter(owner="alice", queue="few")))
    assert count == 3


async def test_one_waiting_job_is_told_in_the_singular(operator: Caller, alice: Caller) -> None:
    await operator("POST", "/queues", json={"metadata": {"name": "one"}, "spec": {"queuedPerUser": 1}}, expect=201)
    await alice("POST", "/namespaces/alice/trainjobs", json=cell(queue="one"), expect=201)
    late = await alice("POST", "/namespaces/alice/trainjobs", json=cell(queue="one"))
    assert late.json()["message"] == "alice has 1 job waiting in the queue 'one'; it allows 1."


# Uploads, paths, dependencies


async def test_knowing_a_digest_grants_nothing(alice: Caller, bob: Caller) -> None:
    digest = await upload(alice, b"secret data")
    job = cell(inputs=[{"type": "upload", "digest": digest, "path": "data.csv"}])
    await alice("POST", "/namespaces/alice/trainjobs", json=job, expect=201)
    mine = (await fields(bob, job))["spec.inputs[0].digest"]
    never = "sha256:" + "0" * 64
    job["spec"]["inputs"][0]["digest"] = never
    missing = (await fields(bob, job))["spec.inputs[0].digest"]
    assert mine["message"] == f"bob has uploaded nothing with the digest {digest[:19]}…"
    assert mine["message"].replace(digest[:19], never[:19]) == missing["message"]
    assert mine["remedy"] == missing["remedy"]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\b", "", "."])
async def test_paths_stay_below_their_folder(alice: Caller, path: str) -> None:
    digest = await upload(alice, b"x")
    found = await fields(alice, cell(inputs=[{"type": "upload", "digest": digest, "path": path}]))
    assert "leaves its folder; write a path below it" in found["spec.inputs[0].path"]["message"]


async def test_two_inputs_in_one_place(alice: Caller) -> None:
    digest = await upload(alice, b"x")
    paths = ["a.csv", "a.csv", "a.csv/b"]
    found = await fields(alice, cell(inputs=[{"type": "upload", "digest": digest, "path": path} for path in paths]))
    assert found["spec.inputs[1].path"]["message"] == "spec.inputs[0] has the same path"
    assert found["spec.inputs[2].path"]["message"] == "it lies below 'a.csv', which is a file: spec.inputs[0]"


async def test_a_dependency_is_resolved_among_ones_own_jobs(
    alice: Caller, member: Caller, instructor: Caller, submit: Submit, run: Run
) -> None:
    hers = await submit(instructor, "ml101", name="base")
    mine = await submit(member, "ml101", name="base")
    waits = await submit(member, "ml101", schedulingGates=[{"type": "dependency", "job": "base"}])
    assert waits["spec"]["schedulingGates"][0]["job"] == mine["metadata"]["uid"]
    gate = [{"type": "dependency", "job": hers["metadata"]["uid"]}]
    found = await fields(member, cell(schedulingGates=gate), "ml101")
    assert found["spec.schedulingGates[0].job"]["message"] == (
        f"there is no job {hers['metadata']['uid']!r} in namespace 'ml101'"
    )
    loop = {**cell(schedulingGates=[{"type": "dependency", "job": "me"}]), "metadata": {"name": "me"}}
    found = await fields(alice, loop)
    assert found["spec.schedulingGates[0].job"]["message"] == "a job can't wait for itself"
    await run(mine, Phase.FAILED)
    gate = [{"type": "dependency", "job": mine["metadata"]["name"]}]
    found = await fields(member, cell(schedulingGates=gate), "ml101")
    assert found["spec.schedulingGates[0].job"]["message"] == (
        f"the job would wait until {mine['metadata']['name']} has succeeded, but that one ended as Failed"
    )
    gate[0]["condition"] = "finished"
    await submit(member, "ml101", schedulingGates=gate)


async def test_what_is_not_supported_yet_is_named_with_what_is(alice: Caller) -> None:
    digest = await upload(alice, b"x")
    found = await fields(alice, {"spec": {
        "source": {"type": "script", "digest": digest, "path": "train.py"},
        "inputs": [{"type": "dataset", "name": "mnist", "path": "b"}],
        "schedulingGates": [{"type": "approval"}],
        "environment": {"language": "julia"},
    }})  # fmt: skip
    assert found["spec.inputs[0].type"]["message"] == "an input of type 'dataset' is not supported by this server"
    assert found["spec.inputs[0].type"]["remedy"] == "Supported: upload, variables, output, uri."
    assert found["spec.schedulingGates[0].type"]["remedy"] == "Supported: hold, dependency."
    assert found["spec.environment.language"]["message"] == (
        "there is no kernel for the language 'julia'; there are: ir (R), python3 (Python)"
    )


# Code


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", "the cell is empty; write the code to run below the %%trainjob line"),
        ("  \n\t", "the cell is empty; write the code to run below the %%trainjob line"),
        ("x = 1\nfor x in", "line 2: invalid syntax: for x in"),
        ("!ls\nif True\n  pass", "line 2: expected ':': if True"),
        ("x = 1\n  y = 2", "line 2: unexpected indent: y = 2"),
        ("x\0y", "source code string cannot contain null bytes"),
    ],
)
async def test_code_that_is_none(alice: Caller, code: str, message: str) -> None:
    found = await fields(alice, cell(code))
    told = found["spec.source.code"]["message"]
    assert told.removeprefix("the code can't be read as Python: ") == message  # newer Pythons call it a SyntaxError


@pytest.mark.parametrize(
    "code",
    [
        "%matplotlib inline\n!pip list\nx = !ls\nprint(x)",
        "%%trainjob --name digits\nprint(1)",
        "%%bash\nfor x in; do done",
        "await something()",
        "    print('all is indented')",
        "print?",
        "/usr/bin/true" and "1 +  1;",
    ],
)
async def test_code_that_ipython_takes(alice: Caller, submit: Submit, code: str) -> None:
    await submit(alice, code=code)


async def test_below_the_magic_syntax_is_checked_too(alice: Caller) -> None:
    found = await fields(alice, cell("%%trainjob --name digits\nprint(1"))
    assert found["spec.source.code"]["message"] == "line 2: '(' was never closed: print(1"


@pytest.mark.slow
async def test_a_large_cell_and_one_that_costs_too_much_to_check(alice: Caller, submit: Submit) -> None:
    found = await fields(alice, cell("x" * (1024 * 1024 + 1)))
    assert found["spec.source.code"]["message"].startswith(
        "the code is 1.0 MiB, the limit is 1 MiB; put data into a file"
    )
    await submit(alice, code="x = 1\n" * 150_000)
    await submit(alice, code="!ls\n" * 20_000)
    status = await alice.refused("POST", "/namespaces/alice/trainjobs", 413, json=cell("x" * 50 * 2**20))
    assert "50.0 MiB" in status["message"]


async def test_deep_nesting_is_told_and_does_no_harm(alice: Caller) -> None:
    found = await fields(alice, cell("(" * 5000 + ")" * 5000))
    assert "too many nested parentheses" in found["spec.source.code"]["message"]
    answer = await alice("POST", "/namespaces/alice/trainjobs", json=cell("-" * 100_000 + "1"))
    assert answer.status_code in (201, 422)


async def test_parameters_of_a_cell(alice: Caller, submit: Submit) -> None:
    found = await fields(alice, cell("print(lr, epochs)", parameters={"lf": 1, "epochs": 2}))
    assert set(found) == {"spec.parameters.lf"}
    assert found["spec.parameters.lf"]["message"] == "the cell uses no such name"
    assert found["spec.parameters.lf"]["remedy"] == "Did you mean 'lr'? It uses: epochs, lr."
    found = await fields(alice, cell("import os\nlr = 0.1\nprint(lr)", parameters={"lr": 1}))
    assert found["spec.parameters.lr"]["message"] == "line 2 of the cell, lr = 0.1, would overwrite the parameter"
    for code in (
        "lr = lr * 2",
        "if 'lr' not in globals():\n    lr = 0.1",
        "exec(text)",
        "print(lr)\nlr = 3",
        "%%time\nprint(lr)",
    ):
        await submit(alice, code=code, parameters={"lr": 1})
    found = await fields(alice, cell("print(1)", parameters={"class": 1}))
    assert found["spec.parameters"]["message"] == "'class' is no variable name; names are such as 'score'"


# Notebooks


async def test_a_notebook_is_read_and_its_kernel_recorded(alice: Caller) -> None:
    data = notebook(
        code_cell("lr = 0.1", tags=["parameters"]),
        code_cell("%%trainjob --name inner\nprint(lr)"),
        code_cell("1 +", tags=["raises-exception"]),
        kernelspec={"name": "python3", "display_name": "Python 3", "language": "python"},
        language_info={"name": "python"},
    )
    job = await send_notebook(alice, data, parameters={"lr": 0.5})
    made = (await alice("POST", "/namespaces/alice/trainjobs", json=job, expect=201)).json()
    assert made["metadata"]["name"].startswith("lab-1-")
    assert made["metadata"]["annotations"]["jupyter-trainjob/notebook-kernel"] == "python3"
    assert made["spec"]["environment"] == {"language": "python", "kernel": "", "image": "", "env": []}


@pytest.mark.parametrize(
    ("data", "message", "remedy"),
    [
        (b"not json", "'Lab 1.ipynb' is no notebook: it is not JSON", "Send the .ipynb file itself."),
        (b"\xff\xfe\x00", "'Lab 1.ipynb' is no notebook: it is not JSON", "Send the .ipynb file itself."),
        (b"[]", "'Lab 1.ipynb' is no notebook: it names no nbformat", "Send the .ipynb file itself."),
        (notebook(code_cell("1"), nbformat=5, minor=0),
         "'Lab 1.ipynb' is of notebook format 5.0; this server reads up to 4.5",
         "Save it in format 4 with the program that wrote it, or ask the operator to update nbformat."),
        (b'{"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": []}',
         "'Lab 1.ipynb' is of the old notebook format 3.0",
         "Bring it to format 4: jupyter nbconvert --to notebook --nbformat 4 Lab 1.ipynb"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": 3}',
         "'Lab 1.ipynb' is no valid notebook: 3 is not of type 'array' (at cells)",
         "Open it in JupyterLab and save it again."),
        *(
            (b'{"nbformat": 4, "nbformat_minor": %s, "metadata": {}, "cells": []}' % minor,
             "'Lab 1.ipynb' is no valid notebook: its nbformat_minor is no number",
             "Open it in JupyterLab and save it again.")
            for minor in (b'"x"', b"null", b"[]")
        ),
        (b'{"nbformat": true, "nbformat_minor": 5, "metadata": {}, "cells": []}',
         "'Lab 1.ipynb' is no notebook: it names no nbformat", "Send the .ipynb file itself."),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": []}]}',
         "'Lab 1.ipynb' is no valid notebook: a value in it is of a kind that no notebook has there",
         "Open it in JupyterLab and save it again."),
        (notebook({"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Hi"}, code_cell(" ")),
         "the notebook 'Lab 1.ipynb' has no code cell with code in it",
         "Check that it is the right file and that it is saved."),
        (notebook(code_cell("x = 1"), code_cell("y = 1\nfor x in")), "cell 2, line 2: invalid syntax: for x in",
         "Correct the line and send it again."),
    ],
)  # fmt: skip
async def test_notebooks_that_are_none(alice: Caller, data: bytes, message: str, remedy: str) -> None:
    found = await fields(alice, await send_notebook(alice, data))
    assert found["spec.source.digest"]["message"] == message
    assert found["spec.source.digest"]["remedy"] == remedy


async def test_parameters_of_a_notebook(alice: Caller) -> None:
    tagged = notebook(code_cell("lr = 0.1\nepochs: int = 3\nlayers", tags=["parameters"]), code_cell("print(lr)"))
    found = await fields(alice, await send_notebook(alice, tagged, parameters={"lrr": 1, "layers": 2, "epochs": 1}))
    assert set(found) == {"spec.parameters.lrr", "spec.parameters.layers"}
    assert found["spec.parameters.lrr"]["message"] == "cell 1, tagged 'parameters', does not set it"
    assert found["spec.parameters.lrr"]["remedy"] == "Did you mean 'lr'? It sets: epochs, lr."
    plain = notebook(code_cell("lr = 0.1"))
    found = await fields(alice, await send_notebook(alice, plain, parameters={"lr": 1}))
    assert found["spec.parameters"]["message"] == (
        "the notebook 'Lab 1.ipynb' has no cell tagged 'parameters', so it takes none"
    )


async def test_a_notebook_in_a_language_without_a_kernel_says_what_there_is(alice: Caller) -> None:
    data = notebook(
        code_cell("x <- 1"), kernelspec={"name": "julia-1.11", "display_name": "Julia", "language": "julia"}
    )
    found = await fields(alice, await send_notebook(alice, data))
    assert found["spec.source.digest"]["message"] == (
        "it is written for the kernel 'julia-1.11', Julia, and there is no kernel for that; "
        "there are: ir (R), python3 (Python)"
    )
    assert found["spec.source.digest"]["remedy"] == "Name one that can run it with --kernel (spec.environment.kernel)."


@pytest.mark.parametrize(
    ("kernelspec", "expected"),
    [
        ({"name": "ir", "language": "R"}, {"language": "r", "kernel": "ir"}),
        ({"name": "r-4.1-course", "language": "R"}, {"language": "r", "kernel": ""}),
        ({"name": "python3", "language": "python"}, {"language": "python", "kernel": ""}),
        ({"name": "ir"}, {"language": "r", "kernel": "ir"}),
        ({"name": "nowhere"}, {"language": "python", "kernel": ""}),
    ],
    ids=str,
)
async def test_a_notebooks_kernel_is_taken_where_it_is_there_else_its_language(
    alice: Caller, kernelspec: dict[str, str], expected: dict[str, str]
) -> None:
    data = notebook(code_cell("x = 1"), kernelspec={"display_name": "K", **kernelspec})
    made = await alice("POST", "/namespaces/alice/trainjobs", json=await send_notebook(alice, data), expect=201)
    assert made.json()["spec"]["environment"].items() >= expected.items()


# Kernels


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"kernel": "ir"}, {"language": "r", "kernel": "ir"}),
        ({"kernel": "R"}, {"language": "r", "kernel": ""}),
        ({"kernel": "Python"}, {"language": "python", "kernel": ""}),
        ({"kernel": "python3"}, {"language": "python", "kernel": "python3"}),
        ({"language": "R"}, {"language": "r", "kernel": ""}),
        ({"kernel": "ir", "language": "R"}, {"language": "r", "kernel": "ir"}),
        ({}, {"language": "python", "kernel": ""}),
    ],
    ids=str,
)
async def test_a_kernel_is_named_by_its_kernelspec_or_its_language(
    alice: Caller, submit: Submit, environment: dict[str, str], expected: dict[str, str]
) -> None:
    code = "x = 1" if expected["language"] == "python" else "x <- c(1, 2)[[1]]; if (x > 0) print('not Python')"
    made = await submit(alice, code=code, environment=environment)
    assert made["spec"]["environment"].items() >= expected.items()
    again = {"spec": made["spec"]}  # what was resolved is understood again
    assert (await alice("POST", "/namespaces/alice/trainjobs", json=again, expect=201)).json()["spec"] == made["spec"]


@pytest.mark.parametrize(
    ("environment", "field", "message", "remedy"),
    [
        ({"kernel": "nope"}, "kernel", "there is no kernel 'nope'; there are: ir (R), python3 (Python)",
         "Name one of these, or its language."),
        ({"kernel": "pyhton3"}, "kernel", "there is no kernel 'pyhton3'; there are: ir (R), python3 (Python)",
         "Did you mean 'python3'?"),
        ({"language": "cobol"}, "language",
         "there is no kernel for the language 'cobol'; there are: ir (R), python3 (Python)",
         "Name one of these, or its language."),
        ({"kernel": "ir", "language": "python"}, "language", "the kernel 'ir' runs R, not Python",
         "Leave the language out."),
    ],
)  # fmt: skip
async def test_a_kernel_that_is_not_there_is_refused_with_those_there_are(
    alice: Caller, environment: dict[str, str], field: str, message: str, remedy: str
) -> None:
    found = await fields(alice, cell("x <- 1 is no Python", environment=environment))
    assert set(found) == {f"spec.environment.{field}"}, "and no words about syntax"
    assert found[f"spec.environment.{field}"]["message"] == message
    assert found[f"spec.environment.{field}"]["remedy"] == remedy


async def test_a_profiles_kernel_counts_where_the_job_names_none(
    alice: Caller, operator: Caller, submit: Submit
) -> None:
    for name, environment in (("stats", {"kernel": "ir"}), ("broken", {"kernel": "gone"})):
        profile = {"metadata": {"name": name}, "spec": {"environment": environment}}
        await operator("POST", "/profiles", json=profile, expect=201)
    made = await submit(alice, code="x <- 1", profile="stats")
    assert made["spec"]["environment"].items() >= {"language": "r", "kernel": "ir"}.items()
    made = await submit(alice, code="x = 1", profile="stats", environment={"language": "python"})
    assert made["spec"]["environment"].items() >= {"language": "python", "kernel": ""}.items()
    found = await fields(alice, cell(profile="broken"))
    assert found["spec.profile"]["message"] == (
        "the profile 'broken' can't be used: there is no kernel 'gone'; there are: ir (R), python3 (Python)"
    )
    assert "name a kernel with --kernel" in found["spec.profile"]["remedy"]


async def test_whole_numbers_that_r_would_change_are_refused(alice: Caller, submit: Submit) -> None:
    exact = {"n": 2**53, "deep": [{"m": -(2**31)}], "map": {"$type": "map", "value": {"$type": 1}}}
    await submit(alice, code="c(n, deep, map)", parameters=exact, environment={"kernel": "R"})
    found = await fields(alice, cell("c(n, ok)", parameters={"n": [2**53 + 1], "ok": 1}, environment={"kernel": "R"}))
    assert set(found) == {"spec.parameters.n"}
    assert found["spec.parameters.n"]["message"] == "R can't hold 9007199254740993 exactly; send it as a string"
    await submit(alice, code="n", parameters={"n": 2**200})
    for value in ("a\0", ["a\0"], {"a\0": 1}):
        found = await fields(alice, cell("c(n)", parameters={"n": value}, environment={"kernel": "R"}))
        assert found["spec.parameters.n"]["message"] == "a string of R can't hold a NUL character"
    await submit(alice, code="n", parameters={"n": "a\0"})


async def test_the_kernels_there_are_can_be_asked(alice: Caller) -> None:
    kernels = (await alice("GET", "/kernels", expect=200)).json()["kernels"]
    assert kernels[0] == {"backend": "local", "name": "ir", "language": "r", "displayName": "R"}
    assert [kernel["name"] for kernel in kernels] == ["ir", "python3"]


async def test_a_missing_notebook(alice: Caller) -> None:
    job = {"spec": {"source": {"type": "notebook", "digest": "sha256:" + "1" * 64, "path": "a.ipynb"}}}
    found = await fields(alice, job)
    assert found["spec.source.digest"]["message"] == "alice has uploaded nothing with the digest sha256:111111111111…"


async def test_owner_references_point_to_ones_own_jobs(alice: Caller, bob: Caller, submit: Submit) -> None:
    mine, his = await submit(alice), await submit(bob)

    def child(parent: dict[str, Any]) -> dict[str, Any]:
        meta = parent["metadata"]
        reference = {"kind": "TrainJob", "name": meta["name"], "uid": meta["uid"]}
        return {**cell(), "metadata": {"generateName": "child", "ownerReferences": [reference]}}

    await alice("POST", "/namespaces/alice/trainjobs", json=child(mine), expect=201)
    found = await fields(alice, child(his))
    assert "of yours with this uid here" in found["metadata.ownerReferences[0]"]["message"]


async def test_the_queue_that_goes_away_between_check_and_write_is_told(services: Services, alice: Caller) -> None:
    await services.store.awrite(lambda writer: writer.remove(writer.get(Queue, "", "default")))
    found = await fields(alice, cell())
    assert found["spec.queue"]["remedy"] == "There is no queue that you may use."
