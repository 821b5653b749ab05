"""Bringing files back: streamed, continued after a break, never outside the folder that was named."""

from __future__ import annotations

import fnmatch
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from . import ops
from .effects import Request, Response, Steps, offload
from .effects import request as ask
from .errors import ConnectionLost, InputError, NotFound, ServerError
from .session import Session

_TRIES = 5


def target(folder: Path, relative: str) -> Path:
    """Where below ``folder`` a job's file goes; :class:`InputError` for a path that would leave it.

    The path was made by the job's code, so it is not believed: neither ``..`` nor absolute paths nor links out of the
    folder are followed.
    """
    path = PurePosixPath(relative)
    if not relative or path.is_absolute() or ".." in path.parts or "\\" in relative or "\0" in relative:
        raise InputError(f"The job calls a file {relative!r}, which would leave the folder {folder}.")
    goal = folder.joinpath(*path.parts)
    base = folder.resolve()
    try:
        leaves = goal.is_symlink() or base not in goal.resolve().parents
    except OSError as error:
        raise not_written(goal, error) from None
    if leaves:
        raise InputError(
            f"{goal} lies behind a symbolic link that leaves {folder}.", remedy="Choose another folder to download to."
        )
    return goal


class _Sink:
    """The file being written; begins anew when the server sends the whole thing."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._answer: Mapping[str, str] | None = None
        self.size = 0
        self.version = ""

    def take(self, status: int, headers: Mapping[str, str], piece: bytes) -> None:
        if status == 200 and self._fresh(headers):
            self._file.seek(0)
            self._file.truncate()
            self.size, self.version = 0, headers.get("etag", "")
        self._file.write(piece)
        self.size += len(piece)

    def _fresh(self, headers: Mapping[str, str]) -> bool:
        fresh = self._answer is not headers
        self._answer = headers
        return fresh


def fetch(session: Session, url: str, goal: Path) -> Steps[Path]:
    """The object at ``url`` as the file ``goal``, which appears only when it is whole.

    :class:`InputError` where this machine can't write it.
    """
    part = goal.with_name(f".{secrets.token_hex(8)}.part")  # a name of the goal's length and more might not fit
    try:
        file = yield from offload(lambda: _create(part))
        try:
            with file:
                yield from _fill(session, url, _Sink(file))
            yield from offload(lambda: part.replace(goal))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise not_written(goal, error) from error
    return goal


def not_written(goal: Path, error: OSError) -> InputError:
    """The error for a file or folder that this machine does not take."""
    return InputError(
        f"{_short(str(goal))} can't be written: {error.strerror or error}.",
        remedy="Name another place with --to (download(…, to=…)): a path, or a folder that is yours and has room.",
    )


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:100]}…{text[-80:]}"


def _create(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


def _fill(session: Session, url: str, sink: _Sink, params: tuple[tuple[str, str], ...] = ()) -> Steps[None]:
    for attempt in range(_TRIES):
        headers = {"accept-encoding": "identity"}
        if sink.size:
            headers["range"] = f"bytes={sink.size}-"
            if sink.version:  # a notebook is written anew after each cell: half of one and half of the next is none
                headers["if-range"] = sink.version
        before = sink.size
        try:
            request = Request("GET", url, params, headers=headers, sink=sink.take, timeout_seconds=60)
            answer = yield from _from_server_or_store(session, request)
        except ConnectionLost:
            if attempt + 1 == _TRIES and sink.size == before:
                raise
            continue
        whole = _whole_size(answer.status, answer.headers)
        if whole is None or sink.size >= whole:
            return
    raise ServerError(f"{url} ended {_TRIES} times before it was whole.", remedy="Try again later.")


def _from_server_or_store(session: Session, request: Request) -> Steps[Response]:
    """The answer of the server, or of its store, where the server sends us on to that. A store that was not reached is
    not tried again in this session. Raises :class:`ConnectionLost`, and what the server says.
    """
    wanted = {"prefer": "redirect"} if session.store_reached else {}
    answer = yield from session.call(replace(request, headers={**request.headers, **wanted}))
    if not 300 <= answer.status < 400:
        return answer
    location = answer.headers.get("location", "")
    if "x-trainjob-moved" not in answer.headers:
        raise ServerError(
            f"Not the server itself answers: one is sent on to {location[:200]!r}.",
            remedy="Give the url of the server: a proxy or its login page may stand before it.",
        )
    try:  # the address is a credential, and needs no other
        answer = yield from ask(replace(request, url=location, params=(), apart=True))
        if answer.status not in (200, 206, 416):
            raise ConnectionLost(f"The object store does not give what the server promised: status {answer.status}.")
    except ConnectionLost:
        session.store_reached = False
        raise
    return answer


def _whole_size(status: int, headers: Mapping[str, str]) -> int | None:
    text = (
        headers.get("content-range", "").rpartition("/")[2] if status in (206, 416) else headers.get("content-length")
    )
    return int(text) if text and text.isdecimal() else None


def files(session: Session, namespace: str, uid: str, pattern: str | None, to: str | Path | None) -> Steps[list[Path]]:
    """Download one file (its path), a folder or glob of files, or all (None) into the folder ``to``.

    The current folder by default. A single file whose ``to`` is not a folder is written to just that path. Nothing is
    fetched where the server names fewer files than there are and all of them would have to be known.
    """
    listed = yield from ops.outputs(session, namespace, uid)
    names = [str(item["path"]) for item in listed.get("files") or []]
    total = int(listed.get("filesTotal") or len(names))
    chosen = _choose(names, pattern)
    unlisted = pattern is not None and chosen != [pattern] and total > len(names)
    if pattern is not None and unlisted and (yield from _exists(session, namespace, uid, pattern)):
        chosen = [pattern]
    if pattern is not None and chosen == [pattern] and to is not None and not _is_folder(to):
        return [(yield from fetch(session, _url(namespace, uid, pattern), Path(to)))]
    if total > len(names) and chosen != [pattern]:
        what = "all of them" if pattern is None else f"those of {pattern!r}"
        raise InputError(
            f"The job has {total} files and the server names only {len(names)} of them, so {what} can't be found.",
            remedy="Download all with job.download_all(folder), or single files by their full paths.",
        )
    if pattern is not None and not chosen:
        there = ", ".join(names[:10]) + (" …" if len(names) > 10 else "")
        raise NotFound(f"The job has no file {pattern!r}; it has: {there or 'none'}.")
    folder = Path(to or ".")
    got = []
    for name in chosen:
        got.append((yield from fetch(session, _url(namespace, uid, name), target(folder, name))))
    return got


def _exists(session: Session, namespace: str, uid: str, name: str) -> Steps[bool]:
    """Whether the job has a file of just this name, listed or not."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        return False
    try:
        yield from session.call(Request("HEAD", _url(namespace, uid, name)))
    except NotFound:
        return False
    return True


def _is_folder(to: str | Path) -> bool:
    return str(to).endswith("/") or os.path.isdir(to)  # noqa: PTH112 - what is wrong with the name, writing tells


def _url(namespace: str, uid: str, name: str) -> str:
    return ops.job_path(namespace, uid, "outputs", "files", *PurePosixPath(name).parts)


def _choose(names: list[str], pattern: str | None) -> list[str]:
    if pattern is None:
        return names
    if pattern in names:
        return [pattern]
    prefix = pattern.rstrip("/") + "/"
    return [name for name in names if name.startswith(prefix) or fnmatch.fnmatchcase(name, pattern)]


def notebook(session: Session, namespace: str, uid: str, to: str | Path | None, name: str) -> Steps[Path]:
    """The executed notebook as a file: ``to``, or ``<name>.ipynb`` in it or in the current folder."""
    goal = Path(to) if to is not None and not _is_folder(to) else target(Path(to or "."), f"{name}.ipynb")
    return (yield from fetch(session, ops.job_path(namespace, uid, "outputs", "notebook"), goal))


def temporary(
    session: Session, url: str, params: tuple[tuple[str, str], ...] = (), folder: Path | None = None
) -> Steps[BinaryIO]:
    """The object at ``url`` in an anonymous file (of ``folder``), at its start. The caller closes it."""
    file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
    try:
        yield from _fill(session, url, _Sink(file), params)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file
