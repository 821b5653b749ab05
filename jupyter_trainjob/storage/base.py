"""The port to an object store. Every implementation passes ``tests/storage/contract.py``.

All methods block: servers call them in threads, supervisors directly. Keys are relative paths of printable
segments without ``.`` and ``..``; an implementation checks them with :func:`check_key` before anything else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO, Any

CHUNK_BYTES = 1024 * 1024
MAX_KEY_BYTES = 900
MAX_SEGMENT_BYTES = 255


class StoreError(Exception):
    """The store can't be used now (full, away, refusing). The text says why, for an operator."""


class KeyMissing(KeyError):
    """There is no object under this key."""


class KeyTaken(Exception):
    """``put(…, if_absent=True)`` found an object."""


@dataclass(frozen=True)
class ObjectInfo:
    """An object's key and its size in bytes.

    ``version``, where it was looked at singly: a word that is another one once other bytes are kept under the key.
    """

    key: str
    size: int
    version: str = field(default="", compare=False)


def check_key(key: str) -> str:
    """``key`` if it is one; ``ValueError`` (which names it and says why) if not.

    What every kind of store can hold: up to 900 bytes of UTF-8, segments of up to 255 bytes, none of the names that
    S3 servers use in their own folders (what is called so is stored, but never listed).
    """
    shown = repr(key if len(key) <= 80 else key[:77] + "...")
    try:
        encoded = key.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{shown} is no object key: character {error.start} is not UTF-8 text") from None
    segments = encoded.split(b"/")
    if any(segment in (b"", b".", b"..") for segment in segments):
        raise ValueError(f"{shown} is no object key: it is empty, or has an empty, '.' or '..' segment")
    if len(encoded) > MAX_KEY_BYTES or any(len(segment) > MAX_SEGMENT_BYTES for segment in segments):
        raise ValueError(
            f"{shown} is no object key: it is longer than {MAX_KEY_BYTES} bytes, or a segment is longer than "
            f"{MAX_SEGMENT_BYTES}"
        )
    if any(name == ".sgwtmp" or name.endswith("__XLDIR__") for name in key.split("/")):
        raise ValueError(f"{shown} is no object key: .sgwtmp and …__XLDIR__ are names of S3 servers' own")
    if "\ufffe" in key or "\uffff" in key:
        raise ValueError(f"{shown} is no object key: it has U+FFFE or U+FFFF, which no list can tell")
    if any(byte < 32 or byte in (0x5C, 0x7F) for byte in encoded):
        raise ValueError(f"{shown} is no object key: it has a backslash or a control character")
    return key


class ObjectStore(ABC):
    """A flat map from keys to bytes."""

    poll_seconds: float = 0.3
    """How often a reader may ask for the next log segment; cheap stores lower it."""
    ship_seconds: float = 0.5
    """How often a log writer puts a segment while bytes keep coming; cheap stores lower it."""
    can_append: bool = False
    """Whether :meth:`append` works. Logs then grow in place and need a handful of segments, not one a shipment."""
    takes_files: bool = False
    """Whether :meth:`put_file` makes a nameless file on the same disk the object: nobody reads it to store it."""

    @abstractmethod
    def put(self, key: str, data: bytes | IO[bytes], *, if_absent: bool = False, durable: bool = True) -> ObjectInfo:
        """Store ``data`` whole: readers see all of it or nothing, also after a crash of this process.

        Durable when the call returns: a power cut loses nothing. ``durable=False`` lets a store that would pay
        for this by the object (a disk's flush) leave it out; log segments, which are joined durably, do so.

        No key may be another key's folder (``a`` and ``a/b``). Callers see to it: a store that keeps files says
        :class:`StoreError`, but S3 has no such rule, and to ask before each put would cost two requests and still
        leave a race. Some servers keep both and then list only ``a`` (MinIO).
        Raises :class:`KeyTaken` (only with ``if_absent``) and :class:`StoreError`.
        """

    def put_file(self, key: str, file: IO[bytes], *, if_absent: bool = False) -> ObjectInfo:
        """Store all of ``file``, durably, as :meth:`put` does. Nobody may write into it afterwards.

        A store may make the file itself the object instead of copying it (a filesystem, where it lies on the same
        one and has no name).
        """
        file.seek(0)
        return self.put(key, file, if_absent=if_absent)

    def append(self, key: str, data: bytes, at: int) -> None:
        """Write ``data`` into an object from byte ``at`` on, which is where it ends (0: the object is made).

        Only where :attr:`can_append`. Doing it again with the same ``at`` is harmless: after an error nobody
        knows how much was taken. Readers may see a part. Not durable. Raises :class:`StoreError`.
        """
        raise NotImplementedError(f"{type(self).__name__} can't append")

    @abstractmethod
    def open(self, key: str, start: int = 0, end: int | None = None) -> AbstractContextManager[Iterator[bytes]]:
        """Stream bytes ``[start, end)`` in chunks of at most :data:`CHUNK_BYTES`.

        ``end`` beyond the object is cut. Raises :class:`KeyMissing` and :class:`StoreError`.
        """

    @abstractmethod
    def stat(self, key: str) -> ObjectInfo:
        """Size and version of one object. Raises :class:`KeyMissing` and :class:`StoreError`."""

    @abstractmethod
    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        """Objects whose key starts with ``prefix``, in the order of their keys' bytes, behind ``after``."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove one object; a missing one is no error."""

    def download_url(self, key: str, name: str) -> str:
        """Where a person may fetch the object for a few minutes, who is then asked to save it as ``name``.

        Empty where only servers reach the store. Raises :class:`StoreError`. Whether there is an object nobody asks.
        """
        return ""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What :func:`open_store` needs in another process to open the same store: ``{"type": …, …}``."""

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes ``[start, end)`` at once; for small objects."""
        with self.open(key, start, end) as chunks:
            return b"".join(chunks)

    def exists(self, key: str) -> bool:
        """Whether there is an object under ``key``."""
        try:
            self.stat(key)
        except KeyMissing:
            return False
        return True

    def delete_prefix(self, prefix: str) -> int:
        """Remove all objects under ``prefix`` (which ends in a slash); how many there were."""
        if not prefix.endswith("/"):
            raise ValueError(f"{prefix!r} does not end in a slash: it would catch its neighbours' keys too")
        count = 0
        for info in list(self.list(prefix)):
            self.delete(info.key)
            count += 1
        return count


def open_store(description: dict[str, Any]) -> ObjectStore:
    """The store that :meth:`ObjectStore.describe` described."""
    if description.get("type") == "filesystem":
        from .filesystem import FilesystemStore

        return FilesystemStore(description["root"])
    if description.get("type") == "s3":
        from .s3 import S3Store

        return S3Store.from_description(description)
    if description.get("type") == "signed":
        from .signed import SignedStore

        return SignedStore(description["credentials"], description["caFile"])
    raise ValueError(f"unknown store type {description.get('type')!r}; known: filesystem, s3, signed")
