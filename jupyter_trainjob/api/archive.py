"""An attempt's outputs as one tar, made as it is sent: no temporary file, and of each object a piece at a time."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from datetime import datetime
from itertools import chain

from ..storage.base import KeyMissing, ObjectInfo, ObjectStore, StoreError

PIECE_BYTES = 1024**2
"""Small objects are sent together, about so many bytes at once: a thread is asked for each piece, not for each file."""
PARTS = ("notebook.ipynb", "results/", "files/")


def pieces(objects: ObjectStore, prefix: str, made: datetime) -> Iterator[bytes]:
    """The tar of what lies under ``prefix``: ``notebook.ipynb``, ``results/…``, ``files/…``; ``made`` is their mtime.

    Names are object keys, so they are relative and have no ``..``. What vanishes before its turn is left out. Blocks.
    Raises ``StoreError``, also where an object shrinks or goes while it is sent: what follows would be taken for it.
    """
    waiting = bytearray()
    for part in chain(_members(objects, prefix, made), [b"\0" * (2 * tarfile.BLOCKSIZE)]):
        waiting += part
        if len(waiting) >= PIECE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def _members(objects: ObjectStore, prefix: str, made: datetime) -> Iterator[bytes]:
    for part in PARTS:
        found = objects.list(prefix + part) if part.endswith("/") else _one(objects, prefix + part)
        for info in found:
            yield from _member(objects, info, _header(info.key.removeprefix(prefix), info.size, made))


def _member(objects: ObjectStore, info: ObjectInfo, header: bytes) -> Iterator[bytes]:
    """One object with its header; nothing where it is gone. Once its header is out, going is an error."""
    begun = False
    try:
        with objects.open(info.key, 0, info.size) as chunks:
            begun = True
            yield header
            yield from _whole(info, chunks)
    except KeyMissing:
        if begun:
            raise StoreError(f"{info.key!r} was removed while it was sent.") from None


def _one(objects: ObjectStore, key: str) -> Iterator[ObjectInfo]:
    try:
        yield objects.stat(key)
    except KeyMissing:
        return


def _header(name: str, size: int, made: datetime) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, int(made.timestamp())
    return info.tobuf(tarfile.PAX_FORMAT)


def _whole(info: ObjectInfo, chunks: Iterator[bytes]) -> Iterator[bytes]:
    left = info.size
    for chunk in chunks:
        left -= len(chunk)
        yield chunk
    if left:
        raise StoreError(f"{info.key!r} has become {left} bytes shorter while it was sent.")
    yield b"\0" * (-info.size % tarfile.BLOCKSIZE)
