"""Run the attacks against a sandbox, and see from outside what came of each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ....resources.profile import Profile, completed
from ....resources.trainjob import TrainJob
from ....storage.filesystem import FilesystemStore
from ...base import AttemptRef, AttemptRequest, Backend, Observation
from .. import process
from ..folder import Folder
from ..sandbox import MARK as ATTEMPT
from . import harness
from .attack import Attack
from .table import ATTACKS
from .targets import Targets

AT_ONCE = 4
"""Many wait most of their time."""
PATIENCE_SECONDS = 120.0
LONG_SECONDS = 15.0
"""A job that was to end after two or three seconds, and did not within these, got its way."""
LOG_BYTES = 2**20
NOTEBOOK_BYTES = 48 * 2**20
CLAIMS_BYTES = 128 * 2**10
CLAIMS = {"progress", "end"}
"""What there is in a job's own words (:class:`.Observation`)."""
ENOUGH = {
    "cpu": "1",
    "memory": "1Gi",
    "gpu": 0,
    "shm": "16Mi",
    "disk": "512Mi",
    "processes": 256,
    "openFiles": 1024,
    "fileSize": "512Mi",
    "log": "64Mi",
}
_VICTIM = """
import time
open("secret.txt", "w").write({secret!r})
import os
os.chmod("secret.txt", 0o600)
print("ready", flush=True)
time.sleep(3600)
"""


@dataclass(frozen=True)
class Row:
    """What came of one attack."""

    name: str
    what: str
    level: str
    claimed: bool
    """Whether the level claims to hold it."""
    contained: bool
    by: str
    """What holds it, where it was held."""
    told: str
    """What was seen."""
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether a claim did not hold."""
        return self.claimed and not self.contained

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "failed": self.failed}


class Suite:
    """All attacks against ``backend``, which is started and keeps what it has in ``data_dir``."""

    def __init__(
        self, backend: Backend, store: FilesystemStore, data_dir: Path, *, warm: bool = False, network: bool = False
    ) -> None:
        """``warm``: each attack is to run in a kernel that was started before it was known. ``network``: jobs have the
        machine's, which the backend allows.
        """
        self._warm, self._network = warm, network
        self.backend, self.store = backend, store
        self.data_dir = data_dir
        self.level = str(backend.describe()["isolation"])
        self.targets = Targets(data_dir, store.root)
        self._turns, self._claims = asyncio.Semaphore(AT_ONCE), asyncio.Lock()
        self._refs: list[AttemptRef] = []

    async def run(self, wanted: Callable[[Attack], bool] = lambda attack: True) -> AsyncIterator[Row]:
        """A row for each attack that is ``wanted``, as they come."""
        chosen = [attack for attack in ATTACKS if wanted(attack)]
        with self.targets:
            try:
                await self._victim()
                together = [attack for attack in chosen if not attack.alone]
                work: list[asyncio.Task[list[Row]]] = [asyncio.create_task(self._together(together))]
                work += [asyncio.create_task(self._alone(attack)) for attack in chosen if attack.alone]
                for done in asyncio.as_completed(work):
                    for row in await done:
                        yield row
            finally:
                for ref in self._refs:
                    await self.backend.delete(ref)

    # Jobs

    async def _begin(self, code: str, resources: dict[str, Any], seconds: int, *, keep: bool = False) -> AttemptRef:
        told = {**ENOUGH, **resources}
        spec = {"source": {"type": "cell", "code": code}, "timeLimitSeconds": seconds, "resources": told}
        spec["outputs"] = {"keep": ["**"], "names": ["score"]} if keep else {"keep": []}
        spec["network"] = {"mode": "profile"}
        ref = AttemptRef(f"attack-{secrets.token_hex(4)}", 1)
        meta = {"name": "attack", "uid": ref.uid}
        job = TrainJob.model_validate({"kind": "TrainJob", "metadata": meta, "spec": {**spec, "seed": 2**31 + 1}})
        allowed = {"network": {"mode": "host"}} if self._network else {}
        profile = Profile.model_validate({"kind": "Profile", "metadata": {"name": "default"}, "spec": allowed})
        job.spec.resources = completed(job.spec.resources, profile.spec.defaults)
        self._refs.append(ref)
        async with self._claims:
            if self._warm and len(self._refs) > 1:
                await self._await_warm()
            await self.backend.create(AttemptRequest(ref, job, profile, "blobs/attacks/"))
        return ref

    async def _await_warm(self) -> None:
        """Until a kernel waits for the next job."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not self.backend.describe()["warm"]["warm"]:
            if time.monotonic() > until:
                raise TimeoutError(f"no kernel waits for jobs: {self.backend.describe()}")
            await asyncio.sleep(0.05)

    async def _ended(self, ref: AttemptRef, seconds: float) -> Observation:
        """How it ended; how it is, where it did not."""
        until = time.monotonic() + seconds
        while (seen := await self.backend.observe(ref)).state != "ended" and time.monotonic() < until:  # noqa: ASYNC110 - backends tell of changes only to their starter
            await asyncio.sleep(0.1)
        return seen

    async def _victim(self) -> None:
        """A job that others attack."""
        ref = await self._begin(_VICTIM.format(secret=self.targets.secret), {}, 3600)
        until = time.monotonic() + PATIENCE_SECONDS
        while b"ready" not in await asyncio.to_thread(self._log, ref):
            if time.monotonic() > until:
                raise TimeoutError(f"the job that is to be attacked does not start: {await self.backend.observe(ref)}")
            await asyncio.sleep(0.1)
        folder = self.data_dir / "run" / ref.name
        self.targets.add_victim(str(folder), await asyncio.to_thread(self._processes, ref))

    async def _together(self, attacks: list[Attack]) -> list[Row]:
        if not attacks:
            return []
        async with self._turns:
            began = time.monotonic()
            ref = await self._begin(harness.several(attacks, self.targets.given), {}, 600)
            await self._ended(ref, PATIENCE_SECONDS + len(attacks) * 2)
            text = (await asyncio.to_thread(self._log, ref)).decode("utf-8", "replace")
        lines = [line.partition(harness.MARK)[2] for line in text.splitlines() if harness.MARK in line]
        told = {name: (said, problem) for name, said, problem, _ in map(json.loads, lines)}
        each = (time.monotonic() - began) / len(attacks)
        return [self._row(attack, *self._judge_said(attack, told.get(attack.name)), each) for attack in attacks]

    def _judge_said(self, attack: Attack, told: tuple[str, str] | None) -> tuple[bool, str]:
        """Whether it got its way, and what it said; an attack of which nothing was heard counts as one that did."""
        if told is None:
            return True, "nothing was heard of it"
        said, problem = told
        if short := harness.fell_short(said, problem):
            return True, short
        if attack.seen == "secret":
            came_out = self.targets.secret in said
            return came_out, problem or ("a secret came out" if came_out else "nothing came out")
        return "GOT" in said, (said if "GOT" in said else problem)

    async def _alone(self, attack: Attack) -> list[Row]:
        async with self._turns:
            began = time.monotonic()
            code = harness.program(attack, self.targets.given)
            ref = await self._begin(code, attack.resources, attack.seconds, keep=attack.seen == "stored")
            seen = await self._ended(ref, attack.seconds + PATIENCE_SECONDS)
            succeeded, told = await asyncio.to_thread(self._judge, attack, seen)
            if seen.state == "ended":
                await self.backend.delete(ref)
                self._refs.remove(ref)
        return [self._row(attack, succeeded, told, time.monotonic() - began)]

    def _row(self, attack: Attack, succeeded: bool, told: str, seconds: float) -> Row:
        claimed = self.level in attack.claimed and not (attack.network and self._network)
        by = "" if succeeded else attack.by if claimed else "luck, or this machine's own rules"
        told = told.strip().replace(self.targets.secret, "…")[-300:]
        return Row(attack.name, attack.what, self.level, claimed, not succeeded, by, told, round(seconds, 2))

    # What is seen from outside

    def _judge(self, attack: Attack, seen: Observation) -> tuple[bool, str]:
        """One that never began, or broke by itself, counts as one that got its way."""
        log = self._log(seen.ref)
        error = (seen.claims.get("end") or {}).get("error") or {}
        if short := harness.fell_short(
            log.decode("utf-8", "replace"), f"{error.get('ename', '')}: {error.get('evalue')}"
        ):
            return True, f"{short} {seen.evidence}"
        told = seen.evidence.get("limit") or f"{error.get('ename', '')} {error.get('evalue', '')}".strip()
        told = told or str(seen.evidence)
        if attack.seen == "said":
            return b"GOT" in log, told
        if attack.seen == "secret":
            return self.targets.secret.encode() in log, told
        if attack.seen == "claims":
            return b"GOT" not in log or _is_too_much(seen.claims), f"claims of {len(json.dumps(seen.claims))} bytes"
        if attack.seen == "expected":
            return seen.evidence.get("limit") != attack.expects, told
        if attack.seen == "believed":
            went_well = (seen.claims.get("end") or {}).get("outcome") == "ok" and not seen.evidence.get("limit")
            return went_well, told
        if attack.seen == "ends":
            return b"GOT" not in log or not self._ended_in_time(seen), told
        return self._judge_left(attack, seen, told)

    def _judge_left(self, attack: Attack, seen: Observation, told: str) -> tuple[bool, str]:
        """By what is there when it is over."""
        prefix = f"jobs/{seen.ref.uid}/1/"
        sizes = {info.key.removeprefix(prefix): info.size for info in self.store.list(prefix)}
        if attack.seen == "outlives":
            return bool(gone_in_time(self.targets.mark)), told
        if attack.seen == "log":
            kept = sum(size for key, size in sizes.items() if key.startswith("log"))
            return kept > LOG_BYTES * 1.25 or seen.log_size < LOG_BYTES * 20, f"kept {kept} of {seen.log_size} bytes"
        if attack.seen == "notebook":
            kept = sizes.get("notebook.ipynb", 0)
            return kept > NOTEBOOK_BYTES, f"kept {kept} bytes of the notebook"
        secret = self.targets.secret.encode()
        leaked = [key for key in sizes if secret in self.store.get(prefix + key)]
        return bool(leaked) or "made" not in self._log(
            seen.ref
        ).decode(), f"kept {len(sizes)} objects; leaked: {leaked}"

    def _processes(self, ref: AttemptRef) -> list[int]:
        """Those of the attempt that are there now."""
        orders = Folder(str(self.data_dir / "run" / ref.name)).read("attempt.json") or {}
        return marked(orders.get("mark") or ref.name)

    def _ended_in_time(self, seen: Observation) -> bool:
        if seen.state != "ended" or seen.started is None or seen.ended is None:
            return False
        return (seen.ended - seen.started).total_seconds() < LONG_SECONDS and not self._processes(seen.ref)

    def _log(self, ref: AttemptRef) -> bytes:
        from ....storage.logs import LogReader

        return LogReader(self.store, f"jobs/{ref.uid}/{ref.attempt}/").read(0, 2**20 * 8).data


def _is_too_much(claims: dict[str, Any]) -> bool:
    """Whether a job's words were taken over as they came."""
    text = json.dumps(claims)
    return len(text) > CLAIMS_BYTES or bool(set(claims) - CLAIMS) or '"owner"' in text or '"limits"' in text


def marked(name: str) -> list[int]:
    """The processes of the attempt ``name``, by their environment."""
    return _with(f"{ATTEMPT}={name}", "environ")


def gone_in_time(mark: str, seconds: float = 5.0) -> list[int]:
    """The processes that have ``mark`` among their arguments, and still had after ``seconds``."""
    until = time.monotonic() + seconds
    while (left := _with(mark, "cmdline")) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def _with(text: str, file: str) -> list[int]:
    found = []
    for pid in process.all_pids():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/{file}", "rb") as stream:
            if text.encode() in stream.read().split(b"\0") and pid != os.getpid():
                found.append(pid)
    return found
