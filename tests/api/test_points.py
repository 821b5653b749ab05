"""Logged metrics: read whatever way they come, thinned without losing peaks or ends, whatever else is in the text."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_trainjob.api.points import Series, fair_share
from jupyter_trainjob.api.services import Services
from jupyter_trainjob.resources.trainjob import Phase
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.storage.logs import LogReader, LogWriter

from .conftest import Caller, Run, Submit

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


def lines(values: list[float], name: str = "loss") -> bytes:
    return b"".join(f"{name}\t{step}\t{value!r}\t1700000000.5\n".encode() for step, value in enumerate(values))


def read(data: bytes, cuts: list[int]) -> Series:
    """Feed the text in pieces, each from where the reader says it stands."""
    series = Series()
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        series.feed(data[series.offset : cut], series.offset, ended=cut == len(data))
    return series


@given(st.lists(FINITE, max_size=60), st.lists(st.integers(0, 10**6), max_size=8))
def test_however_the_text_is_cut_every_point_is_read_once(values: list[float], cuts: list[int]) -> None:
    series = read(lines(values), cuts)
    assert series.points == len(values) and series.left_out == 0
    told = series.to_dict(1000)["metrics"].get("loss", {"points": []})
    assert [point[:2] for point in told["points"]] == [[float(step), value] for step, value in enumerate(values)]


@given(st.lists(st.floats(), min_size=1, max_size=3000), st.integers(10, 100))
def test_thinning_keeps_the_extremes_the_ends_and_the_order(values: list[float], maximum: int) -> None:
    told = read(lines(values), []).to_dict(maximum)["metrics"]["loss"]
    points = told["points"]
    assert told["count"] == len(values) and 1 <= len(points) <= maximum
    steps = [point[0] for point in points]
    assert steps == sorted(set(steps)) and steps[0] == 0 and steps[-1] == len(values) - 1
    finite = [value for value in values if math.isfinite(value)]
    shown = [point[1] for point in points if point[1] is not None]
    assert max(shown, default=None) == max(finite, default=None) == told["maximum"]
    assert min(shown, default=None) == min(finite, default=None) == told["minimum"]


@pytest.mark.parametrize(
    "junk",
    [
        b"\n",
        b"loss\n",
        b"loss\t1\tx\t1\n",
        b"\t1\t1\t1\n",
        b"l\xffoss\t1\t1\t1\n",
        b"a\x1bb\t1\t1\t1\n",
        b"x" * 300 + b"\t1\t1\t1\n",
        b"loss\tnan\t1\t1\n",
        b"loss\t1\t1\tinf\n",
        b"\x00" * 1000 + b"\n",
        b"loss\t1\t1\t1\t1\n",
    ],
)
def test_what_is_no_point_is_left_out(junk: bytes) -> None:
    series = read(lines([1.0]) + junk + lines([2.0]), [5, 30])
    assert series.points == 2 and list(series.metrics) == ["loss"]


def test_a_line_without_end_does_not_hold_the_rest_up() -> None:
    series = Series()
    series.feed(b"x" * 100_000, 0)
    assert series.offset == 100_000
    series.feed(b"yyy\n" + lines([1.0]), 100_000)
    assert series.points == 1 and series.left_out == 2, "the long line's two parts"


def test_more_metrics_than_anyone_plots_are_counted_only() -> None:
    series = read(b"".join(lines([1.0], f"m{number}") for number in range(300)), [])
    assert len(series.metrics) == 200 and series.left_out == 100


def test_points_without_steps_are_numbered() -> None:
    series = read(b"loss\t\t1.0\t0\nloss\t\t2.0\t0\n", [])
    assert [point[0] for point in series.to_dict(10)["metrics"]["loss"]["points"]] == [0.0, 1.0]


@pytest.mark.asyncio
async def test_series_grow_with_the_job_and_can_be_chosen(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await submit(alice)
    path = f"/namespaces/alice/trainjobs/{job['metadata']['name']}/metrics"

    async def told(**query: Any) -> Any:
        return (await alice("GET", f"{path}/series", params=query, expect=200)).json()

    assert (await told())["attempt"] is None
    await run(job)
    assert (await told())["metrics"] == {}
    writer = LogWriter(objects, f"jobs/{job['metadata']['uid']}/1/metrics/")
    writer.write(lines([3.0, 2.0]) + b"accuracy\t1\t0.5\t1700000000\nloss\t2\t1.")
    while (now := await told())["points"] < 3:
        pass
    assert now["metrics"]["loss"]["last"] == 2.0 and now["complete"] is False
    writer.write(b"5\t1700000001\n")
    writer.close()
    await run(job, Phase.SUCCEEDED)
    after = await told(metric="loss", maxPoints=10)
    assert list(after["metrics"]) == ["loss"] and after["complete"] is True
    assert after["metrics"]["loss"]["points"][-1] == [2.0, 1.5, 1700000001.0]
    raw = await alice("GET", path, params={"offset": 0}, expect=200)
    assert raw.text.splitlines()[0] == "loss\t0\t3.0\t1700000000.5" and raw.headers["X-Log-Complete"] == "true"


@pytest.mark.asyncio
@pytest.mark.parametrize("closed", [False, True])
async def test_a_hole_in_the_log_is_passed_over(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore, closed: bool
) -> None:
    """The cap leaves out the middle, and cuts a line on each side of it."""
    job = await submit(alice)
    await run(job)
    prefix = f"jobs/{job['metadata']['uid']}/1/metrics/"
    writer = LogWriter(objects, prefix, cap_bytes=4000)
    text = lines([float(number) for number in range(1000)])
    for start in range(0, len(text), 100):
        writer.write(text[start : start + 100])
    while not closed and LogReader(objects, prefix).read(len(text) - 1).data != b"\n":
        await asyncio.sleep(0.05)
    if closed:
        writer.close()
    path = f"/namespaces/alice/trainjobs/{job['metadata']['name']}/metrics/series"
    told = (await asyncio.wait_for(alice("GET", path, params={"maxPoints": 10_000}, expect=200), 10)).json()
    shown = [point[0] for point in told["metrics"]["loss"]["points"]]
    assert shown[0] == 0 and shown[-1] == 999 and 100 < told["points"] < 200
    assert len([step for step, after in pairwise(shown) if after != step + 1]) == 1, "one hole"
    assert told["leftOut"] == 2 and told["complete"] is closed
    writer.close()


def test_many_long_metrics_are_thinned_so_that_the_answer_stays_small() -> None:
    series = Series()
    for number in range(200):
        series.feed(lines([float(at % 7) for at in range(1200)], f"m{number}"), series.offset)
    series.feed(lines([1.0, 2.0], "m0"), series.offset)
    told = series.to_dict(10_000)["metrics"]
    assert 60_000 < sum(len(metric["points"]) for metric in told.values()) <= 100_000
    assert all(metric["points"][-1][0] in (1199, 1) and metric["maximum"] == 6 for metric in told.values())
    assert len(series.to_dict(10_000, ["m7"])["metrics"]["m7"]["points"]) == 1200


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 60), st.integers(20, 300))
def test_shares_are_fair_and_use_what_there_is(counts: list[int], maximum: int, total: int) -> None:
    share = fair_share(counts, maximum, total)
    assert 1 <= share <= maximum and sum(min(count, share) for count in counts) <= total
    if share < maximum:
        assert sum(min(count, share + 1) for count in counts) > total


@pytest.mark.asyncio
async def test_what_is_kept_in_memory_is_bounded_in_bytes(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore, services: Services, monkeypatch: Any
) -> None:
    monkeypatch.setattr("jupyter_trainjob.api.series.KEPT_BYTES", 2500 * 24)
    jobs = [await submit(alice) for _ in range(3)]
    for job in jobs:
        await run(job)
        with LogWriter(objects, f"jobs/{job['metadata']['uid']}/1/metrics/") as writer:
            writer.write(lines([1.0] * 1000))
    for job in [*jobs, jobs[1]]:
        path = f"/namespaces/alice/trainjobs/{job['metadata']['name']}/metrics/series"
        assert (await alice("GET", path, expect=200)).json()["points"] == 1000
    assert [uid for uid, _ in services.series._kept] == [jobs[2]["metadata"]["uid"], jobs[1]["metadata"]["uid"]]


@pytest.mark.asyncio
async def test_the_text_of_an_answer_is_made_in_a_thread(
    submit: Submit, run: Run, alice: Caller, objects: FilesystemStore, services: Services, monkeypatch: Any
) -> None:
    """Two million points took two seconds, in which nobody else was answered."""
    made: list[str] = []

    def dumps(told: Any) -> str:
        made.append(threading.current_thread().name)
        return json.dumps(told)

    job = await run(await submit(alice))
    with LogWriter(objects, f"jobs/{job.metadata.uid}/1/metrics/") as writer:
        writer.write(lines([1.0]))
    monkeypatch.setattr("jupyter_trainjob.api.series.json", SimpleNamespace(dumps=dumps))
    text = await services.series.series(job, None, 500, [])
    assert json.loads(text)["points"] == 1
    assert made and made[0].startswith("trainjob-io")


@pytest.mark.asyncio
async def test_anothers_metrics_are_not_there(bob: Caller, alice: Caller, submit: Submit) -> None:
    job = await submit(alice)
    for rest in ("metrics", "metrics/series", "usage", "advice"):
        await bob.refused("GET", f"/namespaces/alice/trainjobs/{job['metadata']['name']}/{rest}", 404)
