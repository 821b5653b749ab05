"""A slot: its kernel is ready before there is a job, its sidecar waits for one, and what comes is that job's alone."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.backends.kubernetes.pod.files import WARM
from jupyter_trainjob.backends.kubernetes.pod.waiting import ORDERS
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .pods import Pod

KEY = "pool/tj-warm-1-0/orders.json"


def slot(pod: Pod) -> None:
    """Make it one that waits."""
    pod.orders()
    folder = pod.root / "orders"
    job = json.loads((folder / "orders.json").read_text())["job"]
    (folder / "orders.json").unlink()
    (folder / "credentials.json").unlink()
    told = {"protocol": 1, "slot": "tj-warm-1-0", "key": KEY, "store": pod.store.describe()}
    job = {**job, "uid": "warm-1", "attempt": 0, "seed": 2**31}
    (folder / ORDERS).write_text(json.dumps({**told, "job": job}))


def give(pod: Pod, code: str, **more: Any) -> None:
    """As the server does with a claimed one."""
    pod.orders(code, **more)
    folder = pod.root / "orders"
    orders = json.loads((folder / "orders.json").read_text())
    (folder / "orders.json").unlink()
    credentials = {"store": pod.store.describe()}
    pod.store.put(KEY, json.dumps({"orders": orders, "credentials": credentials}).encode())


def is_warm(pod: Pod) -> bool:
    return (pod.root / "out" / WARM).exists()


def holds(folder: Path, text: bytes) -> list[str]:
    """The files below ``folder`` that hold ``text``."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def test_it_waits_and_then_runs_its_job_once(real: Pod) -> None:
    slot(real)
    real.start()
    real.until(lambda: is_warm(real), 60)
    assert not (real.root / "in" / "ready").exists()
    give(real, "import os\nprint('secret of ada', os.environ['TRAINJOB_JOB_UID'])")
    assert real.wait() == (0, 0), real.words()
    assert real.log() == b"secret of ada u\n"
    assert real.state["state"] == "ended" and real.state["claims"]["end"]["outcome"] == "ok"
    assert real.state["ready"] and real.state["main"]["limit"] == ""


def test_the_waiting_main_container_sees_nothing_but_its_own_waiting(real: Pod) -> None:
    slot(real)
    real.start()
    real.until(lambda: is_warm(real), 60)
    for folder in ("in", "out", "work", "tmp"):  # its volumes
        assert not holds(real.root / folder, KEY.encode()), "where the orders will lie"
        assert not holds(real.root / folder, str(real.root / "store").encode()), "a credential"
    give(real, "print(1)", results=["secret"])
    assert real.wait() == (0, 0), real.words()
    assert not holds(real.root / "out", b"credentials")


def test_a_slot_that_is_told_to_stop_ends_at_once_and_leaves_no_process(real: Pod) -> None:
    slot(real)
    real.start()
    real.until(lambda: is_warm(real), 60)
    assert real.main is not None
    group = int(Path(f"/proc/{real.main.pid}/task/{real.main.pid}/children").read_text().split()[0])
    real.main.send_signal(signal.SIGTERM)
    assert real.main.wait(5) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(group, 0)
    assert real.sidecar is not None
    assert real.sidecar.wait(10) == 0


def test_a_slot_whose_kernel_dies_ends(real: Pod) -> None:
    slot(real)
    real.start()
    real.until(lambda: is_warm(real), 60)
    assert real.main is not None
    runner = int(Path(f"/proc/{real.main.pid}/task/{real.main.pid}/children").read_text().split()[0])
    os.kill(runner, signal.SIGKILL)
    assert real.wait(20) == (64, 0)
    assert "that was to wait for a job" in real.ended["message"]


def test_inputs_that_cant_be_brought_end_a_claimed_slot_with_the_reason(real: Pod, store: FilesystemStore) -> None:
    slot(real)
    real.start()
    real.until(lambda: is_warm(real), 60)
    missing = {"path": "data.csv", "get": "blobs/ada/none", "bytes": 1, "sha256": None}
    give(real, "print(1)", inputs=[missing])
    assert real.wait() == (64, 0), real.words()
    assert real.state["failed"]["message"].startswith("The object store no longer has the input 'data.csv'")


def test_a_sidecar_that_is_killed_while_it_waits_or_later_goes_on(real: Pod) -> None:
    slot(real)
    real.start()
    real.until(lambda: is_warm(real), 60)
    for wanted in (b"", b"1\n"):
        real.until(lambda wanted=wanted: real.log() == wanted, 30)  # type: ignore[misc]
        assert real.sidecar is not None
        real.sidecar.kill()
        real.sidecar.wait()
        real.start_sidecar()
        if not wanted:
            give(real, "import time\nprint(1)\ntime.sleep(3)\nprint(2)")
    assert real.wait() == (0, 0), real.words()
    assert real.log() == b"1\n2\n"


def test_credentials_that_were_renewed_are_used(real: Pod, tmp_path: Path) -> None:
    slot(real)
    real.start()
    real.until(lambda: is_warm(real), 60)
    give(real, "import time\nprint(1)\ntime.sleep(4)\nprint(2)")
    real.until(lambda: real.log() == b"1\n", 30)
    other = FilesystemStore(tmp_path / "other")
    real.credentials({"store": other.describe()})
    assert real.wait() == (0, 0), real.words()
    assert other.exists("jobs/u/1/state.json")
