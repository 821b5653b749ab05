"""Bring home what a job left, trusting nothing in its folders: they are the job's own, and may be hostile.

Every step down is opened by itself without following links. Only regular files with one name are taken: a hard link
could be another's file, a FIFO would block, a device is no output. By the time this runs, all processes of the job
are dead, but nothing here relies on it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, cast

from ...storage.base import ObjectStore, check_key
from .globs import Glob
from .openup import open_folder

MAX_FILES = 20_000
MAX_LISTED = 1_000
MAX_DEPTH = 64
MAX_SECONDS = 600.0
"""Longer than this nobody waits for the outputs of one job."""
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass
class Collected:
    """What came home."""

    files: list[dict[str, Any]] = field(default_factory=list)
    """``{"path", "size"}``, at most :data:`MAX_LISTED`."""
    total: int = 0
    bytes: int = 0
    skipped: list[str] = field(default_factory=list)
    """Why something was left, for a person; at most a hundred."""
    skipped_total: int = 0

    def skip(self, name: str, why: str) -> None:
        """Note that ``name`` stays behind."""
        self.skipped_total += 1
        if len(self.skipped) < 100:
            shown = name.encode("utf-8", "backslashreplace").decode()
            self.skipped.append(f"{shown[:200]!r} {why}")

    def condition(self) -> dict[str, str] | None:
        """The standing remark about what was left behind."""
        if not self.skipped_total:
            return None
        more = f" (and {self.skipped_total - 5} more)" if self.skipped_total > 5 else ""
        return {
            "type": "OutputsComplete",
            "status": "False",
            "reason": "SomeSkipped",
            "message": f"Not kept: {'; '.join(self.skipped[:5])}{more}.",
        }


def files(
    store: ObjectStore,
    prefix: str,
    folder: str,
    keep: list[str],
    inputs: list[str],
    found: Collected | None = None,
    maximum_bytes: int | None = None,
) -> Collected:
    """Put the regular files of ``folder`` that match one of the globs ``keep`` under ``<prefix>files/``.

    Links at the places in ``inputs`` are the job's own inputs and no outputs. Adds to ``found``, where there
    are remarks already. Together they may have ``maximum_bytes``: the job's disk limit counts blocks, and a sparse
    file has none of them until it is copied. Raises ``StoreError``.
    """
    found = Collected() if found is None else found
    if not keep:
        return found  # nothing to walk a tree for that may have millions of files
    deadline = time.monotonic() + MAX_SECONDS
    wanted = [Glob(pattern) for pattern in keep]
    try:
        root = open_folder(folder)
    except OSError as error:
        found.skip(os.path.basename(folder), f"can't be opened ({error.strerror})")
        return found
    try:
        for path, descriptor, size in _walk(root, "", 0, found, frozenset(inputs), wanted):
            key = f"{prefix}files/{path}"
            try:
                check_key(key)
            except ValueError:
                found.skip(path, "has a name that can't be stored")
                continue
            if maximum_bytes is not None and found.bytes + size > maximum_bytes:
                found.skip(path, f"would make the outputs larger than the job's {maximum_bytes} bytes of disk")
                continue
            with os.fdopen(os.dup(descriptor), "rb") as stream:
                store.put(key, cast(IO[bytes], _Exactly(stream, size)))
            found.total += 1
            found.bytes += size
            if len(found.files) < MAX_LISTED:
                found.files.append({"path": path, "size": size})
            if time.monotonic() > deadline:
                found.skip("the rest", f"comes after {MAX_SECONDS:.0f} s of collecting; put files into an archive")
                break
            if found.total >= MAX_FILES:
                found.skip("the rest", f"comes after the first {MAX_FILES} files; put many small files into an archive")
                break
    finally:
        os.close(root)
    return found


class _Exactly:
    """A file's first ``size`` bytes: one that grows while it is read does not grow here.

    It can be read again, so that a store that must know the size, or try again, needs no copy.
    """

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._size, self._at = stream, size, 0

    def read(self, count: int = -1) -> bytes:
        """Up to ``count`` bytes."""
        left = self._size - self._at
        data = self._stream.read(left if count < 0 else min(count, left))
        self._at += len(data)
        return data

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte of the file, at most to its end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, min(self._size, base + offset))
        return self._stream.seek(self._at)


def _walk(
    parent: int, base: str, depth: int, found: Collected, inputs: frozenset[str], wanted: list[Glob]
) -> Iterator[tuple[str, int, int]]:
    """``(relative path, descriptor, size)`` of each file to keep, by name; the descriptor is closed afterwards."""
    try:
        with os.scandir(parent) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        found.skip(base or ".", f"can't be listed ({error.strerror})")
        return
    for name in names:
        path = base + name
        try:
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            found.skip(path, f"can't be looked at ({error.strerror})")
            continue
        if stat.S_ISDIR(info.st_mode):
            if depth >= MAX_DEPTH:
                found.skip(path, f"lies more than {MAX_DEPTH} folders deep")
                continue
            try:
                child = open_folder(name, dir_fd=parent)
            except OSError as error:
                found.skip(path, f"can't be opened ({error.strerror})")
                continue
            try:
                yield from _walk(child, path + "/", depth + 1, found, inputs, wanted)
            finally:
                os.close(child)
        elif any(pattern.matches(path) for pattern in wanted):
            if stat.S_ISLNK(info.st_mode) and path in inputs:
                continue
            with _regular(parent, name, path, found) as opened:
                if opened is not None:
                    yield path, *opened


@contextmanager
def _regular(parent: int, name: str, path: str, found: Collected) -> Iterator[tuple[int, int] | None]:
    """The descriptor and size of a regular file with one name; None (and a remark) for all else."""
    try:
        descriptor = os.open(name, _FILE, dir_fd=parent)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        found.skip(path, "is a link" if os.path.islink(f"/proc/self/fd/{parent}/{name}") else f"({error.strerror})")
        yield None
        return
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            found.skip(path, "is no regular file")
            yield None
        elif info.st_nlink != 1:
            found.skip(path, "has several names (hard links)")
            yield None
        else:
            yield descriptor, info.st_size
    finally:
        os.close(descriptor)


def one_file(
    store: ObjectStore, key: str, folder: str, relative: str, *, maximum: int, found: Collected | None = None
) -> int | None:
    """Put the regular file ``folder/relative`` under ``key``; its size, or None where there is no such file.

    ``relative`` may have folders in it; none of the steps may be a link. Remarks go to ``found``. Raises
    ``StoreError``.
    """
    found = Collected() if found is None else found
    steps = relative.split("/")
    try:
        current = open_folder(folder)
    except OSError as error:
        found.skip(relative, f"can't be reached ({error.strerror})")
        return None
    try:
        for step in steps[:-1]:
            try:
                following = open_folder(step, dir_fd=current)
            except (FileNotFoundError, NotADirectoryError):
                return None  # missing, or a link: the runner made no such folder
            except OSError as error:
                found.skip(relative, f"can't be reached ({error.strerror})")
                return None
            os.close(current)
            current = following
        with _regular(current, steps[-1], relative, found) as opened:
            if opened is None:
                return None
            if opened[1] > maximum:
                found.skip(relative, f"is larger than {maximum} bytes")
                return None
            with os.fdopen(os.dup(opened[0]), "rb") as stream:
                store.put(key, cast(IO[bytes], _Exactly(stream, opened[1])))
            return opened[1]
    finally:
        os.close(current)
