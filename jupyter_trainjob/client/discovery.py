"""Where the server is: four places, asked in order, each with its own credential.

1. what the caller gave; 2. ``JUPYTER_TRAINJOB_URL`` and ``JUPYTER_TRAINJOB_TOKEN``, which the server extension puts
into its kernels; 3. JupyterHub's environment of a single-user server; 4. the files of the Jupyter servers that run as
this user. A place that names no server, or one that does not answer, is passed over and remembered for the error. A
credential that is refused is an error at once: going on would hide it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from .effects import Request, Steps, request
from .errors import ConnectionLost, InputError, ServerNotFound, Unauthorized, from_response

API_PATH = "/trainjob/api/v1"
_PROBE_SECONDS = 10.0


@dataclass(frozen=True)
class Endpoint:
    """A server's API root and the credential for it; ``source`` says where both came from, ``advice`` what to do when
    the credential is refused."""

    root: str
    authorization: str = field(repr=False)
    source: str
    advice: str

    @property
    def headers(self) -> dict[str, str]:
        """The credential as headers; none where there is none."""
        return {"authorization": self.authorization} if self.authorization else {}

    @property
    def server(self) -> str:
        """The server's address without the API's path, for messages."""
        return self.root.removesuffix(API_PATH)

    def refused(self, code: int) -> Unauthorized:
        """The error for a refused credential."""
        what = "the token" if self.authorization else "a request without a token"
        error = Unauthorized(
            f"The server at {self.server} refused {what} ({code}). It came from {self.source}.", remedy=self.advice
        )
        error.code = code
        return error


@dataclass(frozen=True)
class Connection:
    """An endpoint that answered, and who it says we are (``GET /me``)."""

    endpoint: Endpoint
    me: dict[str, Any]


def discover(
    url: str | None, token: str | None, scheme: str, environ: Mapping[str, str] | None = None
) -> Steps[Connection]:
    """The first place that answers. :class:`ServerNotFound` names all four and what each lacked.

    :class:`InputError` for a token without a url.
    """
    env = os.environ if environ is None else environ
    if url is not None:
        return (yield from _explicit(url, token, scheme))
    if token is not None:  # whoever gives one means to be somebody: not whom the places below know
        raise InputError(
            "A token was given (--token), but no server's url (--url).",
            remedy="Name the server as well, or set JUPYTER_TRAINJOB_URL and JUPYTER_TRAINJOB_TOKEN.",
        )
    places: list[tuple[str, Callable[[Mapping[str, str]], Iterator[Endpoint | str]]]] = [
        ("the environment", _from_environment),
        ("JupyterHub", _from_hub),
        ("a running Jupyter server", _from_runtime_files),
    ]
    lacks = ["arguments: no url was given to Client(…) or --url"]
    for place, candidates in places:
        for candidate in candidates(env):
            if isinstance(candidate, str):
                lacks.append(f"{place}: {candidate}")
                continue
            found = yield from _probe(candidate)
            if not isinstance(found, str):
                return found
            lacks.append(f"{place}: {found}")
    raise ServerNotFound(
        "No trainjob server was found. Looked at:\n  " + "\n  ".join(lacks) + "\n",
        remedy="Start JupyterLab with jupyter_trainjob installed, or give url and token.",
    )


def _explicit(url: str, token: str | None, scheme: str) -> Steps[Connection]:
    endpoint = Endpoint(
        api_root(url),
        f"{scheme} {token}" if token else "",
        "the arguments" if token else "the arguments, which have no token",
        "Give the token of that server (jupyter server list shows it).",
    )
    found = yield from _probe(endpoint)
    if isinstance(found, str):
        raise ServerNotFound(f"No trainjob server was found: {found}.", remedy="Check the url that you gave.")
    return found


def _probe(endpoint: Endpoint) -> Steps[Connection | str]:
    """The connection, or what it lacks."""
    try:
        effect = Request("GET", "/me", timeout_seconds=_PROBE_SECONDS).sent_to(endpoint.root, endpoint.headers)
        answer = yield from request(effect)
    except ConnectionLost as error:
        return f"{endpoint.server} ({endpoint.source}) does not answer: {error.message}"
    if answer.status >= 400 and _is_of_the_service(answer.body):
        raise from_response(answer.status, answer.body, endpoint.server)
    if answer.status in (401, 403):
        raise endpoint.refused(answer.status)
    if answer.status == 200:
        try:
            me = json.loads(answer.body)
        except ValueError:
            me = None
        if isinstance(me, dict):
            return Connection(endpoint, me)
    if answer.status == 404:
        return f"{endpoint.server} ({endpoint.source}) answers, but has no jupyter_trainjob extension"
    return f"{endpoint.server} ({endpoint.source}) answered {answer.status} instead of 200"


def _is_of_the_service(body: bytes) -> bool:
    """Whether a server that only forwards tells of the service behind it: what we gave the server is good."""
    try:
        status = json.loads(body)
    except ValueError:
        return False
    return isinstance(status, dict) and str(status.get("reason", "")).startswith("Remote")


def api_root(url: str) -> str:
    """The API's root for a server's URL: with or without a path, a slash, a query, the API's own path."""
    parts = urlsplit(url if "//" in url else f"http://{url}")
    path = parts.path.rstrip("/")
    for tail in (API_PATH, "/trainjob", "/lab", "/tree"):
        path = path.removesuffix(tail)
    host = parts.netloc.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - a server that says it listens on all
    return urlunsplit((parts.scheme, host, path + API_PATH, "", ""))


def _from_environment(env: Mapping[str, str]) -> Iterator[Endpoint | str]:
    url, token = env.get("JUPYTER_TRAINJOB_URL", ""), env.get("JUPYTER_TRAINJOB_TOKEN", "")
    if not url or not token:
        missing = [
            name for name, value in (("JUPYTER_TRAINJOB_URL", url), ("JUPYTER_TRAINJOB_TOKEN", token)) if not value
        ]
        yield f"{' and '.join(missing)} not set (the server extension sets both for its kernels)"
        return
    yield Endpoint(
        api_root(url),
        f"trainjob {token}",
        "the environment variable JUPYTER_TRAINJOB_TOKEN",
        "The server was probably restarted since this process began: restart the kernel (or unset the variable).",
    )


def _from_hub(env: Mapping[str, str]) -> Iterator[Endpoint | str]:
    token, prefix = env.get("JUPYTERHUB_API_TOKEN", ""), env.get("JUPYTERHUB_SERVICE_PREFIX", "")
    if not token or not prefix:
        missing = [
            name
            for name, value in (("JUPYTERHUB_API_TOKEN", token), ("JUPYTERHUB_SERVICE_PREFIX", prefix))
            if not value
        ]
        yield f"{' and '.join(missing)} not set"
        return
    base = env.get("JUPYTERHUB_SERVICE_URL") or env.get("JUPYTERHUB_PUBLIC_URL") or env.get("JUPYTERHUB_HOST", "")
    if not base:
        yield "JUPYTERHUB_SERVICE_URL, JUPYTERHUB_PUBLIC_URL and JUPYTERHUB_HOST not set: the address is unknown"
        return
    parts = urlsplit(base)
    yield Endpoint(
        api_root(urlunsplit((parts.scheme, parts.netloc, prefix, "", ""))),
        f"token {token}",
        "the environment variable JUPYTERHUB_API_TOKEN",
        "Stop and start your server in the Hub's control panel, then restart the kernel.",
    )


def _from_runtime_files(env: Mapping[str, str]) -> Iterator[Endpoint | str]:
    folder = runtime_folder(env)
    infos = sorted(folder.glob("jpserver-*.json"), key=_modified, reverse=True) if folder.is_dir() else []
    running = 0
    for path in infos:
        info = _read_info(path)
        if info is None:
            continue
        running += 1
        token = str(info.get("token") or "")
        yield Endpoint(
            api_root(str(info["url"])),
            f"token {token}" if token else "",
            f"the running-server file {path.name}",
            "Set JUPYTER_TRAINJOB_URL and JUPYTER_TRAINJOB_TOKEN, or start that server with a token.",
        )
    if not running:
        yield f"no file jpserver-*.json of a living server in {folder}"


def runtime_folder(env: Mapping[str, str]) -> Path:
    """Jupyter's runtime folder."""
    if env.get("JUPYTER_RUNTIME_DIR"):
        return Path(env["JUPYTER_RUNTIME_DIR"])
    from jupyter_core.paths import jupyter_runtime_dir

    return Path(jupyter_runtime_dir())


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _read_info(path: Path) -> dict[str, Any] | None:
    """The file's content if its server's process lives; None also for a file that is just being written."""
    try:
        info = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(info, dict) or not info.get("url") or not isinstance(info.get("pid"), int):
        return None
    return info if _alive(info["pid"]) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
