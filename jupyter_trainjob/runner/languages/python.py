"""Python: its kernel is taken over by :mod:`..inkernel`, cells are sent as they are."""

from __future__ import annotations

import datetime
import keyword
import math
from pathlib import Path
from typing import Any

from .base import Language, ParameterError

_RUNNER = Path(__file__).resolve().parents[1]
_READERS = {"frame": _RUNNER / "inframe.py", "json": _RUNNER / "languages" / "values.py"}
_MODULE = "__import__('sys').modules['_trainjob_inkernel']"
NO_INPUT = "input() has nobody to answer it in a job. Pass the value as a parameter (--param name=value)."


class Python(Language):
    """Python, by ipykernel."""

    def __init__(self) -> None:
        super().__init__("python")

    def is_name(self, name: str) -> bool:
        """An identifier that is no keyword."""
        return name.isidentifier() and not keyword.iskeyword(name)

    def literal(self, value: Any, declared: str = "") -> str:
        """As ``repr`` writes it, but for what has no literal."""
        if value is None or isinstance(value, (bool, str)):
            return repr(value)
        if isinstance(value, int):
            return repr(value) if abs(value) < 10**4000 else hex(value)
        if isinstance(value, float):
            return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
        if isinstance(value, datetime.datetime):
            return f"__import__('datetime').datetime.fromisoformat({value.isoformat()!r})"
        if isinstance(value, datetime.date):
            return f"__import__('datetime').date({value.year}, {value.month}, {value.day})"
        if isinstance(value, list):
            return "[" + ", ".join(map(self.literal, value)) + "]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{str(key)!r}: {self.literal(one)}" for key, one in value.items()) + "}"
        raise ParameterError(f"a value can't be of type {type(value).__name__}")

    def take_over(self, mark: bytes, seed: int | None = None) -> str:
        """Lay our streams into the kernel; ``%%trainjob`` runs in place."""
        kernel, place = ((_RUNNER / name).read_text(encoding="utf-8") for name in ("inkernel.py", "inplace.py"))
        return (
            "import sys as _s, types as _t\n"
            "_m = _s.modules['_trainjob_inkernel'] = _t.ModuleType('_trainjob_inkernel')\n"
            f"exec(compile({kernel!r}, '<trainjob>', 'exec'), _m.__dict__)\n"
            f"_m.install({mark!r}, {NO_INPUT!r}, {seed!r})\n"
            "_p = _t.ModuleType('_trainjob_inplace')\n"
            f"exec(compile({place!r}, '<trainjob>', 'exec'), _p.__dict__)\n"
            "_p.install(get_ipython())\n"
            "del _s, _t, _m, _p"
        )

    def adopt(self, values: dict[str, str], seed: int | None) -> str:
        """By :mod:`..inkernel`."""
        return f"{_MODULE}.adopt({values!r}, {seed!r})"

    def preload(self, names: list[str]) -> str:
        """By :mod:`..inkernel`."""
        return f"{_MODULE}.preload({names!r})"

    def call(self, answer_file: str, function: str, args: tuple[Any, ...]) -> str:
        """Call a function of :mod:`..inkernel`."""
        if function == "as_script":
            args = (*args, str(_RUNNER / "inscript.py"))
        if function == "receive":
            args = (*args, str(_READERS[args[3]])) if args[3] in _READERS else args
        return f"{_MODULE}.answer({answer_file!r}, {_MODULE}.{function}(*{args!r}) or {{}})"
