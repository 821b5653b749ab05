"""Archives of folders: honest ones are listed, hostile ones refused by name, before anything is unpacked."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from jupyter_trainjob.resources.folder import FolderError, read_folder, walk_folder


def entry(name: str, data: bytes = b"", **more: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def pack(*entries: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=format) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def chunks(data: bytes, size: int = 1000) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.DIRTYPE)


def test_an_honest_archive_is_listed_with_the_file_that_runs() -> None:
    data = pack(
        folder("./"),
        entry("./train.py", b"print(1)"),
        folder("lib"),
        entry("lib/größe.py", b"x" * 5000),
        entry("e", b""),
    )
    listing = read_folder(chunks(data), entry="train.py")
    assert listing.files == {"train.py": 8, "lib/größe.py": 5000, "e": 0}
    assert listing.total_bytes == 5008
    assert listing.entry == b"print(1)"
    assert read_folder(chunks(data), entry="other.py").entry is None
    assert [(path, content.read(3)) for path, _, content in walk_folder(chunks(data))] == [
        ("train.py", b"pri"),
        ("lib/größe.py", b"xxx"),
        ("e", b""),
    ]


@pytest.mark.parametrize(
    ("bad", "because"),
    [
        (entry("/etc/passwd", b"x"), "'/etc/passwd' leaves the folder"),
        (entry("a/../../b", b"x"), "'a/../../b' leaves the folder"),
        (entry("..", b"x"), "leaves the folder"),
        (entry("a\\b", b"x"), "backslash"),
        (entry("a\nb", b"x"), "control character"),
        (entry("n" * 256, b"x"), "too long a name"),
        (entry("s", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "'s' is a link"),
        (entry("h", type=tarfile.LNKTYPE, linkname="ok.txt"), "'h' is a link"),
        (entry("d", type=tarfile.CHRTYPE), "'d' is a device or a pipe"),
        (entry("f", type=tarfile.FIFOTYPE), "'f' is a device or a pipe"),
        (entry("c", type=tarfile.CONTTYPE), "'c' is an entry of type"),
        (entry("ok.txt", b"again"), "'ok.txt' comes twice"),
        (entry("./ok.txt", b"again"), "'ok.txt' comes twice"),
        (entry("ok.txt/below", b"x"), "'ok.txt' is a file and a folder in one"),
        (folder("ok.txt"), "'ok.txt' is a file and a folder in one"),
        (entry("lib", b"x"), "'lib' is a file and a folder in one"),
    ],
)
def test_what_could_leave_the_folder_is_refused_by_name(bad: tuple[tarfile.TarInfo, bytes], because: str) -> None:
    with pytest.raises(FolderError) as caught:
        read_folder(chunks(pack(entry("ok.txt", b"fine"), entry("lib/x", b"y"), bad)))
    assert because in str(caught.value)


def test_limits_on_files_and_bytes() -> None:
    many = pack(*(entry(f"{number}.txt", b"12345") for number in range(11)))
    with pytest.raises(FolderError, match="more than 10 entries"):
        read_folder(chunks(many), maximum_files=10)
    with pytest.raises(FolderError, match="more than 50 bytes together"):
        read_folder(chunks(many), maximum_bytes=50)
    assert read_folder(chunks(many), maximum_files=11, maximum_bytes=55).total_bytes == 55


def sparse_bomb() -> bytes:
    """A file that says it has 1 TiB, as GNU tar writes holes."""
    info = tarfile.TarInfo("hole")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**40)}
    data = b"1\n0\n1\n".ljust(512, b"\0") + b"x"
    info.size = len(data)
    return pack((info, data))


def long_header() -> bytes:
    """An extended header of 300 MB, which compresses to almost nothing and would be read into memory."""
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, 300_000_000
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(300):
            file.write(b"1" * 1_000_000)
    return buffer.getvalue()


@pytest.mark.parametrize(("make", "because"), [(sparse_bomb, "sparse"), (long_header, "300000000 bytes")])
def test_bombs_take_neither_memory_nor_time(make: Callable[[], bytes], because: str) -> None:
    data = make()
    tracemalloc.start()
    try:
        with pytest.raises(FolderError, match=because):
            read_folder(chunks(data))
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_file_beyond_the_limit_is_refused_before_its_bytes_are_read() -> None:
    info, _ = entry("big")
    info.size = 10**9
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(50):
            file.write(bytes(1_000_000))
    with pytest.raises(FolderError, match="more than 1000 bytes together"):
        read_folder(chunks(buffer.getvalue()), maximum_bytes=1000)


@pytest.mark.parametrize("spoil", ["cut", "plain", "empty", "noise"])
def test_what_is_no_whole_archive(spoil: str) -> None:
    data = pack(entry("a.txt", bytes(range(256)) * 400))
    broken = {"cut": data[: len(data) // 2], "plain": gzip.decompress(data), "empty": b"", "noise": b"\x1f\x8bnoise"}
    with pytest.raises(FolderError, match=r"whole \.tar\.gz|ends within"):
        read_folder(chunks(broken[spoil]))
