"""A full disk is told once a minute without a traceback; anything else with it, every time."""

from __future__ import annotations

import errno
import logging
import sqlite3

import pytest

from jupyter_trainjob.resources import mishaps
from jupyter_trainjob.resources.errors import Unavailable

LOG = logging.getLogger("test.mishaps")


@pytest.fixture(autouse=True)
def anew() -> None:
    mishaps.told.forget()


def wrapped(error: Exception) -> Unavailable:
    try:
        try:
            raise error
        except Exception as inner:
            raise Unavailable("It can't be kept.") from inner
    except Unavailable as outer:
        return outer


def test_a_full_disk_is_one_line_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    for _ in range(50):
        mishaps.tell(LOG, "the lease could not be had", full)
        mishaps.tell(LOG, "a job failed", wrapped(sqlite3.OperationalError("database or disk is full")))
    (record,) = caplog.records
    assert record.exc_info is None
    assert record.getMessage() == (
        "the lease could not be had: the disk is full. Free some space; this is told once a minute while it lasts. "
        "([Errno 28] No space left on device)"
    )
    monkeypatch.setattr(mishaps, "EVERY_SECONDS", 0.0)
    mishaps.tell(LOG, "a job failed", full)
    assert len(caplog.records) == 2


def test_other_errors_come_with_their_traceback_every_time(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        mishaps.tell(LOG, "a job failed", wrapped(OSError(errno.EIO, "Input/output error")))
    assert [record.getMessage() for record in caplog.records] == ["a job failed"] * 2
    assert all(record.exc_info for record in caplog.records)
