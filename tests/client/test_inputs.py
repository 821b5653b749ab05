"""What goes along with a job, and what is refused by name."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_trainjob.client import InputError, ResultError, folders, inputs
from jupyter_trainjob.client.download import target


def names(folder: Path, *patterns: str) -> list[str]:
    return [path for path, _ in inputs.expand(folder, patterns)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = tmp_path / "base"
    for name in ("a.csv", "data/b.csv", "data/deep/c.csv", ".git/config", "data/.hidden", "__pycache__/x.pyc"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(name)
    return base


def test_globs_folders_and_hidden_files(folder: Path) -> None:
    assert names(folder, "*.csv") == ["a.csv"]
    assert names(folder, "**/*.csv") == ["a.csv", "data/b.csv", "data/deep/c.csv"]
    assert names(folder, "data") == ["data/b.csv", "data/deep/c.csv"]
    assert names(folder, "**") == ["a.csv", "data/b.csv", "data/deep/c.csv"]
    assert names(folder, "data/.hidden") == ["data/.hidden"]
    assert names(folder, "./a.csv", "a.csv") == ["a.csv"]


@pytest.mark.parametrize("pattern", ["../x", "data/../../x", "/etc/passwd", "~/x", "..\\x"])
def test_paths_that_leave_the_folder(folder: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="leaves the notebook's folder"):
        names(folder, pattern)


def test_links_and_devices_are_named(folder: Path) -> None:
    (folder / "out").symlink_to("/etc")
    with pytest.raises(InputError, match="out is a symbolic link, and links are not sent"):
        names(folder, "out/passwd")
    with pytest.raises(InputError, match="out is a symbolic link"):
        names(folder, "*")
    (folder / "out").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(InputError, match="pipe is neither a file nor a folder"):
        names(folder, "pipe")


def test_a_glob_without_a_match_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"--files \*\.txt: no file in .* matches"):
        names(folder, "*.csv", "*.txt")


def test_a_pattern_that_is_none_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"--files a\*\*b: Invalid pattern.*'\*\*' by itself for folders"):
        names(folder, "a**b")
    with pytest.raises(InputError, match=r"--files n+: "):
        names(folder, "n" * 300)


def test_a_name_that_is_no_utf_8_is_named(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff.py")).write_text("")
    with pytest.raises(
        InputError, match=r"the file name '\\udcff.py' holds '\\udcff', which is no character.*Rename it"
    ):
        names(folder, "*.py")


def test_who_looks_for_the_culprit_does_not_fail() -> None:
    def make() -> Callable[[], object]:
        lock = threading.Lock()

        def given() -> object:
            return later, lock

        if lock.locked():
            later = 1
        return given

    class Odd(list):  # type: ignore[type-arg]
        def __getitem__(self, at: object) -> object:
            raise LookupError("never mind")

    with pytest.raises(InputError, match=r"--in f: it can't be sent: f → lock \(_thread.lock\): cannot pickle"):
        inputs.pickle_variables({"f": make()})
    with pytest.raises(InputError, match=r"--in odd: it can't be sent: .*Odd\)?: cannot pickle '_thread.lock'"):
        inputs.pickle_variables({"odd": Odd([threading.Lock()])})


def test_the_part_that_does_not_pickle_is_named() -> None:
    lock = __import__("threading").Lock()

    def closure() -> object:
        return lock

    class Model:
        def __init__(self) -> None:
            self.parts = [1, {"lock": lock}]

    with pytest.raises(InputError, match=r"m\.parts\[1\]\['lock'\] \(_thread\.lock\): cannot pickle"):
        inputs.pickle_variables({"ok": 1, "m": Model()})
    with pytest.raises(InputError, match=r"--in f: .*f → lock \(_thread\.lock\)"):
        inputs.pickle_variables({"f": closure})


def test_a_variable_that_is_too_big_is_named_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_VARIABLE_BYTES", 1024 * 1024)
    with pytest.raises(InputError, match=r"--in big: 2 MiB make more than the 1 MiB .* send that with --files"):
        inputs.pickle_variables({"small": 1, "big": b"x" * 2 * 1024 * 1024})


def test_an_open_text_file_is_refused_by_name_wherever_it_hides(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("once")
    with (tmp_path / "t.txt").open() as handle:
        for value, where in (
            (handle, r"_io\.TextIOWrapper"),
            ([1, {"f": handle}], r"p\[1\]\['f'\] \(_io\.TextIOWrapper\)"),
        ):
            with pytest.raises(InputError) as caught:
                inputs.pickle_variables({"p": value})
            said = str(caught.value)
            assert re.search(
                f"--in p: it can't be sent: {where}: an open file \\(.*t\\.txt\\) can't be carried", said
            ), said
            assert said.endswith(
                "Send the file with --files and open it in the job, or send the text that you read from it."
            )

        def reads() -> str:
            return handle.read()

        with pytest.raises(InputError, match=r"p → handle \(_io\.TextIOWrapper\): an open file"):
            inputs.pickle_variables({"p": reads})
        assert handle.read() == "once", "it was not read"
    assert inputs.pickle_variables({"f": lambda: print(1, file=sys.stderr)})


def test_a_notebook_of_brackets_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "deep.ipynb").write_text("[" * 100_000)
    with pytest.raises(
        InputError, match=r"deep\.ipynb is not a notebook: its JSON is nested too deeply to be read\. Give"
    ):
        inputs.open_notebook(tmp_path / "deep.ipynb")


def test_downloads_never_leave_the_folder(tmp_path: Path) -> None:
    assert target(tmp_path, "a/b.txt") == tmp_path / "a/b.txt"
    for evil in ("../x", "/etc/passwd", "a/../../x", "a\\..\\x", "", "x\0y"):
        with pytest.raises(InputError, match="would leave the folder"):
            target(tmp_path, evil)
    (tmp_path / "link").symlink_to("/tmp")
    with pytest.raises(InputError, match="behind a symbolic link that leaves"):
        target(tmp_path, "link/x")


def test_errors_are_one_family() -> None:
    assert issubclass(ResultError, Exception) and str(InputError("What.", remedy="Do.")) == "What. Do."


def test_what_can_not_be_read_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nnn\.ipynb can't be read: File name too long\. Make it readable, or leave"):
        inputs.open_notebook(tmp_path / f"{'n' * 500}.ipynb")
    with pytest.raises(InputError, match=r"gone\.csv can't be read: No such file or directory\."):
        inputs.file_digest(tmp_path / "gone.csv")


@pytest.mark.parametrize("read", [inputs.open_notebook, inputs.read_requirements, folders.script])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, read: Callable[[Path], bytes]) -> None:
    os.mkfifo(tmp_path / "f.py")
    with pytest.raises(InputError, match=r"f\.py is neither a file nor a folder\. Write what it gives to a file"):
        read(tmp_path / "f.py")
