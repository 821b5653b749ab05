"""What one of several racing processes does: ``python racing.py URL NUMBER ROUNDS``. Prints JSON of what it saw."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from jupyter_trainjob.resources.errors import AlreadyExists, Conflict
from jupyter_trainjob.resources.trainjob import TrainJob
from jupyter_trainjob.store import Store, Writer

sys.path.insert(0, str(Path(__file__).parent))
from making import job


def main() -> None:
    url, number, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    seen: list[list[Any]] = []
    won: list[str] = []
    epochs = conflicts = 0
    with Store.open(url) as store:
        follower = threading.Thread(target=follow, args=(store, seen))
        follower.start()
        print("ready", flush=True)
        sys.stdin.readline()
        for turn in range(rounds):
            try:
                store.write(lambda w, turn=turn: w.create(job(f"name-{turn}", owner=f"process-{number}")))
                won.append(f"name-{turn}")
            except AlreadyExists:
                pass
            store.write(lambda w: w.create(job(owner=f"process-{number}")))
            conflicts += count_up_by_read_and_update(store)
            store.write(count_up_within_one_write)
            epoch = store.read(lambda r: r.scheduler_epoch())
            epochs += store.write(lambda w, epoch=epoch: w.advance_scheduler_epoch(epoch))
        print("done", flush=True)
        sys.stdin.readline()
        store.write(lambda w: w.create(job(f"end-{number}")))
        follower.join()
    print(json.dumps({"won": won, "seen": seen, "epochs": epochs, "conflicts": conflicts}))


def count_up_by_read_and_update(store: Store) -> int:
    """As an API client does it: read, change, send, and again on a conflict. How many conflicts there were."""
    conflicts = 0
    while True:
        counter = store.read(lambda r: r.get(TrainJob, "ada", "counter"))
        counter.metadata.annotations["polite"] = str(int(counter.metadata.annotations["polite"]) + 1)
        try:
            store.write(lambda w, counter=counter: w.update(counter))
            return conflicts
        except Conflict:
            conflicts += 1


def count_up_within_one_write(writer: Writer) -> None:
    """As a controller does it: no other writer comes between."""
    counter = writer.get(TrainJob, "ada", "counter")
    counter.metadata.annotations["exclusive"] = str(int(counter.metadata.annotations["exclusive"]) + 1)
    writer.update(counter)


def follow(store: Store, seen: list[list[Any]]) -> None:
    """Read the feed from its beginning until every process has said its end."""
    since, ends = 0, 0
    while ends < int(sys.argv[4]):
        store.wait(since, 10)
        page = store.read(lambda r, since=since: r.changes(since, limit=7))
        for change in page.changes:
            seen.append([change.version, change.type, change.resource.metadata.name])
            ends += change.resource.metadata.name.startswith("end-")
        since = page.version


main()
