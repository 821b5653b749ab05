"""Many files go in few requests, and all that a job left comes back in one, into one folder and nowhere else."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.client import Client, archive, uploads
from jupyter_trainjob.client.effects import Request
from jupyter_trainjob.client.errors import InputError, ServerError

WRITE = """
import pathlib
for number in range(1500):
    pathlib.Path(f"out/{number % 10}").mkdir(parents=True, exist_ok=True)
    pathlib.Path(f"out/{number % 10}/{number}.txt").write_text(str(number))
score = len(list(pathlib.Path("in").iterdir()))
"""


def test_a_thousand_files_there_and_back(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "SMALL_BYTES", 1000)
    monkeypatch.setattr(uploads, "BUNDLE_FILES", 100)
    source = tmp_path / "source" / "in"
    source.mkdir(parents=True)
    for number in range(250):
        (source / f"{number}").write_bytes(b"%d" % (number % 200))
    (source / "large").write_bytes(bytes(5000))
    sent: list[str] = []
    call = client.session.call

    def noted(request: Request, **more: Any) -> Any:
        sent.append(request.method + request.url)
        return call(request, **more)

    monkeypatch.setattr(client.session, "call", noted)
    job = client.submit_cell(WRITE, files=["in"], folder=source.parent, outputs=["score"])
    puts = [one for one in sent if one.startswith("PUT")]
    assert [one for one in puts if "sha256" not in one] == ["PUT/bundles", "PUT/bundles"]
    assert len(puts) == 3  # and the large one
    assert job.wait(60).phase == "Succeeded", job.logs()
    assert job.result("score") == 251
    folder = job.download_all(tmp_path / "got")
    assert folder == tmp_path / "got"
    got = {
        path.relative_to(folder / "files").as_posix(): path.read_text() for path in (folder / "files").rglob("*.txt")
    }
    assert got == {f"out/{number % 10}/{number}.txt": str(number) for number in range(1500)}
    assert sorted(path.name for path in folder.iterdir()) == ["files", "notebook.ipynb", "results"]
    sent.clear()
    client.submit_cell("1", files=["in"], folder=source.parent).cancel()
    assert [one for one in sent if one.startswith("PUT")] == []  # all was there


def packed(*entries: tuple[str, bytes, dict[str, Any]]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, data, more in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in more.items():
                setattr(info, key, value)
            file.addfile(info, io.BytesIO(data))
    return buffer


@pytest.mark.parametrize(
    ("name", "more", "because"),
    [
        ("../x", {}, "would leave the folder"),
        ("/x", {}, "would leave the folder"),
        ("s", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "is no plain file"),
        ("h", {"type": tarfile.LNKTYPE, "linkname": "ok"}, "is no plain file"),
        ("out/x", {}, "behind a symbolic link"),
    ],
)
def test_an_archive_is_not_believed(tmp_path: Path, name: str, more: dict[str, Any], because: str) -> None:
    folder = tmp_path / "to"
    folder.mkdir()
    (tmp_path / "outside").mkdir()
    (folder / "out").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match=because):
        archive._unpack(packed(("ok", b"1", {}), (name, b"" if more else b"x", more)), folder)
    assert not list((tmp_path / "outside").iterdir())
    assert not (tmp_path / "x").exists()


def test_an_archive_that_ended_early_is_told(tmp_path: Path) -> None:
    whole = packed(("a", b"x" * 2000, {}), ("b", b"y", {})).getvalue()
    for size in (0, 600, 512 + 2048, 512 + 2048 + 1024):
        with pytest.raises(ServerError, match="whole"):
            archive._unpack(io.BytesIO(whole[:size]), tmp_path)


def test_a_file_that_changes_while_it_is_sent_is_named(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    make = uploads._tar

    def change(bundle: list[uploads.File]) -> bytes:
        (tmp_path / "b").write_text("changed")
        return make(bundle)

    monkeypatch.setattr(uploads, "_tar", change)
    with pytest.raises(InputError, match=r"/b changed while it was being sent"):
        client.submit_cell("1", files=["a", "b"], folder=tmp_path)
