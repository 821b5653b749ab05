"""What ``show`` tells of a job."""

from __future__ import annotations

from jupyter_trainjob.verbs.measuring import advice_lines
from jupyter_trainjob.verbs.printing import detail, used_text


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


def test_what_was_used_stands_beside_what_was_asked_for() -> None:
    usage = {"cpuSeconds": 54.0, "peakMemoryBytes": 310 * 2**20, "diskBytes": 2**20, "readBytes": 4096}
    attempt = {"number": 1, "start": "2026-11-22T10:00:00Z", "end": "2026-11-22T10:01:00Z", "usage": usage}
    asked = {"memory": "1Gi", "cpu": "1", "disk": "5Gi"}
    assert used_text(attempt, asked) == (
        "memory 310.0 MiB of 1 GiB, CPU 0.9 of 1 (54.0 CPU seconds), disk 1.0 MiB of 5 GiB, read 4.0 KiB, written 0 B"
    )
    assert used_text({"usage": {"cpuSeconds": 2.0}}, {}) == "memory 0 B, 2.0 CPU seconds, disk 0 B"
    assert used_text({}, asked) == ""
    short = {**attempt, "end": "2026-11-22T10:00:01Z"}
    assert "54.0 CPU seconds, disk" in used_text(short, asked) and "CPU 54" not in used_text(short, asked)


def test_inputs_tell_where_they_come_from() -> None:
    inputs = [
        {"type": "output", "job": "u1", "attempt": 2, "file": ".", "path": "clean"},
        {"type": "uri", "uri": "https://h/a\x1b.csv", "path": "a.csv"},
        {"type": "variables", "names": ["x", "y"]},
        {"type": "upload", "path": "b.csv"},
    ]
    spec = {"source": {"type": "folder", "entry": "main.R"}, "environment": {"language": "r"}, "inputs": inputs}
    text = detail({"metadata": {"name": "j"}, "spec": spec, "status": {"phase": "Queued"}})
    assert "Code:        main.R of a folder, r\n" in text
    assert "Inputs:      clean (all files of job u1, attempt 2), a.csv (https://h/a\ufffd.csv), x, y, 1 file\n" in text


def test_packages_are_told_by_their_list() -> None:
    asked = {"format": "requirements.txt", "digest": f"sha256:109943ef48d5{52 * '0'}"}
    text = detail({"metadata": {"name": "j"}, "spec": {"environment": {"requirements": asked}}, "status": {}})
    assert "Packages:    requirements.txt sha256:109943ef48d5\n" in text


def test_sizes_in_advice_are_those_of_people() -> None:
    told = {
        "runs": 3,
        "used": {"cpu": 0.92, "peakMemoryBytes": 2**28, "seconds": 95.0},
        "resources": {"cpu": "1", "memory": "320Mi"},
        "timeLimitSeconds": 5400,
        "remarks": ["Up to 1073741824 bytes of memory were asked for and at most 268435456 used."],
    }
    assert advice_lines(told) == [
        "--cpu 1 --memory 320Mi --time-limit 1h30m",
        "At most, 3 runs of this code used 0.92 CPU on the average, 256.0 MiB of memory and 1 min 35 s.",
        "Up to 1.0 GiB of memory were asked for and at most 256.0 MiB used.",
    ]


def test_the_image_is_told_as_it_ran_and_volumes_as_they_were_asked_for() -> None:
    spec = {
        "environment": {"image": "registry.example.org/lab:2026"},
        "volumes": [{"name": "data", "readOnly": True}, {"name": "home", "mountPath": "/mnt/me", "readOnly": False}],
    }
    job = {"metadata": {"name": "digits-x7k2p", "namespace": "ada", "owner": "ada", "uid": "u"}, "spec": spec}
    assert "Image:       registry.example.org/lab:2026\n" in detail({**job, "status": {"phase": "Queued"}})
    text = detail({**job, "status": {"phase": "Running", "imageDigest": "registry.example.org/lab@sha256:ab"}})
    assert "Image:       registry.example.org/lab@sha256:ab\n" in text
    assert "Volumes:     data, home:/mnt/me:rw\n" in text
