"""The server's end of :mod:`.reader`: a process that is started when first needed and when the last one is gone."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .bounds import bound, minimal_environment
from .reader import receive, send

log = logging.getLogger(__name__)

START_SECONDS = 20.0
LOOK_SECONDS = 3.0
"""What has not been said by then is accepted."""
READ_SECONDS = 5.0
"""How much longer a notebook may take, which has to be read before it is looked at."""
ADDRESS_SPACE_BYTES = 1024**3
BUSY = 3.0
"""So many times as long a look may last on a busy machine. It is the process itself that ends when it has had its
seconds of CPU."""
LARGEST_BYTES = 256 * 1024**2
"""Of memory: a process that keeps more after a look is replaced."""
MAX_ANSWER_BYTES = 8 * 1024 * 1024

_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import main; main()".format(
    f"{__package__}.reader"
)

Answer = tuple[dict[str, Any], bytes]


class Reader:
    """Asks it. Threads may ask at once; they are answered one after the other."""

    def __init__(
        self,
        *,
        look_seconds: float = LOOK_SECONDS,
        read_seconds: float = READ_SECONDS,
        largest_bytes: int = LARGEST_BYTES,
    ) -> None:
        self._look = look_seconds
        self._read = look_seconds + read_seconds
        self._largest = largest_bytes
        self._asking = threading.Lock()
        self._changing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the process, where there is one."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def ask(self, do: str, body: bytes, **head: Any) -> list[Answer]:
        """What it says, as far as it comes in time. Blocks."""
        seconds = self._read if do == "notebook" else self._look
        with self._asking:
            process = self._ready()
            if process is None:
                return []
            answers, last = self._exchange(process, {"do": do, "seconds": seconds, **head}, body, seconds)
            if last is None or last["residentBytes"] > self._largest:
                self._drop(process)
        return answers

    def close(self) -> None:
        """End it, and start none again."""
        with self._changing:
            self._closed = True
            process, self._process = self._process, None
        if process is None:
            return
        process.kill()  # whoever waits for its answer gets none
        process.wait()
        with self._asking:
            _close_streams(process)

    def _exchange(
        self, process: subprocess.Popen[bytes], head: Mapping[str, Any], body: bytes, seconds: float
    ) -> tuple[list[Answer], dict[str, Any] | None]:
        """The answers, and the last message, which is none of them; None where it never came."""
        assert process.stdin is not None and process.stdout is not None
        answers: list[Answer] = []
        alarm = threading.Timer(BUSY * seconds, process.kill)  # makes whatever waits for it end
        alarm.start()
        try:
            send(process.stdin, head, body)
            while (answer := receive(process.stdout, MAX_ANSWER_BYTES)) is not None:
                if answer[0].get("last"):
                    return answers, answer[0]
                answers.append(answer)
        except (OSError, ValueError):
            pass  # it is gone
        finally:
            alarm.cancel()
        return answers, None

    def _ready(self) -> subprocess.Popen[bytes] | None:
        process = self._process
        if process is not None and process.poll() is None:
            return process
        if process is not None:
            self._drop(process)
        try:
            process = self._start()
        except OSError as error:
            log.warning("Python can't be checked before it is queued: its process does not start: %s", error)
            return None
        if not self._says_hello(process):
            self._drop(process)
            if not self._closed:
                log.warning(
                    "Python can't be checked before it is queued: its process ended with %s", process.returncode
                )
            return None
        return process

    def _says_hello(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.stdout is not None
        alarm = threading.Timer(START_SECONDS, process.kill)
        alarm.start()
        try:
            return receive(process.stdout, 1024) is not None
        except (OSError, ValueError):
            return False
        finally:
            alarm.cancel()

    def _start(self) -> subprocess.Popen[bytes]:
        paths = [path for path in sys.path if Path(path).is_absolute()]  # modules are found as the server finds them
        with self._changing:
            if self._closed:
                raise OSError("the server stops")
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-c", _PROGRAM, json.dumps(paths)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=minimal_environment(Path(sys.executable).parent, "/"),
                start_new_session=True,
            )
            bound(self._process.pid, address_space=ADDRESS_SPACE_BYTES, file_size=0)
            return self._process

    def _drop(self, process: subprocess.Popen[bytes]) -> None:
        with self._changing:
            if self._process is process:
                self._process = None
        process.kill()
        process.wait()
        _close_streams(process)


def _close_streams(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.close()
