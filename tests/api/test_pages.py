"""Pages of lists: told as the record holds them where that is all there is to tell, and never too long."""

from __future__ import annotations

import pytest

from jupyter_trainjob.api import records
from jupyter_trainjob.resources.trainjob import Phase
from jupyter_trainjob.store import Stored

from .conftest import Caller, Run, Submit

pytestmark = pytest.mark.asyncio

SECRET = {"env": [{"name": "KEY", "value": "very-secret"}]}


async def test_ended_jobs_are_told_without_being_read(
    alice: Caller, operator: Caller, submit: Submit, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = (await run(await submit(alice, name="plain"), Phase.SUCCEEDED)).to_dict()
    with_env = (await run(await submit(alice, name="secret", environment=SECRET), Phase.FAILED)).to_dict()
    read: list[str] = []
    real = Stored.resource.func  # type: ignore[attr-defined]

    def counted(self: Stored) -> object:  # type: ignore[type-arg]
        read.append(self.text)
        return real(self)

    monkeypatch.setattr(Stored, "resource", property(counted))
    own = (await alice("GET", "/namespaces/alice/trainjobs", expect=200)).json()["items"]
    assert own == [with_env, plain]
    assert read == []
    others = (await operator("GET", "/trainjobs", expect=200)).json()["items"]
    assert len(read) == 1, "only the one with a value to mask"
    assert others[0]["spec"]["environment"]["env"] == [{"name": "KEY", "value": "***"}]
    assert others[1] == plain
    await submit(alice, name="waiting")
    mixed = (await alice("GET", "/namespaces/alice/trainjobs", expect=200)).json()["items"]
    assert [item["status"].get("position") for item in mixed] == [1, None, None]


async def test_a_value_is_masked_wherever_the_text_holds_the_word(
    alice: Caller, operator: Caller, submit: Submit, run: Run
) -> None:
    """Code and parameters may hold what looks like the empty list that stands for 'no values'."""
    tricks = {"code": """print(env, x, '{"env":[]}')""", "parameters": {"env": [], "x": '"env":[]'}}
    await run(await submit(alice, environment=SECRET, **tricks), Phase.SUCCEEDED)
    text = (await operator("GET", "/trainjobs", expect=200)).text
    assert "very-secret" not in text
    assert "***" in text


async def test_a_page_ends_before_it_is_too_long_and_nothing_is_left_out(
    alice: Caller, submit: Submit, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "PAGE_BYTES", 50_000)
    made = []
    for number, size in enumerate((100, 20_000, 20_000, 20_000, 90_000, 100, 100)):
        job = await submit(alice, code="x = 1  # " + "y" * size)
        made.append(job["metadata"]["name"])
        if number % 2:
            await run(job, Phase.SUCCEEDED)
    found, counts, token = [], [], ""
    while True:
        page = (await alice("GET", f"/trainjobs?limit=6&continue={token}", expect=200)).json()
        found += [item["metadata"]["name"] for item in page["items"]]
        counts.append(len(page["items"]))
        token = page["metadata"]["continue"]
        if not token:
            break
    assert found == made[::-1]
    assert counts == [2, 1, 2, 2], "the large one has a page of its own"
