"""The record: every resource, its versions, and the feed of changes. SQLite or PostgreSQL behind one door."""

from __future__ import annotations

from .filters import Filter
from .reader import Reader
from .store import Store
from .types import BlobRow, Change, ChangePage, EndedRow, LeaseRow, News, Page, Stored
from .writer import Writer

__all__ = [
    "BlobRow",
    "Change",
    "ChangePage",
    "EndedRow",
    "Filter",
    "LeaseRow",
    "News",
    "Page",
    "Reader",
    "Store",
    "Stored",
    "Writer",
]
