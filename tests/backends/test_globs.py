"""Globs of outputs: what they mean, and that no pattern costs more than its length."""

from __future__ import annotations

import time

import pytest

from jupyter_trainjob.backends.local.globs import Glob


@pytest.mark.parametrize(
    ("pattern", "path", "meant"),
    [
        ("**", "a", True),
        ("**", "a/b/c", True),
        ("*", "a/b", False),
        ("*.csv", "a.csv", True),
        ("*.csv", "out/a.csv", False),
        ("**/*.csv", "a.csv", True),
        ("**/*.csv", "x/y/a.csv", True),
        ("out/", "out/x/a", True),
        ("out/", "out", False),
        ("out/**", "out", False),
        ("out/**", "out/x/a", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "a/x/b/c", False),
        ("a/**/b/**/c", "a/b/x/b/y/c", True),
        ("./a", "a", True),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        ("a?c", "a/c", False),
        ("../*", "a", False),
        ("[", "[", True),
        ("", "a", False),
    ],
)
def test_meaning(pattern: str, path: str, meant: bool) -> None:
    assert Glob(pattern).matches(path) is meant


@pytest.mark.parametrize("pattern", ["**a" * 25 + "**b", "*a" * 200 + "b", "**/a/" * 30 + "b", "[a-z]*" * 100 + "1"])
def test_no_pattern_is_slow(pattern: str) -> None:
    started = time.perf_counter()
    assert not Glob(pattern).matches("/".join(["a" * 200] * 4))
    assert not Glob(pattern).matches("/".join(["a"] * 300))
    assert time.perf_counter() - started < 1.0
