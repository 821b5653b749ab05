"""``jupyter trainjob token create|list|revoke``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jupyter_core.paths import jupyter_config_dir

from .tokens import Person, TokenFile, TokenFileError, check_person


def default_token_file() -> Path:
    """Where the file is unless it is told: in Jupyter's configuration folder."""
    return Path(jupyter_config_dir()) / "trainjob_tokens.yaml"


def token_main(argv: Sequence[str]) -> int:
    """Run the command; the exit status. A new token goes to stdout, alone, all else to stderr."""
    arguments = _parser().parse_args(argv)
    file = TokenFile(arguments.file)
    try:
        if arguments.command == "create":
            return _create(file, arguments)
        if arguments.command == "revoke":
            count = file.revoke(arguments.user, arguments.id)
            print(f"{count} token(s) of {arguments.user} revoked.", file=sys.stderr)
            return 0
        return _list(file)
    except (TokenFileError, OSError) as error:
        print(f"jupyter trainjob token: {error}", file=sys.stderr)
        return 1


def _create(file: TokenFile, arguments: argparse.Namespace) -> int:
    person = Person(
        username=arguments.user,
        display_name=arguments.display_name,
        groups=tuple(arguments.group),
        roles=dict(_role(text) for text in arguments.role),
        operator=arguments.operator,
    )
    token = file.add(check_person(person))
    print(f"A token for {arguments.user}, shown only now; its hash is in {file.path}:", file=sys.stderr)
    print(token)
    return 0


def _role(text: str) -> tuple[str, str]:
    place, equals, role = text.partition("=")
    if not equals:
        raise TokenFileError(
            f"--role {text}: write NAMESPACE=ROLE or queue:NAME=ROLE, such as --role ml-2026=instructor"
        )
    return place, role


def _list(file: TokenFile) -> int:
    for person in file.people().values():
        facts = ["operator"] if person.operator else []
        facts += [f"{place}={role}" for place, role in person.roles.items()]
        facts += [f"group {group}" for group in person.groups]
        print(f"{person.username}: {', '.join(facts) or 'no roles'}")
        for kept in person.tokens:
            print(f"  token {kept.id}, made {kept.created or 'at an unknown time'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jupyter trainjob token", description="Tokens of the people who use 'jupyter trainjob serve'."
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--file", type=Path, default=default_token_file(), help="the token file (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", parents=[common], help="make a token for a user, new or known")
    create.add_argument("--user", required=True, help="user name")
    create.add_argument("--display-name", default="", help="name for people")
    create.add_argument("--group", action="append", default=[], help="a group of the user (repeatable)")
    create.add_argument(
        "--role",
        action="append",
        default=[],
        metavar="PLACE=ROLE",
        help="viewer, member or instructor of a namespace or of queue:NAME (repeatable)",
    )
    create.add_argument("--operator", action="store_true", help="may do everything")
    commands.add_parser("list", parents=[common], help="users, roles, and the ids of their tokens")
    revoke = commands.add_parser("revoke", parents=[common], help="take tokens away")
    revoke.add_argument("--user", required=True, help="user name")
    revoke.add_argument("--id", default="", help="which token (default: all)")
    return parser
