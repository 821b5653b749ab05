"""Parameter values to JSON and back: nothing changes on the way, and what would is refused by name."""

from __future__ import annotations

import datetime
import enum
import json
import math
from typing import Any

import numpy
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_trainjob.client import InputError
from jupyter_trainjob.client.typed import TAG, decode, encode, from_yaml, shown
from jupyter_trainjob.resources import parameters

_KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(["$type", "value"])
_OFFSETS = st.integers(-1439, 1439).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes)))
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["NaN", "2026-11-22", "float", "map"])
    | st.dates()
    | st.datetimes()
    | st.datetimes(timezones=_OFFSETS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    """Equal and of one type, everywhere; NaN is NaN, and a time keeps its offset."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float):
        return (one == other and math.copysign(1, one) == math.copysign(1, other)) or (one != one and other != other)
    if isinstance(one, datetime.datetime):
        return one == other and one.utcoffset() == other.utcoffset()
    return bool(one == other)


@given(_VALUES)
def test_every_value_survives_json(value: Any) -> None:
    text = json.dumps(encode(value, "p"), allow_nan=False)
    assert same(decode(json.loads(text)), value)
    assert isinstance(shown(json.loads(text)), str)


@given(_VALUES)
def test_the_server_takes_what_is_sent(value: Any) -> None:
    parameters.check("p", encode(value, "p"))


@given(_VALUES)
def test_every_tag_in_what_is_sent_is_one_of_ours(value: Any) -> None:
    def look(item: Any, escaped: bool) -> None:
        if isinstance(item, dict):
            if TAG in item and not escaped:
                assert item.keys() == {TAG, "value"} and item[TAG] in ("float", "date", "datetime", "map")
                if item[TAG] == "map":
                    look(item["value"], True)
                return
            for inner in item.values():
                look(inner, False)
        if isinstance(item, list):
            for inner in item:
                look(inner, False)

    look(encode(value, "p"), False)


class Colour(str, enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (numpy.float64("nan"), {"$type": "float", "value": "NaN"}),
        (numpy.int64(3), 3),
        (numpy.float32(0.5), 0.5),
        (numpy.bool_(True), True),
        (Colour.RED, "red"),
        ((1, 2), [1, 2]),
        (pandas.Timestamp("2026-11-22 10:00"), {"$type": "datetime", "value": "2026-11-22T10:00:00"}),
        (
            datetime.datetime(1890, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(minutes=53, seconds=28))),
            {"$type": "datetime", "value": "1889-12-31T23:06:32+00:00"},
        ),
    ],
    ids=["nan", "int64", "float32", "bool", "enum", "tuple", "timestamp", "odd offset"],
)
def test_kin_of_plain_values_travel_as_these(value: Any, sent: Any) -> None:
    found = encode(value, "p")
    assert found == sent and type(found) is type(sent)


def deep() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"a": [1, {2}]},
            "The parameter p['a'][1] is of the type set, which a parameter can't be. Parameters are None,",
        ),
        (b"x", "is of the type bytes"),
        (numpy.zeros(3), "is of the type numpy.ndarray, which a parameter can't be. "),
        (numpy.datetime64("2026-11-22"), "is of the type numpy.datetime64"),
        ({1: 2}, "The parameter p is a dict with the key 1; keys of parameters are text."),
        ("\ud800", "holds half of a character"),
        (10**5000, "is a whole number of more than 4300 digits"),
        (pandas.NaT, "is NaT, which is no time to the microsecond"),
        (pandas.Timestamp("2026-11-22 10:00:00.000000001"), "which is no time to the microsecond"),
        (deep(), "is nested more than 64 deep. Put it into a file"),
    ],
    ids=["set", "bytes", "array", "datetime64", "key", "surrogate", "digits", "nat", "nanoseconds", "round"],
)
def test_what_would_change_on_the_way_is_refused_by_name(value: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        encode(value, "p")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


def test_values_are_shown_as_people_write_them() -> None:
    value = {"lr": math.nan, "days": [datetime.date(2026, 11, 22)], "tag": {"$type": "own"}, "name": "adam"}
    assert shown(encode(value, "p")) == "{'lr': NaN, 'days': [2026-11-22], 'tag': {'$type': 'own'}, 'name': 'adam'}"


def test_tags_of_a_later_version_stay_as_they_are() -> None:
    later = {"$type": "matrix", "value": "1 2"}
    assert decode(later) == later and decode({"$type": "float", "value": "many"}) == {"$type": "float", "value": "many"}


def test_a_files_own_tags_stay_tags() -> None:
    day = {"$type": "date", "value": "2026-11-22"}
    assert from_yaml({"a": day, "b": datetime.date(2026, 11, 22), "c": [math.inf]}, "p") == {
        "a": day,
        "b": day,
        "c": [{"$type": "float", "value": "Infinity"}],
    }
