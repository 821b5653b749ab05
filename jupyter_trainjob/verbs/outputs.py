"""Verbs about what came back: results, files, download, notebook."""

from __future__ import annotations

import argparse
import fnmatch

from .context import Context, Show, Value


def results(context: Context, arguments: argparse.Namespace) -> Show | Value:
    """The list, or one variable."""
    job = context.find(arguments.name, arguments.namespace)
    if arguments.variable:
        return Value(job.result(arguments.variable, trust=arguments.trust))
    return Show("Result", job.results(), arguments.output)


def files(context: Context, arguments: argparse.Namespace) -> Show:
    """What the job wrote."""
    job = context.find(arguments.name, arguments.namespace)
    listed = job.outputs()
    found = listed.get("files") or []
    total = int(listed.get("filesTotal") or len(found))
    if total > len(found):
        context.tell(f"(the first {len(found)} of {total} files)")
    if arguments.path:
        folder = arguments.path.rstrip("/") + "/"
        found = [
            item
            for item in found
            if item["path"] == arguments.path
            or item["path"].startswith(folder)
            or fnmatch.fnmatchcase(item["path"], arguments.path)
        ]
    return Show("File", found, arguments.output)


def download(context: Context, arguments: argparse.Namespace) -> None:
    """Files here."""
    job = context.find(arguments.name, arguments.namespace)
    written = job.download(arguments.path, arguments.to)
    for path in written:
        context.say(str(path))
    if not written:
        context.tell(f"{job.name} has written no files.")


def notebook(context: Context, arguments: argparse.Namespace) -> None:
    """The executed notebook here."""
    context.say(str(context.find(arguments.name, arguments.namespace).notebook(arguments.to)))
