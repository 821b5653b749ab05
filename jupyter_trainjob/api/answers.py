"""What the operations answer and take, beside resources, as JSON Schema: the words of ``openapi.yaml``."""

from __future__ import annotations

from typing import Any, get_args

from ..resources.errors import API_VERSION
from ..resources.registry import KINDS
from ..scheduling.model import Scope

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
DIGEST: Schema = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
TIME: Schema = {"type": "string", "format": "date-time"}
ANY_OBJECT: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Schema) -> Schema:
    """A list of them."""
    return {"type": "array", "items": items}


def or_null(schema: Schema) -> Schema:
    """It, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def record(optional: dict[str, Schema] | None = None, /, **needed: Schema) -> Schema:
    """An object with these members and no others."""
    return {
        "type": "object",
        "properties": {**needed, **(optional or {})},
        "required": list(needed),
        "additionalProperties": False,
    }


def const(value: str) -> Schema:
    """This text."""
    return {"type": "string", "const": value}


def list_of(kind: str) -> Schema:
    """A page of a kind."""
    return record(
        apiVersion=const(API_VERSION),
        kind=const(f"{kind}List"),
        metadata=record(resourceVersion=STRING, **{"continue": STRING}),
        items=array(ref(kind)),
    )


ANSWERS: dict[str, Schema] = {
    "FieldError": record({"value": {}, "remedy": STRING}, field=STRING, message=STRING),
    "Error": record(
        {"remedy": STRING, "retryAfterSeconds": {"type": "number"}, "data": ANY_OBJECT},
        apiVersion=const(API_VERSION),
        kind=const("Status"),
        code={"type": "integer"},
        reason=STRING,
        message=STRING,
        details=array(ref("FieldError")),
    ),
    **{f"{kind}List": list_of(kind) for kind in KINDS},
    "Message": record({"message": {"type": "string", "maxLength": 500}}),
    "Rerun": record({"parameters": ANY_OBJECT}),
    "JobPatch": record(
        {
            "metadata": record(
                {
                    "labels": or_null({"type": "object", "additionalProperties": or_null(STRING)}),
                    "annotations": or_null({"type": "object", "additionalProperties": or_null(STRING)}),
                    "resourceVersion": STRING,
                }
            ),
            "spec": record({"priority": {"type": "integer"}}),
        }
    ),
    "MetricSeries": record(
        attempt=or_null(COUNT),
        metrics={
            "type": "object",
            "additionalProperties": record(
                count=COUNT,
                last=or_null(NUMBER),
                minimum=or_null(NUMBER),
                maximum=or_null(NUMBER),
                points=array(array(or_null(NUMBER))),
            ),
        },
        points=COUNT,
        leftOut=COUNT,
        complete=BOOLEAN,
    ),
    "LogHits": record(
        attempt=or_null(COUNT),
        offsets={**array(COUNT), "description": "In order; of the first so many as were asked for."},
        count={**COUNT, "description": "Of all that were found."},
        nextOffset={**or_null(COUNT), "description": "Where to ask on, as the time was up; null: all was looked at."},
    ),
    "UsageReport": record(
        attempt=or_null(COUNT),
        requested=ANY_OBJECT,
        used=or_null(ANY_OBJECT),
        began=or_null(TIME),
        intervalSeconds=or_null(NUMBER),
        columns=array(STRING),
        rows=array(array(NUMBER)),
    ),
    "Advice": record(
        job=STRING,
        runs=COUNT,
        used=or_null(record(cpu=or_null(NUMBER), peakMemoryBytes=COUNT, seconds=NUMBER, cpuSeconds=NUMBER)),
        resources=record({"cpu": STRING, "memory": STRING}),
        timeLimitSeconds=or_null(COUNT),
        remarks=array(STRING),
    ),
    "Inspection": record(
        language={**STRING, "description": "Of the code; empty where there is no kernel for it."},
        kernel={**STRING, "description": "The kernelspec that would run it; empty: any of the language."},
        parameters=array(ref("Parameter")),
        problems=array(ref("FieldError")),
    ),
    "Parameter": record(
        {"default": {"description": "As spec.parameters has it; left out where it is no literal."}},
        name=STRING,
        type={**STRING, "description": "As the language writes it; empty where nothing tells."},
        declared={**BOOLEAN, "description": "The code names the type; else it is the default's."},
        expression={**STRING, "description": "The default as it is written."},
        help={**STRING, "description": "The comment beside it, or above it."},
    ),
    "Batch": {
        "description": "Either template and points, or items.",
        **record(
            {
                "template": ref("TrainJob"),
                "points": array(record({"parameters": ANY_OBJECT})),
                "maxParallel": {"type": "integer", "minimum": 1, "description": "So many of the points at once."},
                "items": array(ref("TrainJob")),
            }
        ),
    },
    "Made": record(
        sweep={**STRING, "description": "Its name, where the jobs are points of one."},
        items=array(record(name=STRING, uid=STRING)),
    ),
    "Explanation": record(
        position=or_null({"type": "integer", "minimum": 1}),
        waitingFor=STRING,
        estimatedStart=or_null(TIME),
        blockers=array(ref("Blocker")),
    ),
    "Blocker": record(
        limit={**STRING, "description": "runningJobs, cpu, memory or gpu; else a word for what is in the way."},
        scope={"type": "string", "enum": list(get_args(Scope))},
        queue=STRING,
        requested={**STRING, "description": "By the job; a quantity, or empty where the limit is none of quantities."},
        used={**STRING, "description": "Without the job."},
        maximum=STRING,
        message=STRING,
        remedy=STRING,
    ),
    "OutputList": record(
        attempt=or_null({"type": "integer", "minimum": 1}),
        notebook=BOOLEAN,
        results=array(ref("Result")),
        files=array(ref("OutputFile")),
        filesTotal=COUNT,
        bytesTotal=COUNT,
    ),
    "Upload": record(digest=STRING, size=COUNT),
    "Bundle": record(count=COUNT, size=COUNT),
    "Digests": {
        **record(digests={"type": "array", "items": DIGEST, "maxItems": 20_000}),
        "description": "Uploads that one may have.",
    },
    "Missing": record(missing=array(STRING)),
    "Change": record(
        type={"type": "string", "enum": ["ADDED", "MODIFIED", "DELETED"]},
        version=COUNT,
        object={"oneOf": [ref(kind) for kind in KINDS], "discriminator": {"propertyName": "kind"}},
    ),
    "Changes": record(changes=array(ref("Change")), version=COUNT),
    "Me": record(
        username=STRING,
        displayName=STRING,
        groups=array(STRING),
        operator=BOOLEAN,
        namespaces=array(record(name=STRING, role=STRING)),
        permissions=array(record({"namespace": STRING, "queue": STRING}, kind=STRING, verbs=array(STRING))),
        limits=record(
            storedBytes={**COUNT, "description": "0 means no limit."},
            namespaceStoredBytes={**COUNT, "description": "Of uploads, logs and outputs; 0 means no limit."},
            uploadBytes=COUNT,
            queues=array(
                record(
                    queue=STRING,
                    queuedJobs=or_null(COUNT),
                    perUser=ref("Limits"),
                    maxTimeLimitSeconds=or_null({"type": "integer"}),
                )
            ),
        ),
        use=array(record(queue=STRING, runningJobs=COUNT, queuedJobs=COUNT, cpu=STRING, memory=STRING, gpu=COUNT)),
        storedBytes=COUNT,
        namespaceStoredBytes={**or_null(COUNT), "description": "Of one's own namespace; null where none limits it."},
    ),
    "KernelList": record(
        kernels=array(
            record(
                backend=STRING,
                name={**STRING, "description": "Of its kernelspec; what spec.environment.kernel names."},
                language={**STRING, "description": "In lower case, such as python, r or scala."},
                displayName=STRING,
            )
        )
    ),
    "Kinds": record(kinds=array(STRING)),
    "Health": record(status=const("ok")),
    "Readiness": record(
        ready=BOOLEAN,
        checks={
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"ok": BOOLEAN, "message": STRING},
                "required": ["ok", "message"],
            },
        },
    ),
}
"""Component name → schema. Resources and their parts come from the object model."""
