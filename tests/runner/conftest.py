"""Fixtures of the runner's tests.

- ``scala_compiled``: the folder with our code compiled beforehand for Scala's kernels, as a server makes it. It lies in
  the cache: making it takes a minute, and is tested with the local backend.
- Tests with a ``language`` run Scala with it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_trainjob.runner.languages import toree

MAKES = [sys.executable, "-m", "jupyter_trainjob.runner.languages.scalajar"]
MAKES_SECONDS = 900
"""It has bounds of its own, which together are longer than anything here may take."""


@pytest.fixture(scope="session")
def scala_compiled() -> Path:
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "jupyter-trainjob", "compiled")
    for failed in place.glob("*/failed.txt"):  # by an earlier run, and today a server would not try again
        failed.unlink()
    made = subprocess.run([*MAKES, str(place)], stdout=subprocess.PIPE, text=True, check=False, timeout=MAKES_SECONDS)
    assert made.returncode == 0 and re.search(r": (made|was there)$", made.stdout, re.M), made.stdout
    return place


@pytest.fixture(autouse=True)
def _compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and callspec.params.get("language") == "scala":
        monkeypatch.setenv(toree.PLACE, str(request.getfixturevalue("scala_compiled")))
