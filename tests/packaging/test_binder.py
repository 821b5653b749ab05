"""What ``binder/`` says still fits the project. repo2docker itself, and conda, are not run here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

TOP = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
POST_BUILD = TOP / "binder" / "postBuild"
INSTALLED = re.compile(r"pip install .*'(\.\[[\w,]+\])'")


def test_it_installs_what_the_readme_installs() -> None:
    wanted, found = (INSTALLED.findall(path.read_text("utf-8")) for path in (TOP / "README.md", POST_BUILD))
    assert wanted == found and len(found) == 1
    extras = found[0].removeprefix(".[").removesuffix("]").split(",")
    assert set(extras) <= PROJECT["optional-dependencies"].keys()


def test_it_can_be_run() -> None:
    assert os.access(POST_BUILD, os.X_OK), "repo2docker runs the file itself"
    assert subprocess.run(["bash", "-n", POST_BUILD], check=False).returncode == 0


def test_its_page_is_there() -> None:
    [page] = re.findall(r"\S+/lab/tree/(\S+)", POST_BUILD.read_text("utf-8"))
    assert (TOP / page).is_file()


def test_its_python_is_one_of_ours() -> None:
    environment = yaml.safe_load((TOP / "binder" / "environment.yml").read_text("utf-8"))
    packages = {
        Requirement(re.sub(r"(?<![=<>!~])=(?!=)", "==", text)).name: text for text in environment["dependencies"]
    }
    assert set(packages) == {"python", "pip"}, "all else comes from pyproject.toml"
    assert packages["python"].partition("=")[2] in SpecifierSet(PROJECT["requires-python"])
