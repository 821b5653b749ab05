"""Errands for attempts: once at a time, and whatever becomes of one, it can be begun again."""

from __future__ import annotations

import asyncio

import pytest

from jupyter_trainjob.backends.base import AttemptRef, BackendError
from jupyter_trainjob.backends.kubernetes import errands as module
from jupyter_trainjob.backends.kubernetes.errands import Errands

REF = AttemptRef("abc", 1)


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [BackendError("the cluster is away"), KeyError("nodeName")])
async def test_an_errand_that_fails_is_told_and_its_attempt_looked_at_again(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.05)
    told = asyncio.Event()
    begun = []

    async def work() -> None:
        begun.append(1)
        raise error

    errands = Errands(lambda ref: told.set(), "test")
    for count in (1, 2):
        told.clear()
        errands.begin(REF, "renewing", work())
        errands.begin(REF, "renewing", work())
        await asyncio.wait_for(told.wait(), 5)
        assert len(begun) == count
    assert "renewing of tj-abc-1" in caplog.text and str(error) in caplog.text
    await errands.stop()
