"""Folders of environments that are needed no more are removed by a Job on their volume: nobody else sees it whole."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from . import environments_objects, objects
from .connect import Connection
from .environments_objects import BUILDING, BUILDS, FOLDER, SCOPE
from .reading import Object, annotation, is_done, meta, true
from .settings import KubernetesSettings
from .watch import Watch

AT_ONCE = 200
"""Folders of one Job."""


def is_build(job: Object, scope: str) -> bool:
    """Whether a Job builds an environment of this backend's."""
    labels = meta(job).get("labels") or {}
    return labels.get(BUILDS) == BUILDING and labels.get(SCOPE) == scope


def is_over(job: Object) -> bool:
    """Whether a Job does nothing more."""
    return bool(true(job, "Complete") or true(job, "Failed"))


def in_use(jobs: Iterable[Object], pods: Iterable[Object]) -> set[str]:
    """Folders that attempts or builds have, whosever. A pod may outlive its Job, and has its volumes until it is gone.
    Pure.
    """
    found = [*jobs, *(pod for pod in pods if not is_done(pod))]
    named = (annotation(one, name) for one in found for name in (objects.ENVIRONMENT, FOLDER))
    return {folder for folder in named if folder}


class Removal:
    """Of one backend. What a server that died had still to remove is found by its age, by the Job itself."""

    def __init__(self, api: Connection, settings: KubernetesSettings, jobs: Watch) -> None:
        self._api, self._settings, self._watch = api, settings, jobs
        self.garbage: set[str] = set()

    def add(self, folder: str | None) -> None:
        """It is to go as soon as nobody has it."""
        if folder:
            self.garbage.add(folder)

    async def run(self, scope: str, standing: Collection[str], used: Collection[str]) -> None:
        """Begin to remove what nobody has. ``standing``: folders of what is ready. One Job at a time; what it does not
        get at, a later one does.
        """
        path = f"/apis/batch/v1/namespaces/{self._settings.namespace}/jobs"
        name = environments_objects.removal_name(scope)
        job = self._watch.objects.get(name)
        if job is not None:
            if is_over(job):
                await self._api.delete(f"{path}/{name}", propagationPolicy="Background")
            return
        going = sorted(self.garbage - set(used))[:AT_ONCE]
        if not going:
            return
        known = sorted({*standing, *used} - set(going))
        body = environments_objects.removal(self._settings, scope, going, known)
        reply = await self._api.request("POST", path, body=body)
        if reply.ok:
            self._watch.put(reply.body)
            self.garbage -= set(going)
