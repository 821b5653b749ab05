"""``%%trainjob`` and ``%trainjob``. Every kernel loads this module: it holds names and options, and no client."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments

from ..verbs.options import CELL_OPTIONS

IN_JOB_VARIABLE = "TRAINJOB_JOB_UID"
"""Set in a job's environment, where there is no server to ask."""

Magic = Callable[..., Any]


def cell_options(function: Magic) -> Magic:
    """Decorator: the options of a job, as arguments of the magic."""
    for item in reversed(CELL_OPTIONS):
        function = argument(*item.flags, **item.settings)(function)  # type: ignore[no-untyped-call]
    decorated: Magic = magic_arguments("%trainjob")(function)  # type: ignore[no-untyped-call]
    decorated.parser.allow_abbrev = False  # type: ignore[attr-defined]
    return decorated


@magics_class
class TrainJobMagics(Magics):
    """The two magics of one name."""

    @cell_options
    @cell_magic("trainjob")  # type: ignore[arg-type]
    def cell(self, line: str, cell: str) -> Any:
        """Send this cell away as a job. It returns at once; the output follows the job.

        %%trainjob --name digits --cpu 2 --memory 2Gi --time-limit 10m --out model,score

        Afterwards: %trainjob last, %trainjob logs digits -f, %trainjob results digits score.
        """
        from .cell import run_cell

        return run_cell(self.shell, type(self).cell.parser, line, cell)  # type: ignore[attr-defined]

    @line_magic("trainjob")  # type: ignore[arg-type]
    def line(self, line: str) -> Any:
        """Look at jobs and act on them: ``%trainjob help`` lists the verbs, ``%trainjob help VERB`` explains one."""
        from .line import run_line

        return run_line(self.shell, line)


def with_body(lines: list[str]) -> list[str]:
    """A cell that is the ``%%trainjob`` line alone gets an empty line below: IPython itself refuses such a cell before
    anybody can show ``--help``, and advises the other magic."""
    alone = len(lines) == 1 and lines[0].split()[:1] == ["%%trainjob"]
    return [lines[0].rstrip("\n") + "\n", "\n"] if alone else lines


def load_ipython_extension(shell: Any) -> None:
    """Register both. Inside a job the runner has its own: there, such cells run in place."""
    if not os.environ.get(IN_JOB_VARIABLE):
        shell.register_magics(TrainJobMagics)
        transformers = shell.input_transformers_cleanup
        if all(getattr(one, "__name__", "") != with_body.__name__ for one in transformers):
            transformers.append(with_body)
