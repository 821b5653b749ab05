"""Fixtures of :mod:`.servers` for all tests of this folder."""

from .servers import full_minio, minio, own_minio, s3_server, versitygw  # noqa: F401
