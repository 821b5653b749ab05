"""What a pod may do with the object store: put below its own prefix, and read a few objects named to it.

It holds no key, only signatures: a POST form bound to a prefix, and URLs for reading. They end, and are renewed in the
file they came from, which is looked at before each use. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import secrets
import select
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import IO, Any, TypeVar, cast
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError, fromstring

from .base import CHUNK_BYTES, KeyMissing, ObjectInfo, ObjectStore, StoreError, check_key

TRIES = 4
FIRST_PAUSE_SECONDS = 0.2
CONNECT_SECONDS, READ_SECONDS = 5.0, 60.0
IN_MEMORY_BYTES = 1024 * 1024
SEND_BYTES = 256 * 1024

T = TypeVar("T")


class Expired(StoreError):
    """The signatures are over; new ones will do."""


class NotAllowed(StoreError):
    """The store refuses it, now and later: another prefix, too many bytes, keys that are no longer good."""


class SignedStore(ObjectStore):
    """The store as a pod sees it. ``path`` is its ``credentials.json``; :func:`open_signed` takes its parts.

    Any number of threads may use it. It can't list, delete, or put only where there is nothing yet: what needs this
    (joining a log) is the server's. ``ca_file``: the authority of the store's certificate; empty: those of the system.
    """

    def __init__(self, path: str, ca_file: str = "") -> None:
        self.path, self._lines = path, _Lines(ca_file)
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._known: dict[str, Any] = {}

    def describe(self) -> dict[str, Any]:
        """``{"type": "signed", "credentials": path, "caFile"}``."""
        return {"type": "signed", "credentials": self.path, "caFile": self._lines.ca_file}

    def put(self, key: str, data: bytes | IO[bytes], *, if_absent: bool = False, durable: bool = True) -> ObjectInfo:
        """Send it as a form; tried again while that may help. See :meth:`ObjectStore.put`.

        The length is told first, and a second try begins anew: what can't go back to its beginning is copied into
        the temporary folder. Raises :class:`Expired`, :class:`NotAllowed` and other :class:`StoreError`.
        """
        if if_absent:
            raise NotImplementedError("a pod can't put an object only where there is none")
        check_key(key)
        with _rewindable(data) as source:
            begin = source.tell()
            size = source.seek(0, os.SEEK_END) - begin

            def send() -> None:
                post = self._credentials()["post"]
                if not key.startswith(post["prefix"]):
                    raise NotAllowed(f"Can't store {key!r}: this job may store only below {post['prefix']!r}.")
                if size > post["maxBytes"]:
                    raise NotAllowed(f"Can't store {key!r}: it has {size} bytes; {post['maxBytes']} are allowed.")
                source.seek(begin)
                self._lines.post(f"store {key!r}", post, post["base"] + key, source, size)

            _insist(send)
        return ObjectInfo(key, size)

    @contextmanager
    def open(self, key: str, start: int = 0, end: int | None = None) -> Iterator[Iterator[bytes]]:
        """Stream a range of an object that was signed. See :meth:`ObjectStore.open`."""
        if start < 0 or (end is not None and end < start):
            raise ValueError(f"[{start}, {end}) is no range of bytes")
        line = self._ask(key, start, start + 1 if start == end else end)
        try:
            yield iter(()) if start == end or line.answer.status == 416 else line.chunks(f"read {key!r}")
        finally:
            self._lines.give_back(line)

    def stat(self, key: str) -> ObjectInfo:
        """Size of an object that was signed. See :meth:`ObjectStore.stat`."""
        line = self._ask(key, 0, 1)
        try:
            told = line.answer.headers.get("Content-Range", "") if line.answer.status == 206 else ""
            return ObjectInfo(key, int(told.rpartition("/")[2] or 0))
        finally:
            self._lines.give_back(line)

    def _ask(self, key: str, start: int, end: int | None) -> _Line:
        """The answer to a GET of ``[start, end)``: its status is 200, 206 or, behind the object's end, 416."""
        check_key(key)
        what = f"read {key!r}"
        headers = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}

        def ask() -> _Line:
            signed = self._credentials()["gets"].get(key)
            if signed is None:
                raise KeyMissing(key)
            line = self._lines.take(signed["url"], what)
            try:
                status = line.exchange(what, "GET", headers).status
                if status == 404:
                    for _ in line.chunks(what):  # whoever waits for an object asks again on the same connection
                        continue
                elif status not in (206, 416) if headers else status != 200:
                    raise line.refusal(what, signed["expires"])
            except BaseException:
                line.close()
                raise
            if status == 404:
                self._lines.give_back(line)
                raise KeyMissing(key)
            return line

        return _insist(ask)

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        """Not for pods."""
        raise NotImplementedError("a pod can't list objects")

    def delete(self, key: str) -> None:
        """Not for pods."""
        raise NotImplementedError("a pod can't delete objects")

    def _credentials(self) -> dict[str, Any]:
        """As they are now: the file is renewed while the job runs."""
        if not self.path:
            return self._known
        with self._lock:
            try:
                found = os.stat(self.path)  # noqa: PTH116 - what a link in a mounted Secret points to changes
                seen = (found.st_ino, found.st_mtime_ns, found.st_size)
                if seen != self._seen:
                    with open(self.path, encoding="utf-8") as file:  # noqa: PTH123
                        self._known, self._seen = _checked(json.load(file)), seen
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise StoreError(f"The credentials in {self.path!r} can't be read: {error!r}.") from error
            return self._known


def open_signed(post: dict[str, Any], ca_file: str = "", gets: dict[str, dict[str, Any]] | None = None) -> SignedStore:
    """The store that a form of :meth:`.s3.S3Store.sign_post` opens, and signed places to read from.

    ``gets``: by key, ``{"url": of sign_get, "expires": seconds since 1970}``. ``KeyError`` where something lacks.
    """
    store = SignedStore("", ca_file)
    store._known = _checked({"post": post, "gets": gets or {}})
    return store


def open_reading(gets: dict[str, dict[str, Any]], ca_file: str = "") -> SignedStore:
    """Signed places to read from, as in :func:`open_signed`, and nothing to put."""
    store = SignedStore("", ca_file)
    store._known = {"gets": gets}
    return store


def _checked(known: dict[str, Any]) -> dict[str, Any]:
    """The same, if all is there that will be used."""
    for name in ("url", "fields", "base", "prefix", "maxBytes", "expires"):
        known["post"][name]
    for signed in known["gets"].values():
        signed["url"], signed["expires"]
    return known


def post_form(form: dict[str, Any], name: str, data: bytes, *, ca_file: str = "") -> None:
    """Send ``data`` under the bucket's key ``name``, whatever that is, with what ``sign_post`` gave. One try."""
    lines = _Lines(ca_file)
    lines.post(f"store {name!r}", form, name, BytesIO(data), len(data))
    lines.close()


def _insist(step: Callable[[], T]) -> T:
    pause = FIRST_PAUSE_SECONDS
    for left in range(TRIES - 1, -1, -1):
        try:
            return step()
        except (Expired, NotAllowed):
            raise
        except StoreError:
            if not left:
                raise
        time.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - jitter, not a secret
        pause *= 3
    raise AssertionError("the last try returns or raises")


@contextmanager
def _rewindable(data: bytes | IO[bytes]) -> Iterator[IO[bytes]]:
    """``data`` as something that tells its length and can be read again."""
    if isinstance(data, bytes):
        yield BytesIO(data)
    elif hasattr(data, "seekable") and data.seekable():
        yield data
    else:
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as copy:
            try:
                while chunk := data.read(CHUNK_BYTES):
                    copy.write(chunk)
            except OSError as error:
                raise StoreError(
                    f"What is to be stored can't be copied to {tempfile.gettempdir()!r}: {error}."
                ) from error
            copy.seek(0)
            yield cast(IO[bytes], copy)


class _Line:
    """One connection to the store, and the answer to what was asked last."""

    def __init__(self, url: str, what: str, ca_file: str) -> None:
        self.url, self.place = url, _place(url)
        parts = urlsplit(url)
        try:
            if parts.scheme == "https":
                context = ssl.create_default_context(cafile=ca_file or None)
                self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                    parts.netloc, timeout=CONNECT_SECONDS, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(parts.netloc, timeout=CONNECT_SECONDS)
            self._connection.connect()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise StoreError(f"Can't {what}: the object store at {parts.netloc} can't be reached ({error}).") from error
        self._connection.sock.settimeout(READ_SECONDS)
        self.answer: http.client.HTTPResponse

    def exchange(
        self, what: str, method: str, headers: dict[str, str], body: Iterator[bytes] | None = None
    ) -> http.client.HTTPResponse:
        """Send a request and read the head of the answer. :class:`StoreError` where the connection breaks."""
        parts = urlsplit(self.url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):  # it may have said why before that
                self._connection.request(method, target, body, headers)
            self.answer = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise StoreError(f"Can't {what}: the connection to {parts.netloc} broke ({error!r}).") from error
        return self.answer

    def chunks(self, what: str) -> Iterator[bytes]:
        """The answer's body."""
        try:
            while chunk := self.answer.read(CHUNK_BYTES):
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise StoreError(f"Can't {what} to its end: the connection broke ({error!r}).") from error
        if self.answer.length:
            raise StoreError(f"Can't {what} to its end: the connection broke, {self.answer.length} bytes are missing.")

    def refusal(self, what: str, expires: float) -> StoreError:
        """Why the store did not do it. ``expires``: when the signature ends (0: nobody knows)."""
        body = b"".join(self.chunks(what))
        code, message = _told(body)
        status, host = self.answer.status, urlsplit(self.url).netloc
        said = f"{code or f'status {status}'}: {message}" if message else code or f"status {status}"
        if status == 403 and ("expired" in message.lower() or 0 < expires <= _clock(self.answer)):
            return Expired(f"Can't {what}: the signature for it is over ({said}). The server renews it while it runs.")
        if status in (400, 401, 403, 405, 411, 413):
            return NotAllowed(f"Can't {what}: the object store at {host} refuses it ({said}).")
        if status == 507 or "Full" in code or "Quota" in code:
            return StoreError(f"Can't {what}: the object store at {host} is full ({said}).")
        return StoreError(f"Can't {what}: the object store at {host} is busy or unwell ({said}).")

    @property
    def usable(self) -> bool:
        """Whether another request may follow."""
        return hasattr(self, "answer") and self.answer.isclosed() and not self.answer.will_close

    @property
    def dropped(self) -> bool:
        """Whether the server hung up while nothing was asked."""
        sock = self._connection.sock
        if sock is None:
            return True
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class _Lines:
    """Connections that wait for their next use."""

    def __init__(self, ca_file: str) -> None:
        self.ca_file = ca_file
        self._lock = threading.Lock()
        self._idle: list[_Line] = []

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def take(self, url: str, what: str) -> _Line:
        """One that is idle, or a new one."""
        with self._lock:
            found = next((line for line in self._idle if line.place == _place(url)), None)
            if found is not None:
                self._idle.remove(found)
        if found is not None and not found.dropped:
            found.url = url
            return found
        if found is not None:
            found.close()
        return _Line(url, what, self.ca_file)

    def give_back(self, line: _Line) -> None:
        """Keep it where it was left clean."""
        if not line.usable:
            line.close()
            return
        with self._lock:
            self._idle.append(line)

    def post(self, what: str, form: dict[str, Any], name: str, source: IO[bytes], size: int) -> None:
        """Send one form. Raises :class:`StoreError`."""
        boundary = secrets.token_hex(16)
        head, tail = _form({**form["fields"], "key": name}, boundary)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(head) + size + len(tail)),
        }
        line = self.take(form["url"], what)
        try:
            answer = line.exchange(what, "POST", headers, _pieces(what, head, source, size, tail))
            if answer.status not in (200, 201, 204):
                raise line.refusal(what, form["expires"])
            answer.read()
        except BaseException:
            line.close()
            raise
        self.give_back(line)


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _form(fields: dict[str, str], boundary: str) -> tuple[bytes, bytes]:
    """What goes before and behind the file's bytes (RFC 7578)."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="object"\r\n'
    head = "".join(parts) + file + "Content-Type: application/octet-stream\r\n\r\n"
    return head.encode(), f"\r\n--{boundary}--\r\n".encode()


def _pieces(what: str, head: bytes, source: IO[bytes], size: int, tail: bytes) -> Iterator[bytes]:
    yield head
    left = size
    while left:
        data = source.read(min(left, SEND_BYTES))
        if not data:
            raise NotAllowed(f"Can't {what}: it became {left} bytes shorter while it was sent.")
        left -= len(data)
        yield data
    yield tail


def _told(body: bytes) -> tuple[str, str]:
    """Code and message of an S3 error."""
    try:
        found = {element.tag.rsplit("}", 1)[-1]: element.text or "" for element in fromstring(body)}  # noqa: S314
    except ParseError:
        return "", body[:200].decode("utf-8", "replace")
    return found.get("Code", ""), found.get("Message", "")


def _clock(answer: http.client.HTTPResponse) -> float:
    """The server's time, which is the one that counts; ours where it does not tell."""
    try:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (TypeError, ValueError):
        return time.time()
