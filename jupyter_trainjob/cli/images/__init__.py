"""``jupyter trainjob images build``: the images of the kernels and of the service, by the engine that is there."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ...verbs.options import argument
from ...verbs.parser import Parser, did_you_mean
from .context import ContextError, known, prepare
from .engines import ENGINES, Engine, EngineError, Order, find
from .mirrors import OPTIONS, MirrorError, secrets

PROG = "jupyter trainjob images build"
_ARGUMENTS = (
    argument("names", nargs="*", metavar="NAME", help="Which ones; all, if none is named."),
    argument("--base", metavar="IMAGE", default="", help="What they are built on, instead of Debian's bookworm-slim."),
    argument("--tag", metavar="TAG", default="", help="Their tag; the version, if none is given."),
    argument(
        "--prefix",
        metavar="PREFIX",
        default="docker.io/trainjob",
        help="What stands before their names. Default: docker.io/trainjob.",
    ),
    argument(
        "--engine", metavar="ENGINE", choices=sorted(ENGINES), help="docker, podman or buildah; the first that works."
    ),
    argument(
        "--push",
        metavar="REGISTRY",
        default="",
        help="Send them to REGISTRY/NAME:TAG, such as registry.example.org/course.",
    ),
    argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        help="Write each as an archive FOLDER/NAME.tar, to be imported elsewhere.",
    ),
    argument(
        "--build-arg",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="An argument of a Dockerfile; repeatable.",
    ),
    *(argument(option, metavar="FILE", type=Path, help=text) for option, (_, text) in OPTIONS.items()),
    argument("-h", "--help", action="store_true", help="This."),
)
_USAGE = "usage: jupyter trainjob images build [NAME …] [options]; --help explains them."


def images_main(argv: Sequence[str]) -> int:
    """Run the command; its exit status. What was built goes to stdout, a line each, all else to stderr."""
    words = list(argv)
    parser = Parser(PROG, "Build the images " + ", ".join(known()) + ".", _ARGUMENTS)
    if words[:1] != ["build"]:
        asked = {"-h", "--help"} & set(words)
        (sys.stdout if asked else sys.stderr).write(f"{parser.format_help() if asked else _USAGE}\n")
        return 0 if asked else 2
    options = parser.parse(words[1:])
    if options.help:
        sys.stdout.write(f"{parser.format_help()}\n")
        return 0
    if wrong := [name for name in options.names if name not in known()]:
        sys.stderr.write(f"{PROG}: there is no image {wrong[0]!r}." + did_you_mean(wrong[0], known()) + "\n")
        return 2
    if wrong := [text for text in options.build_arg if "=" not in text]:
        sys.stderr.write(f"{PROG}: --build-arg {wrong[0]}: write NAME=VALUE.\n")
        return 2
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trainjob-images-")))
            engine = find(options.engine)
            given = {option: getattr(options, option[2:].replace("-", "_")) for option in OPTIONS}
            order = Order(
                context=prepare(folder / "context"),
                scratch=folder,
                prefix=options.prefix.rstrip("/"),
                tag=options.tag or _version(),
                arguments=_arguments(options.base, options.build_arg),
                secrets=secrets(given, folder),
            )
            for name in options.names or known():
                _one(engine, order, name, options.push.rstrip("/"), options.output)
    except (ContextError, EngineError, MirrorError, OSError) as error:
        sys.stderr.write(f"{PROG}: {error}\n")
        return 1
    return 0


def _one(engine: Engine, order: Order, name: str, registry: str, output: Path | None) -> None:
    """Build, send, write; then tell the image with the digest under which it is known there."""
    sys.stderr.write(f"[{name}: {engine.name} builds {order.reference(name)}]\n")
    sys.stderr.flush()
    engine.build(order, name)
    reference = order.reference(name)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        engine.save(reference, output / f"{name}.tar", order.scratch)
    if registry:
        reference = engine.push(reference, f"{registry}/{name}:{order.tag}", order.scratch)
    found = engine.look(order.reference(name))
    digest = engine.digests.get(reference) or found.digest
    sys.stdout.write(f"{name}\t{reference}\t{digest or found.identity}\t{found.size}\n")
    sys.stdout.flush()


def _arguments(base: str, given: Sequence[str]) -> dict[str, str]:
    named = dict(text.split("=", 1) for text in given)
    return {"VERSION": _version(), **({"BASE": base} if base else {}), **named}


def _version() -> str:
    from ..._version import __version__

    return str(__version__)
