"""``apply -f`` and ``diff -f``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from jupyter_trainjob.client import Client
from jupyter_trainjob.verbs.applying import documents

from .conftest import Done

Trainjob = Callable[..., Done]
ALL = """
apiVersion: jupyter-trainjob/v1
kind: Queue
metadata: {name: gpu}
spec: {description: The big ones, limits: {runningJobs: 2, memory: 4096Mi}}
---
apiVersion: jupyter-trainjob/v1
kind: Profile
metadata: {name: small}
spec: {queue: gpu, defaults: {cpu: 500m, memory: 256Mi}}
---
apiVersion: jupyter-trainjob/v1
kind: TrainJob
metadata: {name: fixed-1, labels: {course: ml}}
spec:
  source: {type: cell, code: print(1)}
  schedulingGates: [{type: hold}]
"""


def test_apply_creates_then_changes_nothing_then_replaces(trainjob: Trainjob, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(ALL)
    dry = trainjob("apply", "-f", str(file), "--dry-run")
    assert dry.out.splitlines() == [
        "Queue/gpu would be created (dry run)",
        "Profile/small would be created (dry run)",
        "TrainJob/fixed-1 would be created (dry run)",
    ], dry
    new = trainjob("diff", "-f", str(file))
    assert new.status == 1 and "+++ file TrainJob/fixed-1" in new.out and "+    code: print(1)" in new.out
    first = trainjob("apply", "-f", str(file))
    assert first.out.splitlines() == ["Queue/gpu created", "Profile/small created", "TrainJob/fixed-1 created"], first
    again = trainjob("apply", "-f", str(file))
    assert again.out.splitlines() == ["Queue/gpu unchanged", "Profile/small unchanged", "TrainJob/fixed-1 unchanged"]
    assert trainjob("diff", "-f", str(file)).status == 0, trainjob("diff", "-f", str(file)).out

    file.write_text(ALL.replace("runningJobs: 2", "runningJobs: 3"))
    changed = trainjob("diff", "-f", str(file))
    assert changed.status == 1 and "-    runningJobs: 2" in changed.out and "+    runningJobs: 3" in changed.out
    assert "Queue/gpu replaced" in trainjob("apply", "-f", str(file)).out
    assert client.thing("queues", "gpu")["spec"]["limits"]["runningJobs"] == 3

    file.write_text(ALL.replace("print(1)", "print(2)"))
    refused = trainjob("apply", "-f", str(file))
    assert refused.status == 1
    assert "the job fixed-1 is there, and can't be changed in spec.source.code" in refused.err
    assert "give the new one another name" in refused.err
    client.job("fixed-1").cancel()


def test_apply_reads_standard_input_and_prints_what_came_of_it(trainjob: Trainjob, client: Client) -> None:
    document = '{"kind": "TrainJob", "apiVersion": "jupyter-trainjob/v1", "metadata": {"generateName": "made"}, '
    document += '"spec": {"source": {"type": "cell", "code": "1"}, "schedulingGates": [{"type": "hold"}]}}'
    done = trainjob("apply", "-f", "-", "-o", "name", input=document)
    assert done.status == 0 and done.out.startswith("made-")
    client.job(done.out.strip()).cancel()


def test_a_generated_name_says_that_it_makes_a_new_job_each_time(
    trainjob: Trainjob, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "j.yaml").write_text(
        "apiVersion: jupyter-trainjob/v1\nkind: TrainJob\nmetadata: {generateName: made, labels: {day: 2026-11-22}}\n"
        "spec: {source: {type: cell, code: print(1)}, schedulingGates: [{type: hold}]}\n"
    )
    dry = trainjob("apply", "-f", "j.yaml", "--dry-run")
    assert re.fullmatch(
        r"TrainJob/made\S* would be created \(dry run; generateName: a new job each time\)\n", dry.out
    ), dry
    names = set()
    for _ in range(2):
        done = trainjob("apply", "-f", "j.yaml")
        said = re.fullmatch(r"TrainJob/(made-\w+) created \(generateName: a new job each time\)\n", done.out)
        assert said, done
        names.add(said[1])
    assert len(names) == 2
    for name in names:
        job = client.job(name)
        assert job.metadata["labels"]["day"] == "2026-11-22", "a date that is no parameter is its text"
        job.cancel()


def test_a_files_parameters_keep_their_types(tmp_path: Path) -> None:
    (tmp_path / "j.yaml").write_text(
        "kind: TrainJob\nmetadata: {name: p}\n"
        "spec: {parameters: {day: 2026-11-22, lr: .nan, tag: {$type: date, value: '2026-01-02'}, n: 3}}\n"
    )
    [(_, resource)] = documents([str(tmp_path / "j.yaml")])
    assert resource["spec"]["parameters"] == {
        "day": {"$type": "date", "value": "2026-11-22"},
        "lr": {"$type": "float", "value": "NaN"},
        "tag": {"$type": "date", "value": "2026-01-02"},
        "n": 3,
    }


def test_what_can_not_be_applied(trainjob: Trainjob, tmp_path: Path) -> None:
    def said(text: str) -> str:
        (tmp_path / "x.yaml").write_text(text)
        done = trainjob("apply", "-f", "x.yaml")
        assert done.status in (1, 2) and not done.out
        return done.err

    assert "There is no file nope.yaml" in trainjob("apply", "-f", "nope.yaml").err
    assert "x.yaml is not YAML" in said("a: [")
    assert "x.yaml: this is no resource" in said("[1]")
    assert "the kind 'Pod' can't be applied. Known are TrainJob, Queue, Profile." in said("kind: Pod")
    assert "A Queue needs metadata.name" in said("kind: Queue")
    assert "python/object" in said("!!python/object/apply:os.system ['true']"), "only plain YAML"
    wrong = "apiVersion: jupyter-trainjob/v1\nkind: Queue\nmetadata: {name: q}\nspec: {limits: {cpus: 3}}"
    assert "spec.limits.cpus: there is no such field" in said(wrong)


def test_texts_are_no_amounts(trainjob: Trainjob, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    text = (
        "kind: Profile\napiVersion: jupyter-trainjob/v1\nmetadata: {name: texts, annotations: {size: '1k'}}\n"
        "spec: {environment: {env: [{name: PYTHON_VERSION, value: '3.1'}]}, defaults: {memory: 1024Mi}}\n"
    )
    file.write_text(text)
    assert trainjob("apply", "-f", str(file)).out == "Profile/texts created\n"
    file.write_text(text.replace("1024Mi", "1Gi"))
    assert trainjob("diff", "-f", str(file)).out == "" and "unchanged" in trainjob("apply", "-f", str(file)).out
    file.write_text(text.replace("'3.1'", "'3.10'"))
    changed = trainjob("diff", "-f", str(file)).out
    assert "'3.1'" in changed and "'3.10'" in changed, changed
    assert trainjob("apply", "-f", str(file)).out == "Profile/texts replaced\n"
    file.write_text(text.replace("'3.1'", "'3.10'").replace("1k", "1000"))
    assert trainjob("apply", "-f", str(file)).out == "Profile/texts replaced\n"
    found = client.thing("profiles", "texts")
    assert found["metadata"]["annotations"] == {"size": "1000"}
    assert [one["value"] for one in found["spec"]["environment"]["env"]] == ["3.10"]
