"""Where a job's code and its inputs come from: two tagged unions."""

from __future__ import annotations

import keyword
import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, Union

from pydantic import AfterValidator, Field, field_validator

from .base import Model

MAX_CODE_BYTES = 1024 * 1024

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


class CellSource(Model):
    """One cell's code."""

    type: Literal["cell"] = "cell"
    code: str = Field(description="The code, without the %%trainjob line.")
    cell_id: str = Field(default="", max_length=64, description="The nbformat id of the cell it came from.")

    @field_validator("code")
    @classmethod
    def _code(cls, value: str) -> str:
        size = len(value.encode("utf-8", "surrogatepass"))
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
    """One file of code, uploaded as a blob."""

    type: Literal["script"] = "script"
    digest: Digest
    path: str

    _relative = field_validator("path")(relative_path)


class FolderSource(Model):
    """A folder, uploaded as an archive, with the file to start."""

    type: Literal["folder"] = "folder"
    digest: Digest
    entry: str

    _relative = field_validator("entry")(relative_path)


Source = Annotated[Union[CellSource, NotebookSource, ScriptSource, FolderSource], Field(discriminator="type")]


class UploadInput(Model):
    """A file of the owner's, uploaded by digest; read-only at ``path`` in the job's folder."""

    type: Literal["upload"] = "upload"
    digest: Digest
    path: str

    _relative = field_validator("path")(relative_path)


class VariablesInput(Model):
    """Pickled variables, uploaded by digest and put into the kernel's namespace before the first cell."""

    type: Literal["variables"] = "variables"
    digest: Digest
    names: list[str]
    format: Literal["cloudpickle"] = "cloudpickle"
    python_version: str = Field(default="", max_length=20, description="major.minor of the Python that pickled them.")

    @field_validator("names")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        return [identifier(name) for name in value]


class OutputInput(Model):
    """A file that another job of the owner wrote."""

    type: Literal["output"] = "output"
    job: str = Field(description="uid of the job")
    file: str
    path: str

    _relative = field_validator("path", "file")(relative_path)


class DatasetInput(Model):
    """A registered dataset (a later kind)."""

    type: Literal["dataset"] = "dataset"
    name: str
    path: str

    _relative = field_validator("path")(relative_path)


class UriInput(Model):
    """Something to fetch from outside, where the operator allows it."""

    type: Literal["uri"] = "uri"
    uri: str
    path: str

    _relative = field_validator("path")(relative_path)


Input = Annotated[Union[UploadInput, VariablesInput, OutputInput, DatasetInput, UriInput], Field(discriminator="type")]
