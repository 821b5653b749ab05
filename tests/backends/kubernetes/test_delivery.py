"""What a sidecar is told, and by which signatures; the store is real, its signatures are a filesystem's stand-ins."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.backends.base import BackendError
from jupyter_trainjob.backends.kubernetes import delivery, listing, objects
from jupyter_trainjob.backends.kubernetes.harvest import gather
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings
from jupyter_trainjob.storage.filesystem import FilesystemStore
from tests.backends.place import a_request

from .attempts import IMAGES, SETTINGS

TERMS = delivery.Terms("cluster")
DISK = 100 * 2**20


class SigningFilesystem(FilesystemStore):
    """A folder that signs: what a signature is good for is in it as text. MinIO's are tried with the store."""

    def sign_get(self, key: str, seconds: int) -> str:
        return f"https://store/{key}?for={seconds}"

    def sign_post(self, prefix: str, seconds: int, max_bytes: int) -> dict[str, Any]:
        return {"url": "https://store/", "fields": {}, "prefix": prefix, "maxBytes": max_bytes, "for": seconds}


@pytest.fixture
def store(tmp_path: Path) -> SigningFilesystem:
    return SigningFilesystem(tmp_path)


def blob(store: FilesystemStore, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    store.put(f"blobs/ada/{digest}", data)
    return f"sha256:{digest}"


def test_a_cell_is_told_whole(store: SigningFilesystem) -> None:
    request = a_request("abc", "print(1)", outputs={"names": ["x"]}, parameters={"n": 3})
    told = delivery.orders(request, store, TERMS, DISK)
    assert told["prefix"] == "jobs/abc/1/" and told["results"] == ["x"] and told["inputs"] == []
    assert told["notebook"]["inline"]["cells"][0]["source"] == "print(1)"
    job = told["job"]
    assert (job["runnerProtocol"], job["language"], job["parameters"], job["threads"]) == (1, "python", {"n": 3}, 1)
    assert job["rlimits"] == {"nproc": None, "nofile": 128, "fsize": 64 * 2**20, "as": None, "core": 0}
    limits = told["limits"]
    assert (limits["diskBytes"], limits["inputBytes"], limits["timeLimitSeconds"]) == (DISK, 200 * 2**20, 30)
    files = delivery.files(told, store, TERMS)
    signed = json.loads(files["credentials.json"])
    assert signed["gets"] == {} and signed["post"]["prefix"] == "jobs/abc/1/" and signed["post"]["maxBytes"] == DISK


def test_processes_are_counted_where_the_attempt_has_a_user_of_its_own(store: SigningFilesystem) -> None:
    told = delivery.orders(a_request("abc", "1"), store, delivery.Terms("cluster", own_user=True), DISK)
    assert told["job"]["rlimits"]["nproc"] == 32


def test_whoever_ends_an_attempt_better_than_the_cluster_comes_before_it() -> None:
    settings = KubernetesSettings(images=IMAGES, startup_seconds=700, termination_seconds=100)
    terms = delivery.terms("cluster", settings)
    assert (terms.startup_seconds, terms.end_seconds, terms.own_user) == (700, 70, False)
    slowest = settings.startup_seconds + 2 * terms.startup_seconds + 60 + settings.termination_seconds
    assert settings.deadline_seconds(60) == slowest + 30
    assert delivery.terms("cluster", replace(settings, user_ids=(5, 9))).own_user


def test_every_input_is_signed_once_and_nothing_else(store: SigningFilesystem) -> None:
    data, script = blob(store, b"1,2\n"), blob(store, b"print(2)")
    store.put("jobs/other/3/files/out/a.txt", b"a")
    inputs = [
        {"type": "upload", "digest": data, "path": "one.csv"},
        {"type": "upload", "digest": data, "path": "two.csv"},
        {"type": "variables", "digest": data, "names": ["v"], "format": "json"},
        {"type": "output", "job": "other", "file": "out", "path": "before", "attempt": 3},
    ]
    source = {"type": "script", "digest": script, "path": "a.py"}
    told = delivery.orders(a_request("abc", "", inputs=inputs, source=source), store, TERMS, DISK)
    assert [item.get("path") for item in told["inputs"]] == ["one.csv", "two.csv", None, "before/a.txt"]
    assert told["inputs"][2]["variables"]["file"] == "variables-0.json"
    assert told["inputs"][0]["sha256"] == data.removeprefix("sha256:") and told["inputs"][3]["sha256"] is None
    assert told["notebook"] == {"script": {"get": f"blobs/ada/{script.removeprefix('sha256:')}"}, "path": "a.py"}
    signed = json.loads(delivery.files(told, store, TERMS)["credentials.json"])
    assert sorted(signed["gets"]) == sorted(
        [f"blobs/ada/{digest.removeprefix('sha256:')}" for digest in (data, script)] + ["jobs/other/3/files/out/a.txt"]
    )
    assert all(url["url"].startswith(f"https://store/{key}?") for key, url in signed["gets"].items())


def test_a_folder_is_one_input_and_the_sidecar_finds_what_runs(store: SigningFilesystem) -> None:
    source = {"type": "folder", "digest": blob(store, b"an archive"), "entry": "main.py"}
    told = delivery.orders(a_request("abc", "", source=source), store, TERMS, DISK)
    assert told["notebook"] is None and told["inputs"][0]["folder"] == {"entry": "main.py"}
    assert told["inputs"][0]["bytes"] == 10


def many(store: FilesystemStore, count: int) -> list[dict[str, Any]]:
    """Inputs of as many objects: an earlier job's folder."""
    for number in range(count):
        store.put(f"jobs/other/3/files/out/{number:05d}.txt", b"x", durable=False)
    return [{"type": "output", "job": "other", "file": "out", "path": "before", "attempt": 3}]


def test_ten_thousand_inputs_fit_into_a_secret_by_their_digest(store: SigningFilesystem) -> None:
    request = a_request("abc", "print(1)", inputs=many(store, 10_000))
    told = delivery.orders(request, store, TERMS, DISK)
    assert len(told["inputs"]) == 10_000
    files = delivery.files(told, store, TERMS)
    secret = objects.secret(request.ref, SETTINGS, {}, files)
    assert len(json.dumps(secret)) < 20_000
    orders, signed = json.loads(files["orders.json"]), json.loads(files["credentials.json"])
    assert orders["inputs"]["get"] == "jobs/abc/1/orders/inputs.jsonl"
    assert listing.inputs_of(orders, store) == told["inputs"]
    assert set(signed["gets"]) == {orders["inputs"]["get"], signed["more"]["get"]}
    places = store.get(signed["more"]["get"])
    assert hashlib.sha256(places).hexdigest() == signed["more"]["sha256"]
    rows = [json.loads(line) for line in places.splitlines()]
    assert [row["key"] for row in rows] == [one["get"] for one in told["inputs"]]
    assert rows[0]["url"].startswith("https://store/jobs/other/3/files/out/00000.txt?for=")
    later = delivery.renewed(orders, store, delivery.Terms("cluster", signed_seconds=60))
    assert later["more"]["get"] != signed["more"]["get"] and store.exists(signed["more"]["get"]), "it may be read now"
    assert len(store.get(later["more"]["get"]).splitlines()) == 10_000
    gather(store, request.ref)
    assert list(store.list("jobs/abc/1/orders/")) == []


def test_nothing_is_signed_for_a_list_of_inputs_that_somebody_changed(store: SigningFilesystem) -> None:
    told = delivery.orders(a_request("abc", "1", inputs=many(store, 400)), store, TERMS, DISK)
    orders = json.loads(delivery.files(told, store, TERMS)["orders.json"])
    path = orders["inputs"]["get"]
    store.put(path, store.get(path).replace(b"jobs/other/3/files/out/00001.txt", b"jobs/eve00/1/files/out/00001.txt"))
    with pytest.raises(BackendError, match=r"is not what was put there: somebody changed it"):
        delivery.renewed(orders, store, TERMS)
    store.delete(path)
    with pytest.raises(BackendError, match=r"The list of the job's inputs, .* is gone"):
        delivery.renewed(orders, store, TERMS)


def test_every_attempt_has_a_seal_of_its_own(store: SigningFilesystem) -> None:
    told = delivery.orders(a_request("abc", "1"), store, TERMS, DISK)
    first, second = (delivery.files(told, store, TERMS)["seal"] for _ in range(2))
    assert first != second and len(first) == 32
    assert first not in delivery.files(told, store, TERMS)["orders.json"]


def test_a_long_cell_goes_through_the_store(store: SigningFilesystem) -> None:
    told = delivery.orders(a_request("abc", "#" * 300_000), store, TERMS, DISK)
    assert told["notebook"] == {"get": "jobs/abc/1/orders/source.ipynb"}
    assert json.loads(store.get("jobs/abc/1/orders/source.ipynb"))["cells"][0]["source"] == "#" * 300_000
    assert delivery.keys_of(told) == ["jobs/abc/1/orders/source.ipynb"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"inputs": [{"type": "upload", "digest": "sha256:" + "0" * 64, "path": "a"}]}, "no longer has the input 'a'"),
        ({"source": {"type": "script", "digest": "sha256:" + "0" * 64, "path": "a.py"}}, "no longer has the script"),
    ],
)
def test_what_can_not_be_brought_is_refused_for_good(
    store: SigningFilesystem, spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(BackendError, match=message) as told:
        delivery.orders(a_request("abc", "1", **spec), store, TERMS, DISK)
    assert told.value.permanent


def test_inputs_that_have_no_room_or_one_place_are_refused(store: SigningFilesystem) -> None:
    digest = blob(store, b"x" * 2000)
    one = {"type": "upload", "digest": digest, "path": "a"}
    with pytest.raises(BackendError, match="two inputs have this path"):
        delivery.orders(a_request("abc", "1", inputs=[one, one]), store, TERMS, DISK)
    with pytest.raises(BackendError, match=r"The inputs have .* together, and the job has .* of disk"):
        delivery.orders(a_request("abc", "1", inputs=[one], resources={"disk": "1Ki"}), store, TERMS, DISK)


def test_credentials_are_renewed_for_the_same_objects_without_the_request(store: SigningFilesystem) -> None:
    inputs = [{"type": "upload", "digest": blob(store, b"x"), "path": "a"}]
    told = delivery.orders(a_request("abc", "1", inputs=inputs), store, TERMS, DISK)
    old = json.loads(delivery.files(told, store, TERMS)["credentials.json"])
    new = delivery.renewed(told, store, delivery.Terms("cluster", signed_seconds=60))
    assert new["gets"].keys() == old["gets"].keys() and new["post"]["maxBytes"] == old["post"]["maxBytes"]
    assert new["post"]["for"] == 60 and old["post"]["for"] == delivery.SIGNED_SECONDS


def test_credentials_are_due_at_half_their_life_and_at_once_where_nobody_knows_when_they_were_signed() -> None:
    assert delivery.due(1000.0, 5000.0, 100) == 5050.0
    assert delivery.due(1000.0, None, 100) == 1050.0


def test_a_store_that_pods_can_not_reach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"'cluster' run on other machines, and the object store here is a folder"):
        delivery.signing(FilesystemStore(tmp_path), "cluster")
