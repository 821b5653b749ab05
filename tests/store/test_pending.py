"""What a transaction wrote is sent late, and nobody who asks can tell."""

from __future__ import annotations

import pytest

from jupyter_trainjob.resources.errors import AlreadyExists, NotFound
from jupyter_trainjob.resources.trainjob import TrainJob
from jupyter_trainjob.store import EndedRow, Filter, News, Store, Writer

from .making import job


def test_what_was_written_is_seen_in_the_same_transaction(store: Store) -> None:
    def write(writer: Writer) -> None:
        one = writer.create(job("one", labels={"a": "1"}))
        assert writer.by_uid(TrainJob, one.metadata.uid) == one
        assert writer.get(TrainJob, one.metadata.namespace, "one") == one
        assert writer.by_uids(TrainJob, [one.metadata.uid, "none"]) == {one.metadata.uid: one}
        one.metadata.labels["a"] = "2"
        one.status.message = "changed"
        two = writer.update(one)
        assert writer.version() == int(two.metadata.resource_version) == writer.written
        assert writer.by_uid(TrainJob, one.metadata.uid) == two
        assert [item.metadata.name for item in writer.list(TrainJob, Filter(labels="a=2")).items] == ["one"]
        assert writer.count(TrainJob, Filter(labels="a=1")) == 0
        with pytest.raises(AlreadyExists):
            writer.create(job("one"))
        writer.remove(two)
        with pytest.raises(NotFound):
            writer.by_uid(TrainJob, one.metadata.uid)
        writer.create(job("one"))

    store.write(write)
    page = store.read(lambda reader: reader.changes(0))
    assert [change.type for change in page.changes] == ["ADDED", "MODIFIED", "DELETED", "ADDED"]
    assert [change.version for change in page.changes] == [1, 2, 3, 4] and page.version == 4


def test_the_feed_knows_its_weight_however_it_was_written(store: Store) -> None:
    """In one transaction or in many: what is too heavy is let go of."""
    for _ in range(3):
        store.write(lambda writer: [writer.create(job(f"j{writer.version()}-{n}")) for n in range(3)])
    whole = sum(len(one.resource.to_json()) for one in store.read(lambda reader: reader.changes(0)).changes)
    store.write(lambda writer: writer.prune_changes(100, keep_bytes=whole))
    assert len(store.read(lambda reader: reader.changes(0)).changes) == 9
    store.write(lambda writer: writer.prune_changes(100, keep_bytes=whole // 3))
    left = store.read(lambda reader: reader.changes(reader.version() - 3, known=News())).changes
    assert len(left) == 3


def test_a_failure_leaves_nothing_and_uses_no_version(store: Store) -> None:
    def fail(writer: Writer) -> None:
        writer.create(job("a"))
        writer.note_ended(EndedRow("u", 1, "q", "ada", "b", 1, 1, 0, 1.0, 2.0, False))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.write(fail)
    assert store.read(lambda reader: (reader.version(), list(reader.ended(0.0)))) == (0, [])


def test_an_end_is_noted_once(store: Store) -> None:
    row = EndedRow("u", 1, "q", "ada", "b", 1, 1, 0, 1.0, 2.0, False)
    store.write(lambda writer: [writer.note_ended(row), writer.note_ended(row._replace(until=9.0))])
    store.write(lambda writer: writer.note_ended(row._replace(until=5.0)))
    assert store.read(lambda reader: list(reader.ended(0.0))) == [row]


def test_news_are_kept_for_those_who_follow_as_closely(store: Store) -> None:
    store.write(lambda writer: [writer.create(job(f"j{n}")) for n in range(5)])
    news = News(3)
    first = store.read(lambda reader: reader.changes(0, known=news)).changes
    second = store.read(lambda reader: reader.changes(0, known=news)).changes
    assert first == second
    assert [a is b for a, b in zip(first, second, strict=True)] == [False, False, True, True, True]


def test_many_are_made_at_once_with_names_that_are_free(store: Store) -> None:
    store.write(lambda writer: writer.create(job("fixed")))
    made = store.write(lambda writer: writer.create_all([job() for _ in range(50)]))
    assert len({one.metadata.name for one in made}) == 50
    assert {one.metadata.labels["jupyter-trainjob/name"] for one in made} == {"digits"}
    assert [int(one.metadata.resource_version) for one in made] == list(range(2, 52))
    with pytest.raises(AlreadyExists):
        store.write(lambda writer: writer.create_all([job(), job("fixed")]))
    assert store.read(lambda reader: reader.count(TrainJob)) == 51
