"""What every resource has: ``apiVersion, kind, metadata, spec, status``.

JSON names are camelCase, Python names snake_case; ``model_dump(by_alias=True, mode="json")`` (or
:meth:`Resource.to_dict`) is the wire form. Unknown fields are errors, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from . import names
from .errors import API_VERSION, invalid
from .problems import field_errors


def rfc3339(value: datetime) -> str:
    """``value`` (aware) in UTC with microseconds and a Z, so that texts sort as times do."""
    return value.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


Timestamp = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""An aware instant; RFC 3339 in UTC with microseconds on the wire, so that texts sort as times do."""


class Model(BaseModel):
    """A part of a resource."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        ser_json_inf_nan="strings",
        hide_input_in_errors=True,
    )


class OwnerReference(Model):
    """The resource that this one belongs to; deleting that one cascades to this one, or orphans it."""

    kind: str
    name: str
    uid: str
    controller: bool = False


class ObjectMeta(Model):
    """Who, where, which version. All but name, namespace, labels and annotations are the server's to set."""

    name: str = ""
    generate_name: str = Field(
        default="", description="A short name: the server adds a dash and five letters and keeps it as a label."
    )
    namespace: str = ""
    uid: str = ""
    owner: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    finalizers: list[str] = Field(default_factory=list)
    owner_references: list[OwnerReference] = Field(default_factory=list)
    generation: int = 1
    resource_version: str = ""

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if value and not names.is_name(value):
            raise ValueError("a name has 1 to 63 lower-case letters, digits or dashes, such as 'digits-2'")
        return value

    @field_validator("generate_name")
    @classmethod
    def _generate_name(cls, value: str) -> str:
        if value and not names.is_name(value, names.SHORT_NAME_MAX):
            raise ValueError("a name has 1 to 57 lower-case letters, digits or dashes, such as 'digits-2'")
        return value

    @field_validator("labels")
    @classmethod
    def _labels(cls, value: dict[str, str]) -> dict[str, str]:
        if len(value) > 64:
            raise ValueError(f"{len(value)} labels are more than the 64 an object may have")
        for key, text in value.items():
            problem = names.label_key_error(key) or names.label_value_error(text)
            if problem:
                raise ValueError(f"label {key}={text!r}: {problem}")
        return value

    @field_validator("annotations")
    @classmethod
    def _annotations(cls, value: dict[str, str]) -> dict[str, str]:
        size = sum(len(key) + len(text) for key, text in value.items())
        if size > 256 * 1024:
            raise ValueError(f"annotations of {size} characters are more than the 262144 an object may have")
        return value


class Condition(Model):
    """One observation about a resource, with the reason in one word and the message for a person."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str = ""
    message: str = ""
    last_transition_time: Timestamp | None = None
    observed_generation: int = 0


class Status(Model):
    """What controllers report. Unknown fields are kept out silently: an older server reads a newer record."""

    model_config = ConfigDict(extra="ignore")

    observed_generation: int = 0
    conditions: list[Condition] = Field(default_factory=list)

    def tells(self, condition: Condition) -> bool:
        """Whether ``condition`` is among those there are, but for its time."""
        timeless = {"last_transition_time": None}
        return any(
            old.type == condition.type and old.model_copy(update=timeless) == condition.model_copy(update=timeless)
            for old in self.conditions
        )

    def set_condition(self, condition: Condition) -> bool:
        """Put ``condition`` in the place of the one of its type; True if anything but the time changed."""
        if self.tells(condition):
            return False
        for index, old in enumerate(self.conditions):
            if old.type != condition.type:
                continue
            if old.status == condition.status:
                condition = condition.model_copy(update={"last_transition_time": old.last_transition_time})
            self.conditions[index] = condition
            return True
        self.conditions.append(condition)
        return True


class Resource(Model):
    """Base of all kinds. A kind sets the class variables and its own ``spec`` and ``status``."""

    PLURAL: ClassVar[str]
    """The word in the URL, such as ``trainjobs``."""
    NAMESPACED: ClassVar[bool] = True

    api_version: Literal["jupyter-trainjob/v1"] = API_VERSION
    kind: str
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: Any
    status: Any

    def to_dict(self) -> dict[str, Any]:
        """Wire form; absent optional values are left out."""
        return self.model_dump(by_alias=True, mode="json", exclude_none=True)

    def to_json(self) -> str:
        """Wire form as JSON text."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


R = TypeVar("R", bound=Resource)


def parse(model: type[R], data: Any, what: str | None = None) -> R:
    """Read ``data`` (JSON objects) as ``model``; :class:`.errors.Invalid` names every bad field at once."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid(field_errors(error, data, _places(model)), what or f"The {model.__name__}") from None


@lru_cache
def _places(model: type[Resource]) -> dict[str, str]:
    """The names of all fields that a person may write (not the status), at any depth → the shortest path of one."""
    schema = model.model_json_schema(by_alias=True)
    level = [("", schema)]
    found: dict[str, str] = {}
    seen: set[str] = set()
    while level:
        level = [
            below
            for path, part in level
            for name, field in part.get("properties", {}).items()
            if (path, name) != ("", "status")
            for below in _below(found.setdefault(name, f"{path}{name}"), field, schema, seen)
        ]
    return found


def _below(
    path: str, field: dict[str, Any], schema: dict[str, Any], seen: set[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects that a field may hold, each once, with the path that their fields' names follow."""
    for one in (field, *field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())):
        if "items" in one:
            yield from _below(f"{path}[]", one["items"], schema, seen)
        name = one.get("$ref", "").rpartition("/")[2]
        if name and name not in seen:
            seen.add(name)
            yield f"{path}.", schema["$defs"][name]
