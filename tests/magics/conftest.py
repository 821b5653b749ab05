"""Real kernels with the magic, beside a real server that runs the jobs.

- ``served``: the server
- ``kernel``: one for each module, an ipykernel, configured by the file that we install; finds the server itself
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from jupyter_client import BlockingKernelClient, KernelManager

import jupyter_trainjob

from ..served import Served, client, served

__all__ = ["client", "served"]

CONFIG = Path(jupyter_trainjob.__file__).parent / "_data/etc/ipython/ipython_kernel_config.json"


@dataclass
class Ran:
    """What running a cell gave."""

    status: str = ""
    ename: str = ""
    evalue: str = ""
    traceback: str = ""
    stdout: str = ""
    stderr: str = ""
    displays: list[dict[str, Any]] = field(default_factory=list)
    """``display_data`` contents, each with its ``data`` and its ``transient``."""
    results: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def printed(self) -> str:
        return self.stdout + self.stderr


class Kernel:
    """One kernel and its client."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient, folder: Path) -> None:
        self.manager = manager
        self.client = client
        self.folder = folder
        self.updates: list[dict[str, Any]] = []

    def run(
        self, code: str, timeout: float = 60, on_message: Callable[[dict[str, Any], Ran], None] | None = None
    ) -> Ran:
        """Execute ``code``; ``on_message`` sees each iopub message as it comes."""
        ran, began = Ran(), time.monotonic()
        request = self.client.execute(code, store_history=True)
        while True:
            left = timeout - (time.monotonic() - began)
            message = self.client.get_iopub_msg(timeout=max(0.01, left))
            if message["msg_type"] == "update_display_data":
                self.updates.append(message["content"])
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            self._take(message, ran)
            if on_message:
                on_message(message, ran)
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        ran.seconds = time.monotonic() - began
        ran.status = self.reply(request)["content"]["status"]
        return ran

    def reply(self, request: str) -> dict[str, Any]:
        """The answer to a request; others' (of the start) are passed over."""
        while True:
            reply = self.client.get_shell_msg(timeout=60)
            if reply["parent_header"].get("msg_id") == request:
                return dict(reply)

    def _take(self, message: dict[str, Any], ran: Ran) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            setattr(ran, content["name"], getattr(ran, content["name"]) + content["text"])
        elif message["msg_type"] == "display_data":
            ran.displays.append(content)
        elif message["msg_type"] == "execute_result":
            ran.results.append(content)
        elif message["msg_type"] == "error":
            ran.ename, ran.evalue = content["ename"], content["evalue"]
            ran.traceback = "\n".join(content["traceback"])

    def updates_until(self, fits: Callable[[dict[str, Any]], bool], timeout: float = 30) -> dict[str, Any]:
        """The first update of a display that ``fits``, now or later."""
        end = time.monotonic() + timeout
        for content in self.updates:
            if fits(content):
                return content
        while time.monotonic() < end:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            if message["msg_type"] == "update_display_data":
                self.updates.append(message["content"])
                if fits(message["content"]):
                    return dict(message["content"])
        raise AssertionError(f"no such update; the last were {self.updates[-3:]}")


@pytest.fixture(scope="module")
def start_kernel(tmp_path_factory: pytest.TempPathFactory, served: Served) -> Iterator[Callable[..., Kernel]]:
    started: list[Kernel] = []
    ipython = tmp_path_factory.mktemp("ipython")
    profile = ipython / "profile_default"
    profile.mkdir(parents=True)
    shutil.copy(CONFIG, profile)

    def start(**environment: str) -> Kernel:
        manager = KernelManager(kernel_name="python3")
        env = {**served.environment, "IPYTHONDIR": str(ipython), **environment}
        notebooks = tmp_path_factory.mktemp("notebooks")
        manager.start_kernel(env=env, cwd=str(notebooks))
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        kernel = Kernel(manager, client, notebooks)
        started.append(kernel)
        return kernel

    yield start
    for kernel in started:
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def kernel(start_kernel: Callable[..., Kernel]) -> Kernel:
    return start_kernel()


def interrupt(kernel: Kernel) -> None:
    """A real SIGINT, as the interrupt button sends."""
    kernel.manager.interrupt_kernel()


def plain(text: str) -> str:
    """Without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
