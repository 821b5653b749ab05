"""``python -I -m jupyter_trainjob.runner JOB.JSON``, or this folder's path in place of ``-m`` and its name."""

import sys


def _find() -> None:
    """Have our package found by its path alone: what else lies beside it is none of a job's business."""
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    package = Path(__file__).resolve().parents[1]
    spec = spec_from_file_location(package.name, package / "__init__.py", submodule_search_locations=[str(package)])
    assert spec is not None and spec.loader is not None
    sys.modules[package.name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[package.name])


if not __package__:
    _find()

from jupyter_trainjob.runner.main import main  # noqa: E402 - it is found only now

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
