"""Schema migrations (Alembic), shipped with the package and run by :mod:`jupyter_trainjob.store.opening`."""
