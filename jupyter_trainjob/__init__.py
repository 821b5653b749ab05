"""Send notebook cells away as jobs, with queues, limits, logs and results.

Nothing is imported until it is asked for (PEP 562), so that a supervisor or a kernel pays only for what it uses.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too slow for a supervisor's first milliseconds
    from typing import Any


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from ._version import __version__

        return __version__
    if name in ("Client", "AsyncClient", "Job"):
        from . import client

        return getattr(client, name)
    if name in ("log_metric", "log_metrics", "progress"):
        from .runner.injob import jupyter_trainjob as injob

        return getattr(injob, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "jupyter-trainjob"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from .app import TrainJobExtension

    return [{"module": "jupyter_trainjob", "app": TrainJobExtension}]


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext jupyter_trainjob``: the ``%trainjob`` and ``%%trainjob`` magics."""
    from .magics import load_ipython_extension as load

    load(shell)
