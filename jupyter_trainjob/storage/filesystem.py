"""An object store in a folder: what the embedded server uses.

Objects lie under ``objects/`` by their key; ``incoming/`` holds those being written. Nothing is reached through a
symbolic link: each folder on the way is opened by itself and without following. What is durable: ``put`` flushes the
file and the folders it is named in, unless told otherwise; ``append`` and ``delete`` flush nothing, so after a power
cut a log may lack its last seconds and a deleted object may be back.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat as stat_module
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .base import CHUNK_BYTES, KeyMissing, KeyTaken, ObjectInfo, ObjectStore, StoreError, check_key

Names = list[bytes]
Entries = list[tuple[bytes, bool]]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
"""What looking for something that can't be there says."""
_BLOCKED = (errno.ELOOP, errno.ENOTDIR)


class FilesystemStore(ObjectStore):
    """A folder as an object store. Any number of processes may use it at once."""

    poll_seconds = 0.02
    ship_seconds = 0.05
    can_append = True
    takes_files = True

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()
        self._objects = self.root / "objects"
        self._incoming = self.root / "incoming"
        with _explained(f"open the object store in {str(self.root)!r}", self.root):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self._objects, self._incoming):
                folder.mkdir(mode=0o700, exist_ok=True)

    def describe(self) -> dict[str, Any]:
        """``{"type": "filesystem", "root": path}``."""
        return {"type": "filesystem", "root": str(self.root)}

    def put(self, key: str, data: bytes | IO[bytes], *, if_absent: bool = False, durable: bool = True) -> ObjectInfo:
        """Write beside, flush, and move into place. See :meth:`ObjectStore.put`."""
        folders, name = _split(key)
        temporary = self._incoming / secrets.token_hex(12)
        with _explained(f"store {key!r}", self.root):
            try:
                size = _write_file(temporary, data, durable)
                self._place(temporary, folders, name, if_absent, durable)
            except FileExistsError:
                raise KeyTaken(key) from None
            finally:
                temporary.unlink(missing_ok=True)
        return ObjectInfo(key, size)

    def put_file(self, key: str, file: IO[bytes], *, if_absent: bool = False) -> ObjectInfo:
        """Give a nameless file of this filesystem a name; copy any other. See :meth:`ObjectStore.put_file`."""
        folders, name = _split(key)
        temporary = self._incoming / secrets.token_hex(12)
        with _explained(f"store {key!r}", self.root):
            if not _link_nameless(file, self._incoming, temporary.name):
                return super().put_file(key, file, if_absent=if_absent)
            try:
                os.fsync(file.fileno())
                self._place(temporary, folders, name, if_absent, durable=True)
            except FileExistsError:
                raise KeyTaken(key) from None
            finally:
                temporary.unlink(missing_ok=True)
        return ObjectInfo(key, os.fstat(file.fileno()).st_size)

    def append(self, key: str, data: bytes, at: int) -> None:
        """Grow an object in place. See :meth:`ObjectStore.append`."""
        folders, name = _split(key)
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if at == 0 else 0)
        with _explained(f"store {len(data)} more bytes of {key!r}", self.root):
            for _ in range(_TRIES):
                try:
                    with self._folder(folders, make=at == 0) as folder:
                        file = os.open(name, flags, 0o600, dir_fd=folder)
                    break
                except FileNotFoundError:
                    if at:
                        raise
            try:
                size = os.fstat(file).st_size
                if size < at:
                    raise StoreError(f"Can't append to {key!r} at byte {at}: it has only {size} bytes.")
                view = memoryview(data)
                while view:
                    written = os.pwrite(file, view, at)
                    view, at = view[written:], at + written
            finally:
                os.close(file)

    @contextmanager
    def open(self, key: str, start: int = 0, end: int | None = None) -> Iterator[Iterator[bytes]]:
        """Stream a range. See :meth:`ObjectStore.open`."""
        if start < 0 or (end is not None and end < start):
            raise ValueError(f"[{start}, {end}) is no range of bytes")
        folders, name = _split(key)
        with _explained(f"read {key!r}", self.root):
            try:
                with self._folder(folders) as folder:
                    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            except OSError as error:
                raise _missing(error, key) from None
        try:
            if not stat_module.S_ISREG(os.fstat(file).st_mode):
                raise KeyMissing(key)
            yield self._chunks(file, key, start, end)
        finally:
            os.close(file)

    def _chunks(self, file: int, key: str, start: int, end: int | None) -> Iterator[bytes]:
        with _explained(f"read {key!r}", self.root):
            while end is None or start < end:
                chunk = os.pread(file, CHUNK_BYTES if end is None else min(CHUNK_BYTES, end - start), start)
                if not chunk:
                    return
                start += len(chunk)
                yield chunk

    def stat(self, key: str) -> ObjectInfo:
        """Size and version of one object. See :meth:`ObjectStore.stat`."""
        folders, name = _split(key)
        with _explained(f"look at {key!r}", self.root):
            try:
                with self._folder(folders) as folder:
                    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError as error:
                raise _missing(error, key) from None
        if not stat_module.S_ISREG(found.st_mode):
            raise KeyMissing(key)
        return ObjectInfo(key, found.st_size, f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}")

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        """Walk in key order, entering only folders that can hold what is asked. See :meth:`ObjectStore.list`."""
        wanted, behind = prefix.encode("utf-8"), after.encode("utf-8")
        base = wanted[: wanted.rfind(b"/") + 1]
        parts = base.split(b"/")[:-1]
        if any(part in (b"", b".", b"..") for part in parts) or b"\0" in wanted:
            raise ValueError(f"{prefix!r} is no prefix of object keys")
        count = 0
        with _explained(f"list {prefix!r}", self.root):
            for key, size in self._walk(parts, base, wanted, behind):
                if limit is not None and count >= limit:
                    return
                count += 1
                yield ObjectInfo(os.fsdecode(key), size)

    def delete(self, key: str) -> None:
        """Remove one object and the folders that it leaves empty. See :meth:`ObjectStore.delete`."""
        folders, name = _split(key)
        with _explained(f"delete {key!r}", self.root):
            try:
                with self._folder(folders) as folder:
                    os.unlink(name, dir_fd=folder)
            except IsADirectoryError:
                return
            except OSError as error:
                if error.errno in (*_ABSENT, errno.ELOOP):
                    return
                raise
            for depth in range(len(folders), 0, -1):
                try:
                    with self._folder(folders[: depth - 1]) as parent:
                        os.rmdir(folders[depth - 1], dir_fd=parent)
                except OSError:  # not empty, or another process was quicker: both are fine
                    return

    def sweep(self, older_than_seconds: float = 24 * 3600) -> int:
        """Remove what crashed writers left half written; how many files. For a server's start."""
        count = 0
        for path in self._incoming.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - path.lstat().st_mtime > older_than_seconds:
                    path.unlink()
                    count += 1
        return count

    @contextmanager
    def _folder(self, folders: Names, *, make: bool = False, durable: bool = False) -> Iterator[int]:
        """The descriptor of a folder below the root, each step opened without following links."""
        current = os.open(self._objects, _FOLDER)
        try:
            for name in folders:
                try:
                    step = os.open(name, _FOLDER, dir_fd=current)
                except FileNotFoundError:
                    if not make:
                        raise
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=current)
                    if durable:
                        os.fsync(current)
                    step = os.open(name, _FOLDER, dir_fd=current)
                os.close(current)
                current = step
            yield current
        finally:
            os.close(current)

    def _place(self, temporary: Path, folders: Names, name: bytes, if_absent: bool, durable: bool) -> None:
        for attempt in range(_TRIES):
            try:
                with self._folder(folders, make=True, durable=durable) as folder:
                    if if_absent:
                        os.link(temporary, name, dst_dir_fd=folder)
                    else:
                        os.rename(temporary, name, dst_dir_fd=folder)
                    if durable:
                        os.fsync(folder)
                return
            except FileNotFoundError:  # a deleter removed the folder, just empty, under our hands
                if attempt == _TRIES - 1:
                    raise

    def _walk(self, folders: Names, base: bytes, wanted: bytes, behind: bytes) -> Iterator[tuple[bytes, int]]:
        """Keys and sizes below one folder, by the bytes of the keys."""
        try:
            with self._folder(folders) as folder:
                entries = [(name + b"/" * is_folder, is_folder) for name, is_folder in _entries(folder)]
                entries.sort()
                for name, is_folder in entries:
                    key = base + name
                    if is_folder:
                        if key <= behind and not behind.startswith(key):
                            continue
                        if key.startswith(wanted) or wanted.startswith(key):
                            yield from self._walk([*folders, name[:-1]], key, wanted, behind)
                    elif key > behind and key.startswith(wanted):
                        try:
                            yield key, os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
                        except FileNotFoundError:
                            continue
        except OSError as error:
            if error.errno not in (*_ABSENT, errno.ELOOP):
                raise


_TRIES = 50


def _split(key: str) -> tuple[Names, bytes]:
    *folders, name = check_key(key).encode("utf-8").split(b"/")
    return folders, name


def _entries(folder: int) -> Entries:
    """Names in a folder and whether each is a folder; all but folders and plain files are left out."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder or entry.is_file(follow_symlinks=False):
                found.append((os.fsencode(entry.name), is_folder))
    return found


def _write_file(path: Path, data: bytes | IO[bytes], durable: bool) -> int:
    size = 0
    with path.open("xb", buffering=0) as file:
        chunks = iter([data]) if isinstance(data, bytes) else iter(lambda: data.read(CHUNK_BYTES), b"")
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                written = file.write(view)
                view = view[written:]
                size += written
        if durable:
            os.fsync(file.fileno())
    return size


def _link_nameless(file: IO[bytes], folder: Path, name: str) -> bool:
    """Whether the file, which has no name yet, got this one (``open(2)``, O_TMPFILE)."""
    try:
        here = os.open(folder, _FOLDER)
        try:
            if os.fstat(file.fileno()).st_nlink:
                return False
            os.link(f"/proc/self/fd/{file.fileno()}", name, dst_dir_fd=here)
        finally:
            os.close(here)
    except OSError:  # another filesystem, one without such files, opened so that it can't be: it is copied
        return False
    return True


def _missing(error: OSError, key: str) -> Exception:
    return KeyMissing(key) if error.errno in (*_ABSENT, errno.ELOOP) else error


@contextmanager
def _explained(what: str, root: Path) -> Iterator[None]:
    """Turn the system's errors into a :class:`StoreError` that says what, why and what to do."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise StoreError(f"Can't {what}: {_reason(error, root)}") from error


def _reason(error: OSError, root: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        try:
            free = f" ({shutil.disk_usage(root).free:,} bytes are free there)"
        except OSError:
            free = ""
        return f"the disk of {str(root)!r} is full{free}. Delete old jobs, or give the server a larger disk."
    if error.errno == errno.EFBIG:
        return f"the file would be larger than this process may write in {str(root)!r}. Raise its file size limit."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{str(root)!r} can't be written or read by this user ({error.strerror}). Correct its permissions."
    if error.errno in (errno.EISDIR, errno.ENOTEMPTY, *_BLOCKED):
        return "another object's key is its folder, or the other way round, or a link stands in its place."
    return f"{error.strerror or error} in {str(root)!r}."
