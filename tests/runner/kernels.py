"""Which kernels this machine has besides Python's; ``scripts/kernels`` makes Scala's."""

import pytest
from jupyter_client.kernelspec import KernelSpecManager

LANGUAGES = {spec["spec"]["language"].lower() for spec in KernelSpecManager().get_all_specs().values()}

needs_r = pytest.mark.skipif("r" not in LANGUAGES, reason="no R kernel is installed (r-cran-irkernel)")
needs_scala = pytest.mark.skipif(
    "scala" not in LANGUAGES, reason="no Scala kernel is installed; see scripts/kernels and JUPYTER_PATH"
)
