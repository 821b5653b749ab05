"""``jupyter trainjob serve``: the extension alone, for several users, without a browser.

A jupyter_server whose own services (kernels, contents, terminals, sessions, …) are switched off: it answers our
routes, and whoever comes says who they are with a token of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.serverapp import ServerApp
from jupyter_server.serverapp import aliases as server_aliases
from jupyter_server.services.contents.manager import AsyncContentsManager
from tornado.web import RequestHandler
from traitlets import Unicode, default
from traitlets.config import Config

from ..resources.errors import Unavailable
from . import PREFIX
from .identity import bearer
from .tokencommand import default_token_file, token_main
from .tokens import TokenFile, TokenFileError

EXTENSION = "jupyter_trainjob"


@dataclass
class TokenUser(User):
    """A user with what the token file tells of them."""

    groups: tuple[str, ...] = ()
    roles: dict[str, str] = field(default_factory=dict)
    operator: bool = False


class FileIdentityProvider(IdentityProvider):
    """Knows people by the tokens of a file. No cookies, no login page, nobody anonymous."""

    token_file = Unicode(
        help="File of hashed tokens, made by 'jupyter trainjob token create'. "
        "Default: trainjob_tokens.yaml in Jupyter's configuration folder.",
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._file = TokenFile(Path(self.token_file))
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="trainjob-tokens")
        self._file.people()  # at start a file that can't be used is the operator's to see

    @default("token_file")
    def _default_token_file(self) -> str:
        return str(default_token_file())

    @default("token")
    def _no_shared_token(self) -> str:
        return ""

    @property
    def auth_enabled(self) -> bool:
        """Always."""
        return True

    @property
    def login_available(self) -> bool:
        """Never: there is no page to log in at."""
        return False

    @property
    def logout_available(self) -> bool:
        """Never."""
        return False

    async def get_user(self, handler: RequestHandler) -> User | None:
        """Whose token the ``Authorization`` header carries; None for none and for one that nobody has."""
        token = bearer(handler)
        if not token:
            return None
        try:
            person = await asyncio.get_running_loop().run_in_executor(self._reading, self._file.person_of, token)
        except TokenFileError as error:
            self.log.error("%s", error)
            raise Unavailable(
                "The service can't tell who asks: its token file can't be used.", remedy="Tell the operator."
            ) from error
        if person is None:
            return None
        handler._token_authenticated = True  # type: ignore[attr-defined]  # no browser sends it by itself
        return TokenUser(
            username=person.username,
            display_name=person.display_name,
            groups=person.groups,
            roles=dict(person.roles),
            operator=person.operator,
        )

    def trainjob_namespaces(self) -> frozenset[str]:
        """The namespaces that somebody has a role in."""
        return self._file.namespaces()


class NoContents(AsyncContentsManager):
    """Files are not served."""

    def get_extra_handlers(self) -> list[Any]:
        """None: the stock one serves the server's folder at /files."""
        return []

    def info_string(self) -> str:
        """For the start-up message."""
        return "Serving the job API only"


class ServiceApp(ServerApp):
    """A server of the job API for several users."""

    name = "jupyter-trainjob-serve"
    description = "Serve the job API to several users, who say who they are with tokens"
    default_services = ()  # type: ignore[assignment]
    classes = [*ServerApp.classes, FileIdentityProvider]  # noqa: RUF012 - traitlets' way
    aliases = {**server_aliases, "token-file": "FileIdentityProvider.token_file"}  # noqa: RUF012

    @default("identity_provider_class")
    def _identity_by_file(self) -> type[IdentityProvider]:
        return FileIdentityProvider

    @default("config_file_name")
    def _the_servers_own(self) -> str:
        return "jupyter_server_config"  # and not one by our name: operators know it

    @default("contents_manager_class")
    def _no_contents(self) -> type[AsyncContentsManager]:
        return NoContents

    @default("terminals_enabled")
    def _default_terminals_enabled(self) -> bool:
        return False

    @default("default_url")
    def _default_url(self) -> str:
        return f"{PREFIX}/me"


def defaults() -> Config:
    """What differs from a laptop; the operator's configuration goes before it."""
    return Config(
        {
            "ServerApp": {"open_browser": False, "jpserver_extensions": {EXTENSION: True}},
            "TrainJobExtension": {"kernel_access": False},
            "LocalBackendSettings": {"minimum_isolation": "namespaces", "environment_builds": "wheels"},
        }
    )


def serve_main(argv: Sequence[str]) -> int:
    """Serve until a signal comes; the exit status. ``argv``: options as of ``jupyter server``, and ``--token-file``."""
    app = ServiceApp.instance(config=defaults(), jpserver_extensions={EXTENSION: True})
    try:
        app.initialize(list(argv), find_extensions=False)
    except TokenFileError as error:
        app.log.critical("%s", error)
        return 1
    app.start()
    return 0


__all__ = ["FileIdentityProvider", "ServiceApp", "serve_main", "token_main"]
