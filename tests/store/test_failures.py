"""A database that fails: a clear answer, and nothing lost that was stored."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from jupyter_trainjob.resources.errors import Unavailable
from jupyter_trainjob.resources.trainjob import TrainJob
from jupyter_trainjob.store import Store, Writer, engines
from jupyter_trainjob.store.failures import classify

from .making import job

FILL_A_SMALL_DISK = """
import pathlib, sys
from jupyter_trainjob.resources.errors import Unavailable
from jupyter_trainjob.resources.trainjob import TrainJob
from jupyter_trainjob.store import Store
sys.path.insert(0, sys.argv[2])
from making import job

disk = pathlib.Path(sys.argv[1])
with Store.open(f"sqlite:///{disk}/record.sqlite") as store:
    stored = 0
    try:
        for stored in range(10_000):
            store.write(lambda w: w.create(job(f"j-{stored}", code="x" * 50_000)))
    except Unavailable as error:
        print(error)
    with open(disk / "ballast", "rb"):
        pass
    assert store.read(lambda r: r.count(TrainJob)) == stored
    (disk / "ballast").unlink()
    store.write(lambda w: w.create(job("afterwards")))
with Store.open(f"sqlite:///{disk}/record.sqlite") as store:
    assert store.read(lambda r: r.count(TrainJob)) == stored + 1
    print("stored", stored)
"""


def _sqlite_file(url: str) -> Path:
    return Path(str(sa.make_url(url).database))


def test_a_full_disk_loses_nothing_and_the_store_goes_on(tmp_path: Path) -> None:
    """On a real, small filesystem, mounted in a user namespace of its own."""
    inside = (
        'mount -t tmpfs -o size=4m none "$1" && head -c 1000000 /dev/zero > "$1/ballast" && exec "$2" -c "$3" "$1" "$4"'
    )
    probe = subprocess.run(["unshare", "-rm", "true"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip("no user namespaces here to mount a small disk in")
    here = str(Path(__file__).parent)
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", inside, "sh", tmp_path, sys.executable, FILL_A_SMALL_DISK, here],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "can't be written, the disk may be full: database or disk is full." in done.stdout
    assert "What was stored before is safe; this change was not stored. Free some space" in done.stdout


def test_a_database_at_its_size_limit_loses_nothing(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store:
        store.write(lambda w: w.create(job("before")))

        def limit(writer: Writer) -> None:
            pages = writer._connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            writer._connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

        store.write(limit)
        with pytest.raises(Unavailable) as full:
            store.write(lambda w: w.create(job("large", code="x" * 500_000)))
        assert full.value.code == 503 and full.value.retry_after_seconds == 5
        assert "database or disk is full" in str(full.value)
        assert [item.metadata.name for item in store.read(lambda r: r.list(TrainJob)).items] == ["before"]
        store.write(lambda w: w._connection.exec_driver_sql("PRAGMA max_page_count=1000000") and None)
        store.write(lambda w: w.create(job("large", code="x" * 500_000)))
        assert [change.version for change in store.read(lambda r: r.changes(0)).changes] == [1, 2]


def test_a_writer_that_blocks_for_too_long_is_told(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.1)
    with Store.open(sqlite_url) as store:
        blocker = sqlite3.connect(_sqlite_file(sqlite_url), isolation_level=None, check_same_thread=False)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable) as busy:
            store.write(lambda w: w.create(job("one")))
        assert "is kept busy by another writer: database is locked" in str(busy.value)
        assert str(busy.value).endswith("look for a process that holds the database open.")
        assert store.read(lambda r: r.count(TrainJob)) == 0  # readers are not blocked
        release = threading.Timer(0.15, lambda: blocker.execute("ROLLBACK"))
        release.start()
        store.write(lambda w: w.create(job("one")))
        release.join()
        blocker.close()


def test_a_writer_on_postgresql_that_blocks_for_too_long_is_told(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.1)
    with Store.open(postgresql_url) as store, Store.open(postgresql_url) as other:
        held, release = threading.Event(), threading.Event()

        def hold(writer: Writer) -> None:
            held.set()
            release.wait(10)

        holding = threading.Thread(target=lambda: other.write(hold))
        holding.start()
        held.wait(10)
        with pytest.raises(Unavailable) as busy:
            store.write(lambda w: w.create(job("one")))
        release.set()
        holding.join()
        assert "is kept busy by another writer: canceling statement due to lock timeout" in str(busy.value)
        store.write(lambda w: w.create(job("one")))


def test_a_damaged_file_is_told(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store:
        for number in range(50):
            store.write(lambda w, number=number: w.create(job(f"j-{number}", code="x" * 5000)))
    path = _sqlite_file(sqlite_url)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(path.stat().st_size - 8192))
    with pytest.raises(Unavailable) as damaged, Store.open(sqlite_url) as store:
        store.read(lambda r: r.list(TrainJob))
    assert "is damaged: database disk image is malformed" in str(damaged.value)
    assert "restore a backup" in str(damaged.value)


def test_writers_on_postgresql_wait_for_each_other(postgresql_url: str) -> None:
    """Check-then-write is exact: the second writer sees what the first one wrote."""
    with Store.open(postgresql_url) as one, Store.open(postgresql_url) as two:

        def at_most_one(writer: Writer) -> bool:
            if writer.count(TrainJob):
                return False
            time.sleep(0.2)
            writer.create(job())
            return True

        answers: list[bool] = []
        threads = [
            threading.Thread(target=lambda store=store: answers.append(store.write(at_most_one)))
            for store in (one, two)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [False, True]
        assert one.read(lambda r: r.count(TrainJob)) == 1


def test_a_reader_sees_one_moment(url: str) -> None:
    with Store.open(url) as store, Store.open(url) as other:

        def twice(reader: object) -> tuple[int, int, int]:
            first = reader.count(TrainJob)  # type: ignore[attr-defined]
            other.write(lambda w: w.create(job()))
            return first, reader.count(TrainJob), reader.version()  # type: ignore[attr-defined]

        assert store.read(twice) == (0, 0, 0)
        assert store.read(lambda r: r.count(TrainJob)) == 1


def test_a_reader_can_not_write(url: str) -> None:
    with Store.open(url) as store, pytest.raises(Unavailable):
        store.read(lambda r: r._connection.exec_driver_sql("DELETE FROM trainjob_counters") and None)


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("database is locked", "busy"),
        ("attempt to write a readonly database", "readonly"),
        ("disk I/O error", "full"),
        ("database disk image is malformed", "damaged"),
        ("database or disk is full", "full"),
        ("unable to open database file", "readonly"),
        ("file is not a database", "damaged"),
        ("no such table: x", "other"),
    ],
)
def test_sqlites_errors_are_known_by_their_text_where_python_hides_the_code(message: str, wanted: str) -> None:
    """Python 3.10 does; an error made by hand has no code in any version."""
    assert classify(sa.exc.OperationalError("SELECT 1", None, sqlite3.OperationalError(message))) == wanted
