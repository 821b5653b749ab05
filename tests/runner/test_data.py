"""What goes into a job (parameters, variables, inputs, environment) and what comes back."""

import json
import os
import pickle
import platform

import cloudpickle
import nbformat
import pytest

from jupyter_trainjob.runner.early import JobFileError, load
from jupyter_trainjob.runner.inputs import InputError, link_inputs
from jupyter_trainjob.runner.notebook import inject

from .harness import notebook, run, start


def test_parameters_arrive_in_the_kernel(tmp_path):
    values = {
        "a": None,
        "b": True,
        "c": float("nan"),
        "d": float("-inf"),
        "e": {"k": ["ü\n'\"\\", -1.5]},
        "f": 10**4200,
    }
    code = "print(a, b, c, d, e, f == 10**4200, sep='|')"
    ended = run(tmp_path, notebook("a = 1", ("b = c = d = e = f = 0", ["parameters"]), code), parameters=values)
    assert ended.log.decode() == "None|True|nan|-inf|{'k': ['ü\\n\\'\"\\\\', -1.5]}|True\n"
    cells = ended.notebook.cells
    assert cells[2].metadata.tags == ["injected-parameters"]
    assert cells[2].source.startswith("# Parameters\na = None\n")
    nbformat.validate(ended.notebook)


def test_without_a_tag_parameters_come_before_the_first_code_and_replace_earlier_ones():
    made = notebook(("x = 0", ["injected-parameters"]), "print(x)")
    made.cells.insert(0, nbformat.v4.new_markdown_cell("# title"))
    inject(made, {"x": 2})
    assert [cell.source for cell in made.cells] == ["# title", "# Parameters\nx = 2", "print(x)"]


def test_variables_go_in_and_results_come_back_with_honest_errors(tmp_path):
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "variables.pkl"
    file.write_bytes(cloudpickle.dumps({"x": [1, 2], "double": lambda n: 2 * n}))
    code = """
import threading
y = [double(n) for n in x]
lock = threading.Lock()
class Odd:
    def __reduce__(self):
        raise ValueError("never mind")
odd = Odd()
"""
    ended = run(
        tmp_path,
        notebook(code),
        variables=[{"file": str(file), "names": ["x", "double"]}],
        results=["y", "nothing", "lock", "odd", "double"],
    )
    assert ended.outcome == "ok"
    told = {one["name"]: one for one in ended.end["results"]}
    assert [one["name"] for one in ended.end["results"]] == ["y", "nothing", "lock", "odd", "double"]
    results = tmp_path / "out" / "results"
    assert sorted(os.listdir(results)) == ["double", "y"]
    assert pickle.loads((results / "y").read_bytes()) == [2, 4]
    assert pickle.loads((results / "double").read_bytes())(4) == 8
    assert told["y"] == {
        "name": "y",
        "size": (results / "y").stat().st_size,
        "type": "list",
        "python": platform.python_version(),
        "format": "pickle",
        "error": "",
    }
    assert told["nothing"]["error"] == "the code did not set a variable 'nothing'"
    assert told["lock"]["error"].startswith("'lock' can't be pickled: TypeError: cannot pickle '_thread.lock' object")
    assert told["odd"]["error"] == "'odd' can't be pickled: ValueError: never mind"


def test_variables_that_can_not_be_opened_name_the_python_that_made_them(tmp_path):
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "variables.pkl"
    file.write_bytes(b"\x80\x05cnosuchmodule\nThing\n.")
    ended = run(tmp_path, notebook("x"), variables=[{"file": str(file), "names": ["x"], "pythonVersion": "3.99"}])
    error = ended.end["error"]
    assert (ended.outcome, error["ename"]) == ("error", "VariablesError")
    assert (
        "The variables x can't be unpickled here: ModuleNotFoundError: No module named 'nosuchmodule'"
        in error["evalue"]
    )
    assert "They were pickled by Python 3.99, this is 3." in error["evalue"]
    assert ended.of("started") == []


def test_a_kernel_that_dies_while_it_pickles_is_told(tmp_path):
    code = "import os\nclass Bomb:\n    def __reduce__(self):\n        os._exit(1)\nbomb, fine = Bomb(), 1"
    ended = run(tmp_path, notebook(code), results=["fine", "bomb", "fine"])
    assert ended.outcome == "kernelDied"
    errors = [one["error"] for one in ended.end["results"]]
    assert errors == ["", "the kernel died while it pickled 'bomb'", "the code did not finish"]


def test_inputs_appear_as_links_below_the_work_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0").write_text("a,b\n")
    inputs = [{"path": "data/sets/train.csv", "source": str(tmp_path / "in" / "0")}]
    ended = run(tmp_path, notebook("print(open('data/sets/train.csv').read(), end='')"), inputs=inputs)
    assert ended.log == b"a,b\n"
    assert (tmp_path / "work" / "data" / "sets" / "train.csv").is_symlink()


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "."])
def test_an_input_that_leaves_the_work_folder_is_refused_by_name(tmp_path, path):
    ended = run(tmp_path, notebook("1"), inputs=[{"path": path, "source": "/dev/null"}])
    assert (ended.outcome, ended.end["error"]["ename"]) == ("error", "InputError")
    assert f"The input {path!r} leaves the job's folder." in ended.end["error"]["evalue"]


def test_an_input_is_not_placed_through_a_link_or_over_another(tmp_path):
    (tmp_path / "link").symlink_to("/tmp")
    with pytest.raises(InputError, match="'link' on its way is no folder"):
        link_inputs(tmp_path, [{"path": "link/x", "source": "/dev/null"}])
    with pytest.raises(InputError, match="another input has this path"):
        link_inputs(tmp_path, [{"path": "x", "source": "/dev/null"}] * 2)


def test_the_kernel_sees_the_jobs_environment_and_none_of_the_servers(tmp_path):
    code = """
import json, os
names = "K OMP_NUM_THREADS OPENBLAS_NUM_THREADS TRAINJOB_JOB_UID".split()
print(json.dumps([os.environ[name] for name in names]))
print([name for name in os.environ if name.startswith("JUPYTER_TRAINJOB_")])
print(os.getcwd() == os.environ["WHERE"], os.listdir("."))
"""
    environ = {"JUPYTER_TRAINJOB_TOKEN": "secret", "JUPYTER_TRAINJOB_URL": "u"}
    given_ = {"K": "ü v", "JUPYTER_TRAINJOB_TOKEN": "x", "WHERE": str(tmp_path / "work")}
    ended = start(tmp_path, notebook(code), environ=environ, environment=given_, threads=3).finish()
    lines = ended.log.decode().splitlines()
    assert json.loads(lines[0]) == ["ü v", "3", "3", "0123456789ab"]
    assert lines[1:] == ["[]", "True []"]


def test_limits_and_rights_are_in_force_before_anything_else(tmp_path):
    code = (
        "import resource\nprint(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    ended = run(tmp_path, notebook(code), rlimits={"nofile": 300, "core": 0, "as": None})
    assert ended.log == b"(300, 300) (0, 0)\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"runnerProtocol": 1}', "lack or garble a field: KeyError('uid')"),
        ('{"runnerProtocol": "1"}', "was written for runner protocol '1'; this runner speaks 1"),
        ("[1]", "was written for runner protocol None"),
        ("{", "can't read its orders"),
    ],
)
def test_bad_orders_are_named(tmp_path, text, message):
    file = tmp_path / "job.json"
    file.write_text(text)
    with pytest.raises(JobFileError) as caught:
        load(file)
    assert message in str(caught.value)


def test_progress_counts_cells_and_the_notebook_is_saved_after_each(tmp_path):
    runner = start(tmp_path, notebook("print(1)", "import time; time.sleep(0.8)", "print(3)"))
    saved = tmp_path / "out" / "notebook.ipynb"
    runner.wait_for(saved.exists)
    assert nbformat.read(saved, as_version=4).cells[0].outputs[0].text == "1\n"
    ended = runner.finish()
    told = [(event["cellsDone"], event["cells"], event["cellId"]) for event in ended.of("progress")]
    assert told == [(0, 3, "cell-0"), (1, 3, "cell-1"), (2, 3, "cell-2"), (3, 3, "")]
    assert len(ended.of("notebook")) >= 3
    assert ended.notebook.metadata.language_info.name == "python"
    assert [cell.execution_count for cell in ended.notebook.cells] == [1, 2, 3]
    nbformat.validate(ended.notebook)
