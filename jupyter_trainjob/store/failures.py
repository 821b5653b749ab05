"""What went wrong in a database, in words for the person who can do something about it."""

from __future__ import annotations

import logging
import sqlite3
from typing import Literal

from sqlalchemy.exc import DBAPIError

from ..resources.errors import Unavailable

log = logging.getLogger(__name__)

Failure = Literal["busy", "disconnected", "full", "readonly", "damaged", "other"]

# The low byte of SQLite's result codes, and the beginnings of its messages for Python 3.10, which hides the codes.
_SQLITE_CODES: dict[int, Failure] = {
    5: "busy",
    6: "busy",
    8: "readonly",
    10: "full",
    11: "damaged",
    13: "full",
    14: "readonly",
    26: "damaged",
}
_SQLITE_MESSAGES: dict[str, Failure] = {
    "database is locked": "busy",
    "database table is locked": "busy",
    "attempt to write a readonly": "readonly",
    "disk i/o error": "full",
    "database disk image is malformed": "damaged",
    "database or disk is full": "full",
    "unable to open database file": "readonly",
    "file is not a database": "damaged",
}
# SQLSTATE classes of PostgreSQL: 40 rollback (serialization, deadlock), 08 connection, 53 resources, 57P shutdown.
_SQLSTATES: dict[str, Failure] = {
    "40001": "busy",
    "40P01": "busy",
    "55P03": "busy",
    "53100": "full",
    "53": "disconnected",
    "08": "disconnected",
    "57P": "disconnected",
    "25006": "readonly",
    "XX001": "damaged",
    "XX002": "damaged",
}

_EXPLAINED: dict[Failure, tuple[str, str]] = {
    "busy": (
        "The record {where} is kept busy by another writer: {error}.",
        "Try again; if it lasts, look for a process that holds the database open.",
    ),
    "disconnected": (
        "The record {where} can't be reached: {error}.",
        "Check that the database server runs and takes connections; then try again.",
    ),
    "full": (
        "The record {where} can't be written, the disk may be full: {error}. What was stored before is safe; "
        "this change was not stored.",
        "Free some space (see 'df'), then try again.",
    ),
    "readonly": (
        "The record {where} can't be opened for writing: {error}.",
        "Check that its folder exists and belongs to the user of this server, and that the disk is not read-only.",
    ),
    "damaged": (
        "The record {where} is damaged: {error}.",
        "Stop the server, keep the files, and restore a backup (they lie beside the database).",
    ),
    "other": ("The record {where} failed: {error}.", "See the server's log."),
}


def classify(error: DBAPIError) -> Failure:
    """Which kind of failure it is."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", None)
        if code is not None:
            return _SQLITE_CODES.get(code & 0xFF, "other")
        text = str(original).lower()
        return next((found for start, found in _SQLITE_MESSAGES.items() if text.startswith(start)), "other")
    state = getattr(original, "sqlstate", None) or ""
    for length in (5, 3, 2):
        if state[:length] in _SQLSTATES:
            return _SQLSTATES[state[:length]]
    return "disconnected" if error.connection_invalidated or not state else "other"


def unavailable(error: DBAPIError, where: str) -> Unavailable:
    """The failure as an answer. ``where`` names the database without its password."""
    failure = classify(error)
    if failure == "other":
        log.error("The record %s failed in a way that has no explanation", where, exc_info=error)
    message, remedy = _EXPLAINED[failure]
    text = " ".join(str(error.orig).split()).rstrip(".")
    return Unavailable(message.format(where=where, error=text), remedy=remedy, retry_after_seconds=5)


def unknown_outcome(error: DBAPIError, where: str) -> Unavailable:
    """The connection broke while a transaction was being committed: nobody can say which way it went."""
    text = " ".join(str(error.orig).split()).rstrip(".")
    return Unavailable(
        f"The connection to the record {where} broke during a commit, so it is not known whether the change was "
        f"stored: {text}.",
        remedy="Read the object again before repeating the change.",
        retry_after_seconds=5,
    )
