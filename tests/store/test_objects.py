"""One object's life in the record: made, read, changed, removed; and what is refused."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from jupyter_trainjob.resources import names
from jupyter_trainjob.resources.base import OwnerReference
from jupyter_trainjob.resources.errors import AlreadyExists, BadRequest, Conflict, Invalid, NotFound
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.store import Filter, Store

from .making import job, queue


def test_create_sets_what_is_the_servers_to_set(store: Store) -> None:
    asked = job(labels={"team": "blue"}, uid="mine", generation=7, resourceVersion="99")
    made = store.write(lambda w: w.create(asked))
    assert made.metadata.name.startswith("digits-") and len(made.metadata.name) == len("digits-") + 5
    assert made.metadata.labels == {"team": "blue", names.NAME_LABEL: "digits"}
    assert made.metadata.uid not in ("", "mine")
    assert made.metadata.generation == 1
    assert made.metadata.resource_version == "1"
    assert made.metadata.creation_timestamp is not None
    assert abs(datetime.now(timezone.utc) - made.metadata.creation_timestamp) < timedelta(minutes=1)
    assert asked.metadata.name == "" and names.NAME_LABEL not in asked.metadata.labels
    assert store.read(lambda r: r.get(TrainJob, "ada", made.metadata.name)) == made
    assert store.read(lambda r: r.by_uid(TrainJob, made.metadata.uid)) == made


def test_a_taken_name_is_refused_and_the_same_name_elsewhere_is_another_thing(store: Store) -> None:
    store.write(lambda w: w.create(job("one")))
    with pytest.raises(AlreadyExists) as refused:
        store.write(lambda w: w.create(job("one")))
    assert str(refused.value) == (
        "There is a TrainJob 'one' in the namespace 'ada' already. "
        "Choose another name, or give metadata.generateName to have a free one made."
    )
    other = store.write(lambda w: w.create(job("one", namespace="course")))
    kind = store.write(lambda w: w.create(queue("one")))
    assert store.read(lambda r: r.get(TrainJob, "course", "one")) == other
    assert store.read(lambda r: r.get(Queue, "", "one")) == kind


def test_a_name_collision_of_generate_name_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = iter(["digits-aaaaa", "digits-aaaaa", "digits-bbbbb"])
    monkeypatch.setattr(names, "full_name", lambda _short: next(offered))
    first = store.write(lambda w: w.create(job()))
    second = store.write(lambda w: w.create(job()))
    assert [first.metadata.name, second.metadata.name] == ["digits-aaaaa", "digits-bbbbb"]


def test_generate_name_gives_up_with_a_message(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "full_name", lambda _short: "digits-aaaaa")
    store.write(lambda w: w.create(job()))
    with pytest.raises(AlreadyExists, match=r"No free name was found for 'digits' in 8 tries\. Try again\."):
        store.write(lambda w: w.create(job()))


def test_create_refuses_what_has_no_name_or_no_place(store: Store) -> None:
    with pytest.raises(Invalid, match=r"metadata\.name: a name is needed\.? Give name or generateName"):
        store.write(lambda w: w.create(job(generateName="")))
    with pytest.raises(Invalid, match=r"metadata\.namespace: a namespace is needed"):
        store.write(lambda w: w.create(job("one", namespace="")))
    stray = queue("gpu")
    stray.metadata.namespace = "ada"
    with pytest.raises(Invalid, match=r"a Queue is for the whole server and has no namespace\.? Leave it out"):
        store.write(lambda w: w.create(stray))
    assert store.read(lambda r: r.version()) == 0


@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b"])
def test_text_that_no_database_can_hold_is_refused_by_name(store: Store, bad: str) -> None:
    with pytest.raises(BadRequest, match=r"The owner 'a.*b' holds a character that can't be stored"):
        store.write(lambda w: w.create(job("one", owner=bad)))
    with pytest.raises(BadRequest, match=r"The queue 'a.*b' holds a character that can't be stored"):
        store.write(lambda w: w.create(job("one", queue=bad)))
    with pytest.raises(BadRequest, match=r"The search text 'a.*b' holds a character"):
        store.read(lambda r: r.list(TrainJob, Filter(text=bad)))
    with pytest.raises(NotFound):
        store.read(lambda r: r.get(TrainJob, "ada", bad))
    with pytest.raises(NotFound):
        store.read(lambda r: r.by_uid(TrainJob, bad))
    with pytest.raises(NotFound):
        store.read(lambda r: r.find(TrainJob, bad, bad))
    assert store.read(lambda r: r.blob("ada", bad)) is None


def test_text_of_a_document_may_hold_nul_but_no_lone_surrogate(store: Store) -> None:
    made = store.write(lambda w: w.create(job("nul", code="print('a\0ü€😀')")))
    assert store.read(lambda r: r.get(TrainJob, "ada", "nul")) == made
    half = job("half")
    half.metadata.annotations["note"] = "\ud800"
    with pytest.raises(BadRequest, match=r"The TrainJob holds something that can't be stored.*lone surrogates"):
        store.write(lambda w: w.create(half))


def test_find_takes_a_uid_a_full_name_or_the_latest_of_a_short_name(store: Store) -> None:
    first = store.write(lambda w: w.create(job()))
    latest = store.write(lambda w: w.create(job()))
    store.write(lambda w: w.create(job(namespace="course")))
    for text, wanted in (
        (first.metadata.uid, first),
        (first.metadata.name, first),
        ("digits", latest),
    ):
        assert store.read(lambda r, text=text: r.find(TrainJob, "ada", text)) == wanted
    exact = store.write(lambda w: w.create(job("digits")))
    assert store.read(lambda r: r.find(TrainJob, "ada", "digits")) == exact
    with pytest.raises(NotFound):
        store.read(lambda r: r.find(TrainJob, "course", first.metadata.uid))
    with pytest.raises(NotFound) as missing:
        store.read(lambda r: r.find(TrainJob, "ada", "letters"))
    assert str(missing.value) == (
        "There is no TrainJob 'letters' in the namespace 'ada'. "
        "Look at the list for its name; it may have been deleted."
    )


def test_update_compares_versions_and_says_what_to_do(store: Store) -> None:
    made = store.write(lambda w: w.create(job("one")))
    changed = made.model_copy(deep=True)
    changed.metadata.labels["team"] = "blue"
    stored = store.write(lambda w: w.update(changed))
    assert stored.metadata.resource_version == "2"
    with pytest.raises(Conflict) as stale:
        store.write(lambda w: w.update(changed.model_copy(update={"status": made.status}, deep=True)))
    assert str(stale.value) == (
        "The TrainJob 'one' was changed meanwhile: it is at resourceVersion 2, the change was made to 1. "
        "Read it again, repeat the change on what you read, and send that."
    )
    changed.metadata.labels["team"] = "red"
    forced = store.write(lambda w: w.update(changed, check=False))
    assert forced.metadata.labels["team"] == "red" and forced.metadata.resource_version == "3"


def test_update_without_a_difference_writes_nothing(store: Store) -> None:
    made = store.write(lambda w: w.create(job("one")))
    assert store.write(lambda w: w.update(made)) == made
    assert store.read(lambda r: r.version()) == 1


def test_generation_counts_changes_of_the_spec_only(store: Store) -> None:
    made = store.write(lambda w: w.create(job("one")))
    made.status.phase = Phase.RUNNING
    made.metadata.generation = 40
    made = store.write(lambda w: w.update(made))
    assert made.metadata.generation == 1
    made.spec.priority = 5
    assert store.write(lambda w: w.update(made)).metadata.generation == 2


def test_identity_can_not_be_changed(store: Store) -> None:
    made = store.write(lambda w: w.create(job("one")))
    thief = made.model_copy(deep=True)
    thief.metadata.owner = "eve"
    thief.metadata.namespace = "eve"
    thief.metadata.name = "two"
    thief.metadata.creation_timestamp = datetime(2020, 1, 1, tzinfo=timezone.utc)
    with pytest.raises(Invalid) as refused:
        store.write(lambda w: w.update(thief, check=False))
    assert [detail.field for detail in refused.value.details] == [
        "metadata.owner",
        "metadata.creationTimestamp",
        "metadata.namespace",
        "metadata.name",
    ]
    assert "metadata.owner: it is 'ada' and can't be changed" in str(refused.value)
    bare = job("one", labels={"a": "b"})
    stored = store.write(lambda w: w.update(bare, check=False))
    assert (stored.metadata.uid, stored.metadata.owner) == (made.metadata.uid, "ada")
    assert stored.metadata.creation_timestamp == made.metadata.creation_timestamp


def test_a_deletion_once_asked_for_stays(store: Store) -> None:
    made = store.write(lambda w: w.create(job("one")))
    made.metadata.deletion_timestamp = datetime(2026, 1, 1, tzinfo=timezone.utc)
    made = store.write(lambda w: w.update(made))
    assert made.metadata.deletion_timestamp == datetime(2026, 1, 1, tzinfo=timezone.utc)
    made.metadata.deletion_timestamp = None
    assert store.write(lambda w: w.update(made)).metadata.deletion_timestamp is not None


def test_removed_is_gone_and_its_name_is_free(store: Store) -> None:
    made = store.write(lambda w: w.create(job("one", labels={"team": "blue"})))
    store.write(lambda w: w.remove(made))
    with pytest.raises(NotFound, match=r"There is no TrainJob 'one' any more\. It was deleted\."):
        store.write(lambda w: w.remove(made))
    with pytest.raises(NotFound):
        store.write(lambda w: w.update(made, check=False))
    assert store.read(lambda r: r.list(TrainJob, Filter(labels="team=blue"))).items == []
    again = store.write(lambda w: w.create(job("one")))
    assert again.metadata.uid != made.metadata.uid
    with pytest.raises(Conflict, match="was deleted, and another one has its name now"):
        store.write(lambda w: w.update(made))


def test_owned_by_tells_every_kind_and_follows_changes(store: Store) -> None:
    parent = store.write(lambda w: w.create(job("parent")))
    reference = OwnerReference(kind="TrainJob", name="parent", uid=parent.metadata.uid)
    child = job("child")
    child.metadata.owner_references = [reference, reference]
    child = store.write(lambda w: w.create(child))
    other = queue("its-own")
    other.metadata.owner_references = [reference]
    other = store.write(lambda w: w.create(other))
    assert store.read(lambda r: r.owned_by(parent.metadata.uid)) == [child, other]
    child.metadata.owner_references = []
    store.write(lambda w: w.update(child))
    assert store.read(lambda r: r.owned_by(parent.metadata.uid)) == [other]
    store.write(lambda w: w.remove(other))
    assert store.read(lambda r: r.owned_by(parent.metadata.uid)) == []


def test_what_a_function_raises_undoes_all_of_its_writes(store: Store) -> None:
    def half(w: object) -> None:
        w.create(job("one"))  # type: ignore[attr-defined]
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.write(half)
    assert store.read(lambda r: r.version()) == 0
    assert store.read(lambda r: r.count(TrainJob)) == 0


def test_a_write_inside_a_write_is_refused_rather_than_waiting_for_itself(store: Store) -> None:
    with pytest.raises(RuntimeError, match="a write inside a write would wait for itself"):
        store.write(lambda w: store.write(lambda inner: inner.version()))
