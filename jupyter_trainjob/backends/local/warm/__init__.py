"""Kernels that run before there is a job for them, each in a sandbox and for one job: the local backend's pool."""
