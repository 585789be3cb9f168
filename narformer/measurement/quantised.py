"""A float network in another precision, by the tools that ONNX Runtime's users have: float16, and int8 in two ways."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

import onnx

from narformer.errors import MissingExtraError, ModelError
from narformer.measurement.weights import runnable

PRECISIONS = ("fp16", "int8", "int8-dynamic")


def converted(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """The network with weights, in `fp16`, `int8` (static, QDQ, ranges from random inputs) or `int8-dynamic`.

    Raises ModelError for another precision, MissingExtraError without ONNX Runtime; what its tools raise is not caught.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"no precision {precision!r}; there are {', '.join(PRECISIONS)}")
    network = runnable(model)
    _module("onnxruntime").set_default_logger_severity(4)
    if precision == "fp16":
        tool = _module("onnxruntime.transformers.float16")
        half: onnx.ModelProto = tool.convert_float_to_float16(network.model, keep_io_types=True)
        return half
    tool = _module("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantised.onnx"
        if precision == "int8-dynamic":
            tool.quantize_dynamic(network.model, path)
        else:
            once: Any = iter([dict(network.inputs)])

            class Reader(tool.CalibrationDataReader):  # type: ignore[name-defined, misc]
                def get_next(self) -> Any:
                    return next(once, None)

            tool.quantize_static(network.model, path, Reader(), per_channel=True)
        return onnx.load(path)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(f"{name} is not installed: pip install onnxruntime") from error
