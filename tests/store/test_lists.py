"""Lists: filters against a plain model, paging, and what is said about bad tokens."""

from __future__ import annotations

import base64
import random
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_trainjob.resources.errors import BadRequest
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.resources.visible import Visible
from jupyter_trainjob.store import Filter, Store, Writer
from jupyter_trainjob.store.filters import Order
from jupyter_trainjob.store.selectors import parse_selector

from .making import job, queue

EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)
NAMESPACES, OWNERS, QUEUES = ("ada", "course", "lab"), ("ada", "bob", "eve"), ("", "small", "big")
PHASES = [phase.value for phase in Phase]


@dataclass(frozen=True)
class Asked:
    """What :meth:`Reader.list` is asked, and, in plain Python, what it should answer."""

    namespaces: tuple[str, ...] | None = None
    owner: str | None = None
    labels: str = ""
    phases: tuple[str, ...] = ()
    queue: str | None = None
    queues: tuple[str, ...] | None = None
    text: str = ""
    finished_before: datetime | None = None
    visible: Visible | None = None
    order: Order = field(default="newest", compare=False)

    def where(self) -> Filter:
        return Filter(**{part.name: getattr(self, part.name) for part in fields(Filter)})

    def holds(self, job: TrainJob) -> bool:
        meta, status = job.metadata, job.status
        texts = [meta.name, *meta.labels.values()]
        return (
            (self.namespaces is None or meta.namespace in self.namespaces)
            and (self.owner is None or meta.owner == self.owner)
            and all(part.matches(meta.labels) for part in parse_selector(self.labels))
            and (not self.phases or status.phase.value in self.phases)
            and (self.queue is None or job.spec.queue == self.queue)
            and (self.queues is None or job.spec.queue in self.queues)
            and any(self.text.lower() in text.lower() for text in texts)
            and (
                self.finished_before is None or (status.finished is not None and status.finished < self.finished_before)
            )
            and (
                self.visible is None
                or self.visible.holds(owner=meta.owner, namespace=meta.namespace, queue=job.spec.queue)
            )
        )

    def answer(self, jobs: list[TrainJob]) -> list[str]:
        found = [job.metadata.name for job in jobs if self.holds(job)]
        return found if self.order == "oldest" else found[::-1]


def _subset(values: Collection[str]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(sorted(values)))


_selector_parts = st.sampled_from(
    [
        *("team=red", "team=blue", "team!=red", "team", "!team", "team in (red,blue)", "team notin (red)"),
        *("size=s", "size in (m)", "!size", "size!=m", "note=50%_x", "note=", "nowhere=x", "nowhere!=x"),
    ]
).filter(lambda part: "%" not in part)
ASKED = st.builds(
    Asked,
    namespaces=st.none() | _subset((*NAMESPACES, "none")).map(lambda found: tuple(sorted(found))),
    owner=st.none() | st.sampled_from((*OWNERS, "nobody")),
    labels=st.lists(_selector_parts, max_size=3).map(",".join),
    phases=_subset(PHASES).map(lambda found: tuple(sorted(found))),
    queue=st.none() | st.sampled_from((*QUEUES, "none")),
    queues=st.none() | _subset(QUEUES).map(lambda found: tuple(sorted(found))),
    text=st.sampled_from(["", "", "j-1", "RED", "_", "%", "b_c", "B.C", "\\", "zzz"]),
    finished_before=st.none() | st.integers(0, 60).map(lambda days: EPOCH + timedelta(days=days)),
    visible=st.none()
    | st.builds(Visible, st.sampled_from((*OWNERS, "nobody")), _subset((*NAMESPACES, "none")), _subset(QUEUES)),
    order=st.sampled_from(["newest", "oldest"]),
)


def _fill(writer: Writer) -> list[TrainJob]:
    """Sixty jobs of all sorts, some of them changed and some removed after they were made."""
    chance = random.Random(7)
    made = []
    for number in range(60):
        labels = {
            key: chance.choice(values)
            for key, values in (("team", ["red", "blue", "Red"]), ("size", ["s", "m"]), ("note", ["", "b_c", "b.C"]))
            if chance.random() < 0.6
        }
        one = job(
            f"j-{number}",
            namespace=chance.choice(NAMESPACES),
            owner=chance.choice(OWNERS),
            queue=chance.choice(QUEUES),
            phase=Phase(chance.choice(PHASES)),
            labels=labels,
        )
        one.status.finished = EPOCH + timedelta(days=number) if one.status.phase.final else None
        made.append(writer.create(one))
    for one in chance.sample(made, 20):
        place = made.index(one)
        if chance.random() < 0.3:
            writer.remove(one)
            del made[place]
        else:
            one.status.phase = Phase(chance.choice(PHASES))
            one.metadata.labels = {"team": "blue"}
            made[place] = writer.update(one)
    writer.create(queue("small"))
    return made


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
    database=None,
)
@given(data=st.data())
def test_lists_and_counts_agree_with_a_plain_model(filled: tuple[Store, list[TrainJob]], data: st.DataObject) -> None:
    store, jobs = filled
    asked = data.draw(ASKED)
    limit = data.draw(st.integers(1, 12))
    names: list[str] = []
    token = ""
    while True:
        page = store.read(
            lambda r, token=token: r.list(TrainJob, asked.where(), order=asked.order, limit=limit, continue_=token)
        )
        names += [item.metadata.name for item in page.items]
        token = page.continue_
        if not token:
            break
        assert len(page.items) == limit
    assert names == asked.answer(jobs)
    assert store.read(lambda r: r.count(TrainJob, asked.where())) == len(names)


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[TrainJob]]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('filled')}/record.sqlite"
    else:
        url = request.getfixturevalue("postgresql_module_url")
    store = Store.open(url)
    request.addfinalizer(store.close)
    return store, store.write(_fill)


def test_a_page_knows_the_version_of_its_list(store: Store) -> None:
    for number in range(5):
        store.write(lambda w, number=number: w.create(job(f"j-{number}")))
    first = store.read(lambda r: r.list(TrainJob, limit=2))
    store.write(lambda w: w.create(job("j-5")))
    store.write(lambda w: w.remove(w.get(TrainJob, "ada", "j-1")))
    second = store.read(lambda r: r.list(TrainJob, limit=2, continue_=first.continue_))
    assert [item.metadata.name for item in second.items] == ["j-2", "j-0"]
    assert (first.resource_version, second.resource_version) == (5, 5)
    assert (first.remaining, second.remaining, second.continue_) == (None, 0, "")
    since = store.read(lambda r: r.changes(second.resource_version))
    assert [(change.type, change.resource.metadata.name) for change in since.changes] == [
        ("ADDED", "j-5"),
        ("DELETED", "j-1"),
    ]


def test_a_list_can_be_had_as_the_texts_that_are_stored(store: Store) -> None:
    made = [store.write(lambda w, name=name: w.create(job(name, owner=name))) for name in ("a", "b", "c")]
    page = store.read(lambda r: r.list_stored(TrainJob, limit=2))
    assert [(item.owner, item.phase, item.text) for item in page.items] == [
        ("c", "Queued", made[2].to_json()),
        ("b", "Queued", made[1].to_json()),
    ]
    assert [item.resource for item in page.items] == made[:0:-1]
    assert page.continue_ == store.read(lambda r: r.list(TrainJob, limit=2)).continue_


def test_a_page_of_texts_ends_where_they_get_too_long(store: Store) -> None:
    made = [store.write(lambda w, name=name: w.create(job(name))) for name in ("a", "b", "c")]
    size = len(made[2].to_json().encode())
    page = store.read(lambda r: r.list_stored(TrainJob, limit=3, max_bytes=2 * size))
    assert [item.resource.metadata.name for item in page.items] == ["c", "b"]
    rest = store.read(lambda r: r.list_stored(TrainJob, limit=3, max_bytes=1, continue_=page.continue_))
    assert [item.resource.metadata.name for item in rest.items] == ["a"], "one there is always"
    assert rest.continue_ == ""


def test_kinds_are_listed_apart(store: Store) -> None:
    store.write(lambda w: w.create(job("one")))
    made = store.write(lambda w: w.create(queue("small")))
    assert store.read(lambda r: r.list(Queue)).items == [made]
    assert store.read(lambda r: r.list(Queue, Filter(namespaces=[""]))).items == [made]
    assert store.read(lambda r: r.namespaces(TrainJob)) == ["ada"]


def test_deleting_tells_what_is_on_its_way_out(store: Store) -> None:
    made = [store.write(lambda w, name=name: w.create(job(name))) for name in ("a", "b", "c")]
    for one in made[:2]:
        one.metadata.deletion_timestamp = EPOCH
        store.write(lambda w, one=one: w.update(one))
    assert [one.metadata.name for one in store.read(lambda r: r.deleting(TrainJob))] == ["a", "b"]


def _token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "!",
        "abc",
        "ä",
        "x" * 10_000,
        _token("1.2.3"),
        _token("2.1.1.0123456789ab"),
        _token("1.-5.1.0"),
        _token("1.a.b.c"),
    ],
)
def test_a_token_that_is_not_ours_is_refused(store: Store, token: str) -> None:
    with pytest.raises(BadRequest) as refused:
        store.read(lambda r: r.list(TrainJob, continue_=token))
    assert "The continue token" in refused.value.message
    assert "List again without 'continue'." in refused.value.remedy or "or list again" in refused.value.remedy
    assert len(refused.value.message) < 200


def test_a_token_is_good_for_its_own_list_only(store: Store) -> None:
    for number in range(3):
        store.write(lambda w, number=number: w.create(job(f"j-{number}")))
    token = store.read(lambda r: r.list(TrainJob, limit=1)).continue_
    with pytest.raises(BadRequest) as refused:
        store.read(lambda r: r.list(TrainJob, Filter(owner="ada"), limit=1, continue_=token))
    assert str(refused.value).endswith(
        "belongs to a list with other filters. Repeat the filters of the first page, or list again without 'continue'."
    )
    forged = base64.urlsafe_b64decode(token + "==").decode().replace("1.3.", "1.9.")
    with pytest.raises(BadRequest):
        store.read(lambda r: r.list(TrainJob, limit=1, continue_=_token(forged)))
    assert len(store.read(lambda r: r.list(TrainJob, limit=9, continue_=token)).items) == 2


def test_a_limit_below_one_is_refused(store: Store) -> None:
    with pytest.raises(BadRequest, match=r"The limit 0 is less than 1\. Ask for 1 or more objects a page\."):
        store.read(lambda r: r.list(TrainJob, limit=0))


def test_a_malformed_selector_is_refused(store: Store) -> None:
    with pytest.raises(BadRequest, match="The part 'b==='"):
        store.read(lambda r: r.list(TrainJob, Filter(labels="a=1,b===")))
    with pytest.raises(BadRequest, match="The part 'b==='"):
        store.read(lambda r: r.count(TrainJob, Filter(labels="a=1,b===")))


def test_the_model_itself_tells_lists_apart() -> None:
    """The comparison above is worth something only if the filters leave something in and something out."""
    one = job("j-1", labels={"team": "red"})
    assert Asked(text="RED", labels="team=red").holds(one)
    for other in (Asked(owner="bob"), Asked(phases=("Failed",)), Asked(text="%"), Asked(labels="!team")):
        assert not replace(other).holds(one)
