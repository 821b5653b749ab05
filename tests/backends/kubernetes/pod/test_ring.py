"""The window between main and sidecar: bounded, in order, and no wiser than what lies in it."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from jupyter_trainjob.backends.kubernetes.pod.ring import RingReader, RingWriter

from .test_files import no_file_larger_than


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def read_all(reader: RingReader, offset: int = 0) -> bytes:
    data = b""
    while (piece := reader.read(offset + len(data), 50)[1]) != b"":
        data += piece
    return data


def test_what_is_written_is_read_and_freed(folder: Path) -> None:
    writer, reader = RingWriter(str(folder), 80), RingReader(str(folder), 80)
    assert reader.read(0, 10) == (0, b"") and reader.waiting(0) == 0
    for number in range(7):
        assert writer.write(b"%09d\n" % number) == 10
    assert writer.room == 10 and reader.waiting(0) == 70
    assert read_all(reader) == b"".join(b"%09d\n" % n for n in range(7))
    writer.free(35)
    assert writer.room == 45 and sorted(os.listdir(folder))[0] == f"{30:020d}", "the files before are gone"
    assert reader.read(35, 5) == (35, b"0003\n"[0:5])


def test_a_reader_begins_anywhere(folder: Path) -> None:
    writer = RingWriter(str(folder), 80)
    writer.write(bytes(range(64)))
    assert RingReader(str(folder), 80).read(33, 3) == (33, bytes([33, 34, 35]))


def test_bytes_that_are_gone_are_jumped_over_when_asked_to_and_within_reach_only(folder: Path) -> None:
    writer, reader = RingWriter(str(folder), 80), RingReader(str(folder), 80)
    writer.write(b"x" * 45)
    assert len(read_all(reader)) == 45
    writer.write(b"y" * 35)
    for start in (40, 50):
        os.unlink(folder / f"{start:020d}")
    reader = RingReader(str(folder), 80)
    reader.read(30, 10)
    assert reader.read(40, 10) == (40, b"") and reader.read(40, 10, jump=True) == (60, b"y" * 10)
    (folder / ("9" * 20)).touch()
    assert RingReader(str(folder), 80).read(80, 10, jump=True) == (80, b"")


def test_a_folder_that_is_gone_costs_the_bytes_and_no_error(folder: Path) -> None:
    writer = RingWriter(str(folder), 80)
    writer.write(b"x" * 10)
    for name in os.listdir(folder):
        os.unlink(folder / name)
    folder.rmdir()
    assert writer.write(b"y" * 30) == 30 and writer.lost == 30 and writer.end == 40
    assert writer.room == 70, "lost bytes hold up nobody"


def test_a_file_that_is_larger_than_main_makes_them_is_passed_over(folder: Path) -> None:
    writer, reader = RingWriter(str(folder), 80), RingReader(str(folder), 80)
    writer.write(b"x" * 45)
    for start in (20, 30):
        os.truncate(folder / f"{start:020d}", 2**40)
    assert read_all(reader) == b"x" * 20 and reader.waiting(20) < 80
    assert reader.read(20, 10**6) == (20, b"") and reader.read(20, 10**6, jump=True) == (40, b"x" * 5)


def test_a_full_volume_is_written_on_once_the_sidecar_has_all(folder: Path) -> None:
    writer, reader = RingWriter(str(folder), 80), RingReader(str(folder), 80)
    with no_file_larger_than(6):
        assert writer.write(b"0123456789") == 6, "it is full"
        assert reader.read(0, 10) == (0, b"012345") and writer.write(b"6789") == 0
        writer.free(6)
        assert writer.write(b"6789") == 4
    assert reader.read(6, 10) == (6, b"6789") and os.listdir(folder) == [f"{6:020d}"]


def test_files_that_can_not_be_removed_are_counted_and_no_error(folder: Path) -> None:
    writer = RingWriter(str(folder), 80)
    writer.write(b"x" * 40)
    for start in (0, 10):
        os.unlink(folder / f"{start:020d}")
        (folder / f"{start:020d}").mkdir()
        (folder / f"not-ours-{start}").touch()  # so that the folder can't be moved aside either
    writer.free(30)
    assert writer.spoilt == 2 and writer.room == 70
    assert not (folder / f"{20:020d}").exists(), "what comes behind is removed all the same"


@pytest.mark.parametrize("known", [0, 700])
def test_what_comes_while_a_reader_looks_is_not_jumped_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, known: int
) -> None:
    """Between two looks the writer begins, or goes on for several files."""
    writer, reader = RingWriter(str(folder), 4096), RingReader(str(folder), 4096)
    wanted = bytes(range(256)) * 8
    writer.write(wanted[:known])
    got = b"".join(reader.read(at, 10_000)[1] for at in (0, 512)[: 2 if known else 0])
    assert len(got) == known
    look, looks = reader._starts, []

    def late() -> list[int]:
        found = look()
        if not looks:
            looks.append(writer.write(wanted[known:]))
        return found

    monkeypatch.setattr(reader, "_starts", late)
    while len(got) < len(wanted):
        at, data = reader.read(len(got), 1000, jump=True)
        assert at == len(got), "nothing was jumped over"
        got += data
    assert got == wanted and looks


def test_a_writer_and_a_reader_at_once_lose_nothing(folder: Path) -> None:
    writer, reader = RingWriter(str(folder), 4096), RingReader(str(folder), 4096)
    chance, wanted = random.Random(5), bytes(random.Random(7).randbytes(400_000))
    place = [0]

    def write() -> None:
        at = 0
        while at < len(wanted):
            writer.free(place[0])
            count = min(chance.randrange(1, 900), writer.room)
            if count > 0:
                at += writer.write(wanted[at : at + count])

    thread = threading.Thread(target=write)
    thread.start()
    got, deadline = b"", time.monotonic() + 30
    while len(got) < len(wanted):
        at, data = reader.read(len(got), 1000, jump=True)
        assert at == len(got), "nothing was jumped over"
        got += data
        place[0] = len(got)
        assert time.monotonic() < deadline and len(os.listdir(folder)) <= 10
    thread.join()
    assert got == wanted
