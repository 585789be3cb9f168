"""The networks and tables that the pages of the manual take for granted, as small as they can be."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

Shape = list[int | str]


def write_files(directory: Path) -> None:
    """model.onnx and its like are the examples; encoder, decoder and detector have open sizes."""
    examples = directory / "examples"
    for name in ("model.onnx", "a.onnx", "mine.onnx", "resnet18.onnx"):
        shutil.copy(examples / "resnet18.onnx", directory / name)
    shutil.copy(examples / "mobilenet_v2.onnx", directory / "b.onnx")
    (directory / "models").mkdir()
    for name in ("resnet18.onnx", "mobilenet_v2.onnx"):
        shutil.copy(examples / name, directory / "models" / name)
    onnx.save(layer({"tokens": ["batch", "sequence", 16]}), directory / "encoder.onnx")
    cache: dict[str, Shape] = {"tokens": ["batch", "sequence", 16], "past": ["batch", "past_sequence", 16]}
    onnx.save(layer(cache), directory / "decoder.onnx")
    onnx.save(layer({"images": ["batch", 3, "height", 16]}), directory / "detector.onnx")
    (directory / "cells.csv").write_text("upper_triangle,operations\n101,input;conv3x3-bn-relu;output\n")
    onnx.save(layer({"tokens": [1, 128, 16]}), directory / "models" / "small.onnx")
    onnx.save(layer({"tokens": [1, 128, 16]}), directory / "exported.onnx")
    rows = ("resnet18.onnx,31", "mobilenet_v2.onnx,9", "small.onnx,0.1")
    (directory / "times.csv").write_text("\n".join(["model,latency_ms", *(f"models/{row}" for row in rows)]) + "\n")


def layer(inputs: dict[str, Shape]) -> onnx.ModelProto:
    """A fully connected layer over the last axis of every input."""
    weight = numpy_helper.from_array(np.zeros((16, 16), np.float32), "weight")
    nodes = [helper.make_node("MatMul", [name, "weight"], [f"{name}_out"], f"/{name}/proj/MatMul") for name in inputs]
    values = [helper.make_tensor_value_info(name, 1, shape) for name, shape in inputs.items()]
    ends = [onnx.ValueInfoProto(name=f"{name}_out") for name in inputs]
    for end in ends:
        end.type.tensor_type.elem_type = 1
    graph = helper.make_graph(nodes, "g", values, ends, [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
