"""Fetch what the operator allows jobs to name by URI: bounded in size and time, never out of the allow-list.

Runs in a thread of the server, outside every sandbox. A file is reached step by step from the allowed folder, without
following links; a redirect is followed only to another allowed place.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO, Any, cast

from ...resources.quantity import format_bytes
from ...resources.uris import Uri, UriError, allowed
from ..base import BackendError

PIECE_BYTES = 1024**2
SILENCE_SECONDS = 30.0
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True)
class FetchRules:
    """What may be fetched: URI prefixes, and the bounds of one file."""

    prefixes: tuple[str, ...] = ()
    maximum_bytes: int = 4 * 1024**3
    maximum_seconds: float = 600.0


def fetch(text: str, target: str, rules: FetchRules) -> tuple[str, int]:
    """Put what ``text`` names into the new file ``target``; its digest and its size in bytes.

    Blocks. Raises :class:`BackendError`, which is permanent unless trying again may help.
    """
    try:
        uri, prefix = allowed(text, rules.prefixes)
    except UriError as error:
        raise BackendError(f"The input can't be fetched: {error}.", permanent=True) from None
    opened = _open_file(uri, prefix, text) if uri.scheme == "file" else _open_http(text, rules)
    with opened as stream, open(target, "xb") as file:
        return _copy(stream, file, text, rules)


def _copy(stream: IO[bytes], file: IO[bytes], text: str, rules: FetchRules) -> tuple[str, int]:
    digest, size, deadline = hashlib.sha256(), 0, time.monotonic() + rules.maximum_seconds
    while True:
        try:
            piece = stream.read(PIECE_BYTES)
        except (OSError, HTTPException) as error:
            raise BackendError(f"{text} broke off after {size} bytes: {error}.") from error
        if not piece:
            break
        size += len(piece)
        if size > rules.maximum_bytes:
            raise _too_large(text, rules)
        if time.monotonic() > deadline:
            raise BackendError(f"{text} did not come within {rules.maximum_seconds:.0f} s.", permanent=True)
        digest.update(piece)
        file.write(piece)
    return f"sha256:{digest.hexdigest()}", size


def _too_large(text: str, rules: FetchRules) -> BackendError:
    return BackendError(
        f"{text} has more than {format_bytes(rules.maximum_bytes)}, which is what one input may have.",
        remedy="Ask the operator for a larger limit, or for the data in parts.",
        permanent=True,
    )


@contextmanager
def _open_file(uri: Uri, prefix: Uri, text: str) -> Iterator[IO[bytes]]:
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
            raise BackendError(f"{req.full_url} leads elsewhere: {error}.", permanent=True) from None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _open_http(text: str, rules: FetchRules) -> Iterator[IO[bytes]]:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(rules),
    ):
        opener.add_handler(handler)
    try:
        answer = opener.open(text, timeout=SILENCE_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        raise BackendError(f"{text} was refused: {error.code} {error.reason}.", permanent=error.code < 500) from None
    except (urllib.error.URLError, OSError, HTTPException) as error:
        raise BackendError(f"{text} can't be reached: {getattr(error, 'reason', error)}.") from None
    with answer:
        length = answer.headers.get("Content-Length") or ""
        if length.isdecimal() and int(length) > rules.maximum_bytes:
            raise _too_large(text, rules)
        yield cast("IO[bytes]", _Whole(answer, int(length) if length.isdecimal() else None))


class _Whole:
    """A body of the length that was announced: one that ends early is an error and no short file."""

    def __init__(self, stream: IO[bytes], left: int | None) -> None:
        self._stream, self._left = stream, left

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes. Raises :class:`HTTPException`."""
        data = self._stream.read(size)
        if self._left is not None:
            self._left -= len(data)
            if not data and self._left > 0:
                raise HTTPException(f"{self._left} bytes are missing")
        return data
