"""What every backend keeps, with the real runner and a real kernel. A backend's test module subclasses it.

The subclass gives a fixture ``place`` (see ``place.Place``): a started backend with its object store.
"""

from __future__ import annotations

import hashlib
import json
import time

import pytest

from jupyter_trainjob.backends.base import AttemptRef, BackendError

from .place import Place, a_request


class BackendContract:
    @pytest.mark.asyncio
    async def test_a_cell_runs_from_create_to_delete(self, place: Place) -> None:
        code = "import os\nprint('hello from', os.path.isdir('.'))\nopen('kept.txt', 'w').write('1234')\nx = 41 + 1"
        ref = await place.begin(code, outputs={"names": ["x"]}, source={"type": "cell", "code": code, "cellId": "ab12"})
        assert await place.backend.attempts() == [ref]
        running = await place.until(ref, "running", "ended")
        assert running.started is not None
        seen = await place.until(ref, "ended")
        assert seen.claims["end"]["outcome"] == "ok", seen
        assert "limit" not in seen.evidence and "cancelled" not in seen.evidence and seen.evidence["exitCode"] == 0
        assert seen.started and seen.ended and seen.started <= seen.ended and seen.node
        assert seen.files == [{"path": "kept.txt", "size": 4}] and (seen.files_total, seen.files_bytes) == (1, 4)
        assert await place.log(ref) == b"hello from True\n" and seen.log_complete and seen.log_size == 16
        (result,) = seen.claims["end"]["results"]
        assert result["name"] == "x" and result["error"] == "" and result["size"] > 0
        prefix = f"jobs/{ref.uid}/{ref.attempt}/"
        assert place.store.get(f"{prefix}files/kept.txt") == b"1234"
        assert place.store.stat(f"{prefix}results/x").size == result["size"]
        notebook = json.loads(place.store.get(f"{prefix}notebook.ipynb"))
        assert [cell["id"] for cell in notebook["cells"]] == ["ab12"]
        assert notebook["cells"][0]["outputs"][0]["text"]
        assert seen.usage["cpuSeconds"] > 0.1 and seen.usage["peakMemoryBytes"] > 20 * 2**20
        assert ref in place.told
        await place.backend.delete(ref)
        assert (await place.backend.observe(ref)).state == "gone" and await place.backend.attempts() == []
        assert place.store.exists(f"{prefix}files/kept.txt"), "what is in the store is not the backend's to delete"

    @pytest.mark.asyncio
    async def test_the_kernels_that_are_told_can_be_asked_for(self, place: Place) -> None:
        kernels = {kernel.name: kernel for kernel in await place.backend.kernels()}
        assert kernels["python3"].language == "python" and kernels["python3"].display_name
        assert list(kernels) == sorted(kernels)
        assert all(kernel.language == kernel.language.lower() for kernel in kernels.values())

    @pytest.mark.asyncio
    async def test_an_error_of_the_code_points_to_its_line(self, place: Place) -> None:
        seen = await place.run("a = 1\nb = a / 0\n")
        end = seen.claims["end"]
        assert end["outcome"] == "error" and "limit" not in seen.evidence
        assert (end["error"]["ename"], end["error"]["line"]) == ("ZeroDivisionError", 2)

    @pytest.mark.asyncio
    async def test_inputs_are_there_and_are_no_outputs(self, place: Place) -> None:
        data = b"a,b\n1,2\n"
        digest = hashlib.sha256(data).hexdigest()
        place.store.put(f"blobs/ada/{digest}", data)
        inputs = [{"type": "upload", "digest": f"sha256:{digest}", "path": "data/train.csv"}]
        seen = await place.run("print(open('data/train.csv').read(), end='')", inputs=inputs)
        assert await place.log(seen.ref) == data, seen
        assert seen.files == [] and seen.conditions == [c for c in seen.conditions if c["type"] == "Isolated"]

    @pytest.mark.asyncio
    async def test_a_missing_input_is_a_permanent_refusal(self, place: Place) -> None:
        inputs = [{"type": "upload", "digest": "sha256:" + "0" * 64, "path": "gone.csv"}]
        request = a_request("no-input", "1", inputs=inputs)
        with pytest.raises(BackendError, match=r"no longer has the input 'gone\.csv'") as told:
            await place.backend.create(request)
        assert told.value.permanent
        assert (await place.backend.observe(request.ref)).state == "gone"

    @pytest.mark.asyncio
    async def test_a_folder_that_is_gone_is_a_permanent_refusal(self, place: Place) -> None:
        source = {"type": "folder", "digest": "sha256:" + "0" * 64, "entry": "main.py"}
        with pytest.raises(BackendError, match="no longer has the folder") as told:
            await place.backend.create(a_request("folder", "1", source=source))
        assert told.value.permanent

    @pytest.mark.asyncio
    async def test_creating_again_changes_nothing(self, place: Place) -> None:
        request = a_request("again", "print('once')")
        await place.backend.create(request)
        await place.backend.create(request)
        await place.until(request.ref, "ended")
        await place.backend.create(request)
        assert (await place.backend.observe(request.ref)).state == "ended"
        assert await place.log(request.ref) == b"once\n"

    @pytest.mark.asyncio
    async def test_two_attempts_of_one_job_are_apart(self, place: Place) -> None:
        for attempt in (1, 2):
            request = a_request("tries", f"print('try {attempt}')", attempt=attempt)
            await place.backend.create(request)
            await place.until(request.ref, "ended")
        assert [await place.log(AttemptRef("tries", n)) for n in (1, 2)] == [b"try 1\n", b"try 2\n"]

    @pytest.mark.asyncio
    async def test_cancel_interrupts_the_code_and_keeps_what_there_is(self, place: Place) -> None:
        ref = await place.begin("open('so-far', 'w').write('x')\nprint('up')\nimport time\ntime.sleep(60)")
        await place.log_holds(ref, b"up")
        began = time.monotonic()
        await place.backend.cancel(ref, "enough")
        await place.backend.cancel(ref, "enough, I said")
        seen = await place.until(ref, "ended")
        assert seen.evidence["cancelled"] == "enough" and "limit" not in seen.evidence
        assert seen.claims["end"]["outcome"] == "interrupted"
        assert seen.files == [{"path": "so-far", "size": 1}]
        assert time.monotonic() - began < 3

    @pytest.mark.asyncio
    async def test_a_kernel_that_dies_is_no_error_of_the_code(self, place: Place) -> None:
        seen = await place.run("import os; os.kill(os.getpid(), 11)")
        assert seen.claims["end"]["outcome"] == "kernelDied" and "limit" not in seen.evidence

    @pytest.mark.asyncio
    async def test_the_time_limit_is_told(self, place: Place) -> None:
        seen = await place.run("import time; time.sleep(60)", timeLimitSeconds=1)
        assert seen.evidence["limit"] == "TimeLimit"
        assert (seen.ended - seen.started).total_seconds() < 5

    @pytest.mark.asyncio
    async def test_the_memory_limit_is_told_of_the_whole_tree(self, place: Place) -> None:
        code = (
            "import subprocess, sys\n"
            "hold = 'x = bytearray(100 * 2**20); import time; time.sleep(20)'\n"
            "children = [subprocess.Popen([sys.executable, '-I', '-c', hold]) for _ in range(6)]\n"
            "[child.wait() for child in children]\nassert not any(c.returncode for c in children)"
        )
        seen = await place.run(code)
        assert seen.evidence["limit"] == "OutOfMemory", seen

    @pytest.mark.asyncio
    async def test_deleting_a_running_attempt_ends_it(self, place: Place) -> None:
        ref = await place.begin("print('up')\nimport time\ntime.sleep(60)")
        await place.log_holds(ref, b"up")
        await place.backend.delete(ref)
        assert (await place.backend.observe(ref)).state == "gone"

    @pytest.mark.asyncio
    async def test_what_is_unknown_is_gone_and_can_be_cancelled_and_deleted(self, place: Place) -> None:
        ref = AttemptRef("never-was", 7)
        await place.backend.cancel(ref, "")
        await place.backend.delete(ref)
        assert (await place.backend.observe(ref)).state == "gone"

    @pytest.mark.asyncio
    async def test_a_second_life_finds_the_attempts_of_the_first(self, place: Place) -> None:
        ref = await place.begin("print('up')\nimport time\ntime.sleep(1.5)\nprint('down')")
        await place.log_holds(ref, b"up")
        await place.stop()
        again = type(place)(place.store, **place.options)
        await again.start()
        try:
            assert await again.backend.attempts() == [ref]
            seen = await again.until(ref, "ended")
            assert seen.claims["end"]["outcome"] == "ok" and await again.log(ref) == b"up\ndown\n"
        finally:
            await again.stop()

    @pytest.mark.asyncio
    async def test_it_tells_its_size_and_what_it_is(self, place: Place) -> None:
        nodes = await place.backend.capacity()
        assert nodes and all(node.cpu_millis > 0 and node.memory_bytes > 2**28 and node.name for node in nodes)
        told = place.backend.describe()
        assert told["type"] and told["isolation"] and isinstance(told["warnings"], list)
        json.dumps(told)
