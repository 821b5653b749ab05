"""Fixtures of the runner's tests.

- ``scala_compiled``: the folder with our code compiled beforehand for Scala's kernels, as a server makes it.
- Tests with a ``language`` run Scala with it.
"""

from __future__ import annotations

import pytest

from jupyter_trainjob.runner.languages import toree
from tests.scala import scala_compiled

__all__ = ["scala_compiled"]


@pytest.fixture(autouse=True)
def _compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and callspec.params.get("language") == "scala":
        monkeypatch.setenv(toree.PLACE, str(request.getfixturevalue("scala_compiled")))
