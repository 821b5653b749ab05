"""``jupyter trainjob doctor``: does all that jobs need work, here or in the cluster?"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_core.paths import jupyter_path
from sqlalchemy.exc import SQLAlchemyError

from ..backends.base import BackendError
from ..backends.findings import Finding, Level, fail, ok, warn, worst
from ..backends.kubernetes.connect import Access, Connection
from ..backends.local.doctor import Local
from ..backends.local.doctor import examine as examine_local
from ..config import LocalBackendSettings
from ..resources.errors import TrainJobError
from ..storage.base import StoreError
from ..store.engines import make_engines, parse_url
from ..store.filesystems import refuse_network_filesystem
from ..verbs.options import argument
from ..verbs.parser import Parser
from .admin import COMMON, started, stderr, summary, tell
from .configuration import Configuration, ConfigurationError
from .terminal import Screen

if TYPE_CHECKING:
    from ..storage.s3 import S3Store

PROG = "jupyter trainjob doctor"
_ARGUMENTS = (
    *COMMON,
    argument(
        "--sandbox",
        action="store_true",
        help="Attack the sandbox that jobs get on this machine, harmlessly, for a minute or two: attack, contained or "
        "not, by what.",
    ),
    argument("--only", metavar="NAMES", default="", help="With --sandbox: these attacks alone, as bpf,homes."),
    argument("-o", "--output", metavar="FORMAT", choices=("table", "json"), default="table", help="table or json."),
)
_STATUSES = (
    "exit status:\n  0    nothing has to be mended\n  1    something has\n"
    "  2    the command line or the configuration can't be read"
)


def doctor_main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    parser = Parser(
        PROG, "Try whether all that jobs need works, and say how to mend what does not.", _ARGUMENTS, _STATUSES
    )
    if (begun := started(parser, argv)) is None:
        return 0
    options, words, screen = begun
    try:
        if options.only and not options.sandbox:
            raise ConfigurationError("--only names attacks on the sandbox; give --sandbox, too")
        if options.sandbox:
            return _attack(Configuration(options.config, words), options, screen)
        found = tell(
            diagnose(Configuration(options.config, words), options.backend),
            screen if options.output == "table" else None,
        )
    except ConfigurationError as error:
        stderr(f"{PROG}: {error}")
        return 2
    if options.output == "json":
        screen.write(json.dumps([finding.to_dict() for finding in found], indent=2) + "\n")
    else:
        screen.write(summary(found))
    return 1 if worst(found) == "fail" else 0


def _attack(configuration: Configuration, options: Any, screen: Screen) -> int:
    """Raises :class:`ConfigurationError`."""
    from .sandbox import attack_machine, chosen

    backend, only = options.backend, chosen(options.only)
    names = configuration.backends("local")
    if not names or (backend and backend not in names):
        raise ConfigurationError(f"--sandbox is for backends of type local; there are: {', '.join(names) or 'none'}")
    try:
        local = _local(configuration, backend or names[0])
        return attack_machine(local, screen, as_json=options.output == "json", only=only)
    except BackendError as error:
        stderr(f"{PROG}: {error} {error.remedy}".rstrip())
        return 1


async def diagnose(
    configuration: Configuration, backend: str = "", *, patience_seconds: float = 0.0
) -> AsyncIterator[Finding]:
    """All findings, as they come. Raises :class:`ConfigurationError`."""
    clusters = configuration.backends("kubernetes")
    here = not backend or backend not in clusters
    in_cluster = clusters and (not backend or backend in clusters)
    local = configuration.backends("local") if here else []
    if local or not clusters:
        yield await asyncio.to_thread(_database, configuration)
    if local:
        for finding in await asyncio.to_thread(examine_local, _local(configuration, backend or local[0])):
            yield finding
    store: S3Store | None = None
    if configuration.store_settings.url:
        try:
            store = configuration.bucket()
        except ConfigurationError as error:
            yield fail("store", str(error), "See the message.")
    else:
        yield _folder(pods=bool(in_cluster))
        if in_cluster:
            return
    if store is not None:
        findings = await asyncio.to_thread(_bucket, configuration, store, bool(in_cluster))
        for finding in findings:
            yield finding
        if any(finding.level == "fail" for finding in findings):
            store = None
    if in_cluster:
        async for finding in _cluster(configuration, backend, store, patience_seconds):
            yield finding


async def _cluster(
    configuration: Configuration, backend: str, store: S3Store | None, patience_seconds: float
) -> AsyncIterator[Finding]:
    _, settings = configuration.cluster(backend)
    from ..backends.kubernetes.deploy.bounds import NoPeer
    from ..backends.kubernetes.deploy.plan import manifests
    from ..backends.kubernetes.doctor.examine import Patient, examine

    plan = configuration.plan(backend, examined=True)
    try:
        policies = manifests(replace(plan, parts=["network"]))
    except NoPeer as error:
        policies = []
        yield warn("network policies", str(error), "Until then they are looked for by name alone.")
    patient = Patient(settings, plan.deploy, store, configuration.pods_url, patience_seconds, policies)
    try:
        api = await Connection.open(Access(settings.kubeconfig, settings.context))
    except BackendError as error:
        yield fail("cluster", error.message, error.remedy)
        return
    try:
        async for finding in examine(api, patient):
            yield finding
    except BackendError as error:
        yield fail("cluster", error.message, error.remedy or "Try again.")
    finally:
        await api.close()


def _local(configuration: Configuration, name: str) -> Local:
    made = LocalBackendSettings(parent=configuration.extension)
    for option, value in configuration.extension.backends[name].items():
        if option != "type":
            setattr(made, option, value)
    return Local(
        data_dir=configuration.data_dir,
        python=made.python or sys.executable,
        kernelspec_dirs=tuple(made.kernelspec_dirs or jupyter_path("kernels")),
        minimum_isolation=made.minimum_isolation,
        host_network=made.host_network,
        bwrap=made.bwrap,
        allow_bwrap=made.allow_bwrap,
        allow_cgroups=made.allow_cgroups,
        allow_landlock=made.allow_landlock,
        uids=(made.uid_first, made.uid_last),
    )


def _database(configuration: Configuration) -> Finding:
    url = configuration.extension.db_url
    mend = "Set TrainJobExtension.db_url."
    try:
        parsed_url = parse_url(url)
        if parsed_url.get_backend_name() == "sqlite":
            refuse_network_filesystem(Path(str(parsed_url.database)))
            return ok("record", f"SQLite at {parsed_url.database}, on a local disk.")
        engines = make_engines(parsed_url)
        try:
            with engines.read.connect():
                return ok("record", f"{engines.where} answers.")
        finally:
            engines.dispose()
    except TrainJobError as error:
        return fail("record", str(error), error.remedy or mend)
    except (SQLAlchemyError, ImportError) as error:
        text = str(error).splitlines()[0]
        return fail("record", f"The database does not answer: {text}", f"Look whether it runs. {mend}")


def _folder(*, pods: bool) -> Finding:
    if not pods:
        return ok("store", "Uploads, logs and outputs lie in the data folder.")
    return fail(
        "store",
        "Uploads, logs and outputs lie in a folder of this machine, which pods can't reach.",
        "Set ObjectStoreSettings.url to a bucket of MinIO or another S3 server.",
    )


def _bucket(configuration: Configuration, store: S3Store, pods: bool) -> list[Finding]:
    from ..storage.s3doctor import look
    from ..storage.s3setup import check, ensure_bucket

    wanted = configuration.store_settings
    try:
        if wanted.create_bucket:  # as the server would at its start, which may be still to come
            ensure_bucket(store, create=True, expire_days=wanted.expire_days)
        found = [_told(tried, "fail") for tried in check(store, pods=pods)]
        if found[0].level != "fail":
            seen = configuration.pods_url if pods else ""
            more = look(store, expire_days=wanted.expire_days, pods_url=seen)
            found += [_told(tried, "warn") for tried in more]
    except StoreError as error:
        return [fail("store", str(error), "See the message.")]
    return found


def _told(tried: Any, otherwise: Level) -> Finding:
    """What the store's own module found out."""
    if tried.ok:
        return ok("store", f"{tried.what}.")
    return Finding("store", otherwise, f"{tried.what}: {tried.message}", tried.remedy)
