"""The audit log: who steered what, whose it was, and why. One line each, in the log ``jupyter_trainjob.audit``."""

from __future__ import annotations

import logging

from .base import Resource

log = logging.getLogger("jupyter_trainjob.audit")

SERVER = "(the server)"
"""Who it was where it was nobody."""


def note(by: str, verb: str, resource: Resource, message: str = "") -> None:
    """``ines approve TrainJob ada/digits-x7k2p (of ada): for the contest``. To be called once it is in the record."""
    meta = resource.metadata
    name = f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
    whose = f" (of {meta.owner})" if resource.NAMESPACED else ""
    log.info(
        "%s %s %s %s%s%s",
        by,
        verb,
        resource.kind,
        name,
        whose,
        f": {message}" if message else "",
        extra={"by": by, "verb": verb, "kind": resource.kind, "uid": meta.uid, "why": message},
    )
