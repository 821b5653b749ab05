"""Cells in other languages, sent from a Python notebook."""

from __future__ import annotations

import pytest

from jupyter_trainjob.client import Client

from .conftest import Kernel

R_CODE = "total <- sum((1:10)^2)\nx %in% c(1, 2) -> y\ncat('!ls', \"%magic\", '{lr}', '$HOME', '\\\\n')"


@pytest.fixture
def r(client: Client) -> None:
    if not any(one["language"] == "r" for one in client.kernels()):
        pytest.skip("there is no R kernel")


def test_a_cell_in_r_goes_as_it_is(kernel: Kernel, client: Client, r: None) -> None:
    ran = kernel.run(f"%%trainjob --kernel R --name squares --hold\n{R_CODE}")
    assert ran.status == "ok", ran
    job = client.job("squares")
    assert job.spec["source"]["code"] == R_CODE + "\n" or job.spec["source"]["code"] == R_CODE
    assert job.spec["environment"]["language"] == "r"
    wrong = kernel.run("%%trainjob --kernel r\nx <- c(1,\ny <-")
    assert wrong.status == "error" and "line" in wrong.traceback + wrong.stderr
    client.cancel_all()


def test_a_profile_may_say_that_it_is_r(kernel: Kernel, client: Client, r: None) -> None:
    profile = {"apiVersion": "jupyter-trainjob/v1", "kind": "Profile", "metadata": {"name": "in-r"}}
    client.put_thing("profiles", {**profile, "spec": {"environment": {"language": "r"}}})
    ran = kernel.run("%%trainjob --profile in-r --name by-profile --hold\ntotal <- 1:3\nif (TRUE) { total }")
    assert ran.status == "ok", ran
    assert client.job("by-profile").spec["environment"]["language"] == "r"
    python = kernel.run("%%trainjob --hold\nif (TRUE) { total }")
    assert python.status == "error" and "the cell has a syntax error" in python.traceback + python.stderr
    client.cancel_all()


def test_variables_for_r_go_as_data(kernel: Kernel, client: Client, r: None) -> None:
    kernel.run(
        "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]})\nn = 3\ns = {1, 2}\nbad = df.assign(z=[[1], [2]])"
    )
    ran = kernel.run("%%trainjob --kernel R --in df,n --out df --name framed --hold\nnrow(df) + n")
    assert ran.status == "ok", ran
    sent = client.job("framed").spec["inputs"]
    assert [(item["names"], item["format"]) for item in sent] == [(["df"], "frame"), (["n"], "json")]
    for name, said in {
        "s": "--in s: s is of the type set, which R can't get. Send sorted(s).",
        "bad": "--in bad: the column 'z' holds a value of the type list ([1]), which no other language gets.",
    }.items():
        refused = kernel.run(f"%%trainjob --kernel R --in {name}\n1")
        assert refused.status == "error" and said in refused.traceback + refused.stderr, refused
    dry = kernel.run("%%trainjob --kernel R --in df,n --dry-run\nnrow(df)")
    assert "  variables: df\n  variables: n\n" in dry.stdout
    client.cancel_all()


def test_a_kernel_that_is_not_there_is_told_with_those_that_are(kernel: Kernel) -> None:
    ran = kernel.run("%%trainjob --kernel julia\n1")
    assert ran.status == "error" and "there is no kernel 'julia'; there are: " in ran.traceback + ran.stderr


def test_a_script_and_its_metrics_by_line(kernel: Kernel, client: Client) -> None:
    (kernel.folder / "train.py").write_text("from jupyter_trainjob import log_metric\nlog_metric('loss', 0.5, 1)\n")
    ran = kernel.run("%trainjob submit train.py --block --cpu 1 --memory 512Mi")
    assert ran.status == "ok", ran
    shown = kernel.run("%trainjob metrics train").stdout
    assert "METRIC" in shown and "loss" in shown and "0.5" in shown
    assert "--time-limit 1m" in kernel.run("%trainjob advise train").stdout
    assert "python" in kernel.run("%trainjob kernels").stdout
    wrong = kernel.run("%trainjob submit nothing.sh")
    assert wrong.status == "error" and "is nothing that can be submitted" in wrong.traceback + wrong.stderr
