"""Of convolutions over blocks of channels: how many filters there are without those of zeros that fill the last block.

ONNX Runtime's domain com.microsoft.nchwc stores filters in blocks of 8 or 16 outputs, which are the innermost axis, and
fills the last one up with zeros. The last block of a convolution's filters is all of the weights that is looked at.
"""

from __future__ import annotations

import numpy as np
import onnx

from narformer.frontends.onnx.protobuf import Buffer, raw_data

BLOCKED = "com.microsoft.nchwc"
_BLOCKS = (16, 8)
_FLOAT = 4  # bytes


def tell_channels(model: onnx.ModelProto, data: Buffer) -> None:
    """Give each such convolution, where its weights are in the file, an attribute `channels`.

    model: the message, with or without contents of weights; it is changed. data: the bytes of its file.
    """
    nodes = [node for node in model.graph.node if node.domain == BLOCKED and node.op_type == "Conv"]
    if not nodes:
        return
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer if tensor.data_type == 1}
    wanted = {node.input[1] for node in nodes if len(node.input) > 1} & set(sizes)
    places = raw_data(data, wanted)
    for node in nodes:
        name = node.input[1] if len(node.input) > 1 else ""
        if name in places and len(sizes[name]) > 2:
            start, end = places[name]
            found = _filters(data, start, end, sizes[name])
            if found:
                node.attribute.append(onnx.helper.make_attribute("channels", found))


def _filters(data: Buffer, start: int, end: int, shape: tuple[int, ...]) -> int:
    """How many of the filters are not of zeros that fill up a block; 0 where that cannot be told."""
    filters, inner = shape[0], int(np.prod(shape[1:], dtype=np.int64))
    if filters < 1 or inner < 1 or end - start != filters * inner * _FLOAT:
        return 0
    for block in _BLOCKS:
        if filters % block:
            continue
        last = np.frombuffer(data[end - block * inner * _FLOAT : end], "<f4").reshape(-1, block)
        nonzero = np.flatnonzero(last.any(axis=0))
        if not len(nonzero):
            return 0
        if nonzero[-1] < block - 1:
            return filters - block + int(nonzero[-1]) + 1
    return filters
