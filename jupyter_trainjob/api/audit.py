"""The audit log: who steered what, whose it was, and why. One line each, in the log ``jupyter_trainjob.audit``."""

from __future__ import annotations

import logging

from ..resources.base import Resource
from .identity import Identity

log = logging.getLogger("jupyter_trainjob.audit")


def note(identity: Identity, verb: str, resource: Resource, message: str = "") -> None:
    """``ines approve TrainJob ada/digits-x7k2p (of ada): for the contest``"""
    meta = resource.metadata
    name = f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
    whose = f" (of {meta.owner})" if resource.NAMESPACED else ""
    log.info(
        "%s %s %s %s%s%s",
        identity.username,
        verb,
        resource.kind,
        name,
        whose,
        f": {message}" if message else "",
        extra={"by": identity.username, "verb": verb, "kind": resource.kind, "uid": meta.uid, "why": message},
    )
