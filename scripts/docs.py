"""Write the parts of the docs that the code knows: ``docs/configuration.md``, tables of ``users.md``, ``operators.md``.

``--check`` writes nothing and fails where something is out of date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from traitlets.config import Configurable

from jupyter_trainjob.api.serve import FileIdentityProvider
from jupyter_trainjob.app import TrainJobExtension
from jupyter_trainjob.backends.kubernetes.configured import KubernetesBackendSettings
from jupyter_trainjob.backends.kubernetes.deploy import rights
from jupyter_trainjob.backends.kubernetes.deploy.configured import KubernetesDeploySettings
from jupyter_trainjob.backends.local import filter
from jupyter_trainjob.backends.local.attacks.table import ATTACKS
from jupyter_trainjob.config import LocalBackendSettings, ObjectStoreSettings, SchedulingSettings
from jupyter_trainjob.resources.isolation import LEVELS
from jupyter_trainjob.verbs.options import CELL_OPTIONS, Argument
from jupyter_trainjob.verbs.table import VERBS

DOCS = Path(__file__).parents[1] / "docs"

HEAD = """# Configuration

Generated from the code by `scripts/docs.py`; the same is printed by `python -m jupyter_trainjob --help-all`.

Set options in `jupyter_server_config.py` (or `.json`) in a folder that `jupyter --paths` lists as *config*, as
`c.TrainJobExtension.retention_days = 30`, or on the command line, as `--TrainJobExtension.retention_days=30`.
"""

SECTIONS: list[tuple[type[Configurable], str]] = [
    (TrainJobExtension, "The server extension."),
    (ObjectStoreSettings, "Where uploads, logs and outputs lie."),
    (SchedulingSettings, "The order of the queue ([scheduling.md](scheduling.md))."),
    (LocalBackendSettings, "The backend `local`: jobs on the server's own machine."),
    (
        KubernetesBackendSettings,
        "Backends of the type `kubernetes`; each of these may be said of one backend in `TrainJobExtension.backends`.",
    ),
    (KubernetesDeploySettings, "`jupyter trainjob deploy`, beside the options above."),
    (FileIdentityProvider, "`jupyter trainjob serve`, beside the options of the extension."),
]


def configuration() -> str:
    """The whole of docs/configuration.md."""
    parts = [HEAD]
    for cls, what in SECTIONS:
        parts.append(f"\n## {cls.__name__}\n\n{what}\n\n| option | type | default | meaning |\n|---|---|---|---|\n")
        for name, trait in sorted(cls.class_traits(config=True).items()):
            if trait.this_class is not cls and issubclass(trait.this_class, Configurable):
                continue  # a parent's, with a name of its own; what is mixed in has none
            default = trait.default_value_repr()
            shown = "" if default in ("''", "traitlets.Undefined") else f"`{default}`"
            parts.append(f"| `{name}` | {type(trait).__name__} | {_cell(shown)} | {_cell(trait.help)} |\n")
    return "".join(parts)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def options() -> str:
    """The options of %%trainjob as a table."""
    rows = [f"| `{_usage(item)}` | {_cell(item.settings['help'].replace('%%', '%'))} |" for item in CELL_OPTIONS]
    return "\n".join(["| option | meaning |", "|---|---|", *rows])


def _usage(item: Argument) -> str:
    metavar = item.settings.get("metavar", "")
    return f"{item.flags[-1]} {metavar}".strip()


def verbs() -> str:
    """The verbs of %trainjob and of the command line as a table."""
    where = {"magic": " (`%trainjob` only)", "cli": " (terminal only)"}
    rows = [f"| `{verb.name}` | {_cell(verb.help)}{where.get(verb.where, '')} |" for verb in VERBS.values()]
    return "\n".join(["| verb | what it does |", "|---|---|", *rows])


def attacks() -> str:
    """The attacks as a table: which level claims to hold which."""
    levels = LEVELS[::-1]
    rows = [
        f"| {attack.name} | {_cell(attack.what)} | {_cell(attack.by)} | "
        + " | ".join("yes" if level in attack.claimed else "no" for level in levels)
        + " |"
        for attack in ATTACKS
    ]
    head = f"| attack | what it tries | held by | {' | '.join(f'`{level}`' for level in levels)} |"
    return "\n".join([head, "|---|---|---" + "|---" * len(levels) + "|", *rows])


def system_calls() -> str:
    """The filter of system calls as tables."""
    head = ["| group | why | calls |", "|---|---|---|"]
    rows = {
        title: [f"| {group.name} | {group.why} | {', '.join(group.calls)} |" for group in groups]
        for title, groups in (("Allowed:", (*filter.ALLOWED, filter.UNCOUNTED)), ("Refused:", filter.REFUSED))
    }
    parts = ["\n".join([title, "", *head, *lines]) for title, lines in rows.items()]
    some = [f"| {call} | {what} |" for call, what in filter.ARGUMENTS]
    return "\n\n".join([*parts, "\n".join(["Allowed in part:", "", "| call | which |", "|---|---|", *some])])


def between(text: str, mark: str, new: str) -> str:
    """``text`` with what stands between the marks replaced."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- end {mark} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    assert after, f"the marks of {mark!r} are missing"
    return f"{before}{begin}{new}\n{end}{after}"


def main() -> int:
    """Write, or with --check compare."""
    users, operators, sandbox = DOCS / "users.md", DOCS / "operators.md", DOCS / "sandbox.md"
    page = between(between(sandbox.read_text("utf-8"), "attacks", attacks()), "filter", system_calls())
    wanted = {
        sandbox: page,
        DOCS / "configuration.md": configuration(),
        operators: between(operators.read_text("utf-8"), "rights", rights.table()),
        users: between(between(users.read_text("utf-8"), "options", options()), "verbs", verbs()),
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv[1:]:
        if stale:
            print(f"Out of date: {', '.join(path.name for path in stale)}. Run python scripts/docs.py", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], "utf-8")
    return 0


sys.exit(main())
