"""The log's way from the code to the store: every byte once, in bounded space, whoever is killed or away."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.backends.kubernetes.pod.shipper import FLOOD_BYTES, FLOOD_BYTES_PER_SECOND
from jupyter_trainjob.storage.base import StoreError
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.storage.loglayout import segments

from .pods import PREFIX, Pod

MIB = 2**20
PRINT = """
import hashlib, os
digest = hashlib.sha256()
for number in range({count}):
    piece = (b"%015d\\n" % number) * 4096
    digest.update(piece)
    os.write(1, piece) == len(piece) or 1 / 0
{then}
open("digest", "w").write(digest.hexdigest())
"""
"""Prints ``count`` pieces of 64 KiB and leaves their digest."""


def printed(pod: Pod) -> str:
    return (pod.root / "work" / "digest").read_text()


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def stored_digest(pod: Pod) -> str:
    """Of all segments, read one after the other."""
    digest, reached = hashlib.sha256(), 0
    for start, size in segments(pod.store, PREFIX):
        assert start == reached, "a hole, or bytes that came twice"
        with pod.store.open(f"{PREFIX}log/{start:020d}") as chunks:
            for chunk in chunks:
                digest.update(chunk)
        reached = start + size
    return digest.hexdigest()


def folder_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except FileNotFoundError:
            continue
    return total


def resident_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = [line for line in text.splitlines() if line.startswith("VmRSS")]
    return int(found[0].split()[1]) * 1024 if found else 0


class Watcher:
    """The most that was seen of the volume and of both processes' memory while a pod ran."""

    def __init__(self, pod: Pod) -> None:
        self.volume = self.main = self.sidecar = 0
        self._pod, self._over = pod, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            self.volume = max(self.volume, folder_bytes(self._pod.root / "out" / "log"))
            if self._pod.main is not None:
                self.main = max(self.main, resident_bytes(self._pod.main.pid))
            if self._pod.sidecar is not None:
                self.sidecar = max(self.sidecar, resident_bytes(self._pod.sidecar.pid))


@pytest.mark.parametrize("mebibytes", [64, pytest.param(1024, marks=pytest.mark.slow)])
def test_a_large_log_needs_a_small_volume_and_little_memory(pod: Pod, mebibytes: int) -> None:
    pod.orders(
        PRINT.format(count=mebibytes * 16, then=""), limits={"windowBytes": 8 * MIB, "logBytes": 4 * mebibytes * MIB}
    )
    with Watcher(pod.start()) as seen:
        assert pod.wait(300) == (0, 0), pod.words()
    assert pod.state["log"] == {
        "size": mebibytes * MIB,
        "stored": mebibytes * MIB,
        "complete": True,
        "gap": None,
        "missing": 0,
    }
    assert stored_digest(pod) == printed(pod)
    assert 0 < seen.volume <= 10 * MIB
    assert seen.main < 48 * MIB and seen.sidecar < 64 * MIB


def test_what_the_cap_leaves_out_is_told_and_the_server_may_remove_it(pod: Pod) -> None:
    code = PRINT.format(count=16 * 16, then="")
    assert pod.run(code, limits={"logBytes": 4 * MIB, "windowBytes": 2 * MIB}) == (0, 0)
    log = pod.state["log"]
    start, end = log["gap"]
    assert log["size"] == 16 * MIB and log["complete"] and log["missing"] == 0 and start == 2 * MIB
    for first, size in segments(pod.store, PREFIX):
        if start <= first and first + size <= end:
            pod.store.delete(f"{PREFIX}log/{first:020d}")
    record = pod.joined()
    whole = b"".join((b"%015d\n" % number) * 4096 for number in range(256))
    assert record.gap == (start, end) and record.missing == 0 and not record.truncated
    assert pod.store.get(f"{PREFIX}log.bytes") == whole[:start] + whole[end:]
    assert {one["reason"] for one in pod.state["conditions"]} == {"Capped"}


@pytest.mark.slow
def test_a_line_is_readable_soon_after_it_is_printed(pod: Pod) -> None:
    pod.orders("import time\nfor n in range(10):\n    print(time.time(), flush=True)\n    time.sleep(0.25)")
    pod.start()
    waits, known = [], 0
    while pod.main is not None and pod.main.poll() is None:
        lines = pod.log().splitlines()
        waits += [time.time() - float(line) for line in lines[known:]]
        known = len(lines)
        time.sleep(0.01)
    assert pod.wait() == (0, 0) and len(waits) >= 8
    assert sorted(waits)[len(waits) // 2] < 5, waits


def test_the_containers_own_log_shows_the_first_lines_only(pod: Pod) -> None:
    assert pod.run("print('first')\nprint('x' * 200000)") == (0, 0)
    shown = (pod.root / "main.log").read_bytes()
    assert shown.startswith(b"first\n") and len(shown) == 64 * 1024


@pytest.mark.parametrize("kills", [3])
def test_a_sidecar_that_is_killed_goes_on_where_it_was(pod: Pod, kills: int) -> None:
    pod.orders(
        PRINT.format(count=12 * 16, then="import time; time.sleep(0.5)").replace(
            "os.write(1", "__import__('time').sleep(0.01); os.write(1"
        ),
        limits={"windowBytes": 2 * MIB},
    )
    pod.start()
    for number in range(kills):
        pod.until(lambda number=number: len(pod.log()) > (number + 1) * MIB)
        assert pod.sidecar is not None
        pod.sidecar.send_signal(signal.SIGKILL)
        pod.sidecar.wait()
        time.sleep(0.2)
        pod.start_sidecar()
    assert pod.wait(90) == (0, 0), pod.words()
    assert pod.state["restarts"] == kills and pod.state["log"]["size"] == 12 * MIB
    assert pod.state["log"]["missing"] == 0 and stored_digest(pod) == printed(pod)


def test_a_sidecar_whose_own_disk_fails_leaves_to_be_started_again(pod: Pod) -> None:
    pod.orders("import time\nfor n in range(30):\n    print(n, flush=True)\n    time.sleep(0.1)")
    pod.start()
    pod.until(lambda: pod.log().startswith(b"0\n"))
    (pod.root / "buffer").rename(pod.root / "unplugged")
    assert pod.sidecar is not None and pod.sidecar.wait(20) == 1
    assert "FileNotFoundError" in (pod.root / "sidecar.log").read_text()
    (pod.root / "unplugged").rename(pod.root / "buffer")
    pod.start_sidecar()
    assert pod.wait(30) == (0, 0), pod.words()
    assert pod.log() == b"".join(b"%d\n" % n for n in range(30)) and pod.state["restarts"] == 1


def test_a_sidecar_that_is_started_once_more_after_all_is_done_leaves_at_once(pod: Pod) -> None:
    assert pod.run("print('x')") == (0, 0)
    last = pod.termination
    (pod.root / "termination").write_text("")
    pod.store.delete(f"{PREFIX}state.json")
    pod.start_sidecar()
    assert pod.wait(10) == (0, 0) and pod.termination == last
    assert not pod.store.exists(f"{PREFIX}state.json"), "nothing was done again"


def test_a_sidecar_killed_while_it_collects_begins_that_anew(pod: Pod) -> None:
    pod.orders("for n in range(500):\n    open(f'f{n}', 'w').write(str(n))\nprint('done')")
    pod.start()
    pod.until(lambda: pod.store.exists(f"{PREFIX}files/f0"))
    assert pod.sidecar is not None
    pod.sidecar.send_signal(signal.SIGKILL)
    pod.sidecar.wait()
    pod.start_sidecar()
    assert pod.wait(60) == (0, 0), pod.words()
    assert pod.state["filesTotal"] == 500 and pod.state["log"]["size"] == 5 and pod.log() == b"done\n"


def test_main_killed_by_outside_ends_the_attempt_with_its_log(pod: Pod) -> None:
    pod.orders("print('last words', flush=True)\nimport time; time.sleep(60)")
    pod.start()
    pod.until(lambda: pod.log() == b"last words\n")
    assert pod.main is not None
    os.killpg(pod.main.pid, signal.SIGKILL)
    children = [int(name) for name in os.listdir("/proc") if name.isdigit() and _of(pod, name)]
    for pid in children:  # as the end of a pid namespace's first process does
        os.kill(pid, signal.SIGKILL)
    assert pod.wait(20) == (-signal.SIGKILL, 0), pod.words()
    state = pod.state
    assert state["state"] == "ended" and state["main"] is None and "end" not in state["claims"]
    assert state["log"]["complete"] and pod.log() == b"last words\n" and pod.termination["main"] is None


def _of(pod: Pod, pid: str) -> bool:
    try:
        return str(pod.root / "in" / "job.json").encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


# The store is away


def away(pod: Pod) -> None:
    """The store's folder is a file."""
    (pod.root / "elsewhere").touch()
    pod.credentials({"store": {"type": "filesystem", "root": str(pod.root / "elsewhere" / "x")}})


def back(pod: Pod) -> None:
    pod.credentials({"store": pod.store.describe()})


def test_a_store_that_is_away_for_a_while_holds_up_nobody_and_loses_nothing(pod: Pod) -> None:
    then = "open('printed', 'w').close()\nimport time; time.sleep(4)"
    pod.orders(PRINT.format(count=64, then=then), limits={"windowBytes": MIB})
    away(pod)
    pod.start()
    pod.until(lambda: (pod.root / "work" / "printed").exists(), 20)  # four times the window: the spool has taken it
    assert folder_bytes(pod.root / "buffer" / "spool") > 2 * MIB and not pod.store.exists(f"{PREFIX}state.json")
    back(pod)
    assert pod.wait(60) == (0, 0), pod.words()
    assert pod.state["log"]["missing"] == 0 and stored_digest(pod) == printed(pod)
    assert folder_bytes(pod.root / "buffer" / "spool") == 0


@pytest.mark.slow
def test_what_the_spool_can_hold_no_more_is_told_as_missing(pod: Pod) -> None:
    then = "open('printed', 'w').close()\nimport time; time.sleep(4)"
    pod.orders(PRINT.format(count=128, then=then), limits={"windowBytes": MIB, "spoolBytes": 3 * MIB})
    away(pod)
    pod.start()
    pod.until(lambda: (pod.root / "work" / "printed").exists(), 20)
    back(pod)
    assert pod.wait(60) == (0, 0), pod.words()
    log, record = pod.state["log"], pod.joined()
    assert log["size"] == 8 * MIB and 3 * MIB < log["missing"] < 5 * MIB and log["complete"]
    assert record.missing == log["missing"] and not record.truncated
    (start, end) = record.holes[0]
    whole = b"".join((b"%015d\n" % number) * 4096 for number in range(128))
    assert pod.store.get(f"{PREFIX}log.bytes") == whole[:start] + whole[end:]
    assert any(
        one["reason"] == "StoreAway" and str(log["missing"]) in one["message"] for one in pod.state["conditions"]
    )


@pytest.mark.slow
def test_a_store_that_stays_away_leaves_the_truth_where_the_kubelet_finds_it(pod: Pod) -> None:
    pod.orders("print('lost')\nopen('made', 'w').write('x')", limits={"endSeconds": 2})
    away(pod)
    pod.start()
    main, sidecar = pod.wait(30)
    assert (main, sidecar) == (0, 3)
    last = pod.termination
    assert not last["delivered"] and last["log"]["size"] == 5 and last["log"]["missing"] == 5
    assert not last["log"]["complete"] and last["claims"]["end"]["outcome"] == "ok"
    assert "could not be stored" in last["problem"]


@pytest.mark.slow
def test_the_sidecar_killed_while_the_store_is_away_loses_nothing(pod: Pod) -> None:
    then = "open('printed', 'w').close()\nimport time; time.sleep(4)"
    pod.orders(PRINT.format(count=64, then=then), limits={"windowBytes": MIB})
    away(pod)
    pod.start()
    pod.until(lambda: (pod.root / "work" / "printed").exists(), 20)
    assert pod.sidecar is not None
    pod.sidecar.send_signal(signal.SIGKILL)
    pod.sidecar.wait()
    back(pod)
    pod.start_sidecar()
    assert pod.wait(60) == (0, 0), pod.words()
    assert pod.state["log"]["missing"] == 0 and stored_digest(pod) == printed(pod)


def test_what_a_flood_has_in_the_store_while_it_runs_is_bounded(pod: Pod) -> None:
    """The server, which removes what left the tail, may be away."""
    cap, began = 2 * MIB, time.monotonic()
    limits = {"logBytes": cap, "windowBytes": 2 * MIB, "timeLimitSeconds": 5, "endSeconds": 20}
    pod.orders("import os\nwhile True:\n    os.write(1, b'x' * 65535 + b'\\n')", limits=limits)
    pod.start()
    seen = []
    while pod.main is not None and pod.main.poll() is None:
        stored = sum(size for _, size in segments(pod.store, PREFIX))
        seen.append(stored)
        assert stored <= cap + FLOOD_BYTES + FLOOD_BYTES_PER_SECOND * (time.monotonic() - began) + 8 * MIB
        time.sleep(0.05)
    assert pod.wait(60) == (0, 0), pod.words()
    state = pod.state
    assert max(seen) > cap + FLOOD_BYTES, "it came to where it is held back"
    assert state["log"]["missing"] == 0 and state["log"]["size"] == state["main"]["logBytes"]
    assert state["main"]["limit"] == "TimeLimit" and state["log"]["gap"][0] == MIB


def test_a_hole_of_a_terabyte_is_no_log(pod: Pod) -> None:
    code = (
        "import os, pathlib, time\nring = pathlib.Path(job['out']).parent / 'log'\n"
        "print('before', flush=True); time.sleep(0.5)\n"
        "os.truncate(ring / os.listdir(ring)[0], 2**40)\n"
        "for n in range(12):\n    print('x' * 4095, flush=True); time.sleep(0.3)"
    )
    pod.orders(code, limits={"windowBytes": 64 * 1024, "logBytes": 64 * MIB})
    pod.start()
    most = 0
    while pod.main is not None and pod.main.poll() is None:
        most = max(most, sum(size for _, size in segments(pod.store, PREFIX)))
        time.sleep(0.05)
    assert pod.wait(60) == (0, 0), pod.words()
    log = pod.state["log"]
    assert 7 < most < 7 + 12 * 4096, "behind the file with the hole it goes on while the job runs"
    assert log["size"] == 7 + 12 * 4096 == pod.state["main"]["logBytes"] and log["missing"] == 8192 - 7
    assert b"\0" not in pod.log() and pod.state["conditions"][0]["reason"] == "NotHandedOn"


def test_each_byte_of_a_log_is_put_once(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, where puts can be counted."""
    from jupyter_trainjob.backends.kubernetes.pod.ring import RingReader, RingWriter
    from jupyter_trainjob.backends.kubernetes.pod.shipper import Shipper

    store, ring = Counting(pod.store.root), RingWriter(str(pod.root / "ring"), MIB)
    shipper = Shipper(
        store, PREFIX, RingReader(str(pod.root / "ring"), MIB), str(pod.root / "s"), cap_bytes=MIB, taken=ring.free
    )
    shipper.start()
    wanted = b""
    for number in range(300):
        piece = b"%07d\n" % number * 1000
        while ring.room < len(piece):
            time.sleep(0.005)
        assert ring.write(piece) == len(piece)
        wanted += piece
    shipper.end(time.monotonic() + 20, more_bytes=2 * MIB)
    shipper.join()
    assert shipper.closed and len(wanted) <= store.bytes <= len(wanted) * 1.05
    assert shipper.state()["size"] == len(wanted)


class Counting(FilesystemStore):
    """Counts bytes; the third put fails once."""

    bytes = puts = 0

    def put(self, key: str, data: Any, **how: Any) -> Any:
        self.puts += 1
        if self.puts == 3:
            raise StoreError("away for a moment")
        info = super().put(key, data, **how)
        self.bytes += info.size
        return info
