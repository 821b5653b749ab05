"""What an operator sets for jobs in a cluster, as traitlets. The fields and their rules are those of ``settings``."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from traitlets import Bool, CaselessStrEnum, Dict, Integer, List, TraitError, Tuple, Unicode
from traitlets.config import Configurable

from ...resources.profile import Toleration
from ..base import Backend
from ..configured import BackendSettings, environment_builds, pip_options
from ..local.fetch import FetchRules
from .environments_rules import EnvironmentRules
from .settings import KubernetesSettings, SettingsError, Sidecar


class KubernetesBackendSettings(BackendSettings, Configurable):
    """Jobs as pods of a Kubernetes cluster. Each of these may be said of one backend: {'type': 'kubernetes', …}."""

    namespace = Unicode("trainjob", help="Namespace of the cluster in which jobs run.").tag(config=True)
    kubeconfig = Unicode(
        "",
        help="How to reach the cluster. Default: the service account of the pod that the server runs in, else "
        "KUBECONFIG, else ~/.kube/config.",
    ).tag(config=True)
    context = Unicode("", help="Context of the kubeconfig. Default: its current one.").tag(config=True)
    installation = Unicode(
        "default", help="Tells this installation's jobs from those of others in the same namespace."
    ).tag(config=True)
    images = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        help="Image by language: {'python': 'registry.example.org/trainjob/python:1.0', 'r': …, 'scala': …}.",
    ).tag(config=True)
    allowed_images = List(
        Unicode(),
        help="Patterns of further images that jobs may choose, such as registry.example.org/course/ (all below it).",
    ).tag(config=True)
    digests = Dict(value_trait=Unicode(), key_trait=Unicode(), help="Image → sha256:…: jobs run exactly this one.").tag(
        config=True
    )
    sidecar_image = Unicode("", help="Image of the container that fetches and ships. Default: Python's.").tag(
        config=True
    )
    pull_policy = CaselessStrEnum(
        ("Always", "IfNotPresent", "Never"), "IfNotPresent", help="When nodes pull images."
    ).tag(config=True)
    pull_secrets = List(Unicode(), help="Secrets of the namespace with which nodes pull images.").tag(config=True)
    node_selector = Dict(value_trait=Unicode(), key_trait=Unicode(), help="Labels of the nodes that jobs run on.").tag(
        config=True
    )
    tolerations = List(Dict(), help="Taints that jobs put up with: {'key', 'operator', 'value', 'effect'}.").tag(
        config=True
    )
    runtime_class = Unicode("", help="RuntimeClass of jobs, such as gvisor.").tag(config=True)
    priority_class = Unicode("", help="PriorityClass of jobs.").tag(config=True)
    service_account = Unicode("", help="ServiceAccount of jobs; they get no token of it.").tag(config=True)
    dns_policy = CaselessStrEnum(
        ("ClusterFirst", "Default", "None"), "ClusterFirst", help="How pods look up names."
    ).tag(config=True)
    host_users = Bool(
        None, allow_none=True, help="False: a user namespace for each pod, where nodes have that. Default: not said."
    ).tag(config=True)
    user_ids = Tuple(
        Integer(), Integer(), default_value=(1000, 1000), help="First and last user id of jobs; each has one of them."
    ).tag(config=True)
    gpu_resources = List(
        Unicode(), ["nvidia.com/gpu", "amd.com/gpu"], help="What counts as a GPU of a node; the first is asked for."
    ).tag(config=True)
    scratch = CaselessStrEnum(
        ("memory", "disk"),
        "memory",
        help="Where jobs write. memory: what they write counts as their memory. disk: of the node.",
    ).tag(config=True)
    reserve = Unicode("64Mi", help="Memory of a job's container beside the job's own.").tag(config=True)
    sidecar = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        help="What the container that fetches and ships may use: {'cpu', 'cpu_limit', 'memory', 'buffer'}.",
    ).tag(config=True)
    environments_claim = Unicode(
        "",
        help="PersistentVolumeClaim of the namespace on which the environments of jobs' requirements are kept; jobs "
        "see theirs of it, read-only. ReadWriteMany, unless all jobs run on one node; the first of user_ids must be "
        "able to write there as its group. Default: none, and jobs with --requirements are refused.",
    ).tag(config=True)
    environment_builds = environment_builds(
        "wheels",
        "wheels: wheels of the index, which run no code while they are installed. source: also Python packages that "
        "are built and packages of R (renv.lock), whose code then reaches what the pods that build may reach. Jars for "
        "Scala are not fetched in a cluster.",
    )
    pip_options = pip_options("of the image")
    build_seconds = Integer(1800, min=10, help="How long the environment of a job may take to build.").tag(config=True)
    build_cpu = Unicode("1", help="CPUs of the pod that builds one.").tag(config=True)
    build_memory = Unicode("2Gi", help="Memory of the pod that builds one.").tag(config=True)
    build_disk = Unicode("10Gi", help="What the build of one may write.").tag(config=True)
    startup_seconds = Integer(
        600, min=10, help="How long a job may take to be placed, then for its inputs, then until its code begins."
    ).tag(config=True)
    termination_seconds = Integer(
        90, min=45, help="How long a pod that is told to end may take: 30 seconds for the code, the rest to ship."
    ).tag(config=True)
    ttl_seconds = Integer(
        24 * 3600, min=60, help="How long the cluster keeps a finished job that nobody of ours came for."
    ).tag(config=True)
    unreachable_seconds = Integer(300, min=0, help="How long a job waits for a node that does not answer.").tag(
        config=True
    )
    warm = Dict(
        value_trait=Integer(),
        key_trait=Unicode(),
        help="Profile → how many pods of it wait with a kernel that runs already, so that a job that asks for no more "
        "than the profile gives starts at once: {'default': 2}. They hold what such jobs hold, and make way for jobs.",
    ).tag(config=True)
    warm_priority_class = Unicode(
        "",
        help="PriorityClass of pods that wait, so that the cluster's scheduler takes their place for anything that is "
        "more important, jobs of others too. A job that runs in one keeps it: the priority of a pod can't be changed. "
        "Default: that of jobs; only our own jobs make them go then.",
    ).tag(config=True)
    network_policies = List(
        Unicode(),
        ["trainjob-deny-all", "trainjob-store"],
        help="NetworkPolicies that must be there: without them jobs reach what the cluster reaches.",
    ).tag(config=True)
    store_ca_file = Unicode(
        "", help="PEM file of the authority by which pods know the object store. Default: those that images trust."
    ).tag(config=True)

    def make(self, name: str, options: dict[str, Any], fetching: FetchRules | None = None) -> Backend:
        """The backend called ``name``; ``options`` replace traits for this one. Raises :class:`TraitError`."""
        self.take(name, options)
        try:
            settings = self.settings()
        except (SettingsError, ValidationError, TypeError, OSError) as error:
            raise TraitError(f"TrainJobExtension.backends: {name!r}: {error}") from error
        try:
            import kubernetes.aio  # noqa: F401 - a server that can't use it is to say so when it is configured
        except ImportError as error:
            raise TraitError(
                f"TrainJobExtension.backends: {name!r} is of type kubernetes, which needs the extra of that name: "
                f"pip install 'jupyter_trainjob[kubernetes]' ({error})."
            ) from error
        from .backend import KubernetesBackend

        return KubernetesBackend(name=name, settings=settings, fetching=fetching)

    def settings(self) -> KubernetesSettings:
        """Raises :class:`SettingsError`, ``ValidationError``, ``TypeError`` and ``OSError``."""
        there = {field.name for field in fields(KubernetesSettings)} & set(self.trait_names(config=True))
        given = {key: getattr(self, key) for key in there}
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
        given["tolerations"] = tuple(Toleration.model_validate(item) for item in self.tolerations)
        given["environments"] = EnvironmentRules(
            claim=self.environments_claim,
            builds=self.environment_builds,
            pip=dict(self.pip_options),
            r_repositories=tuple(self.r_repositories),
            seconds=self.build_seconds,
            cpu=self.build_cpu,
            memory=self.build_memory,
            disk=self.build_disk,
            all_disk=self.environments_disk,
            days=self.environments_days,
        )
        given["sidecar"] = Sidecar(**self.sidecar)
        given["store_ca"] = Path(self.store_ca_file).read_text("utf-8") if self.store_ca_file else ""
        return KubernetesSettings(**given)
