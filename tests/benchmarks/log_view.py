"""A log of 200 MB in the job's view: opened, at its end, searched, and what it holds in memory."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from jupyter_trainjob import Client

from .browser import chromium, execute, lab, open_lab

SIZE = 200_000_000
CODE = """line = "." * 90
for n in range(COUNT):
    print(f"{n:08} {line}")
print("the needle is here")"""

UNTIL = """text => new Promise(resolve => {
  const began = performance.now();
  const look = () => document.querySelector('.jp-TrainJobLog-lines')?.textContent.includes(text)
    ? resolve(performance.now() - began) : setTimeout(look, 5);
  look();
})"""


def run(*, quick: bool = False) -> dict[str, Any]:
    """Each as a person would see it: until the text is on the screen."""
    size = SIZE // 10 if quick else SIZE
    count = size // 100
    with lab() as server, chromium() as browser, Client(server.url, token=server.token) as client:
        job = _submit(server, client, CODE.replace("COUNT", str(count)))
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        open_lab(page, server)
        execute(page, "trainjob:open", uid=job.uid, namespace=job.namespace, name=job.name)
        opened = page.evaluate(UNTIL, "the needle is here")
        page.get_by_role("button", name="Start", exact=True).click()
        page.evaluate(UNTIL, "00000000")
        page.evaluate("() => [...document.querySelectorAll('button')].find(b => b.textContent === 'End').click()")
        to_end = page.evaluate(UNTIL, "the needle is here")
        page.get_by_role("button", name="Start", exact=True).click()
        page.evaluate(UNTIL, "00000000")
        page.get_by_label("Search the log").fill("needle is")
        searched = page.evaluate(UNTIL, "the needle is here")
        heap = page.evaluate("() => performance.memory.usedJSHeapSize")
    figures = {
        "benchmark": "log_view",
        "bytes": size,
        "open_ms": round(opened),
        "to_end_ms": round(to_end),
        "search_ms": round(searched),
        "heap_mib": round(heap / 2**20),
    }
    return {**figures, "pass": opened <= 1000 and to_end <= 500 and searched <= 1000 and figures["heap_mib"] <= 200}


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
