"""The oldest Python that is promised is the one that the checks check for."""

from __future__ import annotations

from .test_binder import PROJECT, PYPROJECT


def test_lint_and_types_are_those_of_the_oldest_python() -> None:
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert PYPROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
