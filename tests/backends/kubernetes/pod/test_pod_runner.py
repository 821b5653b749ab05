"""A runner that is none of ours, or of another version."""

from __future__ import annotations

from pathlib import Path

from .pods import Pod

OF_ANOTHER_VERSION = """
import fcntl, os
fcntl.fcntl(3, 1031, 2**20)  # F_SETPIPE_SZ: so that all of it is written before main has read it
os.write(3, b"\\n" * 900_000 + b'{"type": "hello", "runnerProtocol": 2, "python": "3"}\\n')
os._exit(0)
"""


def test_a_runner_of_another_version_that_has_left_is_an_error_with_a_name(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "runner.py").write_text(OF_ANOTHER_VERSION)
    pod.environment["TRAINJOB_RUNNER"] = str(tmp_path / "runner.py")
    assert pod.run() == (0, 0), pod.words()
    main = pod.state["main"]
    assert main["limit"] == "BackendError" and "protocol 2, the pod speaks 1" in main["message"], pod.words()
