"""Lists of requirements as they are typed and sent."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from jupyter_trainjob.client import InputError, inputs
from jupyter_trainjob.verbs.options import JOB_OPTIONS, job_options


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("requirements.txt", "requirements.txt"),
        ("dev-requirements.txt", "requirements.txt"),
        ("renv.lock", "renv.lock"),
        ("spark.ivy", "ivy"),
        ("ivy.txt", "ivy"),
    ],
)
def test_a_list_is_known_by_its_name(name: str, format: str) -> None:
    assert inputs.requirements_format(name) == format


def test_another_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"pyproject\.toml: what this is can't be told") as told:
        inputs.requirements_format("pyproject.toml")
    assert "requirements.txt (pip), renv.lock (R) or NAME.ivy" in str(told.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--requirements .*none\.txt: No such file"):
        inputs.read_requirements(tmp_path / "none.txt")


def test_the_option_as_it_is_typed() -> None:
    parser = argparse.ArgumentParser()
    for one in JOB_OPTIONS:
        parser.add_argument(*one.flags, **one.settings)
    assert job_options(parser.parse_args(["--requirements", "renv.lock"])) == {"requirements": "renv.lock"}
    assert job_options(parser.parse_args([])) == {}
