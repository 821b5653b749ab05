"""What the runner asks of a language, with the answers for one that it knows nothing of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .values import decode

if TYPE_CHECKING:
    from ..early import Job

_LINE = re.compile(r"^(?:Cell In\[\d+\], )?line (\d+)", re.M)


class ParameterError(Exception):
    """A parameter can't be given to the code. The text names it and says what to do."""


class Language:
    """A language of kernels. Its cells are sent as they are and their output comes over the kernel's messages."""

    comment = "#"
    """What begins a comment."""
    tcp = False
    """Whether its kernels can't talk over ipc."""

    def __init__(self, name: str) -> None:
        self.name = name

    # Parameters

    def literal(self, value: Any, declared: str = "") -> str:
        """A value (see :mod:`.values`) as source on one line that evaluates to it. Raises :class:`ParameterError`.

        ``declared`` is the type that the code gives the variable, where the language has such.
        """
        raise ParameterError(
            f"Parameters can be given to Python, R and Scala; this is {self.name!r}. Read them from a file."
        )

    def declared(self, source: str) -> dict[str, str]:
        """The types that ``source``, a cell of defaults, gives its variables."""
        return {}

    def is_name(self, name: str) -> bool:
        """Whether ``name`` can be a variable's."""
        return name.isidentifier()

    def assignment(self, name: str, literal: str, declared: str) -> str:
        """The statement that sets a variable."""
        return f"{name} = {literal}"

    def parameters(self, values: dict[str, Any], defaults: str = "") -> str:
        """The cell that sets ``values`` (as ``job.json`` has them); ``defaults`` is the cell that it overrides.

        Raises :class:`ParameterError`.
        """
        types = self.declared(defaults)
        lines = [f"{self.comment} Parameters"]
        for name, value in values.items():
            if not self.is_name(name):
                raise ParameterError(f"The parameter {name!r} is no variable name; rename it.")
            declared = types.get(name, "")
            try:
                lines.append(self.assignment(name, self.literal(decode(value), declared), declared))
            except (ParameterError, ValueError) as error:
                raise ParameterError(f"The parameter {name!r} can't be given to the code: {error}") from error
        return "\n".join(lines)

    # The kernel

    def environment(self, job: Job) -> dict[str, str]:
        """Environment variables that keep its kernel within the job's processors and memory."""
        return {}

    def check(self, job: Job) -> None:
        """Whether its kernel can start for the job, within the limits now in force. Raises ``JobFileError``."""

    def command(self, command: list[str], job: Job) -> list[str]:
        """The command that starts a kernel, from its kernelspec's."""
        return command

    def made_before(self, command: list[str], environment: dict[str, str], job: Job) -> dict[str, str]:
        """Variables that bring into the kernel what was compiled for it beforehand; ``environment`` is what it has."""
        return {}

    def compiled(self) -> Language | None:
        """The same language in a kernel that may have our code from its start, which :meth:`greet` finds out."""
        return None

    def greet(self, answer_file: str, mark: bytes, seed: int | None) -> str:
        """Code that does what :meth:`take_over`'s does, in a kernel that has our code, where it writes a file."""
        return ""

    def take_over(self, mark: bytes, seed: int | None = None) -> str:
        """Code that prepares the kernel, run once and silently; empty: there is none. ``seed`` is of random numbers."""
        return ""

    def adopt(self, values: dict[str, str], seed: int | None) -> str:
        """Code that gives a kernel that was taken over before its job was known the job's environment variables and
        seed; empty: it can't wait for a job.
        """
        return ""

    def preload(self, names: list[str]) -> str:
        """Code that loads packages into a kernel that waits for its job, and binds no name of theirs; one that can't be
        loaded is left to the job. Empty: there is none.
        """
        return ""

    adopts_with_code = False
    """Whether what :meth:`adopt` gives is sent with the next code, for each request by itself takes long."""
    rehearsal = ""
    """A cell that does nothing and leaves nothing behind. A kernel that waits for its job runs it some times, where its
    language compiles what is called repeatedly; empty: it need not.
    """

    def cell(self, source_file: str, answer_file: str) -> str:
        """Code that runs the cell in ``source_file`` and leaves how it ended, as JSON, in ``answer_file``.

        Only after :meth:`take_over` succeeded; empty: cells are sent as they are.
        """
        return ""

    def call(self, answer_file: str, function: str, args: tuple[Any, ...]) -> str:
        """Code that calls one of the functions that :meth:`take_over` brought in; empty: it has none."""
        return ""

    def data(self) -> str:
        """Code that is run silently before the first :meth:`call`, after a take-over; empty: there is none."""
        return ""

    def line(self, traceback: str) -> int | None:
        """The cell's line that a kernel's own error text names."""
        found = _LINE.findall(traceback)
        return int(found[-1]) if found else None
