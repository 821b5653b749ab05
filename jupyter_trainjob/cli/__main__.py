"""``python -m jupyter_trainjob.cli``."""

import sys

from . import main

sys.exit(main())
