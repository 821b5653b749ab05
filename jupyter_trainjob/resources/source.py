"""Where a job's code and its inputs come from: two tagged unions."""

from __future__ import annotations

import keyword
import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, Union

from pydantic import AfterValidator, Field, field_validator, model_validator

from .base import Model

MAX_CODE_BYTES = 1024 * 1024

SCRIPT_LANGUAGES = {".py": "python", ".R": "r", ".r": "r", ".scala": "scala"}
"""Suffix of a script → the language it is in."""
WHOLE_FOLDER = "."
"""As ``file`` of an :class:`OutputInput`: all that the job left."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


def _digest(value: str) -> str:
    if not _DIGEST.match(value):
        raise ValueError("a digest is 'sha256:' and 64 lower-case hexadecimal digits")
    return value


Digest = Annotated[
    str,
    AfterValidator(_digest),
    Field(
        description="sha256:… of an uploaded blob of the job's owner",
        json_schema_extra={"pattern": "^sha256:[0-9a-f]{64}$"},
    ),
]


def identifier(value: str) -> str:
    """``value`` if it can name a variable; ``ValueError`` if not."""
    if not value.isidentifier() or keyword.iskeyword(value):
        raise ValueError(f"{value[:80]!r} is no variable name; names are such as 'score'")
    return value


def encodable(value: str, what: str) -> str:
    """``value`` if it can be written as UTF-8; ``ValueError`` if not."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds half a character (a lone surrogate), which no file can") from None
    return value


def relative_path(value: str) -> str:
    """``value`` if it is a path that stays beneath its folder; ``ValueError`` if not."""
    path = PurePosixPath(value)
    if not value or path.is_absolute() or ".." in path.parts or "\\" in value or "\0" in value or value == ".":
        raise ValueError(f"{value!r} leaves its folder; write a path below it, without '..', such as 'data/train.csv'")
    if len(value.encode("utf-8", "surrogatepass")) > 1024:
        raise ValueError("the path is longer than 1024 bytes")
    return str(path)


def script_language(path: str) -> str:
    """The language that a script's suffix tells: python, r or scala; empty where it is none of ours."""
    return SCRIPT_LANGUAGES.get(PurePosixPath(path).suffix, "")


def _script(value: str) -> str:
    if not script_language(value):
        raise ValueError(f"{value[:80]!r} is no script; scripts end in {', '.join(SCRIPT_LANGUAGES)}")
    return value


class CellSource(Model):
    """One cell's code."""

    type: Literal["cell"] = "cell"
    code: str = Field(description="The code, without the %%trainjob line.")
    cell_id: str = Field(default="", max_length=64, description="The nbformat id of the cell it came from.")
    first_line: int = Field(
        default=1,
        ge=1,
        le=MAX_CODE_BYTES,
        description="The line of that cell at which the code begins: 2 below %%trainjob. Errors count from it.",
    )

    @field_validator("code")
    @classmethod
    def _code(cls, value: str) -> str:
        size = len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
        if size > MAX_CODE_BYTES:
            raise ValueError(
                f"the code is {size / 2**20:.1f} MiB, the limit is 1 MiB; put data into a file and send it with --files"
            )
        encodable(value, "the code")
        if not value.strip():
            raise ValueError("the cell is empty; write the code to run below the %%trainjob line")
        return value


class NotebookSource(Model):
    """A whole notebook, uploaded as a blob."""

    type: Literal["notebook"] = "notebook"
    digest: Digest
    path: str = Field(description="Its file name, kept for the executed copy.")

    _relative = field_validator("path")(relative_path)


class ScriptSource(Model):
    """One file of code, uploaded as a blob. It runs as one cell, so that lines are counted as in the file."""

    type: Literal["script"] = "script"
    digest: Digest
    path: str = Field(description="Its file name, which ends in .py, .R, .r or .scala.")

    _relative = field_validator("path")(relative_path)
    _suffix = field_validator("path")(_script)


class FolderSource(Model):
    """A folder, uploaded as a .tar.gz of plain files, with the file to start. All are read-only in the job's folder."""

    type: Literal["folder"] = "folder"
    digest: Digest
    entry: str = Field(description="The script (.py, .R, .r, .scala) or notebook (.ipynb) in it that runs.")

    _relative = field_validator("entry")(relative_path)

    @field_validator("entry")
    @classmethod
    def _runs(cls, value: str) -> str:
        return value if value.endswith(".ipynb") else _script(value)


Source = Annotated[Union[CellSource, NotebookSource, ScriptSource, FolderSource], Field(discriminator="type")]


class UploadInput(Model):
    """A file of the owner's, uploaded by digest; read-only at ``path`` in the job's folder."""

    type: Literal["upload"] = "upload"
    digest: Digest
    path: str

    _relative = field_validator("path")(relative_path)


class VariablesInput(Model):
    """Variables, uploaded by digest and put into the kernel's namespace before the first cell.

    ``cloudpickle`` is a pickle of ``{name: value}``; ``frame`` (typed CSV) and ``json`` hold one variable each.
    """

    type: Literal["variables"] = "variables"
    digest: Digest
    names: list[str]
    format: Literal["cloudpickle", "frame", "json"] = "cloudpickle"
    python_version: str = Field(default="", max_length=20, description="major.minor of the Python that pickled them.")

    @field_validator("names")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        return [identifier(name) for name in value]

    @model_validator(mode="after")
    def _one(self) -> VariablesInput:
        if self.format != "cloudpickle" and len(self.names) != 1:
            raise ValueError(f"a {self.format} holds one variable, not {len(self.names)}; send one input for each")
        return self


class OutputInput(Model):
    """What another job left: one file, a folder with all in it, or everything. Read-only at ``path``."""

    type: Literal["output"] = "output"
    job: str = Field(description="Name or uid of a job that one may read; kept as its uid.")
    file: str = Field(description="A file or a folder that the job left; '.' for all of it.")
    path: str
    attempt: int | None = Field(
        default=None,
        ge=1,
        description="Which attempt's; empty means its last one, which is filled in once it is known.",
    )

    _relative = field_validator("path")(relative_path)

    @field_validator("file")
    @classmethod
    def _file(cls, value: str) -> str:
        return value if value == WHOLE_FOLDER else relative_path(value)


class DatasetInput(Model):
    """A registered dataset (a later kind)."""

    type: Literal["dataset"] = "dataset"
    name: str
    path: str

    _relative = field_validator("path")(relative_path)


class UriInput(Model):
    """A file to fetch from outside, where the operator allows it. Read-only at ``path``."""

    type: Literal["uri"] = "uri"
    uri: str = Field(max_length=2048, description="file:///…, http://… or https://…")
    path: str

    _relative = field_validator("path")(relative_path)


Input = Annotated[Union[UploadInput, VariablesInput, OutputInput, DatasetInput, UriInput], Field(discriminator="type")]
