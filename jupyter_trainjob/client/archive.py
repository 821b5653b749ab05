"""All that an attempt left, in one request."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from pathlib import Path
from typing import BinaryIO

from . import download, ops
from .effects import Steps, offload
from .errors import InputError, ServerError
from .session import Session


def everything(session: Session, namespace: str, uid: str, to: str | Path, attempt: int | None = None) -> Steps[Path]:
    """All that an attempt left, into the folder ``to``: ``notebook.ipynb``, ``results/…``, ``files/…``.

    One request, however many files there are. Plain files only, none outside the folder, none behind a link: the
    names were made by the job's code.
    """
    folder = Path(to)
    yield from offload(lambda: folder.mkdir(parents=True, exist_ok=True))
    params = (("attempt", str(attempt)),) if attempt else ()
    packed = yield from download.temporary(session, ops.job_path(namespace, uid, "outputs", "archive"), params, folder)
    with packed:
        yield from offload(lambda: _unpack(packed, folder))
    return folder


def _unpack(packed: BinaryIO, folder: Path) -> None:
    packed.seek(0, os.SEEK_END)
    if packed.tell() < 2 * tarfile.BLOCKSIZE:
        raise ServerError("The server sent no whole archive.", remedy="Try again.")
    packed.seek(-2 * tarfile.BLOCKSIZE, os.SEEK_END)
    if packed.read() != bytes(2 * tarfile.BLOCKSIZE):
        raise ServerError("The archive ended before it was whole.", remedy="Try again.")
    packed.seek(0)
    try:
        with tarfile.open(fileobj=packed, mode="r:") as archive:
            for entry in archive:
                content = archive.extractfile(entry) if entry.isreg() and not entry.issparse() else None
                if content is None:
                    raise InputError(f"The archive holds {entry.name!r}, which is no plain file.")
                goal = download.target(folder, entry.name)
                goal.parent.mkdir(parents=True, exist_ok=True)
                part = goal.with_name(f".{hashlib.sha256(goal.name.encode()).hexdigest()[:16]}.part")
                with content, part.open("wb") as file:
                    shutil.copyfileobj(content, file, 1024 * 1024)
                os.utime(part, (entry.mtime, entry.mtime))
                part.replace(goal)
    except tarfile.TarError as error:
        raise ServerError(f"The archive can't be read: {error}.", remedy="Try again.") from error
