"""``openapi.yaml``, made from the URL table, the query models and the object model.

``python -m jupyter_trainjob.api.openapi`` writes it; a test fails when it is not current.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic.json_schema import models_json_schema

from ..resources.registry import KINDS
from .answers import ANSWERS, BOOLEAN, COUNT, STRING, Schema, ref
from .base import query_model
from .handlers.download import TAR
from .handlers.routes import JOB, ROUTES
from .metrics import CONTENT_TYPE as METRICS_TYPE
from .query import Query
from .status import StatusErrors

DOCUMENT = Path(__file__).with_name("openapi.yaml")
BYTES = "application/octet-stream"
JSON = "application/json"

FILE_HEADERS: dict[str, Schema] = {
    "Accept-Ranges": STRING,
    "ETag": {**STRING, "description": "For If-Range: where other bytes are kept now, all of them come."},
    "Content-Disposition": STRING,
    "Content-Range": {**STRING, "description": "Of a 206."},
}
ARCHIVE_HEADERS: dict[str, Schema] = {"Content-Disposition": STRING}
LOG_HEADERS: dict[str, Schema] = {
    "X-Log-Offset": {**COUNT, "description": "Of the first byte of the body."},
    "X-Log-Next-Offset": {**COUNT, "description": "Where to ask on."},
    "X-Log-Size": {**COUNT, "description": "Bytes printed so far."},
    "X-Log-Complete": {**BOOLEAN, "description": "Nothing more will come behind the size."},
    "X-Log-Gap": {**STRING, "description": "a-b: the bytes [a, b) were left out by the cap."},
    "X-Log-Attempt": {
        **COUNT,
        "description": "Whose bytes these are, where one has begun. Name it to read on: offsets count within one.",
    },
    "X-Log-Missing": {**COUNT, "description": "Bytes lost because the store was away for too long."},
}
RESOLVED: dict[str, Schema] = {"X-TrainJob-Resolved": {**STRING, "description": "The full name that was meant."}}


@dataclass(frozen=True)
class Answer:
    """What one operation takes and answers when all goes well, and which errors are its own."""

    schema: Schema | None
    codes: tuple[int, ...] = (200,)
    media: str = JSON
    body: Schema | None = None
    body_media: str = JSON
    body_needed: bool = True
    errors: tuple[int, ...] = ()
    headers: dict[str, Schema] = field(default_factory=dict)
    public: bool = False


FILE = Answer({}, (200, 206, 307), BYTES, errors=(404, 416), headers=FILE_HEADERS)
JOB_FILE = Answer({}, (200, 206, 307), BYTES, errors=(404, 416), headers=FILE_HEADERS | RESOLVED)


def _job(*codes: int, **more: Any) -> Answer:
    return Answer(ref("TrainJob"), codes or (200,), headers=RESOLVED, **more)


OPERATIONS: dict[tuple[str, str], Answer] = {
    ("/me", "get"): Answer(ref("Me")),
    ("/trainjobs", "get"): Answer(ref("TrainJobList"), errors=(404, 410)),
    ("/inspect", "post"): Answer(ref("Inspection"), body=ref("TrainJob"), errors=(404, 413, 422)),
    ("/namespaces/{namespace}/trainjobs", "get"): Answer(ref("TrainJobList"), errors=(404, 410)),
    ("/namespaces/{namespace}/trainjobs", "post"): Answer(
        ref("TrainJob"), (200, 201), body=ref("TrainJob"), errors=(404, 409, 413, 422, 429)
    ),
    ("/namespaces/{namespace}/batches", "post"): Answer(
        ref("Made"), (201,), body=ref("Batch"), errors=(404, 409, 413, 422, 429)
    ),
    (JOB, "get"): _job(errors=(404,)),
    (JOB, "patch"): _job(body=ref("JobPatch"), errors=(404, 409, 413, 422)),
    (JOB, "delete"): _job(200, 202, errors=(404, 409)),
    (f"{JOB}/{{verb}}", "post"): _job(body=ref("Message"), body_needed=False, errors=(404, 409, 413, 422)),
    (f"{JOB}/retry", "post"): _job(201, body=ref("Message"), body_needed=False, errors=(404, 409, 413, 422, 429)),
    (f"{JOB}/rerun", "post"): _job(201, body=ref("Rerun"), body_needed=False, errors=(404, 409, 413, 422, 429)),
    (f"{JOB}/why", "get"): Answer(ref("Explanation"), headers=RESOLVED, errors=(404,)),
    (f"{JOB}/metrics", "get"): Answer({}, media=BYTES, headers=LOG_HEADERS | RESOLVED, errors=(404,)),
    (f"{JOB}/metrics/series", "get"): Answer(ref("MetricSeries"), headers=RESOLVED, errors=(404,)),
    (f"{JOB}/usage", "get"): Answer(ref("UsageReport"), headers=RESOLVED, errors=(404,)),
    (f"{JOB}/advice", "get"): Answer(ref("Advice"), headers=RESOLVED, errors=(404,)),
    (f"{JOB}/log", "get"): Answer({}, media=BYTES, headers=LOG_HEADERS | RESOLVED, errors=(404,)),
    (f"{JOB}/log/search", "get"): Answer(ref("LogHits"), headers=RESOLVED, errors=(404,)),
    (f"{JOB}/outputs", "get"): Answer(ref("OutputList"), headers=RESOLVED, errors=(404,)),
    (f"{JOB}/outputs/notebook", "get"): JOB_FILE,
    (f"{JOB}/outputs/notebook", "head"): JOB_FILE,
    (f"{JOB}/outputs/{{part}}/{{path}}", "get"): JOB_FILE,
    (f"{JOB}/outputs/{{part}}/{{path}}", "head"): JOB_FILE,
    (f"{JOB}/outputs/archive", "get"): Answer({}, media=TAR, errors=(404,), headers=ARCHIVE_HEADERS | RESOLVED),
    ("/queues/{name}/{turn}", "post"): Answer(
        ref("Queue"), body=ref("Message"), body_needed=False, errors=(404, 413, 422)
    ),
    ("/bundles", "put"): Answer(ref("Bundle"), body={}, body_media=TAR, body_needed=False, errors=(413, 422, 429)),
    ("/bundles/missing", "post"): Answer(ref("Missing"), body=ref("Digests"), errors=(413,)),
    ("/blobs/{digest}", "get"): FILE,
    ("/blobs/{digest}", "head"): FILE,
    ("/blobs/{digest}", "put"): Answer(
        ref("Upload"), (200, 201), body={}, body_media=BYTES, body_needed=False, errors=(413, 422, 429)
    ),
    ("/changes", "get"): Answer(ref("Changes"), errors=(404, 410)),
    ("/changes/stream", "get"): Answer(None, (101,), errors=(404,)),
    ("/kernels", "get"): Answer(ref("KernelList")),
    ("/schemas", "get"): Answer(ref("Kinds")),
    ("/schemas/{kind}", "get"): Answer({"type": "object"}, errors=(404,)),
    ("/openapi.yaml", "get"): Answer({}, media="application/yaml"),
    ("/healthz", "get"): Answer(ref("Health"), public=True),
    ("/readyz", "get"): Answer(ref("Readiness"), (200, 503), public=True),
    ("/metrics", "get"): Answer({}, media=METRICS_TYPE),
    **{
        operation: answer
        for kind, model in KINDS.items()
        if not model.NAMESPACED
        for operation, answer in {
            (f"/{model.PLURAL}", "get"): Answer(ref(f"{kind}List"), errors=(410,)),
            (f"/{model.PLURAL}", "post"): Answer(ref(kind), (201,), body=ref(kind), errors=(409, 413, 422)),
            (f"/{model.PLURAL}/{{name}}", "get"): Answer(ref(kind), errors=(404,)),
            (f"/{model.PLURAL}/{{name}}", "put"): Answer(ref(kind), body=ref(kind), errors=(404, 409, 413, 422)),
            (f"/{model.PLURAL}/{{name}}", "delete"): Answer(ref(kind), errors=(404, 409)),
        }.items()
    },
}

PATH_PARAMETERS: dict[str, Schema] = {
    "namespace": {**STRING, "description": "A person's own, a course's or a project's."},
    "name": {**STRING, "description": "Of jobs also a uid, or a short name: the latest of that name is meant."},
    "verb": {**STRING, "enum": ["cancel", "hold", "release", "front", "approve", "reject"]},
    "turn": {**STRING, "enum": ["pause", "drain", "open"]},
    "part": {**STRING, "enum": ["results", "files"]},
    "path": {**STRING, "description": "A result's name, or a file's path; its slashes may stand as they are."},
    "digest": {**STRING, "pattern": "^sha256:[0-9a-f]{64}$"},
    "kind": {**STRING, "enum": sorted(KINDS)},
}
MEANINGS = {
    101: "Switching protocols; messages are Changes, or {error: Error} before it closes with 4000 + the code.",
    200: "Done.",
    201: "Made.",
    202: "Accepted; it still has to end.",
    206: "The part that was asked for.",
    307: "It is at the store, for five minutes; only told to browsers that go there and to who prefers a redirect.",
    400: "The request can't be read, or has an argument that there is not.",
    401: "Nobody is known behind the request.",
    403: "One may not.",
    404: "There is none, or one may not know of it.",
    409: "The name is taken, it changed meanwhile, or its state does not allow this.",
    410: "The feed or the page is too old: list again.",
    413: "The body is too large.",
    416: "The range lies outside.",
    422: "Fields that can't be accepted, all at once.",
    429: "A limit is reached for now; Retry-After says when to try again.",
    500: "The server failed; its log knows the request's id.",
    503: "A part that is needed is not there now.",
}
ALWAYS = (400, 401, 403, 500, 503)


def build() -> dict[str, Any]:
    """The document."""
    paths: dict[str, Any] = {}
    for route, method, handler in operations():
        paths.setdefault(route, {})[method] = _operation(route, method, handler)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "jupyter_trainjob",
            "version": "v1",
            "description": "Jobs, queues and profiles. Errors are Status objects that name the field and the remedy.",
        },
        "servers": [{"url": "."}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "token <token>"}
            },
            "responses": {
                str(code): {"description": meaning, "content": {JSON: {"schema": ref("Error")}}}
                for code, meaning in MEANINGS.items()
                if code >= 400
            },
            "schemas": schemas(),
        },
    }


def schemas() -> dict[str, Schema]:
    """All components: the object model's and our own."""
    _, definitions = models_json_schema(
        [(model, "validation") for model in KINDS.values()], ref_template="#/components/schemas/{model}"
    )
    return {**definitions["$defs"], **ANSWERS}


def operations() -> Iterator[tuple[str, str, type[StatusErrors]]]:
    """Every (path, method, handler) of the URL table; a handler that several kinds share comes once for each."""
    for route, handler, _ in ROUTES:
        for method in handler.methods():
            if method != "OPTIONS":
                yield route, method.lower(), handler


def _operation(route: str, method: str, handler: type[StatusErrors]) -> dict[str, Any]:
    answer = OPERATIONS[route, method]
    about = inspect.getdoc(handler) or ""
    told: dict[str, Any] = {
        "operationId": _identifier(route, method),
        "summary": about.splitlines()[0],
        "description": inspect.getdoc(getattr(handler, method)) or "",
        "parameters": [*_path_parameters(route), *_query_parameters(query_model(handler, method))],
        "responses": _responses(answer, method),
    }
    if answer.public:
        told["security"] = []
    if answer.body is not None:
        told["requestBody"] = {
            "required": answer.body_needed,
            "content": {answer.body_media: {"schema": answer.body}},
        }
    return told


def _identifier(route: str, method: str) -> str:
    words = re.findall(r"[A-Za-z]+", route.replace(JOB, "/trainjob"))
    return method + "".join(word[:1].upper() + word[1:] for word in words)


def _path_parameters(route: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"minLength": 1, **PATH_PARAMETERS[name]}}
        for name in re.findall(r"{(\w+)}", route)
    ]


def _query_parameters(model: type[Query]) -> list[dict[str, Any]]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": one.pop("description", ""),
            "schema": _not_null(one),
        }
        for name, one in sorted(schema["properties"].items())
    ]


def _not_null(schema: Schema) -> Schema:
    """A query argument that may be left out may still not be null."""
    schema = {key: value for key, value in schema.items() if key not in ("title",)}
    options = [option for option in schema.pop("anyOf", []) if option != {"type": "null"}]
    if schema.get("default", "") is None:
        del schema["default"]
    return {**schema, **options[0]} if options else schema


def _responses(answer: Answer, method: str) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for code in answer.codes:
        one: dict[str, Any] = {"description": MEANINGS[code]}
        if code == 307:
            if method == "get":
                responses["307"] = {**one, "headers": {"Location": {"schema": STRING}}}
            continue
        if answer.schema is not None and method != "head":
            one["content"] = {answer.media: {"schema": answer.schema}}
        if answer.headers:
            one["headers"] = {name: {"schema": schema} for name, schema in answer.headers.items()}
        responses[str(code)] = one
    errors = (400, 500) if answer.public else (*ALWAYS, *answer.errors)
    for code in {*errors} - {*answer.codes}:
        responses[str(code)] = {"$ref": f"#/components/responses/{code}"}
    return dict(sorted(responses.items()))


def text() -> str:
    """The document as YAML."""
    head = "# Made by `python -m jupyter_trainjob.api.openapi`. Change the handlers, the models or that file instead.\n"
    return head + yaml.safe_dump(build(), sort_keys=False, allow_unicode=True, width=120)


if __name__ == "__main__":
    DOCUMENT.write_text(text(), encoding="utf-8")
