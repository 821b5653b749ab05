"""The port to a place where jobs run. Every implementation passes ``tests/backends/contract.py``.

A backend is handed attempts, never jobs: whether another attempt follows is the controller's to decide. It says
what it *saw* (:class:`Observation`); which phase and reason that makes is decided by
:func:`jupyter_trainjob.controllers.ending.ending`, a pure function.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ..resources.errors import FieldError, TrainJobError
from ..resources.names import attempt_name
from ..resources.profile import Profile
from ..resources.trainjob import Requirements, TrainJob
from ..storage.base import ObjectStore


class BackendError(TrainJobError):
    """The backend can't do this. ``permanent`` tells whether trying again is of no use; where it is not, ``after`` is
    for how many seconds whoever refused it wants to be left alone (None: nobody said).
    """

    code = 503
    reason = "BackendError"

    def __init__(self, message: str, *, remedy: str = "", permanent: bool = False, after: float | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.permanent = permanent
        self.after = after


@dataclass(frozen=True)
class AttemptRef:
    """Which attempt of which job."""

    uid: str
    attempt: int

    @property
    def name(self) -> str:
        """Its name in the backend."""
        return attempt_name(self.uid, self.attempt)


@dataclass(frozen=True)
class AttemptRequest:
    """All that a backend needs to run one attempt. ``job.spec.resources`` is complete (profile applied)."""

    ref: AttemptRef
    job: TrainJob
    profile: Profile
    blob_prefix: str
    """Key prefix of the owner's blobs: digest ``sha256:abc…`` lies at ``<blob_prefix>abc…``."""
    local_queue: str = ""
    """Not empty: it is not to start but to wait, ``queued``, until Kueue admits it from this LocalQueue."""
    priority_class: str = ""
    """Kueue's WorkloadPriorityClass; empty: none."""


State = Literal["queued", "starting", "running", "ended", "gone"]
"""``queued``: it is there, and something else than we says when it starts. ``gone``: the backend knows nothing of it
(never created, or deleted by another hand)."""


@dataclass(frozen=True)
class Place:
    """Where an attempt that is ``queued`` stands, as whoever admits it tells."""

    position: int | None
    """From 1; None where it has none."""
    message: str
    """Why it waits: a clause for people, without a full stop."""


@dataclass(frozen=True)
class Observation:
    """What a backend sees of an attempt. Level, not edge: each one tells all there is to tell.

    ``claims`` come from inside the job (progress, error, results) and are checked for size and schema by the
    backend; all else comes from outside it. ``evidence`` holds, once ``ended``, what outside saw: some of
    ``exitCode``, ``signal``, ``limit`` (the name of a Reason that outside is sure of: a limit that struck, or
    StartupTimeout, StorageError, RunnerLost, BackendError), ``cancelled``, ``hostRestarted``, ``message``.
    """

    ref: AttemptRef
    state: State
    node: str = ""
    isolation: str = ""
    image_digest: str = ""
    """What it runs in, where that is a container: the image by its digest."""
    started: datetime | None = None
    """When the user's code began."""
    ended: datetime | None = None
    usage: dict[str, float] = field(default_factory=dict)
    log_size: int = 0
    log_complete: bool = False
    log_gap: tuple[int, int] | None = None
    log_missing: int = 0
    evidence: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    notebook: bool = False
    """Whether the executed notebook is in the object store, once ``ended``."""
    files: list[dict[str, Any]] = field(default_factory=list)
    """What was collected into the object store once ``ended``: ``{"path": …, "size": …}``, capped at 1,000."""
    files_total: int = 0
    files_bytes: int = 0
    conditions: list[dict[str, str]] = field(default_factory=list)
    """Standing remarks: ``{"type", "status", "reason", "message"}``, such as a capped log or a weak sandbox."""


@dataclass(frozen=True)
class SharedBound:
    """What all nodes of a backend have together at most. Its share is in the nodes' sizes already: this is for people,
    to be told why no node has room.
    """

    limit: str
    """``cpu``, ``memory``, ``gpu`` or ``runningJobs``: what there is a bound of."""
    size: int
    """What of it our jobs may have, with what each takes beside what it asks for: thousandths, bytes, a number."""
    whole: int
    """What it gives to all, others included."""
    called: str
    """Such as ``the namespace's quota course``."""


@dataclass(frozen=True)
class NodeCapacity:
    """What one node has in all for our jobs (not what is free: that follows from the record)."""

    name: str
    cpu_millis: int
    memory_bytes: int
    gpu: int = 0
    per_job_cpu_millis: int = 0
    """What each job but the first takes beside what it asks for; that of one is taken off already."""
    per_job_memory_bytes: int = 0
    jobs: int | None = None
    """How many may run at once; None: no bound."""
    gpu_only: bool = False
    """Whether only jobs that ask for GPUs may run there."""
    called: str = "the machine"
    """For people."""
    shared: tuple[SharedBound, ...] = ()
    """The same of all nodes of the backend."""


@dataclass(frozen=True)
class KernelInfo:
    """One kernel that jobs may run in."""

    name: str
    """Of its kernelspec."""
    language: str
    """In lower case: python, r, scala."""
    display_name: str


@dataclass(frozen=True)
class EnvironmentState:
    """How far the environment of a job's requirements is."""

    state: Literal["building", "ready", "failed"]
    message: str = ""
    """While it is built: what is under way, or what it waits for. Failed: why, and what to do."""
    lock: str = ""
    """Ready: the digest of its list of exact versions, ``environments/<key>/lock`` in the object store."""
    since: datetime | None = None
    """Building: since when; None while it is not begun."""


class Backend(ABC):
    """One place where jobs run. Called on the event loop; no method may block it."""

    name: str

    def serves(self, record: str) -> None:
        """Told before :meth:`start`: which record its attempts are in, by an id that all servers on it share."""
        return

    def is_ours(self, ref: AttemptRef) -> bool:
        """Whether one of :meth:`attempts` is of this record for sure. Else, where the record lacks it, it is another's:
        servers with records of their own may share a place.
        """
        return True

    @abstractmethod
    async def start(self, store: ObjectStore, changed: Callable[[AttemptRef], None]) -> None:
        """Called once before all else. ``changed(ref)`` is to be called, on the loop, whenever a new
        :meth:`observe` could tell something new; calling it too often is allowed, too seldom is not.
        Attempts of an earlier life are found again here.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Called at shutdown. Running attempts go on; a later :meth:`start` finds them."""

    def may_create(self, ref: AttemptRef) -> bool:
        """Whether it is the attempt's turn for :meth:`create`; else ``changed(ref)`` is called when it is.

        For backends that take only so many at once. Not to ask is allowed; who did says :meth:`give_up_turn` at last.
        """
        return True

    def give_up_turn(self, ref: AttemptRef) -> None:  # noqa: B027 - nothing to do where all may come at once
        """Whoever asked :meth:`may_create` has created it, or will not now: it keeps nobody from their turn.

        Harmless for one that waits for its turn no longer, and for one that never asked.
        """

    @abstractmethod
    async def create(self, request: AttemptRequest) -> None:
        """Start an attempt. Called again after a crash: doing it twice must make one attempt only.

        Quick, whatever its inputs are: what takes minutes goes on behind the scenes, ``starting`` meanwhile, and
        may be cancelled. Raises :class:`BackendError` for what is found wrong at once, such as an input that is gone;
        what is found later is the attempt's end, with the evidence ``limit: BackendError``. Returning means the attempt
        is recorded here and will be observed, also after a crash.
        """

    @abstractmethod
    async def observe(self, ref: AttemptRef) -> Observation:
        """What is known of an attempt now. Never raises for an unknown one: state ``gone``."""

    @abstractmethod
    async def cancel(self, ref: AttemptRef, message: str) -> None:
        """Ask a running attempt to end: code is interrupted, given ten seconds, then killed. Idempotent."""

    @abstractmethod
    async def delete(self, ref: AttemptRef) -> None:
        """Drop what remains of an attempt, killing it if it runs. Called when its end is recorded. Idempotent."""

    @abstractmethod
    async def attempts(self) -> list[AttemptRef]:
        """All attempts this backend knows, for finding orphans."""

    @abstractmethod
    async def capacity(self) -> list[NodeCapacity]:
        """The nodes, with what of each our jobs may have now, those that run included. Bounds what is admitted."""

    async def sizes(self) -> list[NodeCapacity]:
        """The nodes as they would be if only we used them and all were well: no job beyond them will ever run.

        Empty where that can't be told.
        """
        return await self.capacity()

    def on_room(self, changed: Callable[[], None]) -> None:
        """Before :meth:`start`: ``changed()`` is to be called, on the loop, when :meth:`capacity` may tell of more
        than before and no attempt's end is the cause. A backend that never calls it is asked now and then.
        """
        return

    @abstractmethod
    async def kernels(self) -> list[KernelInfo]:
        """The kernels that a job may ask for, by name. Asked at every submit, so it keeps its answer for seconds.

        Raises :class:`BackendError` where that can't be told now.
        """

    def offers(self) -> frozenset[str]:
        """What a job may choose here beyond what every place has: some of ``image``, ``volumes``,
        :data:`.resources.profile.HOST_NETWORK`, :data:`.resources.profile.OWN_LOOPBACK`.
        """
        return frozenset()

    async def check(self, job: TrainJob, profile: Profile) -> list[FieldError]:
        """What of a job's image and volumes can't be had here. Asked at submit, so it is quick.

        ``job`` is complete. Only asked for what :meth:`offers` names.
        """
        return []

    async def environment(
        self,
        uid: str,
        requirements: Requirements,
        *,
        minimum_isolation: str = "",
        owner: str = "",
        language: str = "",
        image: str = "",
        profile_image: str = "",
    ) -> EnvironmentState:
        """The environment that job ``uid`` waits for: begin to build it unless it is there or under way.

        One build for all jobs that ask for the same; ``changed`` tells of its end, with attempt 0 of each that waits.
        A failure is told to the jobs that waited for it, and soon forgotten: one that is sent again builds again.
        A ready one counts as used now. Raises nothing: what goes wrong is ``failed``. ``minimum_isolation``: the
        profile's; a build runs strangers' code, so it is refused where a job would be. ``owner``: whose job it is, for
        builds to take turns. ``language``, ``image``: the job's, for places where these decide what it is built in;
        ``profile_image``: its profile's, which needs no other permission.
        Who waits asks again at least every ten seconds: a build that nobody asks for is stopped.
        """
        return EnvironmentState(
            "failed", f"The backend {self.name!r} builds no environments; leave --requirements out."
        )

    async def check_requirements(self, format: str, text: str) -> None:
        """Asked at submit, so it is quick: raises :class:`BackendError` for a list of which no environment is ever
        built here. ``format``: as in :class:`Requirements`; ``text``: the list, in which
        :func:`jupyter_trainjob.resources.requirements.check_requirements` finds nothing.
        """
        raise BackendError(
            f"the backend {self.name!r} builds no environments",
            remedy="Leave the requirements out, and ask the operator for what is missing.",
            permanent=True,
        )

    def keep_warm(self, profiles: Collection[Profile] | None) -> None:
        """Told by the server that leads, at its beginning and whenever a profile changed, which there are: where so is
        configured, kernels of theirs wait for jobs. None: another server leads from now on. Quick; on the loop.
        """
        return

    async def collect_environments(self, needed: Collection[Requirements]) -> int:
        """Remove environments that nobody used for long, or that are too much together; how many went.

        Those of ``needed``, which queued and running jobs name, stay.
        """
        return 0

    async def places(self, refs: Collection[AttemptRef]) -> dict[AttemptRef, Place]:
        """Where those of ``refs`` stand that are ``queued``. Only asked when a person looks, so it may take a moment.

        Raises :class:`BackendError` where nothing can be told now.
        """
        return {}

    async def check_kueue(self, local_queue: str, priority_classes: Collection[str]) -> None:
        """Asked when a queue is to hand its jobs to Kueue. Raises :class:`BackendError`: permanent where they would
        wait for ever, else where that can't be told now.
        """
        raise BackendError(
            f"the backend {self.name!r} is no cluster and has no Kueue",
            remedy="Leave spec.kueue out, or name a backend of type kubernetes.",
            permanent=True,
        )

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """For people: ``{"type", "isolation", "warnings": [...], …}``."""
