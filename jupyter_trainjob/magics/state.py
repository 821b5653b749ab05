"""What the magics of one kernel remember: the client, the job submitted last, who follows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..client import Client, Job
    from .live import Follower

_client: Client | None = None
_last: Job | None = None
_follower: Follower | None = None


def client() -> Client:
    """The kernel's client, for its main thread."""
    global _client
    if _client is None:
        from ..client import Client

        _client = Client(notice=_notice)
    return _client


def forget_client() -> None:
    """Look for the server anew the next time."""
    global _client
    _client = None


def _notice(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"[trainjob: {text}]\n")
    sys.stderr.flush()


def last() -> Job | None:
    """The job submitted last by this kernel."""
    return _last


def remember(job: Job) -> None:
    """``job`` was just submitted."""
    global _last
    _last = job


def follower() -> Follower:
    """The thread that keeps displays up to date."""
    global _follower
    if _follower is None:
        from .live import Follower

        _follower = Follower()
    return _follower
