"""Label selectors: what they mean, and what is said about those that mean nothing."""

from __future__ import annotations

import pytest

from jupyter_trainjob.resources.errors import BadRequest
from jupyter_trainjob.store.selectors import Requirement, parse_selector


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("  ", []),
        ("a=b", [Requirement("a", "in", ("b",))]),
        ("a==b", [Requirement("a", "in", ("b",))]),
        (" a = b ", [Requirement("a", "in", ("b",))]),
        ("a=", [Requirement("a", "in", ("",))]),
        ("a!=b", [Requirement("a", "notin", ("b",))]),
        ("a in (b)", [Requirement("a", "in", ("b",))]),
        ("a in(b, c,b)", [Requirement("a", "in", ("b", "c"))]),
        ("a notin (b,)", [Requirement("a", "notin", ("b", ""))]),
        ("in in (in)", [Requirement("in", "in", ("in",))]),
        ("a", [Requirement("a", "exists")]),
        ("!a", [Requirement("a", "absent")]),
        ("! a", [Requirement("a", "absent")]),
        (
            "jupyter-trainjob/name=digits,b!=c,d in (e,f),!g,h",
            [
                Requirement("jupyter-trainjob/name", "in", ("digits",)),
                Requirement("b", "notin", ("c",)),
                Requirement("d", "in", ("e", "f")),
                Requirement("g", "absent"),
                Requirement("h", "exists"),
            ],
        ),
    ],
)
def test_reads_kubernetes_selectors(text: str, wanted: list[Requirement]) -> None:
    assert parse_selector(text) == wanted


@pytest.mark.parametrize(
    ("text", "part", "problem"),
    [
        ("a=b,,c", "''", "nothing between two commas"),
        ("a=b,", "''", "nothing between two commas"),
        ("ok,a=b=c", "'a=b=c'", "is no label key"),
        ("ok,=b", "'=b'", "'=b' is no label key"),
        ("ok,!", "'!'", "'' is no label key"),
        ("ok,!a=b", "'!a=b'", "is no label key"),
        ("ok,a in ()", "'a in ()'", "the parentheses are empty"),
        ("ok,a in (b", "'a in (b'", "its parenthesis is not closed"),
        ("ok,a in b)", "'a in b)'", "its parentheses do not match"),
        ("ok,a in ((b))", "'a in ((b))'", "its parentheses do not match"),
        ("ok,a in b", "'a in b'", "'a in b' is no label key"),
        ("ok,-a=b", "'-a=b'", "'-a' is no label key"),
        ("ok,a=b c", "'a=b c'", "is no label key"),
        ("ok,a=-b", "'a=-b'", "'-b' is no label value"),
        ("ok,a in (b,c/d)", "'a in (b,c/d)'", "'c/d' is no label value"),
        ("ok,X/a=b", "'X/a=b'", "the prefix 'X' is no DNS name"),
        ("ok,a\0=b", "'a\\x00=b'", "is no label key"),
    ],
)
def test_names_the_part_that_can_not_be_read(text: str, part: str, problem: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_selector(text)
    assert refused.value.message.startswith(f"The part {part} in {text!r} of the label selector can't be read: ")
    assert problem in refused.value.message
    assert refused.value.remedy == "Write for example: team=blue,stage!=test,size in (s,m),!draft"


def test_an_endless_selector_is_refused_and_the_message_stays_short() -> None:
    with pytest.raises(BadRequest, match="The label selector has 5000 characters, the limit is 4096"):
        parse_selector("a" * 5000)
    with pytest.raises(BadRequest) as refused:
        parse_selector("=" * 4000)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    ("text", "labels", "wanted"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "c"}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (b,c)", {"a": "c"}, True),
        ("a notin (b,c)", {"a": "c"}, False),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
    ],
)
def test_means_what_kubernetes_means(text: str, labels: dict[str, str], wanted: bool) -> None:
    assert all(part.matches(labels) for part in parse_selector(text)) is wanted
