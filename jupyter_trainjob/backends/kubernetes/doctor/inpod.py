"""Runs in a pod of ``jupyter trainjob doctor``, given to Python as text: what can be reached from there?

Standard library, and ``storage.signed`` of the image, which is what jobs' sidecars use. ``serve PORT`` listens until it
is ended; ``look JSON`` and ``wait JSON`` say what they found in the container's last words.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import sys
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

CONNECT_SECONDS = 2.0
WORDS = "/dev/termination-log"
MAX_WORDS_BYTES = 4000
"""A kubelet keeps 4096."""


def serve(port: str) -> None:
    """Take every connection, say nothing."""
    listener = socket.create_server(("", int(port)))
    while True:
        listener.accept()[0].close()


def reaches(host: str, port: int) -> bool:
    """Whether somebody takes a connection there."""
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def answers_names() -> bool:
    """Whether a name server takes a question (RFC 1035: one for the name servers of the root)."""
    known = Path("/etc/resolv.conf").read_text("utf-8")
    servers = [line.split()[1] for line in known.splitlines() if line.startswith("nameserver ")]
    question = struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\0" + struct.pack(">HH", 2, 1)
    for server in servers:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as line:
            line.settimeout(CONNECT_SECONDS)
            try:
                line.sendto(question, (server, 53))
                line.recv(512)
                return True
            except OSError:
                continue
    return False


def store_works(told: dict[str, Any]) -> str:
    """Why it does not; empty where it does. With what a job's sidecar gets, by the code that it runs."""
    sys.path.insert(0, told["home"])
    from jupyter_trainjob.storage.base import StoreError
    from jupyter_trainjob.storage.signed import open_signed

    store = open_signed(told["post"], told["caFile"], told["gets"])
    data = os.urandom(1000)
    try:
        store.put(told["key"], data)
        if store.get(told["key"]) != data:
            return "What was stored is not what is read."
    except StoreError as error:
        return str(error)
    return ""


def ahead_of_store(told: dict[str, Any]) -> float | None:
    """By how many seconds this clock is before the store's; None where it does not tell."""
    context = ssl.create_default_context(cafile=told["caFile"] or None)
    before = time.time()
    try:
        with urllib.request.urlopen(told["url"], timeout=10, context=context) as answer:  # noqa: S310
            date = answer.headers["Date"]
    except urllib.error.HTTPError as error:
        date = error.headers["Date"]
    except OSError:
        return None
    middle = (before + time.time()) / 2
    try:
        return middle - parsedate_to_datetime(date).timestamp() - 0.5  # the header tells whole seconds
    except (TypeError, ValueError):
        return None


def look(told: dict[str, Any]) -> dict[str, Any]:
    """What a job's pod reaches. ``host``, ``port``: where another pod listens."""
    found: dict[str, Any] = {"early": reaches(told["host"], told["port"])}
    api = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    found["api"] = bool(api) and reaches(api, int(os.environ.get("KUBERNETES_SERVICE_PORT", "443")))
    found["metadata"] = reaches("169.254.169.254", 80)
    found["names"] = answers_names()
    store = told.get("store")
    if store:
        if store["ca"]:
            store["caFile"] = f"{os.environ['TMPDIR']}/ca.crt"
            Path(store["caFile"]).write_text(store["ca"], "utf-8")
        found["store"] = store_works(store)
        found["ahead"] = ahead_of_store(store)
    found["reached"] = reaches(told["host"], told["port"])
    return found


def wait(told: dict[str, Any]) -> dict[str, Any]:
    """Whether the other pod is reached within ``seconds``: a policy now opens its port."""
    until = time.monotonic() + told["seconds"]
    while not reaches(told["host"], told["port"]):
        if time.monotonic() > until:
            return {"opened": False}
    return {"opened": True}


def say(found: dict[str, Any]) -> bytes:
    """As JSON that is not cut: the one text in it is as long as there is room."""
    while len(data := json.dumps(found).encode()) > MAX_WORDS_BYTES:
        found = {**found, "store": found["store"][: len(found["store"]) * 9 // 10] + "…"}
    return data


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        said = {"look": look, "wait": wait}[sys.argv[1]](json.loads(sys.argv[2]))
        Path(WORDS).write_bytes(say(said))
