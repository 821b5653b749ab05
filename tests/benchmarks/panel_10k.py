"""The panel with 10,000 jobs: first paint, scrolling, 500 changes a second; and what it costs Lab's start."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Route

from jupyter_trainjob.resources.trainjob import TrainJob
from jupyter_trainjob.store import Store

from .browser import chromium, cpu_seconds, lab, open_lab
from .list_jobs import BATCH, make
from .stats import median

JOBS = 10_000
CHANGES_PER_S = 500

FRAMES = """() => new Promise(resolve => {
  const list = document.querySelector('.jp-TrainJobList');
  let last = performance.now(), worst = 0, count = 0;
  const step = now => {
    worst = count ? Math.max(worst, now - last) : 0;
    last = now;
    list.scrollTop += 400;
    ++count < 120 ? requestAnimationFrame(step) : resolve(worst);
  };
  requestAnimationFrame(step);
})"""

CONFIG = 'id="jupyter-config-data"'
"""In Lab's page: the script that names its extensions."""

RESTORED = """(() => {
  const look = () => window.jupyterapp
    ? window.jupyterapp.restored.then(() => { window.restoredAt = performance.now(); }) : setTimeout(look, 5);
  look();
})()"""

SCRIPTS = """() => performance.getEntriesByType('resource')
  .filter(entry => /jupyter-trainjob.*\\.js/.test(entry.name))
  .reduce((sum, entry) => sum + entry.decodedBodySize, 0)"""


def fill(data_dir: Path, owner: str, count: int) -> None:
    """Write ``count`` ended jobs of one person into a new record."""
    store = Store.open(f"sqlite:///{data_dir / 'record.sqlite'}")

    def batch(writer: Any, first: int) -> None:
        for number in range(first, min(first + BATCH, count)):
            job = make(number)
            job.metadata.owner = job.metadata.namespace = owner
            writer.create(job)

    for first in range(0, count, BATCH):
        store.write(lambda writer, first=first: batch(writer, first))  # type: ignore[misc]
    store.close()


def change(data_dir: Path, stop: threading.Event, told: list[int]) -> None:
    """Write changes of jobs, 500 a second, as another server would."""
    store = Store.open(f"sqlite:///{data_dir / 'record.sqlite'}")
    jobs = store.read(lambda reader: reader.list(TrainJob, limit=500)).items
    number = 0

    def write(writer: Any) -> None:
        for job in jobs[number % 450 : number % 450 + 50]:
            fresh = writer.by_uid(TrainJob, job.metadata.uid)
            fresh.metadata.labels["seen"] = str(number)
            writer.update(fresh, check=False)

    began = time.monotonic()
    while not stop.is_set():
        store.write(write)
        number += 50
        told[0] = number
        stop.wait(max(0.0, began + number / CHANGES_PER_S - time.monotonic()))
    store.close()


def start_seconds(browser: Browser, server: Any, *, ours: bool) -> float:
    """From navigation to a Lab that is restored, as the page itself counts; with our extensions or without."""

    def leave_out(route: Route) -> None:
        answer = route.fetch()
        before, rest = answer.text().split(CONFIG, 1)
        config, _, after = rest.partition("</script>")
        told = json.loads(config[config.index("{") :])
        kept = [one for one in told["federated_extensions"] if ours or not one["name"].startswith("jupyter-trainjob")]
        assert ours or len(kept) < len(told["federated_extensions"]), "Lab's page names our extensions no more"
        told["federated_extensions"] = kept
        start = config[: config.index("{")]
        route.fulfill(response=answer, body=f"{before}{CONFIG}{start}{json.dumps(told)}</script>{after}")

    page = browser.new_page()
    page.route(re.compile(r"/lab\?"), leave_out)
    page.add_init_script(RESTORED)
    open_lab(page, server)
    page.wait_for_function("() => window.restoredAt")
    seconds = float(page.evaluate("() => window.restoredAt")) / 1000
    page.close()
    return seconds


def starts(browser: Browser, server: Any, pairs: int) -> tuple[list[float], list[float]]:
    """Seconds with and without, in turns; the first pair warms the machine up and is not told."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for number in range(pairs + 1):
        for ours in (True, False) if number % 2 else (False, True):
            found[ours].append(start_seconds(browser, server, ours=ours))
    return found[True][1:], found[False][1:]


def run(*, quick: bool = False) -> dict[str, Any]:
    """All figures of the panel."""
    from .browser import owner

    seconds, pairs = (10, 2) if quick else (600, 12)
    place: list[Path] = []

    def prepare(data_dir: Path) -> None:
        place.append(data_dir)
        fill(data_dir, owner(), JOBS)

    with lab(prepare) as server, chromium() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        open_lab(page, server)
        script_bytes = page.evaluate(SCRIPTS)
        paint = page.evaluate(
            """() => new Promise(resolve => {
              const began = performance.now();
              void window.jupyterapp.commands.execute('trainjob:panel');
              const look = () => document.querySelector('.jp-TrainJobRow[data-phase]')
                ? requestAnimationFrame(() => resolve(performance.now() - began)) : requestAnimationFrame(look);
              look();
            })"""
        )
        page.wait_for_function(
            f"""() => Number(document.querySelector('.jp-TrainJobList')?.getAttribute('aria-rowcount')) >= {JOBS}""",
            timeout=120_000,
        )
        worst_frame = page.evaluate(FRAMES)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        stop, told = threading.Event(), [0]
        writer = threading.Thread(target=change, args=(place[0], stop, told))
        writer.start()
        page.wait_for_timeout(3000)
        session.send("HeapProfiler.collectGarbage")
        heap = page.evaluate("() => performance.memory.usedJSHeapSize")
        before, changes, began = cpu_seconds(session), told[0], time.monotonic()
        page.wait_for_timeout(seconds * 1000)
        took = time.monotonic() - began
        used, rate = cpu_seconds(session) - before, (told[0] - changes) / took
        stop.set()
        writer.join()
        session.send("HeapProfiler.collectGarbage")
        grown = page.evaluate("() => performance.memory.usedJSHeapSize") - heap
        page.close()
        with_it, without = starts(browser, server, pairs)
    figures = {
        "benchmark": "panel_10k",
        "jobs": JOBS,
        "first_paint_ms": round(paint),
        "worst_frame_ms": round(worst_frame, 1),
        "changes_per_s": round(rate),
        "main_thread_percent": round(100 * used / took, 1),
        "heap_growth_mib": round(grown / 2**20, 1),
        "measured_s": seconds,
        "start_with_s": round(median(with_it), 2),
        "start_without_s": round(median(without), 2),
        "start_pairs": pairs,
        "start_more_ms": round(1000 * median([one - other for one, other in zip(with_it, without, strict=True)])),
        "script_kb": round(script_bytes / 1000, 1),
    }
    reached = (
        figures["first_paint_ms"] <= 500
        and figures["worst_frame_ms"] <= 50
        and rate >= 0.9 * CHANGES_PER_S
        and figures["main_thread_percent"] <= 25
        and figures["heap_growth_mib"] <= 20
        and figures["start_more_ms"] <= 100
        and figures["script_kb"] <= 90
    )
    return {**figures, "pass": reached}
