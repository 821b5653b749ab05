"""The operator's allow-list of URIs, and every way around it that we know of."""

from __future__ import annotations

import pytest

from jupyter_trainjob.resources.uris import UriError, allowed, read_uri

PREFIXES = ["https://data.example.org/sets", "file:///srv/course/", "http://mirror.example.org:8080/"]


@pytest.mark.parametrize(
    "uri",
    [
        "https://data.example.org/sets/a.csv",
        "https://DATA.example.org:443/sets/2026/a%20b.csv?version=2",
        "file:///srv/course/week1/x.npz",
        "file://localhost/srv/course/x",
        "http://mirror.example.org:8080/anything",
    ],
)
def test_what_lies_below_a_prefix_is_allowed(uri: str) -> None:
    assert allowed(uri, PREFIXES)[1] in [read_uri(prefix) for prefix in PREFIXES]


@pytest.mark.parametrize(
    "uri",
    [
        "http://data.example.org/sets/a.csv",
        "https://data.example.org:8443/sets/a.csv",
        "https://data.example.org.evil.org/sets/a.csv",
        "https://data.example.org/sets-private/a.csv",
        "https://data.example.org/other",
        "https://user@data.example.org/sets/a.csv",
        "https://data.example.org@evil.org/sets/a.csv",
        "https://evil.org\\@data.example.org/sets/a",
        "https://data.example.org/sets/../private",
        "https://data.example.org/sets/%2e%2e/private",
        "https://data.example.org/sets/%252e%252e/private",
        "https://data.example.org/sets/..%2fprivate",
        "https://data.example.org/sets/a\nb",
        "file:///srv/course/../secret",
        "file:///srv/course/%2e%2e/secret",
        "file:///srv/courses/x",
        "file://other/srv/course/x",
        "ftp://data.example.org/sets/a.csv",
        "/srv/course/x",
        "https://[::1",
        "",
    ],
)
def test_what_only_looks_so_is_refused(uri: str) -> None:
    with pytest.raises(UriError):
        allowed(uri, PREFIXES)


def test_the_words_say_what_is_allowed() -> None:
    with pytest.raises(UriError, match=r"'https://evil\.org/x' is not among what this server's operator allows: https"):
        allowed("https://evil.org/x", PREFIXES)
    with pytest.raises(UriError, match="operator allows no URIs as inputs"):
        allowed("https://data.example.org/sets/a.csv", [])
