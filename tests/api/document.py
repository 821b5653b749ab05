"""``openapi.yaml`` as a judge of real requests and responses."""

from __future__ import annotations

import functools
import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from jupyter_trainjob.api.openapi import DOCUMENT


class Document:
    """Checks that what was sent and answered is what the document says."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.seen: set[tuple[str, str, int]] = set()
        self._paths = [(self._regex(path), path) for path in data["paths"]]

    @classmethod
    @functools.cache
    def load(cls) -> Document:
        return cls(yaml.safe_load(DOCUMENT.read_text(encoding="utf-8")))

    @staticmethod
    def _regex(path: str) -> re.Pattern[str]:
        parts = re.split(r"({\w+})", path)
        text = "".join(
            (r"(.+)" if part == "{path}" else r"([^/]+)") if part.startswith("{") else re.escape(part) for part in parts
        )
        return re.compile(text + r"\Z")

    def find(self, path: str, method: str) -> tuple[str, dict[str, Any]] | None:
        """The most literal template that fits, and its operation."""
        found = [template for regex, template in self._paths if regex.match(path)]
        for template in sorted(found, key=lambda text: text.count("{")):
            if method.lower() in self.data["paths"][template]:
                return template, self.data["paths"][template][method.lower()]
        return None

    def check(self, response: httpx.Response, prefix: str) -> None:
        request = response.request
        url = urlsplit(str(request.url))
        assert url.path.startswith(prefix)
        found = self.find(url.path.removeprefix(prefix), request.method)
        if found is None:
            assert response.status_code >= 400, f"{request.method} {url.path} is not in the document"
            self._valid({"$ref": "#/components/schemas/Error"}, response.json(), "the error")
            return
        template, operation = found
        self.seen.add((template, request.method.lower(), response.status_code))
        where = f"{request.method} {template} → {response.status_code}"
        if response.status_code < 400:
            self._check_request(operation, request, url.query, where)
        documented = operation["responses"].get(str(response.status_code))
        assert documented is not None, f"{where} is not documented: {response.text[:500]}"
        if "$ref" in documented:
            documented = self.data["components"]["responses"][documented["$ref"].rsplit("/", 1)[-1]]
        self._check_response(documented, response, where)

    def _check_request(self, operation: dict[str, Any], request: httpx.Request, query: str, where: str) -> None:
        parameters = {item["name"]: item["schema"] for item in operation["parameters"] if item["in"] == "query"}
        for name, text in parse_qsl(query, keep_blank_values=True):
            assert name in parameters, f"{where}: the argument {name} is not documented"
            schema = parameters[name]
            schema = schema["items"] if schema.get("type") == "array" else schema
            self._valid(schema, _as(schema, unquote(text)), f"{where}: the argument {name}")
        body = operation.get("requestBody")
        if body is None or not request.content:
            assert not request.content and not (body or {}).get("required"), where
            return
        kind = request.headers["Content-Type"] if "application/json" in body["content"] else "application/octet-stream"
        if "json" in kind:
            self._valid(body["content"]["application/json"]["schema"], json.loads(request.content), f"{where}: body")

    def _check_response(self, documented: dict[str, Any], response: httpx.Response, where: str) -> None:
        content = documented.get("content")
        if content is None or response.request.method == "HEAD":
            assert not response.content, where
        else:
            kind = response.headers["Content-Type"]
            assert kind in content, f"{where}: {kind} is not documented"
            if kind == "application/json":
                self._valid(content[kind]["schema"], response.json(), where)
        for name in response.headers:
            if name.lower().startswith(("x-log", "x-trainjob")):
                headers = {header.lower() for header in documented.get("headers", {})}
                assert response.status_code >= 400 or name.lower() in headers, f"{where}: the header {name}"

    def _valid(self, schema: dict[str, Any], value: Any, where: str) -> None:
        errors = list(self._validator(json.dumps(schema)).iter_errors(value))
        assert not errors, f"{where}: {errors[0].message} at {errors[0].json_path}"

    @functools.cache  # noqa: B019 - one document a session
    def _validator(self, schema: str) -> Draft202012Validator:
        whole = {**json.loads(schema), "components": self.data["components"]}
        return Draft202012Validator(whole, format_checker=FormatChecker())


def _as(schema: dict[str, Any], text: str) -> Any:
    kind = schema.get("type")
    if kind == "integer":
        return int(text)
    if kind == "number":
        return float(text)
    if kind == "boolean":
        return text == "true"
    return text
