"""R's own parser: a process a look, which starts in 0.05 s and ends with it. It evaluates nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .bounds import bound, minimal_environment
from .findings import Complaint

SCRIPT = Path(__file__).with_name("parse.R")
ANSWER_SECONDS = 3.0
"""What has not been said by then is taken for code."""
ADDRESS_SPACE_BYTES = 2 * 1024**3

Kernelspecs = Callable[[], Iterable[Mapping[str, Any]]]
"""The kernel.json there are, read."""

_ANSWER = re.compile(r"(\d+) (.*)\Z", re.DOTALL)


def r_program(specs: Iterable[Mapping[str, Any]], path: str | None = None) -> str:
    """The R that a kernelspec starts, else the one on ``path`` (default: PATH); empty where there is none."""
    for spec in specs:
        program = str((spec.get("argv") or [""])[0])
        if str(spec.get("language", "")).lower() == "r" and Path(program).name == "R":
            found = shutil.which(program, path=path)
            if found:
                return found
    return shutil.which("R", path=path) or ""


class RParser:
    """Asks R."""

    def __init__(self, kernelspecs: Kernelspecs, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._kernelspecs = kernelspecs
        self._seconds = answer_seconds

    def complaints(self, texts: Sequence[str]) -> list[Complaint | None]:
        """What R says of each text; None where it says nothing in time."""
        program = r_program(self._kernelspecs())
        if not program or not texts:
            return [None] * len(texts)
        told = self._ask(program, [text.encode("utf-8", "surrogatepass") for text in texts])
        told += [""] * (len(texts) - len(told))
        return [_complaint(answer, text) for answer, text in zip(told, texts, strict=False)]

    def _ask(self, program: str, texts: Sequence[bytes]) -> list[str]:
        with tempfile.TemporaryDirectory(prefix="trainjob-r-") as folder:
            environment = minimal_environment(Path(program).parent, folder)
            process = subprocess.Popen(
                [program, "--vanilla", "--no-echo", f"--file={SCRIPT}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={**environment, "R_DEFAULT_PACKAGES": "NULL"},
                start_new_session=True,
            )
            with process:
                bound(process.pid, address_space=ADDRESS_SPACE_BYTES, cpu_seconds=int(self._seconds) + 1, file_size=0)
                try:
                    out, _ = process.communicate(
                        b"".join(b"%d\n%s" % (len(text), text) for text in texts), self._seconds
                    )
                except subprocess.TimeoutExpired:
                    process.kill()
                    out, _ = process.communicate()
        lines = out.decode("utf-8", "replace").split("\n")
        return lines[:-1]  # what is behind the last line end was cut short


def _complaint(answer: str, text: str) -> Complaint | None:
    found = _ANSWER.match(answer)
    if found is None:  # "ok", or nothing
        return None
    lines = text.split("\n")
    line = min(int(found[1]), len(text.rstrip().split("\n")))
    return Complaint(found[2].strip(), line, lines[line - 1][:400] if line else "")
