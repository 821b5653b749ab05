"""What a job reads is brought and checked before it begins; what can't be is told, and nothing runs."""

from __future__ import annotations

import io
import json
import tarfile
import time

import pytest

from .pods import Pod

READ = (
    "import pathlib\nfor path in sorted(pathlib.Path('.').rglob('*')):\n"
    "    path.is_file() and print(path, path.read_text())"
)


def archive(files: dict[str, str], *, evil: str = "") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
        if evil:
            link = tarfile.TarInfo(evil)
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
    return packed.getvalue()


def failed(pod: Pod) -> dict[str, str]:
    """What became of a job whose inputs can't be brought."""
    assert pod.wait(30) == (64, 0), pod.words()
    state = pod.state
    assert state["state"] == "ended" and state["ready"] is None and state["log"]["size"] == 0
    assert state["main"]["limit"] == state["failed"]["limit"] and pod.termination["failed"] is not None
    assert not (pod.root / "in" / "ready").exists()
    found: dict[str, str] = state["failed"]
    return found


def test_files_and_variables_are_there_when_the_code_begins(real: Pod) -> None:
    one = real.put("blobs/one", b"first")
    inputs = [
        {"path": "a.txt", **one},
        {"path": "deep/b.txt", **real.put("blobs/two", b"second")},
        {"path": "c.txt", **one},
        {"variables": {"names": ["x"], "format": "json", "pythonVersion": ""}, **real.put("blobs/x", b"41")},
    ]
    assert real.run(READ + "\nprint(x + 1)", inputs=inputs) == (0, 0), real.words()
    assert real.log().decode().splitlines() == ["a.txt first", "c.txt first", "deep/b.txt second", "42"], real.state
    assert real.state["files"] == [], "inputs are no outputs"
    assert [path.name for path in sorted((real.root / "in" / "inputs").iterdir())] == ["0", "1"]


def test_a_folder_is_unpacked_and_its_entry_runs(real: Pod) -> None:
    data = archive({"main.py": "import helper\nprint(helper.word)", "helper.py": "word = 'from beside'"})
    inputs = [{"folder": {"entry": "main.py"}, **real.put("blobs/folder", data)}]
    assert real.run(notebook=None, inputs=inputs) == (0, 0), real.words()
    assert real.log() == b"from beside\n"
    assert ran_from(real) == "main.py"


def test_a_script_and_a_notebook_of_the_store_run(pod: Pod) -> None:
    script = {"script": pod.put("blobs/s", b"print('a script')"), "path": "train.py"}
    assert pod.run(notebook=script) == (0, 0)
    assert pod.log() == b"a script\n"
    assert ran_from(pod) == "train.py"


def test_a_script_lies_in_its_folder_and_does_not_come_home(real: Pod) -> None:
    code = b"import sys\nprint(sys.argv, open(__file__).read() == open('train.py').read())"
    script = {"script": real.put("blobs/s", code), "path": "train.py"}
    assert real.run(notebook=script) == (0, 0), real.words()
    assert real.log() == b"['train.py'] True\n"
    assert real.state["files"] == []


def ran_from(pod: Pod) -> object:
    """The file whose errors name it."""
    notebook = json.loads((pod.root / "in" / "notebook.ipynb").read_bytes())
    return notebook["cells"][0]["metadata"]["trainjob"]["file"]


def test_a_notebook_of_the_store_runs(pod: Pod) -> None:
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "print(7)", "outputs": [], "execution_count": 1}
    text = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}).encode()
    assert pod.run(notebook=pod.put("blobs/n", text)) == (0, 0)
    assert pod.log() == b"7\n"


@pytest.mark.parametrize(
    ("change", "limit", "words"),
    [
        ({"sha256": "0" * 64}, "StorageError", "other bytes than were uploaded"),
        ({"bytes": 3}, "StorageError", "gave 5 bytes of the input 'a.txt', which has 3"),
        ({"get": "blobs/gone"}, "BackendError", "no longer has the input 'a.txt'. Submit the job again"),
    ],
)
def test_an_input_that_is_not_what_it_was_stops_the_job(
    pod: Pod, change: dict[str, object], limit: str, words: str
) -> None:
    pod.orders(inputs=[{"path": "a.txt", **pod.put("blobs/one", b"first"), **change}])
    pod.start()
    found = failed(pod)
    assert found["limit"] == limit and words in found["message"]
    assert words in pod.ended["message"]


def test_inputs_have_no_more_room_than_the_job_has_disk(pod: Pod) -> None:
    inputs = [{"path": f"{n}.txt", **pod.put(f"blobs/{n}", b"x" * 600)} for n in range(2)]
    pod.orders(inputs=inputs, limits={"inputBytes": 1000})
    pod.start()
    assert failed(pod)["message"] == (
        "The inputs have more than the 1000 bytes of disk that the job has for them. Ask for more with --disk, or send "
        "less."
    )


def test_a_bomb_is_let_go_off_no_further_than_the_disk(pod: Pod) -> None:
    data = archive({"main.py": "print(1)", "zeros": "0" * 50_000_000})
    assert len(data) < 100_000
    inputs = [{"folder": {"entry": "main.py"}, **pod.put("blobs/folder", data)}]
    pod.orders(notebook=None, inputs=inputs, limits={"inputBytes": 1_000_000})
    pod.start()
    assert "can't be unpacked: its files have more than 1000000 bytes" in failed(pod)["message"]


@pytest.mark.parametrize("evil", ["link", "../outside"])
def test_a_folder_that_could_leave_its_place_is_refused(pod: Pod, evil: str) -> None:
    inputs = [{"folder": {"entry": "main.py"}, **pod.put("blobs/folder", archive({"main.py": ""}, evil=evil))}]
    pod.orders(notebook=None, inputs=inputs)
    pod.start()
    assert "The folder can't be unpacked" in failed(pod)["message"]


def test_two_inputs_of_one_path_are_refused(pod: Pod) -> None:
    one = pod.put("blobs/one", b"first")
    pod.orders(inputs=[{"path": "a", **one}, {"path": "a/b", **one}])
    pod.start()
    assert "'a' on its way is a file" in failed(pod)["message"]


def test_a_store_that_is_away_at_first_is_waited_for(pod: Pod) -> None:
    pod.orders(inputs=[{"path": "a.txt", **pod.put("blobs/one", b"first")}])
    (pod.root / "elsewhere").touch()
    pod.credentials({"store": {"type": "filesystem", "root": str(pod.root / "elsewhere" / "x")}})
    pod.start()
    time.sleep(2)
    assert not (pod.root / "in" / "ready").exists()
    pod.credentials({"store": pod.store.describe()})
    assert pod.wait(30) == (0, 0), pod.words()


@pytest.mark.slow
def test_a_store_that_stays_away_is_told_when_the_start_up_is_over(pod: Pod) -> None:
    pod.orders(
        inputs=[{"path": "a.txt", **pod.put("blobs/one", b"first")}], limits={"startupSeconds": 2, "endSeconds": 1}
    )
    (pod.root / "elsewhere").touch()
    pod.credentials({"store": {"type": "filesystem", "root": str(pod.root / "elsewhere" / "x")}})
    pod.start()
    assert pod.wait(30) == (64, 3)
    found = pod.termination["failed"]
    assert found["limit"] == "StorageError" and "did not give the input 'a.txt' in time" in found["message"]


def test_a_sidecar_killed_while_it_brings_inputs_begins_that_anew(pod: Pod) -> None:
    pod.orders(inputs=[{"path": "a.txt", **pod.put("blobs/one", b"first")}])
    (pod.root / "in" / "inputs").mkdir()
    (pod.root / "in" / "inputs" / "0").write_text("half")
    (pod.root / "in" / "inputs" / "7").write_text("of another try")
    pod.start()
    assert pod.wait(30) == (0, 0) and (pod.root / "in" / "inputs" / "0").read_text() == "first"
    assert not (pod.root / "in" / "inputs" / "7").exists()


@pytest.mark.slow
def test_main_that_ends_while_inputs_are_brought_ends_that(pod: Pod) -> None:
    pod.orders(inputs=[{"path": "a.txt", **pod.put("blobs/one", b"first")}], limits={"endSeconds": 2})
    (pod.root / "elsewhere").touch()
    pod.credentials({"store": {"type": "filesystem", "root": str(pod.root / "elsewhere" / "x")}})
    pod.start()
    pod.until(lambda: (pod.root / "buffer" / "seen").exists())
    assert pod.main is not None
    pod.main.terminate()
    assert pod.wait(20) == (143, 3)
    assert pod.termination["main"]["terminated"] and pod.termination["failed"] is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "can't read its orders"),
        ('{"protocol": 7}', "are of protocol 7, the sidecar speaks 1"),
        ('{"protocol": 1, "uid": "u"}', "lack or garble a field: KeyError('attempt')"),
        (None, "Is the Secret mounted?"),
    ],
)
def test_orders_that_cant_be_followed_end_the_job_by_name(pod: Pod, text: str | None, words: str) -> None:
    if text is not None:
        (pod.root / "orders" / "orders.json").write_text(text)
    pod.start()
    assert pod.wait(20) == (64, 2)
    assert words in pod.ended["message"] and words in (pod.root / "sidecar.log").read_text()
