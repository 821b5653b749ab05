"""A small server over a real socket that does what a sound one never does: breaks off, lies about paths, refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers by the table of its server: ``(method, path below the API)``."""

    protocol_version = "HTTP/1.1"
    server: Broken

    def _do(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0].removeprefix("/trainjob/api/v1")
        self.server.asked.append((self.command, path, dict(self.headers)))
        answer = self.server.answers.get((self.command, path))
        if answer is None:
            self.send({"kind": "Status", "code": 404, "reason": "NotFound", "message": f"no {path}"}, 404)
        else:
            answer(self)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _do

    def send(self, data: Any, status: int = 200, **headers: str) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


class Broken(ThreadingHTTPServer):
    """The server; ``asked`` lists the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[tuple[str, str], Answer] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        me = {"username": "bob", "namespaces": [{"name": "bob", "role": "own"}]}
        self.answers["GET", "/me"] = lambda handler: handler.send(me)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def job(self, owner: str, outputs: dict[str, Any]) -> str:
        """A finished job; its path."""
        path = "/namespaces/bob/trainjobs/u1"
        meta = {"uid": "u1", "name": "j-1", "namespace": "bob", "owner": owner}
        ended = {"phase": "Succeeded", "attempts": [{"number": 1}]}
        job = {"kind": "TrainJob", "metadata": meta, "spec": {}, "status": ended}
        self.answers["GET", path] = lambda handler: handler.send(job)
        self.answers["GET", "/namespaces/bob/trainjobs/j"] = lambda handler: handler.send(job)
        self.answers["GET", f"{path}/outputs"] = lambda handler: handler.send(outputs)
        return path


@contextmanager
def broken() -> Iterator[Broken]:
    server = Broken()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
