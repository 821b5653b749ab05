"""A frame file as a pandas DataFrame, in the kernel: its source is sent there. Standard library and pandas only.

The client's ``frames`` module describes the format and has the same reader; nothing of the client is in a job.
"""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

_MAGIC = "#trainjob-frame "
_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(?:,|\r?\n|\Z)')


def read(path: str) -> Any:
    """The DataFrame. Raises ``ImportError`` without pandas, ``ValueError`` for what is no frame file."""
    import pandas as pd  # type: ignore[import-untyped]

    first, _, body = Path(path).read_bytes().decode().partition("\n")
    if not first.startswith(_MAGIC):
        raise ValueError("it is no frame file")
    head = json.loads(first[len(_MAGIC) :])
    columns, rows = head["columns"], head["rows"]
    fields: list[str | None] = []
    at = 0
    while len(fields) < len(columns) * rows:
        found = _FIELD.match(body, at)
        if found is None:
            raise ValueError(f"it breaks in row {len(fields) // len(columns) + 1}")
        quoted, bare = found.groups()
        fields.append(quoted.replace('""', '"') if quoted is not None else bare or None)
        at = found.end()
    made = [_column(pd, one, fields[index :: len(columns)]) for index, one in enumerate(columns)]
    frame = pd.concat(made, axis=1) if made else pd.DataFrame(index=range(rows))
    frame.columns = [one["name"] for one in columns]
    return frame


def _column(pd: Any, told: dict[str, Any], fields: list[str | None]) -> Any:
    kind, missing = told["type"], None in fields
    if kind == "int64":
        values = [None if one is None else int(one) for one in fields]
        return pd.Series(pd.array(values, dtype="Int64" if missing else "int64"))
    if kind == "bool":
        found = [None if one is None else one == "true" for one in fields]
        return pd.Series(pd.array(found, dtype="boolean" if missing else "bool"))
    if kind == "float64":
        return pd.Series([float("nan") if one is None else float(one) for one in fields], dtype="float64")
    if kind == "date":
        return pd.Series([one and datetime.date.fromisoformat(one) for one in fields], dtype=object)
    if kind == "category":
        return pd.Series(pd.Categorical(fields, categories=told["levels"], ordered=bool(told.get("ordered"))))
    if kind == "datetime":
        aware = "timezone" in told or any(one is not None and one.endswith("Z") for one in fields)
        moments = pd.Series(pd.to_datetime(pd.Series(fields, dtype=object), format="ISO8601", utc=aware))
        zone = told.get("timezone", "UTC")
        return moments.dt.tz_convert(zone) if aware and zone != "UTC" else moments
    if kind == "string":
        return pd.Series(fields, dtype=object).astype("str" if int(pd.__version__.split(".")[0]) >= 3 else object)
    raise ValueError(f"the column {told['name']!r} has the type {kind!r}, unknown here")
