"""Request bodies: read in memory up to a limit, within a time, and taken apart. Nothing is written to a disk."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import zlib
from collections.abc import AsyncGenerator
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from narformer.frontends.onnx.unbound import printable
from narformer.server.failures import Refused
from narformer.server.question import Network
from narformer.server.schema import Known
from narformer.server.settings import Limits

Asked = TypeVar("Asked", bound=BaseModel)
OPTIONS_BYTES = 1 << 20  # of what is asked, beside the networks
LONGEST_NAME = 200
CLOSE = {"Connection": "close"}  # what of the body is still to come is not waited for
SMALLER = "send the structure alone: `narformer predict MODEL --server URL` and the page leave the weights behind"


class Received(NamedTuple):
    """What is asked, as its bytes of JSON, and the networks that came with it."""

    options: bytes
    networks: tuple[Network, ...]


async def received(request: Request, limits: Limits) -> Received:
    """A request's body, as JSON or as a form. Raises Refused where it is too large, too slow, or of another type."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "multipart/form-data"):
        raise Refused(
            415,
            "send application/json, or multipart/form-data with the file as `model`: "
            "curl -F model=@model.onnx -F 'options={\"batch_size\": 1}'",
            headers=CLOSE,
        )
    body = await _body(request, limits.bytes if kind != "application/json" else OPTIONS_BYTES, limits)
    if kind == "application/json":
        return Received(body, ())
    form = await _form(request, body, limits)
    try:
        return await _parts(form)
    finally:
        await form.close()


async def _parts(form: FormData) -> Received:
    options, networks = b"{}", []
    for field, value in form.multi_items():
        if field == "model" and isinstance(value, UploadFile):
            data = await value.read()
            if not data:
                raise Refused(422, f"{_label(value)}: the file is empty", "ModelError")
            networks.append(Network(_label(value), hashlib.sha256(data).hexdigest(), data))
        elif field == "options" and isinstance(value, str):
            options = value.encode(errors="replace")
        else:
            raise Refused(
                422,
                f"form field {printable(field[:LONGEST_NAME])!r}: a form has files `model` and a text `options`",
            )
    if len(options) > OPTIONS_BYTES:
        raise Refused(413, f"options of more than {OPTIONS_BYTES} bytes", "LimitError")
    return Received(options, tuple(networks))


def options_of(kind: type[Asked], data: bytes) -> Asked:
    """What is asked. Raises Refused, naming the field, for what is not meant so."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        message = f"{place}: {first['msg']}" if place else str(first["msg"])
        if first["type"] == "extra_forbidden":
            fields = Known.model_fields if len(first["loc"]) > 1 else kind.model_fields
            message = f"{place[:LONGEST_NAME]}: no such field; known are {', '.join(fields)}"
        raise Refused(422, printable(message[:1000]), "ConfigError") from None


async def _body(request: Request, limit: int, limits: Limits) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise Refused(415, f"content-encoding {printable(encoding[:40])!r}: send gzip, or none", headers=CLOSE)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit:
        raise too_large(limit)
    try:
        return await asyncio.wait_for(_read(request, limit, encoding == "gzip"), limits.upload_seconds)
    except asyncio.TimeoutError:  # another class than TimeoutError before Python 3.11
        raise Refused(
            408, f"the request did not arrive within {limits.upload_seconds:g} s", "LimitError", CLOSE
        ) from None


async def _read(request: Request, limit: int, compressed: bool) -> bytes:
    unpack = zlib.decompressobj(wbits=31) if compressed else None
    chunks: list[bytes] = []
    size = 0
    async for sent in request.stream():
        chunk = sent
        if unpack is not None:
            try:
                chunk = unpack.decompress(sent, limit + 1 - size)
            except zlib.error as error:
                raise Refused(400, "the body is not what gzip writes", headers=CLOSE) from error
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        chunks.append(chunk)
    if unpack is not None and not unpack.eof:
        raise Refused(400, "the body is not what gzip writes, or cut short")
    return b"".join(chunks)


def too_large(limit: int) -> Refused:
    """The refusal of a request that is larger than the limit."""
    return Refused(413, f"more than {limit} bytes; {SMALLER}", "LimitError", CLOSE)


class _InMemory(MultiPartParser):
    """Files of a form stay in memory, where they are already: the disk may be full."""

    spool_max_size = sys.maxsize


async def _form(request: Request, body: bytes, limits: Limits) -> FormData:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(request.headers, whole(), max_files=limits.networks, max_fields=4, max_part_size=OPTIONS_BYTES)
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, ValueError, LookupError) as error:
        why = error.message if isinstance(error, MultiPartException) else "the form has no boundary, or is cut short"
        raise Refused(400, printable(why[:LONGEST_NAME])) from error


def _label(file: UploadFile) -> str:
    """The name that messages use; what the client calls a file may be anything."""
    name = printable((file.filename or "").replace("\\", "/").rpartition("/")[2])[:LONGEST_NAME]
    return name or "model"
