"""What an attack is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ....resources.isolation import LEVELS

EVERY = frozenset(LEVELS)
LOCKED = EVERY - {"process"}
"""Levels that hold files, network and system calls."""
NAMESPACES = LOCKED - {"landlock+seccomp"}
COUNTED = frozenset({"namespaces+cgroups"})
NOWHERE: frozenset[str] = frozenset()

Seen = Literal["said", "secret", "ends", "outlives", "log", "notebook", "stored", "believed", "expected", "claims"]
"""How its success shows:

- ``said``: it calls ``got``
- ``secret``: a secret of the suite's comes out, in what it prints
- ``ends``: it still runs when its time and its grace are over
- ``outlives``: a process of it is there when the job has ended
- ``log``, ``notebook``: what is kept of its output is larger than what may be
- ``stored``: a secret of the suite's lies among what was kept of its files
- ``believed``: the job counts as one that went well
- ``claims``: what counts as its word is larger than such words may be, or holds what is none
- ``expected``: the job's end is not told with the reason in ``expects``
"""


@dataclass(frozen=True)
class Attack:
    """One attack. ``code`` is Python behind :data:`.harness.PRELUDE`."""

    name: str
    what: str
    """For people."""
    code: str
    by: str
    """What holds it, where it is claimed to be held."""
    claimed: frozenset[str] = LOCKED
    """The levels at which it is."""
    seen: Seen = "said"
    alone: bool = False
    """Whether it has a job for itself, as its cell; else it is one process among others of a job."""
    expects: str = ""
    root: bool = False
    """Whether it takes root to show that it succeeds without a sandbox."""
    resources: dict[str, Any] = field(default_factory=dict)
    seconds: int = 30
    """Its time limit."""
    network: bool = False
    """Whether jobs may do it that were given the machine's network."""
