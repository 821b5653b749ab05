"""Verbs that take several names do what they can: one that fails keeps none of the others from being done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..client import ConnectionLost, ServerNotFound, TrainJobError, Unauthorized


class Several:
    """The names, and what went wrong with which."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(dict.fromkeys(names))
        self.failed: dict[str, TrainJobError] = {}

    @contextmanager
    def one(self, name: str) -> Iterator[None]:
        """Keep an error for later; not one that all the others would meet as well."""
        try:
            yield
        except (ServerNotFound, ConnectionLost, Unauthorized):
            raise
        except TrainJobError as error:
            if len(self.names) == 1:
                raise
            self.failed[name] = error

    @contextmanager
    def all(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Where an error ends it for all, ``tell`` first what went wrong until then."""
        try:
            yield
        except (ServerNotFound, ConnectionLost, Unauthorized):
            for line in self.lines():
                tell(line)
            raise

    def lines(self) -> list[str]:
        """Each failure in its own words, with the name that was typed where they don't have it."""
        return [self.line(name) for name in self.failed]

    def line(self, name: str) -> str:
        """The failure of one, that way."""
        text = str(self.failed[name])
        return text if name in text else f"{name}: {text}"

    def finish(self) -> None:
        """Raise what went wrong, if anything did."""
        if self.failed:
            count = f"This failed for {len(self.failed)} of {len(self.names)} jobs."
            raise TrainJobError("\n".join([*self.lines(), count]))
