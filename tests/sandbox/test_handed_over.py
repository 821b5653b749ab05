"""Attacks on whoever reads what a job left: its log on a terminal, its pages in a browser, its pickles in a notebook.

No sandbox stops these: the reader does. Each is first shown to bite a reader who takes what comes as it comes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pexpect
import pytest

from jupyter_trainjob.client import Client, Job

from ..served import Served

ESCAPES = {
    "clipboard": b"\x1b]52;c;ZXZpbA==\x07",
    "title": b"\x1b]0;evil\x07",
    "screen": b"\x1b[2J",
    "answer": b"\x1b[6n",
}
PAGE = b"<script>fetch('/api/contents')</script>"
CODE = """
import os, sys
from IPython.display import HTML, Javascript, display
escapes = {escapes!r}
sys.stdout.buffer.write(escapes + b"\\n")
sys.stdout.flush()
display(HTML({page!r}.decode()), Javascript("window.hacked = 1"))
for name in ("page.html", "picture.svg", "plain"):
    open(name, "wb").write({page!r})
class Bomb:
    def __reduce__(self):
        return (exec, (f"import os\\nwith open({mark!r}, 'a') as file: file.write(str(os.getpid()) + ' ')",))
bomb = Bomb()
raise ValueError(escapes.decode())
"""


@pytest.fixture(scope="module")
def mark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the job's pickle writes the pid of its reader into."""
    return tmp_path_factory.mktemp("bomb") / "readers"


@pytest.fixture(scope="module")
def job(served: Served, mark: Path) -> Job:
    code = CODE.format(escapes=b"".join(ESCAPES.values()), page=PAGE, mark=str(mark))
    with served.client() as client:
        return client.submit_cell(code, name="hostile", outputs=["bomb"]).wait(120)


def fetched(served: Served, job: Job, what: str) -> httpx.Response:
    address = f"{served.url}trainjob/api/v1/namespaces/{job.namespace}/trainjobs/{job.uid}/{what}"
    headers = {"Authorization": f"token {served.token}"}
    answer = httpx.get(address, headers=headers, trust_env=False, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer


def on_a_terminal(served: Served, *words: str) -> bytes:
    command = ["-m", "jupyter_trainjob.cli", *words]
    child = pexpect.spawn(sys.executable, command, env=served.environment, timeout=120)
    child.expect(pexpect.EOF)
    return bytes(child.before)


def test_a_terminal_that_shows_a_log_as_it_is_would_be_steered(served: Served, job: Job, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(fetched(served, job, "log").content)
    shown = pexpect.run(f"cat {log}")
    assert all(escape in shown for escape in ESCAPES.values())


@pytest.mark.parametrize("words", [["logs"], ["show"], ["show", "-o", "yaml"], ["list"], ["results"], ["files"]])
def test_no_verb_lets_it_through(served: Served, job: Job, words: list[str]) -> None:
    shown = on_a_terminal(served, words[0], *([] if words == ["list"] else [job.name]), *words[1:])
    assert shown.strip()
    for name, escape in ESCAPES.items():
        assert escape not in shown, name
    assert b"\x07" not in shown


def test_a_page_that_is_served_as_it_is_would_run(served: Served, job: Job) -> None:
    assert fetched(served, job, "outputs/files/page.html").content == PAGE
    assert PAGE in fetched(served, job, "outputs/notebook").content.replace(b'\\"', b'"')


@pytest.mark.parametrize(
    "what", [*(f"outputs/files/{name}" for name in ("page.html", "picture.svg", "plain")), "outputs/notebook", "log"]
)
def test_a_browser_saves_it_and_runs_nothing(served: Served, job: Job, what: str) -> None:
    headers = fetched(served, job, what).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("sandbox;") or (what == "log" and "default-src 'none'" in policy)
    assert not headers["Content-Type"].startswith(("text/html", "image/svg", "application/xhtml"))
    assert what == "log" or headers["Content-Disposition"].startswith("attachment")


def test_a_notebook_of_a_job_is_not_trusted(served: Served, job: Job) -> None:
    import nbformat

    read = nbformat.reads(fetched(served, job, "outputs/notebook").text, as_version=4)  # type: ignore[no-untyped-call]
    assert not read.metadata.get("signature") and not any(cell.metadata.get("trusted") for cell in read.cells)


def test_a_pickle_runs_in_whoever_opens_it_and_nowhere_else(
    served: Served, client: Client, job: Job, mark: Path
) -> None:
    assert not mark.exists(), "neither the job nor the server has opened it"
    raw = fetched(served, job, "outputs/results/bomb").content
    assert not mark.exists(), "the server hands it out unread"
    naive = subprocess.run([sys.executable, "-c", "import pickle, sys; pickle.load(sys.stdin.buffer)"], input=raw)
    assert naive.returncode == 0 and len(mark.read_text().split()) == 1, "who opens it runs it"
    mark.unlink()
    client.job(job.uid).files()
    on_a_terminal(served, "show", job.name)
    assert not mark.exists(), "looking at a job opens nothing"
    client.job(job.uid).result("bomb")
    assert mark.exists(), "one's own is opened when one asks for it: the page says so"
