"""Fetch what the operator allows jobs to name by URI: bounded in size and time, never out of the allow-list.

Runs in a thread of the server, outside every sandbox. A file is reached step by step from the allowed folder, without
following links; a redirect is followed only to another allowed place. At the deadline the connection is cut, so that a
server that sends a byte now and then holds the thread no longer than one that sends none.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import socket
import ssl
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Protocol

from ...resources.quantity import format_bytes
from ...resources.uris import Uri, UriError, allowed, without_credentials
from ..base import BackendError

PIECE_BYTES = 1024**2
SILENCE_SECONDS = 30.0
LOOK_SECONDS = 0.5
"""How soon a fetch finds out that nobody wants it any more."""
_PASSING = (408, 425, 429)
"""Refusals that another try may not meet."""
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True)
class FetchRules:
    """What may be fetched: URI prefixes, the bytes of one file, and the seconds for all of one job's."""

    prefixes: tuple[str, ...] = ()
    maximum_bytes: int = 4 * 1024**3
    maximum_seconds: float = 600.0


class _Stream(Protocol):
    def read1(self, size: int) -> bytes:
        """What is there, at most ``size`` bytes; none at the end."""


def fetch(
    text: str,
    target: str,
    rules: FetchRules,
    *,
    deadline: float | None = None,
    took: Callable[[int], None] = lambda count: None,
    going_on: Callable[[], None] = lambda: None,
) -> tuple[str, int]:
    """Put what ``text`` names into the new file ``target``; its digest and its size in bytes.

    ``deadline``: of :func:`time.monotonic`, that of all the job's files; without it the rules' seconds count from
    now. ``took`` is called with the size of each piece, before it is written, and may raise; ``going_on`` from
    another thread, too: where it raises, the connection is cut.
    Blocks. Raises :class:`BackendError`, which is permanent unless trying again may help.
    """
    with pieces(text, rules, deadline=deadline, going_on=going_on) as found, open(target, "xb") as file:
        digest, size = hashlib.sha256(), 0
        for piece in found:
            took(len(piece))
            digest.update(piece)
            file.write(piece)
            size += len(piece)
    return f"sha256:{digest.hexdigest()}", size


@contextmanager
def pieces(
    text: str,
    rules: FetchRules,
    *,
    deadline: float | None = None,
    going_on: Callable[[], None] = lambda: None,
) -> Iterator[Iterator[bytes]]:
    """What ``text`` names as it comes, none of it kept. Arguments and errors, also while it comes, as :func:`fetch`."""
    deadline = time.monotonic() + rules.maximum_seconds if deadline is None else deadline
    try:
        uri, prefix = allowed(text, rules.prefixes)
    except UriError as error:
        raise BackendError(f"The input can't be fetched: {error}.", permanent=True) from None
    opened = _open_file(uri, prefix, text) if uri.scheme == "file" else _open_http(text, rules, deadline, going_on)
    with opened as stream:
        yield _pieces(stream, without_credentials(text), rules, deadline, going_on)


def _pieces(
    stream: _Stream, text: str, rules: FetchRules, deadline: float, going_on: Callable[[], None]
) -> Iterator[bytes]:
    size = 0
    while True:
        try:
            piece = stream.read1(PIECE_BYTES)
        except (OSError, HTTPException) as error:
            going_on()
            if time.monotonic() >= deadline:
                raise _too_late(text, rules) from None
            raise BackendError(f"{text} broke off after {size} bytes: {error}.") from error
        going_on()
        if time.monotonic() >= deadline:  # also at the end: it may be where the connection was cut
            raise _too_late(text, rules)
        if not piece:
            return
        size += len(piece)
        if size > rules.maximum_bytes:
            raise _too_large(text, rules)
        yield piece


def _too_late(text: str, rules: FetchRules) -> BackendError:
    return BackendError(
        f"{text} did not come within {rules.maximum_seconds:.0f} s, which is what all URIs of a job may take together.",
        remedy="Ask the operator for more time, or for the data in a nearer place.",
        permanent=True,
    )


def _too_large(text: str, rules: FetchRules) -> BackendError:
    return BackendError(
        f"{text} has more than {format_bytes(rules.maximum_bytes)}, which is what one input may have.",
        remedy="Ask the operator for a larger limit, or for the data in parts.",
        permanent=True,
    )


@contextmanager
def _open_file(uri: Uri, prefix: Uri, text: str) -> Iterator[_Stream]:
    """The regular file, reached from the allowed folder without following links."""
    inside = uri.parts[len(prefix.parts) :] or uri.parts[-1:]
    trusted = uri.parts[: len(uri.parts) - len(inside)]
    try:
        current = os.open("/" + "/".join(trusted), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in inside[:-1]:
                step = os.open(name, _STEP, dir_fd=current)
                os.close(current)
                current = step
            descriptor = os.open(inside[-1], _FILE, dir_fd=current)
        finally:
            os.close(current)
    except OSError as error:
        why = "it is a link, or lies behind one" if error.errno in (errno.ELOOP, errno.ENOTDIR) else error.strerror
        raise BackendError(f"{text} can't be read: {why}.", permanent=True) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BackendError(f"{text} is no plain file.", permanent=True)
    with os.fdopen(descriptor, "rb") as file:
        yield file


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to allowed places only."""

    max_redirections = 5

    def __init__(self, rules: FetchRules) -> None:
        self._rules = rules

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The request to follow with. Raises :class:`BackendError` where it leads out of the allow-list."""
        try:
            allowed(newurl, self._rules.prefixes)  # urllib itself follows to no file:
        except UriError as error:
            fp.close()
            raise BackendError(
                f"{without_credentials(req.full_url)} leads elsewhere: {error}.", permanent=True
            ) from None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Cut:
    """Ends the connections of one fetch at its deadline, or when ``going_on`` raises, whatever is read from them."""

    def __init__(self, deadline: float, going_on: Callable[[], None]) -> None:
        self._deadline, self._going_on = deadline, going_on
        self._sockets: list[socket.socket] = []
        self._over = False
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fetch-cut", daemon=True)

    def __enter__(self) -> _Cut:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()

    def _watch(self) -> None:
        while not self._left.wait(max(0.0, min(LOOK_SECONDS, self._deadline - time.monotonic()))):
            try:
                self._going_on()
            except Exception:  # whatever it is, the reader finds it out when it asks
                break
            if time.monotonic() >= self._deadline:
                break
        self._cut()

    def add(self, connection: socket.socket) -> None:
        """One more to end."""
        self._sockets.append(connection)
        if self._over:
            self._cut()

    def _cut(self) -> None:
        self._over = True
        for connection in self._sockets:
            with contextlib.suppress(OSError):  # it has ended
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not TLS's own, which another thread is using


def _handlers(cut: _Cut) -> list[urllib.request.BaseHandler]:
    """For http and https, with connections that ``cut`` knows."""

    class Plain(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            cut.add(self.sock)

    class Secure(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            cut.add(self.sock)

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, req)

    class SecureHandler(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Secure, req, context=ssl.create_default_context())

    return [PlainHandler(), SecureHandler()]


@contextmanager
def _open_http(text: str, rules: FetchRules, deadline: float, going_on: Callable[[], None]) -> Iterator[_Stream]:
    named = without_credentials(text)
    with _Cut(deadline, going_on) as cut:
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            *_handlers(cut),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(rules),
        ):
            opener.add_handler(handler)
        try:
            answer = opener.open(text, timeout=SILENCE_SECONDS)
        except urllib.error.HTTPError as error:
            error.close()
            permanent = error.code < 500 and error.code not in _PASSING
            raise BackendError(f"{named} was refused: {error.code} {error.reason}.", permanent=permanent) from None
        except (urllib.error.URLError, OSError, HTTPException) as error:
            going_on()
            if time.monotonic() >= deadline:
                raise _too_late(named, rules) from None
            raise BackendError(f"{named} can't be reached: {getattr(error, 'reason', error)}.") from None
        with answer:
            length = answer.headers.get("Content-Length") or ""
            if length.isdecimal() and int(length) > rules.maximum_bytes:
                raise _too_large(named, rules)
            yield _Whole(answer, int(length) if length.isdecimal() else None)


class _Whole:
    """A body of the length that was announced: one that ends early is an error and no short file."""

    def __init__(self, stream: http.client.HTTPResponse, left: int | None) -> None:
        self._stream, self._left = stream, left

    def read1(self, size: int) -> bytes:
        """Up to ``size`` bytes, as they come. Raises :class:`HTTPException`."""
        data = self._stream.read1(size)
        if self._left is not None:
            self._left -= len(data)
            if not data and self._left > 0:
                raise HTTPException(f"{self._left} bytes are missing")
        return data
