"""When the server breaks off, lies, or belongs to somebody else."""

from __future__ import annotations

import io
import os
import pickle
import re
import tarfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from jupyter_trainjob.client import (
    Client,
    ConnectionLost,
    InputError,
    Invalid,
    ResultError,
    ServerError,
    TooMany,
    Unavailable,
    session,
)

from .broken import Broken, Handler, broken


@pytest.fixture
def server() -> Iterator[Broken]:
    with broken() as made:
        yield made


@pytest.fixture
def bob(server: Broken) -> Iterator[Client]:
    with Client(server.url, "t") as made:
        yield made


def test_a_download_goes_on_where_it_broke_off(server: Broken, bob: Client, tmp_path: Path) -> None:
    whole = os.urandom(3 * 1024 * 1024)
    path = server.job("bob", {"files": [{"path": "big.bin", "size": len(whole)}]})
    ranges: list[str] = []

    def serve(handler: Handler) -> None:
        wanted = handler.headers.get("Range", "")
        ranges.append(wanted)
        start = int(wanted[6:-1]) if wanted else 0
        handler.send_response(206 if wanted else 200)
        handler.send_header("Content-Length", str(len(whole) - start))
        if wanted:
            handler.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        handler.end_headers()
        handler.wfile.write(whole[start : start + 1_200_000])
        if start + 1_200_000 < len(whole):
            handler.close_connection = True
            handler.connection.close()

    server.answers["GET", f"{path}/outputs/files/big.bin"] = serve
    written = bob.job("j").download("big.bin", f"{tmp_path}/")
    assert written == [tmp_path / "big.bin"] and written[0].read_bytes() == whole
    assert ranges[0] == "" and all(re.fullmatch(r"bytes=\d+-", one) for one in ranges[1:]) and len(ranges) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["big.bin"], "no part is left"


def test_a_download_that_broke_off_begins_anew_where_other_bytes_are_kept_now(
    server: Broken, bob: Client, tmp_path: Path
) -> None:
    path = server.job("bob", {"files": [{"path": "n.bin", "size": 4_000_000}]})
    asked: list[tuple[str, str]] = []

    def serve(handler: Handler) -> None:
        asked.append((handler.headers.get("Range", ""), handler.headers.get("If-Range", "")))
        if len(asked) == 1:
            handler.send_response(200)
            handler.send_header("ETag", '"one"')
            handler.send_header("Content-Length", "4000000")
            handler.end_headers()
            handler.wfile.write(b"a" * 3_000_000)
            handler.close_connection = True
        else:
            handler.send(b"b" * 4_000_000, ETag='"two"')

    server.answers["GET", f"{path}/outputs/files/n.bin"] = serve
    (written,) = bob.job("j").download("n.bin", f"{tmp_path}/")
    assert written.read_bytes() == b"b" * 4_000_000
    assert asked[0] == ("", "") and len(asked) == 2
    assert re.fullmatch(r"bytes=\d+-", asked[1][0]) and asked[1][1] == '"one"'


@pytest.mark.parametrize("what", ["logs", "tail", "metrics"])
def test_what_is_read_in_several_requests_is_of_one_attempt(server: Broken, bob: Client, what: str) -> None:
    path = server.job("bob", {})
    line = b"loss\t1\t0.5\t1700000000\n" if what == "metrics" else b"attempt 1\n"
    texts = {"1": line * 4000, "2": b"of another attempt\n"}
    latest = "1"

    def serve(handler: Handler) -> None:
        nonlocal latest
        query = dict(pair.split("=") for pair in handler.path.partition("?")[2].split("&"))
        number, offset = query.get("attempt", latest), int(query["offset"])
        latest, text = "2", texts[number]  # a retry begins right after the first request
        told = {"X_Log_Offset": str(offset), "X_Log_Size": str(len(text)), "X_Log_Attempt": number}
        handler.send(text[offset : offset + min(int(query["limit"]), 10_000)], **told)

    server.answers["GET", f"{path}/{'metrics' if what == 'metrics' else 'log'}"] = serve
    job = bob.job("j")
    if what == "metrics":
        assert len(job.metrics()) == 4000
    else:
        said = job.logs(tail=3000) if what == "tail" else job.logs()
        assert str(said) == "attempt 1\n" * (3000 if what == "tail" else 4000)


def test_a_file_of_the_longest_name_is_written(server: Broken, bob: Client, tmp_path: Path) -> None:
    name = "n" * 251 + ".txt"
    path = server.job("bob", {"files": [{"path": name, "size": 1}]})
    server.answers["GET", f"{path}/outputs/files/{name}"] = lambda handler: handler.send(b"z")
    assert bob.job("j").download(name, f"{tmp_path}/") == [tmp_path / name]
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_what_this_machine_can_not_write_is_told_in_a_sentence(server: Broken, bob: Client, tmp_path: Path) -> None:
    names = ["n" * 300, "taken/x.txt", "folder"]
    path = server.job("bob", {"files": [{"path": name, "size": 1} for name in names]})
    for name in names:
        server.answers["GET", f"{path}/outputs/files/{name}"] = lambda handler: handler.send(b"z")
    (tmp_path / "taken").write_text("a file where a folder should be")
    (tmp_path / "folder").mkdir()
    for name, why in zip(names, ["File name too long", "File exists|Not a directory", "Is a directory"], strict=True):
        with pytest.raises(InputError, match=rf"can't be written: ({why})\. Name another place with --to") as caught:
            bob.job("j").download(name, f"{tmp_path}/")
        assert len(str(caught.value)) < 400
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "taken"], "no part is left"


def test_an_archive_that_this_machine_can_not_write_is_told_and_leaves_no_part(
    server: Broken, bob: Client, tmp_path: Path
) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("files/x"))
    path = server.job("bob", {})
    server.answers["GET", f"{path}/outputs/archive"] = lambda handler: handler.send(out.getvalue())
    (tmp_path / "taken").write_text("a file where a folder should be")
    job = bob.job("j")
    for act in (job.download_all, job.save_archive):
        with pytest.raises(InputError, match=r"can't be written: (File exists|Not a directory)\. Name another place"):
            act(tmp_path / "taken/all")
    (tmp_path / "got/files/x").mkdir(parents=True)
    with pytest.raises(InputError, match=r"got can't be written: Is a directory\. Name another place with --to"):
        job.download_all(tmp_path / "got")
    assert [one.name for one in (tmp_path / "got/files").iterdir()] == ["x"], "no part is left"


def test_paths_made_by_the_job_do_not_leave_the_folder(server: Broken, bob: Client, tmp_path: Path) -> None:
    server.job("bob", {"files": [{"path": "../../evil", "size": 1}]})
    with pytest.raises(InputError, match=r"The job calls a file '\.\./\.\./evil', which would leave the folder"):
        bob.job("j").download(None, tmp_path)


def test_anothers_data_needs_no_trust_and_runs_nothing(server: Broken, bob: Client) -> None:
    named = [{"name": name, "format": form} for name, form in (("f", "frame"), ("j", "json"), ("p", "pickle"))]
    path = server.job("alice", {"results": [*named, {"name": "lie", "format": "frame"}, {"name": "old"}]})
    head = b'#trainjob-frame {"columns": [{"name": "a", "type": "int64"}], "rows": 1}\n7\n'
    bomb = pickle.dumps(7)
    for name, body in {"f": head, "j": b'{"$type": "date", "value": "2026-11-22"}', "lie": bomb}.items():
        server.answers["GET", f"{path}/outputs/results/{name}"] = lambda handler, body=body: handler.send(body)  # type: ignore[misc]
    job = bob.job("j")
    assert job.result("f")["a"].tolist() == [7]
    assert job.result("j") == date(2026, 11, 22)
    with pytest.raises(ResultError, match="The result 'lie' is no frame, though the job says so"):
        job.result("lie", trust=True)
    for name in ("p", "old"):
        with pytest.raises(ResultError, match=r"Opening a pickle runs code of whoever.*trust=True \(--trust\)"):
            job.result(name)


def test_anothers_result_is_refused_unless_trusted(server: Broken, bob: Client) -> None:
    path = server.job("alice", {"results": [{"name": "x", "size": 5, "type": "int", "error": ""}]})
    server.answers["GET", f"{path}/outputs/results/x"] = lambda handler: handler.send(pickle.dumps(7))
    with pytest.raises(ResultError, match=r"belongs to 'alice', not to you \('bob'\).*trust=True"):
        bob.job("j").result("x")
    assert not any(asked[1].endswith("/results/x") for asked in server.asked), "it was not even fetched"
    assert bob.job("j").result("x", trust=True) == 7


def test_a_result_that_can_not_be_opened_here_names_both_pythons(server: Broken, bob: Client) -> None:
    path = server.job("bob", {"results": [{"name": "x", "python": "2.7.18"}, {"name": "y", "error": "too big"}]})
    server.answers["GET", f"{path}/outputs/results/x"] = lambda handler: handler.send(b"cno_such_module\nThing\n.")
    with pytest.raises(
        ResultError, match=r"the job's Python 2\.7\.18, can't be opened by Python 3\..*Install 'no_such_"
    ):
        bob.job("j").result("x")
    server.answers["GET", f"{path}/outputs/results/x"] = lambda handler: handler.send(b"garbage")
    with pytest.raises(ResultError, match=r"Use Python 2\.7\.18 here"):
        bob.job("j").result("x")
    with pytest.raises(ResultError, match="could not bring back 'y': too big"):
        bob.job("j").result("y")
    with pytest.raises(ResultError, match="has no result 'z'; it has: x, y"):
        bob.job("j").result("z")


def test_reads_are_repeated_and_writes_are_not(server: Broken, bob: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_FIRST_PAUSE_SECONDS", 0.01)
    busy = {"kind": "Status", "code": 503, "reason": "Unavailable", "message": "The store is away."}
    answers = [503, 503, 200]
    server.answers["GET", "/queues"] = lambda handler: handler.send(
        {"items": []} if (code := answers.pop(0)) == 200 else busy, code
    )
    assert bob.queues() == [] and not answers
    server.answers["POST", "/namespaces/bob/trainjobs"] = lambda handler: handler.send(busy, 503)
    with pytest.raises(Unavailable, match="The store is away"):
        bob.submit_cell("1")
    assert sum(asked[0] == "POST" for asked in server.asked) == 1


def test_a_pause_longer_than_the_patience_is_told_and_not_slept(server: Broken, bob: Client) -> None:
    full = {"kind": "Status", "reason": "Unavailable", "message": "The disk is full.", "retryAfterSeconds": 60}
    server.answers["GET", "/queues"] = lambda handler: handler.send(full, 503)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"^The disk is full\. Try again in 60 s\.$"):
        bob.queues()
    assert time.monotonic() - began < 5 and [path for _, path, _ in server.asked].count("/queues") == 1


def test_an_answer_that_is_not_the_servers_says_who_may_have_answered(server: Broken, bob: Client) -> None:
    server.answers["GET", "/queues"] = lambda handler: handler.send(b"<html>Log in</html>")
    with pytest.raises(
        ServerError, match=r"GET \S*/queues is not a JSON object\. .*a proxy's login page: check the url"
    ):
        bob.queues()


def test_a_submit_that_broke_off_says_that_it_may_have_happened(server: Broken, bob: Client) -> None:
    def hang_up(handler: Handler) -> None:
        handler.close_connection = True
        handler.connection.close()

    server.answers["POST", "/namespaces/bob/trainjobs"] = hang_up
    with pytest.raises(ConnectionLost, match="may have been carried out or not: look with %trainjob list"):
        bob.submit_cell("1")
    assert sum(asked[0] == "POST" for asked in server.asked) == 1


def test_errors_are_typed_and_read_well(server: Broken, bob: Client) -> None:
    details = [
        {"field": "spec.queue", "message": "there is no queue 'x'", "remedy": "Use default."},
        {"field": "spec.profile", "message": "there is no profile 'y'"},
    ]
    status = {
        "kind": "Status",
        "reason": "Invalid",
        "message": "It can't be accepted.",
        "remedy": "Mend.",
        "details": details,
    }
    server.answers["POST", "/namespaces/bob/trainjobs"] = lambda handler: handler.send(status, 422)
    with pytest.raises(Invalid) as caught:
        bob.submit_cell("1")
    assert str(caught.value).splitlines() == [
        "It can't be accepted. Mend.",
        "  spec.queue: there is no queue 'x' Use default.",
        "  spec.profile: there is no profile 'y'",
    ]
    assert caught.value.code == 422 and caught.value.details == details
    much = {"kind": "Status", "reason": "TooMany", "message": "Enough.", "retryAfterSeconds": 9, "data": {"limit": 1}}
    server.answers["POST", "/namespaces/bob/trainjobs"] = lambda handler: handler.send(much, 429)
    with pytest.raises(TooMany) as enough:
        bob.submit_cell("1")
    assert enough.value.retry_after_seconds == 9 and enough.value.data == {"limit": 1}


def test_files_beyond_the_list_are_fetched_by_name_and_never_left_out_in_silence(
    server: Broken, bob: Client, tmp_path: Path
) -> None:
    path = server.job("bob", {"files": [{"path": "a.txt", "size": 1}], "filesTotal": 5000})
    for method in ("GET", "HEAD"):
        server.answers[method, f"{path}/outputs/files/z.txt"] = lambda handler: handler.send(b"z")
    assert bob.job("j").download("z.txt", f"{tmp_path}/") == [tmp_path / "z.txt"]
    for pattern in (None, "*.txt"):
        with pytest.raises(InputError, match=r"has 5000 files and the server names only 1 of them.*full paths"):
            bob.job("j").download(pattern, tmp_path)
    server.job("bob", {"files": [], "filesTotal": 0})
    assert bob.job("j").download(None, tmp_path) == []


def test_following_goes_on_where_the_tail_ended(server: Broken, bob: Client) -> None:
    path = server.job("bob", {})
    log = "".join(f"ä{number}\n" for number in range(40)).encode()
    grown = 21

    def serve(handler: Handler) -> None:
        nonlocal grown
        query = dict(pair.split("=") for pair in handler.path.partition("?")[2].split("&"))
        offset, grown = int(query["offset"]), min(len(log), grown + 7)
        data = log[offset : min(grown, offset + int(query["limit"]))]
        done = str(grown == len(log)).lower()
        handler.send(data, X_Log_Offset=str(offset), X_Log_Size=str(grown), X_Log_Complete=done)

    server.answers["GET", f"{path}/log"] = serve
    lines = "".join(bob.job("j").logs(True, tail=1)).splitlines()
    assert lines == [f"ä{number}" for number in range(40)][-len(lines) :] and len(lines) > 20


def test_all_pages_of_queues_are_read(server: Broken, bob: Client) -> None:
    def serve(handler: Handler) -> None:
        second = "continue=more" in handler.path
        onward = "" if second else "more"
        handler.send({"items": [{"metadata": {"name": "b" if second else "a"}}], "metadata": {"continue": onward}})

    server.answers["GET", "/queues"] = serve
    assert [queue["metadata"]["name"] for queue in bob.queues()] == ["a", "b"]
