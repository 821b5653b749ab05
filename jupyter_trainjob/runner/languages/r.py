"""R: the kernel (IRkernel) is taken over by ``inkernel.R``, which reads and runs each cell itself."""

from __future__ import annotations

import datetime
import json
import math
import os
import re
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..early import JobFileError
from .base import Language, ParameterError
from .values import decode, depth

if TYPE_CHECKING:
    from ..early import Job

_NAME = re.compile(r"(?:[^\W\d_]|\.(?![0-9]))[\w.]*")
_RESERVED = frozenset(
    [
        "if",
        "else",
        "repeat",
        "while",
        "function",
        "for",
        "next",
        "break",
        "TRUE",
        "FALSE",
        "NULL",
        "Inf",
        "NaN",
        "NA",
        "NA_integer_",
        "NA_real_",
        "NA_character_",
        "NA_complex_",
        "in",
        "...",
    ]
)
_INTEGER = 2**31 - 1
_EXACT = 2**53
_DEEPEST = 15  # R's parser gives up at 50 brackets in one another; one of our levels may take three
_OPEN_FILES = 256
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_AGENT = Path(__file__).with_name("inkernel.R")
_DATA = Path(__file__).with_name("indata.R")
NO_INPUT = "readline() has nobody to answer it in a job. Pass the value as a parameter (--param name=value)."


class R(Language):
    """R, by IRkernel."""

    adopts_with_code = True  # IRkernel opens a graphics device for each request
    rehearsal = "invisible(NULL)"

    def __init__(self) -> None:
        super().__init__("r")

    # Parameters

    def is_name(self, name: str) -> bool:
        """A syntactic name."""
        return _NAME.fullmatch(name) is not None and name not in _RESERVED and not re.fullmatch(r"\.\.\d+", name)

    def assignment(self, name: str, literal: str, declared: str) -> str:
        """With R's own arrow."""
        return f"{name} <- {literal}"

    def literal(self, value: Any, declared: str = "") -> str:
        """A list of scalars of one type is a vector, any other one a ``list``, a map a named ``list``."""
        if depth(value) > _DEEPEST:
            raise ParameterError(
                f"it holds more than {_DEEPEST} lists and maps in one another, more than R reads. Send it as a file."
            )
        return self._literal(value)

    def _literal(self, value: Any) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, bool):
            return "TRUE" if value else "FALSE"
        if isinstance(value, int):
            return _integer(value)
        if isinstance(value, float):
            return _double(value)
        if isinstance(value, str):
            return quoted(value)
        if isinstance(value, datetime.datetime):
            return _moment(value)
        if isinstance(value, datetime.date):
            return f'as.Date("{value.isoformat()}")'
        if isinstance(value, list):
            kind = "c" if value and len({_kind(one) for one in value}) == 1 and _kind(value[0]) else "list"
            return f"{kind}({', '.join(map(self._literal, value))})"
        if isinstance(value, dict):
            return self._named(value)
        raise ParameterError(f"a value can't be of type {type(value).__name__}")

    def _named(self, value: dict[str, Any]) -> str:
        if value and "" not in value:
            return f"list({', '.join(f'{quoted(key)} = {self._literal(one)}' for key, one in value.items())})"
        values, names = ", ".join(map(self._literal, value.values())), ", ".join(map(quoted, value))
        return f"structure(list({values}), names = {f'c({names})' if value else 'character(0)'})"

    # The kernel

    def environment(self, job: Job) -> dict[str, str]:
        """``parallel``, data.table and RcppParallel keep to the job's processors."""
        names = ("MC_CORES", "R_DATATABLE_NUM_THREADS", "RCPP_PARALLEL_NUM_THREADS")
        found = dict.fromkeys(names, str(job.threads))
        if job.libraries:
            others = job.environment.get("R_LIBS") or os.environ.get("R_LIBS", "")
            paths = dict.fromkeys([*job.libraries, *filter(None, others.split(os.pathsep))])
            found["R_LIBS"] = os.pathsep.join(paths)
        return found

    def check(self, job: Job) -> None:
        """R says no more than that the limit is too low, and ends; of libraries that are not there it says nothing, and
        the code would look wrong that uses them."""
        for path in job.libraries:
            if not Path(path).is_dir():
                raise JobFileError(
                    f"The R packages of this job are gone: there is no folder {path!r}. Run it again with retry."
                )
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if 0 <= limit < _OPEN_FILES:
            raise JobFileError(
                f"R does not start with fewer than {_OPEN_FILES} open files, and this job may have {limit}. "
                "Set resources.openFiles to 1024, or choose a profile that does."
            )

    def take_over(self, mark: bytes, seed: int | None = None) -> str:
        """Read ``inkernel.R`` into an environment of its own, which ``search()`` shows as ``tools:trainjob``."""
        begin = "NULL" if seed is None else f"{seed % 2**31}L"  # R's seeds are of 31 bits
        return (
            "local({ made <- new.env(parent = baseenv()); "
            f"sys.source({quoted(str(_AGENT))}, made, keep.source = FALSE); "
            f"made$install({quoted(mark.decode('ascii'))}, {quoted(NO_INPUT)}, {begin}) "
            "})"
        )

    def adopt(self, values: dict[str, str], seed: int | None) -> str:
        """With R's own means."""
        given = ", ".join(f"{name} = {quoted(value)}" for name, value in values.items())
        begin = "" if seed is None else f"set.seed({seed % 2**31}L); "
        return f"local({{ Sys.setenv({given}); {begin}invisible(NULL) }})"

    def preload(self, names: list[str]) -> str:
        """Load their namespaces; ``library`` then only attaches them."""
        packages = ", ".join(map(quoted, names))
        load = "suppressMessages(try(loadNamespace(one), silent = TRUE))"
        return f"local({{ for (one in c({packages})) {load}; invisible(NULL) }})"

    def cell(self, source_file: str, answer_file: str) -> str:
        """Let it run the cell."""
        return f".trainjob$run({quoted(source_file)}, {quoted(answer_file)})"

    def call(self, answer_file: str, function: str, args: tuple[Any, ...]) -> str:
        """Call one of its functions, or one of ``indata.R``."""
        return self._receive(answer_file, *args) if function == "receive" else self._data(answer_file, function, *args)

    def _receive(self, answer_file: str, file: str, names: list[str], made_by: str, form: str) -> str:
        if form == "frame":
            return self._data(answer_file, "receive_frame", file, names[0])
        value = decode(json.loads(Path(file).read_bytes()))
        code = Path(answer_file).with_name("variable.R")
        code.write_text(f"`{names[0]}` <- {self.literal(value)}\n", encoding="utf-8")
        return self._data(answer_file, "receive_code", str(code))

    def _data(self, answer_file: str, function: str, *args: str) -> str:
        given = ", ".join(map(quoted, args))
        return f".trainjob$answering({quoted(answer_file)}, .trainjob$data({quoted(str(_DATA))})${function}({given}))"


def quoted(text: str) -> str:
    """A string literal. Raises :class:`ParameterError` for what no R string can hold."""
    if "\0" in text:
        raise ParameterError("a string of R can't hold a NUL character. Send it as a file.")
    if any("\ud800" <= one <= "\udfff" for one in text):
        raise ParameterError("a string of R can't hold half of a character (a lone surrogate). Send it as a file.")
    return '"' + "".join(_ESCAPES.get(one) or (one if one.isprintable() else _code(one)) for one in text) + '"'


def _code(character: str) -> str:
    number = ord(character)
    return f"\\u{{{number:x}}}" if number <= 0xFFFF else f"\\U{{{number:x}}}"


def _integer(value: int) -> str:
    if abs(value) <= _INTEGER:
        return f"{value}L"
    if abs(value) <= _EXACT:
        return str(value)
    raise ParameterError(f"R can't hold {_short(value)} exactly; send it as a string.")


def _short(value: int) -> str:
    return str(value) if abs(value) < 10**40 else f"an integer of {value.bit_length()} bits"


def _double(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    text = repr(value)
    digits, _, exponent = text.partition("e")
    short = len(digits.strip("-").replace(".", "").strip("0")) <= 15
    return text if short and abs(int(exponent or 0)) <= 22 else value.hex()  # R reads long decimals inexactly


def _moment(value: datetime.datetime) -> str:
    if value.tzinfo is not None:
        value = value.astimezone(datetime.timezone.utc)
    whole = f'as.POSIXct("{value:%Y-%m-%d %H:%M:%S}", tz = "UTC")'.replace('("', '("' + "0" * (4 - len(f"{value:%Y}")))
    return f"{whole} + {value.microsecond / 1e6!r}" if value.microsecond else whole


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "logical"
    for kind, name in (((int, float), "number"), (str, "string"), (datetime.datetime, "time"), (datetime.date, "date")):
        if isinstance(value, kind):
            return name
    return ""
