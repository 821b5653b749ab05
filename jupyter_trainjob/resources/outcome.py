"""What became of a job: phases, reasons, attempts, and what came back. Written by controllers alone."""

from __future__ import annotations

from enum import Enum

from pydantic import ConfigDict, Field

from .base import Model, Timestamp


class Phase(str, Enum):
    """Where a job is in its life. The last three are final."""

    QUEUED = "Queued"
    ADMITTED = "Admitted"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing changes any more."""
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED)


class Reason(str, Enum):
    """Why an attempt ended. ``Completed`` and ``CancelledByUser`` go with Succeeded and Cancelled."""

    COMPLETED = "Completed"
    CANCELLED_BY_USER = "CancelledByUser"
    CODE_ERROR = "CodeError"
    OUT_OF_MEMORY = "OutOfMemory"
    TIME_LIMIT = "TimeLimit"
    PROCESS_LIMIT = "ProcessLimit"
    DISK_LIMIT = "DiskLimit"
    FILE_SIZE_LIMIT = "FileSizeLimit"
    OPEN_FILES_LIMIT = "OpenFilesLimit"
    KERNEL_DIED = "KernelDied"
    RUNNER_LOST = "RunnerLost"
    IMAGE_ERROR = "ImageError"
    ENVIRONMENT_ERROR = "EnvironmentError"
    STARTUP_TIMEOUT = "StartupTimeout"
    UNSCHEDULABLE = "Unschedulable"
    EVICTED = "Evicted"
    NODE_LOST = "NodeLost"
    PREEMPTED = "Preempted"
    DEPENDENCY_FAILED = "DependencyFailed"
    NOT_APPROVED = "NotApproved"
    STORAGE_ERROR = "StorageError"
    BACKEND_ERROR = "BackendError"
    HOST_RESTARTED = "HostRestarted"
    DELETED_EXTERNALLY = "DeletedExternally"
    UNKNOWN = "Unknown"


INFRASTRUCTURE_REASONS = frozenset(
    {
        Reason.RUNNER_LOST,
        Reason.IMAGE_ERROR,
        Reason.STARTUP_TIMEOUT,
        Reason.EVICTED,
        Reason.NODE_LOST,
        Reason.PREEMPTED,
        Reason.STORAGE_ERROR,
        Reason.BACKEND_ERROR,
        Reason.HOST_RESTARTED,
        Reason.DELETED_EXTERNALLY,
        Reason.UNKNOWN,
    }
)
"""Not the user's fault: what ``retries`` are for."""


class Usage(Model):
    """What was measured from outside the job."""

    model_config = ConfigDict(extra="ignore")

    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    gpu_seconds: float = 0.0
    disk_bytes: int = 0
    processes: int = Field(default=0, description="Processes and threads at once, at most.")
    read_bytes: int = Field(default=0, description="From storage; what memory answered is not counted.")
    written_bytes: int = Field(default=0, description="To storage.")


class CodeError(Model):
    """The exception that ended the code, as the runner tells it."""

    model_config = ConfigDict(extra="ignore")

    ename: str
    evalue: str = ""
    traceback: str = ""
    cell_id: str = ""
    cell_index: int | None = None
    line: int | None = None


class PodPlace(Model):
    """Where a pod of a job with several is."""

    model_config = ConfigDict(extra="ignore")

    pod_set: str
    node: str


class Attempt(Model):
    """One go at running the job."""

    model_config = ConfigDict(extra="ignore")

    number: int
    backend: str = ""
    local_queue: str = Field(default="", description="Of Kueue, where the queue's jobs are handed to it.")
    admitted: Timestamp | None = None
    start: Timestamp | None = Field(default=None, description="When the user's code began.")
    end: Timestamp | None = None
    reason: Reason | None = None
    message: str = ""
    node: str = ""
    places: list[PodPlace] = Field(default_factory=list, description="Of each pod, where the job has several.")
    overtook: bool = Field(
        default=False, description="It began before a job of the same owner in the same queue whose turn was earlier."
    )
    preempted: str = Field(default="", description="Why its room is taken back; it is told to end.")
    exit_code: int | None = None
    isolation: str = ""
    stored_bytes: int = Field(default=0, description="Log and outputs in the object store, when it ended.")
    usage: Usage | None = None
    error: CodeError | None = None


class Progress(Model):
    """How far the code is, by cells and in its own words. A claim of the job's."""

    model_config = ConfigDict(extra="ignore")

    cells_done: int = 0
    cells: int = 0
    cell_id: str = Field(default="", description="The cell that runs now.")
    fraction: float | None = Field(default=None, ge=0, le=1)
    message: str = ""


class LogStatus(Model):
    """The log of the latest attempt."""

    model_config = ConfigDict(extra="ignore")

    size: int = 0
    complete: bool = False
    gap: tuple[int, int] | None = Field(default=None, description="[a, b): bytes left out by the cap.")
    missing: int = Field(default=0, description="Bytes lost because the store was away too long.")


class OutputFile(Model):
    """A file that the job wrote."""

    path: str
    size: int


class Result(Model):
    """A variable that was asked for."""

    name: str
    size: int = 0
    type: str = ""
    format: str = Field(default="pickle", description="How it was written: pickle, frame (typed CSV), json (typed).")
    python: str = Field(default="", description="The Python that pickled it, such as 3.11.7.")
    error: str = Field(default="", description="Why it could not be brought back.")


class OutputStatus(Model):
    """What came back. Lists are capped at 1,000; ``files_total`` tells all."""

    model_config = ConfigDict(extra="ignore")

    notebook: bool = False
    results: list[Result] = Field(default_factory=list)
    files: list[OutputFile] = Field(default_factory=list)
    files_total: int = 0
    bytes_total: int = 0
