"""Environments: built once per content, apart from jobs and from the server, found again, dropped when unused."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_trainjob.backends.local import machine
from jupyter_trainjob.backends.local.environments.box import Bounds, BuildFailed, BuildStopped
from jupyter_trainjob.backends.local.environments.cache import Environments, Keeping
from jupyter_trainjob.backends.local.environments.recipes import Found, Site
from jupyter_trainjob.backends.local.probe import Offer, probe
from jupyter_trainjob.backends.local.runtime import Runtime, inspect
from jupyter_trainjob.resources.names import environment_lock_key, requirements_key
from jupyter_trainjob.resources.trainjob import Requirements
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .packages import r_package, sdist, wheel

UID = 64990 if os.geteuid() == 0 else 0


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return inspect(sys.executable, [])


@pytest.fixture(scope="module")
def offer(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Offer:
    return probe(runtime, str(tmp_path_factory.mktemp("run")), uid=UID, allow_cgroups=False)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir(mode=0o755)
    return folder


Make = Callable[..., Environments]


@pytest.fixture
def make(tmp_path: Path, store: FilesystemStore, runtime: Runtime, offer: Offer, wheels: Path) -> Make:
    def environments(*, offer: Offer = offer, site: Site | None = None, **keeping: object) -> Environments:
        site = site or Site(pip={"no-index": "true", "find-links": str(wheels)})
        return Environments(
            str(tmp_path / "environments"),
            store=store,
            runtime=runtime,
            offer=offer,
            keeping=replace(Keeping(site=site), **keeping),
            uid_range=(64980, UID),
            uid_locks=str(tmp_path / "uids"),
            nproc_per_sandbox=offer.drop or machine.nproc_counts_per_user_namespace(),
        )

    return environments


def ask(store: FilesystemStore, text: str, format: str = "requirements.txt") -> Requirements:
    """What a job names, its list in the object store as a submit leaves it."""
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    store.put(requirements_key(digest), text.encode())
    return Requirements(format=format, digest=digest)


def built(environments: Environments, requirements: Requirements) -> Found:
    environments.build(requirements)
    found = environments.find(requirements)
    assert found is not None
    return found[0]


def python(found: Found, code: str) -> str:
    done = subprocess.run([found.interpreter, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_requirements_win_and_the_runtime_is_behind_them(make: Make, store: FilesystemStore, wheels: Path) -> None:
    wheel(wheels, "tinylib", "1.0", "x = 'old'")
    wheel(wheels, "tinylib", "1.1", "import tinydep; x = 'new' + tinydep.y", requires=("tinydep",))
    wheel(wheels, "tinydep", "2.0", "y = '!'")
    wheel(wheels, "cloudpickle", "0.1", "mine = True")
    environments = make()
    found = built(environments, ask(store, "tinylib==1.1\ncloudpickle==0.1\n"))
    assert python(found, "import tinylib; print(tinylib.x)") == "new!"
    assert python(found, "import ipykernel, pip; print(ipykernel.__version__ > '6')") == "True"
    assert python(found, "import cloudpickle; print(cloudpickle.mine)") == "True"


def test_the_lock_tells_exact_versions_and_hashes(make: Make, store: FilesystemStore, wheels: Path) -> None:
    made = wheel(wheels, "tinylib", "1.1", "", requires=("tinydep",))
    wheel(wheels, "tinydep", "2.0", "")
    environments = make()
    requirements = ask(store, "tinylib\n")
    digest = environments.build(requirements)
    data = store.get(environment_lock_key(digest))
    assert digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    packages = {one["name"]: one for one in json.loads(data)["packages"]}
    assert {name: one["version"] for name, one in packages.items()} == {"tinylib": "1.1", "tinydep": "2.0"}
    assert packages["tinylib"]["sha256"] == hashlib.sha256(made.read_bytes()).hexdigest()
    assert environments.find(requirements) == (environments.find(requirements)[0], digest)  # type: ignore[index]


def test_the_same_content_is_built_once_whoever_asks(make: Make, store: FilesystemStore, wheels: Path) -> None:
    wheel(wheels, "tinylib", "1.0", "")
    first, second = make(), make()
    requirements = [ask(store, "tinylib\n"), ask(store, "# the same\ntinylib  # really\n")]
    assert requirements[0].digest != requirements[1].digest
    assert first.key(requirements[0]) == second.key(requirements[1])
    threads = [
        threading.Thread(target=one.build, args=(requirement,))
        for one, requirement in ((first, requirements[0]), (second, requirements[1]), (second, requirements[0]))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = Path(first._folder, first.key(requirements[0]), "build.log").read_text()
    assert log.count(" install ") == 1, log
    assert first.find(requirements[0]) and second.find(requirements[1])


def test_another_index_or_interpreter_is_another_environment(
    make: Make, store: FilesystemStore, tmp_path: Path
) -> None:
    requirements = ask(store, "tinylib\n")
    elsewhere = make(site=Site(pip={"no-index": "true", "find-links": str(tmp_path / "other")}))
    assert make().key(requirements) != elsewhere.key(requirements)
    slower = Site(pip={"no-index": "true", "find-links": str(tmp_path / "wheels"), "timeout": "99"})
    assert make().key(requirements) == make(site=slower).key(requirements), "a timeout makes no other environment"


def test_a_package_that_is_not_there_is_told_in_pips_words(make: Make, store: FilesystemStore) -> None:
    environments = make()
    requirements = ask(store, "no-such-package-at-all==9\n")
    with pytest.raises(BuildFailed, match="No matching distribution found for no-such-package-at-all==9"):
        environments.build(requirements)
    assert environments.find(requirements) is None
    assert not Path(environments._folder, environments.key(requirements), "root").exists(), "nothing is left over"


@pytest.mark.slow
def test_what_failed_can_be_built_later(make: Make, store: FilesystemStore, wheels: Path) -> None:
    environments = make()
    requirements = ask(store, "tinylib\n")
    with pytest.raises(BuildFailed):
        environments.build(requirements)
    wheel(wheels, "tinylib", "1.0", "")
    assert built(environments, requirements).interpreter


def test_a_wrong_hash_is_refused(make: Make, store: FilesystemStore, wheels: Path) -> None:
    wheel(wheels, "tinylib", "1.0", "")
    with pytest.raises(BuildFailed, match=r"(?i)hash"):
        make().build(ask(store, f"tinylib==1.0 --hash=sha256:{'0' * 64}\n"))


def test_packages_that_break_the_kernel_are_told_before_any_job(
    make: Make, store: FilesystemStore, wheels: Path
) -> None:
    wheel(wheels, "traitlets", "99.0", "raise ImportError('not this one')")
    with pytest.raises(BuildFailed, match="no kernel starts with these packages"):
        make().build(ask(store, "traitlets==99.0\n"))


SPY = """
import glob, json, socket
def look(path):
    try:
        return open(path).read()
    except OSError as error:
        return type(error).__name__
def listed(path):
    try:
        return os.listdir(path)
    except OSError as error:
        return type(error).__name__
def attempt(path):
    try:
        open(path, "w").close()
        return "wrote"
    except OSError as error:
        return type(error).__name__
SEEN = {{
    "secret": look({secret!r}), "store": listed({store!r}), "pip": listed({cache!r}),
    "environment": sorted(os.environ), "parent": look("/proc/1/environ"),
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]), "uid": os.getuid(),
    "usr": attempt("/usr/x"), "runtime": attempt({prefix!r} + "/x"),
}}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")
def test_a_build_sees_nothing_of_the_server(
    make: Make, store: FilesystemStore, wheels: Path, tmp_path: Path, offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if offer.bwrap is None:
        pytest.skip(f"no sandbox here: {offer.findings}")
    secret = tmp_path / "token.txt"
    secret.write_text("the server's token")
    secret.chmod(0o644)
    monkeypatch.setenv("JUPYTER_TRAINJOB_TOKEN", "the server's token")
    environments = make()
    cache = os.path.join(environments._folder, "pip")
    Path(cache).mkdir()
    Path(cache, "somebody's").write_text("wheel")
    code = SPY.format(secret=str(secret), store=str(tmp_path / "store"), cache=cache, prefix=sys.prefix)
    sdist(wheels, "spy", code)
    found = built(environments, ask(store, "spy\n"))
    seen = eval(python(found, "import spy; print(spy.SEEN)"))
    assert seen["secret"] == "FileNotFoundError"
    assert seen["store"] == "FileNotFoundError"
    assert not seen["pip"] or seen["pip"] == "FileNotFoundError"
    assert not [name for name in seen["environment"] if name.startswith("JUPYTER")], seen["environment"]
    assert "token" not in seen["parent"]
    assert seen["processes"] < 12, "the host's processes can be seen"
    assert seen["uid"] != os.getuid() or os.getuid() != 0
    assert "wrote" not in (seen["usr"], seen["runtime"])


def test_pips_cache_is_never_open_to_strangers_code(make: Make, store: FilesystemStore, wheels: Path) -> None:
    """A wheels-only pass may start no process: what would build from source fails in it, and has no cache later."""
    environments = make()
    sdist(wheels, "sneaky", f"SEEN = [os.access({os.path.join(environments._folder, 'pip')!r}, os.W_OK)]")
    found = built(environments, ask(store, "sneaky\n"))
    assert python(found, "import sneaky; print(sneaky.SEEN)") == "[False]"


def test_wheels_only_is_the_operators_to_demand(make: Make, store: FilesystemStore, wheels: Path) -> None:
    sdist(wheels, "sneaky", "SEEN = 1")
    environments = make(site=Site(pip={"no-index": "true", "find-links": str(wheels)}, builds="wheels"))
    with pytest.raises(BuildFailed, match="No matching distribution"):
        environments.build(ask(store, "sneaky\n"))
    for line in ("--no-binary sneaky", "--no-binary=:all:", "sneaky@https://ada:secret@a.example/s.tar.gz"):
        words = r"this server installs wheels of its index only, and .* asks for more"
        with pytest.raises(BuildFailed, match=words) as told:
            environments.build(ask(store, f"{line}\nsix\n"))
        assert "secret" not in str(told.value)


def test_a_wheel_that_names_a_source_package_brings_no_code_in_either(
    make: Make, store: FilesystemStore, wheels: Path, tmp_path: Path
) -> None:
    flag = "os.environ['TMPDIR'] + '/../ran'"
    archive = sdist(wheels, "sneaky", f"open({flag}, 'w').close(); SEEN = 1")
    wheel(wheels, "front", "1.0", "", requires=(f"sneaky @ file://{archive}",))
    environments = make(site=Site(pip={"no-index": "true", "find-links": str(wheels)}, builds="wheels"))
    with pytest.raises(BuildFailed):
        environments.build(ask(store, "front\n"))
    assert "unavailable" in environments.tail(ask(store, "front\n")), "no process could be started"


def test_lists_of_r_are_refused_where_nothing_is_built_from_source(make: Make, store: FilesystemStore) -> None:
    text = json.dumps({"R": {}, "Packages": {"tiny": {"Version": "1.0"}}})
    with pytest.raises(BuildFailed, match=r"renv\.lock are always built from source.*environment_builds is 'wheels'"):
        make(site=Site(builds="wheels")).build(ask(store, text, "renv.lock"))


def test_an_operator_may_let_nothing_be_built(make: Make, store: FilesystemStore, wheels: Path) -> None:
    wheel(wheels, "tinylib", "1.0", "")
    with pytest.raises(BuildFailed, match="this server builds no environments"):
        make(site=Site(builds="none")).build(ask(store, "tinylib\n"))


@pytest.mark.parametrize(
    ("code", "bounds", "words"),
    [
        ("import time; time.sleep(60)", Bounds(seconds=4), "longer than 4 s"),
        (
            "f = open(os.environ['TMPDIR'] + '/big', 'wb')\nwhile True: f.write(bytes(2**20)); f.flush()",
            Bounds(disk_bytes=200 * 2**20),
            "more than 0.2 GiB|File too large",
        ),
        ("import time; x = bytearray(900 * 2**20); time.sleep(60)", Bounds(memory_bytes=600 * 2**20), "GiB of memory"),
        (
            "import subprocess, time\nkept = [subprocess.Popen(['sleep', '60']) for _ in range(200)]\ntime.sleep(60)",
            Bounds(processes=40),
            "more than 40 processes|unavailable",
        ),
    ],
    ids=["time", "disk", "memory", "processes"],
)
@pytest.mark.slow
def test_a_hostile_build_ends(
    make: Make, store: FilesystemStore, wheels: Path, code: str, bounds: Bounds, words: str
) -> None:
    sdist(wheels, "hostile", code)
    began = time.monotonic()
    environments = make(bounds=bounds)
    requirements = ask(store, "hostile\n")
    with pytest.raises(BuildFailed, match=words):
        environments.build(requirements)
    assert time.monotonic() - began < 30
    assert not subprocess.run(["pgrep", "-u", str(UID), "sleep"], capture_output=True).stdout or not UID


def test_what_a_build_leaves_is_nobodys_but_ours(make: Make, store: FilesystemStore, wheels: Path) -> None:
    mischief = "if not os.path.exists(sys.prefix + '/fifo'): os.mkfifo(sys.prefix + '/fifo')\n"
    mischief += "open(sys.prefix + '/tool', 'w').close(); "
    mischief += "os.chmod(sys.prefix + '/tool', 0o6777)\nSEEN = 1"
    sdist(wheels, "lefty", "import sys\n" + mischief)
    found = built(make(), ask(store, "lefty\n"))
    assert not os.path.lexists(f"{found.root}/fifo")
    for folder, folders, files in os.walk(found.root):
        for name in [*folders, *files]:
            info = os.lstat(os.path.join(folder, name))
            assert info.st_uid == os.getuid(), name
            assert os.path.islink(os.path.join(folder, name)) or not info.st_mode & 0o7022, name


@pytest.mark.slow
def test_a_server_that_stops_ends_its_builds_and_the_next_begins_anew(
    make: Make, store: FilesystemStore, wheels: Path, tmp_path: Path
) -> None:
    flag = wheels / "go"
    sdist(wheels, "slow", f"import time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.05)\nSEEN = 1")
    environments = make()
    requirements = ask(store, "slow\n")
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            environments.build(requirements)
        except BuildStopped as stopped:
            outcome.append(stopped)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(3)
    environments.stop.set()
    thread.join(10)
    assert len(outcome) == 1
    assert make().find(requirements) is None
    flag.write_text("")
    assert built(make(), requirements).interpreter


@pytest.mark.slow
def test_the_longest_unused_go_but_not_what_a_job_needs(make: Make, store: FilesystemStore, wheels: Path) -> None:
    for name in ("one", "two", "three"):
        wheel(wheels, name, "1.0", "x = 1")
    environments = make(max_bytes=1)
    lists = [ask(store, f"{name}\n") for name in ("one", "two", "three")]
    for age, requirements in zip((300, 200, 10), lists, strict=True):
        environments.build(requirements)
        then = time.time() - age
        os.utime(Path(environments._folder, environments.key(requirements), "used"), (then, then))
    assert environments.collect(lists[:1]) == 1
    assert environments.find(lists[0]) is not None, "a waiting job names it"
    assert environments.find(lists[1]) is None
    assert environments.find(lists[2]) is not None, "asked for a moment ago"
    assert make().collect([]) == 0, "there is room for all"
    old = make(max_age_seconds=100)
    then = time.time() - 200
    os.utime(Path(old._folder, old.key(lists[0]), "used"), (then, then))
    assert old.collect([]) == 1
    assert sorted(os.listdir(old._folder)) == sorted([old.key(lists[2]), "locks", "pip"])


def test_an_ordinary_process_builds_too_where_there_is_no_sandbox(
    make: Make, store: FilesystemStore, wheels: Path
) -> None:
    wheel(wheels, "tinylib", "1.0", "x = 7")
    plain = Offer("process", None, cgroups=False, drop=False)
    found = built(make(offer=plain), ask(store, "tinylib\n"))
    assert python(found, "import tinylib; print(tinylib.x)") == "7"


@pytest.mark.slow
def test_r_packages_in_the_versions_of_the_lock(make: Make, store: FilesystemStore, tmp_path: Path) -> None:
    repository = tmp_path / "cran"
    r_package(repository, "tinyb", "0.2", "two <- function() 2")
    r_package(repository, "tinyb", "0.1", "one <- function() 1", archived=True)
    r_package(repository, "tinya", "1.0-3", "three <- function() tinyb::one() + 2", imports="tinyb (>= 0.1)")
    text = json.dumps(
        {
            "R": {"Version": "4.2.0", "Repositories": [{"Name": "CRAN", "URL": "https://cran.example"}]},
            "Packages": {
                "tinya": {"Package": "tinya", "Version": "1.0-3", "Source": "Repository", "Repository": "CRAN"},
                "tinyb": {"Package": "tinyb", "Version": "0.1", "Source": "Repository", "Repository": "CRAN"},
            },
        }
    )
    environments = make(site=Site(r_repositories=(f"file://{repository}",)))
    found = built(environments, ask(store, text, "renv.lock"))
    done = subprocess.run(
        ["Rscript", "--vanilla", "-e", "cat(tinya::three(), format(packageVersion('tinyb')))"],
        env={**os.environ, "R_LIBS": found.libraries[0]},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "3 0.1", done.stderr
    missing = text.replace('"0.1"', '"0.9"')
    with pytest.raises(BuildFailed, match=r"tinyb 0\.9 is in none of: file://"):
        environments.build(ask(store, missing, "renv.lock"))


@pytest.mark.slow
def test_what_a_package_of_r_runs_while_it_is_built_has_no_network(
    make: Make, store: FilesystemStore, tmp_path: Path, offer: Offer
) -> None:
    if offer.bwrap is None:
        pytest.skip(f"no sandbox here: {offer.findings}")
    repository = tmp_path / "cran"
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = f"socketConnection('127.0.0.1', {server.getsockname()[1]}, timeout = 3)"
        nothing = "function(condition) 'nothing'"
        code = f"seen <- tryCatch({{ {connect}; 'reached' }}, error = {nothing}, warning = {nothing})"
        r_package(repository, "tinya", "1.0", code + "\n")
        text = json.dumps({"R": {"Repositories": []}, "Packages": {"tinya": {"Version": "1.0"}}})
        environments = make(site=Site(r_repositories=(f"file://{repository}",)))
        found = built(environments, ask(store, text, "renv.lock"))
    done = subprocess.run(
        ["Rscript", "--vanilla", "-e", "cat(tinya::seen)"],
        env={**os.environ, "R_LIBS": found.libraries[0]},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "nothing", done.stderr


@pytest.mark.slow
def test_a_wheel_of_the_real_index(make: Make, store: FilesystemStore) -> None:
    found = built(
        make(site=Site()),
        ask(store, "six==1.16.0 --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254\n"),
    )
    assert python(found, "import six; print(six.__version__)") == "1.16.0"


@pytest.mark.slow
def test_jars_of_the_real_index(make: Make, store: FilesystemStore) -> None:
    found = built(make(), ask(store, "org.typelevel:cats-kernel_2.13:2.10.0\n", "ivy"))
    names = [os.path.basename(path) for path in found.jars]
    assert "cats-kernel_2.13-2.10.0.jar" in names
    assert any(name.startswith("scala-library-2.13") for name in names), "what it needs comes along"
