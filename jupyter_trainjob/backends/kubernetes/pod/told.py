"""What the runner said, as one record of the latest of each kind: read whenever, of any age, it tells all there is."""

from __future__ import annotations

from ...local.events import EventReader
from .files import PROTOCOL, dump, now_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "told.json"
MAXIMUM_BYTES = 1024 * 1024


class Told:
    """Main's record of the runner's events. All of them are claims."""

    def __init__(self) -> None:
        self._reader = EventReader()
        self._data: dict[str, Any] = {"protocol": PROTOCOL, "notebook": 0}
        self._changed = True

    @property
    def started(self) -> bool:
        """Whether the user's code may have begun."""
        return "started" in self._data

    @property
    def end(self) -> dict[str, Any] | None:
        """The runner's last word."""
        found: dict[str, Any] | None = self._data.get("end")
        return found

    def feed(self, data: bytes, now: float) -> list[dict[str, Any]]:
        """Take some more of the runner's stream; the new events, each checked."""
        events = [] if self.end else self._reader.feed(data, now)
        fresh = []
        for event in events:
            kind = event["type"]
            if self.end is not None or (kind in ("hello", "failed", "started") and kind in self._data):
                continue
            if kind == "started":
                self._data["started"] = now_text()
            elif kind == "notebook":
                self._data["notebook"] += 1
            else:
                self._data[kind] = {name: value for name, value in event.items() if name != "type"}
            fresh.append(event)
        self._changed = self._changed or bool(fresh)
        return fresh

    def news(self) -> bytes | None:
        """The record, where it changed since this was asked last."""
        if not self._changed:
            return None
        self._changed = False
        data = {**self._data, "malformed": self._reader.malformed, "dropped": self._reader.dropped}
        text = dump(data)
        if len(text) > MAXIMUM_BYTES:
            data["end"] = {**data["end"], "results": [{**one, "error": one["error"][:80]} for one in self._results()]}
            text = dump(data)
        return text

    def again(self) -> None:
        """What :meth:`news` told last could not be written."""
        self._changed = True

    def _results(self) -> list[dict[str, Any]]:
        return list(self._data["end"]["results"])
