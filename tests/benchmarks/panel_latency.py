"""From a change in the server, and from a printed line, to the screen."""

from __future__ import annotations

import time
from typing import Any

from jupyter_trainjob import Client

from .browser import chromium, execute, lab, open_lab
from .stats import percentile

WATCH = """() => {
  window.seen = {};
  new MutationObserver(() => {
    const now = Date.now();
    document.querySelectorAll('.jp-TrainJobRow[data-phase]').forEach(row => {
      const key = row.querySelector('.jp-TrainJobRow-name').textContent + ' ' + row.dataset.phase;
      window.seen[key] ??= now;
    });
    document.querySelectorAll('.jp-TrainJobLog-line').forEach(row => { window.seen[row.textContent] ??= now; });
  }).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
}"""

PRINTS = "import time\nfor n in range(COUNT):\n    print(f'at {time.time():.3f}', flush=True)\n    time.sleep(0.3)"


def run(*, quick: bool = False) -> dict[str, Any]:
    """Percentiles of both ways."""
    jobs, lines = (5, 20) if quick else (40, 200)
    with lab() as server, chromium() as browser, Client(server.url, token=server.token) as client:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        open_lab(page, server)
        execute(page, "trainjob:panel")
        page.wait_for_selector(".jp-TrainJobList")
        page.wait_for_timeout(2000)
        page.evaluate(WATCH)
        states = []
        for _ in range(jobs):
            job = client.submit_cell("print(1)", name="quick", cpu="0.1", memory="256Mi").wait()
            page.wait_for_timeout(500)
            finished = job.resource["status"]["finished"]
            seen = page.evaluate("name => window.seen[name + ' Succeeded']", job.name)
            if seen is None:
                raise RuntimeError(f"the end of {job.name} is not on the screen")
            states.append(seen / 1000 - _seconds(finished))
        talker = client.submit_cell(PRINTS.replace("COUNT", str(lines)), name="talker", cpu="0.2", memory="256Mi")
        execute(page, "trainjob:open", uid=talker.uid, namespace=talker.namespace, name=talker.name)
        talker.wait()
        time.sleep(2)
        seen_lines = page.evaluate("() => Object.entries(window.seen).filter(([key]) => key.startsWith('at '))")
        printed = sorted((float(text[3:]), seen / 1000) for text, seen in seen_lines)[5:]
        waits = [seen - at for at, seen in printed]
    figures = {
        "benchmark": "panel_latency",
        "states": len(states),
        "state_p95_ms": round(percentile(states, 95) * 1000),
        "lines": len(waits),
        "line_p95_ms": round(percentile(waits, 95) * 1000),
    }
    enough = len(waits) >= 0.8 * lines
    return {**figures, "pass": enough and figures["state_p95_ms"] <= 400 and figures["line_p95_ms"] <= 700}


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
