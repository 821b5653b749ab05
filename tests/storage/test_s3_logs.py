"""A log whose store is killed, full or away: every byte is there afterwards, or counted."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.storage.base import StoreError
from jupyter_trainjob.storage.loglayout import record_key, segment_key
from jupyter_trainjob.storage.logs import LogReader, LogRecord, LogWriter, join
from jupyter_trainjob.storage.s3 import S3Store

from .servers import S3Server
from .test_logs import PREFIX, read_all

LINE = b"%09d " + b"x" * 500 + b"\n"


def print_lines(writer: LogWriter, first: int, seconds: float) -> bytes:
    """A line every few milliseconds; all that was printed."""
    end, printed, number = time.monotonic() + seconds, [], first
    while time.monotonic() < end:
        printed.append(LINE % number)
        writer.write(printed[-1])
        number += 1
        time.sleep(0.004)
    return b"".join(printed)


def test_a_server_killed_in_the_middle_loses_nothing(own_minio: S3Server, tmp_path: Path) -> None:
    store = own_minio.store()
    writer = LogWriter(store, PREFIX, spool=tmp_path / "spool")
    whole = print_lines(writer, 0, 1.2)
    own_minio.kill()
    while_away = print_lines(writer, 10_000, 4.0)
    assert "can't be reached" in str(writer.error)
    own_minio.start()
    whole += while_away + print_lines(writer, 20_000, 1.0)
    chunk = LogReader(store, PREFIX).read(len(whole) - 1, wait_seconds=15)
    assert chunk.data == b"\n", "it is not shipped while the job goes on"
    record = writer.close()
    assert (record.size, record.missing, record.complete) == (len(whole), 0, True)
    assert read_all(store) == [(0, whole)]


def test_a_server_killed_at_the_end_is_waited_for(own_minio: S3Server, tmp_path: Path) -> None:
    store = own_minio.store()
    writer = LogWriter(store, PREFIX, spool=tmp_path / "spool")
    whole = print_lines(writer, 0, 0.8)
    own_minio.kill()
    writer.write(b"last words\n")
    starting = threading.Timer(3.0, own_minio.start)
    starting.start()
    record = writer.close(timeout_seconds=30)
    starting.join()
    assert (record.size, record.missing) == (len(whole) + 11, 0)
    assert read_all(store) == [(0, whole + b"last words\n")]


def test_a_server_that_stays_away_is_told_and_the_log_is_finished_later(own_minio: S3Server, tmp_path: Path) -> None:
    store = own_minio.store()
    writer = LogWriter(store, PREFIX, spool=tmp_path / "spool")
    whole = print_lines(writer, 0, 0.8)
    own_minio.kill()
    whole += print_lines(writer, 10_000, 0.5)
    with pytest.raises(StoreError, match="can't be reached"):
        writer.close(timeout_seconds=1)
    own_minio.start()
    record = join(store, PREFIX, spool=tmp_path / "spool")
    assert (record.size, record.missing, record.complete) == (len(whole), 0, True)
    assert read_all(store) == [(0, whole)]


def test_a_full_server_loses_nothing_when_room_is_made(full_minio: S3Server, tmp_path: Path) -> None:
    store = full_minio.store()
    with pytest.raises(StoreError, match="is full"):
        for number in range(20):
            store.put(f"fill/{number}", os.urandom(7_000_000))
    writer = LogWriter(store, PREFIX, spool=tmp_path / "spool")
    whole, deadline = b"", time.monotonic() + 20
    while writer.error is None:
        assert time.monotonic() < deadline, "it took everything"
        whole += os.urandom(200_000)
        writer.write(whole[-200_000:])
        time.sleep(0.02)
    assert "is full" in str(writer.error)
    store.delete_prefix("fill/")
    record = writer.close()
    assert (record.size, record.missing) == (len(whole), 0)
    assert read_all(store) == [(0, whole)]


def test_who_follows_a_growing_log_asks_for_one_object_a_look(own_minio: S3Server, tmp_path: Path) -> None:
    store = own_minio.store()
    asked: list[str] = []
    send = store.client.request

    def counted(what: str, *arguments: Any, **more: Any) -> Any:
        asked.append(what)
        return send(what, *arguments, **more)

    own = S3Store.from_description(store.describe())
    for number in range(3):
        own.put(segment_key(PREFIX, 4 * number), b"%03d\n" % number)
    store.client.request = counted  # type: ignore[method-assign]
    reader = LogReader(store, PREFIX)
    assert reader.read(0, fresh=False).data == b"000\n001\n002\n" and reader.at_end
    del asked[:]
    assert reader.read(12, fresh=False).data == b"" and len(asked) == 1, asked
    own.put(segment_key(PREFIX, 12), b"003\n")
    assert reader.read(12, fresh=False).data == b"003\n" and len(asked) == 2, asked
    time.sleep(store.ship_seconds)
    for number in (4, 5):  # who was away for longer gets all there is
        own.put(segment_key(PREFIX, 4 * number), b"%03d\n" % number)
    assert reader.read(16, fresh=False).data == b"004\n005\n" and len(asked) == 5, asked
    own.put(record_key(PREFIX), LogRecord(24).to_json())
    join(own, PREFIX)
    deadline = time.monotonic() + 5
    while not reader.read(24, fresh=False).complete:
        assert time.monotonic() < deadline, "the end is seen although its record is looked at but once a second"
        time.sleep(0.05)
    assert LogReader(store, PREFIX).read(0).data == b"".join(b"%03d\n" % number for number in range(6))
