"""Requests to a Kubernetes API server: raw JSON, with a time limit, tried again where that helps, honest where not.

``kubernetes.aio`` finds the server and the credentials (kubeconfig, exec plugins, a pod's service account) and holds
the connections; its typed objects are not used here: reading them costs many times what reading JSON does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import yaml

from ..base import BackendError
from .replies import Expired as Expired
from .replies import Refused as Refused
from .replies import Reply as Reply
from .replies import conflict as conflict
from .replies import failures, judged, message_of, refusal, unreachable

log = logging.getLogger(__name__)

REQUEST_SECONDS = 20.0
"""One request, all in all."""
PATIENCE_SECONDS = 15.0
"""So long a request is tried again; whoever asked has others to look after."""
LONGEST_PAUSE_SECONDS = 10.0
RELOAD_SECONDS = 10.0
"""Credentials are read anew at most this often."""
CLOSE = timedelta(seconds=5)
"""Two clocks that differ by no more agree: answers tell whole seconds, and are on their way."""
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_AGAIN = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Access:
    """How to get at the API server. All empty: a pod's own service account, else the usual kubeconfig."""

    kubeconfig: str = ""
    context: str = ""

    @property
    def file(self) -> str | None:
        """The kubeconfig's path; None for the usual one."""
        return str(Path(self.kubeconfig).expanduser()) if self.kubeconfig else None


class Connection:
    """One API server. Made on the event loop by :meth:`open`; safe for many tasks.

    Every request may be repeated: names are ours, so one that went through although its answer was lost is seen as 409
    (create) or 404 (delete). :attr:`requests` counts all that were sent.
    """

    def __init__(self, access: Access, client: Any) -> None:
        self._access = access
        self._client = client
        self._loaded = time.monotonic()
        self._reloading = asyncio.Lock()
        self._old: list[Any] = []
        self._answered = False
        self.requests = 0
        self._ahead = timedelta()

    @classmethod
    async def open(cls, access: Access) -> Connection:
        """Read the credentials; sends nothing yet. Raises :class:`BackendError` where they can't be used."""
        return cls(access, await _load(access))

    @property
    def address(self) -> str:
        """The server's URL."""
        return str(self._client.configuration.host)

    def now(self) -> datetime:
        """By the cluster's clock, whose times its objects bear: ours may be minutes off."""
        return datetime.now(timezone.utc) + self._ahead

    async def close(self) -> None:
        """Close all connections."""
        for client in (*self._old, self._client):
            await _close(client)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: dict[str, Any] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        patience: float = PATIENCE_SECONDS,
    ) -> Reply:
        """Send it, again and again for ``patience`` seconds while the server is away, busy or broken.

        Raises :class:`BackendError`, permanent where the request itself is refused as wrong, and :class:`Expired`.
        """
        until = time.monotonic() + patience
        tries, reloaded = 0, False
        while True:
            tries += 1
            try:
                reply = await self._once(method, path, query, body, content_type, accept)
                self._answered = True
                if reply.code not in _AGAIN and (reply.code != 401 or reloaded):
                    return judged(reply, self.address)
                failure: BackendError = refusal(reply, self.address)
                wait = back_off(tries) if reply.after is None else reply.after
                if reply.code == 401:
                    reloaded, wait = True, 0.0
                    await self._reload()
            except failures() as error:
                failure, wait = unreachable(error, self.address), back_off(tries)
                if failure.permanent:
                    failure.permanent = not self._answered  # it worked once: somebody will mend it
                    raise failure from error
            if time.monotonic() + wait > until:
                raise failure
            await asyncio.sleep(wait)

    async def patch(self, path: str, patch: dict[str, Any]) -> dict[str, Any] | None:
        """Merge ``patch`` into an object: the object as it is now, None where there is none.

        Raises :class:`BackendError`, for what others write at the same time as well.
        """
        reply = await self.request("PATCH", path, body=patch, content_type=MERGE_PATCH)
        if reply.code == 409:
            raise conflict(reply, f"change {path.rpartition('/')[2]}")
        return reply.body if reply.ok else None

    async def delete(self, path: str, **options: Any) -> bool:
        """Remove an object, with DeleteOptions: whether it was there.

        Raises :class:`BackendError`, for what others write at the same time as well: then it is still there.
        """
        reply = await self.request("DELETE", path, body=options or None)
        if reply.code == 409:
            raise conflict(reply, f"remove {path.rpartition('/')[2]}")
        return reply.ok

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str], silence: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of an answer that goes on and on; broken off after ``silence`` seconds without a byte.

        One try. Raises :class:`BackendError` and :class:`Expired`.
        """
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=silence)
        try:
            response = await self._send("GET", path, query, None, JSON, JSON, timeout)
            try:
                if response.status != 200:
                    reply = await _read(response)
                    if reply.code == 401:
                        await self._reload()
                    if reply.code == 410:
                        raise Expired(message_of(reply))
                    raise refusal(reply, self.address)
                _keep_alive(response)
                yield _lines(response.content)
            finally:
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()  # a stream has no end that one could wait for
                response.close()
        except failures() as error:
            raise unreachable(error, self.address) from error

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: dict[str, Any] | None,
        content_type: str,
        accept: str,
    ) -> Reply:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        response = await self._send(method, path, query, body, content_type, accept, timeout)
        try:
            return await _read(response)
        finally:
            response.release()

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: dict[str, Any] | None,
        content_type: str,
        accept: str,
        timeout: Any,
    ) -> Any:
        self.requests += 1
        client = self._client
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": "jupyter-trainjob"}
        for name in ("BearerToken", "BasicToken"):
            setting = (await client.configuration.auth_settings()).get(name)
            if setting and setting["value"]:
                headers["Authorization"] = setting["value"]
        url = client.configuration.host + path + ("?" + urlencode(query) if query else "")
        answer = await client.rest_client.request(method, url, headers=headers, body=body, _request_timeout=timeout)
        self._compare(answer.response.headers.get("Date"))
        return answer.response

    def _compare(self, told: str | None) -> None:
        """``told``: when an answer was sent, to the second."""
        try:
            ahead = parsedate_to_datetime(told or "") - datetime.now(timezone.utc)
        except (TypeError, ValueError):
            return
        self._ahead = ahead if abs(ahead) > CLOSE else timedelta()

    async def _reload(self) -> None:
        """Read the credentials anew: tokens and certificates are exchanged while a server runs."""
        async with self._reloading:
            if time.monotonic() - self._loaded < RELOAD_SECONDS:
                return
            try:
                new = await _load(self._access)
            except BackendError as error:
                error.permanent = False  # they worked once: whoever exchanges them is not done
                raise
            # That of before ends one exchange later: closing it now would cut requests that are under way.
            ended, self._old = self._old, [self._client]
            self._client, self._loaded = new, time.monotonic()
            for client in ended:
                await _close(client)


def back_off(tries: int, *, longest: float = LONGEST_PAUSE_SECONDS) -> float:
    """Seconds to wait after the ``tries``-th failure in a row: growing, and never the same for two servers."""
    return min(longest, 0.1 * 2.0 ** min(tries, 20)) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


async def _close(client: Any) -> None:
    session = client.rest_client.pool_manager
    if session is not None and session.connector is not None:
        await session.connector.close(abort_ssl=True)  # no farewells: the loop may end before they are said
    await client.close()
    for _ in range(3):  # what was broken off, a handshake perhaps, lets go of its socket in a later turn of the loop
        await asyncio.sleep(0)


async def _load(access: Access) -> Any:
    try:
        return await asyncio.to_thread(_make, access, await _configuration(access))
    except (OSError, ssl.SSLError) as error:
        raise BackendError(
            f"The certificates that {_named(access)} names can't be used: {error}.",
            remedy="Mend it, or get a new one from the cluster's operator.",
            permanent=True,
        ) from error


def _make(access: Access, configuration: Any) -> Any:
    from kubernetes.aio.client import ApiClient

    return ApiClient(configuration)


def _import() -> tuple[Any, Any]:
    try:
        from kubernetes.aio import client, config
    except ImportError as error:
        raise BackendError(
            f"The Kubernetes client can't be imported ({error}).",
            remedy='Install it: pip install "jupyter_trainjob[kubernetes]".',
            permanent=True,
        ) from error
    return client, config


async def _configuration(access: Access) -> Any:
    client, config = await asyncio.to_thread(_import)  # it takes most of a second
    made = client.Configuration()
    made.host = ""
    try:
        if not access.kubeconfig and not access.context and os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(client_configuration=made)
        else:
            await config.load_kube_config(
                config_file=access.file,
                context=access.context or None,
                client_configuration=made,
                persist_config=False,
            )
    except (config.ConfigException, OSError, ValueError, yaml.YAMLError) as error:
        raise BackendError(
            f"{_named(access).capitalize()} can't be used: {error}.",
            remedy="Name a kubeconfig and a context that kubectl works with, or run the server in a pod with a service "
            "account.",
            permanent=True,
        ) from error
    if not made.host:
        raise BackendError(f"{_named(access).capitalize()} names no server.", permanent=True)
    # Else aiohttp looks for a proxy and reads ~/.netrc, in a thread, before each request.
    made.client_session_kwargs = {"trust_env": False}
    made.proxy = made.proxy or _proxy(made.host)
    return made


def _proxy(url: str) -> str | None:
    """That of the environment, for the server at ``url``. One that is spoken to by TLS, or by SOCKS, is passed over:
    its certificate would be held against the cluster's CA.
    """
    seen = urlsplit(url)
    found = "" if proxy_bypass(seen.hostname or "") else getproxies().get(seen.scheme, "")
    if not found:
        return None
    found = found if "://" in found else f"http://{found}"
    if (kind := urlsplit(found).scheme) == "http":
        return found
    log.warning("%s_proxy names a proxy by %s://, which can't be used; %s is asked without one", seen.scheme, kind, url)
    return None


def _named(access: Access) -> str:
    if not access.kubeconfig and not access.context and os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "the pod's service account"
    where = access.kubeconfig or os.environ.get("KUBECONFIG", "") or "~/.kube/config"
    return f"the kubeconfig {where}" + (f" (context {access.context!r})" if access.context else "")


async def _read(response: Any) -> Reply:
    return Reply(response.status, _json(await response.read()), _retry_after(response.headers.get("Retry-After")))


def _keep_alive(response: Any) -> None:
    """A server that vanished without a word is to be noticed before its next bookmark is due."""
    held = response.connection.transport.get_extra_info("socket") if response.connection is not None else None
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if held is not None and hasattr(socket, name):
            held.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = {"message": data[:500].decode("utf-8", "replace").strip()}
    return found if isinstance(found, dict) else {}


def _retry_after(text: str | None) -> float | None:
    """Seconds; spread a little, so that not all who were sent away come back at once."""
    if text is None or not text.strip().isdigit():
        return None
    return float(text) * random.uniform(1.0, 1.2)  # noqa: S311 - no secret


async def _lines(content: Any) -> AsyncIterator[bytes]:
    """Cut by hand: aiohttp's own ``readline`` gives up on lines beyond its buffer."""
    rest: list[bytes] = []
    async for piece in content.iter_any():
        head, newline, tail = piece.partition(b"\n")
        while newline:
            yield b"".join([*rest, head])
            rest = []
            head, newline, tail = tail.partition(b"\n")
        if head:
            rest.append(head)
