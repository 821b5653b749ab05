"""Uploads: content-addressed, each owner's own.

An upload goes into a temporary file, is hashed on its way, and is moved into the object store only when its digest is
the promised one. The object comes before its row: a crash between leaves an object that nobody counts, never a row
without bytes.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..resources import names
from ..resources.errors import BadRequest, FieldError, NotFound, Unavailable, invalid
from ..storage.base import KeyMissing, KeyTaken, ObjectStore
from .identity import Identity
from .keeping import Claim, Keeping
from .outputs import Download

if TYPE_CHECKING:
    from .services import Services

_DIGEST = re.compile(r"sha256:(?P<hex>[0-9a-f]{64})\Z")
SYNC_BYTES = 16 * 1024**2
"""After so many more the disk begins to write what it has. Where the file itself becomes the object, its copy in memory
is let go then: whoever keeps 2 GB in the page cache takes 2 GB of fresh memory, which in a virtual machine costs more
than the writing (3 s against 0.7 s).
"""
BUFFER_BYTES = 1024**2
"""Gathered on the loop before a thread hashes and writes it."""


def check_digest(digest: str) -> str:
    """``digest`` if it is one; :class:`BadRequest` if not."""
    if not _DIGEST.match(digest):
        raise BadRequest(
            f"{digest[:80]!r} is no digest.", remedy="Write sha256: and 64 hexadecimal digits, in lower case."
        )
    return digest


@dataclass(eq=False)
class Upload:
    """One upload on its way."""

    claim: Claim
    digest: str
    file: IO[bytes]
    hash: Any = field(default_factory=hashlib.sha256)
    buffer: bytearray = field(default_factory=bytearray)
    writing: asyncio.Future[None] | None = None
    """What was gathered before, on its way to the disk while more is gathered."""
    syncing: asyncio.Future[None] | None = None
    """The disk's own writing, begun early: at the end there is little left to wait for."""
    synced: int = 0
    """The upload's size when that was begun."""
    gone: bool = False
    """The client went away: nothing more is begun."""

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self.claim.size


class Blobs:
    """Takes and gives uploads."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._objects = services.objects
        self._config = services.config
        self.keeping = Keeping(services)

    async def find(self, identity: Identity, digest: str) -> Download:
        """One's own blob. Raises :class:`NotFound`, also where another person has one of that digest."""
        self._services.roles.require(identity, "get", "Blob")
        check_digest(digest)
        row = await self._store.aread(lambda reader: reader.blob(identity.username, digest))
        if row is None:
            raise _missing(digest)
        try:
            info = await self._services.io(self._objects.stat, names.blob_key(identity.username, digest))
        except KeyMissing:
            raise _missing(digest) from None
        return Download(info.key, info.size, digest.replace(":", "-"))

    async def begin(self, identity: Identity, digest: str, length: int | None) -> Upload:
        """Before the body: may it come at all? Raises :class:`TooLarge` and :class:`TooMany`.

        ``length`` in bytes, if the client said so.
        """
        self._services.roles.require(identity, "create", "Blob")
        check_digest(digest)
        claim = await self.keeping.claim(identity, [digest], length, self._config.max_blob_bytes)
        try:
            return Upload(claim, digest, await self._services.io(temporary_file, self._config.upload_dir))
        except Unavailable:
            self.keeping.release(claim)
            raise

    async def add(self, upload: Upload, data: bytes) -> None:
        """More of the body. What is beyond the limit is counted and dropped."""
        self._services.metrics.upload_bytes.inc(len(data))
        if self.keeping.grow(upload.claim, len(data)):
            upload.buffer += data
            if len(upload.buffer) >= BUFFER_BYTES:
                await self._flush(upload)

    async def finish(self, upload: Upload) -> bool:
        """Keep it. True if it is new, False if it was there. The digest, the size and the quota are checked."""
        if upload.size > upload.claim.limit:
            raise await self.keeping.refusal(upload.claim, upload.size)
        await self._flush(upload)
        await self._written(upload)
        await self._synced(upload)
        found = f"sha256:{upload.hash.hexdigest()}"
        if found != upload.digest:
            problem = FieldError(
                "digest", f"the {upload.size} bytes have the digest {found}", upload.digest, "Send the file again."
            )
            raise invalid([problem], "The upload")
        key = names.blob_key(upload.claim.owner, upload.digest)

        async def put(again: bool) -> None:
            with suppress(KeyTaken):  # the same bytes, by their name
                await self._services.io(_put, self._objects, key, upload.file, again)

        return await self.keeping.keep(upload.claim.identity, {upload.digest: upload.size}, put)

    async def drop(self, upload: Upload) -> None:
        """Let go of the temporary file and of the room in the quota. Done once, however the upload ended."""
        self.keeping.release(upload.claim)
        with suppress(Unavailable):  # told to whom it concerned, or nobody is there any more
            await self._written(upload)
        with suppress(Unavailable):
            await self._synced(upload)
        await self._services.io(upload.file.close)

    def abandon(self, upload: Upload) -> None:
        """:meth:`drop` for who can't wait. The file stays open as long as a thread is busy with it."""
        upload.gone = True
        self.keeping.release(upload.claim)
        waiting = [future for future in (upload.writing, upload.syncing) if future is not None]
        asyncio.gather(*waiting, return_exceptions=True).add_done_callback(
            lambda _: self._services.release(upload.file)
        )

    async def _flush(self, upload: Upload) -> None:
        """Begin to write what was gathered, once what came before it is written."""
        data, upload.buffer = upload.buffer, bytearray()
        await self._written(upload)
        if data and not upload.gone:
            upload.writing = asyncio.ensure_future(self._services.io(_take, upload, data))
        if upload.size - upload.synced >= SYNC_BYTES and (upload.syncing is None or upload.syncing.done()):
            await self._synced(upload)
            await self._written(upload)
            begin, upload.synced = upload.synced, upload.size
            if not upload.gone:
                sync = partial(_sync, upload.file, begin, upload.synced, self._objects.takes_files)
                upload.syncing = asyncio.ensure_future(self._services.io(sync))

    async def _synced(self, upload: Upload) -> None:
        """Wait for the disk. Raises what went wrong: it tells that only once, so that nobody may pass it over."""
        try:
            if upload.syncing is not None:
                await upload.syncing
        finally:
            upload.syncing = None  # not before it is done: whoever abandons the upload waits for it

    async def _written(self, upload: Upload) -> None:
        """Wait for what is being written. Raises what went wrong with it."""
        try:
            if upload.writing is not None:
                await upload.writing
        finally:
            upload.writing = None


def temporary_file(folder: Path | None) -> IO[bytes]:
    """A file without a name in ``folder``, or in the system's temporary folder. Raises :class:`Unavailable`."""
    try:
        place = str(folder) if folder is not None else tempfile.gettempdir()
        return os.fdopen(os.open(place, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), "w+b", buffering=0)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise _unkept(error) from error
    try:  # a filesystem without nameless files
        return tempfile.TemporaryFile(dir=folder, buffering=0)
    except OSError as error:
        raise _unkept(error) from error


def _take(upload: Upload, data: bytes | bytearray) -> None:
    upload.hash.update(data)
    write_all(upload.file, data)


def write_all(file: IO[bytes], data: bytes | bytearray) -> None:
    """All of ``data``, at the file's end. Raises :class:`Unavailable`."""
    view = memoryview(data)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise _unkept(error) from error


def _sync(file: IO[bytes], begin: int, end: int, let_go: bool) -> None:
    """Wait until all that is written is on the disk; ``let_go`` of the bytes from ``begin`` to ``end`` in memory."""
    try:
        if sys.platform == "darwin":  # has neither
            os.fsync(file.fileno())
        else:
            os.fdatasync(file.fileno())
            if let_go:
                os.posix_fadvise(file.fileno(), begin, end - begin, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        raise _unkept(error) from error


def _unkept(error: OSError) -> Unavailable:
    return Unavailable(
        f"The server can't keep the upload: {error.strerror}.",
        remedy="Nothing is lost. Try again in a while; if it stays, tell the operator.",
        retry_after_seconds=60,
    )


def _put(objects: ObjectStore, key: str, file: IO[bytes], again: bool) -> None:
    if not again or not objects.exists(key):  # a file that has its name by now would be copied
        objects.put_file(key, file, if_absent=True)


def _missing(digest: str) -> NotFound:
    return NotFound(f"You have no upload {digest}.", remedy=f"Send it with PUT /blobs/{digest}.")
