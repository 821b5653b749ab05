"""``jupyter trainjob submit`` of scripts and folders, and the verbs about what jobs used and logged."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_trainjob.client import Client

from .conftest import Done

Trainjob = Callable[..., Done]
LIMITS = ("--cpu", "1", "--memory", "512Mi", "--time-limit", "2m")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib/tools.py").write_text("def twice(x): return 2 * x\n")
    (folder / "main.py").write_text("n = 1\nfrom lib.tools import twice\nprint(twice(n))\n")
    (folder / "big.bin").write_bytes(bytes(3000))
    (folder / ".trainjobignore").write_text("*.bin\n.trainjobignore\n")
    return folder


def test_a_script(trainjob: Trainjob, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('lr is', lr)\n")
    done = trainjob("submit", "train.py", "--param", "lr=0.1", "--block", *LIMITS)
    assert (done.status, done.out) == (0, "lr is 0.1\n"), done
    shown = trainjob("show", "train").out
    assert "Code:        train.py, python\n" in shown
    assert "Used:        memory " in shown and " MiB of 512 MiB, " in shown and " CPU seconds, disk " in shown


def test_a_folder_says_what_it_sends(trainjob: Trainjob, project: Path) -> None:
    dry = trainjob("submit", "project", "--entry", "main.py", "--dry-run", "--name", "dry")
    assert dry.status == 0
    listed = "project: 2 files, 77 B\n  lib/tools.py  27 B\n  main.py  50 B\n"
    assert dry.err == f"{listed}Nothing was submitted. It would be:\n"
    assert "Code:        main.py of a folder, python\n" in dry.out
    done = trainjob("submit", "project/", "--entry", "main.py", "--block", *LIMITS)
    assert (done.status, done.out) == (0, "2\n") and "project: 2 files, 77 B\n" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("project",), "Which file of project runs? Name it with --entry; there is: main.py, lib/tools.py."),
        (("project", "--entry", "../x.py"), "--entry ../x.py lies outside of project."),
        (("project", "--entry", "project/main.py"), "Did you mean main.py?"),
        (("project/main.py", "--entry", "main.py"), "--entry main.py: project/main.py is no folder."),
        (("run.sh",), "run.sh is nothing that can be submitted: that is a notebook (.ipynb), a script ("),
        (("none.py",), "There is no script none.py. Check the path."),
        ((f"{'n' * 300}.py",), "nnn.py can't be read: File name too long."),
        (("project", "--entry", f"{'n' * 300}.py"), "nnn.py: there is no such file in project."),
        (("loop.py",), "loop.py can't be read: Too many levels of symbolic links."),
        (("project/main.py", "--input", "clean"), "--input clean: this names no file of a job. Write --input JOB:FILE"),
        (("project/main.py", "--uri", "a.csv"), "--uri a.csv: this is no address. Write https://host/path/file"),
        (("project/main.py", "--requirements", "a.toml"), "--requirements a.toml: "),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_said(trainjob: Trainjob, project: Path, words: tuple[str, ...], said: str) -> None:
    (project.parent / "loop.py").symlink_to("loop.py")
    done = trainjob("submit", *words)
    assert done.status == 2 and said in done.err, done


def test_a_link_in_a_folder(trainjob: Trainjob, project: Path) -> None:
    (project / "lib/passwd").symlink_to("/etc/passwd")
    done = trainjob("submit", "project", "--entry", "main.py")
    assert done.status == 2 and "lib/passwd in project is a symbolic link, and links are not sent." in done.err


def test_what_another_job_left(trainjob: Trainjob, client: Client, tmp_path: Path) -> None:
    first = client.submit_cell("open('a.csv', 'w').write('1,2')", name="clean", block=True)
    (tmp_path / "report.py").write_text("print(open('in.csv').read())\n")
    done = trainjob("submit", "report.py", "--input", "clean:a.csv=in.csv", "--block", *LIMITS)
    assert (done.status, done.out) == (0, "1,2\n"), done
    told = f"a.csv of job {first.name}, attempt 1, uid {first.uid}"
    assert f"Inputs:      in.csv ({told})\n" in trainjob("show", "report").out
    assert f'"job": "{first.uid}"' in trainjob("show", "report", "-o", "json").out
    dry = trainjob("submit", "report.py", "--input", "clean:a.csv=in.csv", "--dry-run")
    assert f"  in.csv: {told}\n" in dry.err
    first.delete()
    assert f"Inputs:      in.csv (a.csv of job {first.uid}, attempt 1)\n" in trainjob("show", "report").out


def test_metrics(trainjob: Trainjob, client: Client) -> None:
    code = (
        "from jupyter_trainjob import log_metric\n"
        "for step in range(3): log_metric('loss', 1 / (step + 1), step)\n"
        "log_metric('=1+1', 7, 0)"
    )
    client.submit_cell(code, name="logged", block=True)
    lines = trainjob("metrics", "logged").out.splitlines()
    assert lines[0].split() == ["METRIC", "COUNT", "LAST", "MIN", "MAX"]
    assert lines[1].split() == ["loss", "3", "0.333333", "0.333333", "1"]
    assert len(trainjob("metrics", "logged", "loss").out.splitlines()) == 2
    rows = trainjob("metrics", "logged", "-o", "csv").out.splitlines()
    assert rows[0] == "name,step,value,time" and rows[2].startswith("loss,1,0.5,2")
    assert rows[4].startswith("'=1+1,0,7.0,")
    told = json.loads(trainjob("metrics", "logged", "loss", "-o", "json").out)
    assert [point[:2] for point in told["metrics"]["loss"]["points"]] == [[0, 1.0], [1, 0.5], [2, 1 / 3]]
    lost = trainjob("metrics", "logged", "acc")
    assert lost.status == 2 and "has logged no metric 'acc'. It has: loss, =1+1." in lost.err
    client.submit_cell("1", name="silent", block=True)
    assert trainjob("metrics", "silent").out == "No metrics.\n"
    assert trainjob("metrics", "silent", "-o", "csv").out == "name,step,value,time\n"


def test_advice_is_options_that_can_be_copied(trainjob: Trainjob, client: Client) -> None:
    client.submit_cell("print('advise me')", name="advised", cpu="1", memory="1Gi", time_limit="30m", block=True)
    lines = trainjob("advise", "advised").out.splitlines()
    assert lines[0].startswith("--cpu 1 --memory ") and lines[0].endswith("Mi --time-limit 1m")
    assert lines[1].startswith("The run used ") and "MiB of memory and " in lines[1]
    assert any("Up to 1.0 GiB of memory were asked for and at most " in line for line in lines), lines
    assert json.loads(trainjob("advise", "advised", "-o", "json").out)["runs"] == 1
    client.submit_cell("never", name="unrun", hold=True)
    assert trainjob("advise", "unrun").out == "No run of this code has ended yet.\n"
    trainjob("cancel", "unrun")


def test_kernels(trainjob: Trainjob) -> None:
    table = trainjob("kernels").out
    assert table.startswith("NAME") and "python" in table
    assert json.loads(trainjob("kernels", "-o", "json").out)[0]["language"]
    wrong = trainjob(
        "submit", "-", "--kernel", "julia", input='{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}'
    )
    assert wrong.status == 1 and "there is no kernel 'julia'; there are: " in wrong.err


def test_the_archive(trainjob: Trainjob, client: Client, tmp_path: Path) -> None:
    client.submit_cell("for n in range(1002): open(f'{n:04}', 'w').write('x')", name="many", block=True)
    few, all_ = trainjob("files", "many", "-o", "name"), trainjob("files", "many", "--all", "-o", "name")
    assert len(few.out.splitlines()) == 1000 and "(the first 1000 of 1002 files; --all names all)" in few.err
    assert all_.out.splitlines() == [f"{n:04}" for n in range(1002)]
    saved = trainjob("download", "many", "--archive", "all.tar")
    assert saved.status == 0 and saved.out.startswith("all.tar (")
    with tarfile.open(tmp_path / "all.tar") as archive:
        assert len(archive.getnames()) == 1003
    both = trainjob("download", "many", "0001", "--archive", "all.tar")
    assert both.status == 2 and "--archive takes all, into one file: it goes with neither PATH nor --to." in both.err


def test_rerun(trainjob: Trainjob, client: Client) -> None:
    client.submit_cell("print(lr)", name="once", parameters={"lr": 0.1}, block=True)
    done = trainjob("rerun", "once", "--param", "lr=0.5", "-o", "name")
    assert done.status == 0, done
    name = done.out.strip()
    assert trainjob("wait", name).status == 0 and trainjob("logs", name).out == "0.5\n"
    wrong = trainjob("rerun", "once", "--param", "lr")
    assert wrong.status == 2 and "--param lr: there is no '='. Write --param name=value." in wrong.err
