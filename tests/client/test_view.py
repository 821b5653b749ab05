"""A job's state in one line."""

from __future__ import annotations

import pytest

from jupyter_trainjob.client.view import JobView, span_text


def view(reason: str, message: str, ename: str = "KernelDied") -> JobView:
    attempt = {"number": 1, "error": {"ename": ename, "evalue": "was killed"}, "reason": reason, "message": message}
    return JobView(
        {
            "metadata": {"name": "j", "namespace": "ada", "uid": "u"},
            "spec": {},
            "status": {"phase": "Failed", "reason": reason, "message": message, "attempts": [attempt]},
        }
    )


@pytest.mark.parametrize(
    ("reason", "message", "said"),
    [
        ("OutOfMemory", "The job used more than its 1 GiB of memory. Ask for more with --memory.", "1 GiB of memory"),
        ("CodeError", "ValueError: no (line 3)", "KernelDied: was killed"),
    ],
)
def test_a_limit_is_told_before_what_it_led_to(reason: str, message: str, said: str) -> None:
    assert said in view(reason, message).describe()
    assert f"({reason})" in view(reason, message).describe()


@pytest.mark.parametrize(("line", "said"), [(5, "ValueError: was killed (line 5)"), (None, "ValueError: was killed")])
def test_an_error_of_the_code_is_told_with_its_line(line: int | None, said: str) -> None:
    job = view("CodeError", "", "ValueError")
    job.resource["status"]["attempts"][0]["error"]["line"] = line
    assert job.describe().endswith(f"(CodeError): {said}")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (45, "45 s"), (300.0, "5 min"), (3600, "1 h"), (5400, "1 h 30 min"), (3661, "1 h 1 min 1 s")],
)
def test_a_limit_is_told_without_what_is_nothing(seconds: float | None, said: str) -> None:
    assert span_text(seconds) == said
