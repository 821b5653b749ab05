"""What a person reads who wrote a field wrongly: the path as written, a sentence, and what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_trainjob.resources.base import parse
from jupyter_trainjob.resources.errors import FieldError, Invalid, invalid
from jupyter_trainjob.resources.profile import Profile
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.resources.trainjob import TrainJob

JARGON = ("Input should", "String should", "valid dictionary", "instance of", "discriminator", "pattern", "Value error")


def problems(data: Any, model: Any = TrainJob) -> dict[str, FieldError]:
    with pytest.raises(Invalid) as caught:
        parse(model, data)
    for detail in caught.value.details:
        assert not any(word in f"{detail.message} {detail.remedy}" for word in JARGON), detail
    return {detail.field: detail for detail in caught.value.details}


def job(**spec: Any) -> dict[str, Any]:
    return {"kind": "TrainJob", "spec": {"source": {"type": "cell", "code": "1"}, **spec}}


@pytest.mark.parametrize(
    ("data", "field", "message", "remedy"),
    [
        ({"kind": "TrainJob", "spec": {"source": {"type": "cell"}}}, "spec.source.code", "this field is needed", ""),
        ({"kind": "TrainJob", "spec": {"source": {"type": "cell", "code": "1", "cod": 2}}}, "spec.source.cod",
         "there is no such field", "Did you mean 'code'?"),
        ({"kind": "TrainJob", "spec": {"source": {"type": "cell", "code": "1", "cell": 2}}}, "spec.source.cell",
         "there is no such field", None),
        ({"kind": "TrainJob", "spec": {"source": {"type": "sell"}}}, "spec.source.type", "there is no type 'sell'",
         "Write one of 'cell', 'notebook', 'script', 'folder'."),
        ({"kind": "TrainJob", "spec": {"source": {}}}, "spec.source.type", "this field is needed", None),
        ({"kind": "TrainJob", "spec": {"source": "x"}}, "spec.source", "it must be an object",
         "Write {…} in JSON, a mapping in YAML."),
        ({"kind": "TrainJob", "spec": {}}, "spec.source", "this field is needed", ""),
        ([], "(the whole object)", "it must be an object", None),
        (None, "(the whole object)", "it must be an object", None),
        ({**job(), "kind": "Job"}, "kind", "'Job' is none of its values", "Write 'TrainJob'."),
        ({**job(), "apiVersion": "v1"}, "apiVersion", "'v1' is none of its values", "Write 'jupyter-trainjob/v1'."),
        (job(inputs=[{"type": "upload", "digest": "sha256:" + "0" * 64, "path": "../x"}]), "spec.inputs[0].path",
         "'../x' leaves its folder; write a path below it, without '..', such as 'data/train.csv'", ""),
        (job(inputs=[{"type": "upload", "digest": "sha256:zz", "path": "x"}]), "spec.inputs[0].digest",
         "a digest is 'sha256:' and 64 lower-case hexadecimal digits", ""),
        (job(inputs=[{"type": "variables", "digest": "sha256:" + "0" * 64, "names": ["a b"]}]), "spec.inputs[0].names",
         "'a b' is no variable name; names are such as 'score'", ""),
        (job(inputs=[{"type": "ftp"}]), "spec.inputs[0].type", "there is no type 'ftp'",
         "Write one of 'upload', 'variables', 'output', 'dataset', 'uri'."),
        (job(inputs={}), "spec.inputs", "it must be a list", "Write […] in JSON."),
        (job(inputs=[3]), "spec.inputs[0]", "it must be an object", None),
        (job(memory="1Gi"), "spec.memory", "there is no such field", "Write it as spec.resources.memory."),
        (job(version=1), "spec.version", "there is no such field",
         "Take it out; the schema at /schemas/<Kind> names those there are."),
        (job(a=1), "spec.a", "there is no such field",
         "Take it out; the schema at /schemas/<Kind> names those there are."),
        (job(timeLimit=5), "spec.timeLimit", "there is no such field", "Did you mean 'timeLimitSeconds'?"),
        (job(timeLimitSeconds=-5), "spec.timeLimitSeconds",
         "-5 s is not between 1 second and 30 days; write for example 300 (or --time-limit 5m)", ""),
        (job(priority="high"), "spec.priority", "it must be a whole number", "Write for example 2."),
        (job(priority=10**9), "spec.priority", "1000000000 is more than 1000000", "Write at most 1000000."),
        (job(notify="maybe"), "spec.notify", "it must be true or false", ""),
        (job(resources={"gpu": 1.5}), "spec.resources.gpu", "it must be a whole number", None),
        (job(resources={"processes": 1}), "spec.resources.processes", "1 is less than 8", "Write at least 8."),
        (job(network={"mode": "all"}), "spec.network.mode", "'all' is none of its values",
         "Write 'none', 'loopback' or 'profile'."),
        (job(outputs={"names": ["class"]}), "spec.outputs.names",
         "'class' is no variable name; names are such as 'score'", ""),
        (job(outputs={"names": ["a"] * 257}), "spec.outputs.names", "it has 257 entries, the limit is 256",
         "Send fewer."),
        (job(environment={"env": [{"name": "1x", "value": ""}]}), "spec.environment.env[0].name",
         "'1x' is no name of an environment variable; names are such as 'MY_KEY'", ""),
        (job(environment={"env": [{"name": "x", "value": "a\0b"}]}), "spec.environment.env[0].value",
         "an environment variable can't hold a NUL character", ""),
        (job(environment={"env": [{"name": "x", "value": "y" * 40_000}]}), "spec.environment.env[0].value",
         "it has 40000 characters, the limit is 32768", "Write a shorter one."),
        (job(parameters={"a": "x" * 300_000}), "spec.parameters",
         "the parameters are larger than 256 KiB; put them into a file and send it with --files", ""),
        (job(schedulingGates=[{"type": "hold", "message": "x" * 501}]), "spec.schedulingGates[0].message",
         "it has 501 characters, the limit is 500", "Write a shorter one."),
        ({**job(), "metadata": {"name": "A"}}, "metadata.name",
         "a name has 1 to 63 lower-case letters, digits or dashes, such as 'digits-2'", ""),
        ({**job(), "metadata": {"generateName": "../x"}}, "metadata.generateName",
         "a name has 1 to 57 lower-case letters, digits or dashes, such as 'digits-2'", ""),
        ({**job(), "metadata": {"annotations": {"a": 1}}}, "metadata.annotations.a", "it must be text", ""),
        ({**job(), "metadata": {"labels": {"-": "x"}}}, "metadata.labels",
         "label -='x': a label key has 1 to 63 letters, digits, '-', '_' or '.', and starts and ends with a letter or "
         "digit", ""),
        ({**job(), "metadata": {"creationTimestamp": "soon"}}, "metadata.creationTimestamp", "it must be a time",
         "Write for example 2026-01-31T12:00:00Z."),
        ({"kind": "TrainJob", "spec": {"source": {"type": "cell", "code": "x = '\ud800'"}}}, "spec.source.code",
         "the code holds half a character (a lone surrogate), which no file can", ""),
    ],
)  # fmt: skip
def test_one_wrong_field(data: Any, field: str, message: str, remedy: str | None) -> None:
    found = problems(data)
    assert list(found) == [field]
    assert found[field].message == message
    if remedy is not None:
        assert found[field].remedy == remedy


def test_all_wrong_fields_are_told_at_once_and_the_message_counts_them() -> None:
    data = job(priority="x", notify=3.5, queues="a")
    found = problems(data)
    assert set(found) == {"spec.priority", "spec.notify", "spec.queues"}
    with pytest.raises(Invalid) as caught:
        parse(TrainJob, data)
    assert caught.value.message == (
        "The TrainJob can't be accepted: spec.priority: it must be a whole number (and 2 more)."
    )


def test_long_values_are_shortened_and_structures_left_out() -> None:
    found = problems(job(priority="x" * 500, notify={"a": 1}))
    assert found["spec.priority"].value == "x" * 117 + "…"
    assert found["spec.notify"].value is None


def test_other_kinds_use_the_same_words() -> None:
    found = problems({"kind": "Queue", "spec": {"limits": {"cpus": 4}, "admission": "Shut"}}, Queue)
    assert found["spec.limits.cpus"].remedy == "Did you mean 'cpu'?"
    assert found["spec.admission"].remedy == "Write 'Open', 'Paused' or 'Draining'."
    found = problems({"kind": "Profile", "spec": {"timeLimitSeconds": 0}}, Profile)
    assert found["spec.timeLimitSeconds"].message == "0 is less than 1"


def test_the_one_line_of_an_error_ends_in_one_full_stop() -> None:
    assert str(invalid([FieldError("a", "it is wrong.", None, "Do better.")])) == (
        "The object can't be accepted: a: it is wrong. Do better."
    )
