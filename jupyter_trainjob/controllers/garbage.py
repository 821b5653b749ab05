"""How often Python looks for garbage that refers to itself, in a process that is a server."""

from __future__ import annotations

import gc

THRESHOLDS = (25_000, 20, 20)
"""Python's own are (700, 10, 10), for small programs. A server has half a million objects that stay, and reads a change
of the record into some hundred: it looked at all of them again and again, which took half of its CPU time when many
jobs came and went. What does not refer to itself is freed at once, as ever.
"""


def calm() -> None:
    """Look less often, in the whole process; not where somebody has set it to look still less, or never."""
    before = gc.get_threshold()
    if 0 < before[0] < THRESHOLDS[0]:
        gc.set_threshold(*THRESHOLDS)
