"""Who is behind a request. :meth:`IdentityService.identity_for` is the one place that says it.

With jupyter_server's stock token or password, which names nobody (it invents a user per request), every
authenticated request is the one configured local user, an operator. With any other identity provider it is
``current_user.username``, with what the provider tells of groups and roles.
"""

from __future__ import annotations

import hmac
import inspect
import logging
import os
import pwd
import re
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from jupyter_core.utils import ensure_async
from jupyter_server import CallContext
from jupyter_server.auth.identity import IdentityProvider, LegacyIdentityProvider, User
from jupyter_server.auth.login import LegacyLoginHandler
from jupyter_server.base.handlers import JupyterHandler
from tornado.web import RequestHandler

from ..resources import names
from ..resources.errors import Forbidden, Unauthorized

log = logging.getLogger(__name__)

ROLE_WORDS = ("viewer", "member", "instructor")
"""What one can be in a namespace or of a queue, beside operator of all."""

QUEUE_PREFIX = "queue:"
"""Before a queue's name in :attr:`Identity.roles`."""

_AUTHORIZATION = re.compile(r"(?P<scheme>trainjob|token|bearer)\s+(?P<token>\S+)\s*\Z", re.IGNORECASE)
_SAYS_WHO = (
    "get_user",
    "_get_user",
    "get_user_token",
    "get_user_cookie",
    "user_from_cookie",
    "generate_anonymous_user",
)
"""A provider that overrides one of these knows people; one that overrides none is a stock one."""


@dataclass(frozen=True)
class Identity:
    """One person, as the checks see them."""

    username: str
    display_name: str = ""
    groups: frozenset[str] = frozenset()
    operator: bool = False
    roles: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Namespace, or ``queue:<name>`` → viewer, member or instructor."""
    inherited: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    """Queue → the roles that come from those above it: see :meth:`.Roles.resolved`."""

    @property
    def namespace(self) -> str:
        """The person's own namespace."""
        return names.slug(self.username)

    @property
    def queues(self) -> frozenset[str]:
        """Those that the person has a role in."""
        own = (place.removeprefix(QUEUE_PREFIX) for place in self.roles if place.startswith(QUEUE_PREFIX))
        return frozenset(own) | frozenset(self.inherited)

    def roles_in(self, queue: str) -> frozenset[str]:
        """The roles in the queue: its own, and those in the queues above it."""
        own = self.roles.get(QUEUE_PREFIX + queue)
        return self.inherited.get(queue, frozenset()) | ({own} if own is not None else frozenset())


def default_local_user() -> str:
    """The OS user that the server runs as (from its uid, not from a variable that anybody can set)."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def bearer(handler: RequestHandler) -> str:
    """The token of the ``Authorization`` header, whatever of our three schemes it came by; ``""`` without one."""
    match = _AUTHORIZATION.match(handler.request.headers.get("Authorization", ""))
    return match["token"] if match else ""


def is_stock(provider: IdentityProvider) -> bool:
    """Whether ``provider`` tells only that a request is allowed, and not whose it is."""
    if isinstance(provider, LegacyIdentityProvider):
        return provider.login_handler_class is LegacyLoginHandler
    kind = type(provider)
    return all(getattr(kind, name) is getattr(IdentityProvider, name) for name in _SAYS_WHO)


class IdentityService:
    """Knows the local user, the kernels' token and who operates.

    ``kernel_token`` is what the extension minted and put into its own environment; ``""`` accepts none.
    ``operators`` are user names (beside those that the provider calls operators).
    """

    def __init__(self, *, local_user: str = "", kernel_token: str = "", operators: Collection[str] = ()) -> None:
        self.local_user = local_user or default_local_user()
        self.operators = frozenset(operators)
        self._kernel_token = kernel_token.encode()

    def kernel_user(self, handler: RequestHandler) -> User | None:
        """The local user, if the request carries the kernels' token; None if it does not."""
        given = bearer(handler).encode()
        if self._kernel_token and given and hmac.compare_digest(given, self._kernel_token):
            return User(username=self.local_user)
        return None

    async def identity_for(self, handler: JupyterHandler) -> Identity:
        """Whose request this is. Raises :class:`Unauthorized` where nobody is known.

        To be called after ``prepare`` (see :class:`TrainJobAuth`), which did the authentication.
        """
        user = handler.current_user
        if user is None:
            raise unauthorized(handler)
        provider = handler.identity_provider
        if is_stock(provider):
            return Identity(self.local_user, self.local_user, operator=True)
        username = str(user.username)
        return Identity(
            username=username,
            display_name=str(user.display_name or username),
            groups=frozenset(str(group) for group in await _told(provider, user, "groups") or ()),
            operator=username in self.operators or await _told(provider, user, "operator") is True,
            roles=_checked_roles(username, await _told(provider, user, "roles") or {}),
        )


async def _told(provider: IdentityProvider, user: User, what: str) -> Any:
    """``user.<what>``, else ``provider.trainjob_<what>``; either may be a function (the provider's: of the user)."""
    value = getattr(user, what, None)
    if callable(value):
        value = value()
    if value is None:
        value = getattr(provider, f"trainjob_{what}", None)
        if callable(value):
            value = value(user)
    return await value if isinstance(value, Awaitable) else value


def _checked_roles(username: str, roles: Mapping[str, str]) -> Mapping[str, str]:
    """``roles`` without what we don't know: a word we can't read gives no right."""
    for place, role in roles.items():
        if role not in ROLE_WORDS:
            log.error(
                "The identity provider calls %s %r in %s; known roles are %s. Ignored.",
                username,
                role,
                place,
                ", ".join(ROLE_WORDS),
            )
    return MappingProxyType({place: role for place, role in roles.items() if role in ROLE_WORDS})


def unauthorized(handler: RequestHandler) -> Unauthorized:
    """The answer to a request behind which nobody is known: with a wrong token, or with none."""
    if bearer(handler) or handler.get_argument("token", ""):
        return Unauthorized(
            "The token is not one that this server knows.",
            remedy="It may be that of a server that ended: restart the kernel, or set JUPYTER_TRAINJOB_TOKEN anew.",
        )
    remedy = "Send the header 'Authorization: token <token>'"
    if isinstance(handler, JupyterHandler) and handler.login_available:
        remedy += ", or log in with the browser"
    return Unauthorized("The request carries no token, and no one is logged in.", remedy=remedy + ".")


class HasIdentity(Protocol):
    """What :class:`TrainJobAuth` needs of a handler's ``services``."""

    @property
    def identity(self) -> IdentityService:
        """The service that says who asks."""


@dataclass(frozen=True)
class OnlyIdentity:
    """All the services that a handler has which only has to know who asks."""

    identity: IdentityService


class TrainJobAuth(JupyterHandler):
    """First base of every handler of ours, HTTP and websocket alike: authentication.

    Takes the kernels' token, which no other handler of the server does, and else asks the server's identity
    provider. A request of nobody is :class:`Unauthorized` (never a redirect to a login page). The handler
    offers ``services`` and turns the errors of ``resources/errors.py`` into answers.
    """

    @property
    def services(self) -> HasIdentity:
        """The extension's services."""
        raise NotImplementedError

    async def prepare(self, *, _redirect_to_login: bool = False) -> None:
        """Say who asks, or refuse. Raises :class:`Unauthorized` and :class:`Forbidden`."""
        CallContext.set(CallContext.JUPYTER_HANDLER, self)
        self.current_user = self._jupyter_current_user = None
        if not self.check_host():
            raise Forbidden(
                f"This server does not answer to the name {self.request.host}.",
                remedy="Use the address that the server told at its start, or set ServerApp.allow_remote_access.",
            )
        user = self.services.identity.kernel_user(self)
        if user is not None:
            self.current_user = self._jupyter_current_user = user
            self._token_authenticated = True  # no browser sends it by itself: neither XSRF nor origin matter
            return
        del self._jupyter_current_user  # the stock provider takes an attribute for an answer
        user = await ensure_async(self.identity_provider.get_user(self))
        self.current_user = self._jupyter_current_user = user
        if user is None:
            if _open_to_all(self):
                return
            raise unauthorized(self)
        self.set_cors_headers()
        if self.request.method not in {"GET", "HEAD", "OPTIONS"}:
            self.check_xsrf_cookie()
        if not self.check_origin():
            raise Forbidden(f"Pages of {self.get_origin()} may not use this server.")


def _open_to_all(handler: JupyterHandler) -> bool:
    """Whether the method is marked ``@allow_unauthenticated``."""
    method = getattr(handler, (handler.request.method or "").lower(), None)
    return bool(inspect.isroutine(method) and getattr(method, "__allow_unauthenticated", False))
