"""Folders that come as archives: read as a stream, believed in nothing. Pure, standard library only.

An archive is a gzipped tar of plain files and folders. Whatever could leave its folder, stand for something else or
fill a disk is refused as a whole: absolute paths, ``..``, links, devices, sparse files, names that come twice, a file
that is also a folder, too many files, too many bytes. This is stricter than tarfile's ``data`` filter.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, cast

MAX_FILES = 20_000
MAX_BYTES = 4 * 1024**3
MAX_ENTRY_BYTES = 32 * 1024**2
"""Of the file that runs."""
_MAX_HEADER_BYTES = 64 * 1024
"""Of an extended header, which tarfile reads into memory whole. Honest ones hold a path."""
_OVERHEAD_BYTES = 4 * 1024
"""What an entry may need beside its content: headers, padding."""
_PIECE = 1024**2


class FolderError(ValueError):
    """The archive is refused. The text says what is wrong with it, and names the entry."""


@dataclass
class Listing:
    """What an archive holds."""

    files: dict[str, int] = field(default_factory=dict)
    """Path below the folder → size in bytes, in the archive's order."""
    total_bytes: int = 0
    """Of all files together."""
    entry: bytes | None = None
    """The content of the file that was asked for; None where the archive has none of that path."""


def read_folder(
    chunks: Iterable[bytes], *, entry: str = "", maximum_files: int = MAX_FILES, maximum_bytes: int = MAX_BYTES
) -> Listing:
    """What the archive that comes in ``chunks`` holds, and the content of the file ``entry`` in it.

    Reads all of it, so that what it accepts can be unpacked. Flat in memory but for ``entry``. Raises
    :class:`FolderError`.
    """
    listing = Listing()
    for path, size, content in walk_folder(chunks, maximum_files=maximum_files, maximum_bytes=maximum_bytes):
        listing.files[path] = size
        listing.total_bytes += size
        if path == entry:
            if size > MAX_ENTRY_BYTES:
                raise FolderError(f"{path!r} has {size} bytes; the file that runs may have {MAX_ENTRY_BYTES}")
            listing.entry = content.read()
    return listing


def walk_folder(
    chunks: Iterable[bytes], *, maximum_files: int = MAX_FILES, maximum_bytes: int = MAX_BYTES
) -> Iterator[tuple[str, int, IO[bytes]]]:
    """``(path, size in bytes, content)`` of each file, in the archive's order. Raises :class:`FolderError`.

    A content is good until the next file is asked for, and is read to its end by then. That an archive is bad may
    be told after some of its files.
    """
    packed = io.BufferedReader(_Chunks(chunks), _PIECE)
    limit = maximum_bytes + (maximum_files + 2) * _OVERHEAD_BYTES
    try:
        with (
            gzip.GzipFile(fileobj=packed, mode="rb") as plain,
            tarfile.open(fileobj=_Bounded(cast("IO[bytes]", plain), limit), mode="r|", tarinfo=_Entry) as archive,  # type: ignore[call-overload]
        ):
            yield from _files(archive, maximum_files, maximum_bytes)
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise FolderError(f"it is no whole .tar.gz: {error or type(error).__name__}") from error


def _files(archive: tarfile.TarFile, maximum_files: int, maximum_bytes: int) -> Iterator[tuple[str, int, IO[bytes]]]:
    names = _Names()
    count = total = 0
    for member in archive:
        count += 1
        if count > maximum_files:
            raise FolderError(f"it has more than {maximum_files} entries; leave out what the job does not read")
        path = _checked_path(member.name)
        if member.isdir():
            if path:
                names.folder(path)
            continue
        if not path or member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
            raise FolderError(f"{member.name[:200]!r} is {_word(member)}; only plain files and folders are taken")
        names.file(path)
        total += member.size
        if total > maximum_bytes:
            raise FolderError(f"its files have more than {maximum_bytes} bytes together, which is the limit")
        content = _Content(cast("IO[bytes]", archive.extractfile(member)), path, member.size)
        yield path, member.size, cast("IO[bytes]", content)
        content.drain()
        archive.members = []  # type: ignore[attr-defined]  # tarfile keeps all it has seen


def _checked_path(name: str) -> str:
    """The path in its plain form; empty for the folder itself."""
    shown = repr(name[:200])
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise FolderError(f"{shown} leaves the folder")
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise FolderError(f"{shown} is no UTF-8 name") from None
    if "\\" in name or any(byte < 32 or byte == 127 for byte in encoded):
        raise FolderError(f"{shown} has a backslash or a control character in its name")
    if len(encoded) > 1024 or any(len(part.encode()) > 255 for part in parts):
        raise FolderError(f"{shown} is too long a name: 255 bytes a part, 1024 in all")
    return "/".join(parts)


def _word(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "a link"
    if member.isdev():
        return "a device or a pipe"
    return "a sparse file" if member.issparse() else f"an entry of type {member.type!r}"


class _Names:
    """The paths seen so far: no two the same, no file that is a folder too."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def folder(self, path: str) -> None:
        """``path`` and those above it are folders."""
        while path and path not in self._folders:
            if path in self._files:
                raise FolderError(f"{path[:200]!r} is a file and a folder in one")
            self._folders.add(path)
            path = path.rpartition("/")[0]

    def file(self, path: str) -> None:
        """``path`` is a file."""
        if path in self._files:
            raise FolderError(f"{path[:200]!r} comes twice")
        if path in self._folders:
            raise FolderError(f"{path[:200]!r} is a file and a folder in one")
        self.folder(path.rpartition("/")[0])
        self._files.add(path)


class _Entry(tarfile.TarInfo):
    """Refuses the headers that tarfile would read into memory whole, if they are long."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if not self.isreg() and not self.isdir() and self.size > _MAX_HEADER_BYTES:
            raise FolderError(f"{self.name[:200]!r} has a header or a content of {self.size} bytes that no file has")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


class _Bounded:
    """The unpacked stream, up to ``left`` bytes: a bomb is let go off no further."""

    def __init__(self, stream: IO[bytes], left: int) -> None:
        self._stream, self._left = stream, left

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes."""
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise FolderError("it unpacks to more bytes than its limit")
        return data


class _Content:
    """A file's bytes; that fewer come than were promised is an error and no short file."""

    def __init__(self, stream: IO[bytes], path: str, left: int) -> None:
        self._stream, self._path, self._left = stream, path, left

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes."""
        data = self._stream.read(self._left if size < 0 else min(size, self._left))
        if not data and self._left and size:
            raise FolderError(f"it ends within {self._path[:200]!r}")
        self._left -= len(data)
        return data

    def drain(self) -> None:
        """Read what nobody read."""
        while self._left:
            self.read(_PIECE)


class _Chunks(io.RawIOBase):
    """An iterable of bytes as a stream."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill some of ``buffer``."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
