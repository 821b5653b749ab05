"""The parser of the Scala compiler in the kernel's own jars: one Java process a server, started when first asked.

It is compiled once from ``Parse.scala`` (4 s) into a cache folder and takes 2 s to start; then a cell takes
milliseconds. It ends when the server does, when nobody asked for a while, and when it takes too long.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from .bounds import minimal_environment
from .findings import Complaint
from .rparser import Kernelspecs
from .scalatools import ScalaTools, scala_tools

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("Parse.scala")
PATIENCE_SECONDS = 10.0
"""How long a submit waits for a parser that is just starting."""
ANSWER_SECONDS = 3.0
"""How long all texts of one source may take it."""
IDLE_SECONDS = 600.0
START_SECONDS = 120.0
RETRY_SECONDS = 60.0
"""After a start that failed."""
_SMALL = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto")
_BOUNDS = ("-Xmx256m", "-XX:MaxMetaspaceSize=128m", "-XX:ReservedCodeCacheSize=48m", "-XX:+ExitOnOutOfMemoryError")
_ANSWER = re.compile(r"(\d+) (.*)\Z", re.DOTALL)
_MAGIC_LINE = re.compile(r"^[ \t]*%.*$", re.MULTILINE)


class ScalaParser:
    """Asks the compiler. Threads may ask at once; they are answered one after the other."""

    def __init__(
        self,
        kernelspecs: Kernelspecs,
        cache: Path | None,
        *,
        environment: Mapping[str, str] = os.environ,
        patience_seconds: float = PATIENCE_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kernelspecs = kernelspecs
        self._cache = cache
        self._environment = environment
        self._patience = patience_seconds
        self._answer = answer_seconds
        self._idle = idle_seconds
        self._clock = clock
        self._asking = threading.Lock()
        self._changing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._helper: subprocess.Popen[bytes] | None = None
        self._starting: threading.Thread | None = None
        self._rest: threading.Timer | None = None
        self._failed_at: float | None = None
        self._closed = False

    def complaints(self, texts: Sequence[str]) -> list[Complaint | None]:
        """What the compiler says of each text; None where it can't be asked in time."""
        told = self._ask(texts)
        magic = [
            index for index, answer in enumerate(told) if answer not in ("", "ok") and _MAGIC_LINE.search(texts[index])
        ]
        if magic:  # Toree's and Almond's magics: whole cells, or lines
            plain = [_without_magics(texts[index]) for index in magic]
            for index, answer in zip(magic, self._ask(plain), strict=True):
                told[index] = answer
        return [_complaint(answer, text) for answer, text in zip(told, texts, strict=True)]

    def close(self) -> None:
        """End it, and start none again."""
        with self._changing:
            self._closed = True
            process, self._process = self._process, None
            starting = self._starting
            if self._helper is not None:
                self._helper.kill()  # the thread that waits for it tidies up
            if self._rest is not None:
                self._rest.cancel()
        _end(process)
        if starting is not None:  # not asked again: it forgets itself when it ends
            starting.join(timeout=10)

    @property
    def pid(self) -> int | None:
        """Of the process that is ready to be asked, if there is one."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    # Asking

    def _ask(self, texts: Sequence[str]) -> list[str]:
        """One answer each; empty from where none came."""
        silent = [""] * len(texts)
        until = self._clock() + self._patience
        if not texts or not self._asking.acquire(timeout=self._patience):
            return silent
        try:
            process = self._ready(until)
            if process is None:
                return silent
            answers = list(self._exchange(process, texts))
        finally:
            self._asking.release()
        return answers + silent[len(answers) :]

    def _exchange(self, process: subprocess.Popen[bytes], texts: Sequence[str]) -> list[str]:
        assert process.stdin is not None and process.stdout is not None
        answers: list[str] = []
        alarm = threading.Timer(self._answer, process.kill)  # makes whatever waits for it end
        alarm.start()
        try:
            for text in texts:
                data = text.encode("utf-8", "replace")
                process.stdin.write(b"%d\n%s" % (len(data), data))
                process.stdin.flush()
                answer = process.stdout.readline()
                if not answer.endswith(b"\n"):
                    break
                answers.append(answer.decode("utf-8", "replace").rstrip("\n"))
        except (OSError, ValueError):
            pass  # it is gone
        finally:
            alarm.cancel()
        if len(answers) < len(texts):  # the next to ask starts another
            process.kill()
            process.wait()
        self._rest_later()
        return answers

    def _ready(self, until: float) -> subprocess.Popen[bytes] | None:
        """The process, once it is ready; None if that takes longer than ``until``."""
        with self._changing:
            if self._process is not None and self._process.poll() is not None:
                _end(self._process)
                self._process = None
            if self._process is None and not self._may_start():
                return None
            if self._process is None and self._starting is None:
                self._starting = threading.Thread(target=self._start, name="trainjob-scala", daemon=True)
                self._starting.start()
            starting = self._starting
        if starting is not None:
            starting.join(timeout=max(0.0, until - self._clock()))
        return self._process

    def _may_start(self) -> bool:
        failed = self._failed_at
        return not self._closed and (failed is None or self._clock() - failed > RETRY_SECONDS)

    # Starting and ending

    def _start(self) -> None:
        made = None
        try:
            tools = scala_tools(self._kernelspecs(), self._environment) if self._cache is not None else None
            if tools is not None:
                made = self._launch(tools, self._compiled(tools))
        except (OSError, subprocess.SubprocessError) as error:
            if not self._closed:
                log.warning("Scala can't be checked before it is queued: %s", error)
        with self._changing:
            self._starting = None
            self._helper = None
            self._failed_at = self._clock() if made is None else None
            if self._closed:
                _end(made)
            else:
                self._process = made

    def _compiled(self, tools: ScalaTools) -> Path:
        """The jar of ``Parse.scala``, made if it isn't there. Two servers may make it at once: the last one stays."""
        assert self._cache is not None
        self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        jar = self._cache / f"parse-{tools.key(SOURCE.read_bytes())}.jar"
        if jar.exists():
            return jar
        with tempfile.TemporaryDirectory(dir=self._cache, prefix="parse-") as folder:
            part = Path(folder, "parse.jar")
            command = ["-Xmx512m", "-Xss4m", *_SMALL, "-cp", tools.class_path, "scala.tools.nsc.Main", "-usejavacp"]
            process = self._spawn(tools, [*command, "-nowarn", "-d", str(part), str(SOURCE)], folder)
            with process:
                alarm = threading.Timer(START_SECONDS, process.kill)
                alarm.start()
                out, _ = process.communicate()
                alarm.cancel()
            if process.returncode or not part.exists():
                raise OSError(f"its parser can't be compiled: {out.decode('utf-8', 'replace')[-400:].strip()}")
            part.replace(jar)
        for old in self._cache.glob("parse-*.jar"):
            if old != jar:
                old.unlink(missing_ok=True)
        return jar

    def _launch(self, tools: ScalaTools, jar: Path) -> subprocess.Popen[bytes]:
        class_path = f"{tools.class_path}:{jar}"
        process = self._spawn(
            tools, [*_BOUNDS, *_SMALL, "-cp", class_path, "jupyter_trainjob.Parse"], str(jar.parent), quiet=True
        )
        alarm = threading.Timer(START_SECONDS, process.kill)
        alarm.start()
        try:
            said = _stream(process.stdout).readline()
        finally:
            alarm.cancel()
        if said != b"ready\n":
            _end(process)
            raise OSError("its parser does not start")
        return process

    def _spawn(
        self, tools: ScalaTools, arguments: Sequence[str], folder: str, *, quiet: bool = False
    ) -> subprocess.Popen[bytes]:
        with self._changing:
            if self._closed:
                raise OSError("the server stops")
            process = subprocess.Popen(
                [tools.java, *arguments],
                stdin=subprocess.PIPE if quiet else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if quiet else subprocess.STDOUT,
                cwd=folder,
                env=minimal_environment(Path(tools.java).parent, folder),
                start_new_session=True,
            )
            self._helper = process
        return process

    def _rest_later(self) -> None:
        with self._changing:
            if self._rest is not None:
                self._rest.cancel()
            if self._closed:
                return
            self._rest = threading.Timer(self._idle, self._sleep)
            self._rest.daemon = True
            self._rest.start()

    def _sleep(self) -> None:
        """Nobody asked for a while."""
        if not self._asking.acquire(blocking=False):
            return
        try:
            with self._changing:
                process, self._process = self._process, None
            _end(process)
        finally:
            self._asking.release()


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None:
        return
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.close()


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _without_magics(text: str) -> str:
    if text.lstrip().startswith("%%"):
        return ""
    return _MAGIC_LINE.sub("", text)


def _complaint(answer: str, text: str) -> Complaint | None:
    found = _ANSWER.match(answer)
    if found is None:  # "ok", or nothing
        return None
    lines = text.splitlines() or [""]
    line = min(int(found[1]), len(lines))
    return Complaint(found[2].strip().rstrip("."), line, lines[line - 1][:400] if line else "")
