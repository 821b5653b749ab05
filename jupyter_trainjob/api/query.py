"""Query arguments as models: one per operation. What is not in the model is an error that names what is.

``openapi.py`` makes the document's parameters out of the same models.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from ..resources.errors import BadRequest, FieldError
from ..resources.trainjob import Phase
from ..storage.logsearch import Wanted
from .points import MAX_TOLD

IGNORED = frozenset({"token", "no_track_activity", "_xsrf"})
"""Arguments of jupyter_server's own that may come with any request."""

MAX_INTEGER = 2**63 - 1
MAX_LIMIT = 500

Q = TypeVar("Q", bound="Query")

Offset = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
AttemptNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]
Place = Annotated[str, Field(max_length=63)]
Wait = Annotated[
    float,
    Field(ge=0, allow_inf_nan=False, description="Seconds to wait for news; at most 30, and more means 30."),
]


class Query(BaseModel):
    """Base of all. Also the model of operations that take no arguments."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    def read(cls: type[Q], arguments: Mapping[str, list[bytes]]) -> Q:
        """The arguments of a request's URL; :class:`BadRequest` names each that can't be used."""
        lists = _lists(cls)
        given: dict[str, Any] = {}
        problems: list[FieldError] = []
        for name, values in arguments.items():
            if name in IGNORED or (name.isdigit() and values == [b""]):  # JupyterLab appends the time against caches
                continue
            try:
                texts = [value.decode("utf-8") for value in values]
            except UnicodeDecodeError:
                problems.append(FieldError(_short(name), "it is not UTF-8"))
                continue
            if name not in lists and len(texts) > 1:
                problems.append(FieldError(_short(name), f"it is given {len(texts)} times", remedy="Give it once."))
                continue
            given[name] = texts if name in lists else texts[0]
        try:
            query = cls.model_validate(given)
        except ValidationError as error:
            problems += [_problem(cls, item) for item in error.errors(include_url=False)]
        if problems:
            first = problems[0]
            raise BadRequest(
                f"The query argument {first.field!r} can't be used: {first.message}.",
                remedy=first.remedy,
                details=problems,
            )
        return query

    @classmethod
    def names(cls) -> list[str]:
        """The arguments there are."""
        return sorted(str(field.alias) for field in cls.model_fields.values())


@functools.cache
def _lists(model: type[Query]) -> frozenset[str]:
    """The arguments that may be given several times."""
    return frozenset(str(field.alias) for field in model.model_fields.values() if get_origin(field.annotation) is list)


def _problem(model: type[Query], item: Any) -> FieldError:
    name = str(item["loc"][0])
    context = item.get("ctx", {})
    value = item.get("input")
    remedy = ""
    kind = item["type"]
    if kind == "extra_forbidden":
        allowed = model.names()
        remedy = ("Allowed: " + ", ".join(allowed) + ".") if allowed else "This request takes none."
        return FieldError(_short(name), "there is none of this name here", remedy=remedy)
    if kind.startswith(("int_", "float_")):
        number = "whole number" if kind.startswith("int_") else "number"
        message, remedy = f"{_short(str(value))!r} is no {number}", f"Write for example {name}=10."
    elif kind == "greater_than_equal":
        message = f"{value} is less than {context['ge']}"
    elif kind == "less_than_equal":
        message, remedy = f"{value} is more than {context['le']}", f"Write {name}={context['le']} or less."
    elif kind == "finite_number":
        message, remedy = f"{value!r} is no number of seconds", f"Write for example {name}=10."
    elif kind.startswith("bool_"):
        message, remedy = f"{_short(str(value))!r} is neither true nor false", f"Write {name}=true or leave it out."
    elif kind in ("enum", "literal_error"):
        message, remedy = f"{_short(str(value))!r} is none of its values", f"Allowed: {context['expected']}."
    else:
        message = str(item["msg"])
    return FieldError(_short(name), message, _short(str(value)), remedy)


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "…"


class PageQuery(Query):
    """A list, page by page."""

    label_selector: str = Field("", max_length=2048, description="As Kubernetes has it: a=b,c!=d,e in (f,g),!h,i")
    q: str = Field("", max_length=256, description="Text that the name or a label value holds.")
    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="How many at most.")
    continue_: str = Field("", alias="continue", max_length=1024, description="From the page before.")


class JobsQuery(PageQuery):
    """A list of jobs of one namespace."""

    owner: str | None = Field(None, max_length=256, description="Whose.")
    phase: list[Phase] = Field(
        default_factory=list, max_length=50, description="In one of these phases; may be repeated."
    )
    queue: str | None = Field(None, max_length=63, description="Of this queue.")


class AllJobsQuery(JobsQuery):
    """A list of jobs of all namespaces that one may see."""

    namespace: list[Place] = Field(default_factory=list, max_length=50, description="In one of these; may be repeated.")


class SubmitQuery(Query):
    """A new job."""

    dry_run: bool = Field(False, description="Say what would be, and do nothing.")


class DeleteJobQuery(Query):
    """What becomes of the things that a deleted job owns."""

    propagation: Literal["cascade", "orphan"] = Field("cascade", description="cascade: they go too; orphan: they stay.")


class LogQuery(Query):
    """A piece of a log."""

    offset: Offset = Field(0, description="The first byte wanted.")
    limit: int = Field(262_144, ge=1, le=MAX_INTEGER, description="Bytes at most; the server may send fewer.")
    wait: Wait = 0.0
    attempt: AttemptNumber | None = Field(None, description="The latest, if left out.")


class LogSearchQuery(Query):
    """A text in a log."""

    text: str = Field(min_length=1, max_length=1000, description="As it stands there, in UTF-8.")
    ignore_case: bool = Field(False, description="Of the letters A to Z.")
    offset: Offset = Field(0, description="Where to begin.")
    end: Offset | None = Field(None, description="The first byte that is not looked at; all, if left out.")
    limit: int = Field(1000, ge=0, le=10_000, description="So many places are told; more are counted.")
    attempt: AttemptNumber | None = Field(None, description="The latest, if left out.")

    def wanted(self) -> Wanted:
        """As the search takes it."""
        return Wanted(self.text.encode(), self.ignore_case, self.offset, self.end, self.limit)


class AttemptQuery(Query):
    """Something of one attempt."""

    attempt: AttemptNumber | None = Field(None, description="The latest, if left out.")


class SeriesQuery(AttemptQuery):
    """Logged metrics for a plot."""

    max_points: int = Field(
        500,
        ge=10,
        le=10_000,
        description=f"Of each metric at most. All metrics together get {MAX_TOLD}: of many, each gets fewer.",
    )
    metric: list[str] = Field(default_factory=list, max_length=50, description="Only these; may be repeated.")


class StreamQuery(Query):
    """The feed, as it comes."""

    since: Offset | None = Field(None, description="The version after which to begin; now, if left out.")
    namespace: list[Place] = Field(default_factory=list, max_length=50, description="Of these only; may be repeated.")
    kind: list[Place] = Field(default_factory=list, max_length=50, description="Of these kinds only; may be repeated.")


class ChangesQuery(StreamQuery):
    """A page of the feed."""

    wait: Wait = 0.0
    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="How many at most.")
