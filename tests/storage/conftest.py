"""Fixtures of :mod:`.servers` for all tests of this folder."""

from .servers import minio, s3_server, versitygw  # noqa: F401
