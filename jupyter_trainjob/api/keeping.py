"""What uploads take, single ones and bundles alike: room is claimed before a byte is kept, rows come when all bytes are
there, and where that fails nothing is left behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..resources import names
from ..resources.errors import TooLarge, TooMany, TrainJobError, Unavailable
from ..resources.quantity import format_bytes
from ..storage.base import ObjectStore, StoreError
from ..store import Reader, Writer, clearing
from .identity import Identity

if TYPE_CHECKING:
    from .services import Services

REMOVE_SECONDS = clearing.SECONDS / 2
PAUSE_SECONDS = 0.05


@dataclass(eq=False)
class Claim:
    """Room for one upload or one bundle while it is under way."""

    identity: Identity
    announced: int | None
    """Bytes that are to come; None where nobody said."""
    left: int | None
    """Bytes of the owner's quota that nothing in the record took when it began; None without a quota."""
    known: int
    """Bytes of it that are there already and need no room."""
    maximum: int
    """Bytes that it may have, whatever the quota."""
    limit: int = 0
    """Bytes that it may have."""
    size: int = 0
    """Bytes that have come."""

    @property
    def owner(self) -> str:
        """Whose it will be."""
        return self.identity.username

    @property
    def taken(self) -> int:
        """Bytes of the quota that are its own."""
        return max(0, (min(self.size, self.limit) if self.announced is None else self.announced) - self.known)


class Keeping:
    """Claims, rows, and what is taken back."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._objects = services.objects
        self._quota = services.quota
        self._per_owner = services.config.stored_bytes_per_owner
        self.under_way: set[Claim] = set()

    async def claim(self, identity: Identity, digests: Collection[str], length: int | None, maximum: int) -> Claim:
        """Room for ``length`` bytes of the blobs ``digests``. Raises :class:`TooLarge` and :class:`TooMany`.

        To be released, whatever comes.
        """
        left, known = await self._store.aread(lambda reader: self._left(reader, identity, digests))
        claim = Claim(identity, length, left, known, maximum)
        claim.limit = self._limit(claim)  # nothing is awaited from here on: no two take the same room
        if length is None or length <= claim.limit:
            self.under_way.add(claim)
            return claim
        raise await self.refusal(claim, length)

    def grow(self, claim: Claim, count: int) -> bool:
        """So many more bytes have come; whether there is room for all that have."""
        claim.size += count
        if claim.announced is None:  # others may have begun since
            claim.limit = min(claim.limit, self._limit(claim))
        return claim.size <= claim.limit

    def release(self, claim: Claim) -> None:
        """It is over; may be said again."""
        self.under_way.discard(claim)

    async def refusal(self, claim: Claim, size: int) -> TooLarge | TooMany:
        """Why ``size`` bytes are too many."""
        if size > claim.maximum:
            return TooLarge(
                f"The upload has {size} bytes, the limit is {format_bytes(claim.maximum)}.",
                remedy="Send it in parts, or let the job fetch it from where it lies.",
            )
        more = size - claim.known
        left = await self._store.aread(lambda reader: self._quota.left(reader, claim.identity))
        if left is not None and (more > left or not self._per_owner):
            return self._quota.error(claim.identity.namespace, self._quota.limit_bytes - left, more)
        return quota_error(claim.owner, more, self._per_owner)

    async def keep(self, identity: Identity, sizes: Mapping[str, int], put: Callable[[bool], Awaitable[None]]) -> bool:
        """Put the blobs ``sizes`` (digest: bytes) into the store and note them; whether one of them is new.

        ``put(False)`` puts all their bytes, ``put(True)`` those that a retention took away before they were noted. All
        of them are to have ended when it returns or raises. Whatever fails: nothing is kept that was not there before.
        """
        new: list[str] = []
        try:
            await put(False)
            new = await self._noted(identity, sizes)
            await put(True)
        except Exception:
            with suppress(StoreError, TrainJobError):  # what stays is swept later; the first trouble is what counts
                await self._take_back(identity.username, sizes, new)
            raise
        return bool(new)

    def _left(self, reader: Reader, identity: Identity, digests: Iterable[str]) -> tuple[int | None, int]:
        """Bytes that nothing in the record takes, of the person's quota and of their namespace's (None without one);
        and bytes of ``digests`` that are there.
        """
        rows = [reader.blob(identity.username, digest) for digest in digests]
        quota = self._per_owner
        lefts = [quota - reader.stored_bytes(identity.username) if quota else None, self._quota.left(reader, identity)]
        room = min((left for left in lefts if left is not None), default=None)
        return None if room is None else max(room, 0), sum(row.size for row in rows if row is not None)

    def _limit(self, claim: Claim) -> int:
        """Bytes that it may have beside the others of its owner that are under way."""
        if claim.left is None:
            return claim.maximum
        others = sum(other.taken for other in self.under_way if other.owner == claim.owner and other is not claim)
        return min(claim.maximum, max(0, claim.left - others) + claim.known)

    async def _noted(self, identity: Identity, sizes: Mapping[str, int]) -> list[str]:
        deadline = time.monotonic() + clearing.SECONDS
        while time.monotonic() < deadline:
            new = await self._store.awrite(lambda writer: self._note(writer, identity, sizes))
            if new is not None:
                return new
            await asyncio.sleep(PAUSE_SECONDS)
        raise Unavailable(
            "Older uploads are being removed.", remedy="Nothing is lost. Try again in a while.", retry_after_seconds=30
        )

    def _note(self, writer: Writer, identity: Identity, sizes: Mapping[str, int]) -> list[str] | None:
        """Those that are new; None while somebody removes."""
        owner, quota = identity.username, self._per_owner
        new = [digest for digest in sizes if writer.blob(owner, digest) is None]
        more = sum(sizes[digest] for digest in new)
        if new:
            self._quota.check(writer, identity, identity.namespace, more)
        if more and quota and writer.stored_bytes(owner) + more > quota:
            raise quota_error(owner, more, quota)  # another server took the room meanwhile
        if not clearing.may_note(writer, names.blob_prefix(owner)):
            return None
        for digest, size in sizes.items():
            writer.put_blob(owner, digest, size)
        return new

    async def _take_back(self, owner: str, digests: Collection[str], noted: Iterable[str]) -> None:
        def drop(writer: Writer) -> None:
            for digest in noted:
                writer.drop_blob(owner, digest)

        if noted:
            await self._store.awrite(drop)

        def unnamed(reader: Reader) -> list[str]:
            return [names.blob_key(owner, digest) for digest in digests if reader.blob(owner, digest) is None]

        async def remove(keys: list[str]) -> None:
            await self._services.io(_remove, self._objects, keys)

        await clearing.clear(self._store, names.blob_prefix(owner), unnamed, remove)


def quota_error(owner: str, size: int, limit: int) -> TooMany:
    """That ``size`` more bytes of uploads are more than ``owner`` may keep."""
    return TooMany(
        f"{size} more bytes would be more than the {format_bytes(limit)} of uploads that {owner} may keep.",
        remedy="Delete jobs whose inputs you no longer need; uploads that none uses go after a while.",
        retry_after_seconds=3600,
        data={"limit": limit, "requested": size},
    )


def _remove(objects: ObjectStore, keys: list[str]) -> None:
    until = time.monotonic() + REMOVE_SECONDS
    for key in keys:
        if time.monotonic() > until:
            return
        objects.delete(key)
