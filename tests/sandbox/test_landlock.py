"""The attacks at the level ``landlock+seccomp``."""

from __future__ import annotations

from typing import Any

import pytest

from .suites import SECONDS, check, each_attack, run, unclaimed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]
LEVEL = "landlock+seccomp"


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    return run(LEVEL)


@each_attack
def test_what_is_claimed_holds(rows: dict[str, dict[str, Any]], name: str) -> None:
    check(rows[name], LEVEL)


def test_what_is_not_claimed_is_listed(rows: dict[str, dict[str, Any]]) -> None:
    assert unclaimed(rows) == {
        "files-in-flight",
        "host-processes",
        "metadata-outside",
        "others-priority",
        "path-socket",
        "semaphores",
        "shared-memory",
        "shared-memory-let-go",
        "socket-buffers",
        "tmpfs",
    }
