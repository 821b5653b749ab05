"""What attacks aim at: all of it the suite's own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HOST = "10.99.77.1"
_METADATA = "169.254.169.254"


class Targets:
    """Servers that greet with :attr:`secret`, and files and processes that hold it. ``data_dir``: the backend's."""

    def __init__(self, data_dir: Path, store: Path) -> None:
        self.secret = f"secret-{secrets.token_hex(8)}"
        self.mark = f"mark-{secrets.token_hex(8)}"
        self._data_dir, self._store = data_dir, store
        self._close = contextlib.ExitStack()
        self._stopping = False
        self.given: dict[str, Any] = {}

    def __enter__(self) -> Targets:
        home = Path(tempfile.mkdtemp(prefix="trainjob-attacked-", dir=_home()))
        self._close.callback(shutil.rmtree, home, ignore_errors=True)
        files = {
            "home": home / "notes.txt",
            "tokens": self._data_dir / "attacked-tokens.json",
            "store": self._store / "objects/jobs/other/1/files/model.bin",
        }
        for path in files.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.secret)
            path.chmod(0o600)
        os.environ["TRAINJOB_ATTACKED"] = self.secret  # as a server has its token
        self._close.callback(os.environ.pop, "TRAINJOB_ATTACKED", None)
        sibling = self._process({"SERVER_TOKEN": self.secret})
        self.given = {
            **{name: [str(path)] for name, path in files.items()},
            "folders": [str(self._store), str(self._data_dir), str(self._data_dir / "run")],
            "job": [],
            "victims": [sibling],
            "server": sibling,
            "mark": self.mark,
            "network": Path("/proc/self/ns/net").stat().st_ino,
            **self._sockets(home),
            "semaphore": self._semaphore(),
        }
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._close.close()

    def add_victim(self, folder: str, pids: list[int]) -> None:
        """Another job: its folder and its processes."""
        self.given["job"] = [f"{folder}/work/secret.txt"]
        self.given["victims"] = [*pids, *self.given["victims"]]

    def _process(self, more: dict[str, str]) -> int:
        code = "import sys; sys.stdin.read()"
        made = subprocess.Popen([sys.executable, "-I", "-c", code], stdin=subprocess.PIPE, env={**os.environ, **more})
        assert made.stdin is not None
        self._close.callback(made.wait)
        self._close.callback(made.stdin.close)
        return made.pid

    def _sockets(self, home: Path) -> dict[str, Any]:
        abstract = f"trainjob-attacked-{secrets.token_hex(4)}"
        self._serve(socket.socket(socket.AF_UNIX), f"\0{abstract}")
        self._serve(socket.socket(socket.AF_UNIX), str(home / "s"))
        (home / "s").chmod(0o777)
        loopback = self._serve(socket.socket(), ("127.0.0.1", 0))
        given = {"abstract": abstract, "socket": str(home / "s"), "loopback": [loopback], "host": [loopback]}
        given["metadata"] = self._serve(socket.socket(), ("127.0.0.1", 0))
        with contextlib.suppress(OSError):  # aliases that are there only in a network namespace that was made for them
            given["metadata"] = self._serve(socket.socket(), (_METADATA, 80))
            given["host"] = [self._serve(socket.socket(), (_HOST, 0))]
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind(("127.0.0.1", 0))
        self._begin(names, self._answer)
        return {**given, "dns": names.getsockname()}

    def _serve(self, listener: socket.socket, place: Any) -> Any:
        try:
            listener.bind(place)
        except OSError:
            listener.close()
            raise
        listener.listen()
        self._begin(listener, self._greet)
        return listener.getsockname()

    def _begin(self, listener: socket.socket, work: Any) -> None:
        listener.settimeout(0.2)
        thread = threading.Thread(target=self._until_stopped, args=(listener, work), daemon=True)
        thread.start()
        self._close.callback(listener.close)
        self._close.callback(thread.join)

    def _until_stopped(self, listener: socket.socket, work: Any) -> None:
        while not self._stopping:
            with contextlib.suppress(TimeoutError, ConnectionError):
                work(listener)

    def _greet(self, listener: socket.socket) -> None:
        with listener.accept()[0] as taken:
            taken.sendall(self.secret.encode())

    def _answer(self, listener: socket.socket) -> None:
        _, sender = listener.recvfrom(2000)
        listener.sendto(self.secret.encode(), sender)

    def _semaphore(self) -> int:
        """The key of a System V semaphore of ours."""
        key = secrets.randbelow(2**30) + 1
        libc = ctypes.CDLL(None, use_errno=True)
        made = libc.semget(key, 1, 0o1600)
        if made >= 0:
            self._close.callback(libc.semctl, made, 0, 0)
        return key


def _home() -> str:
    home = os.path.expanduser("~")
    return home if os.access(home, os.W_OK) else tempfile.gettempdir()


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """Put this process into a network of its own, where the machine and a metadata service have addresses. Root only.

    What it starts is in it, too: to be used in a process that does nothing else.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
        raise OSError(ctypes.get_errno(), "can't make a network namespace")
    commands = [["link", "set", "lo", "up"]]
    commands += [["addr", "add", f"{address}/32", "dev", "lo"] for address in (_HOST, _METADATA)]
    for command in commands:
        subprocess.run(["ip", *command], check=True, capture_output=True)
    yield
