"""Who may do what: every operation of openapi.yaml × every role, expected from the one table."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml

import jupyter_trainjob.api
from jupyter_trainjob.api.identity import Identity
from jupyter_trainjob.api.limits import may_use
from jupyter_trainjob.api.roles import ROLES, TABLE, VERBS, Roles, table_markdown
from jupyter_trainjob.resources.base import parse
from jupyter_trainjob.resources.errors import Forbidden, NotFound
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.resources.trainjob import Gate, OutputFile, OutputStatus, Phase, Result, TrainJob
from jupyter_trainjob.resources.visible import Visible
from jupyter_trainjob.store import Filter, Store, Writer

from .conftest import PEOPLE, Caller, Run, Server, cell
from .document import Document

OPERATIONS: dict[tuple[str, str], tuple[str, str]] = {
    # (method, route): (verb, kind)
    ("get", "/me"): ("get", "Me"),
    ("get", "/trainjobs"): ("list", "all"),
    ("post", "/inspect"): ("create", "namespace"),
    ("get", "/namespaces/{namespace}/trainjobs"): ("list", "namespace"),
    ("post", "/namespaces/{namespace}/trainjobs"): ("create", "namespace"),
    ("post", "/namespaces/{namespace}/batches"): ("create", "namespace"),
    ("get", "/namespaces/{namespace}/trainjobs/{name}"): ("get", "TrainJob"),
    ("delete", "/namespaces/{namespace}/trainjobs/{name}"): ("delete", "TrainJob"),
    ("patch", "/namespaces/{namespace}/trainjobs/{name}"): ("update", "TrainJob"),
    ("post", "/namespaces/{namespace}/trainjobs/{name}/cancel"): ("cancel", "TrainJob"),
    ("post", "/namespaces/{namespace}/trainjobs/{name}/hold"): ("hold", "TrainJob"),
    ("post", "/namespaces/{namespace}/trainjobs/{name}/release"): ("release", "TrainJob"),
    ("post", "/namespaces/{namespace}/trainjobs/{name}/front"): ("front", "TrainJob"),
    ("post", "/namespaces/{namespace}/trainjobs/{name}/approve"): ("approve", "TrainJob"),
    ("post", "/namespaces/{namespace}/trainjobs/{name}/reject"): ("reject", "TrainJob"),
    ("post", "/namespaces/{namespace}/trainjobs/{name}/retry"): ("retry", "TrainJob"),
    ("get", "/namespaces/{namespace}/trainjobs/{name}/why"): ("why", "TrainJob"),
    ("post", "/namespaces/{namespace}/trainjobs/{name}/rerun"): ("retry", "TrainJob"),
    ("get", "/namespaces/{namespace}/trainjobs/{name}/usage"): ("get", "TrainJob"),
    ("get", "/namespaces/{namespace}/trainjobs/{name}/metrics"): ("log", "TrainJob"),
    ("get", "/namespaces/{namespace}/trainjobs/{name}/metrics/series"): ("log", "TrainJob"),
    ("get", "/namespaces/{namespace}/trainjobs/{name}/log/search"): ("log", "TrainJob"),
    ("get", "/namespaces/{namespace}/trainjobs/{name}/advice"): ("get", "TrainJob"),
    ("get", "/namespaces/{namespace}/trainjobs/{name}/log"): ("log", "TrainJob"),
    ("get", "/namespaces/{namespace}/trainjobs/{name}/outputs"): ("outputs", "TrainJob"),
    ("get", "/namespaces/{namespace}/trainjobs/{name}/outputs/archive"): ("outputs", "TrainJob"),
    ("get", "/namespaces/{namespace}/trainjobs/{name}/outputs/notebook"): ("outputs", "TrainJob"),
    ("head", "/namespaces/{namespace}/trainjobs/{name}/outputs/notebook"): ("outputs", "TrainJob"),
    ("get", "/namespaces/{namespace}/trainjobs/{name}/outputs/results/score"): ("outputs", "TrainJob"),
    ("head", "/namespaces/{namespace}/trainjobs/{name}/outputs/results/score"): ("outputs", "TrainJob"),
    ("get", "/namespaces/{namespace}/trainjobs/{name}/outputs/files/a.txt"): ("outputs", "TrainJob"),
    ("head", "/namespaces/{namespace}/trainjobs/{name}/outputs/files/a.txt"): ("outputs", "TrainJob"),
    ("get", "/queues"): ("list", "Queue"),
    ("post", "/queues"): ("create", "Queue"),
    ("get", "/queues/{name}"): ("get", "Queue"),
    ("put", "/queues/{name}"): ("update", "Queue"),
    ("delete", "/queues/{name}"): ("delete", "Queue"),
    ("post", "/queues/{name}/pause"): ("update", "Queue"),
    ("post", "/queues/{name}/drain"): ("update", "Queue"),
    ("post", "/queues/{name}/open"): ("update", "Queue"),
    ("get", "/profiles"): ("list", "Profile"),
    ("post", "/profiles"): ("create", "Profile"),
    ("get", "/profiles/{name}"): ("get", "Profile"),
    ("put", "/profiles/{name}"): ("update", "Profile"),
    ("delete", "/profiles/{name}"): ("delete", "Profile"),
    ("put", "/bundles"): ("create", "Blob"),
    ("post", "/bundles/missing"): ("get", "Blob"),
    ("get", "/blobs/{digest}"): ("get", "Blob"),
    ("head", "/blobs/{digest}"): ("get", "Blob"),
    ("put", "/blobs/{digest}"): ("create", "Blob"),
    ("get", "/changes"): ("list", "Change"),
    ("get", "/kernels"): ("list", "Kernel"),
    ("get", "/schemas"): ("list", "Schema"),
    ("get", "/schemas/{kind}"): ("get", "Schema"),
    ("get", "/openapi.yaml"): ("get", "Schema"),
    ("get", "/healthz"): ("", "public"),
    ("get", "/readyz"): ("", "public"),
    ("get", "/metrics"): ("get", "Metrics"),
}
JOB_VERBS = ("cancel", "hold", "release", "front", "approve", "reject")
STREAM = ("get", "/changes/stream")  # a websocket; see the tests of the feed
DATA = b"an upload"
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()


def documented() -> set[tuple[str, str]]:
    """The operations that the document has, its ``{verb}`` and ``{part}`` routes written out."""
    text = (Path(jupyter_trainjob.api.__file__).parent / "openapi.yaml").read_text()
    found = set()
    for route, item in yaml.safe_load(text)["paths"].items():
        for method in item:
            if method in ("get", "head", "post", "put", "patch", "delete"):
                for verb in JOB_VERBS if "{verb}" in route else ("",):
                    for turn in ("pause", "drain", "open") if "{turn}" in route else ("",):
                        for part in ("results/score", "files/a.txt") if "{part}" in route else ("",):
                            name = route.replace("{verb}", verb).replace("{turn}", turn)
                            found.add((method, name.replace("{part}/{path}", part)))
    return found


def test_every_documented_operation_is_in_this_table_and_no_other() -> None:
    assert documented() == set(OPERATIONS) | {STREAM}


@pytest_asyncio.fixture
async def people(server: Server, document: Document) -> AsyncIterator[dict[str, Caller]]:
    callers = {}
    for name in (*PEOPLE, ""):
        callers[name] = Caller(server.client(f"token-{name}" if name else None), document, name)
    # Jobs may wait in the queue that ines instructs, below one that carl does.
    for name, spec in (("course", {}), ("gpu", {"parent": "course"})):
        await callers["olga"]("POST", "/queues", json={"metadata": {"name": name}, "spec": spec}, expect=201)
    yield callers
    for caller in callers.values():
        await caller.http.aclose()


async def make_job(people: dict[str, Caller], run: Run, server: Server, owner: str, verb: str) -> dict[str, Any]:
    """A job of ``owner`` in the course, in a phase that allows ``verb``, with outputs where they are asked for."""
    body = cell(queue=queue_of(verb))
    job: dict[str, Any] = (await people[owner]("POST", "/namespaces/ml101/trainjobs", json=body, expect=201)).json()
    if verb in ("approve", "reject"):
        server.services.store.write(lambda writer: await_approval(writer, job["metadata"]["uid"]))
    if verb in ("retry", "outputs", "log"):
        prefix = f"jobs/{job['metadata']['uid']}/1"
        for key in ("notebook.ipynb", "results/score", "files/a.txt"):
            server.services.objects.put(f"{prefix}/{key}", b"{}")
        files = [OutputFile(path="a.txt", size=2)]
        results = [Result(name="score", size=2)]
        outputs = OutputStatus(notebook=True, results=results, files=files, files_total=1, bytes_total=2)
        await run(job, Phase.SUCCEEDED, outputs)
    return job


def queue_of(verb: str) -> str:
    """Some verbs are tried on jobs of a queue that has instructors."""
    return "gpu" if verb in ("why", *JOB_VERBS) else "default"


def await_approval(writer: Writer, uid: str) -> None:
    fresh = writer.by_uid(TrainJob, uid)
    fresh.spec.scheduling_gates.append(Gate(type="approval", message="it waits for an approval"))
    writer.update(fresh)


def body_of(method: str, route: str, kind: str) -> dict[str, Any]:
    if route == "/bundles":
        return {"content": bytes(1024)}  # a tar of nothing
    if route == "/bundles/missing":
        return {"json": {"digests": []}}
    if method == "put" and kind == "Blob":
        return {"content": DATA}
    if route.endswith("/batches"):
        return {"json": {"items": [cell()]}}
    if method == "post" and kind == "namespace":
        return {"json": cell() | ({"metadata": {"namespace": "ml101"}} if route == "/inspect" else {})}
    if route.endswith("/log/search"):
        return {"params": {"text": "x"}}
    if method == "patch":
        return {"json": {"metadata": {"labels": {"seen": "yes"}}}}
    if kind in ("Queue", "Profile") and method == "post" and "{name}" not in route:
        return {"json": {"metadata": {"name": "fresh"}, "spec": {}}}
    if kind in ("Queue", "Profile") and method == "put":
        return {"json": {"spec": {"description": "changed"} | ({"parent": "course"} if kind == "Queue" else {})}}
    return {}


def held(name: str, owner: str = "", queue: str = "") -> set[str]:
    """The roles of a person of the tests towards a job of ``owner`` in ml101, or towards ``queue``; said once more."""
    facts = PEOPLE[name]
    roles = {"anyone"} | ({"operator"} if facts.get("operator") else set()) | ({"own"} if name == owner else set())
    if "ml101" in facts.get("roles", {}) and (owner or not queue):
        roles.add(facts["roles"]["ml101"])
    for one in ("gpu", "course") if queue == "gpu" else ():
        if facts.get("roles", {}).get(f"queue:{one}") == "instructor":
            roles |= {"instructor", "queue instructor"}
    return roles


def expected(name: str, verb: str, kind: str, owner: str) -> set[int]:
    """The statuses that the table allows."""
    if kind == "public":
        return {200, 503}
    if not name:
        return {401}
    if kind == "all":
        return {200}
    if kind == "namespace":
        roles = held(name)
        if not roles & set(TABLE["TrainJob"][verb]):
            return {403} if roles & {"viewer", "member", "instructor", "operator"} else {404}
        return {200, 201}
    if kind == "TrainJob":
        roles = held(name, owner, queue_of(verb))
        if roles & set(TABLE[kind][verb]):
            return {200, 201, 202}
        return {403} if roles & set(TABLE[kind]["get"]) else {404}
    roles = held(name, queue="gpu" if kind == "Queue" else "")
    return {200, 201} if roles & set(TABLE[kind][verb]) else {403}


@pytest.mark.asyncio
@pytest.mark.parametrize(("method", "route"), list(OPERATIONS))
async def test_operation(people: dict[str, Caller], run: Run, server: Server, method: str, route: str) -> None:
    verb, kind = OPERATIONS[method, route]
    for name in people:
        for owner in ("mona", "ines") if kind == "TrainJob" else ("",):
            path = route.replace("{namespace}", "ml101").replace("{kind}", "TrainJob").replace("{digest}", DIGEST)
            if kind == "TrainJob":
                job = await make_job(people, run, server, owner, verb)
                path = path.replace("{name}", job["metadata"]["name"])
            if kind in ("Queue", "Profile"):
                await declare(people, path, kind)
                path = path.replace("{name}", "gpu")
            if kind == "Blob" and name and method != "put":
                await people[name]("PUT", path, content=DATA)
            response = await call(people[name], method, path, body_of(method, route, kind))
            want = expected(name, verb, kind, owner)
            assert response.status_code in want, (name or "nobody", owner, response.status_code, response.text[:300])


async def call(caller: Caller, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
    return await caller(method.upper(), path, **options)


async def declare(people: dict[str, Caller], path: str, kind: str) -> None:
    """The queue and the profile called gpu are there, and nothing is called fresh."""
    plural = "queues" if kind == "Queue" else "profiles"
    spec = {"parent": "course"} if kind == "Queue" else {}
    await people["olga"]("POST", f"/{plural}", json={"metadata": {"name": "gpu"}, "spec": spec})
    await people["olga"]("DELETE", f"/{plural}/fresh")


# Lists


@pytest.mark.asyncio
async def test_each_lists_what_the_table_lets_them_get(people: dict[str, Caller]) -> None:
    for name, namespace, queue in (
        ("alice", "alice", "default"),
        ("alice", "alice", "gpu"),
        ("bob", "bob", "default"),
        ("mona", "ml101", "default"),
        ("mona", "mona", "default"),
        ("ines", "ml101", "default"),
    ):
        body = cell(name=f"{name}-{namespace}-{queue}", queue=queue)
        await people[name]("POST", f"/namespaces/{namespace}/trainjobs", json=body, expect=201)
    seen = {}
    for name in PEOPLE:
        items = (await people[name]("GET", "/trainjobs", expect=200)).json()["items"]
        seen[name] = {item["metadata"]["labels"]["jupyter-trainjob/name"] for item in items}
        changes = (await people[name]("GET", "/changes?since=0&kind=TrainJob", expect=200)).json()["changes"]
        told = {change["object"]["metadata"]["labels"]["jupyter-trainjob/name"] for change in changes}
        assert told == seen[name], name
    course = {"mona-ml101-default", "ines-ml101-default"}
    assert seen["alice"] == {"alice-alice-default", "alice-alice-gpu"}
    assert seen["bob"] == {"bob-bob-default"}
    assert seen["mona"] == {"mona-ml101-default", "mona-mona-default"}
    assert seen["vera"] == course
    assert seen["ines"] == course | {"alice-alice-gpu"}
    assert seen["nils"] == course
    assert seen["carl"] == {"alice-alice-gpu"}, "of a queue above the job's"
    assert seen["olga"] == course | {"alice-alice-default", "alice-alice-gpu", "bob-bob-default", "mona-mona-default"}


@pytest.mark.asyncio
async def test_what_one_may_not_see_answers_as_what_is_not_there(people: dict[str, Caller]) -> None:
    job = (await people["alice"]("POST", "/namespaces/alice/trainjobs", json=cell(), expect=201)).json()["metadata"]
    for text in (job["name"], job["uid"], "digits"):
        real = await people["bob"].refused("GET", f"/namespaces/alice/trainjobs/{text}", 404)
        never = await people["bob"].refused("GET", "/namespaces/alice/trainjobs/nothing", 404)
        assert real["message"].replace(repr(text), "X") == never["message"].replace("'nothing'", "X")
        assert "digits-" not in real["message"].replace(text, "")


@pytest.mark.asyncio
async def test_a_short_name_means_the_latest_that_one_may_see(people: dict[str, Caller]) -> None:
    mine = (await people["mona"]("POST", "/namespaces/ml101/trainjobs", json=cell(), expect=201)).json()["metadata"]
    await people["ines"]("POST", "/namespaces/ml101/trainjobs", json=cell(), expect=201)
    found = (await people["mona"]("GET", "/namespaces/ml101/trainjobs/digits", expect=200)).json()["metadata"]
    assert found["uid"] == mine["uid"]


@pytest.mark.asyncio
async def test_environment_values_are_for_the_owner_only(people: dict[str, Caller]) -> None:
    body = cell(environment={"env": [{"name": "KEY", "value": "s3cret"}]})
    job = (await people["mona"]("POST", "/namespaces/ml101/trainjobs", json=body, expect=201)).json()["metadata"]
    path = f"/namespaces/ml101/trainjobs/{job['name']}"
    assert "s3cret" in (await people["mona"]("GET", path, expect=200)).text
    for name in ("vera", "ines", "olga"):
        for where in (path, "/trainjobs", "/namespaces/ml101/trainjobs", "/changes?since=0"):
            answer = await people[name]("GET", where, expect=200)
            assert "s3cret" not in answer.text
            assert '"***"' in answer.text
        if name != "vera":
            assert "s3cret" not in (await people[name]("POST", f"{path}/hold", expect=200)).text


@pytest.mark.asyncio
async def test_a_profiles_environment_is_for_operators(people: dict[str, Caller]) -> None:
    spec = {"environment": {"env": [{"name": "LICENCE", "value": "s3cret"}]}}
    await people["olga"]("POST", "/profiles", json={"metadata": {"name": "lic"}, "spec": spec}, expect=201)
    for where in ("/profiles", "/profiles/lic", "/changes?since=0"):
        assert "s3cret" not in (await people["alice"]("GET", where, expect=200)).text
    assert "s3cret" in (await people["olga"]("GET", "/profiles/lic", expect=200)).text


# The table itself


def test_the_table_speaks_of_known_roles_and_verbs() -> None:
    for verbs in TABLE.values():
        assert set(verbs) <= set(VERBS)
        for roles in verbs.values():
            assert roles <= set(ROLES)
            assert "operator" in roles


def test_the_documentation_holds_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "roles.md").read_text()
    assert table_markdown() in page, "docs/roles.md is not current: run python -m jupyter_trainjob.api.roles"


def job_of(owner: str, namespace: str, queue: str = "default") -> TrainJob:
    return parse(
        TrainJob,
        {
            "kind": "TrainJob",
            "metadata": {"name": "j-1", "namespace": namespace, "owner": owner},
            "spec": {"source": {"type": "cell", "code": "1"}, "queue": queue},
        },
    )


def test_forbidden_names_who_may_and_not_found_names_nothing() -> None:
    roles = Roles()
    ines = Identity("ines", roles={"ml101": "instructor"})
    with pytest.raises(Forbidden) as forbidden:
        roles.require(ines, "retry", "TrainJob", resource=job_of("mona", "ml101"))
    assert str(forbidden.value) == (
        "ines may not retry the TrainJob 'j-1' of mona. That is for its owner or an operator."
    )
    with pytest.raises(NotFound) as missing:
        roles.require(Identity("bob"), "get", "TrainJob", resource=job_of("mona", "ml101"))
    assert str(missing.value) == "There is no such TrainJob here, or you may not see it."


def test_a_role_in_one_place_is_none_in_another() -> None:
    roles = Roles()
    ines = Identity("ines", roles={"ml101": "instructor", "queue:gpu": "viewer"})
    assert roles.allowed(ines, "cancel", "TrainJob", resource=job_of("mona", "ml101"))
    assert not roles.allowed(ines, "cancel", "TrainJob", resource=job_of("mona", "ml102"))
    assert roles.allowed(ines, "get", "TrainJob", resource=job_of("mona", "ml102", "gpu"))
    assert not roles.allowed(
        ines, "update", "Queue", resource=parse(Queue, {"kind": "Queue", "metadata": {"name": "gpu"}})
    )
    assert roles.visible(ines) == Visible("ines", frozenset({"ml101"}), frozenset({"gpu"}))
    assert roles.visible(Identity("olga", operator=True)) is None


def test_the_owner_of_a_name_that_looks_like_a_course_gets_nothing_of_it() -> None:
    """A user called like a namespace may submit there (it is their own), and still sees only their own jobs."""
    roles = Roles()
    odd = Identity("ml101")
    assert not roles.allowed(odd, "get", "TrainJob", resource=job_of("mona", "ml101"))
    assert roles.visible(odd) == Visible("ml101")


def test_order_and_approval_are_the_queues_not_the_namespaces() -> None:
    """Whoever instructs a namespace looks, cancels and holds there; that makes them nobody in a queue."""
    roles = Roles()
    of_namespace = Identity("nils", roles={"ml101": "instructor"})
    of_queue = Identity("quinn", roles={"queue:gpu": "instructor"})
    for job in (job_of("mona", "ml101", "gpu"), job_of("nils", "ml101", "gpu")):
        for verb in ("front", "approve", "reject"):
            assert not roles.allowed(of_namespace, verb, "TrainJob", resource=job), verb
            assert roles.allowed(of_queue, verb, "TrainJob", resource=job), verb
        for verb in ("get", "cancel", "hold", "release"):
            assert roles.allowed(of_namespace, verb, "TrainJob", resource=job), verb


@pytest.mark.asyncio
async def test_a_role_in_a_queue_is_one_in_all_below_it(store: Store) -> None:
    def make(writer: Writer) -> None:
        for name, parent in (("course", ""), ("group", "course"), ("pair", "group"), ("other", "")):
            writer.create(parse(Queue, {"kind": "Queue", "metadata": {"name": name}, "spec": {"parent": parent}}))

    store.write(make)
    roles = Roles(store=store)
    carl = await roles.resolved(Identity("carl", roles={"queue:course": "instructor", "queue:pair": "viewer"}))
    assert carl.roles_in("pair") == {"instructor", "viewer"}
    for name, may in (("course", True), ("group", True), ("pair", True), ("other", False)):
        queue = store.read(lambda reader, name=name: reader.get(Queue, "", name))
        assert roles.allowed(carl, "update", "Queue", resource=queue) is may, name
        assert roles.allowed(carl, "approve", "TrainJob", resource=job_of("ada", "ada", name)) is may, name
        queue.spec.users = []
        assert may_use(queue, carl) is may, name
    assert roles.visible(carl) == Visible("carl", frozenset(), frozenset({"course", "group", "pair"}))
    told = {one["queue"]: one["verbs"] for one in roles.permissions(carl) if one["kind"] == "Queue" and "queue" in one}
    assert told == {name: ["list", "get", "update"] for name in ("course", "group", "pair")}

    def move(writer: Writer) -> None:
        group = writer.get(Queue, "", "group")
        group.spec.parent = "other"
        writer.update(group)

    store.write(move)
    moved = await roles.resolved(Identity("carl", roles={"queue:course": "instructor"}))
    assert moved.queues == {"course"}, "where it lies now, not where it lay"


def test_jobs_of_more_queues_than_a_union_may_have_parts(store: Store) -> None:
    def make(writer: Writer) -> None:
        for queue in ("q-007", "elsewhere"):
            job = job_of("ada", "ada", queue)
            job.metadata.name = f"in-{queue}"
            writer.create(job)

    store.write(make)
    many = frozenset(f"q-{number:03}" for number in range(600))
    where = Filter(visible=Visible("carl", frozenset({"ml101"}), many))
    assert [job.metadata.name for job in store.read(lambda reader: reader.list(TrainJob, where)).items] == ["in-q-007"]
    assert store.read(lambda reader: reader.count(TrainJob, where)) == 1
