"""Reconcile loops: read wanted and observed, do one idempotent step, come back."""
