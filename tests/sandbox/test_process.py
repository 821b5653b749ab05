"""The attacks on an ordinary process: limits hold, and nothing else is claimed."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_trainjob.backends.local.attacks import bombs, fills, floods, lies

from .suites import SECONDS, check, each_attack, run, unclaimed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]
LEVEL = "process"


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    return run(LEVEL)


@each_attack
def test_what_is_claimed_holds(rows: dict[str, dict[str, Any]], name: str) -> None:
    check(rows[name], LEVEL)


def test_only_limits_and_what_is_given_back_are_claimed(rows: dict[str, dict[str, Any]]) -> None:
    held = {attack.name for attack in (*bombs.ATTACKS, *fills.ATTACKS, *floods.ATTACKS, *lies.ATTACKS)}
    unheld = {"files-in-flight", "forged-state", "memfd", "semaphores-of-size", "shared-memory", "shared-memory-let-go"}
    unheld |= {"socket-buffers", "tmpfs"}
    assert set(rows) - unclaimed(rows) == held - unheld | {"launcher-environment"}
