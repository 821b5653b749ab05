"""Globs that a user wrote, matched in bounded time: a hostile one must not keep the supervisor busy.

``*``, ``?`` and ``[…]`` stay within one name (:mod:`fnmatch`, whose translation does not backtrack over stars),
``**`` as a whole name stands for any number of folders, and a pattern that ends in a slash for all below it.
"""

from __future__ import annotations

import fnmatch
import re

ANY = None
"""Any number of folders."""


class Glob:
    """One pattern, read once."""

    def __init__(self, pattern: str) -> None:
        names = [name for name in pattern.split("/") if name not in ("", ".")]
        if pattern.endswith("/") or names[-1:] == ["**"]:
            names = [*(names if pattern.endswith("/") else names[:-1]), "**", "*"]
        parts: list[re.Pattern[str] | None] = []
        for name in names:
            if name != "**":
                parts.append(re.compile(fnmatch.translate(re.sub(r"\*+", "*", name))))
            elif parts[-1:] != [ANY] or not parts:
                parts.append(ANY)
        self._parts = parts

    def matches(self, path: str) -> bool:
        """Whether a relative path is meant. Looks at each pair of name and part a few times at the most."""
        names, parts = path.split("/"), self._parts
        name = part = 0
        star = back = -1
        while name < len(names):
            expected = parts[part] if part < len(parts) else ""
            if expected is ANY:
                star, back = part, name
                part += 1
            elif not isinstance(expected, str) and expected.match(names[name]):
                name, part = name + 1, part + 1
            elif star >= 0:  # the last ** takes one folder more
                back += 1
                name, part = back, star + 1
            else:
                return False
        return all(rest is ANY for rest in parts[part:])
