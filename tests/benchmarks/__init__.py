"""Benchmarks: ``python -m tests.benchmarks NAME``; the last line is one JSON object with ``"pass"``."""
