"""``jupyter trainjob deploy``: what a cluster needs, printed or applied and tried."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from pydantic import ValidationError

from ..backends.base import BackendError
from ..backends.findings import worst
from ..backends.kubernetes.connect import Access, Connection
from ..backends.kubernetes.deploy.apply import (
    Applied,
    DeployError,
    apply,
    check_namespace,
    check_objects,
    version,
)
from ..backends.kubernetes.deploy.bounds import NoPeer
from ..backends.kubernetes.deploy.marks import OBJECT
from ..backends.kubernetes.deploy.plan import Plan, document, manifests, secrets_of
from ..backends.kubernetes.deploy.settings import PARTS
from ..backends.kubernetes.volumes import Manifest
from ..resources.profile import Profile
from ..resources.volumes import AllowedVolume
from ..verbs.options import argument, whole_number
from ..verbs.parser import Parser
from .admin import COMMON, started, stderr, summary, tell
from .configuration import Configuration, ConfigurationError
from .doctor import diagnose
from .terminal import Screen

PROG = "jupyter trainjob deploy"
_ARGUMENTS = (
    argument("--dry-run", action="store_true", help="Only print what would be applied; asks no cluster."),
    argument(
        "-o", "--output", metavar="FORMAT", choices=("name", "yaml", "json"), default="name", help="name, yaml or json."
    ),
    argument(
        "-f",
        "--filename",
        metavar="FILE",
        action="append",
        default=[],
        help="A file with profiles, whose NFS shares get a volume; again for more.",
    ),
    argument(
        "--only",
        metavar="PART",
        action="append",
        choices=tuple(PARTS),
        default=[],
        help=f"Only this part; again for more. Parts: {', '.join(PARTS)}.",
    ),
    argument(
        "--adopt", action="store_true", help="Take a namespace, and objects, that are there already and are not ours."
    ),
    argument("--force", action="store_true", help="Set also what somebody else has changed since."),
    argument("--no-doctor", action="store_true", help="Don't try whether it works."),
    argument(
        "--timeout",
        metavar="SECONDS",
        type=whole_number,
        default=300,
        help="How long pods may take to come up. Default: 300.",
    ),
    *COMMON,
)
SECRET_WITHIN = (
    f"the Secret {OBJECT!r} above holds the service's whole configuration, with all passwords that are in it. base64 "
    "hides nothing: keep this output as you keep those, and hand over parts with --only."
)
_STATUSES = (
    "exit status:\n  0    it is there and works\n  1    the cluster refused, or something has to be mended\n"
    "  2    the command line or the configuration can't be read"
)


def deploy_main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    parser = Parser(PROG, "Make in the cluster what jobs need, and try whether it works.", _ARGUMENTS, _STATUSES)
    if (begun := started(parser, argv)) is None:
        return 0
    options, words, screen = begun
    try:
        configuration = Configuration(options.config, words)
        plan = replace(configuration.plan(options.backend, shares_of(options.filename)), parts=options.only)
        items = manifests(plan)
    except (ConfigurationError, NoPeer, ValidationError) as error:
        stderr(f"{PROG}: {error}")
        return 2
    if options.dry_run:
        screen.write(as_text(items, options.output))
        if options.output != "name" and any(item["kind"] == "Secret" for item in items):
            stderr(f"{PROG}: {SECRET_WITHIN}")
        return 0
    try:
        asyncio.run(_apply(plan, items, options.adopt, options.force, screen))
    except DeployError as error:
        stderr(f"{PROG}: {error}")
        return 1
    except BackendError as error:
        stderr(f"{PROG}: {error}")
        return 1
    if options.no_doctor:
        return 0
    screen.write("\n")
    found = tell(diagnose(configuration, options.backend, patience_seconds=options.timeout), screen)
    screen.write(summary(found))
    return 1 if worst(found) == "fail" else 0


def shares_of(paths: Sequence[str]) -> list[AllowedVolume]:
    """The NFS shares of the profiles in these files, each once. Raises :class:`ConfigurationError`."""
    found: dict[str, AllowedVolume] = {}
    for path in paths:
        try:
            documents = list(yaml.safe_load_all(Path(path).read_text("utf-8")))
            profiles = [Profile.model_validate(one) for one in documents if one and one.get("kind") == "Profile"]
        except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
            raise ConfigurationError(f"{path!r} can't be read: {error}") from error
        for profile in profiles:
            for volume in profile.spec.volumes:
                if volume.nfs is not None:
                    found[volume.model_dump_json()] = volume
    return list(found.values())


def as_text(items: Sequence[Manifest], output: str) -> str:
    """For people, for ``kubectl apply -f -``, for programs."""
    if output == "json":
        return json.dumps(document(items), indent=2) + "\n"
    if output == "yaml":
        return str(yaml.dump_all(items, Dumper=_Dumper, sort_keys=False, allow_unicode=True, explicit_start=True))
    return "".join(f"{item['kind']}/{item['metadata']['name']}\n" for item in items)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stand as they are."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


async def _apply(plan: Plan, items: Sequence[Manifest], adopt: bool, force: bool, screen: Screen) -> None:
    settings, deploy = plan.settings, plan.deploy
    api = await Connection.open(Access(settings.kubeconfig, settings.context))
    try:
        await version(api)
        await check_namespace(api, settings, make=plan.makes("namespace"), adopt=adopt)
        await check_objects(api, settings, items, adopt=adopt)
        applied: list[Applied] = []
        async for one in apply(api, items, force=force):
            screen.write(f"{one.name} {one.change}\n")
            applied.append(one)
    finally:
        await api.close()
    count = {change: sum(one.change == change for one in applied) for change in ("created", "changed", "unchanged")}
    screen.write(", ".join(f"{number} {change}" for change, number in count.items() if number) + ".\n")
    if all(one.change == "unchanged" for one in applied):
        screen.write("Nothing changed.\n")
    for name, (_, what) in secrets_of(deploy).items() if plan.makes("service") else ():
        if any(one.change == "created" for one in applied):
            screen.write(f"The service needs the Secret {name}: {what}.\n")
