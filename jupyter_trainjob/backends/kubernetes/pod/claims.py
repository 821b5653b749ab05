"""What the job's container says, checked: it may say anything. Sizes first, then types, then what is known of it.

``key``: the attempt's seal; with it only what main wrote counts at all, and the job's forgeries are nothing.
"""

from __future__ import annotations

import os

from ...local.events import check
from ...local.samples import COLUMNS, ROWS
from .files import dump, read_claim
from .told import MAXIMUM_BYTES, NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

USAGE_BYTES = 128 * 1024
ENDED_BYTES = 32 * 1024
VOLUMES = ("work", "out", "shm", "node")
"""What may be full."""
_EVENTS = ("hello", "failed", "progress", "end")
_LIMITS = ("", "TimeLimit", "StartupTimeout", "ProcessLimit", "DiskLimit", "BackendError", "StorageError")
_COUNTS = ("oomKills", "peakTasks", "logBytes", "lostBytes")
_TOTALS = ("cpuSeconds", "peakMemoryBytes", "diskBytes", "processes", "readBytes", "writtenBytes")


def mark(path: str) -> tuple[int, ...]:
    """What tells whether a file was replaced."""
    try:
        info = os.stat(path, follow_symlinks=False)
    except OSError:
        return ()
    return info.st_ino, info.st_mtime_ns, info.st_size


def told(out: str, key: str = "") -> tuple[dict[str, Any], int]:
    """``(claims, notebook)``: what the runner said, by kind, and how often it saved the notebook."""
    data = read_claim(out, NAME, MAXIMUM_BYTES, key) or {}
    claims: dict[str, Any] = {}
    for kind in _EVENTS:
        if not isinstance(data.get(kind), dict):
            continue
        try:
            event = check({**data[kind], "type": kind})
        except (ValueError, RecursionError):
            continue
        claims[kind] = {name: value for name, value in event.items() if name != "type"}
    if isinstance(started := data.get("started"), str) and len(started) <= 40:
        claims["started"] = started
    return claims, _count(data.get("notebook"))


def ended(out: str, key: str = "") -> dict[str, Any] | None:
    """Main's last words; None where there are none."""
    data = read_claim(out, "ended", ENDED_BYTES, key)
    if data is None:
        return None
    limit = data.get("limit")
    return {
        "exitCode": _count(data["exitCode"]) if data.get("exitCode") is not None else None,
        "signal": _count(data["signal"]) if data.get("signal") is not None else None,
        "limit": limit if limit in _LIMITS else "",
        "message": _text(data.get("message"), 2000),
        "lastWords": _text(data.get("lastWords"), 4096),
        "terminated": data.get("terminated") is True,
        "full": [one for one in VOLUMES if one in data["full"]] if isinstance(data.get("full"), list) else [],
        "at": _text(data.get("at"), 40),
        **{name: _count(data.get(name)) for name in _COUNTS},
    }


def usage(out: str, key: str = "") -> tuple[dict[str, float], bytes] | None:
    """The totals and ``usage.json``, as main measured them; None where there is nothing that looks like it."""
    data = read_claim(out, "usage.json", USAGE_BYTES, key)
    rows = data.get("rows") if data else None
    if data is None or not isinstance(rows, list) or not 0 < len(rows) <= ROWS:
        return None
    for row in rows:
        if not isinstance(row, list) or len(row) != len(COLUMNS) or not all(_is_figure(value) for value in row):
            return None
    interval, totals = data.get("intervalSeconds"), data.get("totals")
    if not _is_figure(interval) or not isinstance(totals, dict):
        return None
    shown = {"began": _text(data.get("began"), 40), "intervalSeconds": interval, "columns": COLUMNS, "rows": rows}
    return {name: totals[name] for name in _TOTALS if _is_figure(totals.get(name))}, dump(shown)


def _is_figure(value: Any) -> bool:
    """Compared, never converted: a whole number of JSON may be larger than any float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2e18


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def _text(value: Any, maximum: int) -> str:
    if not isinstance(value, str):
        return ""
    return value[:maximum].encode("utf-8", "replace").decode("utf-8")
