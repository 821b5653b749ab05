"""What people type about jobs, in one table: the ``%trainjob`` magic and the ``jupyter trainjob`` command read it.

This file imports nothing: every kernel loads the magic.
"""
