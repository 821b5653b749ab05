"""- ``served``, ``client``: a real server and a client of it"""

from __future__ import annotations

from ..served import client, served

__all__ = ["client", "served"]
