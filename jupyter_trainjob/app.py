"""The server extension: configures, wires, starts, stops. Holds no rule of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from contextlib import AsyncExitStack
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from pythonjsonlogger.json import JsonFormatter
from traitlets import Bool, Dict, Float, Integer, List, TraitError, Unicode, default

from .api import PREFIX, handlers_for
from .api.broken import handlers_for_broken
from .api.disk import DiskCheck
from .api.identity import IdentityService
from .api.metrics import Metrics
from .api.quota import NamespaceQuota
from .api.roles import Roles
from .api.services import ApiConfig, Services
from .api.sources import Inspector
from .api.submission import Submission
from .api.verbs import Verbs
from .backends.base import Backend
from .backends.kubernetes.configured import KubernetesBackendSettings
from .config import LocalBackendSettings, ObjectStoreSettings, SchedulingSettings
from .controllers import garbage
from .controllers.bootstrap import ensure_defaults
from .controllers.manager import ControllerManager, utc_now
from .controllers.retention import Retention
from .resources.errors import TrainJobError
from .resources.uris import UriError, read_uri
from .resources.words import counted
from .storage.base import ObjectStore, StoreError
from .store import Store

URL_VARIABLE = "JUPYTER_TRAINJOB_URL"
TOKEN_VARIABLE = "JUPYTER_TRAINJOB_TOKEN"  # noqa: S105 - a name, not a secret
DB_VARIABLE = "JUPYTER_TRAINJOB_DB_URL"
BACKENDS_GROUP = "jupyter_trainjob.backends"


class TrainJobExtension(ExtensionApp):
    """Sends notebook cells away as jobs."""

    name = "jupyter_trainjob"
    description = "Send notebook cells away as jobs, with queues, limits, logs and results"
    load_other_extensions = True
    default_url = "/lab"
    subcommands: dict[str, Any] = {}  # noqa: RUF012 - traitlets declares it so; jupyter_server's are not ours
    classes = [ObjectStoreSettings, SchedulingSettings, LocalBackendSettings, KubernetesBackendSettings]  # noqa: RUF012

    data_dir = Unicode(
        help="Folder of the record, the logs and outputs, and the running jobs. On a local disk. "
        "Two servers of one user may share it.",
    ).tag(config=True)
    db_url = Unicode(
        help="SQLAlchemy URL of the record: sqlite:///… or postgresql+psycopg://… Default: JUPYTER_TRAINJOB_DB_URL of "
        "the server's environment, which kernels don't inherit, else record.sqlite in data_dir.",
    ).tag(config=True)
    local_user = Unicode(
        help="Whose jobs they are where the server's token or password names nobody. Default: the server's OS user.",
    ).tag(config=True)
    operators = List(Unicode(), help="User names that may do everything.").tag(config=True)
    namespaces = List(Unicode(), help="Namespaces (courses, projects) there are beside each user's own.").tag(
        config=True
    )
    default_queue = Unicode("default", help="Where a job waits that names no queue. Made at the first start.").tag(
        config=True
    )
    default_profile = Unicode("default", help="What a job gets that names no profile. Made at the first start.").tag(
        config=True
    )
    backends = Dict(
        default_value={"local": {"type": "local"}},
        help="The places where jobs run, by name: {'local': {'type': 'local', …options of LocalBackendSettings…}, "
        "'cluster': {'type': 'kubernetes', …options of KubernetesBackendSettings…}}. "
        f"Other types come from the entry-point group {BACKENDS_GROUP}. A queue names one of them.",
    ).tag(config=True)
    remote_url = Unicode(
        help="URL of a shared service (jupyter trainjob serve). If set, this server only forwards to it, with the "
        "user's own token, and runs nothing itself.",
    ).tag(config=True)
    remote_token = Unicode(
        help="The user's token for remote_url. Default: JUPYTER_TRAINJOB_REMOTE_TOKEN, else JUPYTERHUB_API_TOKEN.",
    ).tag(config=True)
    kernel_access = Bool(
        True,
        help="Give kernels of this server a token of their own for the job API (in JUPYTER_TRAINJOB_TOKEN), so that "
        "%%trainjob works without set-up. It is good for nothing else.",
    ).tag(config=True)
    stored_bytes_per_user = Integer(20 * 2**30, min=0, help="Bytes of uploads one user may keep; 0 for no limit.").tag(
        config=True
    )
    stored_bytes_per_namespace = Integer(
        0,
        min=0,
        help="Bytes of uploads, logs and outputs that one namespace may keep. Beyond it outputs are still kept, but "
        "new uploads and jobs are refused until something is deleted; 0 for no limit.",
    ).tag(config=True)
    input_uris = List(
        Unicode(),
        help="URI prefixes below which jobs may name files as inputs, such as https://data.example.org/sets/ or "
        "file:///srv/course/. The server fetches them with its own rights. Default: none.",
    ).tag(config=True)
    input_uri_bytes = Integer(4 * 2**30, min=1, help="Largest input in bytes that is fetched by URI.").tag(config=True)
    max_upload_bytes = Integer(4 * 2**30, min=1, help="Largest single upload in bytes.").tag(config=True)
    max_body_bytes = Integer(8 * 2**20, min=1024, help="Largest JSON body in bytes.").tag(config=True)
    json_logs = Bool(
        False, help="Write the server's log as one JSON object a line, with the job's uid where a line is about one."
    ).tag(config=True)
    retention_days = Float(
        90.0, min=0, help="Ended jobs go after so many days, with logs and outputs; 0 keeps them for ever."
    ).tag(config=True)
    retention_jobs = Integer(
        10_000, min=0, help="So many ended jobs are kept in each namespace; 0 keeps them all."
    ).tag(config=True)
    upload_days = Float(30.0, min=0, help="Uploads that no job used for so many days go; 0 keeps them for ever.").tag(
        config=True
    )
    feed_changes = Integer(
        100_000, min=1000, help="So many changes are kept for clients that come back after a break."
    ).tag(config=True)

    @default("data_dir")
    def _default_data_dir(self) -> str:
        return str(Path(jupyter_data_dir()) / "trainjob")

    @default("db_url")
    def _default_db_url(self) -> str:
        given = os.environ.pop(DB_VARIABLE, "")  # it has a password in it
        return given or f"sqlite:///{Path(self.data_dir) / 'record.sqlite'}"

    @default("remote_token")
    def _default_remote_token(self) -> str:
        return os.environ.get("JUPYTER_TRAINJOB_REMOTE_TOKEN") or os.environ.get("JUPYTERHUB_API_TOKEN", "")

    # Wiring

    def initialize_settings(self) -> None:
        """Open the record and the object store, and make the object that the handlers get."""
        self.store: Store | None = None
        self.services: Services | None = None
        self.manager: ControllerManager | None = None
        self._asking: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._kernel_token = secrets.token_urlsafe(32) if self.kernel_access else ""
        if self.json_logs:
            self._write_json_logs()
        self.failure: Exception | None = None
        if self.remote_url:
            return
        try:
            self._open()
        except (TrainJobError, TraitError, StoreError, ValueError, OSError) as error:
            self._fail(error)
            if self.serverapp is not None and self.serverapp.reraise_server_extension_failures:
                raise

    def _fail(self, error: Exception) -> None:
        """Say it loudly: jupyter_server makes it one line among many and goes on."""
        self.failure = error
        self.log.critical("Jobs can't be run by this server: %s", error, exc_info=self.log.isEnabledFor(logging.DEBUG))

    def _open(self) -> None:
        data_dir = Path(self.data_dir)
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        (data_dir / "uploads").mkdir(exist_ok=True, mode=0o700)
        self.objects: ObjectStore = ObjectStoreSettings(parent=self).make(data_dir)
        self.store = Store.open(self.db_url, clock=utc_now)
        self._first_start(self.store)
        metrics = Metrics()
        self.manager = ControllerManager(
            self.store,
            self.objects,
            self._make_backends(),
            retention=Retention(
                self.retention_days or None, self.retention_jobs or None, self.feed_changes, self.upload_days or None
            ),
            policy=SchedulingSettings(parent=self).make(),
            registry=metrics.registry,
            log=self.log,
        )
        self.services = self._services(self.store, self.manager, metrics)
        self.settings["trainjob"] = self.services

    def initialize_handlers(self) -> None:
        """Our routes, or those that forward, or one that says why there are none."""
        if self.failure is not None:
            self.handlers.extend(handlers_for_broken(self.failure, self._identity()))
            return
        if self.remote_url:
            from .api import remote  # and with it a client of HTTP: 5 MB that who does not forward need not have

            self.handlers.extend(remote.handlers_for_remote(self.remote_url, self.remote_token, self._identity()))
            return
        assert self.services is not None
        self.handlers.extend(handlers_for(self.services))

    def _identity(self) -> IdentityService:
        return IdentityService(local_user=self.local_user, kernel_token=self._kernel_token, operators=self.operators)

    def _services(self, store: Store, manager: ControllerManager, metrics: Metrics) -> Services:
        roles = Roles(namespaces=self.namespaces, named=self._named_namespaces, store=store)
        submission = Submission(
            store=store,
            objects=self.objects,
            roles=roles,
            ranking=manager.ranking,
            default_queue=self.default_queue,
            default_profile=self.default_profile,
            inspector=Inspector(Path(self.data_dir) / "parsers"),
            backends=manager,
            input_uris=self.input_uris,
            quota=NamespaceQuota(self.stored_bytes_per_namespace),
        )
        return Services(
            store=store,
            objects=self.objects,
            identity=self._identity(),
            roles=roles,
            submission=submission,
            verbs=Verbs(store=store, roles=roles, submission=submission, backends=manager),
            ranking=manager.ranking,
            backends=manager,
            config=ApiConfig(
                max_body_bytes=self.max_body_bytes,
                max_blob_bytes=self.max_upload_bytes,
                stored_bytes_per_owner=self.stored_bytes_per_user,
                upload_dir=Path(self.data_dir) / "uploads",
            ),
            metrics=metrics,
            checks={"controllers": manager.check, "disk": DiskCheck(self._folders(store))},
        )

    def _folders(self, store: Store) -> list[tuple[str, Path]]:
        """Whose disks have to have room: the data folder's, and the record's where that lies elsewhere."""
        folders = [("the data folder", Path(self.data_dir))]
        if store.file is not None and store.file.parent.stat().st_dev != Path(self.data_dir).stat().st_dev:
            folders.append(("the record", store.file.parent))
        return folders

    def _named_namespaces(self) -> frozenset[str]:
        """The namespaces that the identity provider's roles name, where it can tell."""
        provider = self.serverapp.identity_provider if self.serverapp is not None else None
        tell = getattr(provider, "trainjob_namespaces", None)
        return frozenset(tell()) if tell is not None else frozenset()

    def _make_backends(self) -> dict[str, Backend]:
        from .backends.local.fetch import FetchRules

        fetching = FetchRules(tuple(map(_uri_prefix, self.input_uris)), self.input_uri_bytes)
        made: dict[str, Backend] = {}
        for name, options in self.backends.items():
            kind = options.get("type", "local")
            rest = {key: value for key, value in options.items() if key != "type"}
            if kind == "local":
                settings = LocalBackendSettings(parent=self)
                made[name] = settings.make(name, Path(self.data_dir), rest, fetching)
                continue
            if kind == "kubernetes":
                made[name] = KubernetesBackendSettings(parent=self).make(name, rest, fetching)
                continue
            found = {point.name: point for point in entry_points(group=BACKENDS_GROUP)}
            if kind not in found:
                known = ", ".join(["kubernetes", "local", *sorted(found)])
                raise ValueError(f"TrainJobExtension.backends: {name!r} has the unknown type {kind!r}; known: {known}")
            made[name] = found[kind].load()(name=name, parent=self, **rest)
        return made

    def _first_start(self, store: Store) -> None:
        """Make the default queue and profile where there are none."""
        store.write(lambda writer: ensure_defaults(writer, self.default_queue, self.default_profile))

    def _write_json_logs(self) -> None:
        """Every handler of the server's and of our log gets a formatter that keeps fields apart."""
        formatter = JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s")
        for logger in (self.log, self.serverapp.log if self.serverapp else self.log):
            target: logging.Logger | None = getattr(logger, "logger", logger)
            while target is not None:
                for handler in target.handlers:
                    handler.setFormatter(formatter)
                target = target.parent if target.propagate else None

    # Starting and stopping

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        if self._kernel_token:
            os.environ[URL_VARIABLE] = url_path_join(_local_url(serverapp), PREFIX)
            os.environ[TOKEN_VARIABLE] = self._kernel_token
        if self.remote_url:
            self._asking = asyncio.create_task(self._ask_the_service())
        if self.manager is None:
            return
        self._preparing = asyncio.create_task(self._prepare_objects())
        try:
            garbage.calm()
            await self.manager.start()
        except Exception as error:  # whatever it is: an API that takes jobs which nobody runs is worse than none
            self._fail(error)
            await self.manager.stop()
            self._answer_with_the_failure(serverapp, error)
            raise
        for line in self.manager.sandboxes():
            self.log.info(line)
        for warning in [*self.manager.warnings(), *await self.manager.homeless_queues()]:
            self.log.warning(warning)

    async def _prepare_objects(self) -> None:
        """Not waited for: a store that is away keeps nobody from looking at jobs, and what runs spools its log."""
        try:
            for line in await asyncio.to_thread(ObjectStoreSettings(parent=self).prepare, self.objects):
                self.log.warning(line)
        except StoreError as error:
            self.log.warning("Jobs can't run to their end now. %s", error)

    async def _ask_the_service(self) -> None:
        """Not waited for: a service that is away keeps nobody's notebooks from opening."""
        from .api import remote

        problem = await remote.problem(self.remote_url, self.remote_token)
        if problem is None:
            self.log.info("Jobs run at the service %s; this server only forwards.", self.remote_url)
        else:
            self.log.warning("Jobs can't be sent now. %s", problem)

    def _answer_with_the_failure(self, serverapp: ServerApp, error: Exception) -> None:
        """Put the route that says why there are no jobs before those that were made when all seemed well."""
        routes = handlers_for_broken(error, self._identity())
        base_url = serverapp.web_app.settings["base_url"]
        routes = [(url_path_join(base_url, route), *rest) for route, *rest in routes]
        serverapp.web_app.add_handlers(".*", routes)  # type: ignore[no-untyped-call]
        rules = serverapp.web_app.default_router.rules
        rules.insert(0, rules.pop(-2))  # Tornado asks those first that came first

    async def stop_extension(self) -> None:
        """Stop acting; say what goes on without us and what waits for the next start."""
        if os.environ.get(TOKEN_VARIABLE) == self._kernel_token:
            os.environ.pop(URL_VARIABLE, None)
            os.environ.pop(TOKEN_VARIABLE, None)
        for task in (self._asking, self._preparing):
            if task is not None:
                task.cancel()
        try:
            await self._close()
        except Exception:  # told; raised, it would keep jupyter_server from ever ending
            self.log.exception("not everything could be closed")

    async def _close(self) -> None:
        async with AsyncExitStack() as parts:  # an error in one keeps none of the others from being closed
            if self.store is not None:
                parts.callback(self.store.close)
            if self.services is not None:
                parts.callback(self.services.close)
            if self.manager is not None and self.failure is None:
                parts.push_async_callback(self.manager.stop)
                await self._tell_standing(self.manager)

    async def _tell_standing(self, manager: ControllerManager) -> None:
        try:
            standing = await manager.standing()
        except TrainJobError as error:
            self.log.warning("What runs and waits can't be told: %s", error)
            return
        if any(standing.values()):
            self.log.info(
                "Without the server %s; %s for the next start.",
                counted(standing["running"], "running job goes on", "running jobs go on"),
                counted(standing["queued"], "queued job waits", "queued jobs wait"),
            )


def _uri_prefix(text: str) -> str:
    """``text`` if it is a prefix that a URI can be compared with; ``ValueError`` if not."""
    try:
        read_uri(text)
    except UriError as error:
        raise ValueError(f"TrainJobExtension.input_uris: {error}") from None
    return text


def _local_url(serverapp: ServerApp) -> str:
    """The server's URL as its own kernels reach it."""
    scheme = "https" if serverapp.certfile else "http"
    host = serverapp.ip if serverapp.ip not in ("", "*", "0.0.0.0", "::", "localhost") else "127.0.0.1"  # noqa: S104
    if ":" in host:
        host = f"[{host}]"
    return f"{scheme}://{host}:{serverapp.port}{serverapp.base_url}"
