"""All objects of one installation, in the order in which a cluster takes them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from ....resources.volumes import AllowedVolume
from ..settings import KubernetesSettings
from ..volumes import Manifest, share
from . import access, bounds, prepull, service
from .settings import DeploySettings


@dataclass(frozen=True)
class Plan:
    """What is wanted. ``configuration``: the files of the service's Secret; ``shares``: volumes of profiles."""

    settings: KubernetesSettings
    deploy: DeploySettings
    store: bounds.StorePlace
    configuration: Mapping[str, str] = field(default_factory=dict)
    shares: Sequence[AllowedVolume] = ()
    indexes: Sequence[bounds.StorePlace] = ()
    """Where environments come from."""
    parts: Sequence[str] = ()
    """Only these are made, left out otherwise or not; empty: all that are not left out."""

    def makes(self, part: str) -> bool:
        """Whether a part is to be there."""
        return part in self.parts if self.parts else self.deploy.has(part)


def manifests(plan: Plan) -> list[Manifest]:
    """In wire form. Raises :class:`.bounds.NoPeer`."""
    return [wire(found) for found in _objects(plan)]


def wire(found: BaseModel | Manifest) -> Manifest:
    """A typed object as JSON has it, with what it is on top."""
    told = found if isinstance(found, dict) else found.model_dump(by_alias=True, exclude_none=True)
    return {**{key: told[key] for key in ("apiVersion", "kind", "metadata") if key in told}, **told}


def _objects(plan: Plan) -> Iterator[BaseModel | Manifest]:
    settings, deploy = plan.settings, plan.deploy
    if plan.makes("namespace"):
        yield access.namespace(settings, deploy)
    if plan.makes("rights"):
        yield access.account(settings, deploy)
        yield access.role(settings, deploy)
        yield access.binding(settings, deploy)
    if plan.makes("cluster-rights"):
        yield access.cluster_role(settings, deploy)
        yield access.cluster_binding(settings, deploy)
    if plan.makes("network"):
        yield bounds.deny_all(settings)
        yield bounds.to_store(settings, deploy, plan.store)
        if deploy.has("service"):
            yield bounds.of_service(settings, deploy)
        if deploy.index_peers or plan.indexes:
            yield bounds.of_builders(settings, deploy, plan.indexes)
    if plan.makes("limits"):
        yield bounds.quota(settings, deploy)
        yield bounds.limit_range(settings, deploy)
    if plan.makes("volumes"):
        for allowed in plan.shares:
            yield from share(allowed, settings)
        if deploy.environments_storage_class and settings.environments.claim:
            yield service.environments(settings, deploy)
    if plan.makes("service"):
        yield service.secret(settings, plan.configuration)
        if not deploy.database_secret:
            yield service.claim(settings, deploy)
        yield service.address(settings, deploy)
        yield service.deployment(settings, deploy, plan.configuration)
    if plan.makes("images"):
        yield prepull.daemon_set(settings, deploy)


def named(manifest: Manifest) -> str:
    """``Kind/name``, for people."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def secrets_of(deploy: DeploySettings) -> dict[str, tuple[str, str]]:
    """The Secrets that an operator makes for the service → the key in them, and what it holds."""
    if not deploy.has("service"):
        return {}
    found = {
        deploy.store_secret: (service.STORE_FILE, "the file with the object store's keys"),
        deploy.token_secret: (service.TOKEN_FILE, "the file of tokens that `jupyter trainjob token create` makes"),
    }
    if deploy.database_secret:
        found[deploy.database_secret] = (service.DATABASE_KEY, "PostgreSQL's URL")
    return found


def document(items: Sequence[Manifest]) -> dict[str, Any]:
    """All of them as one object."""
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}
