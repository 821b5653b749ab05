"""What lists of requirements may say, and that equal ones have one normal form."""

from __future__ import annotations

import json

import pytest

from jupyter_trainjob.resources.requirements import (
    beyond_wheels,
    check_requirements,
    has_hashes,
    normalised,
    renv_packages,
    shown,
)

DIGEST = "0" * 64


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        "numpy==2.1.0",
        "numpy >= 2, < 3",
        "numpy (>=2)",
        "torch[cpu,extra]~=2.0 ; python_version >= '3.10'",
        "ruamel.yaml===0.18",
        f"six==1.16.0 --hash=sha256:{DIGEST} --hash=sha256:{DIGEST}",
        "pkg @ https://files.example/pkg-1.0-py3-none-any.whl",
        "pkg @ git+https://code.example/pkg.git@v1",
        "--pre",
        "--only-binary :all:",
        "--no-binary=numpy",
    ],
)
def test_what_pip_may_be_asked_for(line: str) -> None:
    assert check_requirements("requirements.txt", f"# a comment\n{line}  # why\n") == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-e .", "editable install"),
        ("--editable=git+https://x.example/y", "editable install"),
        ("./local", "a file of some machine"),
        ("../up/pkg.whl", "a file of some machine"),
        ("/etc/passwd", "a file of some machine"),
        ("pkg-1.0-py3-none-any.whl", "a file of some machine"),
        ("file:///etc/passwd", "a file of some machine"),
        ("pkg @ file:///etc/passwd", "only https://"),
        ("pkg @ http://plain.example/pkg.whl", "only https://"),
        ("https://files.example/pkg.whl", "no name in front"),
        ("--index-url https://evil.example/simple", "the operator's to say"),
        ("-i https://evil.example/simple", "the operator's to say"),
        ("--extra-index-url=https://evil.example", "the operator's to say"),
        ("-f /srv", "the operator's to say"),
        ("--trusted-host evil.example", "the operator's to say"),
        ("-r other.txt", "copy its lines"),
        ("-c constraints.txt", "copy its lines"),
        ("--global-option=x", "is not taken"),
        ("numpy --global-option=--x", "options to one package"),
        ("numpy==1 --config-settings=a=b", "options to one package"),
        ("numpy==${TOKEN}", "a variable of the server's"),
        ("what is this", "is no requirement"),
        ("$(reboot)", "is no requirement"),
    ],
)
def test_what_it_may_not(line: str, words: str) -> None:
    (problem,) = check_requirements("requirements.txt", f"numpy\n\n{line}\n")
    assert problem.startswith("line 3: ") and words in problem, problem


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("six @ https://ada:secret@files.example/six.zip", "'six @ https://…@files.example/six.zip'"),
        ("git+https://secret@git.example/six@v1", "'git+https://…@git.example/six@v1'"),
        ("https://git.example/six@v1", "'https://git.example/six@v1'"),
    ],
)
def test_what_is_secret_in_an_address_is_not_quoted(line: str, told: str) -> None:
    assert repr(shown(line)) == told
    wrong = f"-f {line}\n{line} --x=y\n{line.partition('@ ')[2] or line}"
    for problem in check_requirements("requirements.txt", wrong):
        assert "secret" not in problem
    lock = {"R": {"Repositories": [{"Name": "x", "URL": "http://ada:secret@r.example"}]}, "Packages": {"a": {}}}
    assert "secret" not in "".join(check_requirements("renv.lock", json.dumps(lock)))


def test_continued_lines_are_one() -> None:
    text = f"six==1.16.0 \\\n    --hash=sha256:{DIGEST} \\\n    --hash=sha256:{DIGEST}\nnumpy\n-e x\n"
    assert [problem[:7] for problem in check_requirements("requirements.txt", text)] == ["line 5:"]
    assert has_hashes(text) and not has_hashes("six==1.16.0")


def test_comments_and_order_make_no_other_environment() -> None:
    one = normalised("requirements.txt", "# first\nnumpy==2\n\nsix   ==  1\n--pre\n")
    other = normalised("requirements.txt", "--pre\nsix == 1 # second\nnumpy==2\n")
    assert one == other == "--pre\nnumpy==2\nsix == 1\n"


def test_a_reference_without_blanks_is_the_same_as_one_with() -> None:
    url = f"https://files.example/six.tar.gz --hash=sha256:{DIGEST}"
    forms = [f"six{at}{url}\n" for at in ("@", " @", "@ ", " @ ")]
    assert {normalised("requirements.txt", form) for form in forms} == {f"six @ {url}\n"}
    assert normalised("requirements.txt", "six[a,b]@https://x.example/y@v1 ; python_version>'3'") == (
        "six[a,b] @ https://x.example/y@v1 ; python_version>'3'\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "six@https://files.example/six.tar.gz",
        "six[a]@git+https://files.example/six",
        "six @ https://files.example/six-1.0-py3-none-any.whl",
        f"six@https://files.example/six.zip --hash=sha256:{DIGEST}",
        "six@https://files.example/six.zip ; python_version > '3'",
        "--no-binary=:all:",
        "--no-binary six",
        "--only-binary=:none:",
    ],
)
def test_what_may_bring_more_than_wheels(line: str) -> None:
    assert check_requirements("requirements.txt", line) == []
    assert beyond_wheels(f"numpy==1 ; python_version > '3'\n--only-binary=:all:\n{line}\n") == line
    assert beyond_wheels("numpy==1 ; python_version > '3'\n--only-binary=:all:\n") == ""


def test_an_empty_list_says_so() -> None:
    assert check_requirements("requirements.txt", "# nothing\n") == [
        "it names no package; write one a line, or leave the requirements out"
    ]


def lock(**packages: object) -> str:
    repositories = [{"Name": "CRAN", "URL": "https://cran.example/"}]
    return json.dumps({"R": {"Version": "4.2.0", "Repositories": repositories}, "Packages": packages})


def test_a_lock_of_renv() -> None:
    text = lock(tiny={"Package": "tiny", "Version": "0.1-2", "Source": "Repository", "Repository": "CRAN"})
    assert check_requirements("renv.lock", text) == []
    assert renv_packages(text) == [{"package": "tiny", "version": "0.1-2", "repository": "https://cran.example"}]


FILE_REPOSITORY = json.dumps(
    {"R": {"Repositories": [{"Name": "x", "URL": "file:///etc"}]}, "Packages": {"a": {"Version": "1"}}}
)


def test_a_long_line_is_refused_quickly() -> None:
    (problem,) = check_requirements("requirements.txt", "a" + "==1" * 50_000 + "(")
    assert "is no requirement" in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "names no package"),
        ("[" * 100_000, "not JSON"),
        (lock(), "names no package"),
        (lock(tiny={"Version": "1.0", "Source": "GitHub"}), "comes from 'GitHub'"),
        (lock(tiny={"Version": "1.0'); q("}), "no name and version"),
        (lock(tiny=7), "no name and version"),
        ('{"R": {"Repositories": [1]}, "Packages": {"a": {"Version": "1"}}}', "list of repositories"),
        (FILE_REPOSITORY, "https://"),
    ],
)
def test_locks_that_are_refused(text: str, words: str) -> None:
    problems = check_requirements("renv.lock", text)
    assert len(problems) == 1 and words in problems[0], problems


def test_a_list_of_jars() -> None:
    assert check_requirements("ivy", "# jars\norg.typelevel:cats-core_2.13:2.10.0\n") == []
    (problem,) = check_requirements("ivy", "org.typelevel::cats-core:2.10.0")
    assert "group:artifact_2.13:version" in problem
    (problem,) = check_requirements("ivy", "<dependency>")
    assert "group:artifact:version" in problem
