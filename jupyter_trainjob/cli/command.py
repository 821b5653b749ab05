"""Reading the command line, running the verb, and what the exit status says."""

from __future__ import annotations

import os
import sys
from typing import Any

from ..verbs.context import Context, Show, Value
from ..verbs.context import run as run_verb
from ..verbs.options import argument
from ..verbs.parser import Parser, UsageProblem, did_you_mean
from ..verbs.table import Verb, overview, verbs_of
from .terminal import Screen, prepare

PROG = "jupyter trainjob"
EXIT_ERROR, EXIT_USAGE, EXIT_NO_SERVER, EXIT_INTERRUPTED, EXIT_PIPE = 1, 2, 4, 130, 141
_ENDS = {"wait": "", "logs": " -f", "submit": " --block"}
"""Verbs that end with a job, and the option that makes them."""


def statuses(verb: str = "") -> str:
    """What the exit statuses mean, of one verb or (none) of all."""
    which = [f"{name}{option}" for name, option in _ENDS.items() if verb in ("", name)]
    end = f"{', '.join(which[:-1])} and {which[-1]}" if len(which) > 1 else "".join(which)
    rows = {
        0: "done" + (f"; of {end}: and the job succeeded" if end else ""),
        1: "the server refused, or there is no such thing; of several jobs: of one at least"
        + ("; of diff: there are differences" if verb in ("", "diff") else ""),
        2: "the command line can't be read",
        3: f"of {end}: the job failed or was cancelled" if end else "",
        4: "no server was found, or it does not answer",
        124: "of wait --timeout: the time is over and the job is not" if verb in ("", "wait") else "",
        130: "interrupted; jobs go on",
        141: "the reader of the output went away",
    }
    return "exit status:\n" + "\n".join(f"  {code:<3}  {text}" for code, text in rows.items() if text)


_GLOBAL = (
    argument("--url", metavar="URL", help="The server; found by itself where it is not given."),
    argument("--token", metavar="TOKEN", help="Its token; better in JUPYTER_TRAINJOB_TOKEN, which others can't see."),
    argument("-h", "--help", action="store_true", help="This."),
    argument("--version", action="store_true", help="The version."),
)
_SERVER_VERBS = {
    "serve": "Run the job service alone, for several users.",
    "token": "Make, list and revoke the tokens of serve.",
    "images": "Build the images of the kernels and of the service.",
    "deploy": "Make in a cluster what jobs need, and try it.",
    "simulate": "Replay a workload against queues: waiting, utilisation, fairness.",
    "doctor": "Try whether all that jobs need works, and say how to mend it.",
}


def run(argv: list[str]) -> int:
    """The whole command; never a traceback for what a person can mend."""
    prepare()
    try:
        return _run(argv)
    except UsageProblem as problem:
        sys.stderr.write(f"{problem}\n")
        return EXIT_USAGE
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted; jobs go on.\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the last flush finds a reader
        return EXIT_PIPE


def _run(argv: list[str]) -> int:
    before, word, rest = _split(argv)
    options = Parser(PROG, arguments=_GLOBAL).parse(before)
    if options.version or word == "version":
        return _version()
    if not word or word == "help" or options.help:
        return _help(rest[0] if rest and word == "help" else word if word != "help" else "")
    if word == "serve":
        from ..api.serve import serve_main

        return int(serve_main(rest) or 0)
    if word == "token":
        from ..api.serve import token_main

        return int(token_main(rest) or 0)
    if word == "images":
        from .images import images_main

        return images_main(rest)
    if word == "deploy":
        try:
            from .deploy import deploy_main
        except ModuleNotFoundError as error:
            return missing_extra("deploy", error)
        return deploy_main(rest)
    if word == "simulate":
        from .simulate import simulate_main

        return simulate_main(rest)
    if word == "doctor":
        from .doctor import doctor_main

        return doctor_main(rest)
    verb = _verb(word)
    if "-h" in rest or "--help" in rest:
        return _help(word)
    arguments = _parser(verb).parse(rest)
    from ..client import Client, ConnectionLost, InputError, ServerNotFound, TrainJobError

    client = Client(options.url, options.token, notice=_note)
    try:
        with client:
            return _present(run_verb(verb, _context(client), arguments), _screen())
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    except (ServerNotFound, ConnectionLost) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NO_SERVER
    except TrainJobError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_ERROR


def _split(argv: list[str]) -> tuple[list[str], str, list[str]]:
    """Options before the verb, the verb, what follows it."""
    index = 0
    while index < len(argv) and argv[index].startswith("-"):
        index += 2 if argv[index] in ("--url", "--token") else 1
    return argv[:index], argv[index] if index < len(argv) else "", argv[index + 1 :]


def _screen() -> Screen:
    return Screen(sys.stdout)


def _note(text: str) -> None:
    sys.stderr.write(f"[{text}]\n")
    sys.stderr.flush()


def _context(client: Any) -> Context:
    screen = _screen()

    def tell(line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    return Context(
        place="cli", client=lambda: client, write=screen.write, tell=tell, width=screen.width, colour=screen.colour
    )


def _present(outcome: Any, screen: Screen) -> int:
    from ..verbs.printing import text

    if isinstance(outcome, int):
        return outcome
    if isinstance(outcome, Value):
        screen.write(f"{outcome.value!r}\n")
    elif isinstance(outcome, Show):
        screen.write(text(outcome, screen.width, screen.colour))
    return 0


def missing_extra(word: str, error: ModuleNotFoundError) -> int:
    """Only the libraries of the extras are left out of an installation; all else is a mistake of ours."""
    if (error.name or "").partition(".")[0] != "kubernetes":
        raise error
    remedy = "Install it: pip install 'jupyter_trainjob[kubernetes,s3]'."
    sys.stderr.write(f"jupyter trainjob {word}: A package for clusters is missing here: {error}. {remedy}\n")
    return EXIT_USAGE


def _verb(word: str) -> Verb:
    verbs = verbs_of("cli")
    if word not in verbs:
        known = [*verbs, *_SERVER_VERBS, "version", "help"]
        raise UsageProblem(f"{PROG}: there is no verb {word!r}." + did_you_mean(word, known))
    return verbs[word]


def _parser(verb: Verb) -> Parser:
    return Parser(f"{PROG} {verb.name}", verb.help, verb.arguments, statuses(verb.name))


def _version() -> int:
    from .._version import __version__

    sys.stdout.write(f"{__version__}\n")
    return 0


def _help(word: str) -> int:
    if word and word not in _SERVER_VERBS:
        sys.stdout.write(_parser(_verb(word)).format_help().replace("%trainjob", PROG))
        return 0
    own = Parser(PROG, arguments=_GLOBAL)
    more = {**_SERVER_VERBS, "version": "The version."}
    sys.stdout.write(
        f"usage: {PROG} [--url URL] [--token TOKEN] VERB …\n\n{overview('cli', more)}\n\n"
        f"{PROG} VERB --help explains one.\n\n{own.format_help().partition(chr(10) + chr(10))[2]}\n{statuses()}\n"
    )
    return 0
