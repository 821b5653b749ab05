"""Inputs that are named, not sent: what other jobs left, and data from elsewhere. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from .errors import InputError

ALL = "."


def output(text: str) -> dict[str, Any]:
    """``"clean:tables/"`` as an input of the spec: ``JOB:FILE``, and ``=PATH`` for another place in the job's folder.

    A FILE with ``=`` in its name needs a PATH. All files (``JOB:.``) come into a folder called as the job. A text with
    ``://`` is an address: see :func:`uri`.
    """
    if "://" in text.partition("=")[0]:
        return uri(text)
    what, place = _placed(text)
    job, colon, file = what.partition(":")
    if not colon or not job.strip() or not file.strip():
        raise InputError(
            f"--input {text}: this names no file of a job.",
            remedy="Write --input JOB:FILE, a folder as JOB:FOLDER, all files as JOB:. and =PATH behind it for another "
            "place; files of your own go with --files.",
        )
    file = ALL if file.strip("/") in ("", ALL) else file.rstrip("/")
    return {"type": "output", "job": job, "file": file, "path": place or (job if file == ALL else file)}


def uri(text: str) -> dict[str, Any]:
    """``"https://host/data.csv"`` as an input of the spec; ``=PATH`` behind it is its place in the job's folder.

    In a query a ``=`` is its own: there ``=PATH`` is what follows a whole ``key=value``.
    """
    address, question, query = text.partition("?")
    place = ""
    if not question:
        address, place = _placed(text)
    elif query.rpartition("&")[2].count("=") > 1 and not query.endswith("="):
        query, _, place = query.rpartition("=")
    address += question + query
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise InputError(f"--uri {text}: it can't be read: {error}.", remedy="Check it.") from None
    if not parts.scheme or not (parts.netloc or parts.path.startswith("/")):
        raise InputError(
            f"--uri {text}: this is no address.", remedy="Write https://host/path/file or file:///path/file."
        )
    place = place or unquote(PurePosixPath(parts.path).name)
    if not place:
        raise InputError(
            f"--uri {text}: it tells no file name.", remedy="Say where it shall be: --uri ADDRESS=data/train.csv."
        )
    return {"type": "uri", "uri": address, "path": place}


def _placed(text: str) -> tuple[str, str]:
    what, equals, place = text.rpartition("=")
    return (what, place.rstrip("/")) if equals and place else (text.rstrip("="), "")
