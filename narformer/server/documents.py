"""The OpenAPI document: what each route takes and answers, with examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from narformer.server.schema import Failure

TEMPLATE = "#/components/schemas/{model}"
REFUSALS = {
    400: "The body is not what it says it is.",
    401: "The service wants its token.",
    404: "No network of this hash, no network of the zoo or no target of this name is known.",
    408: "The request did not arrive in time.",
    413: "The network is larger than the service takes.",
    415: "The body is of a type that is not read.",
    421: "The service does not answer to this name.",
    422: "The network cannot be read, or the options are not meant so.",
    429: "Too many requests from this address.",
    500: "A mistake within the service.",
    501: "Not in this version.",
    503: "Too many requests at a time, or the store of measurements is away.",
}
_FOR_ALL = (401, 421, 429, 503)


def described(
    asked: type[BaseModel] | None, answer: type[BaseModel] | None, summary: str, needs: str | None = None
) -> dict[str, Any]:
    """Arguments of a route: its summary, body and answers. asked: None for a route without a body.

    needs: the field that names networks, where a request without a file has to have it.
    """
    failures = {
        status: {"model": Failure, "description": why}
        for status, why in REFUSALS.items()
        if asked is not None or status in _FOR_ALL
    }
    extra = {} if asked is None else {"openapi_extra": {"requestBody": _body(asked, needs)}}
    success: dict[int, dict[str, Any]] = {} if answer is None else {200: {"model": answer}}
    return {"summary": summary, "responses": {**success, **failures}, **extra, "response_model": None}


def _body(asked: type[BaseModel], needs: str | None) -> dict[str, Any]:
    """JSON alone, or a form of files and the same JSON as its part `options`; without a file, `needs` is needed."""
    schema: dict[str, Any] = {"$ref": TEMPLATE.format(model=asked.__name__)}
    there = {"model": {"type": "object"}, "models": {"type": "array", "minItems": 1}}
    alone = {"allOf": [schema, {"required": [needs], "properties": {needs: there[needs]}}]} if needs else schema
    files: dict[str, Any] = {"type": "array", "items": {"type": "string", "format": "binary"}, "description": _FILES}
    if needs != "models":
        files |= {"minItems": 1, "maxItems": 1}
        schema = {"allOf": [schema, {"properties": {"model": {"type": "null"}}}]}
    form = {"type": "object", "properties": {"model": files, "options": schema}, "additionalProperties": False}
    if needs == "model":
        form["required"] = ["model"]
    encoding = {"options": {"contentType": "application/json"}, "model": {"contentType": "application/octet-stream"}}
    return {
        "required": True,
        "content": {
            "application/json": {"schema": alone},
            "multipart/form-data": {"schema": form, "encoding": encoding},
        },
    }


_FILES = "An ONNX file, best without weights, or a Graph as Graph.to_json writes it. Several to compare."


class OpenApi:
    """Makes the document once, with the schemas of bodies, which FastAPI does not know of."""

    def __init__(self, app: FastAPI, bodies: Sequence[type[BaseModel]]) -> None:
        self.app, self.bodies = app, bodies
        self._document: dict[str, Any] = {}

    def __call__(self) -> dict[str, Any]:
        """The document, made when it is first asked for."""
        if not self._document:
            app = self.app
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            _, schemas = models_json_schema([(body, "validation") for body in self.bodies], ref_template=TEMPLATE)
            parts = document.setdefault("components", {})
            parts.setdefault("schemas", {}).update(schemas["$defs"])
            parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{}, {"token": []}]
            self._document = document
        return self._document
