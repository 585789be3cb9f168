"""The ONNX front end: what it reads off a model, and one clear error for each way a file can be bad."""

from __future__ import annotations

import contextlib
import itertools
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from narformer.errors import ModelError, ModelWarning, NarformerError, ShapeError
from narformer.frontends.onnx import read_onnx

FLOAT = TensorProto.FLOAT


def value(name: str, *shape: int | str | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, list(shape))


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 13,
    **more: object,
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors, **more)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def conv_net(batch: int | str = 1, size: int | str = 8) -> onnx.ModelProto:
    """Conv with bias, then relu, global pool, flatten, Gemm: weights included."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "b": np.zeros(4, dtype=np.float32),
        "f": rng.normal(size=(4, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["l"], name="flatten"),
        helper.make_node("Gemm", ["l", "f"], ["y"], name="fc"),
    ]
    return model(nodes, [value("x", batch, 3, size, size)], [value("y", batch, 5)], weights)


def test_reads_operators_shapes_attributes_and_weights() -> None:
    graph = read_onnx(conv_net())
    assert [n.op for n in graph.nodes] == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
    assert [n.output_shape for n in graph.nodes] == [(1, 4, 8, 8), (1, 4, 8, 8), (1, 4, 1, 1), (1, 4), (1, 5)]
    conv = graph.nodes[0]
    assert conv.attributes["pads"] == (1, 1, 1, 1)
    assert [o.tensor.shape for o in conv.operands] == [(1, 3, 8, 8), (4, 3, 3, 3), (4,)]
    assert [o.source for o in conv.operands] == [~0, None, None]
    assert graph.inputs[0].shape == (1, 3, 8, 8)
    assert graph.edges.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert graph.input_edges.tolist() == [[0, 0]]


@pytest.mark.parametrize("source", ["path", "bytes", "proto"])
def test_every_kind_of_source_gives_the_same_graph(source: str, tmp_path: Path) -> None:
    net = conv_net()
    path = tmp_path / "net.onnx"
    path.write_bytes(net.SerializeToString())
    given_as = {"path": path, "bytes": path.read_bytes(), "proto": net}[source]
    assert read_onnx(given_as).hash == read_onnx(net).hash


def _weightless(net: onnx.ModelProto, form: str) -> onnx.ModelProto:
    for tensor in list(net.graph.initializer):
        net.graph.input.append(value(tensor.name, *tensor.dims))
        tensor.ClearField("raw_data")
        if form == "inputs alone":
            net.graph.initializer.remove(tensor)
    return net


@pytest.mark.parametrize("form", ["initializers without data", "inputs alone"])
def test_weightless_forms_equal_the_ordinary_one(form: str) -> None:
    assert read_onnx(_weightless(conv_net(), form)).hash == read_onnx(conv_net()).hash


def _names(net: onnx.ModelProto, **sizes: object) -> tuple[str, ...]:
    return read_onnx(net, **sizes).input_names  # type: ignore[arg-type]


def test_two_tensors_that_meet_are_both_inputs() -> None:
    """An adjacency matrix times features, a search window correlated with a template: nothing is stored, no weight."""
    for op, first, second, out in (
        ("MatMul", (8, 8), (8, 4), (8, 4)),
        ("Gemm", (8, 8), (8, 4), (8, 4)),
        ("Conv", (1, 6, 9, 9), (1, 6, 3, 3), (1, 1, 7, 7)),
    ):
        node = helper.make_node(op, ["a", "x"], ["y"])
        assert _names(model([node], [value("a", *first), value("x", *second)], [value("y", *out)])) == ("a", "x")


def test_a_file_that_stores_weights_declares_no_others() -> None:
    nodes = [helper.make_node("MatMul", ["a", "x"], ["h"]), helper.make_node("Gemm", ["h", "w", "b"], ["y"])]
    weights = {"w": np.zeros((4, 2), np.float32), "b": np.zeros(2, np.float32)}
    net = model(nodes, [value("a", 8, 8), value("x", 8, 4)], [value("y", 8, 2)], weights)
    assert _names(net) == ("a", "x")


def test_an_input_that_the_caller_gives_a_shape_is_an_input() -> None:
    net = _weightless(conv_net(), "inputs alone")
    assert _names(net) == ("x",)
    assert _names(net, input_shapes={"f": (4, 5)}) == ("x", "f")


def test_where_names_tell_weights_other_names_are_inputs() -> None:
    nodes = [helper.make_node("MatMul", ["a", "x"], ["h"]), helper.make_node("MatMul", ["h", "fc.weight"], ["y"])]
    inputs = [value("a", 8, 8), value("x", 8, 4), value("fc.weight", 4, 2)]
    net = model(nodes, inputs, [value("y", 8, 2)])
    assert _names(net) == ("a", "x")
    for name in ("p_fc_weight", "rnn.weight_ih_l0", "layer/kernel:0", "attention.in_proj_weight"):
        nodes[1].input[1] = inputs[2].name = name
        assert _names(model(nodes, inputs, [value("y", 8, 2)])) == ("a", "x"), name
    nodes[1].input[1] = inputs[2].name = "weight"  # an argument of a function may be called so
    assert len(_names(model(nodes, inputs, [value("y", 8, 2)]))) == 3


def test_external_data_is_never_opened(tmp_path: Path) -> None:
    """Weights that lie elsewhere, or nowhere, or behind a path that leads out of the model's folder: all the same."""
    net = conv_net()
    onnx.save(net, str(tmp_path / "with.onnx"), save_as_external_data=True, size_threshold=0, location="weights.bin")
    (tmp_path / "weights.bin").unlink()
    assert read_onnx(tmp_path / "with.onnx").hash == read_onnx(net).hash
    text = (tmp_path / "with.onnx").read_bytes().replace(b"weights.bin", b"../../../..")
    assert read_onnx(text).hash == read_onnx(net).hash


def test_constants_are_no_nodes_and_dead_nodes_are_dropped() -> None:
    nodes = [
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2))),
        helper.make_node("Mul", ["x", "two"], ["y"], name="scale"),
        helper.make_node("Relu", ["x"], ["unused"], name="dead"),
    ]
    graph = read_onnx(model(nodes, [value("x", 1, 3)], [value("y", 1, 3)]))
    assert [n.name for n in graph.nodes] == ["scale"]
    assert graph.nodes[0].operands[1].is_weight


def test_nodes_are_put_in_topological_order() -> None:
    net = conv_net()
    shuffled = [net.graph.node[i] for i in (4, 1, 3, 0, 2)]
    reordered = onnx.ModelProto()
    reordered.CopyFrom(net)
    del reordered.graph.node[:]
    reordered.graph.node.extend(shuffled)
    assert [n.op for n in read_onnx(reordered).nodes] == [n.op for n in read_onnx(net).nodes]


def test_batch_size_replaces_the_first_dimension_everywhere() -> None:
    graph = read_onnx(conv_net(), batch_size=6)
    assert graph.batch_size == 6
    assert [n.output_shape[0] for n in graph.nodes] == [6] * 5


def test_batch_size_reaches_into_reshapes() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "to"], ["r"], name="reshape"),
        helper.make_node("Relu", ["r"], ["y"], name="relu"),
    ]
    net = model(nodes, [value("x", 1, 4, 2)], [value("y", 1, 2, 4)], {"to": np.array([1, 2, 4])})
    assert read_onnx(net, batch_size=3).nodes[1].output_shape == (3, 2, 4)
    assert numpy_helper.to_array(net.graph.initializer[0]).tolist() == [1, 2, 4], "the caller's model is unchanged"


def test_sizes_fixed_inside_are_an_error_and_no_wrong_number() -> None:
    nodes = [helper.make_node("Reshape", ["x", "to"], ["y"], name="reshape")]
    net = model(nodes, [value("x", 2, 8)], [value("y", 4, 4)], {"to": np.array([4, 4])})
    with pytest.raises(ShapeError, match="'reshape' reshapes 2x6 to 4x4"):
        read_onnx(net, input_shapes={"x": (2, 6)})


def test_dynamic_batch_is_one_unless_told() -> None:
    assert read_onnx(conv_net(batch="N")).batch_size == 1
    assert read_onnx(conv_net(batch="N"), batch_size=4).nodes[-1].output_shape == (4, 5)


def test_dynamic_height_and_width_ask_for_an_input_shape() -> None:
    with pytest.raises(ShapeError, match=r"'x' has dynamic sizes \[N, 3, H, H\]; .*dims={'H': 224}"):
        read_onnx(conv_net("N", "H"))
    graph = read_onnx(conv_net("N", "H"), input_shapes={"x": (2, 3, 10, 10)})
    assert graph.nodes[0].output_shape == (2, 4, 10, 10)
    assert read_onnx(conv_net("N", "H"), input_shapes={"": (2, 3, 10, 10)}).hash == graph.hash


def test_wrong_input_shapes_are_told() -> None:
    with pytest.raises(ShapeError, match="no input 'z'; the inputs are x"):
        read_onnx(conv_net(), input_shapes={"z": (1,)})
    with pytest.raises(ShapeError, match="'x' has 4 dimensions"):
        read_onnx(conv_net(), input_shapes={"x": (1, 3)})


def _enlarged(net: onnx.ModelProto) -> onnx.ModelProto:
    """All shapes stated, and then the input edited, as an editor of ONNX files does it."""
    net = onnx.shape_inference.infer_shapes(net)
    for dim in net.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value *= 2
    return net


def test_where_stated_shapes_contradict_the_nodes_the_nodes_are_right(tmp_path: Path) -> None:
    path = tmp_path / "stale.onnx"
    onnx.save(_enlarged(conv_net()), path)
    with pytest.warns(
        ModelWarning, match=r"stale.onnx: the file states .* \[1, 4, 8, 8\] of 'c', .* \[1, 4, 16, 16\]"
    ) as told:
        graph = read_onnx(path)
    assert len(told) == 1
    assert graph.hash == read_onnx(conv_net(size=16)).hash
    assert read_onnx(onnx.shape_inference.infer_shapes(conv_net())).hash == read_onnx(conv_net()).hash


def test_what_is_wrong_in_a_file_is_not_believed_behind_it() -> None:
    """A matrix that no longer fits is an error, as in a runtime, whatever the file states of its product."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["l"]),
        helper.make_node("Gemm", ["l", "f"], ["y"], name="fc"),
    ]
    net = model(nodes, [value("x", 1, 3, 8, 8)], [value("y", 1, 5)], {"f": np.zeros((48, 5), np.float32)})
    with pytest.raises(ShapeError, match=r"'fc'.*do not fit together"):
        read_onnx(_enlarged(net))


def test_stated_sizes_that_depend_on_data_are_believed() -> None:
    """A rule gives the largest size, the file the one that its maker saw; what reads it goes by that too."""
    nodes = [helper.make_node("NonZero", ["x"], ["n"]), helper.make_node("Transpose", ["n"], ["y"])]
    net = model(nodes, [value("x", 2, 6)], [helper.make_tensor_value_info("y", TensorProto.INT64, [5, 2])])
    assert read_onnx(net).nodes[-1].output_shape == (5, 2)
    net.graph.output[0].type.tensor_type.ClearField("shape")
    assert read_onnx(net).nodes[-1].output_shape == (12, 2)


def test_several_outputs_are_told_apart() -> None:
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b"], name="split", axis=1),
        helper.make_node("Relu", ["b"], ["y"], name="relu"),
    ]
    graph = read_onnx(model(nodes, [value("x", 1, 4)], [value("y", 1, 2)], opset=11))
    assert [t.shape for t in graph.nodes[0].outputs] == [(1, 2), (1, 2)]
    assert graph.nodes[1].operands[0].output == 1


def test_a_body_reads_values_of_the_graph_around_it() -> None:
    def branch(name: str, op: str) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node(op, ["h"], [f"{name}_out"])], name, [], [value(f"{name}_out", 1, 3)])

    nodes = [
        helper.make_node("Relu", ["x"], ["h"], name="outer"),
        helper.make_node(
            "If", ["c"], ["y"], name="if", then_branch=branch("t", "Relu"), else_branch=branch("e", "Neg")
        ),
    ]
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    graph = read_onnx(model(nodes, [value("x", 1, 3), condition], [value("y", 1, 3)]))
    assert [n.name for n in graph.nodes] == ["outer", "if/t_out", "if"]
    assert graph.edges.tolist() == [[0, 1], [1, 2]]


def test_local_functions_are_looked_into() -> None:
    body = [helper.make_node("Relu", ["a"], ["t"]), helper.make_node("Neg", ["t"], ["b"])]
    function = helper.make_function("mine", "F", ["a"], ["b"], body, [helper.make_opsetid("", 18)])
    nodes = [helper.make_node("F", ["x"], ["y"], domain="mine")]
    graph = helper.make_graph(nodes, "net", [value("x", 1, 3)], [value("y", 1, 3)])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    assert [n.op for n in read_onnx(helper.make_model(graph, functions=[function], opset_imports=opsets)).nodes] == [
        "Relu",
        "Neg",
    ]


def _cycle() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="second"),
    ]
    return model(nodes, [value("x", 1, 3)], [value("b", 1, 3)])


def _undefined() -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["ghost"], ["y"], name="relu")], [value("x", 1, 3)], [value("y", 1, 3)])


def _unknown_domain() -> onnx.ModelProto:
    nodes = [helper.make_node("Magic", ["x"], ["y"], name="magic", domain="com.example")]
    net = model(nodes, [value("x", 1, 3)], [])
    net.graph.output.add().name = "y"
    net.opset_import.add(domain="com.example", version=1)
    return net


def _undeclared_domain() -> onnx.ModelProto:
    net = _unknown_domain()
    del net.opset_import[1]
    return net


def _empty_graph() -> onnx.ModelProto:
    return model([], [value("x", 1, 3)], [value("x", 1, 3)])


def _twice() -> onnx.ModelProto:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])]
    return model(nodes, [value("x", 1, 3)], [value("y", 1, 3)])


def _same_inputs() -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["x"], ["y"])], [value("x", 1, 3)] * 2, [value("y", 1, 3)])


def _negative() -> onnx.ModelProto:
    net = conv_net()
    net.graph.initializer[0].dims[0] = -4
    return net


def _overflow() -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["x"], ["y"])], [value("x", 2**31, 2**31, 2**31)], [value("y", 1)])


def _no_output() -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["x"], ["y"])], [value("x", 1, 3)], [value("x", 1, 3)])


BAD_MODELS: dict[Callable[[], onnx.ModelProto], str] = {
    _cycle: "cycle through node",
    _undefined: "'relu' reads 'ghost', which nothing computes",
    _unknown_domain: r"'magic' \(com.example.Magic\) cannot be inferred",
    _undeclared_domain: "imports no opset for domain com.example",
    _empty_graph: "no nodes",
    _twice: "two nodes compute 'y'",
    _same_inputs: "two inputs have the same name",
    _negative: "negative size",
    _overflow: "cannot have the shape",
    _no_output: "no output of the graph is computed",
}


@pytest.mark.parametrize("build", BAD_MODELS, ids=lambda f: f.__name__.strip("_"))
def test_bad_models_are_told_in_one_line(build: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(build().SerializeToString())
    with pytest.raises(ModelError, match=BAD_MODELS[build]) as caught:
        read_onnx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_models_are_told_in_one_line(tmp_path: Path) -> None:
    good = conv_net().SerializeToString()
    contents = {"empty": b"", "truncated": good[: len(good) // 2], "random": bytes(range(256)) * 20, "text": b"hello\n"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("data.pkl", b"x" * 100)
    large = tmp_path / "large"
    large.write_bytes(b"\xff" * (2 << 20))
    expected = {
        "empty": "empty",
        "truncated": "cut short",
        "random": "not an ONNX model",
        "text": "not an ONNX model",
        "zip": r"zip archive.*torch\.onnx\.export",
        "large": "not an ONNX model",
        "absent": "no such file",
        "/dev/zero": "not a regular file",
        "": "a directory",
    }
    for name, message in expected.items():
        with pytest.raises(ModelError, match=message) as caught:
            read_onnx(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_ten_thousand_nodes() -> None:
    names = ["x", *(f"h{i}" for i in range(10_000))]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]
    graph = read_onnx(model(nodes, [value("x", 1, 3)], [value(names[-1], 1, 3)]))
    assert len(graph) == 10_000
    assert graph.nodes[-1].output_shape == (1, 3)
    # Last first: the order has to be found without recursion.
    assert len(read_onnx(model(nodes[::-1], [value("x", 1, 3)], [value(names[-1], 1, 3)]))) == 10_000


@pytest.mark.filterwarnings("ignore::narformer.errors.ModelWarning")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_mutated_files_give_a_graph_or_a_clear_error(data: st.DataObject) -> None:
    content = bytearray(conv_net().SerializeToString())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[place] = data.draw(st.integers(0, 255))
        else:
            del content[place : place + data.draw(st.integers(1, 20))]
    # Any other exception is a bug; a graph is fine, since many mutations are harmless.
    with contextlib.suppress(NarformerError):
        read_onnx(bytes(content))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_give_a_clear_error(content: bytes) -> None:
    with pytest.raises(NarformerError):
        read_onnx(content)
