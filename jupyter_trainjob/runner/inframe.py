"""A frame file as a pandas DataFrame, in the kernel: its source is sent there. Standard library and pandas only.

The client's ``frames`` module describes the format; its reader takes and refuses the same. Nothing of the client is in
a job.
"""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

_MAGIC = "#trainjob-frame "
_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r?\n|\Z)')
_FLAGS = {"true": True, "false": False}


def read(path: str) -> Any:
    """The DataFrame. Raises ``ImportError`` without pandas, ``ValueError`` for what is no frame file."""
    import pandas as pd  # type: ignore[import-untyped]

    first, _, body = Path(path).read_bytes().decode().partition("\n")
    if not first.startswith(_MAGIC):
        raise ValueError("it is no frame file")
    head = json.loads(first[len(_MAGIC) :])
    columns, rows = head["columns"], head["rows"]
    fields = _fields(body, len(columns), rows)
    made = [_column(pd, one, fields[index :: len(columns)]) for index, one in enumerate(columns)]
    frame = pd.concat(made, axis=1) if made else pd.DataFrame(index=range(rows))
    frame.columns = [one["name"] for one in columns]
    return frame


def _fields(body: str, width: int, rows: int) -> list[str | None]:
    """All fields, row by row; None is a missing value."""
    fields: list[str | None] = []
    at = 0
    while len(fields) < width * rows:
        row, column = divmod(len(fields), width)
        found = _FIELD.match(body, at) if at < len(body) or column else None
        if found is None:
            raise ValueError(f"it ends or breaks in row {row + 1} of {rows}")
        quoted, bare, end = found.groups()
        if (end == ",") != (column + 1 < width):
            raise ValueError(f"row {row + 1} of {rows} has not the {width} fields that its header tells")
        fields.append(quoted.replace('""', '"') if quoted is not None else bare or None)
        at = found.end()
    if width and at < len(body):
        raise ValueError(f"it has more than the {rows} rows that its header tells")
    return fields


def _column(pd: Any, told: dict[str, Any], fields: list[str | None]) -> Any:
    kind, missing = told["type"], None in fields
    if kind == "int64":
        values = [None if one is None else int(one) for one in fields]
        return pd.Series(pd.array(values, dtype="Int64" if missing else "int64"))
    if kind == "bool":
        if odd := set(fields) - {None, *_FLAGS}:
            raise ValueError(f"the column {told['name']!r} is no bool: {min(map(str, odd))!r}")
        found = [None if one is None else _FLAGS[one] for one in fields]
        return pd.Series(pd.array(found, dtype="boolean" if missing else "bool"))
    if kind == "float64":
        return pd.Series([float("nan") if one is None else float(one) for one in fields], dtype="float64")
    if kind == "date":
        return pd.Series([one and datetime.date.fromisoformat(one) for one in fields], dtype=object)
    if kind == "category":
        if odd := set(fields) - {None, *told["levels"]}:
            raise ValueError(f"{min(map(str, odd))!r} is none of the levels of the column {told['name']!r}")
        return pd.Series(pd.Categorical(fields, categories=told["levels"], ordered=bool(told.get("ordered"))))
    if kind == "datetime":
        aware = "timezone" in told or any(one is not None and one.endswith("Z") for one in fields)
        moments = pd.Series(pd.to_datetime(pd.Series(fields, dtype=object), format="ISO8601", utc=aware))
        zone = told.get("timezone", "UTC")
        try:
            return moments.dt.tz_convert(zone) if aware and zone != "UTC" else moments
        except (KeyError, OSError, ValueError):  # no such zone in this image: the instants are the same
            return moments
    if kind == "string":
        return pd.Series(fields, dtype=object).astype("str" if int(pd.__version__.split(".")[0]) >= 3 else object)
    raise ValueError(f"the column {told['name']!r} has the type {kind!r}, unknown here")
