"""``python -m jupyter_trainjob``: a Jupyter server with the extension; ``--help-all`` explains every option.

``python -m jupyter_trainjob serve`` is ``jupyter trainjob serve``.
"""

import sys

from .api.serve import serve_main
from .app import TrainJobExtension

if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        sys.exit(serve_main(sys.argv[2:]))
    TrainJobExtension.launch_instance()  # type: ignore[no-untyped-call]
