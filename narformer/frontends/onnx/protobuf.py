"""Takes the weights out of an ONNX file without ever holding them: a walk over the protobuf wire format.

Of each tensor larger than a kilobyte only name, type and dims are kept; small ones (shapes, axes, scales) stay, because
shape inference reads them. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

KEPT_BYTES = 1024
_VARINT, FIXED64, LENGTH, _FIXED32 = 0, 1, 2, 5


class Kind(NamedTuple):
    """A message type: which fields hold messages that may contain tensors, and which fields are a tensor's data."""

    children: Mapping[int, str]
    payload: frozenset[int] = frozenset()


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "model": Kind({7: "graph", 25: "function"}),
        "graph": Kind({1: "node", 5: "tensor", 15: "sparse"}),
        "function": Kind({7: "node"}),
        "node": Kind({5: "attribute"}),
        "attribute": Kind({5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"}),
        "sparse": Kind({1: "tensor", 2: "tensor"}),
        "tensor": Kind({}, frozenset({4, 5, 6, 7, 9, 10, 11})),
    }
)
MAX_DEPTH = 64
Buffer = bytes | mmap.mmap


def strip_weights(data: Buffer, kept: Collection[int] = ()) -> bytes:
    """The ONNX model in `data` without the contents of its large tensors. Raises ValueError if it is not protobuf.

    kept: types of tensors (TensorProto.DataType) that stay whole.
    """
    return b"".join(_strip(data, 0, len(data), "model", 0, kept))


def _strip(data: Buffer, start: int, end: int, kind: str, depth: int, kept: Collection[int]) -> list[bytes]:
    if depth > MAX_DEPTH:
        raise ValueError("messages nested too deep")
    children, payload = KINDS[kind]
    if kept and payload and _type(data, start, end) in kept:
        return [data[start:end]]
    chunks: list[bytes] = []
    kept_from = start  # everything from here to the current field is copied in one piece
    for field, wire, field_start, value_start, value_end in fields(data, start, end):
        size = value_end - value_start
        if wire != LENGTH or size <= KEPT_BYTES:
            continue
        if field in payload:
            chunks.append(data[kept_from:field_start])
        elif field in children:
            chunks.append(data[kept_from:field_start])
            inner = _strip(data, value_start, value_end, children[field], depth + 1, kept)
            chunks.append(_varint(field << 3 | LENGTH) + _varint(sum(map(len, inner))))
            chunks.extend(inner)
        else:
            continue
        kept_from = value_end
    chunks.append(data[kept_from:end])
    return chunks


def bytes_in_bodies(data: Buffer) -> int:
    """How many bytes of a model are bodies: graphs within nodes of its graph that take a kilobyte and more.

    Raises ValueError if it is not protobuf.
    """
    return _in_bodies(data, 0, len(data), "model")


def _in_bodies(data: Buffer, start: int, end: int, kind: str) -> int:
    children, total = KINDS[kind].children, 0
    for field, wire, _, first, last in fields(data, start, end):
        within = children.get(field) if wire == LENGTH and last - first > KEPT_BYTES else None
        if within == "graph" and kind == "attribute":
            total += last - first
        elif within in ("graph", "node", "attribute"):
            total += _in_bodies(data, first, last, within)
    return total


def _type(data: Buffer, start: int, end: int) -> int:
    """The type of a tensor's elements; 0 where it is not told."""
    for field, wire, _, value, _ in fields(data, start, end):
        if (field, wire) == (2, _VARINT):
            return _read_varint(data, value, end)[0]
    return 0


def raw_data(data: Buffer, names: Collection[str]) -> dict[str, tuple[int, int]]:
    """Where the raw contents of these initializers begin and end in the bytes of a file, by name."""
    found: dict[str, tuple[int, int]] = {}
    for field, wire, _, start, end in fields(data, 0, len(data)):
        if (field, wire) != (7, LENGTH):
            continue
        for inner, kind, _, first, last in fields(data, start, end):
            if (inner, kind) != (5, LENGTH):
                continue
            parts = {number: (a, b) for number, _, _, a, b in fields(data, first, last) if number in (8, 9)}
            if len(parts) == 2:
                name = data[slice(*parts[8])].decode(errors="replace")
                if name in names:
                    found[name] = parts[9]
    return found


def fields(data: Buffer, position: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Field number, wire type, and where the field, its value and its end are."""
    while position < end:
        field_start = position
        tag, position = _read_varint(data, position, end)
        wire = tag & 7
        if tag < 8:  # as of zeros, which a download that was broken off leaves by the gigabyte
            raise ValueError(f"field number 0 at byte {field_start}")
        if wire == LENGTH:
            size, position = _read_varint(data, position, end)
        elif wire == _VARINT:
            _, after = _read_varint(data, position, end)
            size = after - position
        elif wire in (FIXED64, _FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {field_start}")
        if position + size > end:
            raise ValueError(f"truncated at byte {field_start}")
        yield tag >> 3, wire, field_start, position, position + size
        position += size


def strings(data: bytes, tag: int, position: int) -> tuple[list[str], int]:
    """The texts of one field, from where it would begin, and where they end; `data` goes on behind them.

    tag: number and wire type of a field below 16. Raises UnicodeDecodeError for what is no text.
    """
    found = []
    while data[position] == tag:
        size, position = data[position + 1], position + 2
        if size > 0x7F:
            size, position = _read_varint(data, position - 1, len(data))
        found.append(data[position : position + size].decode())
        position += size
    return found, position


def _read_varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise ValueError("truncated number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("number too long")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
