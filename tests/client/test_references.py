"""Inputs that are named: ``--input JOB:FILE=PATH`` and ``--uri URI=PATH``."""

from __future__ import annotations

import pytest

from jupyter_trainjob.client import InputError, references


@pytest.mark.parametrize(
    ("text", "job", "file", "path"),
    [
        ("clean:a.csv", "clean", "a.csv", "a.csv"),
        ("clean:tables/", "clean", "tables", "tables"),
        ("clean-x7k2p:tables/a.csv=in/b.csv", "clean-x7k2p", "tables/a.csv", "in/b.csv"),
        ("clean:.", "clean", ".", "clean"),
        ("clean:/", "clean", ".", "clean"),
        ("clean:.=data/", "clean", ".", "data"),
        ("clean:a:b", "clean", "a:b", "a:b"),
        ("clean:lr=1.csv=x", "clean", "lr=1.csv", "x"),
        ("clean:a.csv=", "clean", "a.csv", "a.csv"),
    ],
)
def test_what_another_job_left(text: str, job: str, file: str, path: str) -> None:
    assert references.output(text) == {"type": "output", "job": job, "file": file, "path": path}


@pytest.mark.parametrize("text", ["clean", ":a.csv", "clean:", "data/x.csv=y", ""])
def test_what_names_no_file_of_a_job(text: str) -> None:
    with pytest.raises(InputError, match=r"this names no file of a job\. Write --input JOB:FILE, .* go with --files"):
        references.output(text)


@pytest.mark.parametrize(
    ("text", "uri", "path"),
    [
        ("https://h/d/a%20b.csv", "https://h/d/a%20b.csv", "a b.csv"),
        ("https://h/a.csv=in/b.csv", "https://h/a.csv", "in/b.csv"),
        ("https://h/get?file=a.csv", "https://h/get?file=a.csv", "get"),
        ("https://h/get?x=1&file=a.csv=in/b.csv", "https://h/get?x=1&file=a.csv", "in/b.csv"),
        ("https://h/get?token=YQ==", "https://h/get?token=YQ==", "get"),
        ("file:///data/a.csv", "file:///data/a.csv", "a.csv"),
    ],
)
def test_addresses(text: str, uri: str, path: str) -> None:
    assert references.uri(text) == {"type": "uri", "uri": uri, "path": path}
    assert references.output(text) == references.uri(text), "--input takes them too"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.csv", r"--uri a\.csv: this is no address\. Write https://"),
        ("https://h/", r"it tells no file name\. Say where it shall be: --uri ADDRESS=data/train\.csv"),
        ("https://[h/a", r"it can't be read: "),
    ],
)
def test_what_is_no_address(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        references.uri(text)
