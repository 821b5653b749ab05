"""Results back as objects. A pickle runs code of whoever wrote it, so only one's own are opened unasked.

What R and Scala bring back is data: a frame or typed JSON. Opening that runs nobody's code.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Mapping
from typing import IO, Any

from . import frames, typed
from .errors import ResultError

PICKLE, FRAME, JSON = "pickle", "frame", "json"


def check_owner(name: str, owner: str, username: str, trust: bool) -> None:
    """Refuse another owner's pickle unless it is trusted."""
    if owner != username and not trust:
        raise ResultError(
            f"The result {name!r} belongs to {owner!r}, not to you ({username!r}). Opening a pickle runs code of "
            f"whoever wrote it, with your rights: it could read, change or send away whatever you can.",
            remedy="If you trust that person with your account, say trust=True (--trust); else ask for a file such as "
            "JSON or CSV, and download that.",
        )


_REMEDIES = {
    "did not set": "Check the name in --out.",
    "code did not finish": "The job's error and its log say why; submit it again when that is mended.",
}
_REMEDY = "Bring back what it is made of, or write it to a file."


def listed(name: str, outputs: Mapping[str, Any], phase: str) -> dict[str, Any]:
    """What the server says of the result ``name``; :class:`ResultError` says why it is not among the job's."""
    results = {item.get("name"): item for item in outputs.get("results") or []}
    if name in results:
        error = str(results[name].get("error") or "")
        if error:
            remedy = next((remedy for words, remedy in _REMEDIES.items() if words in error), _REMEDY)
            raise ResultError(f"The job could not bring back {name!r}: {error}.", remedy=remedy, data={"why": error})
        return dict(results[name])
    there = ", ".join(sorted(str(key) for key in results)) or "none"
    remedy = "Name it with --out when you submit the job."
    if phase not in ("Succeeded", "Failed", "Cancelled"):
        remedy = f"The job is {phase}; results are there when it is finished."
    raise ResultError(f"The job has no result {name!r}; it has: {there}.", remedy=remedy)


def opened(name: str, file: IO[bytes], item: Mapping[str, Any]) -> Any:
    """The object in ``file``, which is in the format that ``item`` tells: see :func:`form`."""
    if form(item) == PICKLE:
        return unpickle(name, file, str(item.get("python") or ""))
    try:
        return frames.load(file.read()) if form(item) == FRAME else typed.decode(json.load(file))
    except ImportError as error:
        raise ResultError(
            f"The result {name!r} is a data frame, and there is no pandas here: {error}.",
            remedy="Install pandas and ask again.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise ResultError(
            f"The result {name!r} is no {form(item)}, though the job says so: {error}.",
            remedy="Bring it back as a file.",
        ) from error


def form(item: Mapping[str, Any]) -> str:
    """``pickle``, ``frame`` or ``json``: how a result was written. :class:`ResultError` for another word."""
    found = str(item.get("format") or PICKLE)
    if found not in (PICKLE, FRAME, JSON):
        raise ResultError(
            f"The result {item.get('name')!r} was written as {found!r}, which this client does not know.",
            remedy="Install the version of jupyter_trainjob that the server has.",
        )
    return found


def unpickle(name: str, file: IO[bytes], made_by: str) -> Any:
    """The object in ``file``. ``made_by`` is the Python version of the job, where known (``"3.11"``)."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        return pickle.load(file)  # noqa: S301 - one's own, or trusted by name: check_owner
    except Exception as error:  # unpickling runs foreign code: anything may be raised
        skew = made_by and not (made_by == here or made_by.startswith(here + "."))
        there = f"the job's Python {made_by}" if made_by else "the job's Python"
        if isinstance(error, ModuleNotFoundError):
            remedy = f"Install {error.name!r} here, in the version that the job has, and ask again."
        elif skew:
            remedy = f"Use Python {made_by} here, or bring the data back as a file."
        else:
            remedy = "Install the same versions here as the job has, or bring the data back as a file."
        raise ResultError(
            f"The result {name!r}, written by {there}, can't be opened by Python {here}: "
            f"{type(error).__name__}: {error}.",
            remedy=remedy,
        ) from error
