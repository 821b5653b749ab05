"""What runs inside a job's pod. Standard library only; lies in every image, or is brought in from a volume.

``python -I <this folder> main`` is the first process of the user's container (:mod:`.main`), ``… sidecar`` of the one
beside it (:mod:`.sidecar`). They share three volumes (:class:`.files.Places`): ``in`` is the sidecar's to write and
read-only to the job, ``out`` and ``work`` are the job's to write and read-only to the sidecar. Nothing else passes
between them. Whatever lies in ``out`` is a claim: the user's code has the user id of :mod:`.main`. What the code can't
forge: what is in ``in``, and the lock on ``in/life``, which says that :mod:`.main` lives.
"""
