"""What a job reads: folders, scripts, other jobs' outputs, URIs. All is there, read-only, and nothing more."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.server
import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import BackendError
from jupyter_trainjob.backends.local.fetch import FetchRules, fetch
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .conftest import LEVELS, MakePlace
from .place import Place, a_request

pytestmark = pytest.mark.asyncio

SHOW = """
import json, os, pathlib
found = {}
for folder, _, names in os.walk("."):
    for name in names:
        path = os.path.join(folder, name)
        try:
            os.geteuid() and open(path, "a")  # at level process root stays root, whom no mode stops
        except OSError:
            found[os.path.relpath(path)] = open(path).read()
        else:
            found[os.path.relpath(path)] = "WRITABLE" if os.geteuid() else open(path).read()
print(json.dumps(found), end="")
"""


@pytest_asyncio.fixture
async def place(make_place: MakePlace, level: str) -> Place:
    """With the real runner, which is what puts inputs into the folder."""
    place = await make_place(runner=(), **LEVELS[level])
    if place.backend.describe()["isolation"] != level:
        pytest.skip(f"this machine offers {place.backend.describe()['isolation']}")
    return place


def upload(store: FilesystemStore, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    store.put(f"blobs/ada/{digest}", data)
    return f"sha256:{digest}"


def packed(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in more:
            archive.addfile(info)
    return buffer.getvalue()


async def shown(place: Place, **spec: Any) -> dict[str, str]:
    ref = await place.begin(SHOW, **spec)
    seen = await place.until(ref, "ended")
    log = await place.log(ref)
    assert seen.claims["end"]["outcome"] == "ok", log
    assert seen.files_total == 0  # inputs are no outputs
    found: dict[str, str] = json.loads(log)
    return found


async def refused(place: Place, **spec: Any) -> str:
    """What the attempt is refused with, at once or, where that takes reading, as its end."""
    request = a_request("refused", "1", **spec)
    try:
        await place.backend.create(request)
    except BackendError as error:
        assert error.permanent
        assert await place.backend.attempts() == []
        return str(error)
    seen = await place.until(request.ref, "ended")
    assert seen.evidence["limit"] == "BackendError" and seen.started is None
    (told,) = [item for item in seen.conditions if item["type"] == "InputsReady"]
    assert (told["status"], told["reason"]) == ("False", "Failed")
    await place.backend.delete(request.ref)
    assert await place.backend.attempts() == []
    return str(seen.evidence["message"])


# Folders and scripts


async def test_a_folder_lies_read_only_in_the_jobs_folder_and_its_entry_runs(
    place: Place, store: FilesystemStore
) -> None:
    files = {"run/show.py": SHOW.encode(), "lib/helper.py": b"x = 1", "data.csv": b"1,2"}
    source = {"type": "folder", "digest": upload(store, packed(files)), "entry": "run/show.py"}
    extra = [{"type": "upload", "digest": upload(store, b"more"), "path": "lib/more.txt"}]
    assert await shown(place, source=source, inputs=extra) == {
        **{path: data.decode() for path, data in files.items()},
        "lib/more.txt": "more",
    }


async def test_what_python_makes_of_imported_modules_is_no_output(place: Place, store: FilesystemStore) -> None:
    files = {"main.py": b"from lib import helper\nprint(helper.x)", "lib/helper.py": b"x = 1", "lib/__init__.py": b""}
    source = {"type": "folder", "digest": upload(store, packed(files)), "entry": "main.py"}
    seen = await place.run("", source=source)
    assert await place.log(seen.ref) == b"1\n" and seen.files == [], seen


async def test_a_folders_notebook_runs_as_it_is(strong: Place, store: FilesystemStore) -> None:
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {},
        "cells": [{"cell_type": "code", "id": "a", "metadata": {}, "source": "print(7)", "outputs": []}],
    }
    folder = packed({"a.ipynb": json.dumps(notebook).encode()})
    ref = await strong.begin("", source={"type": "folder", "digest": upload(store, folder), "entry": "a.ipynb"})
    await strong.until(ref, "ended")
    assert await strong.log(ref) == b"7\n"


async def test_a_script_runs_with_its_own_lines(strong: Place, store: FilesystemStore) -> None:
    source = {"type": "script", "digest": upload(store, b"\n\n1/0\n"), "path": "train.py"}
    seen = await strong.run("", source=source)
    assert "line 3, in <module>\n    1/0" in seen.claims["end"]["error"]["traceback"]


async def test_a_script_may_begin_with_a_byte_order_mark(strong: Place, store: FilesystemStore) -> None:
    source = {"type": "script", "digest": upload(store, b"\xef\xbb\xbfprint('\xc3\xa4')"), "path": "train.py"}
    seen = await strong.run("", source=source)
    assert (await strong.log(seen.ref)).decode() == "ä\n"


async def test_a_script_lies_in_its_folder_and_does_not_come_home(place: Place, store: FilesystemStore) -> None:
    code = b"import sys\nprint(sys.argv, open(__file__).read() == open('train.py').read(), open('train.py').readline())"
    source = {"type": "script", "digest": upload(store, code), "path": "train.py"}
    seen = await place.run("", source=source)
    assert await place.log(seen.ref) == b"['train.py'] True import sys\n\n"
    assert seen.files == []
    other = {"type": "upload", "digest": upload(store, b"another"), "path": "train.py"}
    seen = await place.run("", source=source, inputs=[other])
    assert await place.log(seen.ref) == b"['train.py'] True another\n", "an input has its place"


async def test_a_hostile_folder_is_refused_and_leaves_nothing(strong: Place, store: FilesystemStore) -> None:
    link = tarfile.TarInfo("out")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    for data, because in (
        (packed({"a.py": b"1"}, link), "The folder can't be unpacked: 'out' is a link; only plain files and folders"),
        (packed({"../a.py": b"1"}), "'../a.py' leaves the folder"),
        (packed({"b.py": b"1"}), "The folder has no file 'a.py' that could run"),
        (packed({"a.py": b"1", "big": bytes(2**21)}), "more than 1048576 bytes together"),
        (b"no archive", "no whole .tar.gz"),
    ):
        source = {"type": "folder", "digest": upload(store, data), "entry": "a.py"}
        assert because in await refused(strong, source=source, resources={"disk": "1Mi"})


async def test_inputs_in_each_others_place(strong: Place, store: FilesystemStore) -> None:
    source = {"type": "folder", "digest": upload(store, packed({"a.py": b"1", "lib/x": b"1"})), "entry": "a.py"}
    one = {"type": "upload", "digest": upload(store, b"x")}
    for path, because in (
        ("a.py", "'a.py' can't be placed: two inputs have this path"),
        ("a.py/b", "'a.py' on its way is a file"),
        ("lib", "'lib' can't be placed"),
    ):
        assert because in await refused(strong, source=source, inputs=[{**one, "path": path}])


# How much they may be


async def test_inputs_of_more_bytes_than_the_jobs_disk_are_refused(strong: Place, store: FilesystemStore) -> None:
    digests = [upload(store, bytes([n]) * 2**20) for n in range(3)]
    inputs = [{"type": "upload", "digest": digest, "path": digest[7:]} for digest in digests]
    told = await refused(strong, inputs=inputs, resources={"disk": "2Mi"})
    assert "The inputs have 3 MiB together, and the job has 2 MiB of disk." in told
    assert "Ask for 3Mi with --disk, or name fewer inputs." in told


async def test_a_folder_and_inputs_have_the_disk_together(strong: Place, store: FilesystemStore) -> None:
    folder = packed({"a.py": b"1", "big": bytes(3 * 2**19)})
    inputs = [{"type": "upload", "digest": upload(store, bytes(2**20)), "path": "x"}]
    source = {"type": "folder", "digest": upload(store, folder), "entry": "a.py"}
    told = await refused(strong, source=source, inputs=inputs, resources={"disk": "2Mi"})
    assert "The inputs have more than 2 MiB together, and the job has 2 MiB of disk. Ask for more with --disk" in told


async def test_what_is_fetched_counts_too(make_place: MakePlace, tmp_path: Path) -> None:
    (tmp_path / "set").write_bytes(bytes(2**20 + 1))
    place = await make_place(fetching=FetchRules((f"file://{tmp_path}/set",)))
    inputs = [{"type": "uri", "uri": f"file://{tmp_path}/set", "path": "x"}]
    assert "The inputs have more than 1 MiB together" in await refused(place, inputs=inputs, resources={"disk": "1Mi"})


async def test_an_upload_of_many_names_is_brought_once(place: Place, store: FilesystemStore) -> None:
    digest = upload(store, b"x" * 2**19)
    inputs = [{"type": "upload", "digest": digest, "path": f"{n}.txt"} for n in range(5)]
    code = "import glob; print(sorted((f, len(open(f).read())) for f in glob.glob('*.txt')))"
    ref = await place.begin(code, inputs=inputs, resources={"disk": "1Mi"})
    brought = os.listdir(place.folder(ref).file("in", "inputs"))
    seen = await place.until(ref, "ended")
    assert seen.claims["end"]["outcome"] == "ok" and seen.files == [], seen
    assert await place.log(ref) == f"{[(f'{n}.txt', 2**19) for n in range(5)]}\n".encode()
    assert brought == ["0"]


# Other jobs' outputs


async def test_outputs_of_another_job_by_file_by_folder_and_all(place: Place, store: FilesystemStore) -> None:
    store.put("jobs/other/1/files/model.txt", b"old")
    for path in ("model.txt", "runs/1/a", "runs/2/b", "runs-not/c"):
        store.put(f"jobs/other/2/files/{path}", path.encode())

    def of(file: str, path: str, attempt: int = 2) -> dict[str, Any]:
        return {"type": "output", "job": "other", "file": file, "path": path, "attempt": attempt}

    inputs = [of("model.txt", "m"), of("model.txt", "old/m", 1), of("runs", "r"), of(".", "all")]
    assert await shown(place, inputs=inputs) == {
        "m": "model.txt",
        "old/m": "old",
        "r/1/a": "runs/1/a",
        "r/2/b": "runs/2/b",
        "all/model.txt": "model.txt",
        "all/runs/1/a": "runs/1/a",
        "all/runs/2/b": "runs/2/b",
        "all/runs-not/c": "runs-not/c",
    }


async def test_an_output_that_is_not_there(strong: Place, store: FilesystemStore) -> None:
    item = {"type": "output", "job": "other", "file": "x", "path": "y"}
    assert "It is not known which attempt" in await refused(strong, inputs=[item])
    told = await refused(strong, inputs=[{**item, "attempt": 1}])
    assert "Attempt 1 of job other left no file 'x', which was to be the input 'y'" in told
    assert "left no files" in await refused(strong, inputs=[{**item, "file": ".", "attempt": 1}])


# URIs


class _Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        port = self.server.server_address[1]
        places = {
            "/open/jump": f"http://127.0.0.1:{port}/open/a.csv",
            "/open/out": f"http://127.0.0.1:{port}/private/a.csv",
            "/open/file": "file:///etc/passwd",
            "/open/ring": f"http://127.0.0.1:{port}/open/ring",
        }
        if self.path in places:
            self.send_response(302)
            self.send_header("Location", places[self.path])
            self.end_headers()
        elif self.path == "/open/short":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"x" * 50)
        elif self.path in ("/open/drip", "/open/drip-head"):
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" if self.path == "/open/drip" else b"HTTP/1.0 200 OK\r\nX: ")
            with contextlib.suppress(OSError):
                for _ in range(200):
                    self.wfile.write(b"x")
                    time.sleep(0.1)
        elif self.path in ("/open/a.csv", "/private/a.csv"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"1,2,3")
        else:
            self.send_error(404)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_what_the_operator_allows_is_fetched_and_its_digest_told(
    make_place: MakePlace, site: str, tmp_path: Path
) -> None:
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "a b.txt").write_text("from a file")
    place = await make_place(runner=(), fetching=FetchRules((f"{site}/open/", f"file://{tmp_path}/sets")))
    inputs = [
        {"type": "uri", "uri": f"{site}/open/jump", "path": "a.csv"},
        {"type": "uri", "uri": f"file://{tmp_path}/sets/a%20b.txt", "path": "d/b.txt"},
    ]
    ref = await place.begin(SHOW, inputs=inputs)
    seen = await place.until(ref, "ended")
    assert json.loads(await place.log(ref)) == {"a.csv": "1,2,3", "d/b.txt": "from a file"}
    told = next(condition for condition in seen.conditions if condition["type"] == "InputsFetched")
    assert told["message"] == (
        f"a.csv: sha256:{hashlib.sha256(b'1,2,3').hexdigest()} (5 bytes); "
        f"d/b.txt: sha256:{hashlib.sha256(b'from a file').hexdigest()} (11 bytes)"
    )


async def test_nothing_is_fetched_that_is_not_allowed(strong: Place, site: str) -> None:
    told = await refused(strong, inputs=[{"type": "uri", "uri": f"{site}/open/a.csv", "path": "a"}])
    assert "this server's operator allows no URIs as inputs" in told


@pytest.mark.parametrize(
    ("path", "because", "permanent"),
    [
        ("/private/a.csv", "is not among what this server's operator allows", True),
        ("/open/out", r"/open/out leads elsewhere: '.*/private/a\.csv' is not among", True),
        ("/open/file", "was refused: 302", True),
        ("/open/ring", "was refused: 302", True),
        ("/open/none", "was refused: 404 Not Found", True),
        ("/open/short", "broke off after 50 bytes: 50 bytes are missing", False),
    ],
)
async def test_no_way_leads_out_of_the_allow_list(
    site: str, tmp_path: Path, path: str, because: str, permanent: bool
) -> None:
    rules = FetchRules((f"{site}/open", "file:///etc/hostname"))
    with pytest.raises(BackendError, match=because) as caught:
        fetch(site + path, str(tmp_path / "got"), rules)
    assert caught.value.permanent is permanent


async def test_a_fetch_is_bounded_in_size_and_time(site: str, tmp_path: Path) -> None:
    for rules, because in (
        (FetchRules((site,), maximum_bytes=4), "more than 4, which is what one input may have"),
        (FetchRules((site,), maximum_seconds=0), "did not come within 0 s"),
    ):
        with pytest.raises(BackendError, match=because):
            fetch(f"{site}/open/a.csv", str(tmp_path / because[:4]), rules)
    with pytest.raises(BackendError, match="can't be reached") as caught:
        fetch("http://127.0.0.1:9/x", str(tmp_path / "x"), FetchRules(("http://127.0.0.1:9",)))
    assert not caught.value.permanent


@pytest.mark.parametrize("path", ["/open/drip", "/open/drip-head"])
async def test_a_server_that_sends_a_byte_now_and_then_is_left_at_the_deadline(
    site: str, tmp_path: Path, path: str
) -> None:
    began = time.monotonic()
    with pytest.raises(BackendError, match=r"did not come within 1 s, which is what all URIs of a job") as caught:
        await asyncio.to_thread(fetch, site + path, str(tmp_path / "x"), FetchRules((site,), maximum_seconds=1))
    assert caught.value.permanent and time.monotonic() - began < 4


async def test_a_file_is_reached_through_no_link(tmp_path: Path) -> None:
    sets = tmp_path / "sets"
    (sets / "deep").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (sets / "link").symlink_to(tmp_path / "secret")
    (sets / "up").symlink_to(tmp_path)
    os.mkfifo(sets / "pipe")
    rules = FetchRules((f"file://{sets}",))
    for name, because in (
        ("link", "it is a link, or lies behind one"),
        ("up/secret", "it is a link, or lies behind one"),
        ("pipe", "is no plain file"),
        ("deep", "is no plain file"),
        ("none", "No such file"),
    ):
        with pytest.raises(BackendError, match=because):
            fetch(f"file://{sets}/{name}", str(tmp_path / f"got-{name.replace('/', '-')}"), rules)
    (tmp_path / "alias").symlink_to(sets)  # the operator's own prefix may go through one
    (sets / "fine").write_text("fine")
    for prefix in (f"file://{tmp_path}/alias", f"file://{tmp_path}/alias/fine"):
        assert fetch(f"file://{tmp_path}/alias/fine", str(tmp_path / prefix[-3:]), FetchRules((prefix,)))[1] == 4
