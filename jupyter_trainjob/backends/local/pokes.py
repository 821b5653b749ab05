"""Hears supervisors say that their ``state.json`` changed: datagrams to a socket beside the attempts' folders."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import socket
from collections.abc import Callable

from ..base import AttemptRef

_POKE = re.compile(rb'\{"uid": "([^"\\]{1,200})", "attempt": ([0-9]{1,9})\}')
_MOST_AT_ONCE = 1000


class Pokes:
    """Calls ``poked(ref)`` on the running loop for each. A poke may get lost: look now and then all the same."""

    def __init__(self, run_folder: str, poked: Callable[[AttemptRef], None]) -> None:
        self._poked = poked
        self._loop = asyncio.get_running_loop()
        self._path = os.path.join(run_folder, f"{os.getpid()}-{secrets.token_hex(4)}.sock")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        directory = os.open(run_folder, os.O_RDONLY | os.O_DIRECTORY)
        try:  # a socket's path may have 107 bytes at most
            self._socket.bind(f"/proc/self/fd/{directory}/{os.path.basename(self._path)}")
        finally:
            os.close(directory)
        self._loop.add_reader(self._socket, self._hear)

    def _hear(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                match = _POKE.fullmatch(self._socket.recv(4096))
            except BlockingIOError:
                return
            if match:
                self._poked(AttemptRef(match[1].decode(), int(match[2])))

    def close(self) -> None:
        """Hear no more."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def remove(self) -> None:
        """Take the closed socket's name away. Blocks."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
