"""What code in a job has of jupyter_trainjob: :func:`log_metric`, :func:`log_metrics` and :func:`progress`.

Standard library only. Outside a job the same functions check their arguments and do no more, so that a cell runs in
both places. Each process of the job may call them: a point is one short write at the end of a file.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, SupportsFloat

__all__ = ["log_metric", "log_metrics", "progress"]

FILE = "TRAINJOB_METRICS"
"""The environment variable that names the file of points."""
NAME_BYTES = 200
MIME = "application/vnd.trainjob.progress+json"
INTERVAL_SECONDS = 0.1
_LINE = "::trainjob progress"

_opened: tuple[int, int] | None = None  # (process, descriptor): a forked process opens its own
_told = (-math.inf, "")


def log_metric(name: str, value: SupportsFloat, step: float | None = None) -> None:
    """Log one point of the metric ``name``: ``value`` (any number, NaN too) at ``step`` (the next one, if left out).

    Read back with ``job.metrics()``. Raises ``TypeError`` and ``ValueError`` for what is no point.
    """
    line = point(name, value, step)
    descriptor = _descriptor()
    if descriptor is not None:
        os.write(descriptor, line)


def log_metrics(values: Mapping[str, SupportsFloat], step: float | None = None) -> None:
    """Log several metrics at one ``step``."""
    lines = b"".join(point(name, value, step) for name, value in values.items())
    descriptor = _descriptor()
    if descriptor is not None and lines:
        os.write(descriptor, lines)


def progress(fraction: SupportsFloat, message: str = "") -> None:
    """Tell how far the job is: ``fraction`` from 0 to 1, and a few words.

    Cheap to call often while the words stay the same: it tells ten a second. Other words are told at once, each time.

    Raises ``ValueError`` for a fraction that is none.
    """
    global _told
    done = _float(fraction)
    if not 0 <= done <= 1:
        raise ValueError(f"progress takes a fraction from 0 to 1, not {fraction!r:.100}: done / all, for example")
    now, text = time.monotonic(), " ".join(str(message or "").split())[:500]
    if done < 1 and text == _told[1] and now - _told[0] < INTERVAL_SECONDS:
        return
    _told = (now, text)
    if FILE not in os.environ:
        return
    kernel = sys.modules.get("IPython")
    shell = kernel.get_ipython() if kernel is not None else None
    if shell is not None and getattr(shell, "kernel", None) is not None:
        shell.display_pub.publish({MIME: {"fraction": done, "message": text}})
    else:
        sys.stdout.write(f"{_LINE} {done!r} {text}".rstrip() + "\n")
        sys.stdout.flush()


def point(name: str, value: SupportsFloat, step: float | None) -> bytes:
    """The line of the file that is this point. Raises ``TypeError`` and ``ValueError`` for what is none."""
    if not isinstance(name, str) or not name or not name.isprintable() or len(name.encode()) > NAME_BYTES:
        raise ValueError(f"a metric's name is a short text on one line, such as 'loss', not {name!r:.100}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"log_metric({name!r}, …) takes one number, not a {type(value).__name__}; of a tensor or a list log "
            "its mean, say, or each element under a name of its own"
        ) from None
    except OverflowError:
        raise ValueError(f"log_metric({name!r}, …) takes a number of up to 1.8e308, not a larger one") from None
    at: Any = "" if step is None else _step(name, step)
    return f"{name}\t{at}\t{number!r}\t{time.time():.3f}\n".encode()


def _step(name: str, step: float) -> str:
    number = _float(step)
    if not math.isfinite(number):
        raise ValueError(f"log_metric({name!r}, …) takes a finite step, not {step!r:.100}")
    return repr(int(number) if number.is_integer() else number)


def _float(value: Any) -> float:
    """NaN for what is no number, or one that no float holds."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _descriptor() -> int | None:
    global _opened
    if _opened is None or _opened[0] != os.getpid():
        path = os.environ.get(FILE)
        if path is None:
            return None
        _opened = (os.getpid(), os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644))
    return _opened[1]


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"In a job, jupyter_trainjob has {', '.join(__all__)} only, not {name!r}: jobs don't send jobs."
    )
