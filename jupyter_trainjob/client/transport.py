"""The two that carry effects out: :class:`SyncTransport` and :class:`AsyncTransport`, both on httpx.

httpx is imported when the first request is made: it takes 0.1 s, and kernels load the magic without using it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .effects import Effect, Emit, FileBody, Offload, Request, Response, Sleep, Steps
from .errors import ConnectionLost

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
_PIECE = 1024 * 1024
_CONNECT_SECONDS = 5.0
_LOOPBACK = ("127.", "localhost", "[::1]", "::1")


def _options(request: Request) -> dict[str, Any]:
    """Arguments of httpx's client: no proxy towards this machine, no TLS context (20 ms) where none is used."""
    host = request.url.split("://", 1)[-1]
    return {
        "trust_env": not host.startswith(_LOOPBACK),
        "verify": request.url.startswith("https"),
        "follow_redirects": False,
    }


def _arguments(request: Request, content: Any) -> dict[str, Any]:
    import httpx

    headers = dict(request.headers)
    if isinstance(request.body, FileBody):
        headers["content-length"] = str(request.body.size)
    arguments: dict[str, Any] = {
        "params": list(request.params) or None,
        "headers": headers,
        "timeout": httpx.Timeout(request.timeout_seconds, connect=_CONNECT_SECONDS),
    }
    if request.json is not None:
        arguments["json"] = request.json
    elif content is not None:
        arguments["content"] = content
    return arguments


def _lost(request: Request, error: Exception) -> ConnectionLost:
    import httpx

    sent = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    what = str(error) or type(error).__name__
    return ConnectionLost(f"No answer from {request.url.split('/trainjob/', 1)[0]} ({what}).", sent=sent)


def _headers(response: httpx.Response) -> Mapping[str, str]:
    return {key.lower(): value for key, value in response.headers.items()}


def _streams(request: Request, status: int) -> bool:
    return request.sink is not None and status in (200, 206)


class SyncTransport:
    """Carries effects out in the calling thread. Not for several threads at once."""

    def __init__(self) -> None:
        self._http: dict[str, httpx.Client] = {}

    def close(self) -> None:
        """Close the connections; using the transport again opens new ones."""
        while self._http:
            self._http.popitem()[1].close()

    def run(self, steps: Steps[T]) -> T:
        """The result of a verb that streams nothing."""
        stream = self.iterate(steps)
        while True:
            try:
                next(stream)
            except StopIteration as stop:
                value: T = stop.value
                return value

    def iterate(self, steps: Steps[T]) -> Generator[Any, None, T]:
        """The items that a verb streams; the generator's value is the verb's result."""
        try:
            effect = next(steps)
            while True:
                if isinstance(effect, Emit):
                    yield effect.value
                    effect = steps.send(None)
                    continue
                try:
                    outcome = self._perform(effect)
                except BaseException as error:  # the verb decides, also about an interrupt
                    effect = steps.throw(error)
                else:
                    effect = steps.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            steps.close()

    def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Request):
            return self._exchange(effect)
        if isinstance(effect, Sleep):
            time.sleep(effect.seconds)
            return None
        assert isinstance(effect, Offload)
        return effect.call()

    def _exchange(self, request: Request) -> Response:
        import httpx

        options = _options(request)
        key = f"{options}{request.apart}"
        if key not in self._http:
            self._http[key] = httpx.Client(**options)
        try:
            with self._http[key].stream(
                request.method, request.url, **_arguments(request, _sync_content(request))
            ) as answer:
                headers = _headers(answer)
                if request.sink is not None and _streams(request, answer.status_code):
                    for piece in answer.iter_bytes(_PIECE):
                        request.sink(answer.status_code, headers, piece)
                    return Response(answer.status_code, headers, b"")
                return Response(answer.status_code, headers, answer.read())
        except httpx.TransportError as error:
            raise _lost(request, error) from error


def _sync_content(request: Request) -> bytes | Iterator[bytes] | None:
    if isinstance(request.body, FileBody):
        return _read(request.body)
    return request.body


def _read(body: FileBody) -> Iterator[bytes]:
    with body.path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


class AsyncTransport:
    """Carries effects out on the running event loop; file access goes to threads."""

    def __init__(self) -> None:
        self._http: dict[str, httpx.AsyncClient] = {}

    async def close(self) -> None:
        """Close the connections; using the transport again opens new ones."""
        while self._http:
            await self._http.popitem()[1].aclose()

    async def run(self, steps: Steps[T]) -> T:
        """The result of a verb that streams nothing."""
        try:
            effect = next(steps)
            while True:
                effect = await self._advance(steps, effect)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except _Ended as ended:
            result = ended.value
            return result
        finally:
            steps.close()

    async def iterate(self, steps: Steps[Any]) -> AsyncIterator[Any]:
        """The items that a verb streams."""
        try:
            try:
                effect = next(steps)
            except StopIteration:
                return
            while True:
                if isinstance(effect, Emit):
                    yield effect.value
                effect = await self._advance(steps, effect)
        except _Ended:
            return
        finally:
            steps.close()

    async def _advance(self, steps: Steps[Any], effect: Effect) -> Effect:
        # StopIteration can't pass through a coroutine (PEP 479), so the end travels as _Ended.
        try:
            try:
                outcome = await self._perform(effect)
            except BaseException as error:  # the verb decides, also about a cancellation
                return steps.throw(error)
            return steps.send(outcome)
        except StopIteration as stop:
            raise _Ended(stop.value) from None

    async def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Request):
            return await self._exchange(effect)
        if isinstance(effect, Sleep):
            return await asyncio.sleep(effect.seconds)
        if isinstance(effect, Offload):
            return await asyncio.to_thread(effect.call)
        return None

    async def _exchange(self, request: Request) -> Response:
        import httpx

        options = _options(request)
        key = f"{options}{request.apart}"
        if key not in self._http:
            self._http[key] = httpx.AsyncClient(**options)
        try:
            async with self._http[key].stream(
                request.method, request.url, **_arguments(request, _async_content(request))
            ) as answer:
                headers = _headers(answer)
                if request.sink is not None and _streams(request, answer.status_code):
                    async for piece in answer.aiter_bytes(_PIECE):
                        await asyncio.to_thread(request.sink, answer.status_code, headers, piece)
                    return Response(answer.status_code, headers, b"")
                return Response(answer.status_code, headers, await answer.aread())
        except httpx.TransportError as error:
            raise _lost(request, error) from error


class _Ended(Exception):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


def _async_content(request: Request) -> bytes | AsyncIterator[bytes] | None:
    if isinstance(request.body, FileBody):
        return _aread(request.body)
    return request.body


async def _aread(body: FileBody) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(body.path.open, "rb")
    try:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
    finally:
        await asyncio.to_thread(file.close)
