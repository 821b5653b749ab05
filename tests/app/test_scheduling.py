"""What an operator sets of the order of the queue arrives where it is decided."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from traitlets import TraitError
from traitlets.config import Config

from jupyter_trainjob.app import TrainJobExtension
from jupyter_trainjob.config import SchedulingSettings
from jupyter_trainjob.scheduling.model import Policy


def settings(**options: float) -> SchedulingSettings:
    return SchedulingSettings(config=Config({"SchedulingSettings": options}))


def test_without_any_it_is_the_policy_of_the_page() -> None:
    assert settings().make() == Policy()


def test_days_and_hours_are_seconds_for_the_scheduler() -> None:
    given = {"half_life_days": 0.5, "window_seconds": 60.0, "ageing_hours": 2.0}
    assert settings(**given).make() == Policy(43_200.0, 60.0, 7200.0)


@pytest.mark.parametrize("name", ["half_life_days", "window_seconds", "ageing_hours"])
def test_nothing_can_be_0(name: str) -> None:
    with pytest.raises(TraitError, match=name):
        settings(**{name: 0.0}).make()


@pytest.mark.asyncio
async def test_the_server_decides_by_it(tmp_path: Path) -> None:
    config = Config({"SchedulingSettings": {"half_life_days": 2.0}})
    config.TrainJobExtension.data_dir = str(tmp_path / "data")
    app = TrainJobExtension(config=config)
    app.serverapp, app.settings = None, {}
    app.log = logging.getLogger("test")
    app.initialize_settings()
    assert app.manager is not None and app.store is not None and app.services is not None
    snapshot, _ = await app.manager._source.take()
    assert snapshot.policy.half_life_seconds == 2 * 86400
    app.services.close()
    await asyncio.to_thread(app.store.close)
