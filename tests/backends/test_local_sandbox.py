"""What code inside sees and can't do. (Attacks have a suite of their own; this is what the sandbox is for.)"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jupyter_trainjob.backends.base import BackendError
from jupyter_trainjob.backends.local import filter, landlock, launch, probe, runtime, sandbox

from .conftest import LEVELS, PLAIN_RUNNER, MakePlace
from .ordinary import SYSTEM_PYTHON, Ordinary
from .place import Place, a_request

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users, which only root can")

SANDBOXED = pytest.mark.parametrize("level", ["namespaces+cgroups", "namespaces"])


async def ask(place: Place, expression: str, **spec: object) -> object:
    """What ``expression`` is inside, by way of JSON."""
    seen = await place.run(f"import json, os, sys\nprint(json.dumps({expression}))", **spec)
    assert seen.claims["end"]["outcome"] == "ok", seen
    return json.loads(await place.log(seen.ref))


@pytest.mark.asyncio
@SANDBOXED
async def test_only_what_the_runtime_needs_can_be_seen(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    home = os.path.expanduser("~")
    paths = [
        str(secret),
        "/etc/shadow",
        f"{home}/.ssh",
        f"{home}/.bashrc",
        "/var/lib",
        "/run/user",
        place.options["data_dir"],
    ]
    assert await ask(place, f"[p for p in {paths!r} if os.path.exists(p)]") == []
    known = {
        "bin",
        "dev",
        "etc",
        "job",
        "lib",
        "lib64",
        "lib32",
        "libx32",
        "out",
        "proc",
        "run",
        "sbin",
        "tmp",
        "usr",
        "work",
    }
    prefixes = {Path(path).parts[1] for path in (sys.prefix, sys.base_prefix)} | {"trainjob"}
    assert set(await ask(place, "os.listdir('/')")) <= known | prefixes
    assert sorted(await ask(place, "os.listdir('/run/trainjob/jupyter_trainjob')")) == [
        "__init__.py",
        "_version.py",
        "runner",
    ]


@pytest.mark.asyncio
@SANDBOXED
async def test_only_its_own_folders_can_be_written(place: Place) -> None:
    code = """
    import json, os, sys
    refused = []
    closed = ["/", "/etc", "/usr", "/dev", "/opt", "/root", sys.prefix, sys.base_prefix]
    for path in [*closed, os.path.dirname(job["notebook"])]:
        if os.path.isdir(path):
            try:
                open(path + "/x", "w").close()
                refused.append(path)
            except OSError:
                pass
    for path in [job["work"], job["out"], "/tmp", "/dev/shm", os.environ["HOME"]]:
        open(path + "/x", "w").close()
    print(json.dumps(refused))
    """
    seen = await place.run(textwrap.dedent(code))
    assert json.loads(await place.log(seen.ref)) == [], seen


@pytest.mark.asyncio
async def test_nothing_of_the_servers_environment_gets_in(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_TRAINJOB_TOKEN", "very-secret")
    environment = await ask(place, "dict(os.environ)", environment={"env": [{"name": "MINE", "value": "1"}]})
    assert environment["MINE"] == "1"
    assert "JUPYTER_TRAINJOB_TOKEN" not in environment
    allowed = {
        *("PATH", "LANG", "HOME", "TMPDIR", "USER", "LOGNAME", "MINE", "PWD", "LC_CTYPE"),
        *("TRAINJOB_ATTEMPT", "JUPYTER_PATH", "TRAINJOB_METRICS", "TRAINJOB_SEED", "PYTHONHASHSEED", "PYTHONPATH"),
        "PYTHONDONTWRITEBYTECODE",
    }
    assert set(environment) <= allowed
    everything = """
    import os
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            print(open(f"/proc/{pid}/environ").read())
        except OSError:
            pass
    """
    if place.backend.describe()["isolation"] != "process":
        seen = await place.run(textwrap.dedent(everything))
        assert seen.claims["end"]["outcome"] == "ok" and b"very-secret" not in await place.log(seen.ref)


@pytest.mark.asyncio
async def test_it_has_four_descriptors_and_no_more(place: Place) -> None:
    expression = "sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}'))"
    assert await ask(place, expression) == [0, 1, 2, 3]
    assert await ask(place, "[os.readlink('/proc/self/fd/0'), os.isatty(1), os.getsid(0) > 0]") == [
        "/dev/null",
        False,
        True,
    ]


@pytest.mark.asyncio
@SANDBOXED
async def test_it_is_the_child_of_its_supervisors_main_thread_for_it_would_die_with_another(place: Place) -> None:
    offer = json.loads(Path(place.options["data_dir"], "sandbox.json").read_text())["offer"]
    argv = [offer["bwrap"]["path"], "--die-with-parent", "--dev-bind", "/", "/", "sh", "-c", "echo on; exec sleep 120"]
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(subprocess.Popen, argv, stdout=subprocess.PIPE).result()
        assert started.stdout.readline() == b"on\n"
    with started:
        assert await asyncio.to_thread(started.wait, 60) == -signal.SIGKILL, "its thread has ended"
    ref = await place.begin("print('on', flush=True); import time; time.sleep(60)")
    await place.log_holds(ref, b"on")
    supervisor = json.loads(Path(place.folder(ref).file("supervisor.json")).read_text())["pid"]
    told = {task.name: (task / "children").read_text().split() for task in Path(f"/proc/{supervisor}/task").iterdir()}
    assert len(told.pop(str(supervisor))) == 1 and not any(told.values()), told
    await place.backend.cancel(ref, "enough")
    await place.until(ref, "ended")


@pytest.mark.asyncio
@SANDBOXED
async def test_the_network_is_loopback_and_the_processes_are_its_own(place: Place) -> None:
    code = """
    import json, os, socket
    a = socket.create_server(("127.0.0.1", 0)); socket.create_connection(a.getsockname())
    try:
        socket.create_connection(("192.0.2.1", 80), 1); reached = "yes"
    except OSError as error:
        reached = error.strerror
    links = os.listdir("/sys/class/net") if os.path.isdir("/sys/class/net") else [n for _, n in socket.if_nameindex()]
    pids = [p for p in os.listdir("/proc") if p.isdigit()]
    print(json.dumps([reached, links, len(pids) < 5, socket.gethostname(), socket.gethostbyname("localhost")]))
    """
    seen = await place.run(textwrap.dedent(code))
    found = json.loads(await place.log(seen.ref))
    assert found == ["Network is unreachable", ["lo"], True, "job", "127.0.0.1"]


@pytest.mark.asyncio
@SANDBOXED
async def test_each_attempt_of_roots_has_a_user_of_its_own_without_rights(place: Place) -> None:
    assert place.backend.describe()["ownUsers"] is (os.geteuid() == 0)
    await check_own_users(place)


async def check_own_users(place: Place) -> None:
    code = "import os; print(os.getuid(), flush=True); import time; time.sleep(1.5)"
    refs = [await place.begin(code) for _ in range(2)]
    uids = set()
    for ref in refs:
        await place.log_holds(ref, b"\n")
        uids.add(int(await place.log(ref)))
    if place.backend.describe()["ownUsers"]:
        assert len(uids) == 2 and all(64000 <= uid <= 64999 for uid in uids)
    status = (
        "[line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapPrm', 'CapEff', 'CapAmb'))]"
    )
    assert set(await ask(place, status)) == {"0" * 16}
    assert await ask(place, "[group for group in os.getgroups() if group != os.getgid() and group < 65534]") == []


@pytest.mark.asyncio
@ROOT
async def test_ordinary_processes_of_roots_have_users_too_where_these_can_read_what_they_need(make_place) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        options = {"allow_bwrap": False, "allow_cgroups": False, "data_dir": f"{folder}/data", "python": SYSTEM_PYTHON}
        place = await make_place(runner=(SYSTEM_PYTHON, "-I", "-c", PLAIN_RUNNER), **options)
        assert place.backend.describe()["ownUsers"] is True, place.backend.describe()
        await check_own_users(place)
        seen = await place.run("print(open(job['notebook']).read(3)); open('f', 'w').write('x')")
        assert seen.files == [{"path": "f", "size": 1}], seen
        await place.clear()


@pytest.mark.asyncio
@ROOT
async def test_roots_jobs_that_stay_root_are_warned_of(make_place, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    place = await make_place(allow_bwrap=False)
    assert any(
        text.startswith("jobs run as root: no other user can read") for text in place.backend.describe()["warnings"]
    )


@pytest.mark.asyncio
@SANDBOXED
async def test_users_and_paths_look_ordinary(place: Place) -> None:
    found = await ask(
        place, "[__import__('getpass').getuser(), os.path.expanduser('~'), os.getcwd() == job['work'], os.umask(0)]"
    )
    assert found == ["job", "/tmp/home", True, 0o022]
    assert await ask(place, "__import__('pwd').getpwuid(os.getuid()).pw_name") == "job"


@pytest.mark.asyncio
@pytest.mark.skipif(os.geteuid() != 0, reason="the cgroup of a job can only be looked at by who made it")
async def test_no_control_group_is_left_behind(strong: Place) -> None:
    seen = await strong.run("1")
    orders = strong.folder(seen.ref).read("attempt.json")
    assert orders["cgroup"] and not any(os.path.exists(path) for path in orders["cgroup"]["folders"].values())


def test_the_command_is_a_pure_function() -> None:
    bwrap = sandbox.Bwrap("/usr/bin/bwrap", as_root=False)
    options = {"shm_bytes": 4096, "environment": {"A": "1"}, "command": ["python", "-c", "1"]}
    argv = sandbox.bwrap_argv(
        bwrap, attempt_folder="/data/run/tj-u-1", binds=["/opt/env/lib", "/opt/env", "/usr/lib"], **options
    )
    assert argv == sandbox.bwrap_argv(
        bwrap, attempt_folder="/data/run/tj-u-1", binds=["/usr/lib", "/opt/env"], **options
    )
    text = " ".join(argv)
    for part in (
        "--unshare-net",
        "--unshare-pid",
        "--die-with-parent --new-session",
        "--cap-drop ALL --unshare-user",
        "--clearenv --setenv A 1",
        "--dir /opt --ro-bind /opt/env /opt/env",
        "--size 4096 --tmpfs /dev/shm",
        "--ro-bind /data/run/tj-u-1/in /job --bind /data/run/tj-u-1/work /work",
        "--chdir / --remount-ro / -- python -c 1",
    ):
        assert part in text
    assert text.index("--bind /data/run/tj-u-1/tmp /tmp") < text.index("--dir /opt")
    as_root = sandbox.bwrap_argv(sandbox.Bwrap("b", as_root=True), attempt_folder="/a", binds=[], **options)
    assert "--unshare-user" not in as_root
    assert [as_root[i + 1] for i, word in enumerate(as_root) if word == "--cap-add"] == ["CAP_SETUID", "CAP_SETGID"]


def test_levels_have_an_order() -> None:
    assert sorted(sandbox.LEVELS, key=sandbox.rank) == [
        "process",
        "landlock+seccomp",
        "namespaces",
        "namespaces+cgroups",
    ]
    assert sandbox.rank("") < sandbox.rank("process")


def test_what_was_found_is_remembered_until_the_question_changes(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    cache = tmp_path / "sandbox.json"
    known = runtime.inspect(sys.executable, [])
    first = probe.cached(str(cache), known, str(tmp_path / "run"), allow_cgroups=False)
    stamp = cache.stat().st_mtime_ns
    assert probe.cached(str(cache), known, str(tmp_path / "run"), allow_cgroups=False) == first
    assert cache.stat().st_mtime_ns == stamp
    cache.write_text("{}")
    assert probe.cached(str(cache), known, str(tmp_path / "run"), allow_cgroups=False) == first
    assert probe.cached(str(cache), known, str(tmp_path / "run"), allow_cgroups=False, allow_bwrap=False).bwrap is None


@pytest.mark.asyncio
@ROOT
async def test_an_ordinary_user_gets_a_sandbox_by_user_namespace_and_its_limits() -> None:
    """All that runs is an ordinary user's: the supervisor, bubblewrap, the job."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        ordinary = Ordinary(Path(folder))
        ended = {
            "print('fine', os.getuid())": (None, "ok"),
            "x = bytearray(900 * 2**20); time.sleep(9)": ("OutOfMemory", "error"),
            "[os.fork() or time.sleep(9) for _ in range(99)]": ("ProcessLimit", "error"),
            "[open('/dev/null') for _ in [0] * 500]": ("OpenFilesLimit", "error"),
            "open('/dev/shm/x', 'wb').write(bytes(2**26))": ("DiskLimit", "error"),
            "open('/dev/x', 'wb')": (None, "error"),
        }
        folders = {}
        for number, code in enumerate(ended):
            folders[code] = ordinary.prepare(f"plain-{number}", "import os, time\n" + code)
        for code, (limit, outcome) in ended.items():
            ordinary.start(folders[code])
            state = await ordinary.ended(folders[code])
            assert state["evidence"].get("limit") == limit, (code, state)
            if limit != "OutOfMemory":
                assert state["claims"]["end"]["outcome"] == outcome
        assert ordinary.store.get("jobs/plain-0/1/log.bytes") == b"fine 1000\n"


LEAVE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
open(f"/dev/shm/trainjob-left-{os.getpid()}", "w").write("x")
os.makedirs(f"/dev/shm/trainjob-left-d{os.getpid()}/e")
made = [libc.shmget(0, 4096, 0o1600), libc.semget(0, 1, 0o1600), libc.msgget(0, 0o1600)]
print("left", *made, flush=True)
"""


@pytest.mark.asyncio
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives jobs a user of their own, by which things are known")
@pytest.mark.parametrize("wanted", ["landlock+seccomp", "process"])
async def test_nothing_in_the_machines_memory_outlives_a_job_without_namespaces(
    make_place: MakePlace, wanted: str
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o711)
        plain = (SYSTEM_PYTHON, "-I", "-c", PLAIN_RUNNER)
        place = await make_place(data_dir=f"{folder}/data", python=SYSTEM_PYTHON, runner=plain, **LEVELS[wanted])
        if place.backend.describe()["isolation"] != wanted:
            pytest.skip(f"this machine offers {place.backend.describe()}")
        assert place.backend.describe()["ownUsers"]
        seen = await place.run(LEAVE)
        await place.clear()
    words = (await place.log(seen.ref)).split()
    assert words[0] == b"left" and (wanted != "process" or b"-1" not in words)
    assert [name for name in os.listdir("/dev/shm") if name.startswith("trainjob-left-")] == []
    for kind, made in zip(("shm", "sem", "msg"), words[1:], strict=True):
        known = [line.split()[1] for line in Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]]
        assert made.decode() not in known


# What a level's name promises


def test_a_minimum_demands_the_filter_of_system_calls_too() -> None:
    offer = probe.Offer("namespaces", sandbox.Bwrap("/usr/bin/bwrap", as_root=True), cgroups=False, drop=True)
    with pytest.raises(BackendError, match="'namespaces' without a filter of system calls, but 'landlock"):
        launch.demand_level(offer, "", "landlock+seccomp")
    launch.demand_level(offer, "", "process")
    launch.demand_level(dataclasses.replace(offer, filtered=True), "namespaces")


@pytest.mark.asyncio
async def test_a_job_without_a_filter_says_so(make_place: MakePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter, "missing", lambda: "pyseccomp is not installed")
    place = await make_place()
    if not place.backend.describe()["isolation"].startswith("namespaces"):
        pytest.skip("this machine offers no namespaces")
    seen = await place.run("print(1)")
    assert {c["reason"] for c in seen.conditions if c["type"] == "Isolated"} == {"Unfiltered"}


def test_what_makes_the_filter_is_part_of_the_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = runtime.inspect(sys.executable, [])
    file, options = str(tmp_path / "sandbox.json"), {"allow_bwrap": False, "allow_cgroups": False}
    monkeypatch.setattr(filter, "missing", lambda: "pyseccomp is not installed")
    assert probe.cached(file, found, str(tmp_path), **options).level == "process"
    monkeypatch.undo()
    assert probe.cached(file, found, str(tmp_path), **options) == probe.probe(found, str(tmp_path), **options)


@pytest.mark.asyncio
async def test_a_filter_that_can_not_be_made_any_more_ends_the_job_with_words(
    make_place: MakePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await make_place()
    if not place.backend._settings.offer.filtered:
        pytest.skip("this machine has no filter")

    def gone(**_: object) -> bytes:
        raise ImportError("No module named 'pyseccomp'")

    monkeypatch.setattr(filter, "build", gone)
    seen = await place.run("print(1)")
    assert "The filter of system calls can't be made any more: No module named 'pyseccomp'." in seen.evidence["message"]


def test_landlock_of_a_kernel_that_does_not_hold_signals_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 5)
    with pytest.raises(OSError, match=r"is of version 5; it takes 6 \(Linux 6.12\)"):
        landlock.restrict({})


@pytest.mark.asyncio
async def test_landlock_shows_nothing_beside_our_package(make_place: MakePlace) -> None:
    place = await make_place(**LEVELS["landlock+seccomp"])
    if place.backend.describe()["isolation"] != "landlock+seccomp":
        pytest.skip(f"this machine offers {place.backend.describe()}")
    request, settings = a_request("a", "1"), place.backend._settings
    where = launch.Places(place.folder(request.ref), [], sandboxed=False)
    rules = launch._confine(place.folder(request.ref), settings, where, request)
    assert rules["list"] == [runtime.package_folder()]
