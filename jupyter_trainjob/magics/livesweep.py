"""A displayed sweep: one bar that follows all of its jobs, in any front end."""

from __future__ import annotations

import contextvars
import threading
import uuid
from typing import Any

from ..client import Sweep, TrainJobError

_PASS_SECONDS = 1.0


class LiveSweep(Sweep):
    """A sweep that follows itself wherever it is displayed in a notebook."""

    def _ipython_display_(self) -> None:
        shell = _shell()
        self.refresh()
        if shell is None:
            print(self.bar())
            return
        display = _Display(shell)
        display.show(self, update=False)
        if not self.finished:
            other = LiveSweep(self.client.clone(), {"sweep": self.name, "namespace": self.namespace, "items": []})
            threading.Thread(target=_follow, args=(other, display), name="trainjob-sweep", daemon=True).start()

    def follow(self) -> None:
        """Show the bar here, and come back when all have ended."""
        shell = _shell()
        if shell is None:
            self.wait(progress=True)
            return
        display = _Display(shell)
        display.show(self.refresh(), update=False)
        while not self.finished:
            threading.Event().wait(_PASS_SECONDS)
            display.show(self.refresh())


def live_sweep(sweep: Sweep) -> LiveSweep:
    """The same sweep, following itself."""
    return LiveSweep(sweep.client, {"sweep": sweep.name, "namespace": sweep.namespace, "items": range(len(sweep))})


class _Display:
    """One place in a notebook."""

    def __init__(self, shell: Any) -> None:
        self._publish = shell.display_pub.publish
        self._id = f"trainjob-{uuid.uuid4().hex}"
        self._context = contextvars.copy_context()
        self._shown = ""

    def show(self, sweep: Sweep, update: bool = True) -> None:
        """Publish, if it differs from what is shown."""
        text = sweep.bar()
        if update and text == self._shown:
            return
        self._shown = text
        bundle = {"text/plain": text, "text/html": sweep._repr_html_()}
        self._context.run(self._publish, data=bundle, metadata={}, transient={"display_id": self._id}, update=update)


def _follow(sweep: LiveSweep, display: _Display) -> None:
    """In a thread of its own, until all have ended."""
    pause = threading.Event()
    sweep.client.session.notice = None
    with sweep.client:
        while not sweep.finished:
            pause.wait(max(_PASS_SECONDS, len(sweep) / 200))
            try:
                display.show(sweep.refresh())
            except TrainJobError as error:  # such as a server that is away for long: what was known stays shown
                if getattr(error, "status", 0) in (401, 403, 404):
                    return


def _shell() -> Any:
    """IPython in a kernel; None elsewhere."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return shell if shell is not None and hasattr(shell, "kernel") else None
