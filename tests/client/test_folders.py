"""Folders as one upload: what goes along, what is refused by name, and the archive."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import time
from pathlib import Path

import pytest

from jupyter_trainjob.client import InputError, folders
from jupyter_trainjob.resources.folder import read_folder


def write(folder: Path, *names: str, **texts: str) -> Path:
    for name in [*names, *texts]:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(texts.get(name, name))
    return folder


def paths(folder: Path) -> list[str]:
    return [one.path for one in folders.collect(folder)]


def packed(folder: Path) -> bytes:
    out = io.BytesIO()
    folders.pack(folders.collect(folder), out)
    return out.getvalue()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write(tmp_path / "p", "main.py", "lib/a.py", "lib/__pycache__/a.pyc", ".git/config", "data/x.csv", ".env")


def test_all_goes_along_but_what_no_job_needs(project: Path) -> None:
    write(project, ".ipynb_checkpoints/main.py", "nb/.ipynb_checkpoints/x")
    assert paths(project) == [".env", "data/x.csv", "lib/a.py", "main.py"]


def test_gitignore_files_are_followed_as_git_does(project: Path) -> None:
    (project / ".gitignore").write_text("*.csv\n!keep.csv\nbuild/\n/.env\n")
    write(project, "data/keep.csv", "build/out/keep.csv", "lib/build.py", "sub/.env", "sub/b.csv")
    (project / "sub/.gitignore").write_text("!b.csv\n")
    assert paths(project) == [
        ".gitignore", "data/keep.csv", "lib/a.py", "lib/build.py", "main.py", "sub/.env", "sub/.gitignore", "sub/b.csv",
    ]  # fmt: skip


def test_our_own_rules_replace_those_of_git(project: Path) -> None:
    (project / ".gitignore").write_text("data/\n")
    (project / ".trainjobignore").write_text("# secrets stay\n.env\n.*ignore\n")
    assert paths(project) == ["data/x.csv", "lib/a.py", "main.py"]


def test_the_same_files_make_the_same_archive(project: Path, tmp_path: Path) -> None:
    first = packed(project)
    os.utime(project / "main.py", (1, 1))
    time.sleep(1.1)
    other = write(tmp_path / "other", "data/x.csv", ".env", "lib/a.py", "main.py")
    assert hashlib.sha256(packed(other)).digest() == hashlib.sha256(first).digest()
    with tarfile.open(fileobj=io.BytesIO(first), mode="r:gz") as archive:
        members = archive.getmembers()
    assert {(one.mtime, one.uid, one.gid, one.uname) for one in members} == {(0, 0, 0, "")}


def test_the_server_takes_what_is_packed(project: Path) -> None:
    write(project, "grüße/日本.txt", "long/" + "x" * 200 + ".txt", "empty")
    (project / "empty").write_text("")
    (project / "run.py").write_text("1")
    (project / "run.py").chmod(0o755)
    listing = read_folder([packed(project)], entry="main.py")
    assert listing.entry == b"main.py" and sorted(listing.files) == paths(project)


def test_a_link_is_named_unless_it_is_left_out(project: Path) -> None:
    (project / "lib/link").symlink_to("/etc/passwd")
    with pytest.raises(
        InputError, match=r"lib/link in .* is a symbolic link, and links are not sent\. Leave it out by"
    ):
        paths(project)
    (project / "lib/link").unlink()
    (project / "far").symlink_to("/etc")
    with pytest.raises(InputError, match=r"far in .* is a symbolic link"):
        paths(project)
    (project / ".trainjobignore").write_text("far\n")
    assert "lib/a.py" in paths(project)


def test_what_is_no_file_or_has_no_name_for_others(project: Path) -> None:
    os.mkfifo(project / "pipe")
    with pytest.raises(InputError, match=r"pipe in .* is neither a file nor a folder"):
        paths(project)
    (project / "pipe").unlink()
    write(project, "a\nb")
    with pytest.raises(InputError, match=r"'a\\nb' in .* has a backslash, a control character or no UTF-8 in its name"):
        paths(project)
    os.rename(project / "a\nb", os.fsencode(project) + b"/\xff")
    with pytest.raises(InputError, match=r"no UTF-8 in its name\. Rename it"):
        paths(project)


def test_too_much_names_where_it_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, *(f".venv/{number}.py" for number in range(9)))
    monkeypatch.setattr(folders, "MAX_FILES", 10)
    with pytest.raises(
        InputError, match=r"has more than 10 files; most are in \.venv \(9 files\)\. .*write \.venv into"
    ):
        paths(project)
    monkeypatch.setattr(folders, "MAX_FILES", 100)
    monkeypatch.setattr(folders, "MAX_BYTES", 20)
    (project / "data/big.bin").write_bytes(bytes(5000))
    with pytest.raises(InputError, match=r"has 5\.\d KiB, more than 20 B; most are in data \(4\.9 KiB\)"):
        paths(project)


def test_nothing_to_send(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no file to send"):
        folders.collect(tmp_path)
    with pytest.raises(InputError, match=r"There is no folder .*nowhere"):
        folders.collect(tmp_path / "nowhere")


def test_rules_that_cannot_be_read_are_named(project: Path) -> None:
    (project / ".trainjobignore").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"\.trainjobignore can't be read: "):
        paths(project)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (None, "Which file of {0} runs? Name it with --entry; there is: main.py, lib/a.py."),
        ("../main.py", "--entry ../main.py lies outside of {0}."),
        ("/etc/x.py", "--entry /etc/x.py lies outside of {0}."),
        ("data/x.csv", "--entry data/x.csv is nothing that can run; that ends in .py, .R, .r, .scala, .ipynb."),
        (
            "mian.py",
            "--entry mian.py: there is no such file in {0}. Did you mean main.py? There is: main.py, lib/a.py.",
        ),
        ("p/main.py", "--entry p/main.py: there is no such file in {0}. Did you mean main.py?"),
    ],
)
def test_an_entry_that_cannot_run(project: Path, entry: str | None, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said.format(project))):
        folders.check_entry(project, entry, folders.collect(project))


def test_an_entry_that_is_left_out(project: Path) -> None:
    (project / ".gitignore").write_text("main.py\n")
    with pytest.raises(InputError, match=r"--entry main\.py is left out of what is sent, by \.trainjobignore or"):
        folders.check_entry(project, "main.py", folders.collect(project))
    assert folders.check_entry(project, "./lib/a.py", folders.collect(project)) == "lib/a.py"


def test_scripts(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "b.sh")
    assert folders.script(tmp_path / "a.py") == b"a.py"
    with pytest.raises(
        InputError, match=r"b\.sh is nothing that can be submitted: that is a notebook \(\.ipynb\), a sc"
    ):
        folders.script(tmp_path / "b.sh")
    with pytest.raises(InputError, match=r"There is no script .*none\.R"):
        folders.script(tmp_path / "none.R")


def test_what_can_not_be_read_is_told_in_a_sentence(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "n" * 250
    with pytest.raises(
        InputError, match=r"nnn\.py can't be read: File name too long\. Make it readable, or leave it out"
    ):
        folders.script(tmp_path / f"{long * 2}.py")
    monkeypatch.chdir(project)
    for _ in range(20):  # together longer than a path may be
        os.mkdir(long)
        os.chdir(long)
    with pytest.raises(InputError, match=r"nnn/? can't be read: File name too long\. Make it readable"):
        folders.collect(project)
