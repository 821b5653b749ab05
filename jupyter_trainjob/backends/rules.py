"""What servers and pods hold alike: the runner's protocol, and rules about inputs. Standard library only: pods import
it, and the runner, which imports nothing of ours, has the protocol in ``runner/early.py``.
"""

from __future__ import annotations

RUNNER_PROTOCOL = 1
MAX_INPUT_FILES = 50_000
VARIABLE_SUFFIXES = {"cloudpickle": "pkl", "frame": "csv", "json": "json"}
"""Format of variables → what their file's name ends in."""


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
