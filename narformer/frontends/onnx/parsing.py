"""A file, or its bytes, becomes an ONNX message; large weights are left behind on the way."""

from __future__ import annotations

import mmap
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from narformer.errors import ModelError
from narformer.frontends.onnx.protobuf import strip_weights

# Files beyond this size are stripped of their weights before they are parsed.
STRIP_BEYOND = 1 << 20


def parsed(source: str | Path | bytes | onnx.ModelProto, label: str) -> onnx.ModelProto:
    """The message in a file, or a model as it is. Raises ModelError for what is no ONNX model."""
    if isinstance(source, onnx.ModelProto):
        return source
    data = source if isinstance(source, bytes) else _read_file(Path(source))
    if not data:
        raise ModelError(f"{label}: the file is empty")
    if data[:4] == b"PK\x03\x04":
        raise ModelError(
            f"{label}: a zip archive (perhaps a PyTorch checkpoint), not ONNX; export it with torch.onnx.export"
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(strip_weights(data) if len(data) > STRIP_BEYOND else data)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{label}: not an ONNX model, or cut short; export or copy it again") from error
    if not model.HasField("graph"):
        raise ModelError(f"{label}: not an ONNX model: it holds no graph")
    return model


def _read_file(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ModelError(f"{path}: not a regular file")
        with path.open("rb") as file:
            if path.stat().st_size <= STRIP_BEYOND:
                return file.read()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                if mapped[:4] == b"PK\x03\x04":
                    return mapped[:4]
                return strip_weights(mapped)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise ModelError(f"{path}: a directory; give the path of an .onnx file") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{path}: not an ONNX model, or cut short ({error}); export or copy it again") from error
