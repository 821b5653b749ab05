"""What can be said of code before it runs: does it read as code, what parameters does it take, what is it.

One module a language (``python``, ``r``, ``scala``), each behind :class:`.language.Language`; whether a text is code is
told by the language's own parser, as far as there is one on this machine. What can't be told in time is accepted: the
job itself will tell.
"""

from __future__ import annotations

from .findings import Complaint, Findings, ParameterInfo, code_hash
from .inspector import CODE, DIGEST, MAX_SCRIPT_BYTES, SCRIPT_REMEDY, Asked, Inspector, installed_kernelspecs

__all__ = [
    "CODE",
    "DIGEST",
    "MAX_SCRIPT_BYTES",
    "SCRIPT_REMEDY",
    "Asked",
    "Complaint",
    "Findings",
    "Inspector",
    "ParameterInfo",
    "code_hash",
    "installed_kernelspecs",
]
