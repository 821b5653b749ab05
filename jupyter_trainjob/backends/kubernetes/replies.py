"""What an API server answered, judged: done, to be tried again, or refused, and why, in words for a person. Pure."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from typing import Any

from ...resources.quantity import parse
from ..base import BackendError

_VALUES = frozenset({404, 409})


@dataclass(frozen=True)
class Reply:
    """What the server said: ``code`` is 2xx, or 404 or 409 for the caller to judge; ``body`` is an object or Status."""

    code: int
    body: dict[str, Any] = field(default_factory=dict)
    after: float | None = None
    """After so many seconds the server wants to be asked again."""

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return 200 <= self.code < 300

    @property
    def taken(self) -> bool:
        """Whether what was to be made is there already; any other 409 is a conflict that passes."""
        return self.code == 409 and self.body.get("reason") == "AlreadyExists"


class Refused(BackendError):
    """The server answered, and not with what was wanted. ``status`` is HTTP's."""

    def __init__(self, message: str, reply: Reply, *, remedy: str = "", permanent: bool = False) -> None:
        super().__init__(message, remedy=remedy, permanent=permanent, after=reply.after)
        self.status = reply.code


class Expired(Exception):
    """The place in the server's history that was asked for is no longer there (410)."""


def judged(reply: Reply, address: str) -> Reply:
    """``reply``, where it is a value; raises :class:`Expired` and :class:`Refused` where not."""
    if reply.ok or reply.code in _VALUES:
        return reply
    if reply.code == 410:
        raise Expired(message_of(reply))
    raise refusal(reply, address)


def conflict(reply: Reply, what: str) -> BackendError:
    """A 409 that passes: others write at the same time."""
    return BackendError(f"The cluster could not {what} just now, and is asked again: {message_of(reply)}.")


def refusal(reply: Reply, address: str) -> Refused:
    """Why the server at ``address`` does not do it."""
    said, where = message_of(reply), f"The Kubernetes API server at {address}"
    remedy, permanent = "", False
    if reply.code == 401:
        text = f"{where} does not accept our credentials (401)"
        remedy = "They may have expired: log in again, or get a new kubeconfig or token."
    elif reply.code == 403 and (beyond := beyond_quota(said)) is not None:
        text, permanent = "The namespace's quota does not allow it", bool(beyond)
        remedy = f"It can never hold it: {beyond}. Ask for less, or the operator for more." if beyond else ""
    elif reply.code == 403 and _is_of_object(reply, said):
        text, permanent = "The cluster does not admit it (403)", True
        remedy = "An operator must change the cluster's rules, or the job what it asks for."
    elif reply.code == 403:
        text = f"{where} forbids it (403)"
        remedy = "Give this server's account that right: `jupyter trainjob deploy --dry-run` prints all it needs."
    elif reply.code in (400, 413, 415, 422):
        text, permanent = f"{where} refuses the object ({reply.code})", True
    elif reply.code == 429:
        text = f"{where} is too busy (429)"
    else:
        text = f"{where} failed ({reply.code})"
    return Refused(f"{text}: {said}.", reply, remedy=remedy, permanent=permanent)


PASSING = (
    "is being terminated",
    "status unknown for quota",
    "not yet ready to handle request",
    "error looking up service account",  # of a namespace that is new, until its controller has come to it
)
"""What is said of an object in a 403 and passes by itself."""
_NO_RIGHT = re.compile(r'User "[^"]*" cannot |cannot \w+ resource')
_AMOUNTS = re.compile(r"(requested|limited): ((?:[^\s,=]+=[^\s,]+,?)+)")


def beyond_quota(said: str) -> str | None:
    """What of a quota is exceeded for ever, ``cpu: 8 of 4``; empty where only others' use is in the way.

    None where ``said`` speaks of no exceeded quota.
    """
    if "exceeded quota" not in said:
        return None
    told = {
        what: dict(item.split("=", 1) for item in text.strip(",").split(",")) for what, text in _AMOUNTS.findall(said)
    }
    asked, most = told.get("requested", {}), told.get("limited", {})
    try:
        never = [name for name in asked if name in most and _is_amount(name) and parse(asked[name]) > parse(most[name])]
    except ValueError:
        return ""
    return ", ".join(f"{name}: {asked[name]} of {most[name]}" for name in never)


def _is_amount(name: str) -> bool:
    """Whether a job may ask for more or less of it. A number of pods or Secrets that is 0 means: closed for now."""
    return name not in ("pods", "secrets") and not name.startswith("count/")


def _is_of_object(reply: Reply, said: str) -> bool:
    """Whether a 403 is about this object (admission: Pod Security, a webhook, a policy), and not about our rights."""
    if "denied the request" in said:
        return True
    if _NO_RIGHT.search(said) or any(words in said for words in PASSING):
        return False
    return "is forbidden: " in said and bool((reply.body.get("details") or {}).get("name"))


def message_of(reply: Reply) -> str:
    """What it says of itself, at most 1,000 characters."""
    return str(reply.body.get("message") or reply.body.get("reason") or "no reason given").rstrip(".")[:1000]


def failures() -> tuple[type[BaseException], ...]:
    """What may go wrong on the way to the server and back. Whoever asks has a connection, hence aiohttp."""
    import aiohttp

    return (aiohttp.ClientError, OSError, asyncio.TimeoutError)


def unreachable(error: BaseException, address: str) -> BackendError:
    """Why there is no answer from the server at ``address``."""
    where = f"The Kubernetes API server at {address}"
    cause = _certificate_error(error)
    if cause is not None:
        return BackendError(
            f"{where} shows a certificate that can't be trusted: {cause.verify_message or str(cause)}.",
            remedy="The kubeconfig's certificate-authority(-data) must be the cluster's own, and its server the name "
            "that the certificate is for.",
            permanent=True,
        )
    if isinstance(error, asyncio.TimeoutError):
        return BackendError(f"{where} does not answer in time.", remedy="Look whether it is overloaded or cut off.")
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return BackendError(
            f"{where} can't be reached: the connection was refused.",
            remedy="Look whether it runs, and whether the kubeconfig names the right address and port.",
        )
    return BackendError(f"{where} can't be reached: {str(error) or type(error).__name__}.")


def _certificate_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    at: BaseException | None = error
    for _ in range(5):
        if at is None:
            return None
        inner = getattr(at, "certificate_error", None)  # aiohttp's own, which pretends to be one
        if inner is None and isinstance(at, ssl.SSLCertVerificationError):
            return at
        at = inner or at.__cause__
    return None
