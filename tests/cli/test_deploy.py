"""``jupyter trainjob deploy --dry-run`` and ``doctor`` on this machine. On a cluster: ``tests/cluster``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from jupyter_trainjob.cli import command
from tests.storage.servers import S3Server, minio, write_credentials

from .conftest import Done

__all__ = ["minio"]

CONFIGURATION = """
c.TrainJobExtension.backends = {"cluster": {"type": "kubernetes"}}
c.KubernetesBackendSettings.namespace = "ml"
c.KubernetesBackendSettings.images = {"python": "docker.io/trainjob/python:1"}
c.ObjectStoreSettings.url = "s3+https://10.1.2.3:9000/jobs/ml-2026"
c.KubernetesDeploySettings.service_image = "docker.io/trainjob/service:1"
"""
Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``run(*words, given=…)``: the command in an empty home; ``given`` is its configuration file's text."""
    for name in list(os.environ):
        if name.startswith(("JUPYTER", "TRAINJOB", "KUBE")) and name != "JUPYTER_PATH":
            monkeypatch.delenv(name)
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.chdir(tmp_path)

    def go(*words: str, given: str = CONFIGURATION) -> Done:
        (tmp_path / "trainjob.py").write_text(given)
        status = command.run([*words, "--config", "trainjob.py"])
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return go


def test_a_dry_run_prints_the_same_as_names_yaml_and_json(run: Run) -> None:
    names = run("deploy", "--dry-run")
    assert names.status == 0 and names.out.startswith("Namespace/ml\nServiceAccount/trainjob-server\n"), names
    documents = list(yaml.safe_load_all(run("deploy", "--dry-run", "-o", "yaml").out))
    told = run("deploy", "--dry-run", "-o", "json")
    assert json.loads(told.out) == {"apiVersion": "v1", "kind": "List", "items": documents}
    assert [f"{item['kind']}/{item['metadata']['name']}" for item in documents] == names.out.split()


def test_yaml_is_as_people_read_it(run: Run) -> None:
    assert "apiVersion: v1\nkind: Namespace\nmetadata:\n" in run("deploy", "--dry-run", "-o", "yaml").out


def test_a_password_is_printed_to_nobody_who_is_not_told_so(run: Run) -> None:
    secret = 'c.KubernetesBackendSettings.pip_options = {"index-url": "https://ada:pass-word@pypi.example.org/"}\n'
    note = "the Secret 'trainjob' above holds the service's whole configuration, with all passwords that are in it"
    for output in ("yaml", "json"):
        done = run("deploy", "--dry-run", "-o", output, given=CONFIGURATION + secret)
        assert done.status == 0 and note in done.err and "kind" in done.out
        assert "pass-word" not in done.out + done.err
    assert run("deploy", "--dry-run", given=CONFIGURATION + secret).err == ""


def test_a_part_is_printed_alone_for_somebody_else(run: Run) -> None:
    """To be applied by the cluster's operators, who need none of our secrets."""
    done = run("deploy", "--dry-run", "--only", "cluster-rights", "-o", "yaml")
    assert [one["kind"] for one in yaml.safe_load_all(done.out)] == ["ClusterRole", "ClusterRoleBinding"]
    assert (done.status, done.err) == (0, "")
    wrong = run("deploy", "--dry-run", "--only", "cluster-right")
    assert wrong.status == 2 and "cluster-rights" in wrong.err, wrong


def test_an_option_goes_before_the_file(run: Run) -> None:
    done = run("deploy", "--dry-run", "--KubernetesBackendSettings.namespace=other")
    assert done.out.startswith("Namespace/other\n")


@pytest.mark.parametrize(
    ("words", "given", "message"),
    [
        ((), "", 'c.TrainJobExtension.backends = {"cluster": {"type": "kubernetes"}}'),
        ((), "c.Nothing = ", "The configuration can't be read: invalid syntax"),
        (("--KubernetesDeploySettings.replica=2",), CONFIGURATION, "no option 'replica'. Did you mean replicas?"),
        (
            ("--backend", "clustre"),
            CONFIGURATION,
            "There is no backend 'clustre' of the type kubernetes. Did you mean cluster?",
        ),
        (("--dry-rum",), CONFIGURATION, "unknown option --dry-rum. Did you mean --dry-run?"),
        (("-f", "absent.yaml"), CONFIGURATION, "'absent.yaml' can't be read"),
        (("--ObjectStoreSettings.url=",), CONFIGURATION, "need an object store: set ObjectStoreSettings.url"),
    ],
)
def test_what_can_not_be_read_is_told(run: Run, words: tuple[str, ...], given: str, message: str) -> None:
    done = run("deploy", "--dry-run", *words, given=given)
    assert done.status == 2 and message in done.err, done


def test_a_cluster_that_can_not_be_found_is_told(run: Run) -> None:
    done = run("deploy")
    assert done.status == 1 and done.out == "" and "kubeconfig" in done.err.lower(), done


def test_the_doctor_examines_this_machine(run: Run, tmp_path: Path) -> None:
    done = run("doctor", given="")
    assert done.status == 0, done
    lines = done.out.splitlines()
    for begin in ("ok    record: SQLite at ", "ok    data folder: ", "ok    kernel of Python: Jobs find "):
        assert any(line.startswith(begin) for line in lines), done.out
    assert "Tried here: jobs run at the level " in done.out
    assert "0 to be mended." in lines[-1] or "are well." in lines[-1]
    assert not (tmp_path / "data").exists(), "it leaves nothing"


def test_the_doctor_tells_programs(run: Run) -> None:
    found = json.loads(run("doctor", "-o", "json", given="").out)
    assert {"check", "level", "message", "remedy"} == set(found[0])
    assert {"record", "sandbox", "kernel of R", "kernel of Scala", "store"} <= {finding["check"] for finding in found}


def test_what_has_to_be_mended_is_a_failure_with_a_remedy(run: Run, tmp_path: Path) -> None:
    done = run(
        "doctor",
        "--LocalBackendSettings.allow_bwrap=False",
        "--LocalBackendSettings.minimum_isolation=namespaces",
        "--LocalBackendSettings.python=/nowhere/python",
        given="",
    )
    assert done.status == 1 and "FAIL  interpreter: The interpreter '/nowhere/python' for jobs does not run" in done.out
    weak = run(
        "doctor",
        "--LocalBackendSettings.allow_bwrap=False",
        "--LocalBackendSettings.minimum_isolation=namespaces",
        given="",
    )
    assert weak.status == 1
    assert "FAIL  sandbox: Tried here: jobs run at the level landlock+seccomp." in weak.out
    assert "      → Install bubblewrap" in weak.out
    lost = run("doctor", "--TrainJobExtension.db_url=postgresql://127.0.0.1:1/none?connect_timeout=2", given="")
    assert lost.status == 1 and "FAIL  record: The database does not answer" in lost.out


def test_the_doctor_tells_that_pods_can_not_reach_a_folder(run: Run) -> None:
    done = run("doctor", "--ObjectStoreSettings.url=")
    assert done.status == 1
    assert "FAIL  store: Uploads, logs and outputs lie in a folder of this machine" in done.out


def test_a_bucket_that_the_server_would_make_is_not_missed(run: Run, minio: S3Server, tmp_path: Path) -> None:
    """The service may not have begun when the doctor looks."""
    words = (
        f"--ObjectStoreSettings.url=s3+{minio.url}/{uuid.uuid4().hex}/one",
        f"--ObjectStoreSettings.credentials_file={write_credentials(tmp_path / 'keys')}",
    )
    missed = run("doctor", *words, given="")
    assert missed.status == 1 and "FAIL  store: The bucket can be reached: " in missed.out, missed
    made = run("doctor", *words, "--ObjectStoreSettings.create_bucket=True", given="")
    assert "ok    store: The bucket can be reached.\n" in made.out and "FAIL  store" not in made.out, made


def test_the_doctor_needs_no_image_of_the_service(run: Run) -> None:
    """In the service's own pod nobody says which."""
    words = ("--KubernetesDeploySettings.service_image=", "--ObjectStoreSettings.url=s3+http://127.0.0.1:1/jobs")
    done = run("doctor", *words)
    assert done.status == 1 and "FAIL  cluster: " in done.out, done


def test_without_the_library_for_clusters_the_rest_is_examined(tmp_path: Path) -> None:
    """As after ``pip install jupyter_trainjob``: no traceback, and the doctor of this machine works."""
    (tmp_path / "kubernetes.py").write_text(
        "raise ModuleNotFoundError('No module named kubernetes', name='kubernetes')"
    )
    (tmp_path / "trainjob.py").write_text(CONFIGURATION)
    keys = {"JUPYTER_TRAINJOB_STORE_ACCESS_KEY": "a", "JUPYTER_TRAINJOB_STORE_SECRET_KEY": "b"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    given = {"PYTHONPATH": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path / "data"), "HOME": str(tmp_path), **keys}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jupyter_trainjob.cli", *words]
        top = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
        return subprocess.run(command, env={**kept, **given, **top}, capture_output=True, text=True, cwd=tmp_path)

    deploy = run("deploy", "--dry-run", "--config", "trainjob.py")
    message = "A package for clusters is missing here: No module named kubernetes. Install it: pip install "
    assert deploy.returncode == 2 and f"jupyter trainjob deploy: {message}" in deploy.stderr, deploy
    of_cluster = run("doctor", "--config", "trainjob.py", "--ObjectStoreSettings.url=s3+http://127.0.0.1:1/jobs")
    assert of_cluster.returncode == 2 and "pip install 'jupyter_trainjob[kubernetes]'" in of_cluster.stderr, of_cluster
    (tmp_path / "none.py").write_text("")
    here = run("doctor", "--config", "none.py")
    assert "ok    record: SQLite at " in here.stdout and here.stderr == "", here


def test_an_option_that_there_is_not_is_told(run: Run) -> None:
    done = run("doctor", "--LocalBackendSettings.minimum_isolatoin=process", given="")
    assert done.status == 2 and "Did you mean minimum_isolation?" in done.err
