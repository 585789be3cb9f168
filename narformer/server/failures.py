"""What goes wrong, as HTTP says it: a status, and one line that names what to do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from narformer.errors import (
    BindingError,
    ConfigError,
    DataError,
    ModelError,
    NarformerError,
    StoreError,
    UnknownDeviceError,
    UserError,
)
from narformer.frontends.onnx.unbound import UnboundError

LONGEST = 2000  # letters of a message


class Refused(UserError):
    """A request that is not answered. status: of HTTP; kind: the name that the client sees as the error's type."""

    def __init__(
        self, status: int, message: str, kind: str = "RequestError", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.headers = dict(headers or {})


def status_of(error: NarformerError) -> int:
    """The HTTP status of an error of the package: the caller's mistakes are 422, a store that is away 503."""
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, StoreError):
        return 503
    if isinstance(error, UnknownDeviceError):
        return 404
    if isinstance(error, DataError) or not isinstance(error, UserError):
        return 500
    return 422


def failure(error: NarformerError) -> dict[str, Any]:
    """The body of an answer that tells of an error; sizes that would bind what is open stand beside the message."""
    kind = error.kind if isinstance(error, Refused) else _public(error)
    told: dict[str, Any] = {"type": kind, "message": shortened(str(error))}
    if isinstance(error, UnboundError):
        told["bind"] = {
            "dims": dict(error.example.dims),
            "input_shapes": {name: list(shape) for name, shape in error.example.input_shapes.items()},
        }
    return {"error": told}


def body_of(error: NarformerError) -> bytes:
    """The same as bytes of JSON."""
    return json.dumps(failure(error)).encode()


def shortened(text: str) -> str:
    """A message names what the caller sent, which may be of any length."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def _public(error: NarformerError) -> str:
    """The name of the error's nearest class that the package's users know."""
    if isinstance(error, UnboundError):
        return "ShapeError"
    if isinstance(error, BindingError):
        return "BindingError"
    for known in (ModelError, ConfigError, StoreError):
        if type(error) is known:
            return known.__name__
    return type(error).__name__
