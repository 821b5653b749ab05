"""What a verb needs of the place it is typed in, and how it is found and run."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .table import Verb

if TYPE_CHECKING:
    import argparse

    from ..client import Client, Job


@dataclass
class Context:
    """The place: ``magic`` or ``cli``.

    ``write`` prints text as it is (logs), ``say`` a line, ``tell`` a line beside the output (on standard error).
    ``width`` is the line's width, 0 where it does not matter; ``colour`` whether escape sequences are understood.
    ``last`` is the job submitted last in this process, ``submitted`` is told each new one.
    """

    place: str
    client: Callable[[], Client]
    write: Callable[[str], None]
    tell: Callable[[str], None]
    width: int = 0
    colour: bool = False
    last: Callable[[], Job | None] = lambda: None
    submitted: Callable[[Job], None] = lambda job: None

    def say(self, line: str) -> None:
        """Print a line."""
        self.write(line + "\n")

    def command(self, verb: str, job: Job) -> str:
        """What to type here to do ``verb`` with the job."""
        return f"{'%trainjob' if self.place == 'magic' else 'jupyter trainjob'} {verb} {job.address()}"

    def find(self, name: str, namespace: str | None) -> Job:
        """The job; when a short name was given, which one it stands for is told."""
        job = self.client().job(name, namespace)
        if name not in (job.name, job.uid):
            self.tell(f"{name} is {job.name}")
        return job


@dataclass
class Show:
    """Something to look at: a job, or a list of things of one kind. ``output`` is the format that was asked for."""

    kind: str
    items: list[dict[str, Any]]
    output: str = ""
    single: bool = False
    job: Job | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    """Of other jobs that it names by uid."""


@dataclass
class Value:
    """An object of the user's."""

    value: Any


NAMED = 20
"""Of so many jobs whose outputs a job reads the names are looked up."""


def names_of_parents(client: Client, resource: Mapping[str, Any]) -> dict[str, str]:
    """uid → name of the jobs whose outputs this job reads, of those that are there still and that one may see."""
    from ..client import Forbidden, NotFound

    inputs = (resource.get("spec") or {}).get("inputs") or []
    uids = dict.fromkeys(str(item.get("job")) for item in inputs if item.get("type") == "output")
    found = {}
    for uid in list(uids)[:NAMED]:
        with suppress(NotFound, Forbidden):
            found[uid] = client.job(uid, resource["metadata"].get("namespace")).name
    return found


def run(verb: Verb, context: Context, arguments: argparse.Namespace) -> Any:
    """Do it: a :class:`Show`, a :class:`Value`, an exit status, or None."""
    module, _, function = verb.run.partition(":")
    return getattr(importlib.import_module(f".{module}", __package__), function)(context, arguments)
