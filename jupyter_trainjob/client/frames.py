"""Data frames as text that any language reads: typed CSV. Pure; pandas is imported when a frame is read or written.

A frame file is UTF-8. Its first line is ``#trainjob-frame {"columns": [{"name", "type"}, …], "rows": N}``, the rest RFC
4180 CSV without a heading, lines ended by ``\\n``. Types: ``int64``, ``float64`` (the shortest text that reads back as
the same; ``Inf``, ``-Inf``), ``bool`` (``true``, ``false``), ``string``, ``date``, ``datetime`` (``…Z``, or naive),
``category`` (with ``levels``, and ``ordered`` where they are). An empty field is a missing value, ``""`` an
empty text; so NaN and missing are the same in ``float64``. A datetime column may name the ``timezone`` of its instants.
"""

from __future__ import annotations

import json
import math
import numbers
import re
import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .typed import type_text

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

MAGIC = "#trainjob-frame "
_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r?\n|\Z)')
_FLOATS = {"NaN": math.nan, "Inf": math.inf, "-Inf": -math.inf}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.(\d{1,9}))?Z?", re.A)
_RANGE = range(-(2**63), 2**63)


class FrameError(ValueError):
    """A text is no frame file, or one that is not understood here. The text says where and why."""


def is_frame(value: Any) -> bool:
    """Whether ``value`` is a pandas DataFrame; nothing is imported for the answer."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, getattr(pandas, "DataFrame", ()))


# Writing


def dump(frame: pd.DataFrame, name: str, language: str = "") -> bytes:
    """A frame file. :class:`InputError` names the column of the variable ``name`` that can't travel, and why.

    Row numbers are left out; an index that says more is refused, as are column names that are no text or come twice.
    For R (``language``) so is a whole number that it can't hold exactly.
    """
    _check_labels(frame, name)
    described, columns = [], []
    for position, label in enumerate(frame.columns):
        what, texts = _column(frame.iloc[:, position], f"--in {name}: the column {label!r}", language)
        described.append({"name": label, **what})
        columns.append(texts)
    head = {"columns": described, "rows": len(frame)}
    lines = map(",".join, zip(*columns, strict=True)) if columns else iter(())
    text = "\n".join([MAGIC + json.dumps(head, ensure_ascii=False), *lines, ""])
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        bad = text[max(0, error.start - 20) : error.start].rsplit("\n")[-1]
        raise InputError(
            f"--in {name}: it holds half of a character (a lone surrogate) behind {bad!r}; text has whole ones.",
            remedy="Decode the text anew, for example with errors='replace'.",
        ) from None


def _check_labels(frame: pd.DataFrame, name: str) -> None:
    index = frame.index
    if index.nlevels > 1 or index.name is not None or not (index.dtype.kind in "iu" or len(index) == 0):
        raise InputError(
            f"--in {name}: its index ({type_text(index)}) would be lost: only columns travel to another language.",
            remedy=f"Send {name}.reset_index() (or with drop=True, if the index says nothing).",
        )
    seen = set()
    for label in frame.columns:
        if not isinstance(label, str):
            raise InputError(
                f"--in {name}: the column {label!r} is not named by text.",
                remedy=f"Name the columns: {name}.columns = {name}.columns.map(str).",
            )
        if label in seen:
            raise InputError(f"--in {name}: there are two columns {label!r}.", remedy="Rename one.")
        seen.add(label)


def _column(column: pd.Series, where: str, language: str = "") -> tuple[dict[str, Any], list[str]]:
    """What the header says of it, and its fields."""
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _category(column, where)
    if isinstance(dtype, pd.DatetimeTZDtype) or dtype.kind == "M":
        return _moments(column, where)
    missing = column.isna().tolist()
    values = column.astype(object).tolist()
    known = [value for value, gone in zip(values, missing, strict=True) if not gone]
    kind, write = _NUMPY.get(dtype.kind) or _kind(known, dtype, where)
    if kind == "int64" and (large := next((value for value in known if int(value) not in _RANGE), None)) is not None:
        raise InputError(f"{where} holds {large}, which is no 64-bit number.", remedy="Send it as text.")
    if kind == "int64" and language == "r" and (large := next((one for one in known if abs(one) > 2**53), None)):
        raise InputError(f"{where} holds {large}, which R can't hold exactly.", remedy="Send it as text: .astype(str).")
    if kind == "string" and (bad := next((value for value in known if "\0" in value), None)) is not None:
        raise InputError(f"{where} holds a NUL character, in {bad[:40]!r}.", remedy="Take it out: not all have it.")
    what = {"type": kind}
    fields = ["" if gone else write(value) for value, gone in zip(values, missing, strict=True)]
    if kind == "datetime" and any(field.endswith("Z") for field in fields):
        what["timezone"] = "UTC"
    return what, fields


def _kind(known: Sequence[Any], dtype: Any, where: str) -> tuple[str, Callable[[Any], str]]:
    """The type of a column of objects, by the values that are there, and how one is written."""
    for kind, fits, write in _OBJECTS:
        if all(map(fits, known)):
            return kind, write
    odd = next((value for value in known if not any(fits(value) for _, fits, _ in _OBJECTS)), None)
    if odd is None:
        found = sorted({type_text(value) for value in known})
        raise InputError(
            f"{where} mixes values of the types {', '.join(found)}.",
            remedy="A column has one type: make them all the same, for example with .astype(str).",
        )
    remedy = "Make columns of plain values of it, or write it to a file and send that with --files."
    if dtype.kind == "m":
        remedy = "Send its seconds: .dt.total_seconds()."
    elif dtype.kind == "c":
        remedy = "Send two columns: .real and .imag."
    raise InputError(
        f"{where} holds a value of the type {type_text(odd)} ({_short(odd)}), which no other language gets.",
        remedy=remedy,
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"


def _text(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _bool(value: Any) -> str:
    return "true" if value else "false"


def _float(value: Any) -> str:
    number = float(value)
    return repr(number) if math.isfinite(number) else "" if number != number else "Inf" if number > 0 else "-Inf"


def _instant(value: datetime) -> str:
    if value.tzinfo is not None:
        value = value.astimezone(timezone.utc).replace(tzinfo=None)
        return value.isoformat() + "Z"
    return value.isoformat()


def _exact(value: Any) -> bool:
    """Whether it is a number that a float holds as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, float) or (abs(value) < 2**1023 and int(float(value)) == value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ == "bool_"


_OBJECTS: tuple[tuple[str, Callable[[Any], bool], Callable[[Any], str]], ...] = (
    ("string", lambda value: isinstance(value, str), _text),
    ("bool", _is_bool, _bool),
    ("int64", lambda value: isinstance(value, numbers.Integral) and not _is_bool(value), str),
    ("float64", _exact, _float),
    (
        "date",
        lambda value: isinstance(value, date) and not isinstance(value, datetime),
        lambda value: value.isoformat(),
    ),
    ("datetime", lambda value: isinstance(value, datetime) and value.tzinfo is None, _instant),
    ("datetime", lambda value: isinstance(value, datetime) and value.tzinfo is not None, _instant),
)
"""Types of a column of Python objects: name, what all its values are, how one is written. The first counts."""


_NUMPY: dict[str, tuple[str, Callable[[Any], str]]] = {
    "f": ("float64", _float),
    "i": ("int64", str),
    "u": ("int64", str),
    "b": ("bool", _bool),
}
"""The type by a column's dtype, where that tells it, and how a value is written."""


def _category(column: pd.Series, where: str) -> tuple[dict[str, Any], list[str]]:
    levels = column.cat.categories.tolist()
    odd = next((level for level in levels if not isinstance(level, str)), None)
    if odd is not None:
        raise InputError(
            f"{where} has the category {odd!r} of the type {type_text(odd)}; categories travel as text.",
            remedy="Rename them: .cat.rename_categories(str); or send plain values: .astype(object).",
        )
    what = {"type": "category", "levels": levels, **({"ordered": True} if column.cat.ordered else {})}
    written = [*map(_text, levels), ""]
    return what, [written[code] for code in column.cat.codes.tolist()]  # -1 is a missing value


def _moments(column: pd.Series, where: str) -> tuple[dict[str, Any], list[str]]:
    import numpy as np

    what: dict[str, Any] = {"type": "datetime"}
    zone = getattr(column.dtype, "tz", None)
    if zone is not None:
        what["timezone"] = str(zone)
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    end = "" if zone is None else "Z"
    fields = []
    for text in np.datetime_as_string(column.to_numpy(dtype=f"M8[{column.dt.unit}]")).tolist():
        if text == "NaT":
            fields.append("")
            continue
        if text[4] != "-" or text[0] == "-":
            raise InputError(f"{where} holds the time {text}, outside the years 0 to 9999.", remedy="Send it as text.")
        fields.append((text.rstrip("0").rstrip(".") if "." in text else text) + end)
    return what, fields


# Reading


def load(data: bytes) -> pd.DataFrame:
    """The DataFrame in a frame file. Raises :class:`FrameError`, and ``ImportError`` where there is no pandas.

    ``int64`` and ``bool`` columns with missing values are ``Int64`` and ``boolean``; a ``date`` column holds
    ``datetime.date``; instants are UTC unless the file names a time zone.
    """
    import pandas as pd

    columns, rows, body = _head(data)
    fields = _fields(body, len(columns), rows)
    made = {
        index: pd.Series(_read(column, fields[index :: len(columns)]), index=range(rows))
        for index, column in enumerate(columns)
    }
    frame = pd.DataFrame(made, index=range(rows))
    frame.columns = pd.Index([column["name"] for column in columns], dtype=None if columns else object)
    return frame


def _head(data: bytes) -> tuple[list[dict[str, Any]], int, str]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise FrameError(f"it is not UTF-8 at byte {error.start}") from None
    first, _, body = text.partition("\n")
    try:
        head: Any = json.loads(first.removeprefix(MAGIC)) if first.startswith(MAGIC) else None
        columns, rows = head["columns"], head["rows"]
        fine = isinstance(rows, int) and rows >= 0 and all(isinstance(one["name"], str) for one in columns)
    except (ValueError, TypeError, KeyError, RecursionError):
        fine = False
    if not fine:
        raise FrameError(f'it does not begin with a line \'{MAGIC}{{"columns": […], "rows": N}}\'')
    for column in columns:
        if column.get("type") not in _READERS:
            raise FrameError(f"the column {column['name']!r} has the type {column.get('type')!r}, unknown here")
    return columns, rows, body


def _fields(body: str, width: int, rows: int) -> list[str | None]:
    """All fields, row by row; None is a missing value."""
    found: list[str | None] = []
    if not width:
        return found
    at = 0
    for row in range(rows):
        for column in range(width):
            match = _FIELD.match(body, at) if at < len(body) or column else None
            if match is None:
                raise FrameError(f"it ends or breaks in row {row + 1} of {rows}, field {column + 1} of {width}")
            quoted, bare, end = match.groups()
            if (end == ",") != (column + 1 < width):
                raise FrameError(f"row {row + 1} of {rows} has not the {width} fields that the header tells")
            found.append(quoted.replace('""', '"') if quoted is not None else bare or None)
            at = match.end()
    if at < len(body):
        raise FrameError(f"it has more than the {rows} rows that the header tells")
    return found


def _read(column: dict[str, Any], fields: list[str | None]) -> Any:
    try:
        return _READERS[column["type"]](column, fields)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise FrameError(f"the column {column['name']!r} is no {column['type']}: {error}") from None


def _nullable(fields: list[str | None], read: Callable[[str], Any], plain: str, nullable: str) -> Any:
    import pandas as pd

    values = [None if field is None else read(field) for field in fields]
    return pd.array(values, dtype=nullable if None in values else plain)


def _read_float(field: str | None) -> float:
    if field is None:
        return math.nan
    return _FLOATS[field] if field in _FLOATS else float(field)


def _read_floats(column: dict[str, Any], fields: list[str | None]) -> Any:
    import pandas as pd

    return pd.array([_read_float(field) for field in fields], dtype="float64")


def _read_texts(column: dict[str, Any], fields: list[str | None]) -> Any:
    import pandas as pd

    return pd.Series(fields, dtype="str" if int(pd.__version__.split(".")[0]) >= 3 else object)


def _read_dates(column: dict[str, Any], fields: list[str | None]) -> Any:
    import pandas as pd

    return pd.Series([None if field is None else date.fromisoformat(field) for field in fields], dtype=object)


def _read_category(column: dict[str, Any], fields: list[str | None]) -> Any:
    import pandas as pd

    levels = column["levels"]
    if not isinstance(levels, list) or not all(isinstance(level, str) for level in levels):
        raise ValueError("its levels are no list of texts")
    unknown = next((field for field in fields if field is not None and field not in set(levels)), None)
    if unknown is not None:
        raise ValueError(f"{unknown!r} is none of its levels")
    return pd.Categorical(fields, categories=levels, ordered=bool(column.get("ordered")))


def _read_moments(column: dict[str, Any], fields: list[str | None]) -> Any:
    import numpy as np
    import pandas as pd

    aware = "timezone" in column or any(field is not None and field.endswith("Z") for field in fields)
    digits = 0
    for field in fields:
        if field is None:
            continue
        match = _MOMENT.fullmatch(field)
        if match is None or field.endswith("Z") != aware:
            raise ValueError(f"{field!r} is no time as in 2026-11-22T10:00:00{'Z' if aware else ''}")
        digits = max(digits, len(match[1] or ""))
    texts = ["NaT" if field is None else field.removesuffix("Z") for field in fields]
    unit = "ns" if digits > 6 else "us"  # nanoseconds reach no further than 2262
    moments = pd.Series(np.array(texts, dtype=f"M8[{unit}]"))
    return _zoned(moments.dt.tz_localize("UTC"), str(column.get("timezone") or "UTC")) if aware else moments


def _zoned(moments: pd.Series, name: str) -> pd.Series:
    from zoneinfo import ZoneInfo

    try:
        return moments.dt.tz_convert(ZoneInfo(name)) if name != "UTC" else moments
    except (ValueError, KeyError, OSError):  # no such zone on this machine: the instants are the same
        return moments


_READERS: dict[str, Callable[[dict[str, Any], list[str | None]], Any]] = {
    "int64": lambda _, fields: _nullable(fields, int, "int64", "Int64"),
    "float64": _read_floats,
    "bool": lambda _, fields: _nullable(fields, {"true": True, "false": False}.__getitem__, "bool", "boolean"),
    "string": _read_texts,
    "date": _read_dates,
    "datetime": _read_moments,
    "category": _read_category,
}
