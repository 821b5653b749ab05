"""What the parsers of other languages get: next to nothing."""

from __future__ import annotations

import os
import resource
from pathlib import Path


def minimal_environment(programs: Path, temporary: str) -> dict[str, str]:
    """An environment made from nothing: no secret of the server's, no setting of the user's."""
    return {
        "PATH": f"{programs}{os.pathsep}{os.defpath}",
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "en",
        "HOME": temporary,
        "TMPDIR": temporary,
    }


def bound(
    pid: int, *, address_space: int | None = None, cpu_seconds: int | None = None, file_size: int | None = None
) -> None:
    """Limits for a process that has just been started and has been given nothing to read yet; bytes and seconds.

    Where the system has no such call (not Linux) the caller's clock alone bounds it.
    """
    if not hasattr(resource, "prlimit"):
        return
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: address_space,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: file_size,
    }
    for kind, value in limits.items():
        if value is not None:
            try:
                resource.prlimit(pid, kind, (value, value))
            except ProcessLookupError:
                return  # it has ended already
