"""Container images by name: how a reference is read, and which ones the operator allows. Pure, standard library only.

An allow-list holds patterns, compared part by part and never as text, so that ``registry.example.org/course`` does not
allow ``registry.example.org/course-of-another/x``:

- ``registry.example.org/course/``: every image below it,
- ``registry.example.org/course/lab``: that image, with any tag or digest,
- ``registry.example.org/course/lab:2026``: with that tag only (or by the digest that the tag was resolved to).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
_REGISTRY = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?\Z")
_PART = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


class ImageError(ValueError):
    """The image can't be taken. The text says why, and what to write."""


@dataclass(frozen=True)
class Image:
    """A reference that was read. ``tag`` and ``digest`` (``sha256:…``) may be empty."""

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Without tag and digest, in full."""
        return f"{self.registry}/{self.path}"

    @property
    def tagged(self) -> str:
        """What is looked up where there is no digest: in full, with the tag, ``latest`` where none is given."""
        return f"{self.name}:{self.tag or DEFAULT_TAG}"

    def __str__(self) -> str:
        """In full: with the registry, and by digest where there is one."""
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def read_image(text: str) -> Image:
    """``text`` as ``[registry/]path[:tag][@sha256:…]``; without a registry it is Docker Hub's. :class:`ImageError`."""
    shown = repr(text[:120])
    rest, _, digest = text.partition("@")
    if "@" in text and not _DIGEST.match(digest):
        raise ImageError(f"{shown} has no digest behind the @; write @sha256: and 64 hexadecimal digits")
    head, slash, tail = rest.rpartition("/")
    tail, colon, tag = tail.partition(":")
    if colon and not _TAG.match(tag):
        raise ImageError(f"{shown} has no tag behind the colon; write for example :2026-1")
    parts = [*(head.split("/") if slash else ()), tail]
    first = parts[0]
    has_registry = len(parts) > 1 and ("." in first or ":" in first or first == "localhost")
    registry = parts.pop(0) if has_registry else DEFAULT_REGISTRY
    if not has_registry and len(parts) == 1:
        parts.insert(0, "library")
    path = "/".join(parts)
    if not _REGISTRY.match(registry) or len(path) > 255 or not all(map(_PART.match, parts)):
        raise ImageError(
            f"{shown} is no name of an image; names are in lower case, such as registry.example.org/course/lab:2026"
        )
    return Image(registry, path, tag, digest)


def digest_of(text: str, resolved: Mapping[str, str]) -> str:
    """What the image ``text`` was resolved to, however it is written (``python`` is
    ``docker.io/library/python:latest``); empty for one that is not in ``resolved`` (image → ``sha256:…``), or that has
    a digest itself. Raises :class:`ImageError`.
    """
    image = read_image(text)
    if image.digest or not resolved:
        return ""
    return next((digest for name, digest in resolved.items() if read_image(name).tagged == image.tagged), "")


def image_problem(text: str, allowed: Iterable[str], resolved: Mapping[str, str] | None = None) -> str:
    """Why a job may not run in the image ``text``; empty where it may.

    ``allowed`` are the operator's patterns (see above). ``resolved``: image → digest as looked up before, so that an
    image named by the digest of an allowed tag is that allowed image.
    """
    patterns = list(allowed)
    try:
        image = read_image(text)
    except ImageError as error:
        return str(error)
    if any(_matches(image, pattern, resolved or {}) for pattern in patterns):
        return ""
    if not patterns:
        return f"the image {text[:120]!r} can't be chosen: this server's operator allows none but those of the profiles"
    return f"the image {text[:120]!r} is not among those that this server's operator allows: {', '.join(patterns)}"


def pattern_problem(pattern: str) -> str:
    """What is wrong with one entry of an allow-list; empty where nothing is."""
    below = pattern.endswith("/")
    try:
        _folder(pattern) if below else read_image(pattern)
    except ImageError as error:
        return str(error)
    return ""


def _folder(pattern: str) -> tuple[str, ...]:
    """The parts of a pattern for all images below a place: the registry first."""
    text = pattern.rstrip("/")
    registry, _, path = text.partition("/")
    if path or not ("." in registry or ":" in registry or registry == "localhost"):
        image = read_image(f"{text}/x")
        return (image.registry, *image.path.split("/")[:-1])
    if not _REGISTRY.match(registry):
        raise ImageError(f"{pattern!r} is no registry; write for example registry.example.org/course/")
    return (registry,)


def _matches(image: Image, pattern: str, resolved: Mapping[str, str]) -> bool:
    if pattern.endswith("/"):
        parts = _folder(pattern)
        whole = (image.registry, *image.path.split("/"))
        return len(whole) > len(parts) and whole[: len(parts)] == parts
    wanted = read_image(pattern)
    if image.name != wanted.name:
        return False
    if wanted.digest:
        return image.digest == wanted.digest
    if not wanted.tag:
        return True
    return image.digest == digest_of(pattern, resolved) if image.digest else image.tagged == wanted.tagged
