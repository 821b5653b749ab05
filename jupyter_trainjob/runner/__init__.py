"""What runs inside the job: ``python -I -m jupyter_trainjob.runner /job/job.json``. Imports nothing of ours.

Its contract is ``job.json`` and three streams (docs/architecture.md): stdout is the log, byte for byte; stderr is for
its own accidents; descriptor 3 takes events. In the order in which things happen: :mod:`.early` drops rights and starts
the kernel, with nothing but the standard library; :mod:`.run` leads the notebook through it.
"""
