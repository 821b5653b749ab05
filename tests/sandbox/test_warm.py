"""The attacks in kernels that were started before their job was known: the pool weakens nothing."""

from __future__ import annotations

from typing import Any

import pytest

from .suites import SECONDS, check, each_attack, run, unclaimed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]
LEVEL = "namespaces+cgroups"


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    return run(LEVEL, "--warm")


@each_attack
def test_what_is_claimed_holds(rows: dict[str, dict[str, Any]], name: str) -> None:
    check(rows[name], LEVEL)


def test_what_is_not_claimed_is_listed(rows: dict[str, dict[str, Any]]) -> None:
    assert unclaimed(rows) == {"files-in-flight"}


@pytest.mark.soak
@pytest.mark.parametrize("level", ["namespaces", "landlock+seccomp", "process"])
def test_the_same_at_the_other_levels(level: str) -> None:
    for row in run(level, "--warm").values():
        check(row, level)
