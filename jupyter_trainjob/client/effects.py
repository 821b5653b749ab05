"""What a verb asks of the outside world, as data.

A verb is a generator: it yields effects, gets their outcomes back, and returns its result. The two transports carry
effects out, one blocking and one on an event loop, so every verb is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, Union

T = TypeVar("T")


@dataclass(frozen=True)
class FileBody:
    """A file that is streamed as a request's body."""

    path: Path
    size: int


@dataclass(frozen=True)
class Request:
    """One HTTP exchange. ``url`` is a path below the API's root until the session completes it.

    ``sink`` takes the body of a 200 or 206 answer in pieces (``sink(status, headers, piece)``), so that it never is in
    memory as a whole; ``timeout_seconds`` is the longest silence. ``apart``: to another than the server, so that no
    cookie which this one gave us goes along.
    """

    method: str
    url: str
    params: tuple[tuple[str, str], ...] = ()
    json: Any = None
    body: bytes | FileBody | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 30.0
    sink: Callable[[int, Mapping[str, str], bytes], None] | None = None
    apart: bool = False

    def sent_to(self, root: str, headers: Mapping[str, str]) -> Request:
        """The same with a full URL and the credential."""
        return replace(self, url=root + self.url, headers={**self.headers, **headers})

    @property
    def idempotent(self) -> bool:
        """Whether doing it twice is the same as once (RFC 9110, 9.2.2)."""
        return self.method in ("GET", "HEAD", "PUT", "DELETE")


@dataclass(frozen=True)
class Response:
    """An answer; ``headers`` have lower-case keys."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Offload:
    """Call something that takes a while without holding up an event loop; the outcome is its value."""

    call: Callable[[], Any]


@dataclass(frozen=True)
class Emit:
    """Hand one item of a stream to the caller."""

    value: Any


Effect = Union[Request, Sleep, Offload, Emit]
Steps = Generator[Effect, Any, T]
"""A verb under way, ending in a ``T``."""


def offload(call: Callable[[], T]) -> Steps[T]:
    """:class:`Offload` with its type kept: ``value = yield from offload(fn)``."""
    value: T = yield Offload(call)
    return value


def request(effect: Request) -> Steps[Response]:
    """:class:`Request` with its type kept."""
    value: Response = yield effect
    return value
