"""Points that code logged, as the client reads them."""

from __future__ import annotations

import math
from datetime import datetime, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_trainjob.client import metrics

TEXT = b"loss\t1\t0.5\t1700000000.5\nloss\t\t0.25\t1700000001\nnot a point\nacc\t0.5\tNaN\t1700000002\n\xff\t1\t1\t1\n"


def test_lines_become_points_and_others_are_counted() -> None:
    reader = metrics.Reader()
    points = reader.feed(TEXT)
    assert [(one["name"], one["step"], one["value"]) for one in points[:2]] == [("loss", 1, 0.5), ("loss", 2, 0.25)]
    assert points[0]["time"] == datetime(2023, 11, 14, 22, 13, 20, 500_000, timezone.utc)
    assert points[2]["step"] == 0.5 and math.isnan(points[2]["value"])
    assert len(points) == 3 and reader.left_out == 2


@settings(deadline=None)
@given(st.lists(st.integers(0, len(TEXT)), max_size=6))
def test_it_does_not_matter_where_the_pieces_are_cut(cuts: list[int]) -> None:
    reader, found, begin = metrics.Reader(), [], 0
    for cut in [*sorted(cuts), len(TEXT)]:
        found += reader.feed(TEXT[begin:cut], ended=cut == len(TEXT))
        begin = cut
    assert str(found) == str(metrics.Reader().feed(TEXT))


def test_behind_a_gap_half_a_line_is_no_point() -> None:
    reader = metrics.Reader()
    assert reader.feed(b"loss\t1\t0.5") == []
    assert [one["step"] for one in reader.feed(b"\t7\nloss\t9\t0.5\t7\n", gap=True)] == [9]
    assert reader.left_out == 1


def test_a_last_line_without_its_end_counts_at_the_end() -> None:
    assert len(metrics.Reader().feed(b"loss\t1\t0.5\t7", ended=True)) == 1


def test_the_table_has_the_same_columns_when_it_is_empty() -> None:
    empty, full = metrics.table([]), metrics.table(metrics.Reader().feed(TEXT))
    assert list(empty.columns) == list(full.columns) == ["name", "step", "value", "time"]
    assert str(empty["time"].dt.tz) == str(full["time"].dt.tz) == "UTC"
