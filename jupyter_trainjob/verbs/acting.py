"""Verbs that change jobs, and the turn of queues."""

from __future__ import annotations

import argparse

from ..client import InputError, Job
from .context import Context, Show
from .options import parameters


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
    for name in arguments.names:
        job = context.find(name, arguments.namespace).cancel(arguments.message)
        context.say(f"{job.name}: " + ("cancelled" if job.phase == "Cancelled" else "cancel asked for"))


def hold(context: Context, arguments: argparse.Namespace) -> None:
    """Keep them from starting."""
    for job in _each(context, arguments):
        context.say(f"{job.hold(arguments.message).name}: held; release it with: release {job.name}")


def release(context: Context, arguments: argparse.Namespace) -> None:
    """Take the hold away."""
    for job in _each(context, arguments):
        context.say(f"{job.release(arguments.message).name}: released")


def front(context: Context, arguments: argparse.Namespace) -> None:
    """The first of their queue; the one that is named first goes first."""
    for job in reversed(_each(context, arguments)):
        context.say(f"{job.front(arguments.message).name}: moved to the front of the queue {job.spec.get('queue')}")


def approve(context: Context, arguments: argparse.Namespace) -> None:
    """Beyond their owners' limits."""
    for job in _each(context, arguments):
        context.say(f"{job.approve(arguments.message).name}: approved")


def reject(context: Context, arguments: argparse.Namespace) -> None:
    """They end."""
    for job in _each(context, arguments):
        context.say(f"{job.reject(arguments.message).name}: rejected")


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
    for job in _each(context, arguments):
        gone = job.delete(propagation="orphan" if arguments.orphan else "cascade")
        after = "is being deleted" if job.finished else "is being stopped, then deleted"
        context.say(f"{job.name}: {'deleted' if gone else after}")


def _each(context: Context, arguments: argparse.Namespace) -> list[Job]:
    return [context.find(name, arguments.namespace) for name in arguments.names]
