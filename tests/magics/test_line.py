"""``%trainjob VERB`` in a real kernel."""

from __future__ import annotations

import json

from jupyter_trainjob.client import Client

from .conftest import Kernel


def test_verbs_on_a_job_that_ran(kernel: Kernel, client: Client) -> None:
    code = "print('hello')\nopen('out.txt', 'w').write('x' * 10)\nscore = 3"
    job = client.submit_cell(code, name="lined", outputs=["score"]).wait(60, check=True)
    assert job.name in kernel.run("%trainjob list").stdout
    assert "hello" in kernel.run("%trainjob logs lined").stdout
    assert f"lined is {job.name}" in kernel.run("%trainjob logs lined --tail 1").stdout
    assert "out.txt" in kernel.run("%trainjob files lined").stdout
    assert "score" in kernel.run("%trainjob results lined").stdout
    assert kernel.run("%trainjob results lined score").results[0]["data"]["text/plain"] == "3"
    assert kernel.run("value = %trainjob results lined score\nprint(value + 1)").stdout.endswith("\n4\n")
    kernel.run("%trainjob download lined")
    assert (kernel.folder / "out.txt").read_text() == "x" * 10
    kernel.run("%trainjob notebook lined")
    assert json.loads((kernel.folder / f"{job.name}.ipynb").read_text())["nbformat"] == 4
    shown = kernel.run("%trainjob show lined").displays[0]["data"]
    assert shown["application/vnd.trainjob+json"]["name"] == job.name and "Succeeded" in shown["text/plain"]
    assert json.loads(kernel.run("%trainjob show lined -o json").stdout.split("\n", 1)[1])["kind"] == "TrainJob"


def test_hold_why_release_cancel_retry_delete(kernel: Kernel, client: Client) -> None:
    kernel.run("%%trainjob --name gated --hold\nprint(1)")
    name = client.job("gated").name
    assert name in kernel.run(f"%trainjob why {name}").stdout
    assert f"{name}: released" in kernel.run(f"%trainjob release {name}").stdout
    client.job(name).wait(60)
    assert kernel.run(f"%trainjob cancel {name}").status == "error", "a finished job can't be cancelled"
    retried = kernel.run(f"%trainjob retry {name}").displays[0]["data"]["application/vnd.trainjob+json"]["name"]
    assert retried != name
    client.job(retried).wait(60)
    assert "deleted" in kernel.run(f"%trainjob delete {name}").stdout
    for _ in range(100):
        gone = kernel.run(f"%trainjob show {name}")
        if gone.status == "error":
            break
    assert gone.ename == "NotFound" and name in gone.evalue and ".py" not in gone.traceback


def test_cancel_all(kernel: Kernel, client: Client) -> None:
    for _ in range(2):
        client.submit_cell("print(1)", name="many", hold=True)
    said = kernel.run("%trainjob cancel --all").stdout
    assert said.count("cancel asked for") >= 2
    assert client.jobs(phases=["Queued", "Running", "Admitted"]) == [] or all(
        job.refresh().wait(30).finished for job in client.jobs(phases=["Queued", "Running", "Admitted"])
    )
    assert "Which jobs?" in kernel.run("%trainjob cancel").stderr


def test_several_names_of_which_one_is_wrong(kernel: Kernel, client: Client) -> None:
    name = client.submit_cell("print(1)", name="right", hold=True).name
    ran = kernel.run(f"%trainjob cancel nobodys {name}")
    assert ran.stdout.startswith(f"{name}: cancel") and ran.status == "error", "a notebook that is run whole stops here"
    assert ran.evalue.splitlines()[0].startswith("There is no TrainJob 'nobodys'")
    assert ran.evalue.endswith("This failed for 1 of 2 jobs.")


def test_queues_limits_help(kernel: Kernel) -> None:
    assert "default" in kernel.run("%trainjob queues").stdout
    assert "You are " in kernel.run("%trainjob limits").stdout
    assert "cancel" in kernel.run("%trainjob help").stdout
    assert "--tail N" in kernel.run("%trainjob help logs").stdout


def test_unknown_verbs_and_options(kernel: Kernel) -> None:
    assert "there is no verb 'lst'. Did you mean list" in kernel.run("%trainjob lst").stderr
    assert "unknown option --fllow. Did you mean --follow?" in kernel.run("%trainjob logs x --fllow").stderr
    missing = kernel.run("%trainjob logs")
    assert "NAME" in missing.stderr and missing.status == "error"


def test_submit_a_notebook(kernel: Kernel, client: Client) -> None:
    cells = [
        {
            "cell_type": "code",
            "id": "a",
            "metadata": {},
            "source": "print(6 * 7)",
            "outputs": [],
            "execution_count": None,
        }
    ]
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
    (kernel.folder / "My Work.ipynb").write_text(json.dumps(notebook))
    ran = kernel.run("%trainjob submit 'My Work.ipynb' --block")
    assert ran.stdout.count("42") == 1, ran
    assert client.job("my-work").phase == "Succeeded"
    assert "There is no notebook nope.ipynb" in kernel.run("%trainjob submit nope.ipynb").stderr
    (kernel.folder / "new.ipynb").write_text(json.dumps({**notebook, "nbformat": 5, "nbformat_minor": 0}))
    assert "notebook format 5.0, which is newer" in kernel.run("%trainjob submit new.ipynb").stderr
    (kernel.folder / "text.ipynb").write_text("hello")
    assert "text.ipynb is not a notebook" in kernel.run("%trainjob submit text.ipynb").stderr
