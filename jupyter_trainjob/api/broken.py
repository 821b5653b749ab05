"""What a server answers whose extension could not start: to every request the reason, instead of a bare 404."""

from __future__ import annotations

from typing import Any

from jupyter_server.base.handlers import APIHandler
from tornado import web

from ..resources.errors import Unavailable
from . import PREFIX
from .identity import IdentityService, OnlyIdentity, TrainJobAuth
from .status import StatusErrors


class BrokenHandler(StatusErrors, TrainJobAuth, APIHandler):
    """Says why there is no API, to those who are logged in."""

    def initialize(self, identity: IdentityService, problem: str) -> None:
        """What Tornado hands over from the URL table."""
        self._services = OnlyIdentity(identity)
        self._problem = problem

    @property
    def services(self) -> OnlyIdentity:
        """Just enough to tell who asks."""
        return self._services

    async def _refuse(self, *_: Any, **__: Any) -> None:
        if self.current_user is None:
            raise web.HTTPError(403)
        raise Unavailable(
            f"The job service of this server could not start: {self._problem}",
            remedy="Whoever runs the server finds the details at the top of its log.",
        )

    get = head = post = put = patch = delete = _refuse


def handlers_for_broken(error: Exception, identity: IdentityService) -> list[tuple[str, type[BrokenHandler], Any]]:
    """One route for everything. ``error`` is what stopped the start."""
    return [(PREFIX + r"(?:/.*)?", BrokenHandler, {"identity": identity, "problem": str(error)})]
