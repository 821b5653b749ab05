"""What the runner says on descriptor 3: one JSON object a line, checked, since user code can write there too.

All of it is claims. A line that is too long or that is no event is counted and dropped; it never ends anything.
"""

from __future__ import annotations

import json
from typing import Any

LINE_BYTES = 1024 * 1024
TEXT_CHARACTERS = 64 * 1024
EVENTS_PER_SECOND = 200
_OUTCOMES = ("ok", "error", "kernelDied", "interrupted")
_KINDS = ("hello", "failed", "waiting", "started", "progress", "notebook", "end")


class EventReader:
    """Cuts a byte stream into events. :attr:`malformed` and :attr:`dropped` count what was refused."""

    def __init__(self) -> None:
        self.malformed = 0
        self.dropped = 0
        self._rest = bytearray()
        self._skipping = False
        self._window = (0, 0)

    def feed(self, data: bytes, now: float) -> list[dict[str, Any]]:
        """The events that ``data`` completes. ``now`` in seconds, for the rate."""
        events = []
        lines = data.split(b"\n")
        for index, piece in enumerate(lines):
            complete = index < len(lines) - 1
            if not self._skipping:
                self._rest += piece
                if len(self._rest) > LINE_BYTES:
                    self.malformed += 1
                    self._rest.clear()
                    self._skipping = True
            if complete:
                line, self._rest = bytes(self._rest), bytearray()
                if not self._skipping and line.strip():
                    event = self._event(line, now)
                    if event is not None:
                        events.append(event)
                self._skipping = False
        return events

    def _event(self, line: bytes, now: float) -> dict[str, Any] | None:
        try:
            event = check(json.loads(line))
        except (ValueError, RecursionError):
            self.malformed += 1
            return None
        second, count = self._window
        self._window = (int(now), count + 1 if int(now) == second else 1)
        if self._window[1] > EVENTS_PER_SECOND and event["type"] in ("progress", "notebook"):
            self.dropped += 1
            return None
        return event


def check(event: Any) -> dict[str, Any]:
    """``event`` reduced to the fields that are known, each of its type and bounded; ``ValueError`` if it is none."""
    if not isinstance(event, dict) or event.get("type") not in _KINDS:
        raise ValueError("no event")
    kind = event["type"]
    if kind == "hello":
        return {"type": kind, "runnerProtocol": _integer(event, "runnerProtocol"), "python": _text(event, "python", 64)}
    if kind == "progress":
        return {
            "type": kind,
            "cellsDone": _integer(event, "cellsDone"),
            "cells": _integer(event, "cells"),
            "cellId": _text(event, "cellId", 64),
            "fraction": _fraction(event.get("fraction")),
            "message": _text(event, "message", 500),
        }
    if kind == "waiting":
        return {"type": kind, "unready": _text(event, "unready", 2000)}
    if kind == "failed":
        return {"type": kind, "message": _text(event, "message", 2000)}
    if kind == "end":
        return _end(event)
    return {"type": kind}


def _end(event: dict[str, Any]) -> dict[str, Any]:
    if event.get("outcome") not in _OUTCOMES:
        raise ValueError("no outcome")
    results = [] if event.get("results") is None else event["results"]
    if not isinstance(results, list):
        raise ValueError("results is no list")
    return {
        "type": "end",
        "outcome": event["outcome"],
        "error": _error(event.get("error")),
        "results": [_result(item) for item in results[:256]],
    }


def _error(error: Any) -> dict[str, Any] | None:
    if error is None:
        return None
    if not isinstance(error, dict):
        raise ValueError("error is no object")
    return {
        "ename": _text(error, "ename", 200),
        "evalue": _text(error, "evalue", 16_000),
        "traceback": _text(error, "traceback", TEXT_CHARACTERS),
        "cellId": _text(error, "cellId", 64),
        "cellIndex": _integer(error, "cellIndex", optional=True),
        "line": _integer(error, "line", optional=True),
    }


def _result(result: Any) -> dict[str, Any]:
    if not isinstance(result, dict):
        raise ValueError("a result is no object")
    return {
        "name": _text(result, "name", 256),
        "size": _integer(result, "size", optional=True) or 0,
        "type": _text(result, "type", 256),
        "format": _text(result, "format", 20),
        "python": _text(result, "python", 20),
        "error": _text(result, "error", 2000),
    }


def _text(event: dict[str, Any], name: str, maximum: int) -> str:
    value = event.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    text = value.encode("utf-8", "replace").decode("utf-8")  # lone surrogates can't be stored
    return text if len(text) <= maximum else text[: maximum - 1] + "…"


def _integer(event: dict[str, Any], name: str, *, optional: bool = False) -> int | None:
    value = event.get(name)
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError(f"{name} is no count")
    return value


def _fraction(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError("fraction is not between 0 and 1")
    return float(value)
