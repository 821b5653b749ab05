"""Many files at once: asked for by digest, the small ones sent together, none that the server has."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from . import inputs, ops
from .effects import Request, Steps, offload
from .errors import InputError, Invalid
from .session import Session

SMALL_BYTES = 256 * 1024
"""Up to this size a file travels with others."""
BUNDLE_BYTES = 16 * 1024 * 1024
BUNDLE_FILES = 1_000
ASK_AT_ONCE = 10_000

File = tuple[Path, str, int]
"""Where it is, its digest, its size in bytes."""


def upload_files(session: Session, files: Sequence[Path]) -> Steps[list[str]]:
    """Store what the server does not have of ``files``; the digest of each, in their order."""
    if len(files) == 1:
        return [(yield from ops.upload_file(session, files[0]))]
    known = yield from offload(lambda: [(file, *inputs.file_digest(file)) for file in files])
    wanted = yield from _missing(session, list(dict.fromkeys(digest for _, digest, _ in known)))
    to_send = {digest: (file, digest, size) for file, digest, size in known if digest in wanted}
    small = [file for file in to_send.values() if file[2] <= SMALL_BYTES]
    for bundle in _bundles(small):
        yield from _send(session, bundle)
    for file, _, size in to_send.values():
        if size > SMALL_BYTES:
            yield from ops.upload_file(session, file)
    return [digest for _, digest, _ in known]


def _missing(session: Session, digests: list[str]) -> Steps[set[str]]:
    missing: set[str] = set()
    for start in range(0, len(digests), ASK_AT_ONCE):
        asked = {"digests": digests[start : start + ASK_AT_ONCE]}
        answer = yield from session.json(Request("POST", "/bundles/missing", json=asked))
        missing.update(answer.get("missing") or [])
    return missing


def _bundles(files: Iterable[File]) -> Iterator[list[File]]:
    bundle: list[File] = []
    size = 0
    for file in files:
        if bundle and (size + file[2] > BUNDLE_BYTES or len(bundle) >= BUNDLE_FILES):
            yield bundle
            bundle, size = [], 0
        bundle.append(file)
        size += file[2]
    if bundle:
        yield bundle


def _send(session: Session, bundle: list[File]) -> Steps[None]:
    body = yield from offload(lambda: _tar(bundle))
    headers = {"content-type": "application/x-tar"}
    try:
        yield from session.call(Request("PUT", "/bundles", body=body, headers=headers, timeout_seconds=120))
    except Invalid as error:
        changed = yield from offload(
            lambda: [file for file, digest, _ in bundle if inputs.file_digest(file)[0] != digest]
        )
        if not changed:
            raise
        raise InputError(
            f"{changed[0]} changed while it was being sent.", remedy="Submit again when nothing writes to it."
        ) from error


def _tar(bundle: list[File]) -> bytes:
    """A plain tar of the files, each called by its digest's digits."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for file, digest, _ in bundle:
            data = file.read_bytes()
            info = tarfile.TarInfo(digest.removeprefix("sha256:"))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
