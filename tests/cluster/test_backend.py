"""The contract of backends, on a real cluster."""

from __future__ import annotations

import pytest

from tests.backends.contract import BackendContract

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


class TestKubernetes(BackendContract):
    """Everything that every backend keeps."""
