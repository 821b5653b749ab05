"""Folders that a job closed to itself, and so to a supervisor that is the same ordinary user."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_trainjob.backends.local import process

from .ordinary import Ordinary

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")


@pytest.fixture
def ordinary() -> Iterator[Ordinary]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Ordinary(Path(folder))


def stored(ordinary: Ordinary) -> dict[str, bytes]:
    return {
        info.key.split("/files/")[1]: ordinary.store.get(info.key)
        for info in ordinary.store.list("")
        if "/files/" in info.key
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("closed", ["d", ".", "d/e"])
@pytest.mark.parametrize("mode", [0, 0o400])
async def test_a_closed_folder_ends_nothing_and_its_files_come_home(ordinary: Ordinary, closed: str, mode: int) -> None:
    code = f"import os, time\nos.makedirs('d/e')\nopen('d/e/x', 'w').write('12')\nos.chmod({closed!r}, {mode})"
    folder = ordinary.prepare("closed", code + "\ntime.sleep(0.5)")
    ordinary.start(folder)
    state = await ordinary.ended(folder)
    assert "limit" not in state["evidence"] and state["claims"]["end"]["outcome"] == "ok", state
    assert stored(ordinary) == {"d/e/x": b"12"}
    assert [c for c in state["conditions"] if c["type"] == "DiskMeasured"] == []


@pytest.mark.asyncio
async def test_a_closed_folder_hides_nothing_from_the_disk_limit(ordinary: Ordinary) -> None:
    code = (
        "import os, time\nos.mkdir('d', 0o300)\n"
        "for n in range(60):\n    open(f'd/{n}', 'wb').write(bytes(4 * 2**20)); time.sleep(0.1)"
    )
    folder = ordinary.prepare("hidden", code, resources={"disk": "20Mi"})
    ordinary.start(folder)
    assert (await ordinary.ended(folder))["evidence"]["limit"] == "DiskLimit"


@pytest.mark.asyncio
async def test_a_closed_file_is_a_remark(ordinary: Ordinary) -> None:
    folder = ordinary.prepare("file", "import os\nopen('z', 'w').write('1')\nos.chmod('z', 0)")
    ordinary.start(folder)
    state = await ordinary.ended(folder)
    assert "limit" not in state["evidence"]
    (remark,) = [c["message"] for c in state["conditions"] if c["type"] == "OutputsComplete"]
    assert remark == "Not kept: 'z' (Permission denied)."


@pytest.mark.asyncio
async def test_a_lost_attempt_with_closed_folders_is_recovered_and_removed(ordinary: Ordinary) -> None:
    code = (
        "import os, time\nos.makedirs('d/e/f')\nopen('d/e/f/x', 'w').write('12')\n"
        "[os.chmod(p, 0) for p in ('d/e/f', 'd/e', 'd', '.')]\nprint('up', flush=True)\ntime.sleep(60)"
    )
    folder = ordinary.prepare("lost", code)
    ordinary.start(folder)
    deadline = time.monotonic() + 20
    while not list(ordinary.store.list("jobs/lost/1/log")) and time.monotonic() < deadline:
        time.sleep(0.05)
    known = folder.read("supervisor.json")
    assert known and process.send(known, signal.SIGKILL)
    while process.is_alive(known):
        time.sleep(0.01)
    subprocess.run(["chmod", "0", folder.file("work")], check=True)  # whatever the supervisor had opened by then
    use = (
        "from jupyter_trainjob.backends.local import recover; from jupyter_trainjob.backends.local.folder import Folder"
    )
    ordinary.python(f"{use}; assert recover.recover(Folder(sys.argv[1]))", folder.path)
    state = folder.read("state.json")
    assert state and state["evidence"]["limit"] == "RunnerLost" and stored(ordinary) == {"d/e/f/x": b"12"}
    subprocess.run(["chmod", "0", folder.file("work", "d", "e"), folder.file("work", "d")], check=True)
    ordinary.python(f"{use}; recover.remove(Folder(sys.argv[1]), sys.argv[2])", folder.path, "/nowhere")
    assert os.listdir(ordinary.root / "run") == []


@pytest.mark.asyncio
async def test_what_is_not_ours_to_open_is_a_remark(ordinary: Ordinary) -> None:
    folder = ordinary.prepare("foreign", "import time; time.sleep(0.8)")
    foreign = Path(folder.file("work", "foreign"))
    foreign.mkdir(mode=0o700)  # root's
    ordinary.start(folder)
    state = await ordinary.ended(folder)
    assert "limit" not in state["evidence"]
    remarks = {c["type"]: c["message"] for c in state["conditions"]}
    assert remarks["OutputsComplete"] == "Not kept: 'foreign' can't be opened (Operation not permitted)."
    assert "can't be looked at: work/foreign (Operation not permitted)" in remarks["DiskMeasured"]


def test_nothing_outside_is_opened_up(ordinary: Ordinary) -> None:
    outside, inside = ordinary.root / "outside", ordinary.root / "work"
    (outside / "secret").mkdir(parents=True)
    inside.mkdir()
    (inside / "way").symlink_to(outside)
    subprocess.run(["chown", "-R", "65534:65534", str(outside), str(inside)], check=True)
    (outside / "secret").chmod(0)
    open_folder = "from jupyter_trainjob.backends.local.openup import open_folder"
    with pytest.raises(AssertionError, match="PermissionError"):
        ordinary.python(
            f"{open_folder}; open_folder(sys.argv[1], within=sys.argv[2])", f"{inside}/way/secret", str(inside)
        )
    assert (outside / "secret").stat().st_mode & 0o777 == 0
