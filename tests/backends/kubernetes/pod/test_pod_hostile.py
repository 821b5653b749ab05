"""Code that means harm, with the user id of the container's first process: it harms its own job, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_trainjob.storage.filesystem import FilesystemStore

from .pods import CODE, PREFIX, Pod

SYSTEM_PYTHON = "/usr/bin/python3"
USER = 60100 + os.getpid() % 4000
"""A user id of this test process alone."""
NOBODY = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
OUT = "import os, json, pathlib, time\nout = pathlib.Path(job['out']).parent\n"
"""``job`` is the plain runner's; its parent is the shared volume."""


def ends_well(pod: Pod, code: str, **more: object) -> dict[str, object]:
    pod.orders(OUT + code, **more)
    pod.start()
    assert pod.wait(60)[1] == 0, pod.words()
    assert "Traceback" not in (pod.root / "sidecar.log").read_text()
    assert pod.state["state"] == "ended"
    return pod.state


# What lies in the shared volume


def test_an_end_that_the_code_forged_does_not_end_the_shipping(pod: Pod) -> None:
    code = (
        "(out / 'ended').write_text(json.dumps({'exitCode': 0, 'signal': None}))\n"
        "time.sleep(2)\nprint('still here', flush=True)\n"
        "open('made', 'w').write('late')"
    )
    state = ends_well(pod, code)
    assert pod.log() == b"still here\n" and state["filesTotal"] == 1
    assert state["main"]["logBytes"] == 11, "main's own word replaced the forged one"


def test_a_limit_that_the_code_forged_is_not_told_when_main_can_not_tell_its_own(pod: Pod) -> None:
    """Main dies, as no code in a container can make it; what lies where its last words should is the code's."""
    code = (
        "ended = {'exitCode': 0, 'signal': None, 'limit': 'TimeLimit', 'message': 'forged', 'logBytes': 999}\n"
        "mark = '0' * 64\n"
        "(out / 'ended').write_text(json.dumps(ended))\n"
        "(out / 'ended').write_text(mark + '\\n' + json.dumps(ended))\n"
        "import signal\nos.kill(os.getppid(), signal.SIGKILL)"
    )
    pod.orders(OUT + code)
    pod.start()
    assert pod.main is not None and pod.main.wait(20) == -signal.SIGKILL
    assert pod.wait(30)[1] == 0, pod.words()
    assert pod.state["state"] == "ended" and pod.state["main"] is None and pod.state["log"]["missing"] == 0


def test_an_old_word_of_mains_is_not_taken_for_another(pod: Pod) -> None:
    """The seal is of one file: what main wrote of its figures is not its end."""
    code = (
        "import shutil, signal\n"
        "while not (out / 'usage.json').exists():\n    time.sleep(0.05)\n"
        "shutil.copy(out / 'usage.json', out / 'ended')\n"
        "os.kill(os.getppid(), signal.SIGKILL)"
    )
    pod.orders(OUT + code)
    pod.start()
    assert pod.wait(30)[1] == 0, pod.words()
    assert pod.state["main"] is None and pod.state["usage"]


def test_the_end_of_code_that_a_limit_struck_can_not_be_forged_behind_mains_back(pod: Pod) -> None:
    """A process that outlives the runner's report writes until it is killed, which main's last word comes after."""
    code = (
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    while True:\n"
        "        (out / 'told.json').write_text(json.dumps({'end': {'outcome': 'ok', 'error': None, 'results': []}}))\n"
        "        time.sleep(0.01)\n"
        "time.sleep(60)"
    )
    pod.orders(OUT + code, limits={"timeLimitSeconds": 1, "graceSeconds": 1})
    pod.start()
    assert pod.wait(60)[1] == 0, pod.words()
    assert pod.state["main"]["limit"] == "TimeLimit" and "end" not in pod.state["claims"]


def test_the_end_that_the_runner_told_is_told_whatever_the_code_put_in_its_place(pod: Pod) -> None:
    """Until it is killed, by a process that outlives the code."""
    code = (
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    while True:\n"
        "        try:\n            os.symlink('/etc/passwd', out / 'link')\n"
        "            os.replace(out / 'link', out / 'told.json')\n"
        "        except OSError:\n            pass\n"
        "time.sleep(0.5)"
    )
    assert ends_well(pod, code)["claims"]["end"]["outcome"] == "ok"


def test_nothing_in_the_container_knows_the_seal(first: Pod) -> None:
    code = (
        "import subprocess\n"
        "pids = [pid for pid in os.listdir('/proc') if pid.isdigit() and pid != '1']\n"
        "told = [open(f'/proc/{pid}/environ', 'rb').read() for pid in pids]\n"
        "try:\n    told.append(open('/proc/1/environ', 'rb').read())\n"
        "except PermissionError:\n    print('closed')\n"
        "print(any(b'TRAINJOB_SEAL' in one for one in told))"
    )
    ends_well(first, code)
    assert first.log() == b"closed\nFalse\n"


FORGERIES = (
    "os.unlink(name); os.symlink('/etc/passwd', name)",
    "os.unlink(name); os.mkfifo(name)",
    "os.unlink(name); os.mkdir(name)",
    "open(name, 'w').write('[' * 500000)",
    "open(name, 'w').truncate(2**33)",
    "open(name, 'w').write('{\"rows\": [[1]], \"intervalSeconds\": 1' + '0' * 400 + '}')",
    "os.chmod(name, 0)",
)


def test_forged_words_of_main_are_passed_over(pod: Pod) -> None:
    """One after the other, while main goes on writing the true ones; what is read of each: ``test_claims.py``."""
    steps = "".join(f"        lambda name: exec({forged!r}, {{'os': os, 'name': name}}),\n" for forged in FORGERIES)
    code = (
        f"forgeries = [\n{steps}]\n"
        "for forge in forgeries * 2:\n"
        "    for name in ('told.json', 'usage.json', 'ended'):\n"
        "        try:\n            forge(str(out / name))\n        except OSError:\n            pass\n"
        "    time.sleep(0.12)\n"
        "print('done')"
    )
    state = ends_well(pod, code)
    assert pod.log() == b"done\n" and state["claims"]["end"]["outcome"] == "ok" and state["main"]["exitCode"] == 0
    assert b"root:" not in pod.store.get(f"{PREFIX}state.json")


def test_a_huge_record_takes_no_memory_of_the_sidecars(pod: Pod) -> None:
    code = (
        "name = out / 'told.json'\n"
        "for _ in range(40):\n    name.write_text('{\"end\": [' + '{},' * 330000 + '{}]}')\n    time.sleep(0.05)\n"
    )
    pod.orders(OUT + code)
    pod.start()
    most = 0
    assert pod.sidecar is not None
    while pod.sidecar.poll() is None:
        try:
            text = Path(f"/proc/{pod.sidecar.pid}/status").read_text()
        except FileNotFoundError:
            break
        most = max([most, *(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM"))])
        time.sleep(0.05)
    assert pod.wait() == (0, 0) and 0 < most < 110 * 1024


@pytest.mark.parametrize(
    "spoil",
    [
        "shutil.rmtree(ring)",
        "shutil.rmtree(ring); os.symlink('/etc', ring)",
        "[os.unlink(ring / n) for n in os.listdir(ring)]",
        "[os.truncate(ring / n, 0) for n in os.listdir(ring)]",
        "[(os.unlink(ring / n), os.symlink('/etc/passwd', ring / n)) for n in os.listdir(ring)]",
        "[(os.unlink(ring / n), os.mkdir(ring / n), (ring / f'not-ours-{int(n)}').touch()) for n in os.listdir(ring)]",
        "os.chmod(ring, 0o555)",
        "[os.mkfifo(ring / f'{n:020d}') for n in range(7, 3000, 7)]",
        "[os.mkdir(ring / f'{n:020d}') for n in range(262144, 262144 * 9, 262144)]",
        "open(ring / ('9' * 20), 'w').truncate(2**40)",
        "os.truncate(ring / sorted(os.listdir(ring))[-1], 2**40)",
    ],
)
def test_a_spoilt_log_harms_that_log_only(pod: Pod, spoil: str) -> None:
    code = (
        "import shutil, sys\nring = out / 'log'\nprint('before', flush=True); time.sleep(0.5)\n"
        f"{spoil}\n"
        "for n in range(40):\n    print('x' * 100000, flush=True)\n"
        "open('made', 'w').write('1')"
    )
    pod.orders(OUT + code, limits={"windowBytes": 2**21, "timeLimitSeconds": 8, "logBytes": 2**22, "endSeconds": 10})
    pod.start()
    assert pod.wait(60) == (0, 0), pod.words()
    state = pod.state
    assert "Traceback" not in (pod.root / "main.log").read_text() and state["main"] is not None
    assert state["state"] == "ended" and "Traceback" not in (pod.root / "sidecar.log").read_text()
    assert pod.log().startswith(b"before\n") and b"root:" not in pod.log()
    assert state["filesTotal"] == 1 or state["main"]["limit"] == "TimeLimit"


def test_bytes_that_main_could_not_hand_on_are_told_as_missing(pod: Pod) -> None:
    code = (
        "import shutil\nprint('before', flush=True); time.sleep(0.5)\nshutil.rmtree(out / 'log')\n"
        "print('x' * 99999, flush=True)"
    )
    state = ends_well(pod, code, limits={"windowBytes": 2**16})
    log, lost = state["log"], state["main"]["lostBytes"]
    assert 90_000 < lost < 100_000 and state["main"]["logBytes"] == log["size"] == 100_007
    assert log["missing"] == lost and log["complete"] and pod.log() == b"before\n" + b"x" * (100_000 - lost)
    record = pod.joined()
    assert record.missing == lost and record.size == 100_007 and not record.truncated
    told = next(one for one in state["conditions"] if one["type"] == "LogComplete")
    assert told["status"] == "False" and told["reason"] == "NotHandedOn" and f"{lost} bytes" in told["message"]


def test_a_full_volume_does_not_swallow_the_end(pod: Pod) -> None:
    """On a volume of its own that has a size."""
    size = "3m"
    volume = pod.root / "out"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(volume)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        code = (
            "try:\n    open(out / 'job' / 'filler', 'wb').write(b'x' * 2**23)\n"
            "except OSError as error:\n    full = error\n"
            "print('the disk is full', flush=True)\nraise full"
        )
        pod.orders(OUT + code, limits={"windowBytes": 2**20})
        pod.start()
        assert pod.wait(60) == (0, 0), pod.words()
        state = pod.state
        assert state["claims"]["end"]["error"]["ename"] == "OSError" and state["main"]["exitCode"] == 0
        assert pod.log() == b"the disk is full\n" and state["main"]["full"] == ["out"]
    finally:
        pod.clear()
        subprocess.run(["umount", "-l", str(volume)], check=True)


# What it leaves as output


def test_outputs_that_lead_out_of_the_folder_stay_behind(pod: Pod) -> None:
    secret = pod.root / "secret"
    secret.write_text("of another")
    code = (
        f"os.symlink({str(secret)!r}, 'link'); os.symlink('/etc', 'folder'); os.mkfifo('pipe')\n"
        f"os.link({str(secret)!r}, 'hard')\n"
        "os.makedirs('a/b'); os.symlink('../../../..', 'a/b/up'); open('a/b/mine', 'w').write('1')\n"
        "deep = '/'.join(['d'] * 100); os.makedirs(deep); open(deep + '/x', 'w').write('1')\n"
        "os.mkdir('closed'); open('closed/inside', 'w').write('2'); os.chmod('closed', 0)\n"
        "job_out = out / 'job'\nos.unlink(job_out / 'notebook.ipynb') if (job_out / 'notebook.ipynb').exists() else 0\n"
        "os.symlink('/etc/passwd', job_out / 'notebook.ipynb')\n"
        "os.rmdir(job_out / 'results'); os.symlink('/etc', job_out / 'results')\n"
        "open('sparse', 'w').truncate(2**40)"
    )
    state = ends_well(pod, code, results=["passwd"], limits={"diskBytes": 10**9})
    assert {one["path"] for one in state["files"]} == {"a/b/mine", "closed/inside"}
    kept = [info.key.removeprefix(PREFIX) for info in pod.store.list(PREFIX)]
    assert "notebook.ipynb" not in kept and not [key for key in kept if key.startswith("results/")]
    remark = next(one for one in state["conditions"] if one["type"] == "OutputsComplete")
    assert "'link' is a link" in remark["message"] or "more" in remark["message"]


# What it does to the first process (as the first process of a namespace, and as nobody)


@pytest.fixture
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod whose main is process 1 of a pid namespace, with a user id that has no rights."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", *NOBODY, SYSTEM_PYTHON, "-I", CODE]
    tried = subprocess.run(command, capture_output=True, check=False)
    if b"usage:" not in tried.stderr:
        pytest.skip(f"no pid namespace with a user without rights and a Python for all here: {tried.stderr!r}")
    root = Path("/tmp") / f"tj-pod-{os.getpid()}-{time.monotonic_ns()}"
    root.mkdir(mode=0o755)
    made = Nobody(root / "pod", FilesystemStore(root / "store"))
    yield made
    made.clear()
    shutil.rmtree(root)


class Nobody(Pod):
    """Its main has a pid namespace and no rights, as in a cluster."""

    def start_main(self) -> None:
        self.root.chmod(0o755)
        for name in ("out", "work", "tmp"):
            os.chown(self.root / name, USER, USER)
        log = (self.root / "main.log").open("ab")
        own = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        python = [SYSTEM_PYTHON, "-I", CODE, "main"]
        environment = self.environment | {"TRAINJOB_SEAL": self.seal}
        self.main = subprocess.Popen(
            [*own, *NOBODY, *python], env=environment, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        self.started.append(self.main)


def test_nothing_that_the_code_does_ends_or_stops_the_first_process(first: Pod) -> None:
    code = (
        "import signal\ntold = {'pid1': open('/proc/1/cmdline').read()[-4:], 'uid': os.getuid()}\n"
        "for number in ('SIGKILL', 'SIGSTOP', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGQUIT', 'SIGSEGV'):\n"
        "    for _ in range(3):\n        os.kill(1, getattr(signal, number))\n"
        "time.sleep(1.5)\n"
        "for name in ('mem', 'environ', 'fd/1', 'maps'):\n"
        "    try:\n        open(f'/proc/1/{name}', 'rb').read(1); told[name] = 'read'\n"
        "    except OSError as error:\n        told[name] = error.strerror\n"
        "print(json.dumps(told))"
    )
    state = ends_well(first, code)
    told = json.loads(first.log())
    assert told.pop("pid1") == "ain\0" and told.pop("uid") == USER
    assert set(told.values()) == {"Permission denied"}, told
    assert state["claims"]["end"]["outcome"] == "ok" and not state["main"]["terminated"]


def test_a_sigterm_that_claims_to_come_from_outside_is_the_codes_own(first: Pod) -> None:
    """``rt_sigqueueinfo`` takes any sender's pid, but no ``si_code`` of a plain kill."""
    code = (
        "import ctypes, signal, struct\n"
        "call = ctypes.CDLL(None, use_errno=True).syscall\n"
        "number = {'x86_64': 129, 'aarch64': 138}[os.uname().machine]\n"
        "for si_code in (0, -1):\n"
        "    info = struct.pack('iiiiiI', signal.SIGTERM, 0, si_code, 0, 0, 0).ljust(128, b'\\0')\n"
        "    print(call(number, 1, int(signal.SIGTERM), info), flush=True)\n"
        "time.sleep(1)"
    )
    state = ends_well(first, code)
    assert first.log() == b"-1\n0\n", "the kernel refuses the first and lets the second through"
    assert state["claims"]["end"]["outcome"] == "ok" and not state["main"]["terminated"]


def test_sigterm_from_outside_reaches_the_first_process(first: Pod) -> None:
    first.orders("print('begun', flush=True)\nimport time; time.sleep(60)")
    first.start()
    first.until(lambda: first.log() == b"begun\n")
    assert first.main is not None
    inside = int(Path(f"/proc/{first.main.pid}/task/{first.main.pid}/children").read_text().split()[0])
    os.kill(inside, signal.SIGTERM)
    assert first.wait(20) == (0, 0), first.words()
    assert first.state["main"]["terminated"] and first.state["claims"]["end"]["outcome"] == "interrupted"


def test_a_code_that_forks_and_hides_is_gone_when_the_first_process_ends(first: Pod) -> None:
    code = (
        "for n in range(20):\n    if os.fork() == 0:\n        os.setsid()\n"
        "        if os.fork() == 0:\n            time.sleep(300)\n        os._exit(0)\n"
        "print('left', flush=True); time.sleep(1)"
    )
    state = ends_well(first, code)
    assert first.log() == b"left\n" and state["claims"]["end"]["outcome"] == "ok"
    owned = [pid for pid in os.listdir("/proc") if pid.isdigit() and _owner(pid) == USER]
    assert owned == []


def _owner(pid: str) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except (FileNotFoundError, ProcessLookupError):
        return -1


def test_too_many_processes_are_ended_by_name(first: Pod) -> None:
    """Counted by the container's control group; here by a file in its place."""
    (first.root / "cgroup" / "pids").mkdir()
    first.orders("import time\nprint('begun', flush=True)\ntime.sleep(60)", limits={"processes": 32})
    first.start()
    first.until(lambda: first.log() == b"begun\n")
    (first.root / "cgroup" / "pids" / "pids.current").write_text("500\n")
    first.wait(20)
    main = first.state["main"]
    assert (main["limit"], main["message"]) == (
        "ProcessLimit",
        "The job wanted more than its 32 processes and threads. Start fewer, or choose a profile that gives more.",
    )
    assert main["peakTasks"] == 500


# What the sidecar may write


class ReadOnly(Pod):
    """Its sidecar sees the job's volumes, and its main the inputs, as a cluster shows them: read-only."""

    def _start(self, part: str) -> subprocess.Popen[bytes]:
        names = ("out", "work") if part == "sidecar" else ("in",)
        mounts = "".join(f"mount -o bind,ro {self.root / name} {self.root / name}\n" for name in names)
        log = (self.root / f"{part}.log").open("ab")
        command = ["unshare", "--mount", "sh", "-ec", mounts + 'exec "$@"', "sh"]
        process = subprocess.Popen(
            [*command, sys.executable, "-I", CODE, part],
            env=self.environment | ({"TRAINJOB_SEAL": self.seal} if part == "main" else {}),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self.started.append(process)
        return process


def test_the_jobs_volumes_are_read_only_to_the_sidecar_and_its_own_to_the_job(tmp_path: Path) -> None:
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-o", "bind,ro", str(tmp_path), str(tmp_path)], capture_output=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"this machine lets nobody mount: {tried.stderr!r}")
    pod = ReadOnly(tmp_path / "pod", FilesystemStore(tmp_path / "store"))
    code = (
        "told = []\n"
        f"for name in ('ready', 'taken', 'life', 'new'):\n    try:\n        open(f'{pod.root}/in/{{name}}', 'w')\n"
        "    except OSError as error:\n        told.append(error.strerror)\n"
        "print(set(told), len(told))\nos.mkdir('closed'); open('closed/x', 'w').write('1'); os.chmod('closed', 0)"
    )
    try:
        state = ends_well(pod, code)
        assert pod.log() == b"{'Read-only file system'} 4\n"
        assert state["filesTotal"] == 1 and state["conditions"] == []
    finally:
        pod.clear()
