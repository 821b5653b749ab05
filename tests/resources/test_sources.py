"""Sources and inputs, as they are written."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from jupyter_trainjob.resources.source import Input, Source, script_language

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("path", "language"),
    [("a/train.py", "python"), ("fit.R", "r"), ("fit.r", "r"), ("Main.scala", "scala"), ("a.txt", ""), ("py", "")],
)
def test_a_scripts_suffix_tells_its_language(path: str, language: str) -> None:
    assert script_language(path) == language
    script = {"type": "script", "digest": DIGEST, "path": path}
    if language:
        TypeAdapter(Source).validate_python(script)
    else:
        with pytest.raises(ValidationError, match=r"is no script; scripts end in \.py, \.R, \.r, \.scala"):
            TypeAdapter(Source).validate_python(script)


def test_what_of_a_folder_runs() -> None:
    for entry in ("train.py", "a/b.ipynb"):
        TypeAdapter(Source).validate_python({"type": "folder", "digest": DIGEST, "entry": entry})
    for entry, because in (("data.csv", "is no script"), ("../x.py", "leaves its folder")):
        with pytest.raises(ValidationError, match=because):
            TypeAdapter(Source).validate_python({"type": "folder", "digest": DIGEST, "entry": entry})


def test_outputs_of_another_job() -> None:
    for file in ("model.pt", "runs/1", "."):
        made = TypeAdapter(Input).validate_python({"type": "output", "job": "a", "file": file, "path": "data"})
        assert made.file == file
        assert made.attempt is None
    for bad in ({"file": "../x"}, {"file": "/x"}, {"file": ""}, {"path": "."}, {"attempt": 0}):
        with pytest.raises(ValidationError):
            TypeAdapter(Input).validate_python({"type": "output", "job": "a", "file": "x", "path": "data", **bad})


def test_a_frame_is_one_variable() -> None:
    for name in ("frame", "json"):
        one = {"type": "variables", "digest": DIGEST, "names": ["a"], "format": name}
        TypeAdapter(Input).validate_python(one)
        with pytest.raises(ValidationError, match=f"a {name} holds one variable, not 2"):
            TypeAdapter(Input).validate_python({**one, "names": ["a", "b"]})
