"""All attacks."""

from __future__ import annotations

from . import bombs, calls, floods, lies, reads
from .attack import Attack

ATTACKS: tuple[Attack, ...] = (*calls.ATTACKS, *reads.ATTACKS, *bombs.ATTACKS, *floods.ATTACKS, *lies.ATTACKS)
