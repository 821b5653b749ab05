"""Reach each of ``GIVEN``: ``{name: "host:port" | "udp:host:port"}``."""

import socket
import threading
from functools import partial

from .table import GIVEN, attack

QUESTION = b"\x12\x34\x01\x00\x00\x01" + b"\x00" * 6 + b"\x01x\x00\x00\x01\x00\x01"


def tcp(host: str, port: str) -> str:
    with socket.create_connection((host, int(port)), 6):
        return "reached"


def udp(host: str, port: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(2)
        for _ in range(3):
            asked.sendto(QUESTION, (host, int(port)))
            try:
                return "reached" if asked.recv(512) else "nothing"
            except TimeoutError:
                continue
    raise TimeoutError("timed out")


def reach(place: str) -> str:
    *kind, host, port = place.split(":")
    return (udp if kind else tcp)(host, port)


threads = [threading.Thread(target=attack, args=[name, partial(reach, GIVEN[name])]) for name in GIVEN]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
attack("a name", lambda: socket.getaddrinfo("example.org", 80))
