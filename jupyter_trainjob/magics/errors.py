"""Errors as a notebook shows them: a line, or the job's own traceback, without this package's frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from IPython.core.error import UsageError

from ..client import ConnectionLost, InputError, ServerNotFound, TrainJobError, Unauthorized
from ..verbs.parser import UsageProblem
from . import state


class Detached(KeyboardInterrupt):
    """Waiting was interrupted; the job goes on. Stops "run all", since what the next cells need is not there."""

    def _render_traceback_(self) -> list[str]:
        return [f"Detached: {self}"]


@contextmanager
def clean_errors() -> Iterator[None]:
    """Turn what the client raises into what a notebook shows well."""
    try:
        yield
    except (UsageProblem, InputError) as error:
        raise UsageError(str(error)) from None
    except TrainJobError as error:
        if isinstance(error, (ServerNotFound, ConnectionLost, Unauthorized)):
            state.forget_client()  # the server may be elsewhere by now: look for it anew the next time
        raise error from None
