"""A real Kubernetes node, its control plane and MinIO, in namespaces of their own on this machine.

``Cluster`` starts and stops it. What runs where:

- ``inside`` and ``supervisor.py`` are its first process, in fresh mount, network and pid namespaces: nothing of the
  machine is changed, nothing leads out, two clusters don't meet, and when this process ends everything ends. It ends
  when its standard input does, so that a test run that is killed leaves nothing that runs.
- Tests stay outside. They reach the API server and MinIO on two ports of the machine's loopback; pods reach both at
  10.88.0.1.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx

from . import components, pki
from .components import API_PORT, MINIO_PORT
from .pki import GATEWAY, NODE

HERE = Path(__file__).parent
MEMORY_BYTES = 3 << 30
PROGRAMS = ("unshare", "nsenter", "ip", "iptables", "nft", "openssl", "gcc", "pkg-config", "apt-get", "dpkg-deb")
CGROUPS = Path("/sys/fs/cgroup")


@cache
def why_not() -> str | None:
    """Why there can be no cluster here, for the reader of a skipped test; None where one can be."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "the test cluster makes namespaces and mounts, which needs root on Linux"
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"the test cluster needs {', '.join(missing)} (scripts/test installs what it can)"
    found = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True) if shutil.which("go") else None
    version = re.match(r"go(\d+)\.(\d+)", found.stdout) if found else None
    if version is None or (int(version[1]), int(version[2])) < (1, 26):
        return f"the test cluster is built with Go ≥ 1.26; here is {found.stdout.strip() if found else 'none'}"
    available = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    if available and int(available[1]) * 1024 < MEMORY_BYTES:
        return f"the test cluster needs {MEMORY_BYTES >> 30} GiB of memory; {int(available[1]) >> 10} MiB are free"
    tried = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, text=True)
    return f"root may make no namespaces here: {tried.stderr.strip()}" if tried.returncode else None


@cache
def programs() -> tuple[Path, Path]:
    """The folders of the programs and of the images; what is missing is made, which takes minutes the first time."""
    made = [
        subprocess.run([HERE / step], stdout=subprocess.PIPE, text=True, check=True) for step in ("build", "images")
    ]
    folders = [Path(step.stdout.split()[-1]) for step in made]
    return folders[0], folders[1]


@dataclass(frozen=True)
class ObjectStoreAddress:
    """Where an S3 server is: ``url`` for tests and the server under test, ``pod_url`` for pods."""

    url: str
    pod_url: str
    access_key: str
    secret_key: str
    ca_file: str = ""


class ClusterError(Exception):
    """A step of starting or steering the cluster failed; the message ends with the component's last words."""


class Cluster:
    """``start`` it, use it, ``stop`` it. Components are named as their programs: ``kube-apiserver``, ``minio``, …"""

    python_image, pull_policy = "localhost/trainjob-tests/python:3", "Never"

    def __init__(self) -> None:
        self.bin, self.images = programs()
        self.state = Path()
        self._namespaces: subprocess.Popen[bytes] | None = None
        self._open = contextlib.ExitStack()
        self._imported: set[Path] = set()
        self._ready: dict[str, Callable[[], bool]] = {
            "kube-apiserver": lambda: self._answers(self._api, "/readyz"),
            "minio": lambda: self._answers(self._store, "/minio/health/live"),
            "containerd": lambda: self.run([*self._ctr, "version"], check=False).returncode == 0,
            "kubelet": self._node_is_ready,
            "kube-network-policies": self._queue_is_open,
        }

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Return when a pod could run. Raises ClusterError, and leaves nothing."""
        try:
            self._make_state()
            self._make_namespaces()
            self._bring_up()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything and leave nothing but the programs and images."""
        if (process := self._namespaces) is not None:
            process.kill()
            process.communicate()
        self._open.close()
        if (lock := self.state / "lock").exists():
            with lock.open() as held:
                fcntl.flock(held, fcntl.LOCK_SH)  # the first process inside dies by the end of the one that was killed
        remove_runs(self.bin.parent)

    def _make_state(self) -> None:
        """A folder for keys, kubeconfigs and logs. Its lock is held as long as anything of the cluster lives."""
        remove_runs(self.bin.parent)
        with alone(self.bin.parent):
            self.state = Path(tempfile.mkdtemp(prefix="run-", dir=self.bin.parent))
            self._lock = self._open.enter_context((self.state / "lock").open("w"))
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.listeners = [self._open.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        self.api_url, store = (f"https://127.0.0.1:{listener.getsockname()[1]}" for listener in self.listeners)
        keys = self.state / "pki"
        pki.make(keys)
        for name in pki.CLIENTS:
            inside = pki.kubeconfig(keys, f"https://{GATEWAY}:{API_PORT}", name)
            (self.state / f"{name}.kubeconfig").write_text(inside)
        self.kubeconfig = self.state / "kubeconfig"
        self.kubeconfig.write_text(pki.kubeconfig(keys, self.api_url, "admin"))
        (self.state / "minio").mkdir()
        shutil.copy(keys / "minio.crt", self.state / "minio" / "public.crt")
        shutil.copy(keys / "minio.key", self.state / "minio" / "private.key")
        (self.state / "log").mkdir()
        ca = str(keys / "ca.crt")
        self.minio = ObjectStoreAddress(
            store, f"https://{GATEWAY}:{MINIO_PORT}", "trainjob-tests", "secret-of-tests", ca
        )
        trust = ssl.create_default_context(cafile=ca)
        self._store = self._client(store, trust)
        trust = ssl.create_default_context(cafile=ca)
        trust.load_cert_chain(keys / "admin.crt", keys / "admin.key")
        self._api = self._client(self.api_url, trust)

    def _client(self, url: str, trust: ssl.SSLContext) -> httpx.Client:
        return self._open.enter_context(httpx.Client(base_url=url, verify=trust, timeout=30, trust_env=False))

    def _make_namespaces(self) -> None:
        relays = [
            (listener.fileno(), GATEWAY, port)
            for listener, port in zip(self.listeners, (API_PORT, MINIO_PORT), strict=True)
        ]
        unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
        self.cgroup = f"trainjob-{self.state.name}"
        arguments = [HERE / "inside", self.state, self.bin, self.cgroup, sys.executable, json.dumps(relays)]
        with (self.state / "log" / "inside.log").open("wb") as log:
            self._namespaces = subprocess.Popen(
                [*unshare, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # ^C ends the tests, which then end this
                pass_fds=[self._lock.fileno(), *(listener.fileno() for listener in self.listeners)],
            )
        for listener in self.listeners:
            listener.close()
        run = {"pid": self._namespaces.pid, "by": os.getpid(), "in": str(Path.cwd())}
        (self.state / "run.json").write_text(json.dumps(run))
        self._until("its namespaces", lambda: (self.state / "control").exists(), "inside", 20)

    def _bring_up(self) -> None:
        self.add("etcd", components.etcd())
        self.add("kube-apiserver", components.kube_apiserver())
        self.add("containerd", components.containerd())
        store = {"MINIO_ROOT_USER": self.minio.access_key, "MINIO_ROOT_PASSWORD": self.minio.secret_key}
        off = dict.fromkeys(("MINIO_BROWSER", "MINIO_UPDATE", "MINIO_CALLHOME_ENABLE"), "off")
        self.add("minio", components.minio(), store | off)
        self.wait_for("containerd")
        for image in ("pause", "python"):
            self.import_image(self.images / f"{image}.tar")
        self.wait_for("kube-apiserver")
        self.add("kube-controller-manager", components.kube_controller_manager())
        self.add("kube-scheduler", components.kube_scheduler())
        self.add("kubelet", components.kubelet(self.cgroup))
        self.add("kube-proxy", components.kube_proxy())
        self.add("kube-network-policies", components.kube_network_policies())
        for component in ("kubelet", "kube-network-policies", "minio"):
            self.wait_for(component)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._until("a service account", lambda: self._answers(self._api, account), "kube-controller-manager", 60)

    # --- components -------------------------------------------------------------------------------------------------

    def add(self, component: str, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        """Run one more process inside, known by the name ``component`` from now on; its log is ``log(component)``."""
        self._tell("add", name=component, command=list(command), environment=environment or {})

    def send(self, component: str, number: signal.Signals) -> None:
        """Send a signal and don't wait: SIGSTOP makes a component hang, SIGCONT lets it go on."""
        self._tell("signal", name=component, number=int(number), wait=False)

    def kill(self, component: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Return when the process is gone."""
        self._tell("signal", name=component, number=int(number), wait=True)

    def revive(self, component: str) -> None:
        """Start a component that was ended, as it was; return when it answers."""
        self._tell("start", name=component)
        self.wait_for(component)

    def restart(self, component: str, number: signal.Signals = signal.SIGKILL) -> None:
        self.kill(component, number)
        self.revive(component)

    def wait_for(self, component: str, seconds: float = 90) -> None:
        if component in self._ready:
            self._until(f"{component} to be ready", self._ready[component], component, seconds)

    def log(self, component: str) -> str:
        return (self.state / "log" / f"{component}.log").read_text("utf-8", "replace")

    # --- use --------------------------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl printed. Raises ClusterError with its message if it failed."""
        command = [self.bin / "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True)
        if done.returncode:
            raise ClusterError(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *objects: object) -> None:
        """Create or change objects, given in wire form."""
        documents = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=documents)

    def run(
        self, command: Sequence[str | Path], *, check: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root on the node: with the pods' network, KUBECONFIG and the programs on PATH."""
        environment = {"PATH": f"/run/bin:{os.environ['PATH']}", "KUBECONFIG": "/run/state/admin.kubeconfig"}
        done = subprocess.run(
            [*enter(self._pid), *command],
            env={**os.environ, **environment},
            input=stdin,
            capture_output=True,
            text=True,
        )
        if check and done.returncode:
            raise ClusterError(f"{command} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    def import_image(self, archive: Path) -> None:
        """Give the node an image (an OCI or docker archive); pods name it with ``imagePullPolicy: Never``.

        Once is enough: the node removes none by itself, and to read hundreds of megabytes again takes seconds.
        """
        archive = archive.resolve()
        if archive not in self._imported:
            self.run([*self._ctr, "images", "import", "--local", archive])
            self._imported.add(archive)

    @contextlib.contextmanager
    def fake_nodes(self, count: int) -> Iterator[list[str]]:
        """The names of ``count`` nodes of kwok: each has 64 CPUs and 200 pods; pods of Jobs there succeed at once."""
        if "kwok" not in self.status():
            self.add("kwok", components.kwok())
        nodes = [components.fake_node(number) for number in range(count)]
        names = [f"fake-{number}" for number in range(count)]
        self.apply(*nodes)
        try:
            self.kubectl("wait", "--for=condition=Ready", "node", *names, "--timeout=60s")
            yield names
        finally:
            self.kubectl("delete", "node", *names, "--wait=false")

    def status(self) -> dict[str, int | None]:
        """The exit code of each component; None while it runs."""
        codes: dict[str, int | None] = self._tell("status")["codes"]
        return codes

    # --- how it is done ---------------------------------------------------------------------------------------------

    @property
    def _pid(self) -> int:
        if self._namespaces is None:
            raise ClusterError("the cluster does not run")
        return self._namespaces.pid

    @property
    def _ctr(self) -> list[str]:
        return ["ctr", "--address", "/run/containerd.sock", "--namespace", "k8s.io"]

    def _tell(self, do: str, **request: object) -> dict[str, dict[str, int | None]]:
        return tell(self.state, do, **request)

    def _until(self, what: str, check: Callable[[], bool], component: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not check():
            dead = self._namespaces is not None and self._namespaces.poll() is not None
            if not dead and component != "inside":
                dead = self.status().get(component) is not None
            if dead or time.monotonic() > deadline:
                how = "it ended" if dead else f"not within {seconds} s"
                raise ClusterError(
                    f"waited for {what}: {how}. {component} said at last:\n{self.log(component)[-4000:]}"
                )
            time.sleep(0.05)

    def _answers(self, client: httpx.Client, path: str) -> bool:
        try:
            return client.get(path).is_success
        except httpx.TransportError:
            return False

    def _node_is_ready(self) -> bool:
        """Kubelet answers, and what it reported is not older than it."""
        if not self._answers(self._api, f"/api/v1/nodes/{NODE}/proxy/healthz"):
            return False
        try:
            answer = self._api.get(f"/api/v1/nodes/{NODE}")
        except httpx.TransportError:
            return False
        conditions = answer.json()["status"].get("conditions", []) if answer.is_success else []
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def _queue_is_open(self) -> bool:
        queues = Path(f"/proc/{self._pid}/net/netfilter/nfnetlink_queue").read_text()
        return any(line.split()[0] == "98" for line in queues.splitlines())


def enter(pid: int) -> list[str]:
    """The beginning of a command line that runs what follows in the namespaces that the process ``pid`` made."""
    inside = ["nsenter", f"--target={pid}", "--mount", "--net", f"--pid=/proc/{pid}/ns/pid_for_children"]
    return [*inside, f"--wd={Path.cwd()}", "--"]


def tell(state: Path, do: str, **request: object) -> dict[str, dict[str, int | None]]:
    """Ask a cluster's supervisor, and return its answer. Raises ClusterError with its message if it refused."""
    folder = os.open(state, os.O_PATH)  # a socket's path may have 107 bytes: this one is short
    try:
        with socket.socket(socket.AF_UNIX) as there:
            there.connect(f"/proc/self/fd/{folder}/control")
            there.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
            answer: dict[str, dict[str, int | None]] = json.loads(there.makefile().readline())
    finally:
        os.close(folder)
    if "error" in answer:
        raise ClusterError(f"{do}: {answer['error']}")
    return answer


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else begins or clears up a run meanwhile."""
    with (folder / "runs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def runs(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders of clusters of these programs: those that run, and what killed ones left."""
    alive, dead = [], []
    for state in folder.glob("run-*"):
        with contextlib.suppress(FileNotFoundError), (state / "lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                dead.append(state)
            except BlockingIOError:
                alive.append(state)
    return alive, dead


def remove_runs(folder: Path) -> None:
    """Take away what clusters left that run no more: their folders, and their control groups once these are empty."""
    with alone(folder):
        for state in runs(folder)[1]:
            for top in (*CGROUPS.glob(f"*/trainjob-{state.name}"), *CGROUPS.glob(f"trainjob-{state.name}")):
                remove_cgroup(top)
            shutil.rmtree(state)


def remove_cgroup(top: Path) -> None:
    """With all below it. Its last processes may be dying still."""
    deadline = time.monotonic() + 10
    while top.exists():
        try:
            for group in sorted((top, *(path for path in top.rglob("*") if path.is_dir())), reverse=True):
                group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
