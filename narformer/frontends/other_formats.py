"""What a file is that is no ONNX file, told by its first bytes or its name, and how its network becomes one."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import PurePath

_EXPORT = 'export it from the program that made it, in PyTorch with torch.onnx.export(module, (example,), "model.onnx")'
_KERAS = 'a Keras model; with Keras 3: keras.models.load_model(FILE).export("model.onnx", format="onnx")'
_WEIGHTS = "holds weights without a network; load them into the module that they are of, and "
_HUGGING_FACE = "; of a Hugging Face model: optimum-cli export onnx --model DIRECTORY OUT"

# What a file with this ending is, and what to do. FILE stands for it.
_BY_NAME: Mapping[str, str] = {
    ".tflite": "a TensorFlow Lite model; pip install tf2onnx, then: python -m tf2onnx.convert --tflite FILE "
    "--output model.onnx",
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".keras": _KERAS,
    ".pb": "a TensorFlow graph; pip install tf2onnx, then: python -m tf2onnx.convert --saved-model DIRECTORY "
    "--output model.onnx (a frozen one with --graphdef FILE --inputs ... --outputs ...)",
    ".pt2": 'a program of torch.export; in Python: torch.onnx.export(torch.export.load(FILE), (), "model.onnx", '
    "dynamo=True)",
    ".pt": f"a PyTorch checkpoint; {_EXPORT}",
    ".pth": f"a PyTorch checkpoint; {_EXPORT}",
    ".ckpt": f"a checkpoint; {_EXPORT}",
    ".safetensors": f"{_WEIGHTS}{_EXPORT}{_HUGGING_FACE}",
    ".gguf": f"{_WEIGHTS}{_EXPORT}{_HUGGING_FACE}",
    ".mlmodel": f"a Core ML model, which nothing turns back; {_EXPORT}",
    ".xml": "XML, perhaps of OpenVINO, which nothing turns back; give the model that it was converted from",
    ".ort": "in ONNX Runtime's own format; give the .onnx file that it was made from",
    ".engine": "built for TensorRT, which nothing turns back; give the .onnx file that it was built from",
    ".plan": "built for TensorRT, which nothing turns back; give the .onnx file that it was built from",
    ".pkl": f"a pickle; {_EXPORT}",
    ".joblib": "a pickle; of scikit-learn's models: pip install skl2onnx, then skl2onnx.to_onnx(model, example)",
}
_ZIPPED = (".keras", ".pt2", ".pt", ".pth", ".ckpt")  # of these endings, where the bytes are those of a zip archive


def is_not_onnx(name: str, start: bytes) -> str | None:
    """What a file is, and how to convert it, from its name and first bytes; None where they tell nothing.

    >>> is_not_onnx("model.onnx.gz", b"\\x1f\\x8b\\x08")
    'compressed by gzip; unpack it first: gunzip model.onnx.gz'
    """
    ending = PurePath(name).suffix.lower()
    kind: str | None = None
    if start[4:8] == b"TFL3":
        kind = ".tflite"
    elif start[4:8] == b"ORTM":
        kind = ".ort"
    elif start[:4] == b"GGUF":
        kind = ".gguf"
    elif start[:8] == b"\x89HDF\r\n\x1a\n":
        kind = ".h5"
    elif re.match(rb"[\s\S]{6}\0\0\{", start):
        kind = ".safetensors"
    elif start.lstrip()[:5] == b"<?xml":
        kind = ".xml"
    elif start[:4] == b"PK\x03\x04":
        if ending not in _ZIPPED:
            return "a zip archive, not ONNX; unpack it, or, of a PyTorch checkpoint, " + _EXPORT
        kind = ending
    elif start[:2] == b"\x1f\x8b":
        return "compressed by gzip; unpack it first: gunzip FILE".replace("FILE", name)
    elif start[:9].lower() == b"<!doctype" or start[:5].lower() == b"<html":
        return "a web page, not ONNX; download the file itself"
    elif start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file itself; fetch it with git lfs pull"
    elif ending in _BY_NAME:
        kind = ending
    return None if kind is None else _BY_NAME[kind].replace("FILE", name)


def missing(path: PurePath) -> str:
    """That there is no such file, and why.

    >>> missing(PurePath("https://example.org/model.onnx"))
    'https://example.org/model.onnx: an address, not a file; download it first, for example with curl -LO'
    """
    # A Path has one slash where an address has two.
    named = re.sub(r"^([a-zA-Z][a-zA-Z0-9+.-]+:/)(?=[^/])", r"\1/", str(path))
    return f"{named}: {why_missing(str(path))}"


def why_missing(path: str) -> str:
    """Why there is no such file: what a path that names none may have been meant as.

    >>> why_missing("model.onnx"), why_missing("-")
    ('no such file', 'standard input is not read; give the path of a file')
    """
    if path == "-":
        return "standard input is not read; give the path of a file"
    if re.match(r"[a-z][a-z0-9+.-]+:/", path, re.IGNORECASE):
        return "an address, not a file; download it first, for example with curl -LO"
    near = _near(PurePath(path))
    if near:
        return f"no such file; did you mean {' or '.join(near)}?"
    if "/" not in path and "\\" not in path and not PurePath(path).suffix:
        return "no such file; a target is given with --device"
    if path.startswith("~"):
        return "no such file; ~ stands for a home directory in a shell only, without quotes"
    return "no such file"


def _near(path: PurePath) -> list[str]:
    """ONNX files of the same directory with nearly this name: another case, no ending, a letter more or less."""
    try:
        there = [name for name in os.listdir(path.parent) if name.lower().endswith(".onnx")]
    except OSError:
        return []
    lower = {name.lower(): name for name in there}
    asked = path.name.lower()
    close = difflib.get_close_matches(asked, lower, n=2, cutoff=0.85)
    found = [f"{asked}.onnx"] if f"{asked}.onnx" in lower else close
    return [str(path.parent / lower[name]) for name in found]
