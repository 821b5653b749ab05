"""What docs/users.md shows, typed into a real kernel and a real terminal beside a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_trainjob.client import Client
from jupyter_trainjob.resources.trainjob import Phase

from ..magics.conftest import Kernel, client, kernel, served, start_kernel
from ..served import Served
from .pages import TOP, blocks

__all__ = ["client", "kernel", "served", "start_kernel"]

PAGE = "docs/users.md"
TEXT = (TOP / PAGE).read_text("utf-8")


def terminal(served: Served, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jupyter_trainjob.cli", *words]
    return subprocess.run(
        command, env=served.environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_all_states_are_explained() -> None:
    table = TEXT.partition("| state | meaning |")[2].partition("\n\n")[0]
    assert [phase.value for phase in Phase if phase.value not in table] == []


@pytest.mark.slow
def test_parameters_arrive_as_the_table_says(kernel: Kernel) -> None:
    table = TEXT.partition("<!-- parameters -->")[2].partition("<!-- end parameters -->")[0]
    rows = re.findall(r"^\| `(--param .+?)` \| `(.+?)` \|$", table, re.M)
    assert len(rows) == table.count("--param")
    names = [re.findall(r"(\w+)=", option)[0] for option, _ in rows]
    code = f"print(repr([{', '.join(names)}]))"
    ran = kernel.run(f"%%trainjob --block --name given {' '.join(option for option, _ in rows)}\n{code}")
    assert ran.stdout == f"[{', '.join(value for _, value in rows)}]\n", ran


@pytest.mark.slow
def test_the_cell_that_tells_its_progress(kernel: Kernel, client: Client) -> None:
    [cell] = [block for block in blocks(PAGE, "") if "progress" in block]
    ran = kernel.run(cell)
    assert ran.status == "ok", ran
    assert ran.stdout == "", "it is no part of the log"
    progress = client.job("steps").refresh().status["progress"]
    assert (progress["fraction"], progress["message"]) == (1, "step 4 of 4")


@pytest.mark.slow
def test_applying_makes_a_new_job_or_finds_the_one_of_that_name(served: Served, client: Client, tmp_path: Path) -> None:
    [text] = blocks(PAGE, "yaml")
    file = tmp_path / "job.yaml"
    file.write_text(text)
    said = [terminal(served, tmp_path, "apply", "-f", "job.yaml").stdout for _ in range(2)]
    assert (
        all(
            re.fullmatch(r"TrainJob/squares-\w{5} created \(generateName: a new job each time\)\n", line)
            for line in said
        )
        and said[0] != said[1]
    )
    assert client.job("squares").wait(60).logs() == "[0, 1, 4, 9]\n"

    file.write_text(text.replace("generateName: squares", "name: squares"))
    said = [terminal(served, tmp_path, "apply", "-f", "job.yaml").stdout for _ in range(2)]
    assert said == ["TrainJob/squares created\n", "TrainJob/squares unchanged\n"]
    file.write_text(file.read_text().replace("count: 4", "count: 5"))
    refused = terminal(served, tmp_path, "apply", "-f", "job.yaml")
    assert refused.returncode == 1 and "can't be changed in spec.parameters.count" in refused.stderr


@pytest.mark.slow
def test_jobs_of_a_course_are_listed_with_its_name_or_with_all(served: Served, client: Client, tmp_path: Path) -> None:
    made = client.submit_cell("1", name="homework", namespace="course").name
    assert made not in terminal(served, tmp_path, "list").stdout
    assert made in terminal(served, tmp_path, "list", "-n", "course").stdout
    assert made in terminal(served, tmp_path, "list", "-A").stdout
