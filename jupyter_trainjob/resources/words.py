"""Words beside numbers."""

from __future__ import annotations


def counted(number: int | str, one: str, many: str = "") -> str:
    """``1 job``, ``2 jobs``; a quantity such as ``500m`` counts as many. ``many`` where it is not one and an s."""
    return f"{number} {one if str(number) == '1' else many or one + 's'}"
