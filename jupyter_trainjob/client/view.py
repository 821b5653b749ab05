"""A job as data and as something to look at. Names, labels and messages are other people's text: all is escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from .spec import FINAL_PHASES, NAME_LABEL

MIME = "application/vnd.trainjob+json"

_COLOURS = {
    "Queued": "#8a6d00",
    "Admitted": "#8a6d00",
    "Running": "#0b62c4",
    "Succeeded": "#1a7f37",
    "Failed": "#b42318",
    "Cancelled": "#6b7280",
}


class JobView:
    """What is known of a job since it was last read. ``resource`` is the TrainJob as the server sent it."""

    def __init__(self, resource: Mapping[str, Any]) -> None:
        self.resource = dict(resource)

    @property
    def metadata(self) -> dict[str, Any]:
        """Name, namespace, uid, owner, labels and so on."""
        return dict(self.resource.get("metadata") or {})

    @property
    def spec(self) -> dict[str, Any]:
        """What was asked for."""
        return dict(self.resource.get("spec") or {})

    @property
    def status(self) -> dict[str, Any]:
        """What the server last said of it."""
        return dict(self.resource.get("status") or {})

    @property
    def name(self) -> str:
        """The full name, such as ``digits-x7k2p``."""
        return str(self.metadata.get("name") or self.metadata.get("generateName") or "")

    @property
    def short_name(self) -> str:
        """The name it was submitted under, such as ``digits``."""
        return str((self.metadata.get("labels") or {}).get(NAME_LABEL) or self.name)

    @property
    def namespace(self) -> str:
        """Where it belongs."""
        return str(self.metadata.get("namespace") or "")

    @property
    def uid(self) -> str:
        """Its identity for ever; empty after a dry run."""
        return str(self.metadata.get("uid") or "")

    @property
    def owner(self) -> str:
        """Whose it is."""
        return str(self.metadata.get("owner") or "")

    @property
    def phase(self) -> str:
        """Queued, Admitted, Running, Succeeded, Failed or Cancelled, as last read."""
        return str(self.status.get("phase") or "Queued")

    @property
    def reason(self) -> str:
        """Why it ended, or why it waits, in one word."""
        return str(self.status.get("reason") or "")

    @property
    def message(self) -> str:
        """The same in a sentence."""
        return str(self.status.get("message") or "")

    @property
    def finished(self) -> bool:
        """Whether nothing changes any more."""
        return self.phase in FINAL_PHASES

    @property
    def succeeded(self) -> bool:
        """Whether the code ran to its end without an error."""
        return self.phase == "Succeeded"

    @property
    def attempt(self) -> dict[str, Any]:
        """The latest attempt; empty before the first."""
        attempts = self.status.get("attempts") or []
        return dict(attempts[-1]) if attempts else {}

    @property
    def error(self) -> dict[str, Any]:
        """The exception that ended the code (ename, evalue, traceback, cellIndex, line); empty where there is none."""
        return dict(self.attempt.get("error") or {})

    def describe(self) -> str:
        """Its state in one line: ``Queued, position 3: waiting for …``."""
        status, text = self.status, self.phase
        if self.phase == "Queued":
            if status.get("position"):
                text += f", position {status['position']}"
            why = status.get("waitingFor") or self.message or self.reason
            return f"{text}: {why}" if why else text
        if self.phase in ("Running", "Admitted"):
            done = self.progress_text()
            spent = duration_text(seconds_between(self.attempt.get("start") or self.attempt.get("admitted"), None))
            return ", ".join(part for part in (text, done, spent) if part)
        took = duration_text(seconds_between(self.attempt.get("start"), self.attempt.get("end")))
        ended = f"{text} after {took}" if took else text
        if self.succeeded:
            return ended
        reason = f" ({self.reason})" if self.reason else ""
        error = self.error
        own_error = error.get("ename") and self.reason == "CodeError"  # else a limit says more than what it led to
        said = self._code_error() if own_error else self.message
        return f"{ended}{reason}: {said}" if said else ended + reason

    def _code_error(self) -> str:
        """The first line of its exception, with the line of the code."""
        said = f"{self.error['ename']}: {self.error.get('evalue', '')}"
        line = self.error.get("line")
        return f"{said} (line {line})" if line and "\n" not in said else said

    def progress_text(self) -> str:
        """``2 of 5 cells``, ``40 %``, the code's own words; empty where nothing is known."""
        progress = self.status.get("progress") or {}
        parts = []
        if progress.get("cells", 0) > 1:
            parts.append(f"{progress.get('cellsDone', 0)} of {progress['cells']} cells")
        if progress.get("fraction") is not None:
            parts.append(f"{float(progress['fraction']):.0%}")
        if progress.get("message"):
            parts.append(str(progress["message"]))
        return ", ".join(parts)

    def fraction(self) -> float | None:
        """How much is done, 0 to 1; None where it can't be said."""
        progress = self.status.get("progress") or {}
        if progress.get("fraction") is not None:
            return min(1.0, max(0.0, float(progress["fraction"])))
        if progress.get("cells", 0) > 1:
            return min(1.0, float(progress.get("cellsDone", 0)) / float(progress["cells"]))
        return None

    def mime_payload(self, log_below: bool = False) -> dict[str, str]:
        """What the card in JupyterLab gets: a reference; with ``log_below`` also that the log is printed below it."""
        reference = {"uid": self.uid, "namespace": self.namespace, "name": self.name}
        return {**reference, "log": "below"} if log_below else reference

    def plain(self, lines: list[str] | None = None) -> str:
        """For text front ends."""
        text = f"{self.name}  {self.describe()}"
        return "\n".join([text, *("  " + line for line in lines or [])])

    def html(self, lines: list[str] | None = None) -> str:
        """For front ends that don't know our own type."""
        colour = _COLOURS.get(self.phase, "#6b7280")
        state = self.describe()
        rest = state.removeprefix(self.phase)
        parts = [
            '<div style="border-left:3px solid ' + colour + ';padding:2px 8px;font-size:13px">',
            f"<code>{html.escape(self.name)}</code> ",
            f'<strong style="color:{colour}">{html.escape(self.phase)}</strong>{html.escape(rest)}',
        ]
        fraction = self.fraction()
        if fraction is not None and not self.finished:
            parts.append(f'<br><progress max="1" value="{fraction:.3f}" style="width:16em"></progress>')
        if lines:
            shown = html.escape("\n".join(lines))
            parts.append(f'<pre style="margin:4px 0 0;max-height:12em;overflow:auto">{shown}</pre>')
        return "".join([*parts, "</div>"])

    def mimebundle(self, lines: list[str] | None = None, *, log_below: bool = False) -> dict[str, Any]:
        """All three forms; after a dry run there is no job to refer to, and so no card. ``log_below``: see
        :meth:`mime_payload`."""
        bundle: dict[str, Any] = {"text/plain": self.plain(lines), "text/html": self.html(lines)}
        if self.uid:
            bundle[MIME] = self.mime_payload(log_below)
        return bundle

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.plain()}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return self.mimebundle()


def instant(text: Any) -> datetime | None:
    """RFC 3339 → an aware instant; None for nothing."""
    if not text:
        return None
    return datetime.fromisoformat(str(text).replace("Z", "+00:00"))


def seconds_between(start: Any, end: Any) -> float | None:
    """Seconds from ``start`` to ``end`` (now, if None); None where it has not started."""
    begin = instant(start)
    if begin is None:
        return None
    return max(0.0, ((instant(end) or datetime.now(timezone.utc)) - begin).total_seconds())


def duration_text(seconds: float | None) -> str:
    """``4.2 s``, ``3 min 05 s``, ``2 h 10 min``; empty for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    if seconds < 86400:
        return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"
    return f"{int(seconds) // 86400} d {int(seconds) % 86400 // 3600} h"


def span_text(seconds: float | None) -> str:
    """What somebody asked for, to the second and without a part that is nothing: ``5 min``, ``1 h 30 min``."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return " ".join(f"{count} {unit}" for count, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if count)


def count_text(count: Any, word: str) -> str:
    """``1 job``, ``3 jobs``; an amount as people write it (``500m``) is more than one."""
    return f"{count} {word}" if str(count) in ("1", "1.0") else f"{count} {word}s"


def local_text(text: Any) -> str:
    """A time of the server's as the clock here shows it, to the minute: ``14:05``, on another day with its date."""
    found = instant(text)
    if found is None:
        return ""
    here = found.astimezone()
    return f"{here:%H:%M}" if here.date() == datetime.now().astimezone().date() else f"{here:%Y-%m-%d %H:%M}"


def size_text(count: float) -> str:
    """``17 B``, ``4.2 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
