"""Kubernetes quantities (``500m``, ``1Gi``), parsed in this one place.

Grammar: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_PATTERN = re.compile(r"(?P<number>[+-]?(\d+(\.\d*)?|\.\d+))(?P<suffix>[eE][+-]?\d{1,3}|[A-Za-z]{0,2})\Z")
_FACTORS = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
LONGEST = 40
"""Characters of a quantity."""
MAX_CPU = Decimal(4096)
MAX_BYTES = Decimal(2**50)


def parse(text: str | int | float) -> Decimal:
    """The number behind a quantity; ``ValueError`` with what to write instead."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise ValueError(f"{text!r} is no quantity; write a number with a unit, such as '500m', '2' or '1Gi'")
    return _read(text) if len(str(text)) <= LONGEST else _number(text)


def _number(text: str | int | float) -> Decimal:
    match = _PATTERN.match(str(text).strip())
    if match is None or len(str(text)) > LONGEST:
        raise ValueError(f"{str(text)[:60]!r} is no quantity; write a number with a unit, such as '500m', '2' or '1Gi'")
    suffix = match["suffix"]
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return Decimal(match["number"]) * Decimal(10) ** int(suffix[1:])
    if suffix not in _FACTORS:
        near = {"g": "G or Gi", "gb": "G", "mb": "M", "kb": "k", "gib": "Gi", "mib": "Mi", "K": "k or Ki"}
        hint = near.get(suffix) or near.get(suffix.lower())
        raise ValueError(
            f"{str(text)!r} has the unknown unit {suffix!r}; "
            + (f"write {hint}" if hint else "units are m, k, M, G, T, Ki, Mi, Gi, Ti")
        )
    return Decimal(match["number"]) * _FACTORS[suffix]


# The same few are written in every job, and every job is read many times.
_read = lru_cache(maxsize=1024, typed=True)(_number)


def format_bytes(count: int) -> str:
    """A byte count as the shortest exact binary quantity: 1073741824 → ``1Gi``."""
    for suffix in ("Ti", "Gi", "Mi", "Ki"):
        factor = int(_FACTORS[suffix])
        if count and count % factor == 0:
            return f"{count // factor}{suffix}"
    return str(count)


def format_cpu(millis: int) -> str:
    """Thousandths of a CPU as a quantity: 1500 → ``1500m``, 2000 → ``2``."""
    return str(millis // 1000) if millis % 1000 == 0 else f"{millis}m"


def cpu_millis(text: str | int | float) -> int:
    """Thousandths of a CPU, rounded up."""
    return int((parse(text) * 1000).to_integral_value(ROUND_CEILING))


def byte_count(text: str | int | float) -> int:
    """Bytes, rounded up."""
    return int(parse(text).to_integral_value(ROUND_CEILING))


def _remembered(check: Callable[[Any], str]) -> Callable[[Any], str]:
    """``check``, which looks at a short text once."""
    known = lru_cache(maxsize=1024)(check)
    return lambda value: known(value) if type(value) is str and len(value) <= LONGEST else check(value)


def _check_cpu(value: Any) -> str:
    number = parse(value)
    if number <= 0:
        raise ValueError(f"{value} is not more than nothing; write for example '1' or '500m'")
    if number > MAX_CPU:
        raise ValueError(f"{value} CPUs are more than any machine has; write for example '4'")
    return format_cpu(cpu_millis(value))


def _check_bytes(value: Any) -> str:
    number = parse(value)
    if number <= 0:
        raise ValueError(f"{value} is not more than nothing; write for example '512Mi' or '2Gi'")
    if number < 1024:
        raise ValueError(f"{value} means {number} bytes; did you forget the unit? Write for example '{value}Gi'")
    if number > MAX_BYTES:
        raise ValueError(f"{value} is more than any machine has; write for example '8Gi'")
    return format_bytes(byte_count(value))


CpuQuantity = Annotated[
    str,
    BeforeValidator(_remembered(_check_cpu)),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}], "examples": ["1", "500m"]}),
]
"""CPUs as text, normalised; more than 0."""

ByteQuantity = Annotated[
    str,
    BeforeValidator(_remembered(_check_bytes)),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}], "examples": ["512Mi", "1Gi"]}),
]
"""Bytes as text, normalised; at least 1 KiB."""
