"""How strongly a job is kept apart from the machine and from others. Standard library only: supervisors import this."""

from __future__ import annotations

from typing import Literal, get_args

Isolation = Literal["process", "landlock+seccomp", "namespaces", "namespaces+cgroups"]
LEVELS: tuple[Isolation, ...] = get_args(Isolation)
"""From weak to strong."""
