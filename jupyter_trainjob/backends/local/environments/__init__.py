"""Environments on this machine: built once per content in a sandbox of their own, shared, and dropped when unused."""
