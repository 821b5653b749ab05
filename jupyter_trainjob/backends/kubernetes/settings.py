"""What an operator says about jobs in a cluster: checked once, when the server starts, with all findings at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from ...resources.images import ImageError, digest_of, pattern_problem, read_image
from ...resources.names import is_domain, is_name, label_key_error, label_value_error
from ...resources.profile import Toleration
from ...resources.quantity import byte_count, cpu_millis
from . import environments_rules
from .environments_rules import EnvironmentRules

LANGUAGES = ("python", "r", "scala")
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
Scratch = Literal["memory", "disk"]
DnsPolicy = Literal["ClusterFirst", "Default", "None"]


MOST_WARM = 100
CLOSING_SECONDS = 30
"""For the code to end when it is told to, and for all to be told of it."""


class SettingsError(ValueError):
    """Settings that can't work. The text names each field, its value and what to write."""


@dataclass(frozen=True)
class Sidecar:
    """What the container that fetches and ships may use, beside the job: quantities.

    ``cpu`` is a fraction on purpose: with a static CPU manager a whole one would take a core away from the jobs.
    ``cpu_limit`` above it lets Python start without being throttled for a second; the same as ``cpu``, it makes the
    pod Guaranteed, so that jobs with whole CPUs get cores of their own.
    """

    cpu: str = "100m"
    cpu_limit: str = "500m"
    memory: str = "128Mi"
    buffer: str = "320Mi"
    """Disk, for the log while the store is away."""


@dataclass(frozen=True)
class KubernetesSettings:
    """One cluster, as one installation of ours uses it. Raises :class:`SettingsError` where it makes no sense.

    ``kubeconfig``, ``context``: how to reach it; both empty: as the pod that the server runs in may.
    ``installation``: whose objects these are, for several installations in one namespace.
    """

    namespace: str = "trainjob"
    kubeconfig: str = ""
    context: str = ""
    installation: str = "default"
    record: str = ""
    """Which record the server has, where several share an installation. Nobody's to set: the server tells it."""

    images: Mapping[str, str] = field(default_factory=dict)
    """Language → image with our runner inside."""
    allowed_images: tuple[str, ...] = ()
    """What jobs may choose beside those of ``images`` and of the profiles: see :mod:`....resources.images`."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Image → ``sha256:…`` as it was resolved: a job runs by digest where its image is here."""
    sidecar_image: str = ""
    """Empty: that of Python. Never a job's own: it holds the credentials."""
    pull_policy: PullPolicy = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    home: str = "/opt/trainjob"
    """The folder of our images that holds all that is ours; other images get a copy of it at the same place."""
    package: str = "/opt/trainjob/jupyter_trainjob"
    """Where in it our package lies."""
    python: str = "/opt/venv/bin/python"
    """The interpreter with the runner's libraries in our images."""
    injected_python: str = "python3"
    """The same in other images: their own, found on their PATH, or one below ``home``."""

    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    runtime_class: str = ""
    priority_class: str = ""
    service_account: str = ""
    dns_policy: DnsPolicy = "ClusterFirst"
    host_users: bool | None = None
    """False: each pod has a user namespace of its own (the nodes must have it); None: not said."""
    user_ids: tuple[int, int] = (1000, 1000)
    """First and last user id of jobs. One for all makes shared volumes simple; a range keeps their processes apart."""
    gpu_resources: tuple[str, ...] = ("nvidia.com/gpu", "amd.com/gpu")
    """What counts as a GPU of a node; the first is asked for where a profile names none."""

    scratch: Scratch = "memory"
    """Where jobs write: see :mod:`.volumes`."""
    environments: EnvironmentRules = field(default_factory=EnvironmentRules)
    """Where the environments of jobs' requirements lie, and how they are built."""
    reserve: str = "64Mi"
    """Memory of the main container beside the job's own: its first process, and the log that is on its way."""
    sidecar: Sidecar = field(default_factory=Sidecar)

    startup_seconds: int = 600
    """How long an attempt may take to be placed and pull its image, then to bring its inputs, then to begin."""
    termination_seconds: int = 90
    """The pod's grace: thirty seconds are the code's, the rest is for what is still to be shipped."""
    ttl_seconds: int = 24 * 3600
    """How long the cluster keeps a finished Job that nobody of ours came for."""
    unreachable_seconds: int = 300
    """How long a pod stays bound to a node that does not answer."""

    warm: Mapping[str, int] = field(default_factory=dict)
    """Profile → how many slots of it wait for a job with a kernel that runs already: see :mod:`.slots`."""
    warm_priority_class: str = ""
    """The PriorityClass of slots, which a job keeps that runs in one. Empty: that of jobs."""

    network_policies: tuple[str, ...] = ("trainjob-deny-all", "trainjob-store")
    """The NetworkPolicies that must be there: without them jobs reach whatever the cluster reaches."""
    store_ca: str = ""
    """Certificates (PEM) by which pods know the object store, where the image's own are not enough."""

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise SettingsError("The settings of the cluster can't be used: " + "; ".join(problems) + ".")

    @property
    def installation_label(self) -> str:
        """``installation`` as the value of a label, whatever it is called."""
        return hashlib.sha256(self.installation.encode()).hexdigest()[:16]

    @property
    def helper_image(self) -> str:
        """The image of the sidecar."""
        return self.sidecar_image or self.images.get("python", "")

    @property
    def end_seconds(self) -> int:
        """How long the sidecar may ship when the code has ended; what is left of the grace is the code's own end."""
        return self.termination_seconds - CLOSING_SECONDS

    def deadline_seconds(self, limit: int) -> int:
        """After so long the cluster ends an attempt of the time limit ``limit``: later than all who end it better.

        Before the limit runs, the pod may take its time to be placed, the sidecar the same for inputs and the code for
        its begin; behind it come the pod's grace and ours.
        """
        return limit + 3 * self.startup_seconds + self.termination_seconds + CLOSING_SECONDS

    def pinned(self, image: str) -> str:
        """``image`` by its digest where that is known. Raises :class:`....resources.images.ImageError`."""
        digest = digest_of(image, self.digests) if image else ""
        return f"{read_image(image).name}@{digest}" if digest else image


def _problems(settings: KubernetesSettings) -> Iterator[str]:
    yield from _names(settings)
    yield from _images(settings)
    yield from _placement(settings)
    yield from _quantities(settings)
    yield from _seconds(settings)
    yield from _pool(settings)
    yield from _places(settings)
    yield from environments_rules.problems(settings.environments)


def _names(settings: KubernetesSettings) -> Iterator[str]:
    if not is_name(settings.namespace):
        yield f"namespace {settings.namespace!r} is no name; write lower-case letters, digits and dashes"
    if not settings.installation:
        yield "installation is empty; write any text that tells this installation from others"
    for name, value in (
        ("runtime_class", settings.runtime_class),
        ("priority_class", settings.priority_class),
        ("warm_priority_class", settings.warm_priority_class),
        ("service_account", settings.service_account),
        *(("pull_secrets", secret) for secret in settings.pull_secrets),
        *(("network_policies", policy) for policy in settings.network_policies),
    ):
        if (value or name in ("pull_secrets", "network_policies")) and not is_domain(value):
            yield f"{name} {value!r} is no name of an object in a cluster"


def _images(settings: KubernetesSettings) -> Iterator[str]:
    for language, image in settings.images.items():
        if language not in LANGUAGES:
            yield f"images has the unknown language {language!r}; known: {', '.join(LANGUAGES)}"
        try:
            read_image(image)
        except ImageError as error:
            yield f"images[{language!r}]: {error}"
    if not settings.helper_image:
        yield "images names none for python, and sidecar_image is empty: nothing could bring inputs and ship outputs"
    for pattern in settings.allowed_images:
        if pattern_problem(pattern):
            yield f"allowed_images: {pattern_problem(pattern)}"
    resolved: dict[str, str] = {}
    for image, digest in settings.digests.items():
        try:
            read = read_image(image)
            read_image(f"{read.name}@{digest}")
        except ImageError as error:
            yield f"digests[{image!r}]: {error}"
            continue
        if resolved.setdefault(read.tagged, digest) != digest:
            yield f"digests[{image!r}]: {read.tagged} is there twice, with different digests"
    for name, value, known in (
        ("pull_policy", settings.pull_policy, get_args(PullPolicy)),
        ("scratch", settings.scratch, get_args(Scratch)),
        ("dns_policy", settings.dns_policy, get_args(DnsPolicy)),
    ):
        if value not in known:
            yield f"{name} {value!r} is none of {', '.join(known)}"


def _placement(settings: KubernetesSettings) -> Iterator[str]:
    for key, value in settings.node_selector.items():
        problem = label_key_error(key) or label_value_error(value)
        if problem:
            yield f"node_selector {key}={value!r}: {problem}"
    for resource in settings.gpu_resources:
        if "/" not in resource or label_key_error(resource):
            yield f"gpu_resources: {resource!r} is no extended resource; write a name such as nvidia.com/gpu"
    if not settings.gpu_resources:
        yield "gpu_resources is empty; write at least one, such as nvidia.com/gpu"


def _quantities(settings: KubernetesSettings) -> Iterator[str]:
    sidecar = settings.sidecar
    bytes_of = {"reserve": settings.reserve, "sidecar.memory": sidecar.memory, "sidecar.buffer": sidecar.buffer}
    for name, text, read in (
        *((name, text, byte_count) for name, text in bytes_of.items()),
        ("sidecar.cpu", sidecar.cpu, cpu_millis),
        ("sidecar.cpu_limit", sidecar.cpu_limit, cpu_millis),
    ):
        try:
            if read(text) <= 0:
                yield f"{name} is {text!r}, which is nothing"
        except ValueError as error:
            yield f"{name}: {error}"
            return
    if cpu_millis(sidecar.cpu) > cpu_millis(sidecar.cpu_limit):
        yield f"sidecar.cpu {sidecar.cpu} is more than sidecar.cpu_limit {sidecar.cpu_limit}"
    for name, least in (("reserve", "32Mi"), ("sidecar.memory", "48Mi"), ("sidecar.buffer", "16Mi")):
        if byte_count(bytes_of[name]) < byte_count(least):
            yield f"{name} {bytes_of[name]} is too little; write at least {least}"


def _seconds(settings: KubernetesSettings) -> Iterator[str]:
    for name, least in (
        ("startup_seconds", 10),
        ("termination_seconds", 45),
        ("ttl_seconds", 60),
        ("unreachable_seconds", 0),
    ):
        value = getattr(settings, name)
        if value < least:
            yield f"{name} {value} is too little; write at least {least}"
    first, last = settings.user_ids
    if not 1 <= first <= last < 2**31:
        yield f"user_ids {first} to {last} is no range of user ids above 0"


def _pool(settings: KubernetesSettings) -> Iterator[str]:
    for profile, size in settings.warm.items():
        if not 0 <= size <= MOST_WARM:
            yield f"warm[{profile!r}] {size} is no number of slots; write 0 to {MOST_WARM}"


def _places(settings: KubernetesSettings) -> Iterator[str]:
    for name in ("home", "python", "package"):
        value = getattr(settings, name)
        if not value.startswith("/") or ".." in value.split("/") or value == "/":
            yield f"{name} {value!r} is no absolute path"
    if not settings.package.startswith(f"{settings.home}/"):
        yield f"package {settings.package!r} does not lie below home, {settings.home!r}"
    if not settings.injected_python:
        yield "injected_python is empty; write python3, or a path"
