"""Runs one benchmark and prints its figures as JSON on the last line."""

from __future__ import annotations

import argparse
import importlib
import json
import sys

NAMES = (
    "submit_latency",
    "burst",
    "log_tail",
    "list_jobs",
    "transfer",
    "usage_error",
    "admission_rate",
    "schedule_pass",
    "fair_share",
    "simulate",
    "env_cache",
    "languages",
    "warm_start",
    "sandbox_cost",
    "idle_cost",
    "k8s_submit",
    "k8s_burst",
    "k8s_scale",
    "k8s_kueue",
    "minio_logs",
    "panel_10k",
    "panel_latency",
    "panel_others",
    "log_view",
)


def main() -> int:
    """Run the benchmark that is named; 0 if every figure is reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for trying it out; never passes")
    options = parser.parse_args()
    figures = importlib.import_module(f"tests.benchmarks.{options.name}").run(quick=options.quick)
    if options.quick:
        figures["pass"] = False
    print(json.dumps(figures))
    return 0 if figures["pass"] else 1


sys.exit(main())
