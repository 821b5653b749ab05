"""What differs from language to language: literals, the way a cell is run, what is started and how it ends.

:func:`find` gives the :class:`Language` of a name. Pure but for the two modules that are sent into kernels
(``inkernel.R``, ``inkernel.scala``); standard library only, for the kernel is started before anything else is imported.
"""

from __future__ import annotations

from .base import Language, ParameterError
from .python import Python
from .r import R
from .scala import Scala

__all__ = ["Language", "ParameterError", "find"]

_KNOWN: dict[str, Language] = {"python": Python(), "r": R(), "scala": Scala()}


def find(name: str) -> Language:
    """The language ``name`` (case does not matter); for an unknown one a plain :class:`Language`."""
    return _KNOWN.get(name.lower()) or Language(name.lower())
