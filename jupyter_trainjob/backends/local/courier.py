"""Bring the executed notebook and the figures of use home while the attempt runs, without holding up the watch."""

from __future__ import annotations

import threading
from typing import Any

from ...storage.base import ObjectStore, StoreError
from . import collect
from .folder import Folder

NOTEBOOK_BYTES = 256 * 2**20
INTERVAL_SECONDS = 1.0
USAGE = "usage.json"


class Courier:
    """One thread, started when it is first needed; many requests in a row become one shipment."""

    def __init__(self, store: ObjectStore, folder: Folder, orders: dict[str, Any]) -> None:
        self._store, self._folder = store, folder
        self._key = f"{orders['prefix']}notebook.ipynb"
        self._usage_key = f"{orders['prefix']}{USAGE}"
        self._usage = b""
        self._notebook_changed = False
        self._wanted = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def notebook(self) -> None:
        """The notebook changed."""
        self._notebook_changed = True
        self._want()

    def usage(self, data: bytes) -> None:
        """What is used so far, to be sent soon; the latest wins."""
        self._usage = data
        self._want()

    def usage_now(self, data: bytes) -> None:
        """Send it. Raises ``StoreError``."""
        self._store.put(self._usage_key, data, durable=False)

    def _want(self) -> None:
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):  # waits first: a short job's notebook is only sent at its end
            self._wanted.wait()
            self._wanted.clear()
            if self._stop.is_set():
                return
            try:
                self._send()
            except StoreError:
                self._wanted.set()  # the store is away: try again; the end tells if it stays away

    def _send(self) -> None:
        if self._notebook_changed:
            self._notebook_changed = False
            try:
                self.now()
            except StoreError:
                self._notebook_changed = True
                raise
        if data := self._usage:
            self.usage_now(data)
            self._usage = b"" if self._usage is data else self._usage

    def now(self, found: collect.Collected | None = None) -> bool:
        """Send it; False where there is none (remarks go to ``found``). Raises ``StoreError``."""
        out, name = self._folder.file("out"), "notebook.ipynb"
        return collect.one_file(self._store, self._key, out, name, maximum=NOTEBOOK_BYTES, found=found) is not None

    def close(self) -> None:
        """Nothing more is sent after this returns."""
        self._stop.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()
