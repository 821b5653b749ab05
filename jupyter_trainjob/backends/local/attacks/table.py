"""All attacks."""

from __future__ import annotations

from itertools import chain

from . import bombs, calls, fills, floods, lies, reads
from .attack import Attack

ATTACKS: tuple[Attack, ...] = tuple(
    chain.from_iterable(one.ATTACKS for one in (calls, reads, bombs, fills, floods, lies))
)
