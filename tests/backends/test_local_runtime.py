"""What of the machine is shown to jobs, so that kernels of other languages run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from jupyter_trainjob.backends.local import runtime


def kernelspec(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "kernel.json").write_text(text)


def test_folders_that_a_kernel_calls_its_home_are_shown_to_jobs(tmp_path: Path) -> None:
    spark, folder = tmp_path / "spark", tmp_path / "kernels"
    spark.mkdir()
    homes = {"SPARK_HOME": str(spark), "X_HOME": "relative", "Y_HOME": "/", "Z_HOME": "/nowhere", "SECRETS": "/var/lib"}
    kernelspec(folder, "toree", json.dumps({"argv": ["x"], "env": homes}))
    kernelspec(folder, "damaged", "{")
    kernelspec(folder, "odd", '{"env": []}')
    binds = runtime.inspect(sys.executable, [str(folder)]).binds
    assert str(spark) in binds
    assert str(folder) in binds
    assert not {"relative", "/", "/nowhere", "/var/lib"} & set(binds)
