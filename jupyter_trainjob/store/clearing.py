"""The right to remove bytes of uploads that no row names, while no write transaction is held open.

Who removes holds a lease on the owner's folder, and nobody notes an upload there until it is given back. Who has noted
one puts its bytes again where they went before. So no row is ever left without bytes.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

from .reader import Reader
from .store import Store
from .writer import Writer

SECONDS = 30.0
"""How long the right lasts at most: a server that dies with it holds the owner's uploads up for so long."""
Keys = list[str]


async def clear(
    store: Store, prefix: str, unnamed: Callable[[Reader], Keys], remove: Callable[[Keys], Awaitable[None]]
) -> int:
    """Remove the keys below ``prefix`` that ``unnamed`` finds; how many. None where another removes there just now.

    ``remove`` has to end well within :data:`SECONDS`; what it leaves is found by a later sweep.
    """
    holder = uuid.uuid4().hex

    def begin(writer: Writer) -> Keys:
        if not writer.acquire_lease(prefix, holder, SECONDS):
            return []
        keys = unnamed(writer)
        if not keys:
            writer.release_lease(prefix, holder)
        return keys

    keys = await store.awrite(begin)
    if keys:
        try:
            await remove(keys)
        finally:
            await store.awrite(lambda writer: writer.release_lease(prefix, holder))
    return len(keys)


def may_note(writer: Writer, prefix: str) -> bool:
    """Whether nobody removes there now. To be asked in the transaction that notes."""
    holder = uuid.uuid4().hex
    free = writer.acquire_lease(prefix, holder, SECONDS)
    if free:
        writer.release_lease(prefix, holder)
    return free
