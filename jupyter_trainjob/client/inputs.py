"""What goes along with a job: files by glob, variables by pickle, each refused by name where it can't go."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import stat
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from . import spec
from .errors import InputError

MAX_FILES = 20_000
MAX_VARIABLE_BYTES = 256 * 1024 * 1024
NBFORMAT = 4
_PIECE = 1024 * 1024
_SKIPPED = {"__pycache__"}


def expand(folder: Path, patterns: Iterable[str]) -> list[tuple[str, Path]]:
    """``(path in the job's folder, file)`` for each file that a pattern matches, sorted; folders stand for all in them.

    Hidden files and ``__pycache__`` are left out unless the pattern names them. :class:`InputError` for a pattern that
    leaves the folder, matches nothing, or reaches a symbolic link or something that is no plain file.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        matches = list(_matches(folder, pattern))
        if not matches:
            raise InputError(f"--files {pattern}: no file in {folder} matches.", remedy="Check the spelling.")
        found.update(matches)
        if len(found) > MAX_FILES:
            raise InputError(
                f"--files {pattern}: more than {MAX_FILES} files.", remedy="Send one archive, or fewer files."
            )
    return sorted(found.items())


def _matches(folder: Path, pattern: str) -> Iterator[tuple[str, Path]]:
    parts = PurePosixPath(pattern.replace("\\", "/")).parts
    if not parts or pattern.startswith(("/", "~")) or Path(pattern).is_absolute() or ".." in parts:
        raise InputError(
            f"--files {pattern} leaves the notebook's folder {folder}.",
            remedy="Copy the file below it, and write a path without '..' and without a leading '/'.",
        )
    hidden = any(part.startswith(".") for part in parts)
    try:
        matches = sorted(folder.glob("/".join(parts)))
    except (ValueError, OSError) as error:  # "a**b", or a name that no file can have
        raise InputError(
            f"--files {pattern}: {error}.", remedy="'*' stands for any part of a name, and '**' by itself for folders."
        ) from None
    for match in matches:
        for path in _plain_files(folder, match):
            relative = path.relative_to(folder)
            skip = any(part in _SKIPPED or (part.startswith(".") and not hidden) for part in relative.parts)
            if not skip or str(relative) == str(PurePosixPath(*parts)):
                spec.check_text(f"--files: the file name {str(relative)!r}", str(relative), remedy="Rename it.")
                yield relative.as_posix(), path


def _plain_files(folder: Path, path: Path) -> Iterator[Path]:
    for step in [path, *path.parents]:
        if step == folder:
            break
        if step.is_symlink():
            raise InputError(
                f"--files: {step.relative_to(folder)} is a symbolic link, and links are not sent.",
                remedy="Name the file that it points to, or put a copy of it here.",
            )
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        for child in sorted(path.iterdir()):
            yield from _plain_files(folder, child)
    elif stat.S_ISREG(mode):
        yield path
    else:
        raise InputError(f"--files: {path.relative_to(folder)} is neither a file nor a folder.")


def not_read(path: Path, error: OSError) -> InputError:
    """The error for what this machine does not let us read."""
    return InputError(f"{path} can't be read: {error.strerror or error}.", remedy="Make it readable, or leave it out.")


def read_plain(path: Path) -> bytes:
    """A file's bytes. ``OSError`` as of ``open``; :class:`InputError` for a pipe, say, which might never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(
            f"{path} is neither a file nor a folder.", remedy="Write what it gives to a file, and send that."
        )
    return path.read_bytes()


def file_digest(path: Path) -> tuple[str, int]:
    """``sha256:…`` and the size in bytes. Raises :class:`InputError`."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        raise not_read(path, error) from error
    return f"sha256:{digest.hexdigest()}", size


def bytes_digest(data: bytes) -> str:
    """``sha256:…`` of ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def python_version() -> str:
    """major.minor of this Python."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def pickle_variables(variables: Mapping[str, Any]) -> bytes:
    """One pickle of ``{name: value}``; :class:`InputError` names the first variable that can't go, and why."""
    dumps = _dumps()
    total = 0
    for name, value in variables.items():
        if isinstance(value, types.ModuleType):
            raise InputError(
                f"--in {name}: it is the module {value.__name__}.", remedy="Import it in the cell that runs as a job."
            )
        try:
            size = len(dumps(value))
        except Exception as error:  # a __reduce__ of the user's may raise anything
            where, what = _culprit(name, value, dumps)
            because = f"{where} ({what}): {error}" if where != name else f"{what}: {error}"
            remedy = "Send the data it is made from, and make it in the job."
            if isinstance(error, OpenFileError):
                remedy = "Send the file with --files and open it in the job, or send the text that you read from it."
            raise InputError(f"--in {name}: it can't be sent: {because}.", remedy=remedy) from error
        total += size
        if total > MAX_VARIABLE_BYTES:
            raise InputError(
                f"--in {name}: {size / 2**20:.0f} MiB make more than the {MAX_VARIABLE_BYTES // 2**20} MiB that "
                "variables may have.",
                remedy="Write it to a file and send that with --files.",
            )
    return dumps(dict(variables))


class OpenFileError(pickle.PicklingError):
    """A value holds an open text file."""


def _dumps() -> Callable[[Any], bytes]:
    """cloudpickle, but for open text files: of these it would send what they hold, as a file in memory, unasked."""
    import cloudpickle  # type: ignore[import-untyped]

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, thing: Any) -> Any:
            if isinstance(thing, io.TextIOWrapper) and thing not in (sys.stdout, sys.stderr):
                name = getattr(thing, "name", "")
                raise OpenFileError(f"an open file{f' ({name})' if name else ''} can't be carried to another machine")
            return super().reducer_override(thing)

    def dumps(value: Any) -> bytes:
        buffer = io.BytesIO()
        Pickler(buffer).dump(value)
        return buffer.getvalue()

    return dumps


def _culprit(name: str, value: Any, dumps: Callable[[Any], bytes]) -> tuple[str, str]:
    """The innermost part of ``value`` that does not pickle, as an expression, and its type."""
    where, bad = name, value
    queue: deque[tuple[str, Any, int]] = deque([(name, value, 0)])
    seen: set[int] = set()
    while queue and len(seen) < 2000:
        path, thing, depth = queue.popleft()
        for child_path, child in _children(path, thing):
            if id(child) in seen:
                continue
            seen.add(id(child))
            try:
                dumps(child)
            except Exception:  # as above
                where, bad = child_path, child
                queue.clear()
                if depth < 8:
                    queue.append((child_path, child, depth + 1))
                break
    kind = type(bad)
    return where, kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _children(path: str, thing: Any) -> Iterator[tuple[str, Any]]:
    try:
        yield from _parts(path, thing)
    except Exception:  # of the user's classes: to look for what can't be sent must not fail otherwise
        return


def _parts(path: str, thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, Mapping):
        for key, item in list(thing.items())[:1000]:
            yield f"{path}[{key!r}]", item
    elif isinstance(thing, (list, tuple)):
        for index, item in enumerate(thing[:1000]):
            yield f"{path}[{index}]", item
    elif isinstance(thing, types.FunctionType):
        names = thing.__code__.co_freevars
        for free, cell in zip(names, thing.__closure__ or (), strict=True):
            try:
                held = cell.cell_contents
            except ValueError:  # it is not set yet
                continue
            yield f"{path} → {free}", held
        for used in thing.__code__.co_names:
            if used in thing.__globals__:
                yield f"{path} → {used}", thing.__globals__[used]
    else:
        for key, item in vars(thing).items() if hasattr(thing, "__dict__") else ():
            yield f"{path}.{key}", item


def check_notebook(text: bytes, path: str) -> None:
    """Say at once what is no notebook, or one of a later format. The server checks all the rest."""
    try:
        notebook = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is not a notebook: {error}.", remedy="Give a file that Jupyter saved.") from None
    except RecursionError:
        raise InputError(
            f"{path} is not a notebook: its JSON is nested too deeply to be read.",
            remedy="Give a file that Jupyter saved.",
        ) from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("nbformat"), int):
        raise InputError(f"{path} is not a notebook: it has no nbformat.", remedy="Give a file that Jupyter saved.")
    if notebook["nbformat"] > NBFORMAT:
        raise InputError(
            f"{path} has notebook format {notebook['nbformat']}.{notebook.get('nbformat_minor', 0)}, "
            f"which is newer than the {NBFORMAT} that is understood here.",
            remedy=f"Save it in format {NBFORMAT} with the program that wrote it.",
        )


def open_notebook(path: Path) -> bytes:
    """The notebook's bytes, checked; :class:`InputError` says what is wrong with it."""
    try:
        data = read_plain(path)
    except FileNotFoundError:
        raise InputError(f"There is no notebook {path}.", remedy="Check the path.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder.", remedy="Name the notebook in it.") from None
    except OSError as error:
        raise not_read(path, error) from error
    check_notebook(data, str(path))
    return data


def requirements_format(name: str) -> str:
    """What a list of requirements is, by its file's name. Raises :class:`InputError`."""
    if name.endswith(".lock"):
        return "renv.lock"
    if name.endswith(".ivy") or name == "ivy.txt":
        return "ivy"
    if name.endswith(".txt"):
        return "requirements.txt"
    raise InputError(
        f"--requirements {name}: what this is can't be told by its name.",
        remedy="Call it requirements.txt (pip), renv.lock (R) or NAME.ivy (group:artifact:version lines).",
    )


def read_requirements(file: Path) -> bytes:
    """A list of requirements as it is sent. Raises :class:`InputError`."""
    try:
        return read_plain(file)
    except OSError as error:
        raise InputError(f"--requirements {file}: {error.strerror}.", remedy="Name a file that is there.") from error
