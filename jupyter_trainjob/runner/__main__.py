"""``python -I -m jupyter_trainjob.runner JOB.JSON``, or this folder's path in place of ``-m`` and its name."""

import sys
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jupyter_trainjob.runner.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
