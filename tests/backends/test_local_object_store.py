"""Local jobs whose store is a bucket: supervisors open it by its description, and outlast its server's absence."""

from __future__ import annotations

import asyncio
import time

import pytest

from jupyter_trainjob.storage.s3 import S3Store
from tests.storage.servers import S3Server, own_minio  # noqa: F401

from .conftest import MakePlace

PRINTING = """
import time
open("made.txt", "w").write("kept")
for number in range(60):
    print(f"{number:09d}", "x" * 500, flush=True)
    time.sleep(0.1)
"""


@pytest.fixture
def store(own_minio: S3Server) -> S3Store:  # noqa: F811
    return own_minio.store("one")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_server_killed_while_a_job_runs_costs_no_byte(
    own_minio: S3Server,  # noqa: F811
    make_place: MakePlace,
) -> None:
    place = await make_place()
    ref = await place.begin(PRINTING, outputs={"keep": ["*.txt"]})
    await place.log_holds(ref, b"000000005 ")
    own_minio.kill()
    began = time.monotonic()
    while time.monotonic() - began < 3:
        assert (await place.backend.observe(ref)).state == "running"
        await asyncio.sleep(0.2)
    await asyncio.to_thread(own_minio.start)
    seen = await place.until(ref, "ended", seconds=60)
    assert (seen.claims["end"]["outcome"], seen.log_complete, seen.log_missing) == ("ok", True, 0)
    whole = b"".join(b"%09d %s\n" % (number, b"x" * 500) for number in range(60))
    assert await place.log(ref) == whole
    assert place.store.get(f"jobs/{ref.uid}/1/files/made.txt") == b"kept"
    assert place.store.get(f"jobs/{ref.uid}/1/log.bytes") == whole
