"""The log's way from main to sidecar: files of bytes, each called by the offset of its first, in a bounded window.

Main writes and removes, the sidecar only reads and says, in a file that the job can't write, how far it has come. The
folder is the job's to spoil: a file may vanish, shrink, be a link, claim bytes that nobody printed. That harms the
job's own log and nothing else.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque

from .files import open_claim

DIGITS = 20
PARTS = 8
"""How many files a full window has."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE)


def name_of(offset: int) -> str:
    """The name of the file whose first byte has this offset."""
    return f"{offset:0{DIGITS}d}"


class RingWriter:
    """Main's end. ``window`` bytes may wait for the sidecar."""

    def __init__(self, folder: str, window: int) -> None:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._window, self._part = window, max(1, window // PARTS)
        self._files: deque[int] = deque()
        self._current = -1
        self._freed = 0
        self.end = 0
        """How many bytes were written in all."""
        self.lost = 0
        """How many of them went nowhere, because somebody removed the folder, for example."""
        self.spoilt = 0
        """How many files could not be removed: the job closed the folder, or put something else in their place."""

    @property
    def room(self) -> int:
        """How many bytes may be written now."""
        return self._window - (self.end - self.lost - self._freed)

    def write(self, data: bytes) -> int:
        """Append; how many bytes were taken: fewer where the volume is full. Does not look at :attr:`room`.

        Where the job has spoilt the folder, its bytes are lost: they are nobody else's.
        """
        view = memoryview(data)
        try:
            while view:
                if self._current < 0 or self.end - self._files[-1] >= self._part:
                    self._roll()
                left = self._part - (self.end - self._files[-1])
                count = os.pwrite(self._current, view[:left], self.end - self._files[-1])
                view, self.end = view[count:], self.end + count
        except OSError as error:
            if error.errno not in _FULL:
                self.end, self.lost = self.end + len(view), self.lost + len(view)
                return len(data)
            if self._shed():
                return len(data) - len(view) + self.write(bytes(view))
        return len(data) - len(view)

    def free(self, position: int) -> None:
        """The sidecar has all before ``position``: remove what is not needed any more."""
        self._freed = max(self._freed, min(position, self.end))
        while len(self._files) > 1 and self._files[1] <= self._freed:
            try:
                self._remove(self._files.popleft())
            except OSError:
                self.spoilt += 1

    def _shed(self) -> bool:
        """Make room on a full volume: the sidecar may have all of the file that is being written. Whether there is."""
        if self._freed < self.end or not self._files or self._files[-1] == self.end:
            return False
        try:
            os.ftruncate(self._current, 0)  # the sidecar has it open, which keeps its blocks
            self._remove(self._files[-1])
            os.close(self._current)
            self._files.pop()
            self._current = -1
            self._roll()
        except OSError:
            return False
        return True

    def _roll(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            following = os.open(name_of(self.end), flags, 0o644, dir_fd=self._folder)
        except OSError as error:
            if error.errno in _FULL:
                raise
            self._remove(self.end)  # somebody put a folder or a pipe there
            following = os.open(name_of(self.end), flags | os.O_EXCL, 0o644, dir_fd=self._folder)
        if self._current >= 0:
            os.close(self._current)
        self._current = following
        self._files.append(self.end)

    def _remove(self, offset: int) -> None:
        try:
            os.unlink(name_of(offset), dir_fd=self._folder)
        except FileNotFoundError:
            return
        except OSError:
            os.rename(name_of(offset), f"not-ours-{offset}", src_dir_fd=self._folder, dst_dir_fd=self._folder)


class RingReader:
    """The sidecar's end, of a ring of the same ``window``. For several threads."""

    def __init__(self, folder: str, window: int) -> None:
        self._path, self._reach, self._part = folder, 2 * window, max(1, window // PARTS)
        self._lock = threading.Lock()
        self._folder = self._current = -1
        self._start = 0

    def read(self, offset: int, limit: int, *, jump: bool = False) -> tuple[int, bytes]:
        """At most ``limit`` bytes from ``offset`` on, and the offset of the first; none where there are none yet.

        With ``jump``, where the bytes at ``offset`` are gone for good and later ones are there (at most two windows
        on), those. A file that is larger than any that main writes has none: it may be a terabyte of holes.
        """
        with self._lock:
            if self._at(offset):
                while True:
                    if data := self._pread(offset, limit):
                        return offset, data
                    if not self._follow(offset):
                        break
            return self._jump(offset, limit) if jump else (offset, b"")

    def waiting(self, offset: int) -> int:
        """About how many bytes there are behind ``offset``."""
        with self._lock:
            if not self._at(offset):
                return 0
            count = max(0, self._start + self._size(os.fstat(self._current)) - offset)
            if not self._is_there(offset + count):
                return count
            for start in self._starts():
                if start > self._start:
                    try:
                        count += self._size(os.stat(name_of(start), dir_fd=self._folder, follow_symlinks=False))
                    except OSError:
                        continue
            return count

    def _size(self, info: os.stat_result) -> int:
        return info.st_size if info.st_size <= self._part else 0

    def _pread(self, offset: int, limit: int) -> bytes:
        """Of the file at hand."""
        left = min(limit, self._start + self._part - offset)
        if left <= 0 or not self._size(os.fstat(self._current)):
            return b""
        return os.pread(self._current, left, offset - self._start)

    def _is_there(self, start: int) -> bool:
        try:
            os.stat(name_of(start), dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _at(self, offset: int) -> bool:
        """Have the file open that holds ``offset``, or ends there."""
        if self._current >= 0 and self._start <= offset:
            return True
        if self._folder < 0:
            try:
                self._folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                return False
        starts = [start for start in self._starts() if start <= offset]
        return bool(starts) and self._open(max(starts))

    def _follow(self, offset: int) -> bool:
        """Go on to the file that begins at ``offset``, if there is one and the one before has no more."""
        if offset == self._start:
            return False
        following = open_claim(self._folder, name_of(offset))
        if following is None:
            return False
        if self._size(os.fstat(self._current)) > offset - self._start:  # it grew while we looked
            os.close(following)
            return True
        os.close(self._current)
        self._current, self._start = following, offset
        return True

    def _jump(self, offset: int, limit: int) -> tuple[int, bytes]:
        starts = self._starts()  # looked at before the file that is wanted: it was made before those behind it
        if self._current < 0 or self._start > offset:
            if self._at(offset):
                return offset, b""  # it came while we looked
        elif offset > self._start and self._is_there(offset):
            return offset, b""
        elif data := self._pread(offset, limit):
            return offset, data
        for start in starts:
            if offset < start <= offset + self._reach and self._open(start) and (data := self._pread(start, limit)):
                return start, data
        return offset, b""

    def _open(self, start: int) -> bool:
        descriptor = open_claim(self._folder, name_of(start))
        if descriptor is None:
            return False
        if self._current >= 0:
            os.close(self._current)
        self._current, self._start = descriptor, start
        return True

    def _starts(self) -> list[int]:
        """The offsets that files are called by, in order; at most a thousand of them."""
        found = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if len(entry.name) == DIGITS and entry.name.isascii() and entry.name.isdigit():
                        found.append(int(entry.name))
                        if len(found) >= 1000:
                            break
        except OSError:
            return []
        return sorted(found)
