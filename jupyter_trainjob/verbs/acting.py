"""Verbs that change jobs, and the turn of queues."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ..client import InputError, Job
from .context import Context, Show
from .options import parameters
from .several import Several


def cancel(context: Context, arguments: argparse.Namespace) -> None:
    """Stop the named ones, or all of one's own."""
    if arguments.all == bool(arguments.names):
        raise InputError("Which jobs?", remedy="Name them, or say --all for all of your own that are not finished.")
    if arguments.all:
        stopped = context.client().cancel_all(arguments.namespace)
        for job in stopped:
            context.say(f"{job.name}: cancel asked for")
        if not stopped:
            where = f" in the namespace {arguments.namespace}" if arguments.namespace else ""
            context.say(f"You have no job that is not finished{where}.")
        return

    def stop(job: Job) -> str:
        job.cancel(arguments.message)
        return "cancelled" if job.phase == "Cancelled" else "cancel asked for"

    _each(context, arguments, stop)


def hold(context: Context, arguments: argparse.Namespace) -> None:
    """Keep them from starting."""

    def keep(job: Job) -> str:
        job.hold(arguments.message)
        return f"held; release it with: {context.command('release', job)}"

    _each(context, arguments, keep)


def release(context: Context, arguments: argparse.Namespace) -> None:
    """Take the hold away."""

    def let_go(job: Job) -> str:
        job.release(arguments.message)
        return "released"

    _each(context, arguments, let_go)


def front(context: Context, arguments: argparse.Namespace) -> None:
    """The first of their queue; the one that is named first goes first."""

    def move(job: Job) -> str:
        job.front(arguments.message)
        return f"moved to the front of the queue {job.spec.get('queue')}"

    arguments.names = arguments.names[::-1]
    _each(context, arguments, move)


def approve(context: Context, arguments: argparse.Namespace) -> None:
    """Beyond their owners' limits."""

    def allow(job: Job) -> str:
        job.approve(arguments.message)
        return "approved"

    _each(context, arguments, allow)


def reject(context: Context, arguments: argparse.Namespace) -> None:
    """They end."""

    def refuse(job: Job) -> str:
        job.reject(arguments.message)
        return "rejected"

    _each(context, arguments, refuse)


def pause(context: Context, arguments: argparse.Namespace) -> None:
    """Nothing starts."""
    _turn(context, arguments, "pause", "nothing starts in it, and all that runs goes on; open it with: open")


def drain(context: Context, arguments: argparse.Namespace) -> None:
    """Nothing new."""
    _turn(context, arguments, "drain", "it takes no new jobs, and those that wait will run; open it with: open")


def open_queue(context: Context, arguments: argparse.Namespace) -> None:
    """As ever."""
    _turn(context, arguments, "open", "it takes jobs and starts them")


def _turn(context: Context, arguments: argparse.Namespace, how: str, now: str) -> None:
    queue = context.client().turn_queue(arguments.queue, how, arguments.message)
    name = queue["metadata"]["name"]
    context.say(f"The queue {name}: {now}{'' if how == 'open' else f' {name}'}.")


def retry(context: Context, arguments: argparse.Namespace) -> Show:
    """The same as a new job."""
    job = context.find(arguments.name, arguments.namespace).retry()
    context.submitted(job)
    return Show("TrainJob", [job.resource], arguments.output, single=True, job=job)


def rerun(context: Context, arguments: argparse.Namespace) -> Show:
    """What it did as a new job, as recorded."""
    job = context.find(arguments.name, arguments.namespace).rerun(parameters(arguments.param))
    context.submitted(job)
    return Show("TrainJob", [job.resource], arguments.output, single=True, job=job)


def delete(context: Context, arguments: argparse.Namespace) -> None:
    """Remove them."""

    def remove(job: Job) -> str:
        if job.delete(propagation="orphan" if arguments.orphan else "cascade"):
            return "deleted"
        return "is being deleted" if job.finished else "is being stopped, then deleted"

    _each(context, arguments, remove)


def _each(context: Context, arguments: argparse.Namespace, act: Callable[[Job], str]) -> None:
    """``act`` on every job that is named, and say what it answers; then raise what failed."""
    several = Several(arguments.names)
    with several.all(context.tell):
        for name in several.names:
            with several.one(name):
                job = context.find(name, arguments.namespace)
                context.say(f"{job.name}: {act(job)}")
    several.finish()
