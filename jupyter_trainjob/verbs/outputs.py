"""Verbs about what came back: results, files, download, notebook."""

from __future__ import annotations

import argparse
import fnmatch

from ..client import InputError, view
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
    if arguments.all:
        found = job.all_files()
    else:
        listed = job.outputs()
        found = listed.get("files") or []
        total = int(listed.get("filesTotal") or len(found))
        if total > len(found):
            context.tell(f"(the first {len(found)} of {total} files; --all names all)")
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
    if arguments.archive and (arguments.path or arguments.to):
        raise InputError("--archive takes all, into one file: it goes with neither PATH nor --to.")
    job = context.find(arguments.name, arguments.namespace)
    if arguments.archive:
        file = job.save_archive(arguments.archive)
        context.say(f"{file} ({view.size_text(file.stat().st_size)})")
        return
    written = job.download(arguments.path, arguments.to)
    for path in written:
        context.say(str(path))
    if not written:
        context.tell(f"{job.name} has written no files.")


def notebook(context: Context, arguments: argparse.Namespace) -> None:
    """The executed notebook here."""
    context.say(str(context.find(arguments.name, arguments.namespace).notebook(arguments.to)))
