"""The contract of all backends, kept by the local one at every level, and what real kernels add to limits."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from .conftest import LEVELS
from .contract import BackendContract
from .place import Place


class TestLocal(BackendContract):
    @pytest_asyncio.fixture
    async def place(self, make_place, level: str) -> Place:
        place = await make_place(runner=(), **LEVELS[level])
        if place.backend.describe()["isolation"] != level:
            pytest.skip(f"this machine offers {place.backend.describe()['isolation']}: {place.backend.describe()}")
        return place

    @pytest.mark.asyncio
    async def test_a_kernel_that_takes_too_much_memory(self, place: Place) -> None:
        seen = await place.run("x = bytearray(900 * 2**20)\nimport time; time.sleep(20)")
        assert seen.evidence["limit"] == "OutOfMemory", seen
        assert seen.claims["end"]["outcome"] in ("kernelDied", "interrupted"), (
            "the runner lived on to save the notebook"
        )
        assert place.store.exists(f"jobs/{seen.ref.uid}/1/notebook.ipynb")

    @pytest.mark.asyncio
    async def test_too_many_threads_in_a_kernel(self, place: Place) -> None:
        code = "import threading, time\nkept = [threading.Thread(target=time.sleep, args=(9,)) for _ in range(200)]"
        seen = await place.run(code + "\n[one.start() for one in kept]\ntime.sleep(9)")
        assert seen.evidence["limit"] == "ProcessLimit", seen

    @pytest.mark.asyncio
    async def test_too_many_processes_of_a_kernel(self, place: Place) -> None:
        code = "import subprocess, time\nkept = [subprocess.Popen(['sleep', '9']) for _ in range(200)]\ntime.sleep(9)"
        seen = await place.run(code)
        assert seen.evidence["limit"] == "ProcessLimit", seen

    @pytest.mark.asyncio
    async def test_open_files_and_file_size_of_a_kernel(self, place: Place) -> None:
        first = await place.begin("kept = [open('/dev/null') for _ in range(500)]")
        second = await place.begin("f = open('big', 'wb')\nfor _ in range(100): f.write(bytes(2**20))")
        assert (await place.until(first, "ended")).evidence["limit"] == "OpenFilesLimit"
        assert (await place.until(second, "ended")).evidence["limit"] == "FileSizeLimit"

    @pytest.mark.asyncio
    async def test_a_disk_that_fills(self, place: Place) -> None:
        code = "for n in range(8):\n    open(str(n), 'wb').write(bytes(50 * 2**20))\nimport time; time.sleep(9)"
        seen = await place.run(code)
        assert seen.evidence["limit"] == "DiskLimit", seen
        assert seen.claims["end"]["outcome"] in ("kernelDied", "interrupted")

    @pytest.mark.asyncio
    async def test_the_smallest_number_of_processes_still_runs_a_kernel(self, place: Place) -> None:
        seen = await place.run("import subprocess; subprocess.run(['true'], check=True)", resources={"processes": 8})
        assert seen.claims["end"]["outcome"] == "ok", seen

    @pytest.mark.slow
    @pytest.mark.asyncio
    async def test_several_at_once(self, place: Place) -> None:
        refs = [await place.begin(f"print({n})") for n in range(4)]
        seen = await asyncio.gather(*[place.until(ref, "ended") for ref in refs])
        assert [one.claims["end"]["outcome"] for one in seen] == ["ok"] * 4
        assert [await place.log(ref) for ref in refs] == [b"0\n", b"1\n", b"2\n", b"3\n"]
