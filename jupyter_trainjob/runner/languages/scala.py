"""Scala: literals that fit the types the code declares; Toree's kernel is taken over by ``inkernel.scala``.

Almond's kernel is used as it is: its cells are compiled whole, and its errors name ``cmd3.sc:2``, the cell's own line.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..early import JobFileError
from .base import Language, ParameterError

if TYPE_CHECKING:
    from ..early import Job
    from .toree import CompiledScala

_NAME = re.compile(r"[^\W\d]\w*")
_RESERVED = frozenset(
    [
        "abstract",
        "case",
        "catch",
        "class",
        "def",
        "do",
        "else",
        "extends",
        "false",
        "final",
        "finally",
        "for",
        "forSome",
        "given",
        "if",
        "implicit",
        "import",
        "lazy",
        "macro",
        "match",
        "new",
        "null",
        "object",
        "override",
        "package",
        "private",
        "protected",
        "return",
        "sealed",
        "super",
        "this",
        "throw",
        "trait",
        "try",
        "true",
        "type",
        "val",
        "var",
        "while",
        "with",
        "yield",
        "enum",
        "export",
        "then",
        "_",
    ]
)
_VALUE = re.compile(r"^[ \t]*(?:lazy[ \t]+)?va[lr][ \t]+(\w+)[ \t]*:", re.M)
_TYPE = re.compile(r"\s*([\w.]+)\s*")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_LONGEST = 16_000  # a class file holds strings of 65,535 bytes
_LARGEST = 3_000  # and methods of as many: about so many values
_SEQUENCES = ("List", "Seq", "Vector", "Array", "Set", "IndexedSeq", "Iterable")
_SAYS_LINE = re.compile(r"\bcmd\d+\.sc:(\d+)")
_AGENT = Path(__file__).with_name("inkernel.scala")
_DATA = Path(__file__).with_name("indata.scala")
NO_INPUT = "readLine() has nobody to answer it in a job. Pass the value as a parameter (--param name=value)."


class Scala(Language):
    """Scala, by Almond or Apache Toree."""

    comment = "//"
    tcp = True

    def __init__(self) -> None:
        super().__init__("scala")

    # Parameters

    def is_name(self, name: str) -> bool:
        """An identifier that is no keyword."""
        return _NAME.fullmatch(name) is not None and name not in _RESERVED

    def declared(self, source: str) -> dict[str, str]:
        """``{"x": "Option[Int]"}`` of ``val x: Option[Int] = None``."""
        found = {}
        for match in _VALUE.finditer(source):
            text = _type_at(source, match.end())
            if text:
                found[match[1]] = text
        return found

    def assignment(self, name: str, literal: str, declared: str) -> str:
        """A new ``val``, of the type that the default's had."""
        return f"val {name}: {declared} = {literal}" if declared else f"val {name} = {literal}"

    def literal(self, value: Any, declared: str = "") -> str:
        """Without a declared type: ``Int``, ``Long``, else ``BigInt``; ``List``, ``Map``; ``None`` for null."""
        if _size(value) > _LARGEST:
            raise ParameterError(f"it holds more than {_LARGEST} values, more than Scala compiles. Send it as a file.")
        return _typed(value, declared) if declared else _plain(value)

    # The kernel

    def check(self, job: Job) -> None:
        """A colon stands between jars in a list; with the others in a path, Spark's own log came into the job's."""
        for jar in job.jars:
            if unfit := sorted(set(jar) & set(":,%#?")):
                raise JobFileError(
                    f"Scala can't use the jar {jar!r}: its path has {', '.join(map(repr, unfit))} in it. "
                    "Rename the file, or the folder that it lies in."
                )

    def environment(self, job: Job) -> dict[str, str]:
        """Spark keeps to the job's processors and memory, and to an address that a sandbox has."""
        found = {"MASTER": f"local[{job.threads}]", "SPARK_LOCAL_IP": "127.0.0.1"}
        found["SPARK_SUBMIT_OPTS"] = f"{_processors(job)} {job.environment.get('SPARK_SUBMIT_OPTS', '')}".strip()
        if job.memory_bytes:
            found["SPARK_DRIVER_MEMORY"] = f"{_heap_megabytes(job.memory_bytes)}m"
        if job.jars:
            found["TRAINJOB_JARS"] = os.pathsep.join(job.jars)
            # Toree gives these words to a shell.
            given = job.environment.get("SPARK_OPTS") or os.environ.get("SPARK_OPTS", "")
            found["SPARK_OPTS"] = (
                f"{given} --jars {shlex.quote(','.join(Path(one).as_uri() for one in job.jars))}".strip()
            )
        return found

    def command(self, command: list[str], job: Job) -> list[str]:
        """A ``java`` is told its processors and memory as options: in a variable each JVM would announce them."""
        if Path(command[0]).name != "java":
            return command
        options = [_processors(job)]
        if job.memory_bytes:
            options.append(f"-Xmx{_heap_megabytes(job.memory_bytes)}m")
        return [command[0], *options, *command[1:]]

    def take_over(self, mark: bytes, seed: int | None = None) -> str:
        """Define ``_trainjob``; fails in a kernel that is not Toree."""
        source = _AGENT.read_text(encoding="utf-8")
        source = source.replace('"NO_INPUT"', quoted(NO_INPUT))
        begin = f"{quoted(mark.decode('ascii'))}, {'None' if seed is None else f'Some({seed}L)'}"
        return f"{source}\nimport _trainjob.{{log_metric, log_metrics, progress}}\n_trainjob.begin({begin})"

    def made_before(self, command: list[str], environment: dict[str, str], job: Job) -> dict[str, str]:
        """Toree gets what :mod:`.scalajar` left for it."""
        from .toree import PLACE, variables

        place = job.compiled or os.environ.get(PLACE, "")
        return variables(command, environment, place) if place else {}

    def adopt(self, values: dict[str, str], seed: int | None) -> str:
        """By ``inkernel.scala``."""
        pairs = ", ".join(f"{quoted(name)} -> {quoted(value)}" for name, value in values.items())
        return f"_trainjob.adopt(Map({pairs}), {'None' if seed is None else f'Some({seed}L)'})"

    def compiled(self) -> CompiledScala:
        """One that takes orders."""
        from .toree import CompiledScala

        return CompiledScala()

    def cell(self, source_file: str, answer_file: str) -> str:
        """Let it run the cell."""
        return f"_trainjob.run({quoted(source_file)}, {quoted(answer_file)})"

    def data(self) -> str:
        """Define ``_trainjob_data``, which :meth:`call` calls."""
        return _DATA.read_text(encoding="utf-8")

    def call(self, answer_file: str, function: str, args: tuple[Any, ...]) -> str:
        """Call one of its functions."""
        words = ", ".join(map(quoted, self.arguments(function, args)))
        return f"_trainjob_data.answer({quoted(answer_file)})(_trainjob_data.{function}({words}))"

    @staticmethod
    def arguments(function: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """What Scala's function of that name takes."""
        if function == "receive":
            file, names, _, form = args
            return file, names[0], form
        return args

    def line(self, traceback: str) -> int | None:
        """Of Almond's ``cmd3.sc:2``, the innermost."""
        found = _SAYS_LINE.search(traceback)
        return int(found[1]) if found else None


def _processors(job: Job) -> str:
    return f"-XX:ActiveProcessorCount={job.threads}"


def _heap_megabytes(memory_bytes: int) -> int:
    """The JVM takes more than its heap: code, threads, buffers."""
    return max(64, int(memory_bytes * 0.7) >> 20)


def quoted(text: str) -> str:
    """A string literal; a long one as parts that are joined at run time."""
    if len(text) <= _LONGEST:
        return f'"{"".join(map(_character, text))}"'
    parts = (text[start : start + _LONGEST] for start in range(0, len(text), _LONGEST))
    return f"List({', '.join(map(quoted, parts))}).mkString"


def _character(one: str) -> str:
    if one in _ESCAPES:
        return _ESCAPES[one]
    if one.isprintable():
        return one
    # Scala 2.12 reads \uXXXX before all else, but a quote, a backslash and a line's end never come here
    return "".join(f"\\u{unit:04x}" for unit in _units(one))


def _units(one: str) -> Iterator[int]:
    data = one.encode("utf-16-be", "surrogatepass")
    return (int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def _plain(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _integer(value, _width(value))
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, datetime.datetime):
        kind = "LocalDateTime" if value.tzinfo is None else "OffsetDateTime"
        return f'java.time.{kind}.parse("{value.isoformat()}")'
    if isinstance(value, datetime.date):
        return f'java.time.LocalDate.parse("{value.isoformat()}")'
    if isinstance(value, list):
        kind, parts = _elements(value)
        return f"List{kind and f'[{kind}]'}({', '.join(parts)})"
    if isinstance(value, dict):
        kind, parts = _elements(list(value.values()))
        pairs = ", ".join(f"{quoted(key)} -> {part}" for key, part in zip(value, parts, strict=True))
        return f"Map{kind and f'[String, {kind}]'}({pairs})"
    raise ParameterError(f"a value can't be of type {type(value).__name__}")


def _elements(values: list[Any]) -> tuple[str, list[str]]:
    """The type to name, where Scala would not find it or would change values to make them alike; the literals."""
    if values and all(isinstance(one, int) and not isinstance(one, bool) for one in values):
        width = max((_width(one) for one in values), key=["Int", "Long", "BigInt"].index)
        return "", [_integer(one, width) for one in values]
    kinds = {type(one) for one in values}
    alike = len(kinds) == 1 and kinds <= {bool, float, str, datetime.date}
    return "" if alike else "Any", [_plain(one) for one in values]


def _width(value: int) -> str:
    return "Int" if -(2**31) <= value < 2**31 else "Long" if -(2**63) <= value < 2**63 else "BigInt"


def _integer(value: int, width: str) -> str:
    if width == "BigInt":
        digits = str(value) if abs(value) < 10**4000 else f"{value:x}"
        return f"BigInt({quoted(digits)})" if abs(value) < 10**4000 else f"BigInt({quoted(digits)}, 16)"
    return f"{value}L" if width == "Long" else str(value)


def _double(value: float) -> str:
    if math.isnan(value):
        return "Double.NaN"
    if math.isinf(value):
        return "Double.PositiveInfinity" if value > 0 else "Double.NegativeInfinity"
    return repr(value)


def _size(value: Any) -> int:
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return 1 + sum(map(_size, inner))


# Declared types


def _type_at(source: str, start: int) -> str:
    """The type that stands there, up to its ``=``; empty for one that is no name with arguments in brackets."""
    open_, at = 0, start
    while at < len(source) and not (open_ == 0 and source[at] in "=\n"):
        open_ += {"[": 1, "]": -1}.get(source[at], 0)
        at += 1
    text = " ".join(source[start:at].split())
    return text if at < len(source) and source[at] == "=" and re.fullmatch(r"[\w.\[\], ]+", text) else ""


def _arguments(text: str) -> tuple[str, list[str]]:
    """``("Map", ["String", "Int"])`` of ``Map[String, Int]``."""
    name, bracket, rest = text.strip().partition("[")
    parts, open_, part = [], 0, ""
    for one in rest.rstrip()[:-1] if bracket else "":
        open_ += {"[": 1, "]": -1}.get(one, 0)
        if one == "," and open_ == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += one
    return name.strip().rpartition(".")[2], [*parts, part.strip()] if bracket else []


def _typed(value: Any, declared: str) -> str:
    name, arguments = _arguments(declared)
    if name == "Option" and len(arguments) == 1:
        return "None" if value is None else f"Some({_typed(value, arguments[0])})"
    if isinstance(value, list) and name in _SEQUENCES and len(arguments) == 1:
        return f"{name}[{arguments[0]}]({', '.join(_typed(one, arguments[0]) for one in value)})"
    if isinstance(value, dict) and name == "Map" and len(arguments) == 2 and arguments[0] == "String":
        pairs = ", ".join(f"{quoted(key)} -> {_typed(one, arguments[1])}" for key, one in value.items())
        return f"Map[String, {arguments[1]}]({pairs})"
    if name in _SCALARS:
        found: str | None = _SCALARS[name](value)
        if found is None:
            shown = "null" if value is None else json.dumps(value, default=str)[:200]
            hint = f" Declare it Option[{declared}], or give it a value." if value is None else ""
            raise ParameterError(f"{shown} does not fit its declared type {declared}.{hint}")
        return found
    return _plain(value)  # a type of the code's own, or Any: the compiler judges


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _within(value: Any, width: str) -> str | None:
    widths = ["Int", "Long", "BigInt"]
    fits = _is_int(value) and widths.index(_width(value)) <= widths.index(width)
    return _integer(value, width) if fits else None


def _number(value: Any) -> str | None:
    if _is_int(value):
        return f"{value}.0" if abs(value) <= 2**53 else None
    return _double(value) if isinstance(value, float) else None


def _if(kind: type) -> Any:
    return lambda value: _plain(value) if type(value) is kind else None


def _moment(aware: bool) -> Any:
    def render(value: Any) -> str | None:
        right = isinstance(value, datetime.datetime) and (value.tzinfo is not None) == aware
        return _plain(value) if right else None

    return render


_SCALARS: dict[str, Any] = {
    "Int": lambda value: _within(value, "Int"),
    "Long": lambda value: _within(value, "Long"),
    "BigInt": lambda value: _within(value, "BigInt"),
    "Double": _number,
    "Float": lambda value: (found := _number(value)) and f"({found}).toFloat",
    "Boolean": _if(bool),
    "String": _if(str),
    "LocalDate": _if(datetime.date),
    "LocalDateTime": _moment(False),
    "OffsetDateTime": _moment(True),
    "Instant": lambda value: (found := _moment(True)(value)) and f"{found}.toInstant",
}
