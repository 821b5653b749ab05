"""Which kernels are found: those that Jupyter finds, without its own manager, whose import takes long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager

from jupyter_trainjob.runner.kernelspecs import installed

from .harness import notebook, run

GOOD: dict[str, Any] = {
    "argv": ["fine", "{connection_file}"],
    "language": "Fine",
    "display_name": "x",
    "env": {"A": "b"},
}
BAD: dict[str, Any] = {
    "no-object": [1],
    "argv-number": {**GOOD, "argv": 3},
    "env-null": {**GOOD, "env": None},
    "language-number": {**GOOD, "language": 3},
    "title-number": {**GOOD, "display_name": 3},
    "interrupt-unknown": {**GOOD, "interrupt_mode": "shout"},
    "resource-dir": {**GOOD, "resource_dir": "/"},
    "provisioner-unknown": {**GOOD, "metadata": {"kernel_provisioner": {"provisioner_name": "nobody"}}},
}
ODD: dict[str, Any] = {
    "interrupt-large": {**GOOD, "interrupt_mode": "MESSAGE"},
    "provisioner-local": {**GOOD, "metadata": {"kernel_provisioner": {"provisioner_name": "local-provisioner"}}},
    "argv-text": {**GOOD, "argv": "fine"},
    "more": {**GOOD, "unknown": 1},
    "empty": {},
    "a name that is none": GOOD,
    "Größe": GOOD,
    "LARGE": GOOD,
}


def put(place: Path, name: str, spec: Any) -> Path:
    folder = place / "kernels" / name
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(spec if isinstance(spec, str) else json.dumps(spec), encoding="utf-8")
    return folder


def jupyters() -> dict[str, tuple[str, list[str], str, dict[str, str]]]:
    """What Jupyter's own manager finds, in the shape of :func:`ours`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names, and of fields it does not know
        found = KernelSpecManager().get_all_specs()
    parts = {name: (one["resource_dir"], one["spec"]) for name, one in found.items()}
    return {name: (folder, spec["argv"], spec["language"], spec["env"]) for name, (folder, spec) in parts.items()}


def ours() -> dict[str, tuple[str, list[str], str, dict[str, str]]]:
    return {name: (one.folder, one.argv, one.language, one.env) for name, one in installed().items()}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders that are looked in, the first wins: two that are named, the user's, IPython's."""
    found = [tmp_path / name for name in ("first", "second", "user", "ipython")]
    monkeypatch.setenv("JUPYTER_PATH", f"{found[0]}{os.pathsep}{found[1]}{os.sep}{os.pathsep}{tmp_path / 'missing'}")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(found[2]))
    monkeypatch.setenv("IPYTHONDIR", str(found[3]))
    for one in found:
        one.mkdir()
    return found


def test_of_this_machine_the_same_are_found() -> None:
    assert ours() == jupyters()
    assert "python3" in ours()


def test_the_first_folder_wins_and_names_are_of_small_letters(places: list[Path]) -> None:
    for position, place in enumerate(places):
        put(place, ["MINE", "mine", "Mine", "mine"][position], {**GOOD, "language": str(position)})
        put(place, f"only{position}", GOOD)
    put(places[1], "python3", {**GOOD, "argv": ["mine"]})
    found = ours()
    assert found == jupyters()
    assert {"only0", "only1", "only2", "only3"} <= set(found)
    assert (found["mine"][2], found["python3"][1]) == ("0", ["mine"])


def test_what_jupyter_can_not_use_is_left_out_and_what_it_can_is_not(places: list[Path]) -> None:
    for name, spec in {**BAD, **ODD, "cut": '{"argv": ["x"'}.items():
        put(places[0], name, spec)
    (put(places[0], "latin", "") / "kernel.json").write_bytes(b'{"language": "\xff"}')
    put(places[1], "cut", GOOD)  # hidden by one that can't be read
    (places[0] / "kernels" / "nothing-in-it").mkdir()
    (places[0] / "kernels" / "file").write_text("x")
    (put(places[0], "folder", "") / "kernel.json").unlink()
    (places[0] / "kernels" / "folder" / "kernel.json").mkdir()
    found = ours()
    assert found == jupyters()
    assert {name.lower() for name in ODD} <= set(found)
    assert not {*BAD, "cut", "latin", "nothing-in-it", "file", "folder"} & set(found)


def test_python_is_there_where_no_kernelspec_of_it_is(places: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_core.paths.ENV_JUPYTER_PATH", [])
    monkeypatch.setattr("jupyter_core.paths.SYSTEM_JUPYTER_PATH", [])
    put(places[0], "other", GOOD)
    assert sorted(ours()) == ["other", "python3"]
    assert ours() == jupyters()
    monkeypatch.setenv("JUPYTER_DEFAULT_PROVISIONER_NAME", "nobody")
    assert ours() == {}


def test_a_folder_that_can_not_be_listed_hides_no_other(places: list[Path]) -> None:
    put(places[1], "mine", GOOD)
    (places[0] / "kernels").write_text("no folder")
    assert "mine" in ours()


def test_nothing_slow_is_imported_before_the_kernel_starts() -> None:
    code = "import sys, jupyter_trainjob.runner.kernelspecs as k; k.installed(); print(*sys.modules)"
    told = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"jupyter_client", "traitlets", "zmq", "IPython", "ipykernel"} & set(told)


def test_a_kernel_is_named_in_any_case(places: list[Path], tmp_path: Path) -> None:
    put(
        places[0],
        "Mine",
        {"argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python"},
    )
    assert run(tmp_path, notebook("print(1)"), kernel="MINE").log == b"1\n"


def put_other_python(place: Path, name: str) -> None:
    """A kernel of Python that its command does not show to be an ipykernel: it is used as it is."""
    script = put(place, name, {}) / "kernel.py"
    script.write_text("from ipykernel.kernelapp import launch_new_instance\nlaunch_new_instance()\n")
    spec = {"argv": ["python", str(script), "-f", "{connection_file}"], "language": "python"}
    (script.parent / "kernel.json").write_text(json.dumps(spec))


def test_a_script_runs_in_a_python_kernel_that_is_not_taken_over(places: list[Path], tmp_path: Path) -> None:
    put_other_python(places[0], "other")
    made = notebook("print('ran')")
    made.cells[0].metadata["trainjob"] = {"file": "train.py"}
    ended = run(tmp_path, made, kernel="other", results=["x"])
    assert (ended.outcome, ended.log) == ("ok", b"ran\n")
    assert "come back from" in ended.end["results"][0]["error"], "it was not taken over"


def test_what_a_kernelspec_leaves_open_is_filled_in_as_jupyter_does(places: list[Path], tmp_path: Path) -> None:
    script = put(places[0], "other", {}) / "kernel.py"
    script.write_text(
        "import sys\nfrom ipykernel.kernelapp import launch_new_instance\n"
        "sys.told = sys.argv[3:]\nlaunch_new_instance(argv=sys.argv[1:3])\n"
    )
    asked = ["{prefix}/bin", "{resource_dir}", "{unknown}", "{}"]
    spec = {
        "argv": ["python", str(script), "-f", "{connection_file}", *asked],
        "language": "python",
        "env": {"PATH": "/opt/x/bin:${PATH}", "MINE": "$ASKED-${NOBODY}-$$"},
    }
    (script.parent / "kernel.json").write_text(json.dumps(spec))
    code = "import json, os, shutil, sys\n"
    code += "print(json.dumps([sys.told, os.environ['PATH'], os.environ['MINE'], shutil.which('ls')]))"
    ended = run(tmp_path, notebook(code), kernel="other", environment={"ASKED": "a"})
    told, path, mine, ls = json.loads(ended.log)
    assert told == [f"{sys.prefix}/bin", str(script.parent), "{unknown}", "{}"]
    assert path == f"/opt/x/bin:{os.environ['PATH']}"
    assert (mine, ls is not None) == ("a-${NOBODY}-$", True)


@pytest.mark.parametrize("argv", [[], [3]])
def test_a_kernel_without_a_command_is_refused_with_a_remedy(
    places: list[Path], tmp_path: Path, argv: list[Any]
) -> None:
    folder = put(places[0], "mine", {"argv": argv})
    ended = run(tmp_path, notebook("1"), kernel="mine")
    assert ended.of("failed")[0]["message"] == (
        f"The kernel 'mine' can't be started: the argv in {folder}/kernel.json is {argv}, not a command. "
        "Install the kernel again."
    )
