"""Which images a job may run in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_trainjob.resources.images import ImageError, digest_of, image_problem, pattern_problem, read_image

DIGEST = "sha256:" + "a" * 64
COURSE = ["registry.example.org/course/", "docker.io/trainjob/python", "registry.example.org:5000/lab:2026"]


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("python", "docker.io/library/python"),
        ("python:3.11", "docker.io/library/python:3.11"),
        ("trainjob/python:1", "docker.io/trainjob/python:1"),
        ("localhost/test/python:3.11", "localhost/test/python:3.11"),
        ("registry.example.org:5000/a/b/c", "registry.example.org:5000/a/b/c"),
        (f"registry.example.org/a:1@{DIGEST}", f"registry.example.org/a:1@{DIGEST}"),
    ],
)
def test_a_reference_is_read_in_full(text: str, full: str) -> None:
    assert str(read_image(text)) == full
    assert read_image(full) == read_image(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "in lower case, such as"),
        ("Registry.example.org/Course/Lab", "in lower case"),
        ("a b", "in lower case"),
        ("registry.example.org/../secret", "in lower case"),
        ("https://registry.example.org/x", "no name of an image"),
        ("x:", "write for example :2026-1"),
        ("x@sha256:12", "64 hexadecimal digits"),
        ("x@", "64 hexadecimal digits"),
    ],
)
def test_what_is_no_reference_is_told(text: str, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        read_image(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        image = read_image(text)
    except ImageError:
        return
    assert read_image(str(image)) == image


@pytest.mark.parametrize(
    "text",
    [
        "registry.example.org/course/lab:1",
        "registry.example.org/course/deep/lab",
        "trainjob/python:any",
        f"docker.io/trainjob/python@{DIGEST}",
        "registry.example.org:5000/lab:2026",
    ],
)
def test_the_list_allows(text: str) -> None:
    assert image_problem(text, COURSE) == ""


@pytest.mark.parametrize(
    "text",
    [
        "registry.example.org/course-of-another/lab",
        "registry.example.org/course",
        "registry.example.org.evil.example/course/lab",
        "trainjob/python-and-more",
        "registry.example.org:5000/lab:2027",
        "registry.example.org:5000/lab",
        f"registry.example.org:5000/lab@{DIGEST}",
    ],
)
def test_the_list_does_not_allow_what_only_looks_alike(text: str) -> None:
    assert "is not among those that this server's operator allows: registry.example.org/course/" in image_problem(
        text, COURSE
    )


def test_a_whole_registry_may_be_allowed() -> None:
    assert image_problem("registry.example.org/x/y", ["registry.example.org/"]) == ""
    assert image_problem("other.example.org/x/y", ["registry.example.org/"])
    assert image_problem("trainjob/x", ["trainjob/"]) == ""
    assert image_problem("other/x", ["trainjob/"])


def test_the_digest_that_an_allowed_tag_was_resolved_to_is_allowed() -> None:
    pattern = "registry.example.org:5000/lab:2026"
    assert image_problem(f"registry.example.org:5000/lab@{DIGEST}", [pattern], {pattern: DIGEST}) == ""


@pytest.mark.parametrize("known", ["python", "python:latest", "docker.io/library/python", "library/python:latest"])
@pytest.mark.parametrize("asked", ["python", "docker.io/library/python:latest", "library/python"])
def test_one_image_is_one_however_it_is_written(known: str, asked: str) -> None:
    assert digest_of(asked, {"other/python": "sha256:" + "b" * 64, known: DIGEST}) == DIGEST
    assert digest_of(f"{asked.removesuffix(':latest')}:3", {known: DIGEST}) == ""
    if ":" in known:
        assert image_problem(asked, [known]) == ""
        assert image_problem(f"python@{DIGEST}", [known], {asked: DIGEST}) == ""


def test_an_image_by_digest_stays_what_it_is() -> None:
    assert digest_of(f"python:latest@{DIGEST}", {"python": "sha256:" + "b" * 64}) == ""


def test_an_empty_list_says_so() -> None:
    assert "allows none but those of the profiles" in image_problem("python", [])


def test_a_bad_entry_of_the_list_is_told() -> None:
    assert pattern_problem("registry.example.org/course/") == ""
    assert pattern_problem("registry.example.org/") == ""
    assert "no name of an image" in pattern_problem("Bad/")
    assert "no name of an image" in pattern_problem("*")
