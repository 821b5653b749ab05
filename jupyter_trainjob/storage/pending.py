"""Bytes that wait for the store: some in memory, then in a spool file, first in, first out, by offset."""

from __future__ import annotations

import os
import struct
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from .loglayout import Hole

_FRAME = struct.Struct("<QI")  # offset, length; then the bytes


@dataclass
class _Extent:
    """Consecutive bytes that wait. ``at``: where they lie in the spool file; -1: in memory, in order."""

    offset: int
    length: int
    at: int


class Pending:
    """A queue of bytes with their offsets. Not locked: its owner is.

    ``memory_bytes`` are held in memory; more go to ``path`` (None: nowhere), which never grows beyond
    ``spool_bytes`` and is emptied when it has been read. What fits in neither is refused.
    """

    def __init__(self, memory_bytes: int, path: Path | None, spool_bytes: int) -> None:
        self._memory = bytearray()
        self._memory_bytes = memory_bytes
        self._path = path
        self._spool_bytes = spool_bytes if path is not None else 0
        self._file = -1
        self._written = 0
        self._extents: deque[_Extent] = deque()
        self.size = 0

    @property
    def spooling(self) -> bool:
        """Whether the newest bytes lie in the file, so that what follows must too."""
        return bool(self._extents) and self._extents[-1].at >= 0

    def has_room(self, count: int, *, only_memory: bool) -> bool:
        """Whether ``count`` more bytes can be taken."""
        if not self.spooling and len(self._memory) + count <= self._memory_bytes:
            return True
        return not only_memory and self._written + _FRAME.size + count <= self._spool_bytes

    def push(self, offset: int, data: bytes) -> int:
        """Take bytes; how many of them, from the first on, were taken."""
        if self.has_room(len(data), only_memory=True):
            self._memory += data
            last = self._extents[-1] if self._extents else None
            if last is not None and last.offset + last.length == offset:
                last.length += len(data)
            else:
                self._extents.append(_Extent(offset, len(data), -1))
            taken = len(data)
        else:
            taken = self._spool(offset, data)
        self.size += taken
        return taken

    def peek(self, limit: int) -> tuple[int, bytes]:
        """The oldest bytes, consecutive ones, at most ``limit``, with the offset of the first."""
        first = self._extents[0]
        parts: list[bytes] = []
        count = 0
        for extent in self._extents:
            if count >= limit or extent.offset != first.offset + count:
                break
            size = min(limit - count, extent.length)
            if extent.at >= 0:
                parts.append(os.pread(self._file, size, extent.at))
            else:  # all that is in memory is older than what is in the file, and lies there in order
                parts.append(bytes(memoryview(self._memory)[count : count + size]))
            count += size
        return first.offset, b"".join(parts)

    def pop(self, count: int) -> None:
        """Drop the oldest bytes, at most those of one :meth:`peek`."""
        self.size -= count
        while count:
            first = self._extents[0]
            size = min(count, first.length)
            if first.at < 0:
                del self._memory[:size]
            else:
                first.at += size
            first.offset, first.length = first.offset + size, first.length - size
            count -= size
            if not first.length:
                self._extents.popleft()
        if not self.spooling and self._written:
            os.ftruncate(self._file, 0)
            self._written = 0

    def recover(self, stored: int) -> int:
        """Take up the file that a dead writer left, but for what is ``stored`` already; the offset behind it."""
        end = stored
        if self._path is None or not self._path.exists():
            return end
        self._open()
        self._written = os.fstat(self._file).st_size
        at = 0
        while len(header := os.pread(self._file, _FRAME.size, at)) == _FRAME.size:
            offset, length = _FRAME.unpack(header)
            at += _FRAME.size
            length = min(length, self._written - at)  # the last frame may have been cut
            skip = min(length, max(0, end - offset))
            if length > skip:
                self._extents.append(_Extent(offset + skip, length - skip, at + skip))
                self.size += length - skip
                end = offset + length
            at += length
        return end

    def holes(self, reached: int) -> list[Hole]:
        """What is neither before ``reached`` nor waits, but lies before something that does."""
        found = []
        for extent in self._extents:
            if extent.offset > reached:
                found.append((reached, extent.offset))
            reached = extent.offset + extent.length
        return found

    def persist(self) -> None:
        """Bring what is in memory into the file as well, so that another process can go on. Best effort."""
        waiting = [(extent, self._bytes(extent)) for extent in self._in_memory()]
        kept = [extent for extent in self._extents if extent.at >= 0]
        self._extents = deque(kept)
        self._memory.clear()
        self.size = sum(extent.length for extent in kept)
        for extent, data in waiting:
            self.size += self._spool(extent.offset, data)

    def close(self, *, remove: bool) -> None:
        """Close the file; ``remove`` it when all of it is in the store."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if remove and self._path is not None:
            self._path.unlink(missing_ok=True)

    def _in_memory(self) -> list[_Extent]:
        return [extent for extent in self._extents if extent.at < 0]

    def _bytes(self, extent: _Extent) -> bytes:
        start = 0
        for other in self._in_memory():
            if other is extent:
                break
            start += other.length
        return bytes(self._memory[start : start + extent.length])

    def _spool(self, offset: int, data: bytes) -> int:
        room = self._spool_bytes - self._written - _FRAME.size
        count = min(len(data), room)
        if count <= 0:
            return 0
        try:
            self._open()
            _write(self._file, _FRAME.pack(offset, count) + data[:count], self._written)
        except OSError:  # the local disk is full too: the bytes are told as missing by our caller
            return 0
        self._extents.append(_Extent(offset, count, self._written + _FRAME.size))
        self._written += _FRAME.size + count
        return count

    def _open(self) -> None:
        if self._file < 0:
            assert self._path is not None
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _write(file: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written
