"""What ``show`` tells of a job."""

from __future__ import annotations

from jupyter_trainjob.verbs.printing import detail


def test_parameters_are_shown_and_only_what_is_wrong_is_a_note() -> None:
    job = {
        "metadata": {"name": "digits-x7k2p", "namespace": "ada", "owner": "ada", "uid": "u"},
        "spec": {"parameters": {"lr": 0.1, "name": "a\x1b[31mb"}},
        "status": {
            "phase": "Succeeded",
            "conditions": [
                {"type": "Created", "status": "True", "message": "The backend has the attempt."},
                {"type": "LogComplete", "status": "False", "message": "The log was longer than what is kept."},
            ],
        },
    }
    text = detail(job)
    assert "Parameters:  lr=0.1, name='a\\x1b[31mb'" in text
    assert "Note:        The log was longer than what is kept." in text
    assert "The backend has the attempt" not in text
