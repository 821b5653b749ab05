"""Resources for tests."""

from __future__ import annotations

from typing import Any

from jupyter_trainjob.resources.base import parse
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.resources.trainjob import Phase, TrainJob


def job(
    name: str = "",
    *,
    namespace: str = "ada",
    owner: str = "ada",
    phase: Phase = Phase.QUEUED,
    queue: str = "default",
    code: str = "print(1)",
    **metadata: Any,
) -> TrainJob:
    if not name:
        metadata.setdefault("generateName", "digits")
    return parse(
        TrainJob,
        {
            "kind": "TrainJob",
            "metadata": {"name": name, "namespace": namespace, "owner": owner, **metadata},
            "spec": {"source": {"type": "cell", "code": code}, "queue": queue},
            "status": {"phase": phase},
        },
    )


def queue(name: str, **spec: Any) -> Queue:
    return parse(Queue, {"kind": "Queue", "metadata": {"name": name}, "spec": spec})
