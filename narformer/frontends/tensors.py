"""ONNX tensors: their element types by the names a Graph uses, and the contents of small ones."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper
from onnx import TensorProto

_NAMES = {
    "float32": ("FLOAT",),
    "float64": ("DOUBLE",),
    "float16": ("FLOAT16",),
    "bfloat16": ("BFLOAT16",),
    "float8": ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"),
    "float6": ("FLOAT6E2M3", "FLOAT6E3M2"),
    "float4": ("FLOAT4E2M1",),
    "int64": ("INT64",),
    "int32": ("INT32",),
    "int16": ("INT16",),
    "int8": ("INT8",),
    "int4": ("INT4",),
    "int2": ("INT2",),
    "uint64": ("UINT64",),
    "uint32": ("UINT32",),
    "uint16": ("UINT16",),
    "uint8": ("UINT8",),
    "uint4": ("UINT4",),
    "uint2": ("UINT2",),
    "bool": ("BOOL",),
    "string": ("STRING",),
    "complex64": ("COMPLEX64",),
    "complex128": ("COMPLEX128",),
}
# Older versions of onnx lack the newest types.
DTYPES: Mapping[int, str] = MappingProxyType(
    {
        TensorProto.DataType.Value(spelt): name
        for name, spellings in _NAMES.items()
        for spelt in spellings
        if spelt in TensorProto.DataType.keys()  # noqa: SIM118 - an enum of protobuf, not a mapping
    }
)
ONNX_TYPES: Mapping[str, int] = MappingProxyType({name: number for number, name in reversed(list(DTYPES.items()))})


def contents(tensor: onnx.TensorProto, largest: int) -> npt.NDArray[np.generic] | None:
    """What a tensor of at most `largest` elements holds; None for a larger one, or one without data in the file.

    External data is never opened, wherever it is said to lie.
    """
    elements = 1
    for size in tensor.dims:
        elements *= size
    if not 0 <= elements <= largest or tensor.data_location == TensorProto.EXTERNAL:
        return None
    fields = (tensor.raw_data, tensor.int64_data, tensor.int32_data, tensor.float_data, tensor.double_data)
    if elements and not any(len(field) for field in (*fields, tensor.uint64_data)):
        return None
    try:
        return np.asarray(onnx.numpy_helper.to_array(tensor))
    except Exception:  # whatever a malformed tensor makes onnx or NumPy raise, its contents are unknown
        return None
