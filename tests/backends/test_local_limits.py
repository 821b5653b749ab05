"""Every limit is exceeded for real, at every level of isolation that this machine offers; each has its own reason."""

from __future__ import annotations

import sys
import time

import pytest

from .place import Place

pytestmark = pytest.mark.asyncio


async def test_code_that_keeps_within_all_limits_just_ends(place: Place, level: str) -> None:
    seen = await place.run("print('hello')")
    assert seen.state == "ended" and seen.isolation == level
    assert seen.claims["end"]["outcome"] == "ok"
    assert seen.evidence == {"exitCode": 0, "signal": None}
    assert await place.log(seen.ref) == b"hello\n"
    assert (seen.log_size, seen.log_complete, seen.log_gap, seen.log_missing) == (6, True, None, 0)
    assert seen.started and seen.ended and seen.started <= seen.ended


async def test_an_error_of_the_code_is_no_limit(place: Place) -> None:
    seen = await place.run("raise ValueError('[Errno 2] nothing of the kind')")
    assert "limit" not in seen.evidence
    assert seen.claims["end"]["error"]["ename"] == "ValueError"


async def test_wall_clock_counts_from_the_start_of_the_code(place: Place) -> None:
    seen = await place.run("import time; time.sleep(60)", timeLimitSeconds=1)
    assert seen.evidence["limit"] == "TimeLimit"
    assert seen.evidence["message"] == "The job ran longer than its 1 s."
    assert seen.claims["end"]["outcome"] == "interrupted"
    assert 1.0 <= (seen.ended - seen.started).total_seconds() < 3


async def test_code_that_ignores_the_signal_is_killed_after_the_grace(make_place) -> None:
    place = await make_place(grace_seconds=1.0)
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    seen = await place.run(code, timeLimitSeconds=1)
    assert seen.evidence["limit"] == "TimeLimit" and seen.evidence["signal"] == 9
    assert (seen.ended - seen.started).total_seconds() < 5
    assert "end" not in seen.claims


async def test_a_start_that_takes_too_long_is_told(make_place) -> None:
    place = await make_place(
        startup_seconds=0.5, grace_seconds=0.5, runner=(sys.executable, "-I", "-c", "import time; time.sleep(60)")
    )
    seen = await place.run("1")
    assert seen.evidence["limit"] == "StartupTimeout"
    assert seen.evidence["message"] == "The code had not begun 0.5 s after the start."
    assert seen.started is None


async def test_six_processes_of_100_mib_pass_512_mib_of_the_tree(place: Place) -> None:
    code = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        x = bytearray(100 * 2**20)
        time.sleep(20)
        os._exit(0)
for _ in range(6):
    os.wait()
"""
    began = time.monotonic()
    seen = await place.run(code)
    assert seen.evidence["limit"] == "OutOfMemory"
    assert "512 MiB of memory" in seen.evidence["message"]
    assert time.monotonic() - began < 15
    assert seen.usage["peakMemoryBytes"] > 300 * 2**20


async def test_one_process_that_takes_too_much_memory(place: Place) -> None:
    seen = await place.run("x = bytearray(900 * 2**20)\nimport time; time.sleep(20)")
    assert seen.evidence["limit"] == "OutOfMemory"


async def test_a_child_within_the_limit_that_is_killed_is_not_out_of_memory(place: Place) -> None:
    seen = await place.run("import os; p = os.fork() or os.kill(os.getpid(), 9)\nassert os.wait()[1] == 9")
    assert seen.claims["end"]["outcome"] == "ok" and "limit" not in seen.evidence


@pytest.mark.parametrize(
    "code",
    [
        "import threading, time\n"
        "for _ in range(200): threading.Thread(target=time.sleep, args=(8,), daemon=True).start()\n"
        "time.sleep(8)",
        "import os, time\nfor _ in range(200):\n    if os.fork() == 0:\n        time.sleep(8)\n        os._exit(0)\n"
        "time.sleep(8)",
    ],
    ids=["threads", "processes"],
)
async def test_too_many(place: Place, code: str) -> None:
    seen = await place.run(code)
    assert seen.evidence["limit"] == "ProcessLimit", seen
    assert seen.evidence["message"] == (
        "The job wanted more than its 32 processes and threads. Start fewer, or choose a profile that gives more."
    )


async def test_open_files(place: Place) -> None:
    seen = await place.run("kept = [open('/dev/null') for _ in range(500)]")
    assert seen.evidence["limit"] == "OpenFilesLimit"
    assert "128 files" in seen.evidence["message"]


async def test_one_large_file(place: Place) -> None:
    seen = await place.run("f = open('big', 'wb')\nfor _ in range(100): f.write(bytes(2**20))")
    assert seen.evidence["limit"] == "FileSizeLimit"
    assert "64 MiB" in seen.evidence["message"]


async def test_a_large_file_of_a_program_that_dies_of_it(place: Place) -> None:
    code = """
import signal, subprocess, sys
child = '''
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
f = open("big", "wb")
for _ in range(100): f.write(bytes(2**20))
'''
subprocess.run([sys.executable, '-I', '-c', child], check=True)
"""
    seen = await place.run(code)
    assert seen.claims["end"]["error"]["ename"] == "CalledProcessError"
    assert seen.evidence["limit"] == "FileSizeLimit"


MANY_FILES = """
import time
for n in range(8):
    with open(PLACE + str(n), 'wb') as f:
        for _ in range(50): f.write(bytes(2**20))
    time.sleep(0.1)
time.sleep(10)
"""


@pytest.mark.parametrize(
    "where", ["job['work'] + '/f'", "__import__('tempfile').gettempdir() + '/f'"], ids=["work", "tmp"]
)
async def test_disk(place: Place, where: str) -> None:
    seen = await place.run(MANY_FILES.replace("PLACE", where))
    assert seen.evidence["limit"] == "DiskLimit", seen
    assert seen.evidence["message"] == (
        "The job's files took more than its 200 MiB of disk. Ask for more with --disk, or write less."
    )


async def test_disk_taken_by_files_without_a_name(place: Place) -> None:
    code = "import os, time\nkept = []\n" + MANY_FILES.replace("PLACE", "'f'").replace(
        "    time.sleep(0.1)", "    kept.append(open('f' + str(n), 'rb')); os.unlink('f' + str(n)); time.sleep(0.1)"
    )
    seen = await place.run(code)
    assert seen.evidence["limit"] == "DiskLimit", seen


@pytest.mark.parametrize("level", ["namespaces+cgroups", "namespaces"])
async def test_shared_memory(place: Place, level: str) -> None:
    seen = await place.run("open('/dev/shm/x', 'wb').write(bytes(64 * 2**20))")
    assert seen.evidence["limit"] == "DiskLimit"
    assert seen.evidence["message"] == (
        "/dev/shm was full: the job has 32 MiB of it. Ask for more with --shm, or write less there."
    )


async def test_a_limit_that_code_got_over_is_none(place: Place) -> None:
    code = "try:\n    kept = [open('/dev/null') for _ in range(500)]\nexcept OSError: pass\nprint('fine')"
    seen = await place.run(code)
    assert seen.claims["end"]["outcome"] == "ok" and "limit" not in seen.evidence


async def test_a_long_log_is_a_condition(place: Place) -> None:
    seen = await place.run(
        "import sys\nfor n in range(40): sys.stdout.write('%02d' % n + 'x' * (2**18 - 3) + '\\n')",
        resources={"log": "2Mi"},
    )
    assert seen.claims["end"]["outcome"] == "ok" and "limit" not in seen.evidence
    assert seen.log_size == 40 * 2**18
    assert seen.log_gap and 0 < seen.log_gap[0] < seen.log_gap[1] < seen.log_size
    assert [(c["type"], c["reason"]) for c in seen.conditions if c["type"] == "LogComplete"] == [
        ("LogComplete", "Capped")
    ]


@pytest.mark.parametrize("level", ["namespaces+cgroups"])
async def test_the_share_of_the_cpu_holds_for_all_of_its_processes(place: Place, level: str) -> None:
    code = """
import os, time
began = time.monotonic()
pid = os.fork()
while time.monotonic() < began + 2:
    pass
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
used, seconds = sum(os.times()[:4]), time.monotonic() - began
print(used / seconds)
"""
    seen = await place.run(code, resources={"cpu": "200m"})
    share = float(await place.log(seen.ref))
    assert share < 0.4, "0.2 and what was used before the code began; without a limit nearly 2, or 1 of one CPU"


async def test_usage_is_measured_from_outside(place: Place) -> None:
    code = """
import subprocess, sys, time
burn = 'import time\\nend = time.process_time() + 0.6\\nwhile time.process_time() < end: pass'
subprocess.run([sys.executable, '-I', '-c', burn])
x = bytearray(150 * 2**20)
open('f', 'wb').write(bytes(5 * 2**20))
time.sleep(0.4)
"""
    seen = await place.run(code)
    assert 0.6 <= seen.usage["cpuSeconds"] < 3
    assert 150 * 2**20 <= seen.usage["peakMemoryBytes"] < 250 * 2**20
    assert 5 * 2**20 <= seen.usage["diskBytes"] < 6 * 2**20
    assert seen.usage["processes"] >= 2


@pytest.mark.parametrize(
    "takes",
    ["x = bytearray(700 * 2**20)", "[open(f'{n}', 'wb').write(bytes(2**20)) for n in range(60)]"],
    ids=["memory", "disk"],
)
async def test_limits_hold_also_once_the_job_said_that_it_was_done(place: Place, takes: str) -> None:
    code = f"""
import time
tell(type="end", outcome="error", error=None, results=[])
{takes}
time.sleep(2)
print("kept it", flush=True)
time.sleep(30)
"""
    seen = await place.run(code, resources={"disk": "20Mi"})
    assert await place.log(seen.ref) == b""
    assert seen.evidence.get("limit") in ("OutOfMemory", "DiskLimit"), seen.evidence
