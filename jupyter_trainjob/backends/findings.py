"""What ``jupyter trainjob doctor`` finds out about a backend: one thing that was tried, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """``warn``: it works, and an operator should know. ``fail``: jobs can't run, or are not held as they should be."""

    check: str
    """What was looked at, in a word or two: the same in every run."""
    level: Level
    message: str
    """What was found, in a sentence."""
    remedy: str = ""
    """How to mend it; empty for what is well."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def ok(check: str, message: str) -> Finding:
    """It is well."""
    return Finding(check, "ok", message)


def warn(check: str, message: str, remedy: str) -> Finding:
    """It works, but."""
    return Finding(check, "warn", message, remedy)


def fail(check: str, message: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check, "fail", message, remedy)


def worst(findings: Iterable[Finding]) -> Level:
    """The gravest level among them."""
    levels = {finding.level for finding in findings}
    return "fail" if "fail" in levels else "warn" if "warn" in levels else "ok"
