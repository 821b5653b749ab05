"""What survives what.

- ``url``: of an empty record, once SQLite, once PostgreSQL; ``postgresql_url``: only the latter
"""

from __future__ import annotations

from ..store.conftest import postgresql, postgresql_url, sqlite_url, url

__all__ = ["postgresql", "postgresql_url", "sqlite_url", "url"]
