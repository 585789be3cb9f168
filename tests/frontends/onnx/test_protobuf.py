"""Weights are left out of the file before it is parsed, and large ones never reach memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from narformer.frontends.onnx.protobuf import KEPT_BYTES, strip_weights


def _model(size: int) -> onnx.ModelProto:
    """Weights as raw data, as float data, in a Constant node, and inside a branch."""
    large = np.arange(size, dtype=np.float32)
    floats = helper.make_tensor("floats", TensorProto.FLOAT, [size], large.tolist())
    inner = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(large))
    branch = helper.make_graph([inner], "b", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [size])])
    nodes = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(large)),
        helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch),
    ]
    tensors = [numpy_helper.from_array(large, "raw"), floats, numpy_helper.from_array(np.array([1, 2]), "shape")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.BOOL, [])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [size])]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, tensors))


def test_large_tensors_lose_their_contents_and_nothing_else() -> None:
    whole = _model(5000)
    stripped = onnx.load_from_string(strip_weights(whole.SerializeToString()))
    assert len(stripped.SerializeToString()) < 2000
    raw, floats, shape = stripped.graph.initializer
    assert (list(raw.dims), raw.raw_data, list(floats.float_data)) == ([5000], b"", [])
    assert numpy_helper.to_array(shape).tolist() == [1, 2]
    assert [n.op_type for n in stripped.graph.node] == ["Constant", "If"]
    assert stripped.graph.node[1].attribute[0].g.node[0].attribute[0].t.raw_data == b""
    assert stripped.opset_import == whole.opset_import


def test_small_models_stay_as_they_are() -> None:
    whole = _model(3)
    assert onnx.load_from_string(strip_weights(whole.SerializeToString())) == whole


@given(st.binary(max_size=3 * KEPT_BYTES))
def test_other_bytes_are_refused_or_kept(content: bytes) -> None:
    try:
        assert len(strip_weights(content)) <= len(content)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either outcome is right, any other exception is a bug


def test_truncation_is_told() -> None:
    content = _model(5000).SerializeToString()
    with pytest.raises(ValueError, match="truncated"):
        strip_weights(content[:-50])


def test_weights_of_300_megabytes_never_reach_memory(tmp_path: Path) -> None:
    rows = 300_000_000 // 4 // 1000
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1000])],
        [TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[rows, 1000], raw_data=b"\0" * (rows * 4000))],
    )
    path = tmp_path / "large.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString())
    code = (
        "import resource, sys; from narformer.frontends.onnx import read_onnx\n"
        "import onnx.shape_inference\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "graph = read_onnx(sys.argv[1])\n"
        f"assert graph.nodes[0].operands[1].tensor.shape == ({rows}, 1000)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60_000, "kilobytes beyond what the imports take"
