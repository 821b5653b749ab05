"""``jupyter trainjob images build`` up to the engine; ``tests/images`` builds and runs the images."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from jupyter_trainjob.cli.images import images_main
from jupyter_trainjob.cli.images.context import kernels, known, prepare
from jupyter_trainjob.cli.images.engines import Buildah, Docker, Order
from jupyter_trainjob.cli.images.mirrors import MirrorError, secrets

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

TOP = Path(__file__).parents[2]
PINNED = re.compile(r"^([a-z0-9-]+)==([^ ;\\]+)", re.M)


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def order(tmp_path: Path, **more: object) -> Order:
    return Order(tmp_path / "context", tmp_path, "docker.io/trainjob", "1.2", **more)  # type: ignore[arg-type]


def test_where_nothing_can_build_it_says_what_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = tmp_path / "docker"  # as the client behaves whose engine is away
    client.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon at unix:///run/docker.sock.' >&2; exit 1\n")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    assert images_main(["build", "python"]) == 1
    said = capsys.readouterr().err
    assert "No engine works here that builds images." in said
    assert "docker: the program is here, but no engine answers: Cannot connect to the Docker daemon" in said
    assert "podman: not installed." in said
    assert "buildah: not installed." in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build", "pyton"], "there is no image 'pyton'. Did you mean python?"),
        (["build", "--build-arg", "KERNEL"], "--build-arg KERNEL: write NAME=VALUE."),
        ([], "usage: jupyter trainjob images build"),
        (["make"], "usage: jupyter trainjob images build"),
    ],
)
def test_a_wrong_word_is_told(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert images_main(words) == 2
    assert message in capsys.readouterr().err


def test_the_command_of_an_engine_is_a_list_of_arguments(tmp_path: Path) -> None:
    told = order(tmp_path, arguments={"BASE": "debian:12; rm"}, secrets={"ca": Path("/a file.pem")})
    words = Buildah().build_command(told, "r")
    assert words[:3] == ["buildah", "build", "--layers"]
    assert words[words.index("--tag") + 1] == "docker.io/trainjob/r:1.2"
    assert words[words.index("--build-arg") + 1] == "BASE=debian:12; rm"
    assert words[words.index("--secret") + 1] == "id=ca,src=/a file.pem"
    assert words[-1] == str(tmp_path / "context")


def test_docker_is_told_the_name_of_a_proxy_and_not_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://ada:secret@proxy.example.org")
    words = Docker().build_command(order(tmp_path), "python")
    assert words[words.index("--build-arg") + 1] == "https_proxy"
    assert "secret" not in " ".join(words)


def test_an_index_that_pip_knows_is_a_secret_of_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://ada:pass%20word@pypi.example.org/simple")
    found = secrets({}, tmp_path)
    assert found.keys() == {"pip.conf"}
    assert found["pip.conf"].stat().st_mode & 0o077 == 0
    read = configparser.RawConfigParser()
    read.read(found["pip.conf"])
    assert read["global"]["index-url"] == "https://ada:pass%20word@pypi.example.org/simple"


def test_what_pips_file_says_stays_beside_its_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.conf"
    file.write_text("[global]\nindex-url = https://old.example.org\nproxy = http://p%40x\n[install]\nuser = no\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_INDEX_URL", "https://new.example.org/simple")
    read = configparser.RawConfigParser()
    read.read(secrets({}, tmp_path)["pip.conf"])
    assert dict(read["global"]) == {"index-url": "https://new.example.org/simple", "proxy": "http://p%40x"}
    assert read["install"]["user"] == "no"
    file.write_text("index-url = without a section\n")
    with pytest.raises(MirrorError, match=r"PIP_CONFIG_FILE names '.*mine\.conf', which pip could not read: "):
        secrets({}, tmp_path)


def test_files_that_are_named_come_before_what_pip_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine.pem", "other.pem", "mirror.list", "pip.conf"):
        (tmp_path / name).write_text("x")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "other.pem"))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    found = secrets({"--ca": tmp_path / "mine.pem", "--apt-sources": tmp_path / "mirror.list"}, tmp_path)
    assert {name: path.name for name, path in found.items()} == {
        "ca": "mine.pem",
        "apt.list": "mirror.list",
        "pip.conf": "pip.conf",
    }
    with pytest.raises(MirrorError, match=r"--ca names '.*gone\.pem', which can't be read: No such file"):
        secrets({"--ca": tmp_path / "gone.pem"}, tmp_path)


def test_docker_in_a_clone_is_sent_what_the_images_are_made_of() -> None:
    if not (TOP / ".git").exists():
        pytest.skip("this is no clone")
    told = [line for line in (TOP / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert told[0] == "*"
    copied = {
        word.partition("/")[0]
        for name in known()
        for line in (kernels() / name / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert copied == {line[1:] for line in told if line.startswith("!")}


def test_every_secret_is_read_inside() -> None:
    read = (kernels() / "mirrors").read_text() + (kernels() / "scala" / "almond").read_text()
    for name in ("ca", "apt.sources", "apt.list", "apt.conf", "pip.conf", "maven.xml"):
        assert f"$told/{name}" in read
        assert any(f"id={name}" in (kernels() / one / "Dockerfile").read_text() for one in known()), name


def _mirrors(tmp_path: Path, command: str) -> str:
    """``kernels/mirrors`` with a folder in the place of a build's secrets, and a file in that of what a base trusts."""
    script, told, usual = tmp_path / "mirrors", tmp_path / "secrets", tmp_path / "usual.crt"
    text = (kernels() / "mirrors").read_text()
    assert text.count("/run/secrets") == 1 and text.count("/etc/ssl/certs/ca-certificates.crt") == 1
    script.write_text(text.replace("/run/secrets", str(told)).replace("/etc/ssl/certs/ca-certificates.crt", str(usual)))
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path / "scratch")}
    (tmp_path / "scratch").mkdir(exist_ok=True)
    ran = subprocess.run(["sh", script, "sh", "-c", command], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert list((tmp_path / "scratch").iterdir()) == [], "nothing stays in the image"
    return ran.stdout


def test_certificates_of_a_mirror_are_trusted_besides_the_usual_ones(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "ca").write_text("THE MIRROR'S\n")
    told = 'cat "$PIP_CERT"; [ "$PIP_CERT" = "$SSL_CERT_FILE" ] && [ "$PIP_CERT" = "$CURL_CA_BUNDLE" ] && echo same'
    assert _mirrors(tmp_path, told) == "THE MIRROR'S\nsame\n", "a base may have none"
    (tmp_path / "usual.crt").write_text("THE USUAL")  # without an end of line
    assert _mirrors(tmp_path, told) == "THE USUAL\nTHE MIRROR'S\nsame\n"
    told = _mirrors(
        tmp_path, 'cat "$APT_CONFIG"; stat -c %A "$APT_CONFIG" "$PIP_CERT" "${PIP_CERT%/*}"; echo "$PIP_CERT"'
    )
    apt, *modes, trusted = told.splitlines()
    assert apt == f'Acquire::https::CaInfo "{trusted}";'
    assert modes == ["-rw-r--r--", "-rw-r--r--", "drwxr-xr-x"], "apt fetches as a user of its own"


def test_a_build_that_was_told_nothing_trusts_what_its_base_does(tmp_path: Path) -> None:
    assert _mirrors(tmp_path, 'echo "${PIP_CERT-none} ${SSL_CERT_FILE-none} ${APT_CONFIG-none}"') == "none none none\n"


def test_what_is_built_from_is_the_same_each_time(tmp_path: Path) -> None:
    """Else no engine would know its layers again."""
    context = prepare(tmp_path / "context")
    assert {path.name for path in context.iterdir()} == {"kernels", "jupyter_trainjob"}
    found = list(context.rglob("*"))
    assert len({path.stat().st_mtime for path in found}) == 1
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {0o644}
    assert not [path for path in found if path.name in ("__pycache__", "labextension", "_data")]
    assert (context / "jupyter_trainjob" / "runner" / "languages" / "inkernel.R").is_file()


@pytest.mark.parametrize("name", known())
def test_a_dockerfile_names_only_what_is_there(name: str, tmp_path: Path) -> None:
    context = prepare(tmp_path / "context")
    text = (context / "kernels" / name / "Dockerfile").read_text().replace("\\\n", " ")
    for words in re.findall(r"^COPY (?!--from)(.*)$", text, re.M):
        for source in words.split()[:-1]:
            assert (context / source).exists(), source
    for script in re.findall(r"/kernels/([\w/]+)", text):
        assert (context / "kernels" / script).exists(), script


def test_the_scripts_are_shell() -> None:
    scripts = [path for path in kernels().rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh")]
    assert len(scripts) >= 6
    for script in scripts:
        assert subprocess.run(["sh", "-n", script], check=False).returncode == 0, script


@pytest.mark.parametrize("name", known())
def test_what_pip_installs_is_pinned_by_hash(name: str) -> None:
    for line in (kernels() / name / "requirements.txt").read_text().splitlines():
        assert not line or line.startswith("#") or "==" in line or "--hash=sha256:" in line, line


def test_the_service_has_what_the_project_asks_for() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]
    asked = list(project["dependencies"])
    for extra in ("kubernetes", "s3", "postgres"):
        asked += project["optional-dependencies"][extra]
    pinned = dict(PINNED.findall((kernels() / "service" / "requirements.txt").read_text()))
    for requirement in map(Requirement, asked):
        version = pinned[requirement.name.lower().replace("_", "-")]
        assert Version(version) in requirement.specifier, f"{requirement} is pinned to {version}: run kernels/lock"
