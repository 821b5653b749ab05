"""What goes in as a parameter comes out equal, in three languages, and no value breaks out of its literal."""

import datetime
import json
import math
import struct
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_trainjob.runner.languages import ParameterError, find
from jupyter_trainjob.runner.languages.values import decode, moment

from .harness import notebook, run
from .kernels import needs_r, needs_scala

NASTY = st.sampled_from(
    [
        "'; quit(); '",
        '"; quit(); "',
        '"""',
        "\\",
        "\\\\u0022",
        "\\u0022 + sys.exit(1) + \\u0022",
        "${sys.exit(1)}",
        "$x",
        "`x`",
        "a\nb\r\nc\u2028d",
        "\x1b[31m",
        "é😀",
        "\\x41\\101",
        "%s",
        "#",
        "//",
        "*/",
        "\u001a",
        "\u0085",
    ]
)
WORDS = st.one_of(NASTY, st.text(max_size=12))
MOMENTS = st.datetimes(datetime.datetime(1, 1, 2), timezones=st.none() | st.just(datetime.timezone.utc))
EXAMPLES = 400


def values(words, integers):
    floats = st.floats() | st.sampled_from([-0.0, 5e-324, 0.1])
    scalars = st.one_of(st.none(), st.booleans(), integers, floats, words, st.dates(), MOMENTS)
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=10
    )


def encoded(value):
    """A value as a client sends it."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"$type": "float", "value": {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")}
    if isinstance(value, datetime.datetime):
        return {"$type": "datetime", "value": value.isoformat()}
    if isinstance(value, datetime.date):
        return {"$type": "date", "value": value.isoformat()}
    if isinstance(value, list):
        return [encoded(one) for one in value]
    if isinstance(value, dict):
        inner = {key: encoded(one) for key, one in value.items()}
        return {"$type": "map", "value": inner} if "$type" in inner else inner
    return value


def same(a, b):
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    if isinstance(a, float) and a == 0:
        return isinstance(b, float) and math.copysign(1, a) == math.copysign(1, b)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


def collected(strategy, count=EXAMPLES):
    """Examples for one process to read all together."""
    found = []

    @settings(max_examples=count, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(value):
        found.append(value)

    collect()
    return found


@given(values(WORDS | st.just("\0") | st.just("\ud800"), st.integers() | st.integers(10**4400, 10**4500)))
def test_python_gets_the_value_it_was_sent(value):
    source = find("python").literal(decode(encoded(value)))
    assert "\n" not in source
    assert same(eval(source, {}), value)


# R: a program writes each value with its type

R_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | NASTY
R_PROGRAM = Path(__file__).with_name("tell.R")


def as_r(value):
    """What ``tell`` should say of a value."""
    if value is None:
        return {"t": "null"}
    if isinstance(value, dict):
        return {"t": "list", "names": list(value), "v": [as_r(one) for one in value.values()]}
    if not isinstance(value, list):
        return {"t": r_kind(value), "names": None, "v": [r_text(value)]}
    kinds = {r_kind(one) for one in value}
    number = kinds <= {"integer", "double"}
    if not value or "" in kinds or (len(kinds) > 1 and not number):
        return {"t": "list", "names": None, "v": [as_r(one) for one in value]}
    if len(kinds) > 1:
        return {"t": "double", "names": None, "v": [float(one).hex() for one in value]}
    return {"t": kinds.pop(), "names": None, "v": [r_text(one) for one in value]}


def r_kind(value):
    if isinstance(value, int) and not isinstance(value, bool):
        return "integer" if abs(value) < 2**31 else "double"
    kinds = {bool: "logical", float: "double", str: "character", datetime.date: "date", datetime.datetime: "time"}
    return kinds.get(type(value), "")


def r_text(value):
    kind = r_kind(value)
    if kind == "double":
        return float(value).hex()
    if kind == "time":
        utc = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        return (utc - datetime.datetime.fromtimestamp(0, datetime.timezone.utc)) // datetime.timedelta(microseconds=1)
    return {"integer": str, "date": lambda one: str((one - datetime.date(1970, 1, 1)).days)}.get(kind, lambda one: one)(
        value
    )


def matches(told, wanted):
    if told["t"] != wanted["t"] or told.get("names") != wanted.get("names"):
        return False
    if told["t"] == "null":
        return True
    if len(told["v"]) != len(wanted["v"]):
        return False
    pairs = zip(told["v"], wanted["v"], strict=True)
    if told["t"] == "list":
        return all(matches(*pair) for pair in pairs)
    if told["t"] == "double":
        return all(same(r_double(a), float.fromhex(b)) for a, b in pairs)
    if told["t"] == "time":
        return all(abs(Decimal(a) * 10**6 - b) <= 40 for a, b in pairs)
    return told["v"] == wanted["v"]


def r_double(text):
    return {"NaN": math.nan, "Inf": math.inf, "-Inf": -math.inf}.get(text) or float.fromhex(text)


@needs_r
def test_r_gets_the_values_it_was_sent():
    numbers = st.integers(-(2**53), 2**53) | st.integers(-(2**31) + 1, 2**31 - 1)
    sent = collected(values(R_TEXT, numbers))
    sources = [find("r").literal(decode(json.loads(json.dumps(encoded(value))))) for value in sent]
    assert not any("\n" in source for source in sources)
    done = subprocess.run(
        ["Rscript", str(R_PROGRAM)], input="\n".join(sources).encode(), capture_output=True, check=True
    )
    told = done.stdout.decode().split("\n")[:-1]
    assert len(told) == len(sent)
    wrong = [
        (value, source, line)
        for value, source, line in zip(sent, sources, told, strict=True)
        if not matches(json.loads(line), as_r(value))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**53 + 1, "R can't hold 9007199254740993 exactly; send it as a string."),
        (10**1000, "R can't hold an integer of 3322 bits exactly; send it as a string."),
        ("a\0b", "a string of R can't hold a NUL character. Send it as a file."),
        ("\ud800", "a string of R can't hold half of a character"),
        ({"x": {"\0": 1}}, "a string of R can't hold a NUL character"),
    ],
)
def test_what_r_can_not_hold_is_named(value, message):
    with pytest.raises(ParameterError) as caught:
        find("r").parameters({"n": value})
    assert str(caught.value).startswith("The parameter 'n' can't be given to the code: ")
    assert message in str(caught.value)


def test_what_is_nested_too_deep_for_r_is_named():
    value = 1
    for _ in range(30):
        value = [value]
    with pytest.raises(ParameterError, match="more than 15 lists and maps in one another"):
        find("r").parameters({"n": value})


# Scala: the same, in one process of the kernel

SCALA_PROGRAM = Path(__file__).with_name("tell.scala").read_text()


def as_scala(value):
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        kind = "Int" if -(2**31) <= value < 2**31 else "Long" if -(2**63) <= value < 2**63 else "BigInt"
        return [kind, f"{value:x}" if kind == "BigInt" else str(value)]
    if isinstance(value, float):
        return ["Double", str(bits(value))]
    if isinstance(value, datetime.datetime):
        zone = value.tzinfo or datetime.timezone.utc
        since = value.replace(tzinfo=zone) - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        kind = "OffsetDateTime" if value.tzinfo else "LocalDateTime"
        return [kind, str(since.days * 86400 + since.seconds), since.microseconds * 1000]
    if isinstance(value, datetime.date):
        return ["LocalDate", value.isoformat()]
    if isinstance(value, dict):
        return {key: as_scala(one) for key, one in value.items()}
    whole = [as_scala(one) for one in value]
    if value and all(isinstance(one, int) and not isinstance(one, bool) for one in value):
        widest = max((one[0] for one in whole), key=["Int", "Long", "BigInt"].index)
        whole = [[widest, f"{one:x}" if widest == "BigInt" else str(one)] for one in value]
    return ["List", whole]


def bits(value):
    return struct.unpack(">q", struct.pack(">d", math.nan if math.isnan(value) else value))[0]


@needs_scala
@pytest.mark.slow
def test_scala_gets_the_values_it_was_sent(tmp_path, scala_compiled):
    sent = collected(values(WORDS, st.integers() | st.integers(-(2**31), 2**31 - 1)), 200)
    scala = find("scala")
    sources = [scala.literal(decode(json.loads(json.dumps(encoded(value))))) for value in sent]
    assert not any("\n" in source for source in sources)
    declared = {
        "val a: Option[Int] = None": ({"a": 3}, ["some", ["Int", "3"]]),
        "val b: Option[String] = None": ({"b": None}, None),
        "val c: Double = 1": ({"c": 2}, ["Double", str(bits(2.0))]),
        "val d: Vector[Option[Long]] = Vector()": ({"d": [1, None]}, ["Vector", [["some", ["Long", "1"]], None]]),
        "val e: Map[String, List[Double]] = Map()": ({"e": {"x": [1]}}, {"x": ["List", [["Double", str(bits(1.0))]]]}),
        "var f: BigInt = 3": ({"f": 4}, ["BigInt", "4"]),
    }
    cells = [SCALA_PROGRAM]
    for start in range(0, len(sources), 25):
        cells.append("\n".join(f"println(Tell.tell({source}))" for source in sources[start : start + 25]))
    for default, (parameters, _) in declared.items():
        cells += [default, scala.parameters(parameters, default), f"println(Tell.tell({next(iter(parameters))}))"]
    ended = run(tmp_path, notebook(*cells), language="scala", compiled=str(scala_compiled), seconds=250)
    assert ended.outcome == "ok", ended.log[-3000:]
    told = [json.loads(line) for line in ended.log.decode().splitlines()]
    wanted = [as_scala(value) for value in sent] + [value for _, value in declared.values()]
    assert len(told) == len(wanted)
    assert [pair for pair in zip(told, wanted, strict=True) if pair[0] != pair[1]] == []


@pytest.mark.parametrize(
    ("declared", "value", "message"),
    [
        ("Int", None, "null does not fit its declared type Int. Declare it Option[Int], or give it a value."),
        ("Int", 2**31, "2147483648 does not fit its declared type Int."),
        ("Option[Int]", "x", '"x" does not fit its declared type Int.'),
        ("Boolean", 1, "1 does not fit its declared type Boolean."),
        ("Map[String, Int]", {"a": 1.5}, "1.5 does not fit its declared type Int."),
    ],
)
def test_a_value_that_does_not_fit_its_declared_scala_type_is_named(declared, value, message):
    with pytest.raises(ParameterError) as caught:
        find("scala").parameters({"n": value}, f"// defaults\nval n: {declared} = ???")
    assert str(caught.value) == f"The parameter 'n' can't be given to the code: {message}"


@pytest.mark.parametrize("language", ["python", "r", "scala"])
@pytest.mark.parametrize("name", ["a b", "1a", "class if", "", "x;import os", "x\ny", "x)", "`x`", "é<-1"])
def test_a_parameter_that_is_no_variable_is_named(language, name):
    with pytest.raises(ParameterError, match="is no variable name; rename it"):
        find(language).parameters({name: 1})


@pytest.mark.parametrize(("language", "name"), [("python", "class"), ("r", "function"), ("scala", "val"), ("r", "..1")])
def test_a_keyword_is_no_variable(language, name):
    with pytest.raises(ParameterError, match="is no variable name; rename it"):
        find(language).parameters({name: 1})


def test_an_unknown_language_says_which_take_parameters():
    with pytest.raises(ParameterError, match="Parameters can be given to Python, R and Scala; this is 'julia'"):
        find("julia").parameters({"x": 1})


@pytest.mark.parametrize("value", [{"$type": "float", "value": "1"}, {"$type": "x"}, {"$type": "date", "value": "no"}])
def test_a_tag_that_is_none_is_refused(value):
    with pytest.raises(ParameterError, match="The parameter 'n' can't be given to the code"):
        find("python").parameters({"n": value})


def test_moments_are_read_with_and_without_offsets():
    assert moment("2026-11-22T10:00:00.5Z") == datetime.datetime(2026, 11, 22, 10, 0, 0, 500000, datetime.timezone.utc)
    assert moment("2026-11-22T10:00:00-01:30").utcoffset() == -datetime.timedelta(hours=1, minutes=30)
    assert moment("2026-11-22 10:00:00").tzinfo is None
    with pytest.raises(ValueError, match="is no date and time"):
        moment("2026-11-22")
