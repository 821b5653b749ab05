"""Get at what others have in the object store: without credentials, then with those of one's own sidecar.

``GIVEN``: bucket (its URL), own, theirs (keys in the bucket), prefix (one's own, in the bucket), signed (a URL of
``own``), form (for ``prefix``).
"""

import ssl
import urllib.error
import urllib.request

from .table import GIVEN, attack

TRUST = ssl._create_unverified_context()
MARK = "b0undary"
BUCKET, OWN, THEIRS, SIGNED = GIVEN["bucket"], GIVEN["own"], GIVEN["theirs"], GIVEN["signed"]


def ask(method: str, url: str, data: bytes | None = None, kind: str = "text/plain") -> int:
    request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
    try:
        with urllib.request.urlopen(request, context=TRUST, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def post(key: str) -> int:
    fields = [("", f'"{name}"', value) for name, value in {**GIVEN["form"]["fields"], "key": key}.items()]
    fields.append(("", '"file"; filename="f"', "evil"))
    parts = [f"--{MARK}\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n" for _, name, value in fields]
    body = f"{''.join(parts)}--{MARK}--\r\n".encode()
    return ask("POST", GIVEN["form"]["url"], body, f"multipart/form-data; boundary={MARK}")


attack("list", lambda: ask("GET", f"{BUCKET}?list-type=2"))
attack("list the buckets", lambda: ask("GET", BUCKET.rpartition("/")[0] + "/"))
attack("read another's", lambda: ask("GET", f"{BUCKET}/{THEIRS}"))
attack("write another's", lambda: ask("PUT", f"{BUCKET}/{THEIRS}", b"evil"))
attack("delete another's", lambda: ask("DELETE", f"{BUCKET}/{THEIRS}"))
attack("stolen URL", lambda: ask("GET", SIGNED))
attack("stolen URL for another's", lambda: ask("GET", SIGNED.replace(OWN, THEIRS)))
attack("stolen URL to delete", lambda: ask("DELETE", SIGNED))
attack("stolen URL to list", lambda: ask("GET", SIGNED.replace(f"/{OWN}?", "?list-type=2&")))
attack("stolen form", lambda: post(GIVEN["prefix"] + "files/evil"))
attack("stolen form for another's", lambda: post(THEIRS))
attack("stolen form upwards", lambda: post(GIVEN["prefix"] + "../../" + THEIRS.partition("jobs/")[2]))
