"""The folder as an object store: the contract, and what can go wrong with disks, links and crashes."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_trainjob.storage.base import KeyMissing, StoreError
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .contract import StoreContract, test_a_key_either_is_refused_or_stays_below_the_root  # noqa: F401


@pytest.fixture
def store(tmp_path):
    return FilesystemStore(tmp_path / "store")


class TestFilesystemStore(StoreContract):
    """The contract on a real folder."""


def test_links_are_never_followed_out_of_the_store(store, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret")
    os.symlink(secret, store.root / "objects" / "folder")
    os.symlink(secret / "file", store.root / "objects" / "link")
    for key in ("folder/file", "link"):
        with pytest.raises(KeyMissing):
            store.get(key)
        with pytest.raises(KeyMissing):
            store.stat(key)
        store.delete(key)
    assert list(store.list("")) == []
    assert list(store.list("folder/")) == []
    with pytest.raises(StoreError):
        store.put("folder/new", b"x")
    with pytest.raises(StoreError):
        store.append("folder/file", b"x", 0)
    store.put("link", b"mine")  # replaces the link, not what it points to
    assert (secret / "file").read_text() == "secret"
    assert os.listdir(secret) == ["file"]


def test_a_pipe_or_device_in_the_folder_is_no_object_and_does_not_block(store):
    os.mkfifo(store.root / "objects" / "pipe")
    with pytest.raises(KeyMissing):
        store.get("pipe")
    assert list(store.list("")) == []


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"can't mount a small disk here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_told_clearly_and_nothing_is_lost(small_disk):
    store = FilesystemStore(small_disk)
    store.put("kept", b"old")
    for call in (
        lambda: store.put("kept", os.urandom(2 * 1024 * 1024)),
        lambda: store.append("log", os.urandom(2 * 1024 * 1024), 0),
    ):
        with pytest.raises(StoreError) as caught:
            call()
        assert "is full" in str(caught.value)
        assert "Delete old jobs, or give the server a larger disk." in str(caught.value)
    assert store.get("kept") == b"old"
    store.delete("log")
    store.put("fits", b"x" * 100_000)
    assert os.listdir(small_disk / "incoming") == []


def test_a_file_size_limit_is_told_clearly(tmp_path):
    code = """
import resource, sys
from jupyter_trainjob.storage.filesystem import FilesystemStore
store = FilesystemStore(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
store.put("big", b"x" * 2000)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s")], capture_output=True, text=True, check=False
    )
    assert "StoreError: Can't store 'big': the file would be larger than this process may write" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_a_folder_that_may_not_be_written_is_told_clearly(tmp_path):
    code = """
import os, sys
from jupyter_trainjob.storage.filesystem import FilesystemStore
os.setresuid(60001, 60001, 60001)
FilesystemStore(sys.argv[1]).put("k", b"x")
"""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    (tmp_path / "s").mkdir(mode=0o755)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s")], capture_output=True, text=True, check=False
    )
    assert "StoreError: Can't open the object store" in done.stderr
    assert "Correct its permissions." in done.stderr


def test_a_killed_writer_leaves_nothing_half_and_a_sweep_takes_its_rest(store):
    code = """
import os, sys
from jupyter_trainjob.storage.filesystem import FilesystemStore
class Dies:
    def read(self, size):
        if self.__dict__.setdefault("n", []) == [1, 1]:
            os.kill(os.getpid(), 9)
        self.n.append(1)
        return b"x" * 1000
FilesystemStore(sys.argv[1]).put("a/k", Dies())
"""
    done = subprocess.run([sys.executable, "-c", code, str(store.root)], check=False)
    assert done.returncode == -9
    assert not store.exists("a/k")
    assert len(os.listdir(store.root / "incoming")) == 1
    assert store.sweep(3600) == 0
    assert store.sweep(-1) == 1
    assert os.listdir(store.root / "incoming") == []


def test_folders_that_become_empty_go(store):
    store.put("a/b/c/d", b"x")
    store.delete("a/b/c/d")
    assert os.listdir(store.root / "objects") == []


def test_the_store_is_private(store):
    store.put("a/b", b"x")
    for path in (store.root, store.root / "objects", store.root / "objects" / "a"):
        assert Path(path).stat().st_mode & 0o077 == 0


def test_a_nameless_file_of_the_same_filesystem_becomes_the_object(store, tmp_path):
    with os.fdopen(os.open(tmp_path, os.O_TMPFILE | os.O_RDWR, 0o600), "w+b", buffering=0) as file:
        file.write(b"not copied")
        store.put_file("a/b", file)
        assert (store.root / "objects/a/b").stat().st_ino == os.fstat(file.fileno()).st_ino
    assert store.get("a/b") == b"not copied"
    assert list((store.root / "incoming").iterdir()) == []
