"""Which URIs a job may name as inputs: those below one of the operator's prefixes. Pure, standard library only.

A prefix is compared part by part after decoding, never as text: ``https://data.example.org/sets`` allows
``https://data.example.org/sets/a.csv`` and neither ``…/sets-private/a.csv`` nor ``…/sets/%2e%2e/a.csv``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_PORTS = {"http": 80, "https": 443}


class UriError(ValueError):
    """The URI can't be taken. The text says why."""


@dataclass(frozen=True)
class Uri:
    """A URI that was read: where it is, and its path in decoded parts."""

    scheme: str
    host: str
    port: int
    parts: tuple[str, ...]
    query: str = ""

    def below(self, prefix: Uri) -> tuple[str, ...] | None:
        """Its parts behind ``prefix``; None where it does not lie there."""
        here, there = (self.scheme, self.host, self.port), (prefix.scheme, prefix.host, prefix.port)
        count = len(prefix.parts)
        return self.parts[count:] if here == there and self.parts[:count] == prefix.parts else None


def without_credentials(text: str) -> str:
    """A URI for people: without a user name and a password, and without its query, which may be a signature."""
    address, query, _ = text.partition("?")
    scheme, there, rest = address.partition("#")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{there}{host.rpartition('@')[2]}{slash}{path}" + ("?…" if query else "")


def read_uri(text: str) -> Uri:
    """``text`` as a URI of a kind that can be fetched (file, http, https). Raises :class:`UriError`."""
    shown = repr(text[:120])
    if not text.isascii() or any(ord(letter) < 33 for letter in text) or "\\" in text:
        raise UriError(f"{shown} is no URI: write other characters than plain ASCII as %xx")
    try:
        split = urlsplit(text)
        port = split.port
    except ValueError as error:
        raise UriError(f"{shown} is no URI: {error}") from None
    if split.scheme not in ("file", "http", "https"):
        raise UriError(f"{shown} can't be fetched; URIs begin with https://, http:// or file:///")
    if split.username is not None or split.password is not None or "#" in text:
        raise UriError(f"{without_credentials(text)[:120]!r} holds a user name, a password or a fragment; leave it out")
    host = (split.hostname or "").lower()
    if split.scheme == "file":
        if host not in ("", "localhost") or port is not None or "?" in text:
            raise UriError(f"{shown} is no file of the server's; write file:/// and an absolute path")
        host = ""
    elif not host:
        raise UriError(f"{shown} names no host")
    parts = [unquote(part) for part in split.path.split("/") if part]
    for part in parts:
        if unquote(part) in (".", "..") or any(letter in part for letter in "/\\\0"):
            raise UriError(f"{shown} leaves its folder; write a path without '.' and '..'")
    return Uri(split.scheme, host, port or _PORTS.get(split.scheme, 0), tuple(parts), split.query)


def allowed(text: str, prefixes: Iterable[str]) -> tuple[Uri, Uri]:
    """``text`` read, and the prefix that allows it. Raises :class:`UriError`, which says what the operator allows."""
    known = list(prefixes)
    if not known:
        raise UriError("this server's operator allows no URIs as inputs")
    uri = read_uri(text)
    for prefix in map(read_uri, known):
        rest = uri.below(prefix)
        if rest is not None and uri.parts:
            return uri, prefix
    named = without_credentials(text)[:120]
    raise UriError(f"{named!r} is not among what this server's operator allows: {', '.join(known)}")
