"""REST: handlers, identity, roles and the domain behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .services import Services
    from .status import StatusErrors

PREFIX = "/trainjob/api/v1"
"""Where the API lies, below the server's base URL. The client, which imports nothing of ours, writes it once more."""


def handlers_for(services: Services) -> list[tuple[str, type[StatusErrors], dict[str, Any]]]:
    """Tornado's URL specs for the API, without the server's base URL.

    The application that they are added to has ``services`` in ``settings["trainjob"]``.
    """
    from .handlers.routes import known_requests, url_specs

    services.metrics.expect(known_requests())
    return url_specs()
