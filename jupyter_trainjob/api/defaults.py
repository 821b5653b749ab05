"""What a job gets that it didn't ask for: from its profile, then from its queue. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..resources.profile import Profile, completed
from ..resources.queue import Queue
from ..resources.trainjob import Environment, TrainJobSpec
from .kernels import Choice
from .requirements import fits


def complete(
    spec: TrainJobSpec, profile: Profile, queue: Queue, kernel: Choice, above: Sequence[Queue] = ()
) -> TrainJobSpec:
    """``spec`` with nothing left open. ``kernel`` is what was decided for it (:mod:`.kernels`).

    What was asked for stays, right or wrong: checking is :mod:`.limits`' work. A default gives way where it would
    contradict what was asked for (no larger file than the disk) or the time limit of the queue and those ``above`` it.
    """
    return spec.model_copy(
        update={
            "profile": profile.metadata.name,
            "queue": queue.metadata.name,
            "resources": completed(spec.resources, profile.spec.defaults),
            "environment": _environment(spec.environment, profile.spec.environment, kernel),
            "time_limit_seconds": spec.time_limit_seconds or _time_limit(profile, queue, *above),
        }
    )


def _time_limit(profile: Profile, *queues: Queue) -> int:
    ceilings = [profile.spec.max_time_limit_seconds, *(queue.spec.max_time_limit_seconds for queue in queues)]
    return min([profile.spec.time_limit_seconds, *(ceiling for ceiling in ceilings if ceiling is not None)])


def _environment(asked: Environment, profile: Environment, kernel: Choice) -> Environment:
    env = {variable.name: variable for variable in (*profile.env, *asked.env)}
    ready = profile.requirements if fits(profile.requirements, kernel.language) else None
    return Environment(
        language=kernel.language,
        kernel=kernel.kernel,
        image=asked.image or profile.image,
        requirements=asked.requirements or ready,
        env=list(env.values()),
    )
