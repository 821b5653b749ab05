"""A pod whose store is a real MinIO, with nothing but signatures."""

from __future__ import annotations

import hashlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.backends.kubernetes import listing
from jupyter_trainjob.storage.s3 import S3Store
from tests.storage.servers import S3Server, minio, own_minio  # noqa: F401

from .pods import PREFIX, Pod
from .test_pod_log import MIB, PRINT, digest_of, printed, stored_digest


def signed(store: S3Store, *reads: str, seconds: int = 600) -> dict[str, Any]:
    expires = int(time.time()) + seconds
    gets = {key: {"url": store.sign_get(key, seconds), "expires": expires} for key in reads}
    return {"post": store.sign_post(PREFIX, seconds, 256 * MIB), "gets": gets}


@pytest.fixture
def bucket(minio: S3Server) -> S3Store:  # noqa: F811
    return minio.store("one")


@pytest.fixture
def own(own_minio: S3Server) -> S3Store:  # noqa: F811
    return own_minio.store("one")


@pytest.fixture
def on_minio(tmp_path: Path, bucket: S3Store) -> Iterator[Pod]:
    made = Pod(tmp_path / "pod", bucket, credentials=signed(bucket))
    yield made
    made.clear()


@pytest.fixture
def on_own(tmp_path: Path, own: S3Store) -> Iterator[Pod]:
    made = Pod(tmp_path / "pod", own, credentials=signed(own))
    yield made
    made.clear()


def test_a_job_with_signatures_only(on_minio: Pod, bucket: S3Store) -> None:
    item = on_minio.put("blobs/one", b"y" * 100_000)
    on_minio.credentials(signed(bucket, "blobs/one"))
    code = (
        "import pathlib\nprint(len(pathlib.Path(job['inputs'][0]['source']).read_text()))\n"
        "open('big', 'wb').write(b'z' * 3_000_000)\n"
        "pathlib.Path(job['out'], 'notebook.ipynb').write_text('{}')"
    )
    assert on_minio.run(code, inputs=[{"path": "a", **item}]) == (0, 0), on_minio.words()
    state = on_minio.state
    assert state["files"] == [{"path": "big", "size": 3_000_000}] and state["notebook"]
    assert bucket.stat(f"{PREFIX}files/big").size == 3_000_000
    assert not list((on_minio.root / "tmp").glob("tmp*")), "nothing is copied to be sent"
    assert on_minio.log() == b"100000\n" and on_minio.joined().complete and on_minio.log() == b"100000\n"


def test_ten_thousand_inputs_with_signatures_that_lie_in_the_store(on_minio: Pod, bucket: S3Store) -> None:
    items = [on_minio.put(f"blobs/{number}", b"%d" % number) for number in range(50)]
    told = {"prefix": PREFIX, "inputs": [{"path": f"in/{n}", **items[n % 50]} for n in range(10_000)]}
    code = (
        "import pathlib\nprint(len(job['inputs']), sum(int(pathlib.Path(one['source']).read_text()) for one in "
        "job['inputs'][:50]))"
    )
    on_minio.orders(code, inputs=listing.listed(told, bucket)["inputs"])

    def sign(seconds: int) -> None:
        keys = [item["get"] for item in items]
        more = listing.put_places(PREFIX, signed(bucket, *keys, seconds=seconds)["gets"], bucket)
        direct = signed(bucket, f"{PREFIX}{listing.INPUTS}", more["get"])
        on_minio.credentials({**direct, "more": more})

    sign(1)
    time.sleep(2)  # they are over, and made anew while they are waited for
    on_minio.start()
    time.sleep(1.5)
    assert not (on_minio.root / "in" / "ready").exists() and not (on_minio.root / "in" / "failed").exists()
    sign(600)
    assert on_minio.wait(60) == (0, 0), on_minio.words()
    assert on_minio.log() == b"10000 1225\n"


def test_signatures_that_are_not_those_which_the_credentials_speak_of_are_not_used(
    on_minio: Pod, bucket: S3Store
) -> None:
    item = on_minio.put("blobs/one", b"1")
    more = listing.put_places(PREFIX, signed(bucket, "blobs/one")["gets"], bucket)
    on_minio.credentials({**signed(bucket, more["get"]), "more": {**more, "sha256": "0" * 64}})
    on_minio.orders(inputs=[{"path": "a", **item}], limits={"startupSeconds": 2})
    on_minio.start()
    on_minio.wait(60)
    failed = on_minio.state["failed"]
    assert failed["limit"] == "StorageError" and "are not those that the credentials speak of" in failed["message"]


def test_a_log_on_minio_is_whole(on_minio: Pod) -> None:
    assert on_minio.run(PRINT.format(count=24 * 16, then=""), limits={"windowBytes": 4 * MIB}) == (0, 0)
    assert stored_digest(on_minio) == printed(on_minio) and on_minio.state["log"]["size"] == 24 * MIB


@pytest.mark.slow
def test_signatures_that_ran_out_are_renewed_and_nothing_is_lost(on_minio: Pod, bucket: S3Store) -> None:
    on_minio.credentials(signed(bucket, seconds=2))
    on_minio.orders("import time\nfor n in range(40):\n    print(n, flush=True)\n    time.sleep(0.2)")
    on_minio.start()
    time.sleep(5)
    assert len(on_minio.log().splitlines()) < 15, "the signature is over"
    on_minio.credentials(signed(bucket))
    assert on_minio.wait(60) == (0, 0), on_minio.words()
    assert on_minio.log() == b"".join(b"%d\n" % n for n in range(40)) and on_minio.state["log"]["missing"] == 0


@pytest.mark.slow
def test_an_input_whose_signature_ran_out_is_waited_for(on_minio: Pod, bucket: S3Store) -> None:
    item = on_minio.put("blobs/one", b"first")
    on_minio.credentials(signed(bucket, "blobs/one", seconds=1))
    time.sleep(2)
    on_minio.orders(inputs=[{"path": "a", **item}])
    on_minio.start()
    time.sleep(1.5)
    assert not (on_minio.root / "in" / "ready").exists() and not (on_minio.root / "in" / "failed").exists()
    on_minio.credentials(signed(bucket, "blobs/one"))
    assert on_minio.wait(60) == (0, 0), on_minio.words()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_minio_that_is_away_for_five_seconds_loses_nothing(on_own: Pod, own_minio: S3Server, how: int) -> None:  # noqa: F811
    """Killed, or (as a broken network looks) silent."""
    then = "open('printed', 'w').close()\nimport time; time.sleep(6)"
    code = "import time; print(flush=True); time.sleep(1)\n" + PRINT.format(count=64, then=then)
    on_own.orders(code, limits={"windowBytes": MIB})
    on_own.start()
    on_own.until(lambda: on_own.log() == b"\n")
    if how == signal.SIGKILL:
        own_minio.kill()
    else:
        own_minio.signal(signal.SIGSTOP)
    on_own_printed = on_own.root / "work" / "printed"
    on_own.until(on_own_printed.exists, 20)
    time.sleep(3)
    if how == signal.SIGKILL:
        own_minio.start()
    else:
        own_minio.signal(signal.SIGCONT)
    assert on_own.wait(60) == (0, 0), on_own.words()
    assert on_own.state["log"]["missing"] == 0 and on_own.state["log"]["size"] == 4 * MIB + 1
    whole = b"\n" + b"".join((b"%015d\n" % number) * 4096 for number in range(64))
    assert stored_digest(on_own) == digest_of(whole) == hashlib.sha256(whole).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_minio_that_is_gone_at_the_end_leaves_the_truth(on_own: Pod, own_minio: S3Server, how: int) -> None:  # noqa: F811
    on_own.orders(
        "import time; print('kept', flush=True); time.sleep(2); print('lost', flush=True)", limits={"endSeconds": 3}
    )
    on_own.start()
    on_own.until(lambda: on_own.log() == b"kept\n")
    if how == signal.SIGKILL:
        own_minio.kill()
    else:
        own_minio.signal(signal.SIGSTOP)
    assert on_own.main is not None and on_own.main.wait(20) == 0
    began = time.monotonic()
    assert on_own.wait(60) == (0, 3), on_own.words()
    assert time.monotonic() - began < 3 + 8 + 10, "about the grace that the pod has"
    if how == signal.SIGSTOP:
        own_minio.signal(signal.SIGCONT)
    last = on_own.termination
    assert last["log"]["size"] == 10 and last["log"]["stored"] == 5 and last["log"]["missing"] == 5
    assert not last["delivered"] and last["claims"]["end"]["outcome"] == "ok"


def test_an_output_that_the_store_will_not_have_stays_behind_alone(on_minio: Pod, bucket: S3Store) -> None:
    on_minio.credentials({"post": bucket.sign_post(PREFIX, 600, 1_000_000), "gets": {}})
    code = "open('a', 'w').write('1')\nopen('b', 'wb').write(b'x' * 2_000_000)\nopen('c', 'w').write('3')"
    assert on_minio.run(code) == (0, 0), on_minio.words()
    state = on_minio.state
    assert [one["path"] for one in state["files"]] == ["a", "c"] and state["filesTotal"] == 2
    remark = next(one["message"] for one in state["conditions"] if one["type"] == "OutputsComplete")
    assert "'b' was refused by the object store" in remark and "2000000 bytes" in remark
