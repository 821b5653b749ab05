"""What others test and teach with: the notebooks of nbclient and papermill, scikit-learn's data sets, R's own."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import sklearn.datasets

from .harness import notebook as made_of
from .harness import run
from .kernels import needs_r
from .test_variables import errors, got, put

NOTEBOOKS = Path(__file__).with_name("notebooks")
GOOD = [path for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
ENDS = {
    "nbclient-disable-stdin": ("StdinNotImplementedError", 0, 6),
    "nbclient-inline-image": ("FileNotFoundError", 1, None),
    "nbclient-skip-exceptions": ("Exception", 0, 2),
    "papermill-broken1": ("AssertionError", 6, 1),
    "papermill-complex-parameters": ("SyntaxError", 0, 14),
    "papermill-line-magic-error": ("UsageError", 0, 1),
    "papermill-sysexit1": ("SystemExit", 1, 1),
}
"""Those that fail: with what, in which cell and line."""
ADDRESS = re.compile(r"0x[0-9a-f]+|<ipython-input-.*?>|In ?\[\d+\]")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("path", GOOD, ids=[path.stem for path in GOOD])
def test_a_notebook_of_others_ends_as_it_should(tmp_path: Path, path: Path) -> None:
    ended = run(tmp_path, path.read_text("utf-8"))
    if path.stem in ENDS:
        error = ended.end["error"]
        assert (ended.outcome, (error["ename"], error["cellIndex"], error["line"])) == ("error", ENDS[path.stem])
        assert (error["evalue"] and error["evalue"] != "None") or error["ename"] == "AssertionError"
        return
    assert (ended.outcome, ended.end["error"]) == ("ok", None)
    if path.stem.startswith("nbclient-"):  # the others are kept without outputs, or with another Python's
        before = nbformat.read(path, as_version=4)
        for cell, again in zip(before.cells, ended.notebook.cells, strict=True):
            assert seen(again) == seen(cell), cell.source


def seen(cell: Any) -> list[Any]:
    """A cell's outputs, without what differs from run to run and from Python to Python."""
    found: list[Any] = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            found.append((output.name, output.text))
        elif output.output_type == "error":
            found.append((output.ename, output.evalue))
        else:
            data = {kind: ADDRESS.sub("", str(value)) for kind, value in output.data.items()}
            if svg := data.pop("image/svg+xml", ""):  # its attributes come in any order
                found.append(sorted(re.split(r"[\s/>]+", svg)))
            found.append((output.output_type, data))
    return found


FRAMES = {"iris": "load_iris", "wine": "load_wine", "diabetes": "load_diabetes", "cancer": "load_breast_cancer"}
R_SETS = """
for (name in data(package = "datasets")$results[, "Item"]) {
  name <- sub(" .*", "", name)
  value <- get(name, "package:datasets")
  if (is.data.frame(value)) assign(name, value)
}
cars_fit <- unname(coef(lm(dist ~ speed, cars)))
kinds <- nlevels(iris$Species)
means <- aggregate(. ~ target, wine, mean)
"""


@needs_r
def test_data_sets_of_scikit_learn_go_to_r_and_those_of_r_come_back(tmp_path: Path) -> None:
    sent = {name: getattr(sklearn.datasets, load)(as_frame=True).frame for name, load in FRAMES.items()}
    kept = ["airquality", "CO2", "ToothGrowth", "infert", "warpbreaks", "women", "esoph", "quakes", "sleep"]
    code = R_SETS.replace("assign(name", "if (!exists(name, inherits = FALSE)) assign(name")
    ended = run(
        tmp_path,
        made_of("sent <- dim(iris)", code.replace("iris$Species", "datasets::iris$Species")),
        language="R",
        variables=[put(tmp_path, name, frame) for name, frame in sent.items()],
        results=[*sent, *kept, "mtcars", "cars_fit", "kinds", "means", "sent"],
        seconds=120,
    )
    assert ended.outcome == "ok", (ended.end["error"], ended.log.decode())
    [lost] = errors(ended).values()  # of mtcars
    assert "its row names would be lost" in lost and "data.frame(name = rownames(x), x)" in lost
    for name, frame in sent.items():
        pd.testing.assert_frame_equal(got(ended, name), frame, check_dtype=False, rtol=0, atol=0)
    assert got(ended, "sent") == [150, 5] and got(ended, "kinds") == 3
    assert got(ended, "cars_fit") == pytest.approx([-17.5790948905109, 3.93240875912409])
    means = sent["wine"].groupby("target").mean()
    assert got(ended, "means").set_index("target").alcohol.tolist() == pytest.approx(means.alcohol.tolist())
    air, cotton = got(ended, "airquality"), got(ended, "CO2")
    assert (
        air.shape == (153, 6)
        and int(air.Ozone.isna().sum()) == 37
        and math.isclose(air.Wind.mean(), 9.957516, rel_tol=1e-6)
    )
    assert cotton.Plant.cat.ordered and cotton.Plant.cat.categories[0] == "Qn1" and cotton.shape == (84, 5)
    shapes = {name: got(ended, name).shape for name in kept}
    assert shapes["quakes"] == (1000, 5) and shapes["ToothGrowth"] == (60, 3)
