"""TrainJob: code that runs once, elsewhere, and what became of it.

Verbs change ``spec`` (cancel, gates, priority), controllers write ``status``; else the spec is immutable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from . import parameters
from .base import Model, Resource, Status, Timestamp
from .outcome import (
    INFRASTRUCTURE_REASONS,
    Attempt,
    CodeError,
    LogStatus,
    OutputFile,
    OutputStatus,
    Phase,
    PodPlace,
    Progress,
    Reason,
    Result,
    Usage,
)
from .quantity import ByteQuantity, CpuQuantity, byte_count, cpu_millis
from .source import (
    CellSource,
    DatasetInput,
    Digest,
    FolderSource,
    Input,
    NotebookSource,
    OutputInput,
    ScriptSource,
    Source,
    UploadInput,
    UriInput,
    VariablesInput,
    encodable,
    identifier,
    relative_path,
)

MAX_TIME_LIMIT_SECONDS = 30 * 24 * 3600
FIRST_CHOSEN_SEED = 2**31
"""Seeds that nobody asked for are drawn from here on. Python's hash seed is 0 with all of these, and the seed itself
with smaller ones: so a kernel for a job without a wish can be started before the job is known.
"""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")


class EnvVar(Model):
    """One environment variable. Its value is shown to the owner only."""

    name: str = Field(json_schema_extra={"pattern": "^[A-Za-z_][A-Za-z0-9_]{0,127}$"})
    value: str = Field(max_length=32 * 1024)

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not _VARIABLE.match(value):
            raise ValueError(f"{value[:80]!r} is no name of an environment variable; names are such as 'MY_KEY'")
        return value

    @field_validator("value")
    @classmethod
    def _value(cls, value: str) -> str:
        if "\0" in value:
            raise ValueError("an environment variable can't hold a NUL character")
        return encodable(value, "the value")


class Requirements(Model):
    """What to install for the job, built outside it once per content."""

    format: Literal["requirements.txt", "renv.lock", "ivy"]
    digest: Digest


class Environment(Model):
    """What the code runs in."""

    language: str = Field(default="", description="python, r or scala; empty means the profile's or the notebook's.")
    kernel: str = Field(default="", description="A kernelspec name, where the language is not enough.")
    image: str = ""
    requirements: Requirements | None = None
    env: list[EnvVar] = Field(default_factory=list, max_length=256)


class Resources(Model):
    """What the job may use. What is left out comes from the profile; after admission nothing is left out."""

    cpu: CpuQuantity | None = None
    memory: ByteQuantity | None = Field(default=None, description="Of the whole process tree.")
    gpu: int | None = Field(default=None, ge=0, le=1024)
    shm: ByteQuantity | None = None
    disk: ByteQuantity | None = Field(default=None, description="All that the job writes into its folder.")
    processes: int | None = Field(default=None, ge=8, le=100_000, description="Processes and threads.")
    open_files: int | None = Field(default=None, ge=64, le=1_048_576)
    file_size: ByteQuantity | None = Field(default=None, description="The largest single file.")
    log: ByteQuantity | None = Field(default=None, description="Log bytes kept: the first and the last half of it.")

    @property
    def cpu_millis(self) -> int:
        """Thousandths of a CPU; 0 where nothing is set."""
        return cpu_millis(self.cpu) if self.cpu else 0

    @property
    def memory_bytes(self) -> int:
        """Bytes; 0 where nothing is set."""
        return byte_count(self.memory) if self.memory else 0


class Gate(Model):
    """Something that keeps the job from queueing until it is taken away or fulfilled."""

    type: Literal["hold", "dependency", "approval", "dataset", "sweep", "retry"]
    job: str = Field(default="", description="dependency: uid of the job that must end first")
    condition: Literal["succeeded", "finished", "failed"] = "succeeded"
    message: str = Field(default="", max_length=500)
    by: str = Field(default="", description="hold: who put it on hold")
    until: Timestamp | None = Field(
        default=None, description="approval: by when somebody has to say yes; retry: when it queues again"
    )

    def fulfilled_by(self, phase: Phase) -> bool | None:
        """Whether a job in ``phase`` is what a dependency waits for; None while that may still come."""
        if not phase.final:
            return None
        return self.condition == "finished" or (self.condition == "succeeded") == (phase is Phase.SUCCEEDED)


class Volume(Model):
    """A volume that the profile allows.

    Which folder of it one gets is the profile's to say. A folder further inside is none to choose: jobs write there,
    and a link that one of them left would lead the node into another person's folder.
    """

    name: str = Field(max_length=100)
    mount_path: str = Field(default="", max_length=1024, description="Empty: where the profile says, else /mnt/<name>.")
    read_only: bool = True


class Network(Model):
    """What the job may reach; nothing by default."""

    mode: Literal["none", "loopback", "profile"] = Field(
        default="none",
        description="none: nothing outside of the job. loopback: the same, and its own processes can count on "
        "127.0.0.1, or the job is refused. profile: what its profile's spec.network allows.",
    )


class Outputs(Model):
    """What to bring back: variables by name, files by glob."""

    names: list[str] = Field(default_factory=list, max_length=256)
    keep: list[str] = Field(default_factory=lambda: ["**"], max_length=256)

    @field_validator("names")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        return [identifier(name) for name in value]


class Retries(Model):
    """How often another attempt may follow one that ended for a reason that is not the user's."""

    limit: int = Field(default=0, ge=0, le=100)
    on_code_error: bool = False


class Cancel(Model):
    """Set by the cancel verb."""

    requested_at: Timestamp
    by: str
    message: str = ""


class Front(Model):
    """Set by the front verb: who moved the job to the front of its queue."""

    requested_at: Timestamp
    by: str


class Approved(Model):
    """Set by the approve verb: who let the job go beyond its owner's limits."""

    at: Timestamp
    by: str
    message: str = ""


class Sweep(Model):
    """The job is one of many that were sent together. Set by the server."""

    name: str
    index: int
    size: int
    point: list[str] = Field(default_factory=list, description="The parameters that differ between them.")
    max_parallel: int | None = None


class PodSet(Model):
    """So many equal pods."""

    name: str = Field(default="main", pattern="^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    count: int = Field(default=1, ge=1, le=10_000)
    resources: Resources = Field(
        default_factory=Resources, description="Of each pod. CPU, memory and GPU; what is left out is the job's."
    )


def check_parameters(value: dict[str, Any]) -> None:
    """``ValueError`` for a name or a value that no job can have."""
    for name in value:
        identifier(name)
    for name, item in value.items():
        parameters.check(name, item)
    parameters.check_size(value)


class TrainJobSpec(Model):
    """What is wanted."""

    source: Source
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Variables set before the code runs. JSON values, and what JSON lacks as {$type, value}: float "
        "(NaN, Infinity, -Infinity), date, datetime, map.",
    )
    inputs: list[Input] = Field(default_factory=list, max_length=20_000)
    outputs: Outputs = Field(default_factory=Outputs)
    environment: Environment = Field(default_factory=Environment)
    profile: str = Field(default="", description="Empty means the server's default profile.")
    queue: str = Field(default="", description="Empty means the profile's, else the server's default queue.")
    resources: Resources = Field(default_factory=Resources)
    time_limit_seconds: int | None = Field(default=None, description="Wall clock, from the start of the code.")
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000)
    preemptible: bool = Field(
        default=False,
        description="It may be ended when another queue takes back what it lent; it then queues again, with what it "
        "kept in its folder checkpoint/.",
    )
    pod_sets: list[PodSet] = Field(
        default_factory=list,
        max_length=8,
        description="All pods start together or none does; so many kinds of pods at most. Empty: one pod with the "
        "job's resources.",
    )
    network: Network = Field(default_factory=Network)
    volumes: list[Volume] = Field(default_factory=list, max_length=32)
    scheduling_gates: list[Gate] = Field(default_factory=list, max_length=64)
    retries: Retries = Field(default_factory=Retries)
    notify: bool = False
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**32,
        description="Of random numbers: TRAINJOB_SEED in the job, and where each language begins. Chosen, if left out.",
    )
    cancel: Cancel | None = None
    front: Front | None = None
    approved: Approved | None = None
    sweep: Sweep | None = None

    @field_validator("time_limit_seconds")
    @classmethod
    def _time_limit(cls, value: int | None) -> int | None:
        if value is not None and not 1 <= value <= MAX_TIME_LIMIT_SECONDS:
            raise ValueError(
                f"{value} s is not between 1 second and 30 days; write for example 300 (or --time-limit 5m)"
            )
        return value

    @field_validator("pod_sets")
    @classmethod
    def _pod_sets(cls, value: list[PodSet]) -> list[PodSet]:
        names = [one.name for one in value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two pod sets are called {twice!r}; give each a name of its own")
        return value

    @field_validator("parameters")
    @classmethod
    def _parameters(cls, value: dict[str, Any]) -> dict[str, Any]:
        check_parameters(value)
        return value

    def uploads(self) -> Iterator[tuple[str, str]]:
        """Field and digest of every upload of the owner's that the job reads."""
        if not isinstance(self.source, CellSource):
            yield "spec.source.digest", self.source.digest
        for index, item in enumerate(self.inputs):
            if isinstance(item, (UploadInput, VariablesInput)):
                yield f"spec.inputs[{index}].digest", item.digest
        if self.environment.requirements is not None:
            yield "spec.environment.requirements.digest", self.environment.requirements.digest

    def needs(self) -> list[PodSet]:
        """The job's needs as count × resources, with nothing of CPU, memory and GPU left out."""
        if not self.pod_sets:
            return [PodSet(resources=self.resources)]
        whole = self.resources
        found = []
        for one in self.pod_sets:
            own = one.resources
            gpu = own.gpu if own.gpu is not None else whole.gpu
            each = Resources(cpu=own.cpu or whole.cpu, memory=own.memory or whole.memory, gpu=gpu)
            found.append(PodSet(name=one.name, count=one.count, resources=each))
        return found


class TrainJobStatus(Status):
    """What is."""

    phase: Phase = Phase.QUEUED
    reason: str = Field(default="", description="Of a final phase: one of Reason; else why it waits, in one word.")
    message: str = ""
    queued: Timestamp | None = Field(default=None, description="Since when it waits in the queue.")
    claimed: Timestamp | None = Field(
        default=None, description="Since when jobs that had borrowed its room end for it: it is the next to start."
    )
    finished: Timestamp | None = None
    attempts: list[Attempt] = Field(default_factory=list)
    progress: Progress | None = None
    log: LogStatus | None = None
    outputs: OutputStatus | None = None
    code_hash: str = ""
    image_digest: str = ""
    environment_lock: str = ""
    profile_snapshot: dict[str, Any] = Field(default_factory=dict)
    position: int | None = Field(default=None, description="In its queue, from 1. Computed on read.")
    waiting_for: str = Field(default="", description="One sentence. Computed on read.")
    estimated_start: Timestamp | None = Field(default=None, description="Computed on read.")

    @property
    def attempt(self) -> Attempt | None:
        """The latest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def live_attempt(self) -> Attempt | None:
        """The attempt that has not ended. A queued job has one only while something else, such as Kueue, admits it."""
        return self.attempts[-1] if self.attempts and self.attempts[-1].end is None else None


class TrainJob(Resource):
    """A job."""

    PLURAL: ClassVar[str] = "trainjobs"

    kind: Literal["TrainJob"] = "TrainJob"
    spec: TrainJobSpec
    status: TrainJobStatus = Field(default_factory=TrainJobStatus)


__all__ = [
    "INFRASTRUCTURE_REASONS",
    "MAX_TIME_LIMIT_SECONDS",
    "Attempt",
    "Cancel",
    "CellSource",
    "CodeError",
    "DatasetInput",
    "Digest",
    "EnvVar",
    "Environment",
    "FolderSource",
    "Front",
    "Gate",
    "Input",
    "LogStatus",
    "Network",
    "NotebookSource",
    "OutputFile",
    "OutputInput",
    "OutputStatus",
    "Outputs",
    "Phase",
    "PodPlace",
    "PodSet",
    "Progress",
    "Reason",
    "Requirements",
    "Resources",
    "Result",
    "Retries",
    "ScriptSource",
    "Source",
    "Sweep",
    "TrainJob",
    "TrainJobSpec",
    "TrainJobStatus",
    "UploadInput",
    "UriInput",
    "Usage",
    "VariablesInput",
    "Volume",
    "check_parameters",
    "relative_path",
]
