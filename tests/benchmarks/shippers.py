"""A process that ships many logs as the sidecars of as many pods would: same shipper, same signed form, same store.

``python -m tests.benchmarks.shippers ORDERS SECONDS``: ORDERS is a JSON file, a list of ``{"prefix", "post"}``; the
form is the one that the attempt's Secret holds. Only what a pod has beside it is left out: the job, and its ring file.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from jupyter_trainjob.backends.kubernetes.pod.shipper import Shipper
from jupyter_trainjob.storage.signed import open_signed

LINE_BYTES, LINES_PER_SECOND = 1747, 10
"""1 MiB a minute."""


class Printer:
    """What a job prints that prints on time: a line says when it was printed."""

    def __init__(self, begin: float, end: float) -> None:
        self._begin, self._end = begin, end
        self._text = bytearray()
        self._lines = 0

    def _print(self) -> None:
        now = min(time.time(), self._end)
        while (at := self._begin + self._lines / LINES_PER_SECOND) <= now:
            self._text += f"{at:.6f} ".encode().ljust(LINE_BYTES - 1, b".") + b"\n"
            self._lines += 1

    def read(self, offset: int, limit: int, *, jump: bool = False) -> tuple[int, bytes]:
        """See :class:`.ring.RingReader`."""
        self._print()
        return offset, bytes(self._text[offset : offset + limit])

    def waiting(self, offset: int) -> int:
        """See :class:`.ring.RingReader`."""
        self._print()
        return len(self._text) - offset


def main(orders: str, ca_file: str, begin: float, end: float) -> None:
    """Ship until ``end``, seconds since 1970, then close all logs."""
    shippers = []
    told = json.loads(Path(orders).read_text())
    with tempfile.TemporaryDirectory() as folder:
        for number, one in enumerate(told):
            # Not all on the beat: nobody's jobs print at the same instant.
            printer = Printer(begin + 0.1 * number / len(told), end)
            store = open_signed(one["post"], ca_file)
            shippers.append(Shipper(store, one["prefix"], printer, f"{folder}/{number}", cap_bytes=64 * 2**20))
        for shipper in shippers:
            shipper.start()
            time.sleep(0.5 / len(told))
        while time.time() < end + 1:
            for shipper in shippers:
                shipper.tend()
            time.sleep(0.05)
        for shipper in shippers:
            shipper.end(time.monotonic() + 30, more_bytes=2**20)
        for shipper in shippers:
            shipper.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
