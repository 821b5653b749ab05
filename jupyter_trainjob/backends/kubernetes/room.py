"""What there is in the cluster for our attempts, by watch: nodes, quotas, and what others have of both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ..base import NodeCapacity
from . import capacity, kept
from .connect import Connection
from .objects import INSTALLATION
from .reading import Object, conditions, meta, status
from .settings import KubernetesSettings
from .watch import Watch

SETTLE_SECONDS = 1.0
"""Changes that come together are told once."""


class Room:
    """Of one backend. ``changed()`` is called, on the loop, a moment after something changed that may be of weight."""

    def __init__(self, connection: Connection, settings: KubernetesSettings, changed: Callable[[], None]) -> None:
        self._settings, self._changed = settings, changed
        self._timer: asyncio.TimerHandle | None = None
        namespace = settings.namespace
        self.quotas = Watch(
            connection,
            f"/api/v1/namespaces/{namespace}/resourcequotas",
            what="Quotas",
            trim=kept.quota,
            changed=self._of_quota,
        )
        self.nodes = Watch(connection, "/api/v1/nodes", what="Nodes", trim=kept.node, changed=self._of_node)
        self.others = Watch(
            connection,
            "/api/v1/pods",
            what="Pods of others",
            selector=f"{INSTALLATION}!={settings.installation_label}",
            fields="status.phase!=Succeeded,status.phase!=Failed",
            across=True,
            trim=lambda found: kept.other(found, settings),
            changed=self._of_other,
        )

    @property
    def watches(self) -> tuple[Watch, ...]:
        """All of them."""
        return self.quotas, self.nodes, self.others

    def stop(self) -> None:
        """Tell no more; the watches are stopped by whoever started them."""
        if self._timer is not None:
            self._timer.cancel()

    def noticed(self) -> None:
        """A pod that takes room, and that is not watched here, came or went."""
        self._soon()

    def capacity(self, ours: capacity.Ours, helpers: Iterable[Object]) -> list[NodeCapacity]:
        """The nodes with what our attempts may have of them now. ``helpers``: pods of ours that are no attempt's."""
        return capacity.nodes(
            self._nodes(),
            self.quotas.objects.values(),
            self._settings,
            ours=ours,
            others=[*self.others.objects.values(), *helpers],
        )

    def sizes(self) -> list[NodeCapacity]:
        """The nodes as they would be if all were well and only we used them."""
        return capacity.sizes(
            self._nodes(),
            self.quotas.objects.values(),
            self._settings,
            others=self.others.objects.values(),
        )

    def warnings(self) -> list[str]:
        """What an operator should know."""
        told = [text for watch in (self.quotas, self.nodes) if (text := watch.trouble())]
        if self._is_blind():
            told.append(
                "the server may not list nodes, so that only the namespace's quota and the limits of queues bound what "
                "is admitted: a job that finds no room waits in the cluster, and ends if that takes too long"
            )
        if self.others.forbidden:
            told.append(
                "what pods of others have of the nodes is not known, because the server may not list the pods of all "
                "namespaces: jobs that find no room on a node wait there instead of in our queue"
            )
        elif text := self.others.trouble():
            told.append(text)
        return told + capacity.warnings(self._nodes(), self.quotas.objects.values(), self._settings)

    def _is_blind(self) -> bool:
        """Whether nodes were never told, and won't be: usual where one has but a namespace of a shared cluster."""
        return self.nodes.forbidden and not self.nodes.synced

    def _nodes(self) -> list[Object]:
        return [capacity.any_node(self._settings)] if self._is_blind() else list(self.nodes.objects.values())

    def _of_node(self, old: Object | None, new: Object | None) -> None:
        if _weight(old) != _weight(new):
            self._soon()

    def _of_quota(self, old: Object | None, new: Object | None) -> None:
        if (status(old), (old or {}).get("spec")) != (status(new), (new or {}).get("spec")):
            self._soon()

    def _of_other(self, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or old["spec"] != new["spec"]:
            self._soon()

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._changed()


def _weight(node: Object | None) -> object:
    """What of a node matters to what may run there."""
    if node is None:
        return None
    ready = conditions(node).get("Ready", {}).get("status")
    return status(node).get("allocatable"), ready, node.get("spec"), meta(node).get("labels")
