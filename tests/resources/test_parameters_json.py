"""Parameters travel as JSON and as tagged objects: what can't be carried is told, not changed in silence."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_trainjob.resources.base import parse
from jupyter_trainjob.resources.errors import Invalid
from jupyter_trainjob.resources.trainjob import TrainJob

SOURCE = {"type": "cell", "code": "print(lr)"}


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), [1, {"a": float("inf")}]], ids=str)
def test_numbers_that_json_lacks_are_refused_by_name(value: Any) -> None:
    spec = {"source": SOURCE, "parameters": {"lr": value}}
    with pytest.raises(Invalid) as caught:
        parse(TrainJob, {"kind": "TrainJob", "spec": spec})
    (detail,) = caught.value.details
    assert detail.field == "spec.parameters.lr"
    assert detail.message == "it holds NaN or an infinity, which JSON can't carry"
    assert detail.remedy == 'Send {"$type": "float", "value": "NaN"}, a string or null.'


def test_what_is_nested_too_deep_is_refused_without_recursion() -> None:
    value: Any = 1
    for _ in range(500):
        value = [value]
    with pytest.raises(Invalid, match=r"spec\.parameters\.lr: it is nested more than 64 deep\. Put it into a file\."):
        parse(TrainJob, {"kind": "TrainJob", "spec": {"source": SOURCE, "parameters": {"lr": value}}})


def spec_with(value: Any) -> dict[str, Any]:
    return {"kind": "TrainJob", "spec": {"source": SOURCE, "parameters": {"lr": value}}}


@pytest.mark.parametrize(
    "value",
    [
        {"$type": "float", "value": "NaN"},
        {"$type": "float", "value": "-Infinity"},
        {"$type": "date", "value": "2024-02-29"},
        {"$type": "datetime", "value": "2026-11-22T09:30:00Z"},
        {"$type": "datetime", "value": "2026-11-22T09:30:00.123456789+01:00"},
        {"$type": "datetime", "value": "2026-11-22T09:30:00"},
        {"$type": "map", "value": {"$type": "decimal", "value": 1}},
        {"$type": "map", "value": {"inner": {"$type": "float", "value": "Infinity"}, "$type": None}},
        [{"a": {"$type": "date", "value": "2026-11-22"}}],
        2**200,
        -(2**63) - 1,
    ],
    ids=str,
)
def test_tagged_values_and_large_numbers_are_kept_as_they_are(value: Any) -> None:
    job = parse(TrainJob, spec_with(value))
    assert job.to_dict()["spec"]["parameters"] == {"lr": value}
    assert TrainJob.model_validate_json(job.to_json()).spec.parameters == {"lr": value}


@pytest.mark.parametrize(
    ("value", "message", "example"),
    [
        ({"$type": "decimal", "value": "1.5"}, 'there is no type "decimal"', "date"),
        ({"$type": 3, "value": "1.5"}, "there is no type 3", "date"),
        ({"$type": ["x"], "value": "1.5"}, 'there is no type ["x"]', "date"),
        ({"$type": "date", "value": "2026-02-30"}, '"2026-02-30" is no date', "date"),
        ({"$type": "date", "value": "22.11.2026"}, '"22.11.2026" is no date', "date"),
        ({"$type": "date", "value": "２０２６-11-22"}, '"２０２６-11-22" is no date', "date"),
        ({"$type": "date", "value": 20261122}, "20261122 is no date", "date"),
        ({"$type": "datetime", "value": "2026-11-22"}, '"2026-11-22" is no datetime', "datetime"),
        ({"$type": "datetime", "value": "2026-11-22T25:00:00"}, '"2026-11-22T25:00:00" is no datetime', "datetime"),
        (
            {"$type": "datetime", "value": "2026-11-22T09:00:00+99:00"},
            '"2026-11-22T09:00:00+99:00" is no datetime',
            "datetime",
        ),
        ({"$type": "float", "value": "nan"}, '"nan" is no float', "float"),
        ({"$type": "float", "value": 1.5}, "1.5 is no float", "float"),
        ({"$type": "map", "value": [1]}, "[1] is no map", "map"),
        ({"$type": "date"}, 'an object with the key "$type" has this and "value", and nothing else', "date"),
        (
            {"$type": "date", "value": "2026-11-22", "zone": 1},
            'an object with the key "$type" has this and "value", and nothing else',
            "date",
        ),
        ([{"deep": {"$type": "date", "value": "soon"}}], '"soon" is no date', "date"),
        (
            {"$type": "map", "value": {"$type": {"$type": "date", "value": "soon"}}},
            '"soon" is no date',
            "date",
        ),
    ],
    ids=str,
)
def test_a_tag_that_can_not_be_is_told_with_the_parameter_the_value_and_those_there_are(
    value: Any, message: str, example: str
) -> None:
    with pytest.raises(Invalid) as caught:
        parse(TrainJob, spec_with(value))
    (detail,) = caught.value.details
    assert (detail.field, detail.message) == ("spec.parameters.lr", message)
    assert "The types are float, date, datetime, map; for example" in detail.remedy
    assert f'{{"$type": "{example}", "value": ' in detail.remedy
