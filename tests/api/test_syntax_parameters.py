"""What a cell tagged ``parameters`` declares, in all three languages, and which values fit. Pure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jupyter_trainjob.api.sources.findings import ParameterInfo
from jupyter_trainjob.api.sources.language import Language
from jupyter_trainjob.api.sources.parameters import declared_errors, used_errors
from jupyter_trainjob.api.sources.python import Python
from jupyter_trainjob.api.sources.r import R
from jupyter_trainjob.api.sources.rparser import RParser
from jupyter_trainjob.api.sources.scala import Scala
from jupyter_trainjob.api.sources.scalaparser import ScalaParser

PYTHON, R_, SCALA = Python(), R(RParser(list)), Scala(ScalaParser(list, None))
UNKNOWN = object()


def declared(language: Language, code: str) -> dict[str, ParameterInfo]:
    found = language.declared(code)
    assert found is not None
    return {info.name: info for info in found}


def one(language: Language, line: str) -> tuple[str, Any]:
    """Type and default of the one parameter that a line declares."""
    (info,) = declared(language, line).values()
    return info.type, info.default if info.known else UNKNOWN


# Defaults and types


@pytest.mark.parametrize(
    ("line", "type_", "default"),
    [
        ("lr = 0.1", "float", 0.1),
        ("lr: float = 1", "float", 1),
        ("n = -3", "int", -3),
        ("big = 10**3", "", UNKNOWN),
        ("name = 'a\\tb'", "str", "a\tb"),
        ("on = True", "bool", True),
        ("nothing = None", "", None),
        ("xs: list[int] = [1, 2]", "list[int]", [1, 2]),
        ("pair = (1, 'a')", "list", [1, "a"]),
        ("m = {'a': {'b': 1.5}}", "dict", {"a": {"b": 1.5}}),
        ("m = {'$type': 1}", "dict", {"$type": "map", "value": {"$type": 1}}),
        ("m = {1: 2}", "", UNKNOWN),
        ("x = float('nan')", "float", {"$type": "float", "value": "NaN"}),
        ("x = -1e999", "float", {"$type": "float", "value": "-Infinity"}),
        ("x = math.inf", "float", {"$type": "float", "value": "Infinity"}),
        ("d = datetime.date(2026, 11, 2)", "date", {"$type": "date", "value": "2026-11-02"}),
        ("o: 'Optional[int]' = None", "Optional[int]", None),
        ("path = os.environ['HOME']", "", UNKNOWN),
        ("x = b'bytes'", "", UNKNOWN),
        ("n = 2**200 if True else 1", "", UNKNOWN),
    ],
)
def test_python(line: str, type_: str, default: Any) -> None:
    assert one(PYTHON, line) == (type_, default)


@pytest.mark.parametrize(
    ("line", "type_", "default"),
    [
        ("lr <- 0.1", "numeric", 0.1),
        ("n = 10L", "integer", 10),
        ("1.0 -> x", "numeric", 1.0),
        ("x <<- -2", "numeric", -2),
        ("name <- 'it\\'s'", "character", "it's"),
        ('raw <- r"(a\\b"c)"', "character", 'a\\b"c'),
        ("on <- TRUE", "logical", True),
        ("nothing <- NULL", "", None),
        ("xs <- c(1, 2.5,\n  -3)", "numeric", [1, 2.5, -3]),
        ("xs <- c('a', 'b')", "character", ["a", "b"]),
        ("l <- list(a = 1, b = list('x', TRUE))", "list", {"a": 1, "b": ["x", True]}),
        ("l <- list()", "list", []),
        ("l <- list(1, b = 2)", "", UNKNOWN),
        ("d <- as.Date('2026-11-22')", "Date", {"$type": "date", "value": "2026-11-22"}),
        ("x <- Inf", "numeric", {"$type": "float", "value": "Infinity"}),
        ("x <- -Inf", "numeric", {"$type": "float", "value": "-Infinity"}),
        ("x <- NaN", "numeric", {"$type": "float", "value": "NaN"}),
        ("x <- NA", "", UNKNOWN),
        ("h <- 0x1F", "numeric", 31),
        ("path <- file.path('a', 'b')", "", UNKNOWN),
        ("f <- function(x)\n  x + 1", "", UNKNOWN),
        ("x <-\n  3", "numeric", 3),
        ("`odd name` <- 1", "numeric", 1),
        ("z <- 3i", "", UNKNOWN),
    ],
)
def test_r(line: str, type_: str, default: Any) -> None:
    assert one(R_, line) == (type_, default)


@pytest.mark.parametrize(
    ("line", "type_", "default"),
    [
        ("val lr = 0.1", "Double", 0.1),
        ("val lr: Float = 1.5f", "Float", 1.5),
        ("var n = -3", "Int", -3),
        ("val n = 1_000L", "Long", 1000),
        ('val name = "a\\tb"', "String", "a\tb"),
        ('val text = """a\n"b" c"""', "String", 'a\n"b" c'),
        ("val c = 'x'", "Char", "x"),
        ("private lazy val on: Boolean = true", "Boolean", True),
        ("val o: Option[Double] = None", "Option[Double]", None),
        ("val o: Option[Int] = Some(3)", "Option[Int]", 3),
        ("val xs = List(1, 2)", "", [1, 2]),
        ("val xs: Seq[Seq[Int]] = Seq(Seq(1), Nil)", "Seq[Seq[Int]]", [[1], []]),
        ('val m: Map[String, Int] =\n  Map("a" -> 1, "b" -> 2)', "Map[String, Int]", {"a": 1, "b": 2}),
        ('val d = java.time.LocalDate.parse("2026-11-22")', "", {"$type": "date", "value": "2026-11-22"}),
        ("val x = Double.NaN", "Double", {"$type": "float", "value": "NaN"}),
        ('val b = BigInt("123456789012345678901")', "BigInt", 123456789012345678901),
        ("val o = Some(3)", "", 3),
        ("val x = 1 + 2", "", UNKNOWN),
        ("val f: Int => Int = _ + 1", "Int => Int", UNKNOWN),
        ("val `odd name` = 1", "Int", 1),
    ],
)
def test_scala(line: str, type_: str, default: Any) -> None:
    assert one(SCALA, line) == (type_, default)


def test_what_is_no_plain_assignment_is_no_parameter() -> None:
    assert list(declared(PYTHON, "import os\nfor i in []: pass\nx: int\ny += 1\nz = 1")) == ["z"]
    assert list(declared(R_, "library(x)\nif (TRUE)\n  w <- 3\nf(a = 1)\nx$a <- 1\nz <- 1")) == ["z"]
    assert list(declared(SCALA, "import a._\ndef f(x: Int) = x\nobject A { val b = 1 }\nx = 2\nval z = 1")) == ["z"]


def test_several_on_one_line_and_patterns() -> None:
    assert list(declared(PYTHON, "a = b = 1; c, d = 1, 2")) == ["a", "b", "c", "d"]
    assert list(declared(R_, "a <- b <- 1; c = 2")) == ["a", "b", "c"]
    assert list(declared(SCALA, "val (a, b) = (1, 2); val c = 1")) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("language", "code"),
    [
        (PYTHON, "# %% [parameters]\nlr = 0.1  # the learning rate\n\n# how often\n# it is done\nn = 3\nx = 1\n"),
        (R_, "# Parameters\nlr <- 0.1  # the learning rate\n\n# how often\n# it is done\nn <- 3\nx <- 1\n"),
        (
            SCALA,
            "val lr = 0.1 // the learning rate\n\n/** how often\n  * it is done */\nval n = 3\nval x = 1",
        ),
    ],
)
def test_help_is_the_comment_beside_or_above(language: Language, code: str) -> None:
    found = declared(language, code)
    assert {name: info.help for name, info in found.items()} == {
        "lr": "the learning rate",
        "n": "how often it is done",
        "x": "",
    }


def test_a_marker_is_no_help() -> None:
    assert declared(PYTHON, "# parameters\nlr = 0.1")["lr"].help == ""
    assert declared(R_, "# %% [parameters]\nlr <- 0.1")["lr"].help == ""


def test_magics_of_ipython_may_stand_beside() -> None:
    assert one(PYTHON, "%matplotlib inline\nlr = 0.1")[1] == 0.1


# Values against types


def problem(language: Language, code: str, value: Any) -> str:
    info = declared(language, code)
    (name,) = info
    errors = declared_errors(list(info.values()), {name: value}, 1)
    return errors[0].message if errors else ""


NAN = {"$type": "float", "value": "NaN"}
DAY = {"$type": "date", "value": "2026-11-22"}


@pytest.mark.parametrize(
    ("language", "code", "value"),
    [
        (PYTHON, "lr: float = 0.1", 1),
        (PYTHON, "lr: float = 0.1", NAN),
        (PYTHON, "lr = 0.1", "auto"),  # nothing is declared
        (PYTHON, "lr: float = None", None),
        (PYTHON, "lr: Optional[float] = 0.1", None),
        (PYTHON, "lr: float | None = 0.1", None),
        (PYTHON, "n: int = 1", 3.0),
        (PYTHON, "n: int = 1", 2**100),
        (PYTHON, "x: typing.Union[int, str] = 1", "a"),
        (PYTHON, "x: Literal['a', 'b'] = 'a'", "b"),
        (PYTHON, "x: list[float] = []", [1, 2.5]),
        (PYTHON, "x: dict[str, list[int]] = {}", {"a": [1]}),
        (PYTHON, "x: tuple[int, str] = (1, 'a')", [1, "a"]),
        (PYTHON, "x: Path = None", "a/b"),
        (PYTHON, "x: Callable[[int], str] = f", 3),
        (PYTHON, "d: datetime.date = None", DAY),
        (R_, "lr <- 0.1", "auto"),
        (SCALA, "val lr: Double = 0.1", 1),
        (SCALA, "val o: Option[List[Int]] = None", [1]),
        (SCALA, "val d: java.time.LocalDate = null", DAY),
        (SCALA, "val n: Long = 1", 2**40),
        (SCALA, "val f: Int => Int = x", "anything"),
    ],
)
def test_values_that_fit(language: Language, code: str, value: Any) -> None:
    assert problem(language, code, value) == ""


@pytest.mark.parametrize(
    ("language", "code", "value", "message"),
    [
        (PYTHON, "lr: float = 0.1", "abc", "lr is declared float, got the string 'abc'"),
        (PYTHON, "lr: float = 0.1", None, "lr is declared float, got null"),
        (PYTHON, "lr: float = 0.1", True, "lr is declared float, got the boolean true"),
        (PYTHON, "n: int = 1", 1.5, "n is declared int, got the number 1.5"),
        (PYTHON, "n: int = 1", NAN, "n is declared int, got the number NaN"),
        (PYTHON, "s: str = ''", 3, "s is declared str, got the number 3"),
        (PYTHON, "on: bool = True", "yes", "on is declared bool, got the string 'yes'"),
        (PYTHON, "x: list[int] = []", 3, "x is declared list[int], got the number 3"),
        (PYTHON, "x: list[int] = []", [1, "a"], "x is declared list[int], got a value that holds the string 'a'"),
        (PYTHON, "x: dict[str, int] = {}", {"a": None}, "x is declared dict[str, int], got a value that holds null"),
        (PYTHON, "x: Literal['a', 'b'] = 'a'", "c", "x is declared Literal['a', 'b'], got the string 'c'"),
        (PYTHON, "x: Optional[int] = 1", {"a": 1}, "x is declared Optional[int], got an object"),
        (PYTHON, "d: date = None", [1], "d is declared date, got a list"),
        (PYTHON, "s: str = ''", DAY, "s is declared str, got the date 2026-11-22"),
        (SCALA, "val lr: Double = 0.1", "abc", "lr is declared Double, got the string 'abc'"),
        (SCALA, "val n: Int = 1", 2**31, "n is declared Int, got the number 2147483648"),
        (SCALA, "val o: Option[Int] = None", "x", "o is declared Option[Int], got the string 'x'"),
        (SCALA, "val n: Int = 1", None, "n is declared Int, got null"),
    ],
)
def test_values_that_plainly_do_not_fit(language: Language, code: str, value: Any, message: str) -> None:
    assert problem(language, code, value) == message


def test_the_remedy_shows_the_default() -> None:
    info = declared(PYTHON, "lr: float = 0.1")
    (error,) = declared_errors(list(info.values()), {"lr": "abc"}, 2)
    assert (error.field, error.value, error.remedy) == ("spec.parameters.lr", "abc", "The default is 0.1.")


@pytest.mark.parametrize(
    ("language", "code"),
    [(PYTHON, "lr = 1\nepochs = 2"), (R_, "lr <- 1\nepochs <- 2"), (SCALA, "val lr = 1\nval epochs = 2")],
)
def test_an_unknown_one_names_the_nearest(language: Language, code: str) -> None:
    (error,) = declared_errors(list(declared(language, code).values()), {"lrr": 1}, 3)
    assert error.message == "cell 3, tagged 'parameters', does not set it"
    assert error.remedy == "Did you mean 'lr'? It sets: epochs, lr."


# Cells and scripts: names that are used


def unused(language: Language, code: str, **parameters: Any) -> list[str]:
    uses = language.uses(code, parameters)
    return [] if uses is None else [error.message for error in used_errors(uses, parameters, "the script")]


@pytest.mark.parametrize(
    ("language", "code"),
    [
        (R_, "fit(x, rate = lr)"),
        (R_, 'glue("{lr} is it")'),
        (R_, "`lr` + 1"),
        (R_, "x <- get(name)"),
        (R_, "if (!exists('lr'))\n  lr <- 0.1"),
        (R_, "if (a)\n  lr <- 0.1\nlr"),
        (R_, "lr <- lr * 2"),
        (R_, "print(lr)\nlr <- 3"),
        (SCALA, 'println(s"rate $lr")'),
        (SCALA, "val x = lr * 2"),
        (SCALA, "model.fit(lr)"),
        (SCALA, "%%html\n<b>"),
        (SCALA, "object A { val lr = 1 }"),
    ],
)
def test_used_names(language: Language, code: str) -> None:
    assert unused(language, code, lr=1) == []


@pytest.mark.parametrize(
    ("language", "code", "message"),
    [
        (R_, "print(rate)  # lr", "the script uses no such name"),
        (R_, "library(x)\nlr <- 0.1\nlr", "line 2 of the script, lr <- 0.1, would overwrite the parameter"),
        (R_, "0.1 -> lr", "line 1 of the script, 0.1 -> lr, would overwrite the parameter"),
        (SCALA, "println(rate) // lr", "the script uses no such name"),
        (SCALA, "import a._\nval lr = 0.1\nlr", "line 2 of the script, val lr = 0.1, would overwrite the parameter"),
        (PYTHON, "print(rate)", "the script uses no such name"),
        (PYTHON, "lr = 0.1", "line 1 of the script, lr = 0.1, would overwrite the parameter"),
    ],
)
def test_unused_and_overwritten_names(language: Language, code: str, message: str) -> None:
    assert unused(language, code, lr=1) == [message]


def test_what_could_be_meant_is_proposed() -> None:
    for language, code in ((R_, "library(stats)\nfit(data$x, rate)"), (SCALA, "import a.b\nfit(data.x, rate)")):
        uses = language.uses(code, ["rat"])
        assert uses is not None
        (error,) = used_errors(uses, ["rat"], "the cell")
        assert error.remedy.startswith("Did you mean 'rate'? It uses: ")


# What is too long to be told


@pytest.mark.parametrize("language", [PYTHON, R_, SCALA])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_of_more_digits_than_json_takes_is_known_by_its_text_alone(language: Language, sign: str) -> None:
    text = f"{sign}0x{'f' * 5000}"
    sets = {"python": "n = ", "r": "n <- ", "scala": "val n = "}[language.name]
    found = language.declared(sets + text)
    assert found is not None
    assert (found[0].name, found[0].known) == ("n", False) and found[0].expression.startswith(text[:40])
    json.dumps([info.to_dict() for info in found])


def test_a_scala_long_of_many_digits_is_not_told() -> None:
    found = SCALA.declared(f"val n = {'9' * 5000}L")
    assert found is not None and not found[0].known


def test_an_expression_of_many_terms_is_told_by_its_beginning() -> None:
    """As notebooks have it that a program wrote."""
    code = "total = " + " + ".join(f"x{number}" for number in range(900))
    found = PYTHON.declared(code)
    assert found is not None and found[0].expression.startswith("x0 + x1 + x2") and len(found[0].expression) == 200
    uses = PYTHON.uses(code, ["total"])
    assert uses is not None
    assert uses.overwritten["total"] == (1, code[:80])


def test_what_is_told_is_the_codes_own_text() -> None:
    found = PYTHON.declared("%matplotlib inline\nä: 'int'  =  0x10 # hex\nb = [1,\r\n  2]; c = date(2026,1,2)")
    assert found is not None
    assert [(info.name, info.type, info.expression, info.default) for info in found] == [
        ("ä", "int", "0x10", 16),
        ("b", "list", "[1, 2]", [1, 2]),
        ("c", "date", "date(2026,1,2)", {"$type": "date", "value": "2026-01-02"}),
    ]
