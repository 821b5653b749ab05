"""The document is valid, current and complete."""

from __future__ import annotations

import yaml
from openapi_spec_validator import validate

from jupyter_trainjob.api import openapi
from jupyter_trainjob.api.handlers.routes import ROUTES
from jupyter_trainjob.api.points import MAX_TOLD
from jupyter_trainjob.resources.registry import KINDS, json_schema

DOCUMENT = yaml.safe_load(openapi.DOCUMENT.read_text(encoding="utf-8"))


def test_it_is_what_the_code_says() -> None:
    again = "it is not current: run python -m jupyter_trainjob.api.openapi"
    assert openapi.DOCUMENT.read_text(encoding="utf-8") == openapi.text(), again


def test_it_is_valid() -> None:
    validate(DOCUMENT)


def test_it_holds_every_route_and_no_other() -> None:
    assert list(DOCUMENT["paths"]) == [route for route, _, _ in ROUTES]
    assert {(path, method) for path, item in DOCUMENT["paths"].items() for method in item} == set(openapi.OPERATIONS)


def test_resources_are_described_by_their_models() -> None:
    for kind in KINDS:
        schema = json_schema(kind)
        parts = schema.pop("$defs")
        schema.pop("$schema")
        text = yaml.safe_dump(DOCUMENT["components"]["schemas"][kind]).replace("#/components/schemas/", "#/$defs/")
        assert yaml.safe_load(text) == schema
        assert set(parts) <= set(DOCUMENT["components"]["schemas"])


def test_every_operation_has_a_name_of_its_own_and_words() -> None:
    operations = [operation for item in DOCUMENT["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(len(operation["summary"]) > 3 for operation in operations)


def test_the_bound_over_all_metrics_is_told_where_the_one_of_each_is() -> None:
    operation = DOCUMENT["paths"]["/namespaces/{namespace}/trainjobs/{name}/metrics/series"]["get"]
    [told] = [one["description"] for one in operation["parameters"] if one.get("name") == "maxPoints"]
    assert told == f"Of each metric at most. All metrics together get {MAX_TOLD}: of many, each gets fewer."


def test_what_must_be_asked_is_told() -> None:
    """A search without a text is refused."""
    asked = {
        (one["name"], one["required"])
        for path, methods in DOCUMENT["paths"].items()
        for one in methods.get("get", {}).get("parameters", ())
        if one["in"] == "query" and path.endswith("/log/search")
    }
    assert ("text", True) in asked and ("limit", False) in asked, asked
