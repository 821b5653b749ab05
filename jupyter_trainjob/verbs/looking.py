"""Verbs that look: list, show, logs, wait, why, last, queues, profiles, kernels, limits."""

from __future__ import annotations

import argparse
import time
from typing import Any

from ..client import InputError, Job, NotFound, WaitTimeout, spec, view
from .context import Context, Show, names_of_parents
from .several import Several

EXIT_ERROR = 1
EXIT_FAILED = 3
EXIT_TIMEOUT = 124


def list_jobs(context: Context, arguments: argparse.Namespace) -> Show:
    """Jobs, newest first."""
    found = context.client().jobs(
        namespace=arguments.namespace,
        all_namespaces=arguments.all_namespaces,
        owner=arguments.owner,
        labels=arguments.selector,
        phases=arguments.phase,
        queue=arguments.queue,
        text=arguments.text,
        limit=arguments.limit or None,
    )
    if arguments.limit and len(found) == arguments.limit:
        context.tell(f"(the newest {arguments.limit}; --limit 0 shows all)")
    if not found and not arguments.all_namespaces:
        where = f"the namespace {arguments.namespace}" if arguments.namespace else "your own namespace"
        context.tell(f"Looked in {where}; -n NAMESPACE looks in another, -A in all.")
    return Show(
        "TrainJobs" if arguments.all_namespaces else "TrainJob", [job.resource for job in found], arguments.output
    )


def show(context: Context, arguments: argparse.Namespace) -> Show:
    """One job."""
    return _one(context, context.find(arguments.name, arguments.namespace), arguments.output)


def _one(context: Context, job: Job, output: str) -> Show:
    names = {} if output else names_of_parents(context.client(), job.resource)
    return Show("TrainJob", [job.resource], output, single=True, job=job, names=names)


def last(context: Context, arguments: argparse.Namespace) -> Show:
    """The latest job."""
    job = context.last()
    if job is None or arguments.namespace not in (None, job.namespace):
        client = context.client()
        found = client.jobs(namespace=arguments.namespace, owner=str(client.me().get("username", "")), limit=1)
        if not found:
            raise NotFound("You have no job yet.", remedy="Put %%trainjob on top of a cell and run it.")
        job = found[0]
    job.refresh()
    return _one(context, job, arguments.output)


def logs(context: Context, arguments: argparse.Namespace) -> int:
    """What it prints; following ends with the job."""
    if arguments.follow and arguments.attempt is not None:
        raise InputError(
            f"--attempt {arguments.attempt} with --follow: what is followed is the attempt that runs.",
            remedy="Leave one of the two out.",
        )
    job = context.find(arguments.name, arguments.namespace)
    if not arguments.follow:
        text = job.logs(tail=arguments.tail, attempt=arguments.attempt)
        context.write(str(text))
        if not text:
            context.tell(f"{job.name} has printed nothing: {job.describe()}")
        return 0
    end = ""
    for piece in job.logs(True, tail=arguments.tail):
        context.write(piece)
        end = piece[-1:] or end
    if end not in ("", "\n"):
        context.write("\n")
    context.tell(f"{job.name}: {job.describe()}")
    return 0 if job.succeeded else EXIT_FAILED


def wait(context: Context, arguments: argparse.Namespace) -> int:
    """Until all have ended."""
    timeout = None if arguments.timeout is None else spec.seconds(arguments.timeout)
    end = None if timeout is None else time.monotonic() + timeout
    several, jobs = Several(arguments.names), {}
    with several.all(context.tell):
        for name in several.names:
            with several.one(name):
                jobs[name] = context.find(name, arguments.namespace)
    for line in several.lines():  # now, and not when the others have ended
        context.tell(line)
    worst = 0
    for name, job in jobs.items():
        with several.one(name):
            try:
                job.wait(None if end is None else max(0.0, end - time.monotonic()))
            except WaitTimeout as error:
                context.tell(str(error))
                return EXIT_TIMEOUT
            context.say(f"{job.name}: {job.describe()}")
            worst = worst if worst or job.succeeded else EXIT_FAILED
        if name in several.failed:
            context.tell(several.line(name))
    if context.place == "magic":  # it has no exit status: what failed must stop a notebook that is run whole
        several.finish()
    return EXIT_ERROR if several.failed else worst


def why(context: Context, arguments: argparse.Namespace) -> Show | None:
    """What it waits for, and what to do about it."""
    job = context.find(arguments.name, arguments.namespace)
    answer = job.why()
    if arguments.output in ("json", "yaml"):
        return Show("Why", [answer], arguments.output, single=True)
    for line in why_lines(job, answer):
        context.say(line)
    return None


def why_lines(job: view.JobView, answer: dict[str, Any]) -> list[str]:
    """The answer of ``/why`` for a person: each thing said once, times as the clock here shows them."""
    if job.phase != "Queued":
        return [f"{job.name}: {job.describe()}", "  It does not wait."]
    place = f", position {answer['position']}" if answer.get("position") else ""
    waiting = str(answer.get("waitingFor") or "")
    lines = [f"{job.name}: Queued{place}", f"  {waiting}"]
    for blocker in answer.get("blockers") or []:
        message = str(blocker.get("message") or "").rstrip(".")
        if message and message.casefold() not in waiting.casefold():
            lines.append(f"  {message[:1].upper()}{message[1:]}.")
        lines.append(f"  {blocker.get('remedy') or ''}")
    if answer.get("estimatedStart"):
        lines.append(
            f"  It starts at {view.local_text(answer['estimatedStart'])} at the latest, unless others come first."
        )
    return [line for line in lines if line.strip()]


def queues(context: Context, arguments: argparse.Namespace) -> Show:
    """Queues."""
    return _things(context, "queues", "Queue", arguments)


def profiles(context: Context, arguments: argparse.Namespace) -> Show:
    """Profiles."""
    return _things(context, "profiles", "Profile", arguments)


def _things(context: Context, plural: str, kind: str, arguments: argparse.Namespace) -> Show:
    if arguments.name:
        return Show(kind, [context.client().thing(plural, arguments.name)], arguments.output, single=True)
    return Show(kind, context.client().things(plural), arguments.output)


def kernels(context: Context, arguments: argparse.Namespace) -> Show:
    """What --kernel may name."""
    return Show("Kernel", context.client().kernels(), arguments.output)


def limits(context: Context, arguments: argparse.Namespace) -> Show | None:
    """Who one is and what one may use."""
    me = context.client().me()
    if arguments.output in ("json", "yaml"):
        return Show("Me", [me], arguments.output, single=True)
    role = " (operator)" if me.get("operator") else ""
    context.say(f"You are {me.get('username')}{role}; namespaces: {_namespaces(me)}")
    allowed = (me.get("limits") or {}).get("storedBytes")
    of = f" of {view.size_text(allowed)}" if allowed else ""
    context.say(f"Uploads stored: {view.size_text(me.get('storedBytes', 0))}{of}")
    return Show("Queue", context.client().queues(), arguments.output)


def _namespaces(me: dict[str, Any]) -> str:
    return ", ".join(f"{item.get('name')} ({item.get('role')})" for item in me.get("namespaces") or []) or "none"
