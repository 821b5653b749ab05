"""What is reported of a job that holds 300 MiB and burns 10 CPU-seconds, both in two processes of its tree.

The job itself counts what its processes hold and have burnt, from its own ``/proc``, and goes on until it is exactly
that much: runner and kernel are part of it, as they are of what is reported.
"""

from __future__ import annotations

from typing import Any

from jupyter_trainjob.client import Client

from .server import running_server
from .stats import median

MIB = 2**20
MEMORY_MIB = 300
CPU_SECONDS = 10.0
WITHIN = 0.10

CODE = """
import os, subprocess, sys, time

TICK = os.sysconf("SC_CLK_TCK")

def processes():
    return [name for name in os.listdir("/proc") if name.isdigit()]

def held():
    total = 0
    for pid in processes():
        with open(f"/proc/{pid}/status") as file:
            found = dict(line.split(":", 1) for line in file)
        total += sum(int(found.get(key, "0 kB").split()[0]) for key in ("RssAnon", "RssShmem")) * 1024
    return total

def burnt():
    total = 0
    for pid in processes():
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        total += sum(map(int, fields[11:13]))
    return total / TICK

CHILD = '''
import sys, time
block = bytearray(100 * 2**20)
block[::4096] = b"x" * len(block[::4096])
while time.process_time() < 3:
    pass
print("ready", flush=True)
sys.stdin.read()
'''
child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
blocks = []
while (missing := MEMORY - held()) > 2**19:
    blocks.append(bytearray(b"x") * min(missing, 16 * 2**20))
while burnt() < CPU:
    for _ in range(200_000):
        pass
time.sleep(1)
print(held(), burnt())
"""


def run(*, quick: bool = False) -> dict[str, Any]:
    """The largest error of five runs."""
    code = CODE.replace("MEMORY -", f"{MEMORY_MIB * MIB} -").replace("< CPU", f"< {CPU_SECONDS}")
    memory, cpu, isolation = [], [], ""
    with running_server() as server, Client(url=f"{server.url}/trainjob/api/v1", token=server.token) as client:
        for _ in range(1 if quick else 5):
            job = client.submit_cell(code, name="usage", memory="1Gi", cpu="2")
            job.wait(180)
            if job.phase != "Succeeded":
                raise RuntimeError(f"{job.phase}: {job.describe()}")
            attempt = job.resource["status"]["attempts"][-1]
            isolation = attempt["isolation"]
            memory.append(attempt["usage"]["peakMemoryBytes"] / MIB)
            cpu.append(attempt["usage"]["cpuSeconds"])
    memory_error = max(abs(value / MEMORY_MIB - 1) for value in memory)
    cpu_error = max(abs(value / CPU_SECONDS - 1) for value in cpu)
    return {
        "benchmark": "usage_error",
        "rounds": len(memory),
        "isolation": isolation,
        "peak_memory_median_mib": median(memory, 1),
        "cpu_median_s": median(cpu, 2),
        "memory_error_max_ratio": round(memory_error, 4),
        "cpu_error_max_ratio": round(cpu_error, 4),
        "pass": memory_error <= WITHIN and cpu_error <= WITHIN,
    }
