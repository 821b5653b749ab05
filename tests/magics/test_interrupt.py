"""^C while blocking: a real SIGINT to a real kernel."""

from __future__ import annotations

import time
from typing import Any

from jupyter_trainjob.client import Client

from .conftest import Kernel, Ran, interrupt

LONG = "import time\nprint('running', flush=True)\ntime.sleep(60)\n"


def interrupting(kernel: Kernel, times: int) -> Any:
    """Interrupts when the job runs, and again when the kernel says it detached."""
    left = [times]

    def watch(message: dict[str, Any], ran: Ran) -> None:
        if message["msg_type"] != "stream":
            return
        text = message["content"]["text"]
        if left[0] == times and "running" in text:
            left[0] -= 1
            interrupt(kernel)
        elif left[0] and "Interrupt again" in text:
            left[0] -= 1
            time.sleep(0.3)
            interrupt(kernel)

    return watch


def test_one_interrupt_detaches_and_the_job_goes_on(kernel: Kernel, client: Client) -> None:
    ran = kernel.run(f"%%trainjob --name once --block\n{LONG}", on_message=interrupting(kernel, 1))
    job = client.job("once")
    assert ran.status == "error" and ran.ename == "Detached"
    assert ran.stderr.strip().endswith(f"Detached from {job.name}. Interrupt again within 3 s to cancel it.")
    assert ran.evalue == f"{job.name} goes on. Come back with: %trainjob logs {job.name} -f", "once, and at the end"
    assert "Traceback" not in ran.traceback and ".py" not in ran.traceback
    assert job.phase == "Running"
    assert kernel.run("print(1)").stdout == "1\n", "the kernel is fine"
    job.cancel()


def test_a_second_interrupt_cancels(kernel: Kernel, client: Client) -> None:
    ran = kernel.run(f"%%trainjob --name twice --block\n{LONG}", on_message=interrupting(kernel, 2))
    job = client.job("twice")
    assert ran.ename == "Detached" and f"{job.name} is being cancelled" in ran.evalue
    assert job.wait(30).phase == "Cancelled"


def test_an_interrupt_while_following_stops_only_the_following(kernel: Kernel, client: Client) -> None:
    kernel.run(f"%%trainjob --name followed\n{LONG}")
    ran = kernel.run("%trainjob logs followed -f", on_message=interrupting(kernel, 1))
    assert ran.ename == "Detached" and "jobs go on" in ran.evalue
    job = client.job("followed")
    assert job.phase == "Running"
    job.cancel()
