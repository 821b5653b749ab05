"""Readiness on a disk that fills up: a real, small one."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.api.disk import DiskCheck
from jupyter_trainjob.resources import mishaps
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .conftest import Caller, Submit

LOOK = """
import asyncio, json, sys
from pathlib import Path
from jupyter_trainjob.api.disk import DiskCheck
disk = Path(sys.argv[1])
def look(needed):
    print(json.dumps(asyncio.run(DiskCheck([("the data folder", disk)], needed)())))
look(2**20)
(disk / "ballast").write_bytes(bytes(3900 * 1024))
look(2**20)
look(0)
"""


def test_the_space_is_told_and_a_file_is_really_written(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0:
        pytest.skip("no user namespaces here to mount a small disk in")
    mount = 'mount -t tmpfs -o size=4m none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, LOOK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    room, little, none = [json.loads(line) for line in done.stdout.splitlines()]
    assert room == {
        "ok": True,
        "message": "4Mi of 4Mi are free on the disk of the data folder.",
        "freeBytes": 4 * 2**20,
    }
    assert little == {
        "ok": False,
        "message": "196Ki of 4Mi are free on the disk of the data folder; at least 1Mi are needed. Free some space.",
        "freeBytes": 196 * 2**10,
    }
    assert none["message"] == (
        "A file of 256Ki can't be kept in the data folder: No space left on device. "
        "196Ki of 4Mi are free on the disk of the data folder."
    )


@pytest.mark.asyncio
async def test_the_fullest_disk_is_the_one_to_tell(tmp_path: Path) -> None:
    everything = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    both = DiskCheck([("the data folder", tmp_path), ("the record", tmp_path)], needed_bytes=everything * 2)
    told = await both()
    assert told["ok"] is False
    assert "on the disk of the data folder; at least" in told["message"]


@pytest.mark.asyncio
async def test_a_full_disk_is_an_answer_and_one_line_in_the_log(
    alice: Caller, submit: Submit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = await submit(alice)

    def full(*_: object, **__: object) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    mishaps.told.forget()
    monkeypatch.setattr(FilesystemStore, "stat", full)
    path = f"/namespaces/alice/trainjobs/{job['metadata']['name']}/outputs"
    monkeypatch.setattr("jupyter_trainjob.api.outputs.Outputs.list", full)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            status = await alice.refused("GET", path, 503)
    assert status["message"] == "The disk of the server is full: nothing can be kept now."
    assert "What was stored before is safe. Free some space" in status["remedy"]
    ours = [record for record in caplog.records if record.name.startswith("jupyter_trainjob")]
    assert [record.exc_info for record in ours] == [None]
    assert "the disk is full. Free some space" in ours[0].getMessage()
