"""A TCP proxy that harms what passes: it cuts answers, damages requests, or loses an answer on the way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Harm = Callable[[bytes], "bytes | None"]
"""What becomes of a piece; None: both sides are hung up on."""


def unharmed(data: bytes) -> bytes:
    return data


class Proxy:
    """Between clients and ``127.0.0.1:port``. ``sent`` and ``answered`` may be exchanged at any time."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.sent: Harm = unharmed
        self.answered: Harm = unharmed
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self._open += [client, server]
            for source, target, which in ((client, server, "sent"), (server, client, "answered")):
                self._threads.append(threading.Thread(target=self._pass, args=(source, target, which)))
                self._threads[-1].start()

    def _pass(self, source: socket.socket, target: socket.socket, which: str) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                passed = getattr(self, which)(data)
                if passed is None:
                    break
                target.sendall(passed)
        _hang_up(source, target)

    def close(self) -> None:
        """Hang up on everybody."""
        _hang_up(self._server, *self._open)
        for thread in self._threads:
            thread.join()


def _hang_up(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()  # a shut socket still takes what is sent to it


@contextmanager
def before(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


def once(harm: Harm) -> Harm:
    """Only the first piece that it changes."""
    done: list[int] = []

    def harmed(data: bytes) -> bytes | None:
        if done:
            return data
        changed = harm(data)
        if changed != data:
            done.append(1)
        return changed

    return harmed
