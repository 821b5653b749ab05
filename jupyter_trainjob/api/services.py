"""What the handlers work with: one object, handed to each through ``settings["trainjob"]``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..resources.errors import Unavailable
from ..storage.base import ObjectStore
from ..store import Store
from .identity import Identity, IdentityService
from .metrics import Metrics
from .ports import Backends, Ranking
from .quota import NamespaceQuota
from .roles import Roles
from .submission import Submission
from .verbs import Verbs

if TYPE_CHECKING:
    from jupyter_server.base.handlers import JupyterHandler

    from .about import About
    from .batches import Batches
    from .blobs import Blobs
    from .bundles import Bundles
    from .feed import Feed
    from .logs import Logs
    from .outputs import Outputs
    from .records import Records
    from .series import MetricSeries
    from .subtrees import Subtrees
    from .usage import UsageReports
    from .views import Views

P = ParamSpec("P")
T = TypeVar("T")

SETTING = "trainjob"
"""Where a Tornado application keeps the services."""


@dataclass(frozen=True)
class ApiConfig:
    """Limits of the API. Sizes in bytes, times in seconds."""

    max_body_bytes: int = 8 * 1024**2
    """Of a JSON body. The largest honest one is a job with 20,000 inputs, about 4 MiB."""
    max_blob_bytes: int = 4 * 1024**3
    """Of one upload."""
    stored_bytes_per_owner: int = 20 * 1024**3
    """Of all uploads of one person together; 0 means no limit."""
    max_wait_seconds: float = 30.0
    """The longest that a request may wait for news; who asks for more waits as long as this."""
    log_chunk_bytes: int = 1024**2
    """The most that one answer of the log holds."""
    feed_page: int = 100
    """Changes that are read from the record at once."""
    feed_interval_seconds: float = 0.25
    """The shortest time between two messages of one stream."""
    io_threads: int = 8
    """Threads that read and write the object store for requests."""
    upload_dir: Path | None = None
    """Where uploads are gathered before they are checked; None means the system's temporary folder."""


Check = Callable[[], Awaitable[dict[str, Any]]]
"""One line of ``/readyz``: ``{"ok": bool, "message": str, …}``."""


@dataclass
class Services:
    """All that handlers need. The cached properties are the API's own parts, built from the others."""

    store: Store
    objects: ObjectStore
    identity: IdentityService
    roles: Roles
    submission: Submission
    verbs: Verbs
    ranking: Ranking
    backends: Backends
    config: ApiConfig = field(default_factory=ApiConfig)
    metrics: Metrics = field(default_factory=Metrics)
    checks: Mapping[str, Check] = field(default_factory=dict)
    """What ``/readyz`` asks beside the record and the object store: the application adds controllers and backends."""
    _closed: bool = False

    async def identify(self, handler: JupyterHandler) -> Identity:
        """Whose request it is, with all the roles they have. Raises as :meth:`.IdentityService.identity_for` does."""
        return await self._subtrees.applied(await self.identity.identity_for(handler))

    @cached_property
    def _subtrees(self) -> Subtrees:
        from .subtrees import Subtrees

        return Subtrees(self.store)

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        """Threads for the object store, so that followers of logs never starve the loop's own pool."""
        return ThreadPoolExecutor(self.config.io_threads, thread_name_prefix="trainjob-io")

    async def io(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``function`` in one of the threads for the object store. :class:`Unavailable` when the server stops."""
        if self._closed:
            raise Unavailable("The server is stopping.", remedy="Try again when it is back.", retry_after_seconds=5)
        return await asyncio.get_running_loop().run_in_executor(self.pool, partial(function, *args, **kwargs))

    def release(self, file: IO[bytes]) -> None:
        """Close a file in one of those threads, or here where they are gone: closing a large one takes a while."""
        try:
            self.pool.submit(file.close)
        except RuntimeError:
            file.close()

    @cached_property
    def batches(self) -> Batches:
        """Many jobs at once."""
        from .batches import Batches

        return Batches(store=self.store, roles=self.roles, submission=self.submission)

    @cached_property
    def views(self) -> Views:
        """Wire forms."""
        from .views import Views

        return Views(self)

    @cached_property
    def records(self) -> Records:
        """Resources of any kind."""
        from .records import Records

        return Records(self)

    @cached_property
    def logs(self) -> Logs:
        """Logs by offset."""
        from .logs import Logs

        return Logs(self)

    @cached_property
    def outputs(self) -> Outputs:
        """What jobs left."""
        from .outputs import Outputs

        return Outputs(self)

    @cached_property
    def series(self) -> MetricSeries:
        """What the code of jobs logged."""
        from .series import MetricSeries

        return MetricSeries(self)

    @cached_property
    def usage(self) -> UsageReports:
        """What jobs used."""
        from .usage import UsageReports

        return UsageReports(self)

    @cached_property
    def blobs(self) -> Blobs:
        """Uploads."""
        from .blobs import Blobs

        return Blobs(self)

    @cached_property
    def quota(self) -> NamespaceQuota:
        """What namespaces keep; the submission's, so that both know the same."""
        return self.submission.quota

    @cached_property
    def bundles(self) -> Bundles:
        """Many small uploads at once."""
        from .bundles import Bundles

        return Bundles(self)

    @cached_property
    def feed(self) -> Feed:
        """Changes."""
        from .feed import Feed

        return Feed(self)

    @cached_property
    def about(self) -> About:
        """The server and the one who asks."""
        from .about import About

        return About(self)

    def close(self) -> None:
        """Let go of the threads. Requests that still need them are told that the server stops."""
        self._closed = True
        self.submission.close()
        if "feed" in self.__dict__:  # made by whoever asked for it first
            self.feed.close()
        self.pool.shutdown(wait=False, cancel_futures=True)
