"""Parameters travel as JSON: what JSON can't carry is told, not changed in silence."""

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
    assert "lr holds NaN or an infinity, which JSON can't carry" in str(caught.value)
    assert caught.value.details[0].field == "spec.parameters"


def test_what_is_nested_too_deep_is_refused_without_recursion() -> None:
    value: Any = 1
    for _ in range(500):
        value = [value]
    with pytest.raises(Invalid, match="lr is nested more than 64 deep; put it into a file"):
        parse(TrainJob, {"kind": "TrainJob", "spec": {"source": SOURCE, "parameters": {"lr": value}}})
