"""What a list of requirements may say, and its one normal form. Pure, standard library only.

Three formats: pip's ``requirements.txt``, R's ``renv.lock``, and for Scala a list of ``group:artifact:version`` lines
(``ivy``). Equal normal forms mean equal environments, whatever the comments and the order.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_BYTES = 1024 * 1024
MAX_PACKAGES = 2000

_HASH = re.compile(r"\s--hash[=\s]\s*(sha256|sha384|sha512):[0-9a-fA-F]{64,128}(?=\s|$)")
_NAMED = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\s*(\[[A-Za-z0-9,._\s-]*\])?\s*(?P<rest>.*)\Z", re.DOTALL)
_SPECIFIERS = re.compile(r"\(?\s*((===|==|~=|!=|<=|>=|<|>)\s*[^\s,;()=<>!~]+\s*,?\s*)*\)?\s*(;.*)?\Z", re.DOTALL)
_URL = re.compile(r"@\s*(?P<url>\S+)\s*(;.*)?\Z", re.DOTALL)
_OPTIONS = ("--pre", "--prefer-binary", "--require-hashes")
_OPTIONS_WITH_VALUE = ("--only-binary", "--no-binary")
_R_NAME = re.compile(r"[A-Za-z][A-Za-z0-9.]*\Z")
_R_VERSION = re.compile(r"[0-9]+([.-][0-9]+)*\Z")
_IVY = re.compile(r"[A-Za-z0-9_.-]+:[A-Za-z0-9_.-]+:[A-Za-z0-9_.+-]+\Z")
_INDEXES = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--trusted-host", "--proxy")


def check_requirements(format: str, text: str) -> list[str]:
    """All that is wrong with ``text``, each in a sentence with its line and what to do; empty where all is well."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        return [f"it is larger than {MAX_BYTES // 1024} KiB; a list of requirements is a few lines"]
    if format == "renv.lock":
        return _check_renv(text)
    lines = _lines(text)
    if not lines:
        return ["it names no package; write one a line, or leave the requirements out"]
    if len(lines) > MAX_PACKAGES:
        return [f"it has {len(lines)} lines; {MAX_PACKAGES} are the most"]
    check = _check_pip if format == "requirements.txt" else _check_ivy
    return [f"line {number}: {problem}" for number, line in lines if (problem := check(line))]


def normalised(format: str, text: str) -> str:
    """The normal form of ``text``, in which :func:`check_requirements` finds nothing."""
    if format == "renv.lock":
        return json.dumps(renv_packages(text), sort_keys=True, indent=1) + "\n"
    lines = {line for _, line in _lines(text)}
    if format == "requirements.txt":
        lines = {_spaced(line) for line in lines}
    options = sorted(line for line in lines if line.startswith("-"))
    return "\n".join([*options, *sorted(lines - set(options))]) + "\n"


def has_hashes(text: str) -> bool:
    """Whether a ``requirements.txt`` gives hashes, so that pip is to demand them of every package."""
    return any(_HASH.search(line) for _, line in _lines(text))


def beyond_wheels(text: str) -> str:
    """The first line of a ``requirements.txt`` that may bring what is no wheel of the index; empty: there is none."""
    for _, line in _lines(text):
        option = re.split(r"[=\s]", line, maxsplit=1)[0]
        if option == "--no-binary" or (option == "--only-binary" and ":none:" in line) or _reference(line):
            return line
    return ""


def renv_packages(text: str) -> list[dict[str, str]]:
    """What an ``renv.lock`` asks for: ``{"package", "version", "repository"}``, by name; the last is a URL or empty."""
    lock = json.loads(text)
    urls = {str(one.get("Name")): one.get("URL", "") for one in (lock.get("R") or {}).get("Repositories") or []}
    found = []
    for name, entry in sorted((lock.get("Packages") or {}).items()):
        url = str(urls.get(str(entry.get("Repository")), ""))
        found.append({"package": name, "version": str(entry.get("Version", "")), "repository": url.rstrip("/")})
    return found


def _reference(line: str) -> tuple[str, str] | None:
    """What stands before and behind the ``@`` of ``NAME @ URL``, with or without blanks around it."""
    named = _NAMED.match(line)
    if named is None or not _URL.match(_HASH.sub(" ", named["rest"]).strip()):
        return None
    return line[: named.start("rest")].rstrip(), named["rest"][1:].lstrip()


def _spaced(line: str) -> str:
    reference = _reference(line)
    return " @ ".join(reference) if reference else line


def _lines(text: str) -> list[tuple[int, str]]:
    """The lines that say something, with their numbers: continued ones joined, comments and blanks gone."""
    found: list[tuple[int, str]] = []
    joined, first = "", 0
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        first = first or number
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        whole = " ".join((joined + line).split())
        if whole:
            found.append((first, whole))
        joined, first = "", 0
    if joined.strip():
        found.append((first, " ".join(joined.split())))
    return found


def shown(line: str, most: int = 80) -> str:
    """The beginning of a line, for messages: what an address says of a user and a password is left out."""
    return re.sub(r"://[^/\s]*@", "://…@", line)[:most]


def _check_pip(line: str) -> str:
    told = repr(shown(line))
    if line.startswith("-"):
        return _check_pip_option(line, told)
    if "${" in line:
        return f"{told} wants a variable of the server's; write the value itself"
    rest = _HASH.sub(" ", line).strip()
    if re.search(r"\s--?[A-Za-z]", rest):
        return f"{told} gives options to one package; only --hash=sha256:… is taken"
    if rest.startswith((".", "/", "~", "file:")) or (rest.endswith((".whl", ".tar.gz", ".zip")) and "://" not in rest):
        return f"{told} is a file of some machine, which the build does not see; name a package of the index"
    if re.match(r"(git|hg|svn|bzr)\+|https?://", rest):
        return f"{told} has no name in front; write NAME @ {shown(rest, 60)}"
    named = _NAMED.match(rest)
    if named is None:
        return f"{told} is no requirement; write for example numpy==2.1.0"
    url = _URL.match(named["rest"])
    if url is not None:
        if not re.match(r"(git\+)?https://", url["url"]):
            return f"{told} is fetched from {url['url'].split(':')[0][:20]!r}; only https:// and git+https:// are taken"
        return ""
    if not _SPECIFIERS.match(named["rest"]):
        return f"{told} is no requirement; write for example numpy==2.1.0"
    return ""


def _check_pip_option(line: str, told: str) -> str:
    option = re.split(r"[=\s]", line, maxsplit=1)[0]
    if line in _OPTIONS or (option in _OPTIONS_WITH_VALUE and re.fullmatch(r"\S+[=\s]\s*[\w,.:-]+", line)):
        return ""
    if option in _INDEXES or line.startswith(("-i", "-f")):
        return f"{told}: which index is asked is the operator's to say; leave the line out"
    if option in ("--editable",) or line.startswith("-e"):
        return f"{told}: an editable install needs files that the build does not see; name a package of the index"
    if option in ("--requirement", "--constraint") or line.startswith(("-r", "-c")):
        return f"{told}: other files are not sent along; copy its lines into this one"
    taken = ", ".join([*_OPTIONS, *_OPTIONS_WITH_VALUE])
    return f"{told}: the option {option[:40]} is not taken; there are {taken}"


def _check_ivy(line: str) -> str:
    if _IVY.match(line):
        return ""
    if "::" in line:
        return f"{line[:80]!r} leaves the Scala version open; write it out: group:artifact_2.13:version"
    return f"{line[:80]!r} is not of the form group:artifact:version, such as org.typelevel:cats-core_2.13:2.10.0"


def _check_renv(text: str) -> list[str]:
    try:
        lock = json.loads(text)
    except (ValueError, RecursionError) as error:
        return [f"it is not JSON ({str(error)[:100]}); send the file that renv::snapshot() writes"]
    packages = lock.get("Packages") if isinstance(lock, dict) else None
    if not isinstance(packages, dict) or not packages:
        return ["it names no package; send the file that renv::snapshot() writes"]
    if len(packages) > MAX_PACKAGES:
        return [f"it names {len(packages)} packages; {MAX_PACKAGES} are the most"]
    interpreter = lock.get("R")
    repositories = interpreter.get("Repositories") if isinstance(interpreter, dict) else None
    urls = {}
    for one in repositories if isinstance(repositories, list) else []:
        if isinstance(one, dict):
            urls[str(one.get("Name"))] = one.get("URL")
        else:
            return ["its list of repositories can't be read; send the file that renv::snapshot() writes"]
    problems = [
        f"the repository {str(name)[:40]!r} has the address {shown(str(url))!r}; it must begin with https://"
        for name, url in urls.items()
        if not isinstance(url, str) or not re.match(r"https://[^\s'\"]+\Z", url)
    ]
    return problems + [problem for name, entry in packages.items() if (problem := _check_r_package(name, entry))]


def _check_r_package(name: str, entry: Any) -> str:
    called = repr(name[:60])
    version = entry.get("Version") if isinstance(entry, dict) else None
    if not _R_NAME.match(name) or not isinstance(version, str) or not _R_VERSION.match(version):
        return f"the package {called} has no name and version that R knows; write the file with renv::snapshot()"
    source = entry.get("Source", "Repository")
    if source not in ("Repository", "Bioconductor"):
        return f"the package {called} comes from {str(source)[:40]!r}; only packages of a repository can be installed"
    return ""


def exact(format: str, lock: dict[str, Any]) -> str:
    """The list that asks for exactly what an environment's ``lock`` says was installed (pip: with hashes where known).

    Lists for R and Scala name exact versions already: of these it is what was asked for.
    """
    asked = "\n".join(lock["asked"])
    if format == "renv.lock":
        packages = json.loads(asked)
        urls = sorted({one["repository"] for one in packages} - {""})
        repositories = [{"Name": f"R{number}", "URL": url} for number, url in enumerate(urls)]
        named = {one["URL"]: one["Name"] for one in repositories}
        entries = {
            one["package"]: {
                "Package": one["package"],
                "Version": one["version"],
                **({"Source": "Repository", "Repository": named[one["repository"]]} if one["repository"] else {}),
            }
            for one in packages
        }
        return json.dumps({"R": {"Repositories": repositories}, "Packages": entries}, indent=1) + "\n"
    if format != "requirements.txt":
        return asked + "\n"
    hashed = all(one.get("sha256") for one in lock["packages"])
    return "".join(
        f"{one['name']}=={one['version']}" + (f" --hash=sha256:{one['sha256']}" if hashed else "") + "\n"
        for one in lock["packages"]
    )
