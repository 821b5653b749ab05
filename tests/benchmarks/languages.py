"""A cold start and a tail in each of the three languages, with the bare kernel in turn.

Ours is timed from the client's call to the first log line that a client can read; the bare kernel's, the one of the
same kernelspec, from its start by ``jupyter_client`` to its first output. Then a job prints the time every 10 ms. Jobs
get all processors of the machine, as the bare kernel does.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from .log_tail import TAIL_CODE, tail
from .server import RunningServer, running_server
from .stats import median, percentile
from .submit_latency import CODE, submit_once

if TYPE_CHECKING:
    from jupyter_trainjob.client.spec import JobOptions

LATER_S = 0.5
"""How much later than the bare kernel's the first output may come."""
MAKES_SCALA = Path(__file__).resolve().parents[2] / "scripts" / "kernels"
START_SECONDS = 180.0


@dataclass(frozen=True)
class Language:
    """What is run, how often, and what is reached."""

    name: str
    hello: str
    """Prints 1."""
    tail: str
    """Prints the time in seconds, often, for ``{seconds}``."""
    p95_ms: int
    rounds: int = 10
    memory: str = "1Gi"


LANGUAGES = (
    Language("python", CODE, TAIL_CODE, p95_ms=500),
    Language(
        "r",
        "cat('1\\n')",
        """
end <- Sys.time() + {seconds}
while (Sys.time() < end) {{
  cat(sprintf("%.6f\\n", as.numeric(Sys.time())))
  Sys.sleep(0.01)
}}
""",
        p95_ms=300,
    ),
    Language(
        "scala",
        "println(1)",
        """
val end = System.currentTimeMillis + {seconds} * 1000
while (System.currentTimeMillis < end) {{
  println(System.currentTimeMillis / 1000.0)
  Thread.sleep(10)
}}
""",
        p95_ms=300,
        rounds=3,
        memory="2Gi",
    ),
)


def kernels() -> dict[str, str]:
    """The name of the kernel of each language; Scala's is made where there is none."""
    found = _installed()
    if "scala" not in found:
        made = subprocess.run([MAKES_SCALA], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [made, os.environ.get("JUPYTER_PATH")]))
        found = _installed()
    missing = [language.name for language in LANGUAGES if language.name not in found]
    if missing:
        raise RuntimeError(f"There is no kernel for {', '.join(missing)} here; scripts/test installs them.")
    return found


def _installed() -> dict[str, str]:
    every = sorted(KernelSpecManager().get_all_specs().items(), reverse=True)  # of several the first by name stays
    return {str(kernel["spec"]["language"]).lower(): name for name, kernel in every}


def bare_once(kernel: str, code: str) -> float:
    """Seconds from the kernel's start to its first output."""
    manager = KernelManager(kernel_name=kernel)
    start = time.perf_counter()
    manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client: BlockingKernelClient = manager.blocking_client()
    client.start_channels(hb=False)
    try:
        _wait_until_heard(client)
        client.execute(code, store_history=False)
        while True:
            message = client.get_iopub_msg(timeout=START_SECONDS)
            if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
                break
        seconds = time.perf_counter() - start
        if message["content"]["text"].strip() != "1":
            raise RuntimeError(f"{kernel} printed {message['content']}")
        return seconds
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _wait_until_heard(client: BlockingKernelClient) -> None:
    """Until the kernel answers on both channels: ``wait_for_ready`` waits 0.2 s longer, to be sure of silence."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        client.kernel_info()
        try:
            client.get_shell_msg(timeout=1)
            client.get_iopub_msg(timeout=0.1)
            return
        except Empty:
            continue
    raise RuntimeError(f"the kernel did not answer within {START_SECONDS:.0f} s")


def _until_compiled(folder: Path) -> None:
    """A server's first Scala job begins to make what later ones start with; it would slow both sides down."""
    deadline = time.monotonic() + 2 * START_SECONDS
    while not list(folder.glob("*/classes.jsa")):
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing was compiled into {folder}: {sorted(folder.glob('*'))}")
        time.sleep(0.5)


def measure(
    server: RunningServer, language: Language, kernel: str, rounds: int, seconds: int
) -> tuple[dict[str, Any], bool]:
    """Figures of one language, and whether they are reached.

    ``rounds`` pairs after one warm-up of each, then a tail of so many seconds.
    """
    cpus = str(os.cpu_count())
    options: JobOptions = {"language": language.name, "cpu": cpus, "memory": language.memory}
    ours, bare = [], []
    isolation = ""
    for number in range(rounds + 1):
        for is_bare in (False, True) if number % 2 else (True, False):  # neither always comes second
            if is_bare:
                taken = bare_once(kernel, language.hello)
            else:
                taken, _, isolation = submit_once(server, language.hello, **options)
            if number:
                (bare if is_bare else ours).append(taken)
        if number == 0 and language.name == "scala":
            _until_compiled(server.data_dir / "compiled")
    resources = {"cpu": cpus, "memory": language.memory}
    delays = tail(
        server, language.tail.format(seconds=seconds), environment={"language": language.name}, resources=resources
    )
    later, p95_ms = median(ours) - median(bare), round(percentile(delays, 95) * 1000)
    reached = later <= LATER_S and p95_ms <= language.p95_ms and len(delays) > seconds * 20 and isolation != "process"
    figures = {
        "rounds": rounds,
        "isolation": isolation,
        "first_output_median_s": median(ours, 3),
        "bare_kernel_median_s": median(bare, 3),
        "first_output_later_s": round(later, 3),
        "lines": len(delays),
        "print_to_reader_p50_ms": round(percentile(delays, 50) * 1000),
        "print_to_reader_p95_ms": p95_ms,
    }
    return {f"{language.name}_{key}": value for key, value in figures.items()}, reached


def run(*, quick: bool = False) -> dict[str, Any]:
    """One language after the other, on one server."""
    names = kernels()
    figures: dict[str, Any] = {"benchmark": "languages", "cpus": os.cpu_count()}
    reached = True
    with running_server() as server:
        for language in LANGUAGES:
            rounds = 1 if quick else language.rounds
            told, good = measure(server, language, names[language.name], rounds, 4 if quick else 20)
            figures |= told
            reached = reached and good
    return {**figures, "pass": reached}
