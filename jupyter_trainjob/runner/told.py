"""What code in any language tells by printing it: a line ``::trainjob metric …`` or ``::trainjob progress …``.

``::trainjob metric name=loss value=0.31 step=10`` (``step`` may be left out; a name with blanks stands in double
quotes) is a point as :func:`.injob.jupyter_trainjob.log_metric` logs it; ``::trainjob progress 0.4 a few words`` is a
progress. Such a line stands alone in stdout and does not reach the log. One that is neither stays text.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from .injob.jupyter_trainjob import point

PREFIX = b"::trainjob "
LONGEST_BYTES = 4096
"""A longer line is text. A pipe takes as much in one piece."""
_METRIC = re.compile(r'metric((?:[ \t]+(?:name|value|step)=(?:"[^"]*"|[^\s"]+))+)[ \t]*\r?')
_FIELD = re.compile(r'(name|value|step)=(?:"([^"]*)"|([^\s"]+))')
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf|infinity)", re.A | re.I)
_PROGRESS = re.compile(r"progress[ \t]+([-+.\deE]+)(?:[ \t]+(.*?))?[ \t]*\r?", re.A)
MESSAGE_CHARACTERS = 500


class Point(bytes):
    """A line for the file of points."""


class Progress(dict[str, object]):
    """``{"fraction", "message"}``."""


Part = bytes | Point | Progress
"""Text that goes on to the log, or what was told."""


class Lines:
    """Takes such lines out of what is printed, wherever reads cut it. One search a read, where there are none."""

    def __init__(self) -> None:
        self._held = b""  # what may be the beginning of such a line
        self._fresh = True  # whether a line begins here

    @property
    def holds(self) -> bool:
        """Whether something waits that may be the beginning of such a line."""
        return bool(self._held)

    def feed(self, data: bytes) -> Iterator[Part]:
        """The parts of some more text; what may be the beginning of such a line waits for its end."""
        data, self._held = self._held + data, b""
        begin = at = 0  # what is not yet given out; where to look on
        while (at := data.find(PREFIX, at)) >= 0:
            if data[at - 1 : at] != b"\n" if at else not self._fresh:
                at += len(PREFIX)
                continue
            end = data.find(b"\n", at, at + LONGEST_BYTES)
            if end < 0 and len(data) - at < LONGEST_BYTES:
                yield from self._text(data[begin:at])
                self._held, self._fresh = data[at:], True
                return
            said = parse(data[at + len(PREFIX) : end]) if end >= 0 else None
            if said is not None:
                yield from self._text(data[begin:at])
                yield said
                begin, self._fresh = end + 1, True
            at = end + 1 if end >= 0 else at + len(PREFIX)
        tail = self._tail(data, begin)
        yield from self._text(data[begin:tail])
        if tail < len(data):
            self._held, self._fresh = data[tail:], True

    def release(self, *, short: bool = False) -> bytes:
        """What was held back, as text; ``short``: only if it is less than the whole prefix."""
        if short and len(self._held) >= len(PREFIX):
            return b""
        held, self._held = self._held, b""
        self._fresh = self._fresh and not held
        return held

    def begin_line(self) -> None:
        """Something else was shown, or another cell begins: what comes now stands on a line of its own."""
        self._fresh = True

    def _text(self, data: bytes) -> Iterator[bytes]:
        if data:
            self._fresh = data.endswith(b"\n")
            yield data

    def _tail(self, data: bytes, begin: int) -> int:
        """Where a last line begins that may become one of ours; the end, where there is none."""
        near = max(begin, len(data) - len(PREFIX))
        at = data.rfind(b"\n", near) + 1 or near
        starts = data[at - 1 : at] == b"\n" if at else self._fresh
        return at if starts and PREFIX.startswith(data[at:]) else len(data)


def parse(line: bytes) -> Point | Progress | None:
    """What the line behind the prefix says; None where it is malformed."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None
    if (found := _METRIC.fullmatch(text)) is not None:
        return _point(found[1])
    if (found := _PROGRESS.fullmatch(text)) is not None:
        return _progress(found[1], found[2] or "")
    return None


def _point(text: str) -> Point | None:
    found = _FIELD.findall(text)
    fields = {key: quoted or bare for key, quoted, bare in found}
    numbers = [fields[key] for key in ("value", "step") if key in fields]
    if len(fields) != len(found) or not {"name", "value"} <= fields.keys() or not all(map(_NUMBER.fullmatch, numbers)):
        return None
    try:
        return Point(point(fields["name"], float(fields["value"]), float(fields["step"]) if "step" in fields else None))
    except ValueError:
        return None


def _progress(number: str, message: str) -> Progress | None:
    try:
        fraction = float(number)
    except ValueError:
        return None
    if not 0 <= fraction <= 1:
        return None
    return Progress(fraction=fraction, message=" ".join(message.split())[:MESSAGE_CHARACTERS])


class Points:
    """The file of points, which processes of the job write into, too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def write(self, lines: bytes) -> None:
        """Append. Raises ``OSError``, also where the job has put something else in the file's place."""
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self._path, flags, 0o644)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise OSError(None, "it is no ordinary file")
            self._descriptor = descriptor
        view = memoryview(lines)
        while view:
            view = view[os.write(self._descriptor, view) :]
