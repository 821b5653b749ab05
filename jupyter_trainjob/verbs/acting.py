"""Verbs that change jobs: cancel, hold, release, retry, rerun, delete."""

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
