"""One conversation with a server: finds it, adds the credential, tries again where safe, raises what it says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from . import errors
from .discovery import Connection, discover
from .effects import Request, Response, Sleep, Steps, request

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_LONGEST_ASKED_SECONDS = 30.0
"""How long a pause the server may ask for; one that is longer than the patience is told instead."""
PATIENCE_SECONDS = 10.0
"""How long a plain request goes on trying while the server can't be reached."""
FOLLOW_PATIENCE_SECONDS = 900.0
"""How long ``wait`` and following a log outlast a server that is away."""

Notice = Callable[[str], None]


class Session:
    """What all verbs of one client share. Not for several threads at once."""

    def __init__(
        self,
        url: str | None,
        token: str | None,
        scheme: str,
        namespace: str | None,
        environ: Mapping[str, str] | None,
        notice: Notice | None,
    ) -> None:
        self._url, self._token, self._scheme = url, token, scheme
        self._namespace = namespace
        self._environ = environ
        self._connection: Connection | None = None
        self.notice = notice
        self.store_reached = True
        """Whether downloads may come from the object store itself, as far as was seen."""

    def connection(self) -> Steps[Connection]:
        """The server, found at the first call."""
        if self._connection is None:
            self._connection = yield from discover(self._url, self._token, self._scheme, self._environ)
        return self._connection

    def namespace(self, namespace: str | None) -> Steps[str]:
        """``namespace``, or the client's, or the person's own as the server tells it."""
        chosen = namespace or self._namespace
        if chosen:
            return chosen
        me = (yield from self.connection()).me
        if me.get("namespace"):
            return str(me["namespace"])
        spaces = me.get("namespaces") or []
        return str(spaces[0]["name"] if spaces else me["username"])

    def call(self, effect: Request, *, patience: float = PATIENCE_SECONDS) -> Steps[Response]:
        """The answer to ``effect`` if it is below 400, else the exception for it.

        An idempotent request is repeated with growing pauses for ``patience`` seconds while the server can't be
        reached (or a proxy says so: 502, 503, 504); any other one only if it never left. Long patience says
        "reconnecting" once through ``notice``.
        """
        endpoint = (yield from self.connection()).endpoint
        effect = effect.sent_to(endpoint.root, endpoint.headers)
        pause, began, told = _FIRST_PAUSE_SECONDS, time.monotonic(), False
        while True:
            lost: errors.TrainJobError
            try:
                answer = yield from request(effect)
            except errors.ConnectionLost as error:
                lost = error
                # A body that was streamed halfway can't be asked for again from here: the sink has taken its part.
                again = (effect.idempotent and effect.sink is None) or not error.sent
            else:
                if answer.status < 400 or answer.status == 416:
                    if told and self.notice:
                        self.notice("connected again")
                    return answer
                if answer.status == 401 or (answer.status == 403 and b'"Status"' not in answer.body):
                    raise endpoint.refused(answer.status)
                lost = errors.from_response(answer.status, answer.body, endpoint.server)
                again = answer.status in (502, 503, 504) and effect.idempotent
            left = patience - (time.monotonic() - began)
            asked = min(lost.retry_after_seconds or 0, _LONGEST_ASKED_SECONDS)
            if not again or pause > left or asked > patience:
                raise _explained(lost, effect) from lost.__cause__
            if patience > PATIENCE_SECONDS and not told and self.notice:
                self.notice(f"reconnecting to {endpoint.server} …")
                told = True
            yield Sleep(max(pause, min(asked, left)))  # a last try when the patience ends
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def json(self, effect: Request, *, patience: float = PATIENCE_SECONDS) -> Steps[dict[str, Any]]:
        """The answer as a JSON object."""
        answer = yield from self.call(effect, patience=patience)
        if not answer.body:
            return {}
        try:
            value = json.loads(answer.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise errors.ServerError(
                f"The answer to {effect.method} {effect.url} is not a JSON object.",
                remedy="Something between here and the server may have answered, such as a proxy's login page: check "
                "the url and the token.",
            )
        return value


def _explained(error: errors.TrainJobError, effect: Request) -> errors.TrainJobError:
    if isinstance(error, errors.ConnectionLost) and not error.remedy:
        if error.sent and not effect.idempotent:
            error.remedy = "It may have been carried out or not: look with %trainjob list before you do it again."
        else:
            error.remedy = "Look whether the server runs; jobs that run go on without it."
    elif error.retry_after_seconds and not error.remedy:
        error.remedy = f"Try again in {error.retry_after_seconds:g} s."
    return error
