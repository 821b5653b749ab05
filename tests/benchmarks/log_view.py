"""A log of 200 MB in the job's view: opened, at its end, searched, and what it holds in memory."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from jupyter_trainjob import Client

from .browser import chromium, lab, open_lab
from .stats import median

SIZE = 200_000_000
CODE = """line = "." * 90
for n in range(COUNT):
    print(f"{n:08} {line}")
print("the needle is here")"""

MEASURE = """([action, text]) => new Promise(resolve => {
  const press = words => [...document.querySelectorAll('button')].find(one => one.textContent === words).click();
  const type = words => {
    const input = document.querySelector('.jp-TrainJobLog input[type=search]');
    input.value = words;
    input.dispatchEvent(new Event('input'));
  };
  const open = job => void window.jupyterapp.commands.execute('trainjob:open', job);
  const began = performance.now();
  ({ press, type, open })[action[0]](action[1]);
  const look = () => document.querySelector('.jp-TrainJobLog-lines')?.textContent.includes(text)
    ? resolve(performance.now() - began) : setTimeout(look, 5);
  look();
})"""
"""Does something, and waits until a text is on the screen."""

DONE = "() => /^1 of 1$/.test(document.querySelector('.jp-TrainJobLog-hits').textContent)"


def run(*, quick: bool = False) -> dict[str, Any]:
    """Each as a person would see it: until the text is on the screen. Medians; the log is opened once."""
    size, rounds = (SIZE // 10, 1) if quick else (SIZE, 5)
    count = size // 100
    with lab() as server, chromium() as browser, Client(server.url, token=server.token) as client:
        job = _submit(server, client, CODE.replace("COUNT", str(count)))
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        open_lab(page, server)
        page.wait_for_timeout(2000)

        def seconds(*action: Any, text: str = "the needle is here") -> float:
            return float(page.evaluate(MEASURE, [action, text])) / 1000

        opened = seconds("open", {"uid": job.uid, "namespace": job.namespace, "name": job.name})
        to_end, searched, counted = [], [], []
        for _ in range(rounds):
            seconds("press", "Start", text="00000000")
            to_end.append(seconds("press", "End"))
            seconds("press", "Start", text="00000000")
            began = time.perf_counter()
            searched.append(seconds("type", "needle is"))
            page.wait_for_function(DONE)
            counted.append(time.perf_counter() - began)
            seconds("type", "", text="needle")
        heap = page.evaluate("() => performance.memory.usedJSHeapSize")
    figures = {
        "benchmark": "log_view",
        "bytes": size,
        "open_ms": round(1000 * opened),
        "to_end_ms": round(1000 * median(to_end)),
        "search_ms": round(1000 * median(searched)),
        "search_worst_ms": round(1000 * max(searched)),
        "counted_ms": round(1000 * median(counted)),
        "heap_mib": round(heap / 2**20),
    }
    reached = (
        figures["open_ms"] <= 1000
        and figures["to_end_ms"] <= 500
        and figures["search_ms"] <= 1000
        and figures["counted_ms"] <= 1000
        and figures["heap_mib"] <= 200
    )
    return {**figures, "pass": reached}


def _submit(server: Any, client: Client, code: str) -> Any:
    """A job whose log is kept whole: no option of the client's asks for that."""
    username = server.get("trainjob/api/v1/me")["username"]
    spec = {"source": {"type": "cell", "code": code}, "resources": {"log": "1Gi"}}
    body = {"kind": "TrainJob", "metadata": {"generateName": "long"}, "spec": spec}
    request = urllib.request.Request(
        f"{server.url}trainjob/api/v1/namespaces/{username}/trainjobs",
        json.dumps(body).encode(),
        {"Authorization": f"token {server.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        made = json.load(answer)
    return client.job(made["metadata"]["uid"]).wait()
