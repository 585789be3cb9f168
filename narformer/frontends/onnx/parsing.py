"""A file, or its bytes, becomes an ONNX message; large weights are left behind on the way."""

from __future__ import annotations

import mmap
import stat
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from narformer.errors import ModelError
from narformer.frontends.onnx.blocks import BLOCKED, tell_channels
from narformer.frontends.onnx.protobuf import Buffer, bytes_in_bodies, strip_weights
from narformer.frontends.other_formats import is_not_onnx, missing

# Files beyond this size are stripped of their weights before they are parsed.
STRIP_BEYOND = 1 << 20
# Bytes of bodies: as messages they take up to twenty times as much memory, and all their nodes are looked at.
MOST_IN_BODIES = 1 << 24


def parsed(source: str | Path | bytes | onnx.ModelProto, label: str) -> onnx.ModelProto:
    """The message in a file, or a model as it is. Raises ModelError for what is no ONNX model."""
    if isinstance(source, onnx.ModelProto):
        if not any(opset.domain == BLOCKED for opset in source.opset_import):
            return source
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        tell_channels(copy, source.SerializeToString())
        return copy
    model = _message(source, label) if isinstance(source, bytes) else _from_file(Path(source), label)
    if not model.HasField("graph"):
        raise ModelError(f"{label}: not an ONNX model: it holds no graph")
    return model


def _message(data: Buffer, label: str) -> onnx.ModelProto:
    """The message in these bytes, without large weights where they are many."""
    if not data:
        raise ModelError(f"{label}: the file is empty")
    if (told := is_not_onnx(label, bytes(data[:64]))) is not None:
        raise ModelError(f"{label}: {told}")
    model = onnx.ModelProto()
    try:
        structure = strip_weights(data) if len(data) > STRIP_BEYOND else data[:]
        if len(structure) > MOST_IN_BODIES and (bodies := bytes_in_bodies(structure)) > MOST_IN_BODIES:
            raise ModelError(
                f"{label}: bodies of If, Loop and Scan take {bodies / 2**20:.0f} MB beside their weights, and no more "
                f"than {MOST_IN_BODIES >> 20} MB are read; fold its conditions first, for example with onnxslim, or "
                "export the network without control flow"
            )
        model.ParseFromString(structure)
        del structure
        tell_channels(model, data)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{label}: not an ONNX model, or cut short; export or copy it again") from error
    return model


def _from_file(path: Path, label: str) -> onnx.ModelProto:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):  # to open a pipe would wait for ever
            raise ModelError(f"{path}: not a regular file")
        with path.open("rb") as file:
            if about.st_size <= STRIP_BEYOND:
                return _message(file.read(), label)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                return _message(mapped, label)
    except FileNotFoundError as error:
        raise ModelError(missing(path)) from error
    except IsADirectoryError as error:
        raise ModelError(f"{path}: a directory; give the path of an .onnx file") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
