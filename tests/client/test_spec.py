"""Options as people write them."""

from __future__ import annotations

import pytest

from jupyter_trainjob.client import InputError, spec


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        (90, 90),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1.5h", 5400),
        (" 1H 5M ", 3900),
    ],
)
def test_durations(text: str | float, seconds: int) -> None:
    assert spec.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "5 parsecs", "m"])
def test_what_is_no_duration_says_what_to_write(text: str) -> None:
    with pytest.raises(InputError, match=r"is no duration\. Write for example 90 \(seconds\), 5m, 1h30m or 2d\."):
        spec.seconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("3", 3),
        ("true", True),
        ("True", True),
        ("null", None),
        ("'x'", "x"),
        ('{"a": [1]}', {"a": [1]}),
        ("(1, 2)", (1, 2)),
        ("adam", "adam"),
        ("a b", "a b"),
        ("__import__('os')", "__import__('os')"),
        ("{1, 2}", "{1, 2}"),
    ],
)
def test_parameters_are_json_else_literals_else_text(text: str, value: object) -> None:
    assert spec.value(text) == value


def test_names_are_split_and_said_once() -> None:
    assert spec.split_names(["a,b", " c ", "a,"]) == ["a", "b", "c"]


def test_what_is_not_given_is_left_out() -> None:
    made = spec.job({"type": "cell", "code": "1"}, {"cpu": "2"}, inputs=[], gates=[], default_name="cell")
    assert made == {
        "apiVersion": "jupyter-trainjob/v1",
        "kind": "TrainJob",
        "metadata": {"generateName": "cell"},
        "spec": {"source": {"type": "cell", "code": "1"}, "resources": {"cpu": "2"}},
    }


@pytest.mark.parametrize(
    "text", ["NaN", "1e999", "[-Infinity]", "[" * 3000 + "]" * 3000], ids=["nan", "huge", "inner", "deep"]
)
def test_values_that_json_lacks_are_told_in_words(text: str) -> None:
    with pytest.raises(InputError) as caught:
        spec.value(text)
    assert "can't be carried by JSON" in str(caught.value)
    assert "--files" in str(caught.value)
