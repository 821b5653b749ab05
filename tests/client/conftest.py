"""The client against a real server; what only a broken server does comes from a small one over a real socket."""

from ..served import client, served

__all__ = ["client", "served"]
