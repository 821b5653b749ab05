"""What the sidecar reads of main's words, where the job's code wrote them: never an error, never another's bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_trainjob.backends.kubernetes.pod import claims
from jupyter_trainjob.backends.local.samples import COLUMNS

NAMES = ("told.json", "usage.json", "ended")
HUGE = "1" + "0" * 400
"""A number of JSON that is larger than any float."""


def link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def hard_link(path: Path) -> None:
    (path.parent / "other").write_text('{"exitCode": 7, "notebook": 7}')
    os.link(path.parent / "other", path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**33)


def text(words: str) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(words.encode("latin-1")) and None


def known(**more: object) -> str:
    row = [0] * len(COLUMNS)
    return json.dumps({"rows": [row], "intervalSeconds": 1, "totals": {}, **more})


@pytest.mark.parametrize(
    "forge",
    [
        link,
        zeros,
        hard_link,
        sparse,
        os.mkfifo,
        Path.mkdir,
        text(""),
        text("[]"),
        text("[" * 500_000),
        text('{"a":' * 20_000),
        text('{"end": ' + "9" * 100_000 + "}"),
        text("\xff\xfe\x00"),
        text('{"progress": {"cells": -1}, "end": {"outcome": "ok", "error": 7}, "hello": {"runnerProtocol": "x"}}'),
        text('{"end": {"outcome": ["ok"], "results": [[]]}, "progress": {"fraction": ' + HUGE + "}}"),
        text('{"rows": [[1e400]], "totals": {"cpuSeconds": "much"}}'),
        text(json.dumps({"rows": [[1] * len(COLUMNS)], "intervalSeconds": 1, "totals": []})),
        text(known(intervalSeconds="1").replace('"1"', HUGE)),
        text(known(intervalSeconds="1").replace('"1"', "NaN")),
        text(known(rows=[[*[0] * (len(COLUMNS) - 1), "x"]]).replace('"x"', HUGE)),
        text(known(rows=[[*[0] * (len(COLUMNS) - 1), True]])),
    ],
)
def test_what_is_no_word_of_mains_counts_for_nothing(tmp_path: Path, forge: Callable[[Path], None]) -> None:
    for name in NAMES:
        forge(tmp_path / name) if name == "told.json" or forge is not hard_link else None
    assert claims.told(str(tmp_path)) == ({}, 0)
    assert claims.usage(str(tmp_path)) is None
    last = claims.ended(str(tmp_path))
    assert last is None or not any(last.values()), last


def test_totals_are_figures_or_left_out(tmp_path: Path) -> None:
    (tmp_path / "usage.json").write_text(
        '{"rows": [[0, 0, 0, 0, 0, 0, 0]], "intervalSeconds": 0.25, "totals": '
        '{"cpuSeconds": 1.5, "peakMemoryBytes": '
        + HUGE
        + ', "diskBytes": Infinity, "processes": true, "readBytes": -1}}'
    )
    found = claims.usage(str(tmp_path))
    assert found is not None and found[0] == {"cpuSeconds": 1.5}


def test_an_end_with_garbled_fields_keeps_what_is_right(tmp_path: Path) -> None:
    (tmp_path / "ended").write_text(
        '{"exitCode": ' + HUGE + ', "signal": "9", "limit": ["TimeLimit"], "message": {}, "lastWords": "\\ud800", '
        '"terminated": 1, "logBytes": 5, "lostBytes": 1.5}'
    )
    last = claims.ended(str(tmp_path))
    assert last is not None and last.pop("logBytes") == 5 and last.pop("lastWords") == "?"
    assert not any(last.values()), last
