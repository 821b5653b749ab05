"""The object model: wire form, names, quantities, conditions, schemas."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_trainjob.resources import names, quantity
from jupyter_trainjob.resources.base import Condition, Status, parse
from jupyter_trainjob.resources.errors import Invalid
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.resources.registry import KINDS, json_schema
from jupyter_trainjob.resources.trainjob import INFRASTRUCTURE_REASONS, Phase, Reason, TrainJob, relative_path
from jupyter_trainjob.resources.visible import Visible

FULL: dict[str, Any] = {
    "apiVersion": "jupyter-trainjob/v1",
    "kind": "TrainJob",
    "metadata": {"name": "digits-x7k2p", "namespace": "ada", "owner": "ada", "labels": {"a": "b"}},
    "spec": {
        "source": {"type": "notebook", "digest": "sha256:" + "a" * 64, "path": "lab.ipynb"},
        "inputs": [
            {"type": "upload", "digest": "sha256:" + "b" * 64, "path": "data/a.csv"},
            {"type": "variables", "digest": "sha256:" + "c" * 64, "names": ["x"], "pythonVersion": "3.11"},
        ],
        "environment": {"env": [{"name": "A", "value": "1"}]},
        "resources": {"cpu": 2, "memory": "1024Mi", "openFiles": 100},
        "schedulingGates": [{"type": "dependency", "job": "u", "condition": "finished"}],
        "timeLimitSeconds": 60,
    },
}


def test_a_queue_says_what_its_priorities_are_to_kueue() -> None:
    classes = [{"name": "low"}, {"name": "high", "minimum": 50}, {"name": "usual", "minimum": 0}]
    queue = parse(Queue, {"spec": {"kueue": {"localQueue": "jobs", "priorityClasses": classes}}})
    kueue = queue.spec.kueue
    assert kueue is not None
    assert [kueue.class_of(priority) for priority in (-1, 0, 49, 50)] == ["low", "usual", "usual", "high"]
    kueue.priority_classes = kueue.priority_classes[1:2]
    assert kueue.class_of(0) == ""


@pytest.mark.parametrize(
    ("kueue", "says"),
    [
        ({}, "localQueue"),
        ({"localQueue": "My_Jobs"}, "'My_Jobs' is no name of a LocalQueue; write lower-case letters"),
        ({"localQueue": "a" * 64}, "longer than a label may be"),
        ({"localQueue": "j", "priorityClasses": [{"name": "a" * 64}]}, "longer than a label may be, 63 characters"),
        (
            {"localQueue": "j", "priorityClasses": [{"name": "a"}, {"name": "b"}]},
            "two classes begin at the priority -1000000; give each a minimum of its own",
        ),
        ({"localQueue": "j", "priorityClasses": [{"name": "A b"}]}, "'A b' is no name of a WorkloadPriorityClass"),
    ],
)
def test_what_kueue_would_not_understand_is_refused(kueue: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(Queue, {"spec": {"kueue": kueue}})
    assert says in str(refused.value.details)


def test_the_wire_form_comes_back_as_it_was() -> None:
    job = parse(TrainJob, FULL)
    wire = job.to_dict()
    assert wire["spec"]["timeLimitSeconds"] == 60
    assert wire["spec"]["resources"] == {"cpu": "2", "memory": "1Gi", "openFiles": 100}
    assert "cancel" not in wire["spec"]
    assert parse(TrainJob, wire) == job
    assert json.loads(job.to_json()) == wire


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_schema_that_its_own_wire_form_passes(kind: str) -> None:
    schema = json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    minimal = FULL if kind == "TrainJob" else {"kind": kind, "metadata": {"name": "a"}, "spec": {}}
    wire = parse(KINDS[kind], minimal).to_dict()
    jsonschema.Draft202012Validator(schema).validate(wire)


def test_the_schema_refuses_what_the_model_refuses() -> None:
    validator = jsonschema.Draft202012Validator(json_schema("TrainJob"))
    wire = parse(TrainJob, FULL).to_dict()
    wire["spec"]["source"]["digest"] = "sha256:zz"
    assert [list(error.absolute_path) for error in validator.iter_errors(wire)]


def test_a_status_from_a_newer_server_is_read_and_a_spec_is_not() -> None:
    job = parse(TrainJob, {**FULL, "status": {"phase": "Running", "brandNew": 1}})
    assert job.status.phase is Phase.RUNNING


def test_times_sort_as_texts() -> None:
    zone = timezone(timedelta(hours=5))
    early, late = datetime(2026, 1, 1, 4, 59, 59, 999999, zone), datetime(2026, 1, 1, tzinfo=timezone.utc)
    texts = [
        parse(TrainJob, {**FULL, "status": {"queued": moment}}).to_dict()["status"]["queued"]
        for moment in (early, late)
    ]
    assert texts == sorted(texts) == ["2025-12-31T23:59:59.999999Z", "2026-01-01T00:00:00.000000Z"]


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    status = Status()
    one, two = datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2026, 1, 2, tzinfo=timezone.utc)
    assert status.set_condition(Condition(type="Ready", status="True", last_transition_time=one))
    assert not status.set_condition(Condition(type="Ready", status="True", last_transition_time=two))
    assert status.set_condition(Condition(type="Ready", status="True", message="still", last_transition_time=two))
    assert status.conditions[0].last_transition_time == one
    assert status.set_condition(Condition(type="Ready", status="False", last_transition_time=two))
    assert status.conditions[0].last_transition_time == two
    assert len(status.conditions) == 1


def test_what_is_final_and_whose_fault() -> None:
    assert {phase for phase in Phase if phase.final} == {Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED}
    assert Reason.OUT_OF_MEMORY not in INFRASTRUCTURE_REASONS
    assert Reason.CODE_ERROR not in INFRASTRUCTURE_REASONS
    assert Reason.HOST_RESTARTED in INFRASTRUCTURE_REASONS


# Names


@given(st.text(max_size=100))
def test_a_slug_is_always_a_valid_name(text: str) -> None:
    assert names.is_name(names.slug(text))
    assert names.slug(text) == names.slug(text)


@given(st.text(max_size=80), st.text(max_size=80))
def test_different_texts_have_different_slugs(one: str, other: str) -> None:
    if one != other:
        assert names.slug(one) != names.slug(other)


@pytest.mark.parametrize("text", ["ada", "course-1", "a"])
def test_a_text_that_is_a_name_stays(text: str) -> None:
    assert names.slug(text) == text


def test_nobody_gets_anothers_namespace_by_a_clever_name() -> None:
    victim = names.slug("Ada")
    assert names.slug(victim) != victim


def test_full_names_differ_and_fit() -> None:
    full = {names.full_name("x" * 57) for _ in range(200)}
    assert len(full) == 200
    assert all(names.is_name(name) for name in full)


@pytest.mark.parametrize(
    ("key", "fine"),
    [
        ("a", True),
        ("example.com/a", True),
        ("a/b/c", False),
        ("", False),
        ("-a", False),
        ("A_b.c", True),
        ("x" * 64, False),
    ],
)
def test_label_keys(key: str, fine: bool) -> None:
    assert (names.label_key_error(key) is None) is fine


# Quantities


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1Gi", 2**30),
        ("1G", 10**9),
        ("1.5Ki", 1536),
        ("1e6", 10**6),
        ("2E", 2 * 10**18),
        ("1048576", 2**20),
        (4096, 4096),
    ],
)
def test_bytes(text: str | int, count: int) -> None:
    assert quantity.byte_count(text) == count


@given(st.integers(min_value=1, max_value=2**50))
def test_bytes_come_back(count: int) -> None:
    assert quantity.byte_count(quantity.format_bytes(count)) == count


@given(st.integers(min_value=1, max_value=4_096_000))
def test_cpus_come_back(millis: int) -> None:
    assert quantity.cpu_millis(quantity.format_cpu(millis)) == millis


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1g", "'1g' has the unknown unit 'g'; write G or Gi"),
        ("1XB", "'1XB' has the unknown unit 'XB'; units are m, k, M, G, T, Ki, Mi, Gi, Ti"),
        ("a lot", "'a lot' is no quantity; write a number with a unit, such as '500m', '2' or '1Gi'"),
        ("", "'' is no quantity; write a number with a unit, such as '500m', '2' or '1Gi'"),
        (True, "True is no quantity; write a number with a unit, such as '500m', '2' or '1Gi'"),
        ("nan", "'nan' is no quantity; write a number with a unit, such as '500m', '2' or '1Gi'"),
        ("1" * 50, "is no quantity"),
    ],
)
def test_quantities_that_are_none(text: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        quantity.parse(text)
    assert message in str(caught.value)


def test_a_queues_limits_as_numbers() -> None:
    queue = parse(Queue, {"kind": "Queue", "spec": {"limits": {"cpu": "1500m", "memory": "2Gi"}}})
    assert (queue.spec.limits.cpu_millis, queue.spec.limits.memory_bytes, queue.spec.limits.gpu) == (1500, 2**31, None)


# Paths, visibility


@given(st.text(max_size=60))
def test_a_path_that_is_taken_stays_below_its_folder(text: str) -> None:
    try:
        path = relative_path(text)
    except ValueError:
        return
    parts = path.split("/")
    assert not path.startswith("/")
    assert ".." not in parts
    assert "\0" not in path
    assert path not in ("", ".")


@pytest.mark.parametrize(
    ("owner", "namespace", "queue", "seen"),
    [
        ("ada", "x", "", True),
        ("bob", "ml", "", True),
        ("bob", "x", "gpu", True),
        ("bob", "x", "cpu", False),
        ("bob", "x", "", False),
    ],
)
def test_visible(owner: str, namespace: str, queue: str, seen: bool) -> None:
    visible = Visible("ada", frozenset({"ml"}), frozenset({"gpu"}))
    assert visible.holds(owner=owner, namespace=namespace, queue=queue) is seen
