"""A Python script runs as ``python train.py`` would run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .harness import Ended, notebook, run


def run_script(tmp_path: Path, name: str, code: str, **job: Any) -> Ended:
    """The script as backends bring it: as a cell that says its file, and as that file among the inputs."""
    source = tmp_path / "in" / "0"
    source.parent.mkdir()
    source.write_text(code, "utf-8")
    made = notebook(code)
    made.cells[0].metadata["trainjob"] = {"file": name}
    return run(tmp_path, made, inputs=[{"path": name, "source": str(source)}, *job.pop("inputs", [])], **job)


WHO = """
import argparse, json, sys
from pathlib import Path
import beside
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.5)
print(json.dumps([sys.argv, sys.path[0], __file__, parser.prog, parser.parse_args().lr, __name__, beside.HERE,
    sys.modules["__main__"].__file__, Path(__file__).parent.joinpath("beside.py").is_file()]))
"""


@pytest.mark.parametrize("name", ["train.py", "src/train.py"])
def test_it_knows_its_name_its_place_and_that_it_has_no_arguments(tmp_path: Path, name: str) -> None:
    (tmp_path / "beside.py").write_text("HERE = 'beside'")
    beside = {"path": str(Path(name).with_name("beside.py")), "source": str(tmp_path / "beside.py")}
    ended = run_script(tmp_path, name, WHO, inputs=[beside])
    assert ended.outcome == "ok", ended.log
    path = tmp_path / "work" / name
    wanted = [[name], str(path.parent), str(path), "train.py", 0.5, "__main__", "beside", str(path), True]
    assert json.loads(ended.log) == wanted


def test_what_lies_at_the_top_of_a_folder_can_be_imported_from_a_script_further_down(tmp_path: Path) -> None:
    (tmp_path / "top.py").write_text("HERE = 'top'")
    inputs = [{"path": "top.py", "source": str(tmp_path / "top.py")}]
    ended = run_script(tmp_path, "src/train.py", "import top; print(top.HERE)", inputs=inputs)
    assert ended.log == b"top\n"


LOOPS = """
import asyncio, contextvars
async def double(x):
    await asyncio.sleep(0)
    return 2 * x
print(asyncio.run(double(4)))
print(asyncio.run(double(5)))
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
print(asyncio.get_event_loop() is loop)
print(loop.run_until_complete(double(6)))
get_ipython().run_cell("print(asyncio.run(double(7)))")
try:
    asyncio.get_running_loop()
except RuntimeError as error:
    print(error)
1 / 0
"""


def test_it_runs_loops_of_its_own(tmp_path: Path) -> None:
    ended = run_script(tmp_path, "train.py", LOOPS, results=["x"])
    assert ended.log.startswith(b"8\n10\nTrue\n12\n14\nno running event loop\n"), ended.log
    assert ended.end["error"]["line"] == 17
    assert "did not set a variable 'x'" in ended.end["results"][0]["error"], "the kernel's loop goes on"


def test_the_old_way_to_a_loop_is_open_too(tmp_path: Path) -> None:
    code = "import asyncio, sys\nloop = asyncio.get_event_loop()\nprint(loop.run_until_complete(asyncio.sleep(0, 3)))"
    ended = run_script(tmp_path, "train.py", code)
    assert ended.log == b"3\n", ended.log


def test_a_script_that_awaits_by_itself_runs_in_the_kernels_loop(tmp_path: Path) -> None:
    code = "import asyncio\nprint(await asyncio.sleep(0, 3))\nprint(asyncio.run(asyncio.sleep(0, 4)))"
    ended = run_script(tmp_path, "train.py", code)
    assert ended.log == b"3\n4\n", ended.log


def test_cells_go_on_as_in_jupyter(tmp_path: Path) -> None:
    ended = run(
        tmp_path, notebook("import asyncio\ntask = asyncio.ensure_future(asyncio.sleep(0, 3))", "print(await task)")
    )
    assert ended.log == b"3\n", ended.log


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_its_own_processes_find_its_functions(tmp_path: Path, method: str) -> None:
    code = (
        "import multiprocessing\n"
        "def square(x):\n    return x * x\n"
        "if __name__ == '__main__':\n"
        f"    with multiprocessing.get_context({method!r}).Pool(2) as pool:\n"
        "        print(pool.map(square, range(4)))\n"
    )
    ended = run_script(tmp_path, "src/train.py", code, graceSeconds=1)
    assert ended.log == b"[0, 1, 4, 9]\n", ended.log
