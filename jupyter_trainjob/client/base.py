"""What both faces share: the arguments, and how a verb becomes a method."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .session import Notice, Session

F = TypeVar("F", bound=Callable[..., Any])

_log = logging.getLogger("jupyter_trainjob.client")


def like(op: Callable[..., Any], arguments: int) -> Callable[[F], F]:
    """Give a method the name, the text and the signature of the verb it is, without the verb's first arguments."""

    def dress(method: F) -> F:
        functools.update_wrapper(method, op)
        signature = inspect.signature(op)
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        method.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[own, *list(signature.parameters.values())[arguments:]],
            return_annotation=inspect.Signature.empty,
        )
        del method.__wrapped__  # type: ignore[attr-defined]
        return method

    return dress


class ClientBase:
    """What both clients are made of. See :class:`Client` for the arguments."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        scheme: str = "token",
        namespace: str | None = None,
        environ: Mapping[str, str] | None = None,
        notice: Notice | None = _log.warning,
    ) -> None:
        self._arguments: dict[str, Any] = {
            "url": url,
            "token": token,
            "scheme": scheme,
            "namespace": namespace,
            "environ": environ,
            "notice": notice,
        }
        self.session = Session(url, token, scheme, namespace, environ, notice)
