"""Inputs appear in the job's folder as links to where they lie, read-only; what an earlier attempt left, as copies."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import Any


class InputError(Exception):
    """An input can't be put where it was asked for."""


def link_inputs(work: Path, inputs: list[dict[str, Any]]) -> None:
    """Make ``work/<path>`` a link to ``source`` for each input, or with ``copy`` a file of the job's own. Raises
    :class:`InputError`.
    """
    for one in inputs:
        path = PurePosixPath(one["path"])
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in one["path"]:
            raise InputError(f"The input {one['path']!r} leaves the job's folder. Give it a path below it.")
        place = work
        for part in path.parts[:-1]:
            place = place / part
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise InputError(f"The input {one['path']!r} can't be placed: {part!r} on its way is no folder.")
            place.mkdir(exist_ok=True)
        place = place / path.name
        try:
            if one.get("copy"):
                _copy(Path(one["source"]), place)
            else:
                place.symlink_to(one["source"])
        except FileExistsError:
            raise InputError(f"The input {one['path']!r} can't be placed: another input has this path.") from None
        except OSError as error:
            raise InputError(f"The input {one['path']!r} can't be placed: {error.strerror}.") from None


def _copy(source: Path, place: Path) -> None:
    with source.open("rb") as file, place.open("xb") as copy:
        shutil.copyfileobj(file, copy, 1024**2)
