"""A real kube-apiserver with its etcd, alone: it needs no root. And a proxy before it that does harm when told to."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from aiohttp import AddrInfoType, ClientError, ClientSession, ClientTimeout, TCPConnector, web

from tests.cluster import pki

BUILD = Path(__file__).parents[2] / "cluster" / "build"


@functools.cache
def programs() -> Path | None:
    """The folder of the programs, built if need be; None where they can't be."""
    if given := os.environ.get("TRAINJOB_TEST_BIN"):
        return Path(given)
    if shutil.which("go") is None or shutil.which("openssl") is None:
        return None
    made = subprocess.run([BUILD, "etcd", "kubernetes"], stdout=subprocess.PIPE, text=True, check=False)
    return Path(made.stdout.split()[-1]) if made.returncode == 0 else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ApiServer:
    """``kubeconfig("admin")`` may do all; ``stop``, ``kill`` and ``start`` keep what is in etcd."""

    def __init__(self, folder: Path, bin: Path) -> None:
        self.folder, self.bin, self.pki = folder, bin, folder / "pki"
        self.port, self._etcd_port, peer = free_port(), free_port(), free_port()
        pki.make(self.pki)
        pki.Authority(folder, "other")
        pki.Authority.issue(self._ours(), "student", "/CN=student", "clientAuth")
        etcd, peers = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{peer}"
        self._etcd = self._start(
            "etcd",
            f"--data-dir={folder}/etcd",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def kubeconfig(self, name: str, url: str = "") -> str:
        path = self.folder / f"{name}-{len(list(self.folder.iterdir()))}.kubeconfig"
        path.write_text(pki.kubeconfig(self.pki, url or self.url, name))
        return str(path)

    def start(self) -> None:
        p = self.pki
        self._process = self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            f"--client-ca-file={p}/ca.crt",
            f"--tls-cert-file={p}/apiserver.crt",
            f"--tls-private-key-file={p}/apiserver.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={p}/service-accounts.pub",
            f"--service-account-signing-key-file={p}/service-accounts.key",
            "--profiling=false",
        )
        until = time.monotonic() + 120
        with self.client() as client:
            while True:
                try:
                    if client.get("/readyz").status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                assert time.monotonic() < until and self._process.poll() is None, self.log()[-3000:]
                time.sleep(0.1)

    def client(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=self.pki / "ca.crt")
        context.load_cert_chain(self.pki / "admin.crt", self.pki / "admin.key")
        return httpx.Client(base_url=self.url, verify=context, timeout=20, trust_env=False)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def end(self) -> None:
        self.kill()
        self._etcd.kill()
        self._etcd.wait()

    def log(self) -> str:
        return (self.folder / "kube-apiserver.log").read_text(errors="replace")

    def _ours(self) -> pki.Authority:
        """The authority that :func:`pki.make` made."""
        found = object.__new__(pki.Authority)
        found.folder, found.name, found.settings = self.pki, "ca", self.pki / "openssl.cnf"
        return found

    def _start(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{program}.log").open("ab") as log:
            environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
            return subprocess.Popen([self.bin / program, *options], stdout=log, stderr=log, env=environment)


@dataclass
class Fault:
    """What is done to ``times`` requests that ``match(method, path_qs)``."""

    match: Callable[[str, str], bool]
    times: int = 1
    status: int = 0
    """Answer with it instead of asking the server."""
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, object] = field(default_factory=dict)
    silence: float = 0.0
    """Say nothing for so long, then break off."""
    lost: bool = False
    """Ask the server, but break off instead of passing its answer on."""
    cut_after: int | None = None
    """Break off after so many bytes of the answer."""
    event: str = ""
    """One line to send instead of a watch's events."""


class Proxy:
    """Passes everything on, but for its :attr:`faults`. :attr:`seen`: ``(method, path_qs)`` of all requests."""

    def __init__(self, server: ApiServer) -> None:
        self.server, self.port = server, free_port()
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, str]] = []
        self._requests: dict[int, web.Request] = {}
        self._sockets: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def count(self, part: str, method: str = "") -> int:
        return sum(1 for how, path in self.seen if part in path and method in ("", how))

    def cut_all(self) -> None:
        """Break off all that is under way: what a load balancer does when it restarts."""
        for request in list(self._requests.values()):
            if request.transport is not None:
                request.transport.abort()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Proxy]:
        context = ssl.create_default_context(cafile=self.server.pki / "ca.crt")
        context.load_cert_chain(self.server.pki / "admin.crt", self.server.pki / "admin.key")
        own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        own.load_cert_chain(self.server.pki / "apiserver.crt", self.server.pki / "apiserver.key")
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._pass)
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        connector = TCPConnector(ssl=context, socket_factory=self._socket)
        async with ClientSession(connector=connector, trust_env=False) as self._session:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=own).start()
            try:
                yield self
            finally:
                self.cut_all()
                await runner.cleanup()
                await connector.close(abort_ssl=True)
                await asyncio.wait_for(self._all_closed(), 10)

    async def _all_closed(self) -> None:
        """What was cut says farewell over TLS: the loop has to outlast it."""
        while any(one.fileno() != -1 for one in self._sockets):
            await asyncio.sleep(0.01)

    def _socket(self, address: AddrInfoType) -> socket.socket:
        """One to the API server."""
        family, kind, protocol, _, _ = address
        self._sockets.append(socket.socket(family, kind, protocol))
        return self._sockets[-1]

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path_qs))
        self._requests[id(request)] = request
        try:
            return await self._answer(request)
        finally:
            del self._requests[id(request)]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        fault = next((f for f in self.faults if f.times > 0 and f.match(request.method, request.path_qs)), None)
        if fault is not None:
            fault.times -= 1
            if fault.silence:
                await asyncio.sleep(fault.silence)
                return self._break_off(request)
            if fault.event:
                return web.Response(text=fault.event + "\n", content_type="application/json")
            if fault.status:
                return web.json_response(fault.body, status=fault.status, headers=fault.headers)
        headers = {k: v for k, v in request.headers.items() if k in ("Accept", "Content-Type")}
        timeout = ClientTimeout(total=None)
        url, data = self.server.url + request.path_qs, await request.read()
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=data, timeout=timeout
            ) as answer:
                if fault is not None and fault.lost:
                    await answer.read()
                    return self._break_off(request)
                response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
                await response.prepare(request)
                left = fault.cut_after if fault is not None else None
                async for piece in answer.content.iter_any():
                    await response.write(piece if left is None else piece[:left])
                    if left is not None and (left := left - len(piece)) <= 0:
                        return self._break_off(request)
                return response
        except (ClientError, OSError):
            return self._break_off(request)

    def _break_off(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=502)
