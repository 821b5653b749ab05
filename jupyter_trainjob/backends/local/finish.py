"""The end of an attempt: outputs and log into the store, then the exit record."""

from __future__ import annotations

import os
import time
from typing import Any

from ...storage.base import ObjectStore, StoreError
from ...storage.logs import LogRecord, LogWriter
from . import collect
from .courier import Courier
from .events import EventReader
from .folder import Folder
from .report import Report, now_text

RESULT_BYTES = 64 * 2**30
LOG_SECONDS = 60.0
"""How long the store may take for the rest of the log."""
RETRY_SECONDS = (0.5, 2.0)
"""How long to wait before asking a failing store again."""


def evidence(
    status: int | None,
    end: dict[str, Any] | None,
    limit: str,
    message: str,
    cancelled: str | None,
    stderr: bytes,
) -> dict[str, Any]:
    """What was seen from outside. ``status`` is the wait status of the first process, None if it never was."""
    facts: dict[str, Any] = {"exitCode": None, "signal": None}
    if status is not None:
        code = os.waitstatus_to_exitcode(status)
        if code > 128:
            code = 128 - code  # bwrap passes on a signal as 128 + its number
        facts["exitCode" if code >= 0 else "signal"] = abs(code)
    if cancelled is not None:
        facts["cancelled"] = cancelled
    if limit:
        facts["limit"] = limit
    text = stderr.decode("utf-8", "replace").strip()
    if end is None and not limit:
        message = f"Its last words: {text}" if text else ""
    elif end is None and limit == "BackendError" and text not in message:  # a runner says both ways why it can't
        message = f"{message} {text}".strip()
    if message:
        facts["message"] = message
    return facts


class Finisher:
    """Does the end's steps in order. A store that fails makes the end a StorageError and keeps the folder."""

    def __init__(
        self,
        folder: Folder,
        orders: dict[str, Any],
        store: ObjectStore,
        log: LogWriter | LogRecord,
        report: Report,
        courier: Courier,
        usage: bytes = b"",
    ) -> None:
        self._folder, self._orders, self._store = folder, orders, store
        self._log, self._report, self._courier = log, report, courier
        self._usage = usage

    def finish(self, facts: dict[str, Any], events: EventReader) -> None:
        """Leaves the report ready to be written, with state ``ended``."""
        self._courier.close()
        problem = self._bring_home()
        record, log_problem = self._close_log()
        problem = problem or log_problem
        if problem:
            facts["limit"], facts["message"] = "StorageError", problem
        if events.malformed or events.dropped:
            self._report.condition(
                {
                    "type": "RunnerReports",
                    "status": "False",
                    "reason": "Malformed",
                    "message": f"{events.malformed} reports from inside the job were malformed and {events.dropped} "
                    "came too fast; they were left out.",
                }
            )
        self._report.update(state="ended", ended=now_text(), evidence=facts, log=record)

    def _bring_home(self) -> str:
        """Why the store took not everything; empty if it did."""
        error: StoreError | OSError | None = None
        for wait in (0.0, *RETRY_SECONDS):
            time.sleep(wait)
            try:
                self._collect()
                return ""
            except (StoreError, OSError) as problem:
                error = problem
        name = os.path.basename(self._folder.path)
        return f"The outputs could not be stored and are kept where the job ran, as {name}: {error}"

    def _collect(self) -> None:
        prefix, out = self._orders["prefix"], self._folder.file("out")
        found = collect.Collected()
        if self._usage:
            self._courier.usage_now(self._usage)
        notebook = self._courier.now(found)
        for name in self._orders["results"]:
            key, path = f"{prefix}results/{name}", f"results/{name}"
            collect.one_file(self._store, key, out, path, maximum=RESULT_BYTES, found=found)
        collect.files(
            self._store,
            prefix,
            self._folder.file("work"),
            self._orders["keep"],
            self._orders["inputs"],
            found,
            self._orders["limits"]["disk_bytes"],
        )
        self._report.update(notebook=notebook, files=found.files, filesTotal=found.total, filesBytes=found.bytes)
        self._report.condition(found.condition())

    def _close_log(self) -> tuple[dict[str, Any], str]:
        """What became of the log, and why the store did not take it; empty if it did."""
        if isinstance(self._log, LogRecord):  # a supervisor closed it that died before it could say so
            return self._describe(self._log, complete=True), ""
        try:
            return self._describe(self._log.close(LOG_SECONDS), complete=True), ""
        except (StoreError, OSError) as error:
            name = os.path.basename(self._folder.path)
            problem = f"The end of the log could not be stored and is kept where the job ran, as {name}: {error}"
            record = self._describe(self._log.state(), complete=False)
            self._report.condition(
                {"type": "LogComplete", "status": "False", "reason": "StoreAway", "message": problem}
            )
            return record, problem

    def _describe(self, record: LogRecord, *, complete: bool) -> dict[str, Any]:
        if record.gap:
            self._report.condition(
                {
                    "type": "LogComplete",
                    "status": "False",
                    "reason": "Capped",
                    "message": f"The log was longer than the {self._orders['limits']['log_bytes']} bytes kept: bytes "
                    f"{record.gap[0]} to {record.gap[1]} are left out.",
                }
            )
        if record.missing:
            self._report.condition(
                {
                    "type": "LogComplete",
                    "status": "False",
                    "reason": "StoreAway",
                    "message": f"{record.missing} bytes of the log are missing: the store was away too long.",
                }
            )
        return {"size": record.size, "complete": complete, "gap": record.gap, "missing": record.missing}
