"""The filter of system calls as data; what it holds, the attacks show (``tests/sandbox``)."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_trainjob.backends.local import filter, landlock

GROUPS = (*filter.ALLOWED, filter.UNCOUNTED, *filter.REFUSED)
PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"


def test_every_group_has_a_reason_and_no_call_is_in_two() -> None:
    calls = [call for group in GROUPS for call in group.calls] + [name for name, _ in filter.ARGUMENTS]
    assert len(calls) == len(set(calls)), sorted(call for call in set(calls) if calls.count(call) > 1)
    assert all(group.why.endswith(".") and group.calls for group in GROUPS)


def test_two_words_are_told_from_all_others_by_their_low_bits() -> None:
    pairs = filter.all_but(0x5412, 0x541C)

    def matches(word: int) -> bool:
        return any(word & mask == value for mask, value in pairs)

    assert not matches(0x5412) and not matches(0x541C)
    assert not matches(0x5412 | 1 << 32), "the kernel does not look at the high bits"
    assert all(matches(word) for word in range(0x10000) if word not in (0x5412, 0x541C))
    assert matches(0x80005412)


def test_what_no_control_group_counts_is_left_out() -> None:
    assert filter.missing() == ""
    counted, watched, offline = (
        filter.build(counted=True),
        filter.build(counted=False),
        filter.build(counted=False, inet=False),
    )
    assert len({counted, watched, offline}) == 3
    assert all(len(one) % 8 == 0 and len(one) // 8 < 4096 for one in (counted, watched, offline))


def test_the_page_has_every_group_with_its_reason() -> None:
    page = PAGE.read_text()
    for group in GROUPS:
        assert f"| {group.name} | {group.why} |" in page, group.name
        for call in group.calls:
            assert re.search(rf"\b{call}\b", page), call


def test_landlock_tells_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/proc/sys/kernel/osrelease", encoding="ascii") as file:
        kernel = tuple(int(word) for word in re.findall(r"\d+", file.read())[:2])
    assert landlock.abi() == 0 or landlock.abi() >= (6 if kernel >= (6, 12) else 1)
    monkeypatch.setattr(landlock, "_CREATE", 9999)
    assert landlock.abi() == 0, "a kernel without it has none"


SAY = """
import ctypes, json, os, socket, sys
from jupyter_trainjob.backends.local import landlock
landlock.load_filter(open(sys.argv[1], "rb").read())
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    return libc.syscall(number, *arguments) >= 0 or ctypes.get_errno()
ends = (ctypes.c_int * 2)()
print(json.dumps({
    "unix pair": call(53, 1, 1, 0, ctypes.byref(ends)),
    "tipc pair": call(53, 30, 1, 0, ctypes.byref(ends)),
    "semaphores": call(64, 0, 1, 0o600),
    "queue": call(68, 0, 0o600),
    "rules": call(444, None, 0, 1),
}))
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="calls by their numbers")
def test_what_it_lets_through_by_argument(tmp_path: Path) -> None:
    program = tmp_path / "filter"
    program.write_bytes(filter.build(counted=False))
    done = subprocess.run([sys.executable, "-c", SAY, str(program)], capture_output=True, text=True, check=True)
    refused = {name for name, answer in json.loads(done.stdout).items() if answer == errno.ENOSYS}
    assert refused == {"tipc pair", "semaphores", "queue", "rules"}
