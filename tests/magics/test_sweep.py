"""``%%trainjob --sweep``: one bar for all of its jobs, where the cell is."""

from __future__ import annotations

from .conftest import Kernel


def test_a_cell_is_swept_and_its_bar_follows(kernel: Kernel) -> None:
    ran = kernel.run(
        "%%trainjob --sweep lr=0.5,0.25 --repeat 2 --max-parallel 2 --name many --time-limit 1m\nprint(lr)"
    )
    assert ran.status == "ok", ran
    (display,) = ran.displays
    assert "0 of 4 done" in display["data"]["text/plain"]
    assert "<progress value='0' max='4'>" in display["data"]["text/html"]
    ended = kernel.updates_until(lambda update: "4 of 4 done (4 Succeeded)" in update["data"]["text/plain"])
    assert ended["transient"]["display_id"] == display["transient"]["display_id"]
    table = kernel.run("%trainjob sweep many")
    assert [line.split()[1:3] for line in table.stdout.splitlines()[1:5]] == [
        ["0.5", "Succeeded"], ["0.5", "Succeeded"], ["0.25", "Succeeded"], ["0.25", "Succeeded"],
    ]  # fmt: skip


def test_a_bar_until_all_have_ended(kernel: Kernel) -> None:
    ran = kernel.run("%%trainjob --repeat 2 --name both --block --time-limit 1m\n1 / 0")
    assert ran.status == "ok", ran
    assert "2 of 2 done (2 Failed)" in ran.stderr
