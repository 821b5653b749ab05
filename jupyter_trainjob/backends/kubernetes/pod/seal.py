"""How main's words are told from what the job writes in their place: both have the same user id and the same folder.

The first process of the container has a key in its environment, which the kernel shows nobody in it: that process
can't be looked into (:func:`.processes.become_first`), and what it starts is started without. The sidecar has the key
from its Secret. What bears no mark, or a wrong one, is not main's.
"""

from __future__ import annotations

import os

MARK_BYTES = 65
"""Hex digits and a newline before what they seal."""


def new_key() -> str:
    """One for an attempt."""
    return os.urandom(16).hex()


def sealed(key: str, name: str, data: bytes) -> bytes:
    """``data``, to be written as the file ``name``; without a key as it is."""
    return _mark(key, name, data) + data if key else data


def opened(key: str, name: str, data: bytes) -> bytes | None:
    """What was sealed; None where it was not by the holder of ``key``, for this file. Without a key as it is."""
    if not key:
        return data
    body = data[MARK_BYTES:]
    return body if data[:MARK_BYTES] == _mark(key, name, body) else None


def _mark(key: str, name: str, data: bytes) -> bytes:
    import hashlib  # only here: main starts the runner first
    import hmac

    return hmac.new(key.encode(), name.encode() + b"\0" + data, hashlib.sha256).hexdigest().encode() + b"\n"
