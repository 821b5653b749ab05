"""Variables for and from a language other than Python: data frames as frames, plain values as typed JSON. Pure."""

from __future__ import annotations

import json
from typing import Any

from . import frames, typed
from .errors import InputError
from .inputs import MAX_VARIABLE_BYTES
from .view import size_text

_WORDS = {"r": "R", "scala": "Scala"}
_REMEDIES = {
    "numpy.ndarray": "Send {0}.tolist(), or a DataFrame of it.",
    "pandas.Series": "Send {0}.to_frame(), or {0}.tolist().",
    "pandas.Index": "Send {0}.tolist().",
    "polars.DataFrame": "Send {0}.to_pandas().",
    "set": "Send sorted({0}).",
    "bytes": "Write it to a file and send that with --files.",
}


def word(language: str) -> str:
    """A language as people write it."""
    return _WORDS.get(language, language)


def foreign(name: str, value: Any, language: str) -> tuple[str, bytes]:
    """``("frame" | "json", content)`` of a variable for a job in ``language``.

    :class:`InputError` says why it can't go.
    """
    if frames.is_frame(value):
        form, content = "frame", frames.dump(value, name, language)
    else:
        form, content = "json", _json(name, value, language)
    if len(content) > MAX_VARIABLE_BYTES:
        raise InputError(
            f"--in {name}: {size_text(len(content))} are more than the {size_text(MAX_VARIABLE_BYTES)} that a variable "
            "may have.",
            remedy="Write it to a file and send that with --files.",
        )
    return form, content


def _json(name: str, value: Any, language: str) -> bytes:
    try:
        encoded = typed.encode(value, name)
        if language == "r":
            _check_r(encoded, name)
        return json.dumps(encoded, ensure_ascii=False, allow_nan=False).encode()
    except InputError as error:
        to = word(language)
        why = error.message.removeprefix("The parameter ").replace("a parameter can't be", f"{to} can't get")
        why = why.replace("keys of parameters are text", "keys are text")
        near = _REMEDIES.get(_kind(value), "Send what it is made of, or write it to a file and send that with --files.")
        raise InputError(
            f"--in {name}: {why}",
            remedy=f"{near.format(name)} To {to} go DataFrames, and None, numbers, text, dates and times "
            "with lists and dicts of these.",
        ) from error


def _check_r(value: Any, where: str) -> None:
    """:class:`InputError` for what R can't hold as it is: large whole numbers, and NUL characters."""
    if isinstance(value, (list, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check_r(key, f"a key in {where}")
            _check_r(item, f"{where}[{key!r}]")
    elif isinstance(value, str) and "\0" in value:
        raise InputError(f"{where} holds a NUL character, which no string of R can.")
    elif isinstance(value, int) and abs(value) > 2**53:
        raise InputError(f"{where} is {str(value)[:40]}, which R can't hold exactly; send it as text.")


def _kind(value: Any) -> str:
    kind = type(value)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
