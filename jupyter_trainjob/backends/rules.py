"""What servers and pods hold alike: the runner's protocol, rules about inputs, and how a limit is told. Standard
library only: pods import it, and the runner, which imports nothing of ours, has the protocol in ``runner/early.py``.
"""

from __future__ import annotations

RUNNER_PROTOCOL = 1
MAX_INPUT_FILES = 50_000
VARIABLE_SUFFIXES = {"cloudpickle": "pkl", "frame": "csv", "json": "json"}
"""Format of variables → what their file's name ends in."""


def size(count: int | None) -> str:
    """Bytes for a person: ``512 MiB``."""
    value = float(count or 0)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def past_time(limit_seconds: float) -> str:
    """What to do about it is said for every backend where the job's end is written down."""
    return f"The job ran longer than its {limit_seconds:.15g} s."


def past_processes(limit: int) -> str:
    """No option asks for more of them."""
    return (
        f"The job wanted more than its {limit} processes and threads. Start fewer, or choose a profile that gives more."
    )


def past_disk(what: str, limit_bytes: int) -> str:
    """``what``: all that counts."""
    return f"{what} took more than its {size(limit_bytes)} of disk. Ask for more with --disk, or write less."


def past_shm(limit_bytes: int | None) -> str:
    """Of the folder in memory."""
    return (
        f"/dev/shm was full: the job has {size(limit_bytes)} of it. "  # noqa: S108 - as the job sees it
        "Ask for more with --shm, or write less there."
    )


class Collision(ValueError):
    """Two inputs would lie in each other's place. The text says which."""


class Paths:
    """The paths at which inputs appear: each once, and none below a file."""

    def __init__(self, taken: dict[str, str] | None = None) -> None:
        self._taken = dict(taken or {})

    def copy(self) -> Paths:
        """Another, with the same paths taken."""
        return Paths(self._taken)

    def claim(self, path: str) -> None:
        """``path`` is a file's from now on, the folders above it are folders'. Raises :class:`Collision`."""
        above = path
        while above := above.rpartition("/")[0]:
            if self._taken.setdefault(above, "folder") == "file":
                raise Collision(f"The input {path!r} can't be placed: {above!r} on its way is a file, another input.")
        if path in self._taken:
            raise Collision(f"The input {path!r} can't be placed: two inputs have this path.")
        self._taken[path] = "file"
