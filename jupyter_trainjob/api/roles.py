"""Who may do what: one table, verb × kind × role, and the checks that read it.

A person holds, towards one thing, some of these roles: ``own`` (it is theirs, or it lies in their own namespace
and isn't there yet), ``anyone`` (they are known), ``viewer``, ``member`` or ``instructor`` (of its namespace or of
its queue), ``queue instructor`` (of its queue, whatever its namespace: order and limits are the queue's) and
``operator`` (of all). One role that the table lists is enough. A role in a queue is one in all queues below it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ..resources.base import Resource
from ..resources.errors import Forbidden, NotFound
from ..resources.trainjob import TrainJob
from ..resources.visible import Visible
from ..store import Filter, Store
from .identity import QUEUE_PREFIX, Identity
from .tree import QueueTree, below

VERBS = (
    "list",
    "get",
    "create",
    "update",
    "delete",
    "cancel",
    "hold",
    "release",
    "front",
    "approve",
    "reject",
    "retry",
    "log",
    "outputs",
    "why",
    "admin",
)

ANYONE = "anyone"
OWN = "own"
VIEWER = "viewer"
MEMBER = "member"
INSTRUCTOR = "instructor"
QUEUE_INSTRUCTOR = "queue instructor"
OPERATOR = "operator"
ROLES = (ANYONE, OWN, VIEWER, MEMBER, INSTRUCTOR, QUEUE_INSTRUCTOR, OPERATOR)

_LOOK = frozenset({OWN, VIEWER, INSTRUCTOR, QUEUE_INSTRUCTOR, OPERATOR})
_STEER = frozenset({OWN, INSTRUCTOR, QUEUE_INSTRUCTOR, OPERATOR})
_OWNER = frozenset({OWN, OPERATOR})
STEERS = frozenset({QUEUE_INSTRUCTOR, OPERATOR})
"""Who decides about a queue: its order, its limits, and what goes beyond them."""
_ANYONE = frozenset(ROLES)
_OPERATOR = frozenset({OPERATOR})

TABLE: MappingProxyType[str, MappingProxyType[str, frozenset[str]]] = MappingProxyType(
    {
        "TrainJob": MappingProxyType(
            {
                "list": _LOOK | {MEMBER},  # of which each sees what they may get
                "get": _LOOK,
                "log": _LOOK,
                "outputs": _LOOK,
                "why": _LOOK,
                "create": frozenset({OWN, MEMBER, INSTRUCTOR, QUEUE_INSTRUCTOR, OPERATOR}),
                "update": _OWNER,
                "cancel": _STEER,
                "hold": _STEER,
                "release": _STEER,
                "front": STEERS,
                "approve": STEERS,
                "reject": STEERS,
                "retry": _OWNER,
                "delete": _OWNER,
                "admin": _OPERATOR,
            }
        ),
        "Queue": MappingProxyType(
            {
                "list": _ANYONE,
                "get": _ANYONE,
                "update": STEERS,  # an instructor: the limits of a queue they instruct
                "create": _OPERATOR,
                "delete": _OPERATOR,
                "admin": _OPERATOR,
            }
        ),
        "Profile": MappingProxyType(
            {
                "list": _ANYONE,
                "get": _ANYONE,
                "update": _OPERATOR,
                "create": _OPERATOR,
                "delete": _OPERATOR,
                "admin": _OPERATOR,
            }
        ),
        "Blob": MappingProxyType({"get": _ANYONE, "create": _ANYONE}),  # always and only one's own: keys hold the owner
        "Change": MappingProxyType({"list": _ANYONE}),  # of things that one may get
        "Me": MappingProxyType({"get": _ANYONE}),
        "Kernel": MappingProxyType({"list": _ANYONE}),
        "Schema": MappingProxyType({"list": _ANYONE, "get": _ANYONE}),
        "Metrics": MappingProxyType({"get": _OPERATOR}),
    }
)
"""Kind → verb → the roles that may. A verb that is not there nobody may."""


class Roles:
    """The checks.

    ``namespaces`` are those that the configuration names beside people's own, ``named`` tells those that the
    identity provider's roles name; in ``store``, the record, more may exist (all of them for operators).
    """

    def __init__(
        self,
        *,
        namespaces: Collection[str] = (),
        named: Callable[[], Collection[str]] = frozenset,
        store: Store | None = None,
    ) -> None:
        self._configured = frozenset(namespaces)
        self._named = named
        self._store = store
        self._tree = QueueTree(store) if store is not None else None

    async def resolved(self, identity: Identity) -> Identity:
        """``identity`` with its roles in the queues below those that it names, as the record has them now."""
        given = {place.removeprefix(QUEUE_PREFIX): role for place, role in identity.roles.items() if _is_queue(place)}
        if not given or self._tree is None:
            return identity
        return replace(identity, inherited=inherited(given, await self._tree.children()))

    def require(
        self,
        identity: Identity,
        verb: str,
        kind: str,
        *,
        namespace: str | None = None,
        resource: Resource | None = None,
    ) -> None:
        """Return if ``identity`` may; else :class:`Forbidden`, or :class:`NotFound` where they may not even know.

        ``resource`` is the thing at hand; ``namespace`` alone is for listing and creating.
        """
        if self.allowed(identity, verb, kind, namespace=namespace, resource=resource):
            return
        if resource is not None and not self.allowed(identity, "get", kind, resource=resource):
            raise NotFound(f"There is no such {kind} here, or you may not see it.")
        if resource is None and namespace is not None and not self._has_place(identity, namespace):
            raise self._unknown_namespace(identity, namespace)
        raise Forbidden(
            f"{identity.username} may not {verb} {_thing(kind, resource, namespace)}.",
            remedy=_who_may(kind, verb),
        )

    def allowed(
        self,
        identity: Identity,
        verb: str,
        kind: str,
        *,
        namespace: str | None = None,
        resource: Resource | None = None,
    ) -> bool:
        """Whether ``identity`` may ``verb`` the thing."""
        may = TABLE[kind].get(verb, frozenset())
        return not may.isdisjoint(self.held(identity, namespace=namespace, resource=resource))

    def held(
        self, identity: Identity, *, namespace: str | None = None, resource: Resource | None = None
    ) -> frozenset[str]:
        """The roles that ``identity`` holds towards a resource, or towards a namespace."""
        held = {ANYONE}
        if identity.operator:
            held.add(OPERATOR)
        place = namespace
        if resource is not None:
            if resource.metadata.owner == identity.username and resource.NAMESPACED:
                held.add(OWN)
            place = resource.metadata.namespace if resource.NAMESPACED else None
            queue = resource.spec.queue if isinstance(resource, TrainJob) else ""
            if resource.kind == "Queue":
                queue = resource.metadata.name
            held |= _of_queue(identity.roles_in(queue))
        elif namespace == identity.namespace:
            held.add(OWN)
        if place is not None and place in identity.roles:
            held.add(identity.roles[place])
        return frozenset(held)

    def visible(self, identity: Identity) -> Visible | None:
        """What ``identity`` may see of the record; None: all."""
        if identity.operator:
            return None
        may = TABLE["TrainJob"]["get"]
        return Visible(
            owner=identity.username,
            namespaces=frozenset(
                place for place, role in identity.roles.items() if role in may and not _is_queue(place)
            ),
            queues=frozenset(queue for queue in identity.queues if not may.isdisjoint(identity.roles_in(queue))),
        )

    def places(self, identity: Identity) -> dict[str, str]:
        """Namespace → role, for ``/me``: the own one as ``own``, an operator's configured ones as ``operator``."""
        places = {place: role for place, role in identity.roles.items() if not _is_queue(place)}
        if identity.operator:
            for namespace in sorted({*self._configured, *self._named()}):
                places.setdefault(namespace, OPERATOR)
        return {
            identity.namespace: OWN,
            **{place: role for place, role in places.items() if place != identity.namespace},
        }

    async def namespace(self, identity: Identity, namespace: str) -> None:
        """Return if ``identity`` may use ``namespace``; else :class:`NotFound` that names those they may."""
        if self._has_place(identity, namespace) and namespace in self.places(identity):
            return
        if identity.operator and self._store is not None:
            here = Filter(namespaces=[namespace])
            page = await self._store.aread(lambda reader: reader.list(TrainJob, here, limit=1))
            if page.items:
                return
        raise self._unknown_namespace(identity, namespace)

    def permissions(self, identity: Identity) -> list[dict[str, Any]]:
        """What ``identity`` may do and where, for ``/me``: ``{kind, verbs, namespace | queue}``, or neither for all."""
        found: list[dict[str, Any]] = []
        everywhere = {ANYONE} | ({OPERATOR} if identity.operator else set())
        for kind in TABLE:
            _add(found, kind, everywhere, {})
        for place, role in self.places(identity).items():
            _add(found, "TrainJob", {role}, {"namespace": place})
        for queue in sorted(identity.queues):
            for kind in ("TrainJob", "Queue"):
                _add(found, kind, _of_queue(identity.roles_in(queue)), {"queue": queue})
        return found

    def masks(self, identity: Identity, resource: Resource) -> bool:
        """Whether ``identity`` may not read the environment values of ``resource``."""
        if isinstance(resource, TrainJob):
            return resource.metadata.owner != identity.username
        return resource.kind == "Profile" and not identity.operator

    def _has_place(self, identity: Identity, namespace: str) -> bool:
        return identity.operator or namespace == identity.namespace or namespace in identity.roles

    def _unknown_namespace(self, identity: Identity, namespace: str) -> NotFound:
        return NotFound(
            f"There is no namespace {namespace!r} that {identity.username} may use.",
            remedy="You may use: " + ", ".join(self.places(identity)) + ".",
        )


def mask(resource: Resource) -> dict[str, Any]:
    """The wire form of a job or a profile without its environment values."""
    data = resource.to_dict()
    mask_environment(data["spec"])
    mask_environment(data.get("status", {}).get("profileSnapshot", {}).get("spec", {}))
    return data


def mask_environment(spec: dict[str, Any]) -> None:
    """Put ``***`` in the place of every environment value of a spec's wire form."""
    for variable in spec.get("environment", {}).get("env", []):
        variable["value"] = "***"


def inherited(given: Mapping[str, str], children: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
    """Queue → roles, for all below those of ``given`` (queue → role). ``children``: queue → those right below."""
    found: dict[str, frozenset[str]] = {}
    for queue, role in given.items():
        for name in below(queue, children) - {queue}:
            found[name] = found.get(name, frozenset()) | {role}
    return found


def _is_queue(place: str) -> bool:
    return place.startswith(QUEUE_PREFIX)


def _of_queue(roles: Collection[str]) -> set[str]:
    """What someone with these roles in a queue is towards it and its jobs."""
    return {*roles, QUEUE_INSTRUCTOR} if INSTRUCTOR in roles else set(roles)


def _add(found: list[dict[str, Any]], kind: str, held: set[str], where: dict[str, str]) -> None:
    verbs = [verb for verb in VERBS if not held.isdisjoint(TABLE[kind].get(verb, frozenset()))]
    if verbs:
        found.append({"kind": kind, "verbs": verbs, **where})


def _thing(kind: str, resource: Resource | None, namespace: str | None) -> str:
    if resource is not None:
        whose = f" of {resource.metadata.owner}" if resource.NAMESPACED else ""
        return f"the {kind} {resource.metadata.name!r}{whose}"
    return f"a {kind} in namespace {namespace!r}" if namespace else f"a {kind}"


def _who_may(kind: str, verb: str) -> str:
    words = {
        OWN: "its owner",
        VIEWER: "a viewer",
        MEMBER: "a member",
        INSTRUCTOR: "an instructor of its namespace or queue",
        QUEUE_INSTRUCTOR: "an instructor of its queue" if kind == "TrainJob" else "an instructor of it",
        OPERATOR: "an operator",
    }
    roles = TABLE[kind].get(verb, frozenset())
    if INSTRUCTOR in roles:
        roles -= {QUEUE_INSTRUCTOR}
    may = [words[role] for role in ROLES if role in roles and role in words]
    return ("That is for " + " or ".join(may) + ".") if may else "Nobody may do this."


def table_markdown() -> str:
    """The table as Markdown, for ``docs/roles.md``."""
    lines = ["| kind | verb | " + " | ".join(ROLES) + " |", "|---|---|" + "---|" * len(ROLES)]
    for kind, verbs in TABLE.items():
        for verb in VERBS:
            if verb in verbs:
                marks = ["yes" if role in verbs[verb] else "" for role in ROLES]
                lines.append(f"| {kind} | {verb} | " + " | ".join(marks) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    from pathlib import Path

    page = Path(__file__).parents[2] / "docs" / "roles.md"
    begin, end = "<!-- table -->\n", "<!-- end of the table -->\n"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    page.write_text(before + begin + table_markdown() + end + rest.partition(end)[2], encoding="utf-8")
