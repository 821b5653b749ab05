"""Results back as objects. A pickle runs code of whoever wrote it, so only one's own are opened unasked."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from typing import IO, Any

from .errors import ResultError


def check_owner(name: str, owner: str, username: str, trust: bool) -> None:
    """Refuse another owner's pickle unless it is trusted."""
    if owner != username and not trust:
        raise ResultError(
            f"The result {name!r} belongs to {owner!r}, not to you ({username!r}). Opening a pickle runs code of "
            f"whoever wrote it, with your rights: it could read, change or send away whatever you can.",
            remedy="If you trust that person with your account, say trust=True; else ask for a file such as JSON or "
            "CSV, and download that.",
        )


def check_listed(name: str, outputs: Mapping[str, Any], phase: str) -> None:
    """Say why ``name`` is not among the job's results."""
    results = {item.get("name"): item for item in outputs.get("results") or []}
    if name in results:
        error = str(results[name].get("error") or "")
        if error:
            unset = "did not set" in error
            raise ResultError(
                f"The job could not bring back {name!r}: {error}.",
                remedy="Check the name in --out." if unset else "Bring back what it is made of, or write it to a file.",
                data={"why": error},
            )
        return
    there = ", ".join(sorted(str(key) for key in results)) or "none"
    remedy = "Name it with --out when you submit the job."
    if phase not in ("Succeeded", "Failed", "Cancelled"):
        remedy = f"The job is {phase}; results are there when it is finished."
    raise ResultError(f"The job has no result {name!r}; it has: {there}.", remedy=remedy)


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
