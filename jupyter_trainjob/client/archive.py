"""All that an attempt left, in one request."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tarfile
from pathlib import Path
from typing import Any, BinaryIO

from . import download, ops
from .effects import Steps, offload
from .errors import InputError, ServerError
from .session import Session


def everything(session: Session, namespace: str, uid: str, to: str | Path, attempt: int | None = None) -> Steps[Path]:
    """All that an attempt left, into the folder ``to``: ``notebook.ipynb``, ``results/…``, ``files/…``.

    One request, however many files there are. Plain files only, none outside the folder, none behind a link: the
    names were made by the job's code. :class:`InputError` where this machine can't write them.
    """
    folder = Path(to)
    try:
        yield from offload(lambda: folder.mkdir(parents=True, exist_ok=True))
        packed = yield from _fetched(session, namespace, uid, attempt, folder)
        with packed:
            yield from offload(lambda: _unpack(packed, folder))
    except OSError as error:
        raise download.not_written(folder, error) from error
    return folder


def save(session: Session, namespace: str, uid: str, to: Path, name: str, attempt: int | None = None) -> Steps[Path]:
    """The archive as the file ``to`` (``<name>.tar`` in it, where that is a folder), which appears when it is whole.

    :class:`InputError` where this machine can't write it.
    """
    goal = to
    try:
        goal = to / f"{name}.tar" if to.is_dir() else to
        yield from offload(lambda: goal.parent.mkdir(parents=True, exist_ok=True))
        packed = yield from _fetched(session, namespace, uid, attempt, goal.parent)
        with packed:
            yield from offload(lambda: _keep(packed, goal))
    except OSError as error:
        raise download.not_written(goal, error) from error
    return goal


def files(session: Session, namespace: str, uid: str, attempt: int | None = None) -> Steps[list[dict[str, Any]]]:
    """``[{path, size}]`` of all files of an attempt; the archive is read where the server does not name them all."""
    listed = yield from ops.outputs(session, namespace, uid, attempt)
    named: list[dict[str, Any]] = listed.get("files") or []
    if int(listed.get("filesTotal") or len(named)) <= len(named):
        return named
    packed = yield from _fetched(session, namespace, uid, attempt, None)
    with packed:
        return (yield from offload(lambda: _names(packed)))


def _fetched(session: Session, namespace: str, uid: str, attempt: int | None, folder: Path | None) -> Steps[BinaryIO]:
    params = (("attempt", str(attempt)),) if attempt else ()
    return (yield from download.temporary(session, ops.job_path(namespace, uid, "outputs", "archive"), params, folder))


def _keep(packed: BinaryIO, goal: Path) -> None:
    _check_whole(packed)
    part = goal.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("wb") as file:
            shutil.copyfileobj(packed, file, 1024 * 1024)
        part.replace(goal)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _names(packed: BinaryIO) -> list[dict[str, Any]]:
    _check_whole(packed)
    try:
        with tarfile.open(fileobj=packed, mode="r:") as archive:
            found = [(entry.name, entry.size) for entry in archive]
    except tarfile.TarError as error:
        raise ServerError(f"The archive can't be read: {error}.", remedy="Try again.") from error
    return [{"path": name.removeprefix("files/"), "size": size} for name, size in found if name.startswith("files/")]


def _check_whole(packed: BinaryIO) -> None:
    """:class:`ServerError` where the end of the tar is missing; else it is at its start."""
    packed.seek(0, os.SEEK_END)
    if packed.tell() < 2 * tarfile.BLOCKSIZE:
        raise ServerError("The server sent no whole archive.", remedy="Try again.")
    packed.seek(-2 * tarfile.BLOCKSIZE, os.SEEK_END)
    if packed.read() != bytes(2 * tarfile.BLOCKSIZE):
        raise ServerError("The archive ended before it was whole.", remedy="Try again.")
    packed.seek(0)


def _unpack(packed: BinaryIO, folder: Path) -> None:
    _check_whole(packed)
    try:
        with tarfile.open(fileobj=packed, mode="r:") as archive:
            for entry in archive:
                content = archive.extractfile(entry) if entry.isreg() and not entry.issparse() else None
                if content is None:
                    raise InputError(f"The archive holds {entry.name!r}, which is no plain file.")
                goal = download.target(folder, entry.name)
                goal.parent.mkdir(parents=True, exist_ok=True)
                part = goal.with_name(f".{hashlib.sha256(goal.name.encode()).hexdigest()[:16]}.part")
                try:
                    with content, part.open("wb") as file:
                        shutil.copyfileobj(content, file, 1024 * 1024)
                    os.utime(part, (entry.mtime, entry.mtime))
                    part.replace(goal)
                except BaseException:
                    part.unlink(missing_ok=True)
                    raise
    except tarfile.TarError as error:
        raise ServerError(f"The archive can't be read: {error}.", remedy="Try again.") from error
