"""What docs/languages-and-data.md shows, typed into a real kernel and a real terminal beside a real server."""

from __future__ import annotations

import re
import shlex
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jupyter_trainjob.client import Client

from ..magics.conftest import Kernel, Ran, client, kernel, start_kernel
from ..served import Served
from .pages import TOP, blocks
from .test_users import terminal

__all__ = ["client", "kernel", "start_kernel"]

pytestmark = pytest.mark.slow

PAGE = "docs/languages-and-data.md"
TEXT = (TOP / PAGE).read_text("utf-8")
CELLS = blocks(PAGE, "")
PLACE = "https://data.example.org/sets/"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One whose operator allows a folder, which stands for the page's address."""
    folder = tmp_path_factory.mktemp("languages")
    (folder / "sets").mkdir()
    (folder / "sets" / "heights.csv").write_text("name,height\n")
    server = Served(
        folder,
        f"--TrainJobExtension.input_uris=file://{folder}/sets/",
        "--LocalBackendSettings.startup_seconds=600",  # of Scala on a machine that does much else
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def languages(served: Served) -> set[str]:
    with served.client() as made:
        return {one["language"] for one in made.kernels()}


@pytest.fixture
def r(languages: set[str]) -> None:
    if "r" not in languages:
        pytest.skip("there is no R kernel")


@pytest.fixture
def scala(languages: set[str]) -> None:
    if "scala" not in languages:
        pytest.skip("there is no Scala kernel; see scripts/kernels")


@pytest.fixture
def cell(kernel: Kernel) -> Callable[..., Ran]:
    """Run the one cell of the page in which ``words`` stand."""

    def go(words: str, change: Callable[[str], str] = str) -> Ran:
        [code] = [one for one in CELLS if words in one]
        ran = kernel.run(change(code), timeout=600)
        assert ran.status == "ok", ran
        return ran

    return go


def value(kernel: Kernel, expression: str) -> str:
    ran = kernel.run(f"print({expression})")
    assert ran.status == "ok", ran
    return ran.stdout.rstrip("\n")


def test_a_cell_in_r(cell: Callable[..., Ran], kernel: Kernel, r: None) -> None:
    cell("--name squares")
    assert f"now `{value(kernel, 'total')}` in" in TEXT


def test_a_cell_in_scala(cell: Callable[..., Ran], kernel: Kernel, scala: None) -> None:
    cell("--name words")
    assert f"`counts` is now `{value(kernel, 'counts')}`" in TEXT


def test_what_is_no_code_is_refused_with_its_line(kernel: Kernel, languages: set[str]) -> None:
    said = "x = 1\ny = (\n"
    for language in sorted(languages & {"python", "r", "scala"}):
        ran = kernel.run(f"%%trainjob --kernel {language.upper()} --hold\n{said}")
        assert ran.status == "error" and re.search(r"line 3\b", ran.traceback + ran.stderr), (language, ran)
    ran = kernel.run("%%trainjob --kernel julia\n1")
    assert "there is no kernel 'julia'; there are: " in ran.traceback + ran.stderr


def test_scripts_and_a_folder(served: Served, kernel: Kernel, client: Client, r: None) -> None:
    folder = kernel.folder
    (folder / "train.py").write_text("print('lr', lr)\n")
    (folder / "analysis.R").write_text("# a comment\nx <- 1:3\nstop('no such column')\n")
    project = folder / "project"
    (project / "lib").mkdir(parents=True)
    (project / "lib" / "calc.py").write_text("def six(): return 6\n")
    (project / "secret.txt").write_text("not for others")
    (project / ".gitignore").write_text("secret.txt\n")
    (project / "train.py").write_text(
        "import os\nfrom lib.calc import six\nprint(six(), os.path.exists('secret.txt'))\n"
        "open('made.txt', 'w').close()\n"
        "try:\n    open('lib/calc.py', 'w')\nexcept OSError as error:\n    print(error)\n"
    )
    [commands] = [one for one in blocks(PAGE, "bash") if "analysis.R" in one]
    for line in commands.splitlines():
        done = terminal(served, folder, *shlex.split(line)[2:])
        assert done.returncode == 0, done.stderr
    assert client.job("train").wait(60).logs() == "lr 0.1\n"
    failed = client.job("analysis").wait(60)
    assert not failed.succeeded and "line 3" in failed.logs()
    whole = client.job("project").wait(60)
    assert whole.logs() == "6 False\n[Errno 30] Read-only file system: 'lib/calc.py'\n"
    kept = {item["path"] for item in whole.files()}
    assert "made.txt" in kept and not kept & {"train.py", "lib/calc.py", ".gitignore"}

    (folder / "own.py").write_text("lr = 0.5\nprint(lr)\n")
    refused = terminal(served, folder, "submit", "own.py", "--param", "lr=0.1")
    assert refused.returncode == 1 and "line 1 of the script, lr = 0.5, would overwrite" in refused.stderr
    told = terminal(served, folder, "submit", "project/", "--entry", "train.py", "--dry-run").stderr
    assert "lib/calc.py" in told and "secret.txt" not in told


TELL = {
    "Python": ("import datetime\nprint([{}])", "{} == {}"),
    "R": ("cat(paste(c({}), collapse = ', '))", "identical({}, {})"),
    "Scala": ('println(List({}).mkString(", "))', "{} == {}"),
}


def table(language: str) -> tuple[str, str, int]:
    """The options that send the values of the page's table, code that compares each with its column, and how many."""
    text = TEXT.partition("<!-- parameters -->")[2].partition("<!-- end parameters -->")[0]
    rows = [re.findall(r"`(.+?)`", line) for line in text.splitlines() if "--param" in line]
    column = 1 + list(TELL).index(language)
    options = " ".join(row[0].replace("p=", f"p{number}=") for number, row in enumerate(rows))
    whole, one = TELL[language]
    return options, whole.format(", ".join(one.format(f"p{n}", row[column]) for n, row in enumerate(rows))), len(rows)


def check_table(ran: Ran, count: int) -> None:
    assert re.findall(r"\b(?:true|false)\b", ran.stdout.lower()) == ["true"] * count, ran


@pytest.mark.parametrize("language", ["Python", "R"])  # Scala's are sent with a frame, below
def test_parameters_arrive_as_the_table_says(kernel: Kernel, languages: set[str], language: str) -> None:
    if language.lower() not in languages:
        pytest.skip(f"there is no {language} kernel")
    options, code, count = table(language)
    check_table(kernel.run(f"%%trainjob --kernel {language} --block --name given {options}\n{code}"), count)


def test_files_of_another_job(
    cell: Callable[..., Ran], kernel: Kernel, served: Served, client: Client, r: None
) -> None:
    cell("--name clean")
    cell("--name report")
    assert value(kernel, "list(heights.columns), heights.height.tolist()") == "['name', 'height'] [168, 181]"
    assert client.job("clean").uid in terminal(served, kernel.folder, "show", "report").stdout
    [command] = [one for one in blocks(PAGE, "bash") if "--archive" in one]
    done = terminal(served, kernel.folder, *shlex.split(command)[2:])
    assert done.returncode == 0, done.stderr
    with tarfile.open(kernel.folder / "clean.tar") as archive:
        assert {"notebook.ipynb", "files/tables/heights.csv"} <= set(archive.getnames())


def test_data_from_elsewhere(cell: Callable[..., Ran], kernel: Kernel, served: Served) -> None:
    ran = cell("--name fetched", lambda code: code.replace(PLACE, f"file://{served.folder}/sets/"))
    assert "name,height" in ran.stdout
    refused = kernel.run(f"%%trainjob --uri {PLACE}heights.csv\n1")
    assert "is not among what this server's operator allows: file://" in refused.traceback + refused.stderr


def test_frames_to_r_and_back(cell: Callable[..., Ran], kernel: Kernel, client: Client, r: None) -> None:
    cell("import pandas as pd")
    kernel.run("sent = trees.copy()")
    cell("girths <- aggregate")
    assert value(kernel, "girths.values.tolist()") == "[['elm', 95.0], ['oak', 120.0]]"
    assert value(kernel, "trees.old.isna().tolist(), str(trees.kind.dtype)") == "[False, False, True] category"
    assert value(kernel, "trees.note.isna().tolist(), trees.note[0] == ''") == "[False, True, False] True"
    kernel.run("trees = sent.set_index('kind'); thing = object()")
    for name, said in {"trees": "trees.reset_index()", "thing": "which R can't get"}.items():
        refused = kernel.run(f"%%trainjob --kernel R --in {name}\n1")
        assert refused.status == "error" and said in refused.traceback + refused.stderr, refused
    ran = kernel.run("%%trainjob --kernel R --out good,bad --block --name mixed\ngood <- 1:2\nbad <- function(x) x")
    assert "bad is a function, which no other language gets" in ran.traceback + ran.stderr, ran
    assert client.job("mixed").succeeded and value(kernel, "good") == "[1, 2]"


def test_frames_to_scala_and_back(cell: Callable[..., Ran], kernel: Kernel, scala: None) -> None:
    cell("import pandas as pd")
    options, code, count = table("Scala")
    check_table(cell("val elms", lambda text: text.replace("\n", f" {options}\n", 1) + f"\n{code}"), count)
    assert value(kernel, "elms.kind.tolist(), elms.girth.tolist()") == "['elm'] [95.0]"


def test_a_list_of_requirements_is_read(cell: Callable[..., Ran], kernel: Kernel) -> None:
    """Building is tested where environments are: this is the way there."""
    (kernel.folder / "requirements.txt").write_text("polars\n")
    assert "Nothing was submitted." in cell("--name polar", lambda code: code.replace("\n", " --dry-run\n", 1)).stdout
    (kernel.folder / "requirements.txt").write_text("-e .\n")
    [code] = [one for one in CELLS if "--name polar" in one]
    refused = kernel.run(code)
    assert refused.status == "error" and "line 1" in refused.traceback + refused.stderr


def points(client: Client, name: str) -> list[list[Any]]:
    table = client.job(name).metrics()
    return [[row["name"], row["step"], row["value"]] for row in table.to_dict("records")]


def test_metrics_and_progress_in_python_and_by_lines(
    cell: Callable[..., Ran], kernel: Kernel, served: Served, client: Client
) -> None:
    cell("--name steps --block")
    assert points(client, "steps") == [["loss", step, 1 / step] for step in range(1, 5)]
    assert client.job("steps").status["progress"]["message"] == "training"
    assert "loss" in kernel.run("%trainjob metrics steps").stdout
    assert "\nname,step,value,time\nloss,1,1.0," in kernel.run("%trainjob metrics steps -o csv").stdout
    assert re.search(r"^--cpu \S+ --memory \S+ --time-limit", kernel.run("%trainjob advise steps").stdout, re.M)
    assert re.search(
        r"memory .* of 1 GiB, .* CPU seconds, disk", terminal(served, kernel.folder, "show", "steps").stdout
    )

    assert "::trainjob" not in cell("--name told").stdout
    assert points(client, "told") == [["loss", 10, 0.31]]
    assert client.job("told").status["progress"]["fraction"] == 0.4


def test_metrics_in_r_and_the_same_job_again(cell: Callable[..., Ran], kernel: Kernel, client: Client, r: None) -> None:
    cell("--name steps-in-r")
    first = client.job("steps-in-r")
    assert points(client, "steps-in-r") == [["loss", step, 1 / step] for step in range(1, 5)]
    assert first.status["progress"]["fraction"] == 1
    cell("%trainjob rerun")
    again = client.job("steps-in-r")
    assert again.uid != first.uid and again.succeeded and again.spec["seed"] == first.spec["seed"]


def test_the_seed_is_told_to_the_code(kernel: Kernel, client: Client) -> None:
    ran = kernel.run("%%trainjob --block --name seeded\nimport os\nprint(os.environ['TRAINJOB_SEED'])")
    assert ran.stdout.strip() == str(client.job("seeded").spec["seed"])
