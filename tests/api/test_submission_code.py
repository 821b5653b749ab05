"""Code on its way through the API: told before it is queued, in the words of its own language; ``POST /inspect``."""

from __future__ import annotations

import asyncio
import io
import tarfile
import time
from typing import Any

import pytest

from jupyter_trainjob.api.sources import installed_kernelspecs
from jupyter_trainjob.api.sources.rparser import r_program

from .conftest import Caller, cell
from .test_submission import code_cell, fields, notebook, send_notebook, upload

pytestmark = pytest.mark.asyncio
needs_r = pytest.mark.skipif(not r_program(installed_kernelspecs()), reason="there is no R here")
R_METADATA = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}, "language_info": {"name": "R"}}


async def inspect(caller: Caller, job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await caller("POST", "/inspect", json=job, expect=200)).json()
    return found


def packed(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name.replace("__", "."))
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@needs_r
async def test_an_r_cell_is_refused_with_its_line(alice: Caller) -> None:
    found = await fields(alice, cell("x <- 1\nx y", environment={"kernel": "R"}))
    assert found["spec.source.code"]["message"] == "line 2: unexpected symbol: x y"
    assert found["spec.source.code"]["remedy"] == "Correct the line and send it again."


@needs_r
@pytest.mark.parametrize("language", ["python", "R"])
async def test_a_cell_below_the_magic_is_refused_with_its_authors_line(alice: Caller, language: str) -> None:
    source = {"type": "cell", "code": "\nx = 1\nx y", "firstLine": 2}
    found = await fields(alice, cell("", source=source, environment={"kernel": language}))
    assert found["spec.source.code"]["message"].startswith("line 4: ")
    source["code"] = "\n%ls\nx y" if language == "python" else "x = 1\nx = 2"
    found = await fields(alice, cell("", source=source, environment={"kernel": language}, parameters={"x": 3}))
    told = [one["message"] for one in found.values()]
    assert told[0].startswith("line 4: " if language == "python" else "line 2 of the cell, x = 1, would overwrite")


@needs_r
async def test_an_r_notebook_is_refused_with_cell_and_line(alice: Caller) -> None:
    data = notebook(
        code_cell("x <- 1"), code_cell("1 +* 2", tags=["raises-exception"]), code_cell("y <- 1\ny z"), **R_METADATA
    )
    found = await fields(alice, await send_notebook(alice, data))
    assert found["spec.source.digest"]["message"] == "cell 3, line 2: unexpected symbol: y z"


@needs_r
async def test_the_loop_goes_on_while_r_looks(alice: Caller) -> None:
    slow = asyncio.create_task(inspect(alice, cell("x+" * 300_000 + "1", environment={"kernel": "R"})))
    longest = 0.0
    while not slow.done():
        began = time.monotonic()
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - began)
    assert (await slow)["problems"] == []
    assert longest < 0.5


async def test_parameters_of_an_r_notebook(alice: Caller) -> None:
    data = notebook(code_cell("lr <- 0.1  # step\nepochs <- 3L", tags=["parameters"]), **R_METADATA)
    found = await fields(alice, await send_notebook(alice, data, parameters={"lrr": 1}))
    assert found["spec.parameters.lrr"]["remedy"] == "Did you mean 'lr'? It sets: epochs, lr."


async def test_a_value_of_another_type_than_declared_is_refused(alice: Caller) -> None:
    data = notebook(code_cell("lr: float = 0.1", tags=["parameters"]))
    found = await fields(alice, await send_notebook(alice, data, parameters={"lr": "abc"}))
    assert found["spec.parameters.lr"]["message"] == "lr is declared float, got the string 'abc'"


async def test_inspecting_a_notebook_tells_language_kernel_and_parameters(alice: Caller) -> None:
    data = notebook(
        code_cell("lr <- 0.1  # step\nxs <- c(1L, 2L)\npath <- f()", tags=["parameters"]), code_cell("lr"), **R_METADATA
    )
    found = await inspect(alice, await send_notebook(alice, data))
    assert (found["language"], found["kernel"], found["problems"]) == ("r", "ir", [])
    assert found["parameters"] == [
        {"name": "lr", "type": "numeric", "declared": False, "default": 0.1, "expression": "0.1", "help": "step"},
        {"name": "xs", "type": "integer", "declared": False, "default": [1, 2], "expression": "c(1L, 2L)", "help": ""},
        {"name": "path", "type": "", "declared": False, "expression": "f()", "help": ""},
    ]


async def test_inspecting_makes_nothing_and_tells_all_problems_with_what_is_right(alice: Caller) -> None:
    data = notebook(code_cell("lr: float = 0.1", tags=["parameters"]), code_cell("for x in"))
    found = await inspect(alice, await send_notebook(alice, data, profile="defualt"))
    assert [parameter["name"] for parameter in found["parameters"]] == ["lr"]
    assert {problem["field"] for problem in found["problems"]} == {"spec.source.digest", "spec.profile"}
    assert (await alice("GET", "/trainjobs", expect=200)).json()["items"] == []


async def test_what_is_no_draft_can_not_be_inspected(alice: Caller) -> None:
    status = await alice.refused("POST", "/inspect", 422, json={"spec": {}})
    assert status["details"][0]["field"] == "spec.source"
    status = await alice.refused("POST", "/inspect", 404, json={**cell(), "metadata": {"namespace": "bob"}})
    assert status["message"] == "There is no namespace 'bob' that alice may use."


async def test_scripts_are_read_by_their_suffix(alice: Caller) -> None:
    async def problem(path: str, data: bytes, **spec: Any) -> str:
        source = {"type": "script", "digest": await upload(alice, data), "path": path}
        found = await inspect(alice, {"spec": {"source": source, **spec}})
        return next((item["message"] for item in found["problems"]), f"fine: {found['language']}")

    assert await problem("a.py", b"x = 1\nfor x in") == "line 2: invalid syntax: for x in"
    assert await problem("a.R", b"x <- 1") == "fine: r"
    assert await problem("a.py", "\ufeffx = 'ü'".encode()) == "fine: python"
    assert await problem("a.py", b"x = 1\ny = '\xe9'") == "'a.py', line 2: it is not UTF-8 (byte 0xe9)"
    assert await problem("a.py", b" \n") == "the script 'a.py' is empty"
    assert await problem("a.py", b"print(rate)", parameters={"lr": 1}) == "the script uses no such name"


async def test_a_folders_entry_is_read(alice: Caller) -> None:
    async def problems(entry: str, **files: bytes) -> list[tuple[str, str]]:
        source = {"type": "folder", "digest": await upload(alice, packed(**files)), "entry": entry}
        found = await inspect(alice, {"spec": {"source": source}})
        return [(item["field"], item["message"]) for item in found["problems"]]

    assert await problems("run.py", run__py=b"import helper", helper__py=b"not Python at all") == []
    assert await problems("run.py", run__py=b"1 +") == [("spec.source.entry", "line 1: invalid syntax: 1 +")]
    assert await problems("rum.py", run__py=b"1") == [("spec.source.entry", "the folder has no file 'rum.py'")]
    wrong = notebook(code_cell("x ="))
    assert await problems("n.ipynb", n__ipynb=wrong) == [("spec.source.entry", "cell 1, line 1: invalid syntax: x =")]


@pytest.mark.parametrize(
    "code", ["total = " + " + ".join(["lr"] * 900), f"n = 0x{'f' * 5000}\nlr"], ids=["terms", "digits"]
)
async def test_honest_code_that_is_long_is_taken(alice: Caller, code: str) -> None:
    (await alice("POST", "/namespaces/alice/trainjobs", json=cell(code, parameters={"lr": 1}), expect=201)).json()
    data = notebook(code_cell(f"lr = 1\n{code}", tags=["parameters"]))
    found = await inspect(alice, await send_notebook(alice, data, parameters={"lr": 2}))
    assert found["problems"] == []
    assert found["parameters"][-1]["name"] in ("total", "n") and "default" not in found["parameters"][-1]


async def test_a_folders_suffixes_are_those_of_scripts(alice: Caller) -> None:
    """One table says what a script is: what it doesn't know is refused before anybody reads it."""
    source = {"type": "folder", "digest": await upload(alice, packed(run__PY=b"1 +")), "entry": "run.PY"}
    status = await alice.refused("POST", "/inspect", 422, json={"spec": {"source": source}})
    assert "'run.PY' is no script; scripts end in .py, .R, .r, .scala" in status["details"][0]["message"]
