"""Many small uploads in one request: a plain tar whose members are named after their digests.

A job of 10,000 small files is thirty such requests instead of 10,000. Each member is kept as a blob of its own, as if
it had been sent alone; a bundle with one bad member is refused as a whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from ..resources import names
from ..resources.errors import BadRequest, FieldError, TooLarge, invalid
from ..resources.quantity import format_bytes
from ..storage.base import KeyTaken, ObjectStore
from .blobs import BUFFER_BYTES, check_digest, temporary_file, write_all
from .identity import Identity

if TYPE_CHECKING:
    from .services import Services

MAX_BUNDLE_BYTES = 64 * 1024**2
MAX_MEMBERS = 10_000
MAX_ASKED = 20_000
"""Digests in one question: as many as a job has inputs."""
SHARES = 4
"""Threads that keep the members of one bundle: most of the time they wait for the disk."""
_HEX = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(eq=False)
class Bundle:
    """One bundle on its way."""

    identity: Identity
    file: IO[bytes]
    buffer: bytearray
    size: int = 0
    writing: asyncio.Future[None] | None = None
    gone: bool = False
    """The client went away: nothing more is begun."""

    @property
    def owner(self) -> str:
        """Whose its members will be."""
        return self.identity.username


@dataclass(frozen=True)
class Member:
    """One blob in a bundle: its digest, and where its bytes lie in the file."""

    digest: str
    offset: int
    size: int


class Bundles:
    """Takes them, and says what is worth sending."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._objects = services.objects

    async def missing(self, identity: Identity, digests: object) -> list[str]:
        """Those of ``digests`` that one has not uploaded oneself; what others have is missing just so."""
        self._services.roles.require(identity, "get", "Blob")
        if not isinstance(digests, list) or len(digests) > MAX_ASKED:
            raise BadRequest("digests is no list that can be answered.", remedy=f"Send up to {MAX_ASKED} of them.")
        asked = dict.fromkeys(check_digest(digest if isinstance(digest, str) else "") for digest in digests)
        return await self._store.aread(
            lambda reader: [digest for digest in asked if reader.blob(identity.username, digest) is None]
        )

    async def begin(self, identity: Identity, length: int | None) -> Bundle:
        """Before the body: may it come at all? ``length`` in bytes, if the client said so. Raises :class:`TooLarge`."""
        self._services.roles.require(identity, "create", "Blob")
        if length is not None and length > MAX_BUNDLE_BYTES:
            raise _too_large(length)
        file = await self._services.io(temporary_file, self._services.config.upload_dir)
        return Bundle(identity, file, bytearray())

    async def add(self, bundle: Bundle, data: bytes) -> None:
        """More of the body. What is beyond the limit is counted and dropped."""
        bundle.size += len(data)
        self._services.metrics.upload_bytes.inc(len(data))
        if bundle.size <= MAX_BUNDLE_BYTES:
            bundle.buffer += data
            if len(bundle.buffer) >= BUFFER_BYTES:
                await self._flush(bundle)

    async def finish(self, bundle: Bundle) -> list[Member]:
        """Keep all its members. Raises :class:`Invalid`, :class:`TooLarge`, :class:`TooMany`: then none is kept."""
        if bundle.size > MAX_BUNDLE_BYTES:
            raise _too_large(bundle.size)
        await self._flush(bundle)
        members = await self._services.io(_members, bundle.file)
        largest = self._services.config.max_blob_bytes
        for member in members:
            if member.size > largest:
                raise TooLarge(
                    f"{member.digest} has {format_bytes(member.size)}, the limit is {format_bytes(largest)}.",
                    remedy="Send it in parts, or ask the operator for more.",
                )
        sizes = {member.digest: member.size for member in members}
        keeping = self._services.blobs.keeping
        claim = await keeping.claim(bundle.identity, sizes, sum(sizes.values()), MAX_BUNDLE_BYTES)
        try:
            await keeping.keep(bundle.identity, sizes, lambda again: self._put(bundle, members, again))
        finally:
            keeping.release(claim)
        return members

    async def drop(self, bundle: Bundle) -> None:
        """Let go of the temporary file."""
        await self._services.io(bundle.file.close)

    def abandon(self, bundle: Bundle) -> None:
        """:meth:`drop` for who can't wait. The file stays open as long as a thread is busy with it."""
        bundle.gone = True
        waiting = [bundle.writing] if bundle.writing is not None else []
        asyncio.gather(*waiting, return_exceptions=True).add_done_callback(
            lambda _: self._services.release(bundle.file)
        )

    async def _put(self, bundle: Bundle, members: Sequence[Member], again: bool) -> None:
        """Into the store; ``again``: those that a retention took away between being put and being noted."""
        shares = [members[start::SHARES] for start in range(min(SHARES, len(members)))]
        puts = [self._services.io(_put, self._objects, bundle.owner, bundle.file, share, again) for share in shares]
        for done in await asyncio.gather(*puts, return_exceptions=True):  # all have ended when one is told
            if isinstance(done, BaseException):
                raise done

    async def _flush(self, bundle: Bundle) -> None:
        data, bundle.buffer = bytes(bundle.buffer), bytearray()
        if not data or bundle.gone:
            return
        bundle.writing = asyncio.ensure_future(self._services.io(write_all, bundle.file, data))
        try:
            await bundle.writing
        finally:
            bundle.writing = None


def _members(file: IO[bytes]) -> list[Member]:
    """What the bundle holds, each content checked against its name. Raises :class:`Invalid`."""
    found: dict[str, Member] = {}
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for entry in archive:
                if len(found) >= MAX_MEMBERS:
                    raise _bad(entry.name, f"it is one of more than {MAX_MEMBERS}")
                if not _HEX.match(entry.name) or not entry.isreg() or entry.issparse():
                    raise _bad(entry.name, "it is no plain file that is called by the 64 digits of its SHA-256")
                content = archive.extractfile(entry)
                data = content.read() if content is not None else b""
                if hashlib.sha256(data).hexdigest() != entry.name:
                    raise _bad(entry.name, "its bytes have another digest")
                digest = f"sha256:{entry.name}"
                found[digest] = Member(digest, entry.offset_data, entry.size)
            if os.pread(file.fileno(), tarfile.BLOCKSIZE, archive.offset) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("it has no end")  # tarfile takes noise behind a member for one
    except (tarfile.TarError, EOFError) as error:
        raise _bad("", f"it is no whole tar: {error}") from error
    return list(found.values())


def _put(objects: ObjectStore, owner: str, file: IO[bytes], members: Sequence[Member], again: bool) -> None:
    for member in members:
        key = names.blob_key(owner, member.digest)
        if again and objects.exists(key):
            continue
        data = os.pread(file.fileno(), member.size, member.offset)
        with suppress(KeyTaken):  # the same bytes, by their name
            objects.put(key, data, if_absent=True)


def _bad(name: str, why: str) -> Exception:
    shown = f"{name[:80]!r}: " if name else ""
    problem = FieldError("bundle", f"{shown}{why}", None, "Send the files again; none of this bundle was kept.")
    return invalid([problem], "The bundle")


def _too_large(size: int) -> TooLarge:
    return TooLarge(
        f"The bundle has {size} bytes, the limit is {format_bytes(MAX_BUNDLE_BYTES)}.",
        remedy="Send several bundles; send a large file alone, with PUT /blobs/<digest>.",
    )
