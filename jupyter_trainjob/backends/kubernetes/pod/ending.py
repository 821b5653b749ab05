"""What a job left, brought home when nothing of it runs any more: notebook, results, files. And the last words."""

from __future__ import annotations

import time

from ....storage.base import ObjectInfo, ObjectStore, StoreError
from ...local import collect
from .files import JOB, dump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

    from .files import Places
    from .orders import Orders

NOTEBOOK_BYTES = 256 * 2**20
RESULT_BYTES = 64 * 2**30
TERMINATION_BYTES = 4000
"""The kubelet keeps 4096."""
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.2, 3.0
NO_TIME = "there was no time left to store it"
REFUSALS = 3
"""So often an object may fail, while others don't, before it is left behind."""


class Once(ObjectStore):
    """Puts each object once, however often it is asked to: a collection that broke off is begun anew."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._sizes: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self.refused: dict[str, str] = {}
        """Keys of objects that the store won't have, or for which no time was left, and why."""
        self.deadline = float("inf")
        self.current = ""
        """The key of what is being put, or was when it failed."""

    def put(self, key: str, data: bytes | IO[bytes], *, if_absent: bool = False, durable: bool = True) -> ObjectInfo:
        """As the store does, unless it was done."""
        self.current = ""
        if key in self._sizes:
            return ObjectInfo(key, self._sizes[key])
        if time.monotonic() > self.deadline:
            self.refused.setdefault(key, NO_TIME)
        if key in self.refused:
            return ObjectInfo(key, 0)
        self.current = key
        info = self._store.put(key, data, if_absent=if_absent, durable=durable)
        self._sizes[key] = info.size
        self.current = ""
        return info

    def failed(self, problem: str) -> bool:
        """What was being put failed, if anything was; whether that failed too often."""
        if not self.current:
            return False
        count = self._failures[self.current] = self._failures.get(self.current, 0) + 1
        if count >= REFUSALS:
            self.refused[self.current] = problem
        return count >= REFUSALS

    def open(self, key: str, start: int = 0, end: int | None = None) -> Any:
        """Never."""
        raise NotImplementedError

    def stat(self, key: str) -> ObjectInfo:
        """Never."""
        raise NotImplementedError

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> Any:
        """Never."""
        raise NotImplementedError

    def delete(self, key: str) -> None:
        """Never."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Of no use to others."""
        return {"type": "pod"}


class Collection:
    """All that is brought home at the end."""

    def __init__(
        self, store: ObjectStore, orders: Orders, places: Places, inputs: list[str], probe: Callable[[], None]
    ) -> None:
        """``inputs``: the paths in the job's folder that lead to its inputs. ``probe`` puts something small."""
        self._store = Once(store)
        self._orders, self._places, self._inputs, self._probe = orders, places, inputs, probe
        self.found = collect.Collected()
        self.notebook = False

    def bring(self, deadline: float) -> str:
        """Do it, and again while the store fails, until ``deadline`` (monotonic); why not all came, or empty."""
        wait, problem = FIRST_RETRY_SECONDS, ""
        self._store.deadline = deadline
        while True:
            self._store.current = ""
            try:
                self._collect()
                break
            except (StoreError, OSError) as error:  # the latter of a file that can't be read, or of ours
                problem = str(error)
                if isinstance(error, OSError) and time.monotonic() > deadline:
                    return f"Not all of the outputs could be read in time: {problem}"
            if self._answers() and self._store.failed(problem):
                continue  # the store is well and won't have this one: leave it, and go on
            time.sleep(max(0.0, min(wait, deadline - time.monotonic())) + 0.01)
            wait = min(LAST_RETRY_SECONDS, wait * 2)
        late = [key for key, why in self._store.refused.items() if why == NO_TIME]
        if not late:
            return ""
        said = f" The store said last: {problem}" if problem else ""
        return f"{len(late)} of the outputs could not be stored in time, {late[0]!r} first.{said}"

    def _answers(self) -> bool:
        try:
            self._probe()
        except StoreError:
            return False
        return True

    def _collect(self) -> None:
        orders, places = self._orders, self._places
        found, prefix = collect.Collected(), orders.prefix
        self.found = found
        size = collect.one_file(
            self._store,
            f"{prefix}notebook.ipynb",
            places.out,
            f"{JOB}/notebook.ipynb",
            maximum=NOTEBOOK_BYTES,
            found=found,
        )
        for name in orders.results:
            path = f"{JOB}/results/{name}"
            collect.one_file(
                self._store, f"{prefix}results/{name}", places.out, path, maximum=RESULT_BYTES, found=found
            )
        most = orders.limits["diskBytes"]
        collect.files(self._store, prefix, places.work, orders.keep, self._inputs, found, most)
        self._leave_out_refused(found)
        self.notebook = size is not None and f"{prefix}notebook.ipynb" not in self._store.refused

    def _leave_out_refused(self, found: collect.Collected) -> None:
        before = f"{self._orders.prefix}files/"
        refused = self._store.refused
        for key, why in refused.items():
            found.skip(key.removeprefix(before), f"was refused by the object store ({why[:200]})")
            found.total -= key.startswith(before)
        found.bytes -= sum(one["size"] for one in found.files if before + one["path"] in refused)
        found.files = [one for one in found.files if before + one["path"] not in refused]


def termination(path: str, state: dict[str, Any], problem: str) -> None:
    """Leave the last words where the kubelet looks for them, in at most :data:`TERMINATION_BYTES`."""
    end = dict((state.get("claims") or {}).get("end") or {})
    error = dict(end.get("error") or {})
    main = {name: value for name, value in (state.get("main") or {}).items() if name != "lastWords"}
    told: dict[str, Any] = {
        "protocol": 1,
        "log": state["log"],
        "filesTotal": state["filesTotal"],
        "filesBytes": state["filesBytes"],
        "delivered": not problem,
        "problem": problem[:600],
        "failed": state["failed"],
        "main": main or None,
        "claims": {},
    }
    for most in (800, 200, 40):
        if end:
            texts = {name: value[:most] if isinstance(value, str) else value for name, value in error.items()}
            short = {**texts, "traceback": ""} if error else None
            told["claims"] = {"end": {"outcome": end.get("outcome"), "error": short, "results": []}}
        if main:
            told["main"] = {**main, "message": str(main.get("message", ""))[:most]}
        if told["failed"]:
            told["failed"] = {**told["failed"], "message": str(told["failed"].get("message", ""))[:most]}
        told["problem"] = problem[:most]
        text = dump(told)
        if len(text) <= TERMINATION_BYTES:
            break
    else:  # what is cut can't be read at all: better without what the job claims
        text = dump({**told, "claims": {}})
    with open(path, "wb") as file:  # the kubelet made it, and it can't be replaced: it is a mount
        file.write(text)
