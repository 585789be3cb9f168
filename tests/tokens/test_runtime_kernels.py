"""Tokens of what a runtime runs: known numbers of small networks, made by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from narformer.errors import ModelError
from narformer.families.registry import build, sample
from narformer.frontends.canonical import canonical
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.tokens import runtime_kernels as tokens


def _graph(nodes: list[onnx.NodeProto], shape: list[int], weights: dict[str, tuple[int, ...]]) -> Graph:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(s, np.float32), name) for name, s in weights.items()],
    )
    return read_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))


def _numbers(features: np.ndarray, row: int) -> dict[str, float]:
    return dict(zip(tokens.COLUMNS, features[row].tolist(), strict=False))


def test_a_rectifier_runs_within_the_convolution_before_it() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    read = tokens.tokenize(_graph(nodes, [1, 3, 8, 8], {"w": (16, 3, 3, 3), "b": (16,)}))
    assert tokens.kind_names(read.features) == ["run", "convolution"]
    row = _numbers(read.features, 1)
    assert row["macs"] == 64 * 16 * 27
    assert (row["read"], row["written"], row["weights"]) == (4 * 192, 4 * 1024, 4 * (432 + 16))
    assert (row["rows"], row["columns"], row["depth"], row["products"]) == (64, 16, 27, 1)
    assert (row["absorbed"], row["within"]) == (1, 8 * 1024)
    assert read.features[1, tokens.FLAG["rectified"]] == 1
    assert read.edges.T.tolist() == [[0, 1]]


def test_weights_of_one_position_stream_and_those_of_many_do_not() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    for length, kind, column in ((1, "fully connected", "streamed"), (7, "linear", "weights")):
        shape = [1, 32] if length == 1 else [1, length, 32]
        read = tokens.tokenize(_graph(nodes, shape, {"w": (32, 10)}))
        assert tokens.kind_names(read.features)[1] == kind
        row = _numbers(read.features, 1)
        assert row[column] == 4 * (320 + 10)  # every product has a bias in the canonical form
        assert (row["rows"], row["columns"], row["depth"]) == (length, 10, 32)


@pytest.mark.parametrize("family", ["resnet", "mobilenetv3", "squeezenet", "shufflenetv2"])
def test_a_batch_is_made_from_tokens_as_from_the_network(family: str) -> None:
    variant = next(iter(sample(family, 1, seed=0)))
    model = build(family, variant.config, variant.version)
    one, three = (tokens.tokenize(read_onnx(model, batch_size=batch)) for batch in (1, 3))
    made = tokens.with_batch(one.features, 3)
    np.testing.assert_allclose(made, three.features, rtol=1e-6)
    np.testing.assert_array_equal(one.edges, three.edges)


def test_every_kernel_is_a_node_of_the_canonical_form_and_nodes_within_it_come_after() -> None:
    variant = next(iter(sample("mobilenetv3", 1, seed=1)))
    graph = canonical(read_onnx(build("mobilenetv3", variant.config, variant.version)))
    place = tokens.kernels(graph)
    assert all(place[place[index]] == place[index] <= index for index in range(len(graph)))
    assert len(set(place)) + 1 == len(tokens.tokenize(graph).features)


def test_images_are_put_in_blocks_once_for_convolutions_and_back_for_what_cannot_read_them() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["c"]),
        helper.make_node("Softmax", ["c"], ["y"], axis=1),
    ]
    read = tokens.tokenize(_graph(nodes, [1, 16, 4, 4], {"w": (16, 16, 1, 1), "v": (32, 16, 1, 1)}))
    assert tokens.kind_names(read.features) == ["run", "pointwise", "pointwise", "softmax"]
    reordered = [_numbers(read.features, row)["reordered"] for row in range(4)]
    assert reordered == [0, 2 * 4 * 256, 0, 2 * 4 * 512]


def test_lanes_idle_where_channels_do_not_fill_them_and_odd_channels_take_no_blocks() -> None:
    for channels, lanes in ((16, 0.0), (8, 1.0), (24, 1 / 3)):
        nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
        read = tokens.tokenize(_graph(nodes, [1, 16, 4, 4], {"w": (channels, 16, 1, 1)}))
        row = _numbers(read.features, 1)
        assert row["idle"] == pytest.approx(row["macs"] * lanes)
        assert row["unblocked"] == 0
    read = tokens.tokenize(
        _graph([helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)], [1, 17, 4, 4], {"w": (16, 17, 3, 3)})
    )
    row = _numbers(read.features, 1)
    assert row["unblocked"] == row["macs"]
    assert row["unfolded"] == 16 * 17 * 9  # a number a place, channel and tap
    assert row["padding"] == pytest.approx(row["macs"] * (1 - (10 / 12) ** 2))


def test_what_no_vector_unit_computes_is_counted_apart() -> None:
    for op, cost in (("Mish", 10), ("Relu", 0), ("Abs", 0), ("Log", 2)):
        read = tokens.tokenize(_graph([helper.make_node(op, ["x"], ["y"])], [1, 8], {}))
        assert _numbers(read.features, 1)["scalar"] == 8 * cost


def test_a_convolution_whose_weights_have_too_few_axes_is_refused_in_words_or_described() -> None:
    weight = Operand(Tensor((3,), "float32"), name="w")
    data = Operand(Tensor((1, 3, 4, 4), "float32"), source=-1)

    def graph(op: str) -> Graph:
        node = Node("n", op, (data, weight), (Tensor((1, 3, 4, 4), "float32"),))
        return Graph((node,), (data.tensor,), ("x",), "g")

    with pytest.raises(ModelError, match="do not fit Conv"):
        tokens.tokenize(graph("Conv"))
    assert len(tokens.tokenize(graph("ConvTranspose")).features) == 2


def test_a_convolution_with_computed_filters_takes_no_blocks() -> None:
    nodes = [
        helper.make_node("Relu", ["w"], ["v"]),
        helper.make_node("Conv", ["x", "v"], ["y"], pads=[1] * 4),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 16, 8, 8]), ("w", [16, 16, 3, 3]))
    ]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, out)
    read = tokens.tokenize(
        read_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
    )
    row = _numbers(read.features, 2)
    assert row["unblocked"] == row["macs"] == 64 * 16 * 144


def _normalised_sum(*readers: onnx.NodeProto) -> Graph:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Add", ["x", "r"], ["s"]),
        helper.make_node("LayerNormalization", ["s", "g"], ["y"]),
        *readers,
    ]
    return _graph(nodes, [1, 10, 16], {"g": (16,)})


def test_a_sum_that_a_normalisation_alone_reads_is_added_number_by_number() -> None:
    alone = tokens.tokenize(_normalised_sum()).features
    assert alone[alone[:, tokens.COLUMN["scalar"]] > 0][:, tokens.COLUMN["scalar"]].tolist() == [4 * 160]
    both = tokens.tokenize(_normalised_sum(helper.make_node("Add", ["y", "s"], ["z"]))).features
    assert not both[:, tokens.COLUMN["scalar"]].any()


def test_a_recurrent_kernel_reads_its_weights_at_every_step() -> None:
    nodes = [helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=8, direction="bidirectional")]
    read = tokens.tokenize(_graph(nodes, [5, 1, 4], {"w": (2, 24, 4), "r": (2, 24, 8)}))
    row = _numbers(read.features, 1)
    held = 4 * 2 * 24 * (4 + 8)
    assert (row["weights"], row["streamed"], row["steps"]) == (held, 5 * held, 10)
    assert row["held"] == held


def test_scores_are_counted_apart_where_attention_was_spelt_out() -> None:
    """Queries of three heads over five positions, of two images, each against five keys."""
    queries, keys = [1 / 2**0.25, "q"], [1 / 2**0.25, "t"]

    def scores(*scaled: list[object]) -> float:
        nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]), helper.make_node("Neg", ["x"], ["q"])]
        read = {"q": "q", "t": "t"}
        for number, name in scaled:
            value = numpy_helper.from_array(np.float32(number))
            nodes.append(helper.make_node("Constant", [], [f"{name}_by"], value=value))
            nodes.append(helper.make_node("Mul", [name, f"{name}_by"], [f"{name}_scaled"]))
            read[str(name)] = f"{name}_scaled"
        nodes += [
            helper.make_node("MatMul", list(read.values()), ["s"]),
            helper.make_node("Softmax", ["s"], ["p"]),
            helper.make_node("MatMul", ["p", "x"], ["y"]),
        ]
        found = tokens.tokenize(_graph(nodes, [2, 3, 5, 4], {})).features
        return float(found[:, tokens.COLUMN["unfused"]].sum())

    assert scores(queries, keys) == 0  # as PyTorch's function for it is exported
    assert scores(queries) == scores() == 2 * 3 * 5 * 5


def test_scores_are_kept_where_a_mask_is_as_large_and_a_cache_is_no_mask() -> None:
    def kept(left_out: tuple[int, ...], *shapes: tuple[int, ...], computed: bool = True) -> tuple[float, float]:
        inputs = [(2, 4, 1, 8), (2, 4, 1, 8), (2, 4, 1, 8), *shapes]
        read = [Operand(Tensor(s, "float32"), source=-1 - k) for k, s in enumerate(inputs)]
        if not computed:
            read[3] = Operand(read[3].tensor, name="m")
        out = (Tensor((2, 4, 1, 8), "float32"), *(Tensor((2, 4, 7, 8), "float32"),) * (2 if left_out else 0))
        node = Node("n", "Attention", tuple(read), out, left_out=left_out)
        row = _numbers(tokens.tokenize(Graph((node,), tuple(o.tensor for o in read), tuple("abcde"), "g")).features, 1)
        return row["within"], row["unfused"]

    assert kept((), (2, 4, 1, 1)) == (8 * 8, 8)
    assert kept((), (1, 4, 1, 1), computed=False) == (0, 0)
    assert kept((), (2, 4, 1, 1), computed=False) == (8 * 8, 8)
    assert kept((3,), (2, 4, 6, 8), (2, 4, 6, 8)) == (0, 0)


def test_what_runs_within_a_kernel_is_told_apart_for_those_who_run_it_node_by_node() -> None:
    nodes = [helper.make_node("Abs", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["y"])]
    row = _numbers(tokens.tokenize(_graph(nodes, [1, 10], {})).features, 1)
    assert row["within"] == row["apart"] == 4 * 20
    data, angles = Operand(Tensor((1, 2, 5, 8), "float32"), source=-1), Operand(Tensor((5, 4), "float32"), name="c")
    node = Node("n", "RotaryEmbedding", (data, angles, angles), (data.tensor,))
    row = _numbers(tokens.tokenize(Graph((node,), (data.tensor,), ("x",), "g")).features, 1)
    assert (row["within"], row["apart"]) == (0, 3 * 4 * 80)


def test_planes_are_counted_of_what_is_interpolated_linearly_but_for_images_with_channels_last() -> None:
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")

    def planes(mode: str, *before: onnx.NodeProto) -> list[float]:
        nodes = [*before, helper.make_node("Resize", ["a" if before else "x", "", "scales"], ["y"], mode=mode)]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 8, 6])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "g", [x], [y], [scales])
        read = read_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
        features = tokens.tokenize(read).features
        assert (
            tokens.with_batch(features, 4)[:, tokens.COLUMN["planes"]] == 4 * features[:, tokens.COLUMN["planes"]]
        ).all()
        return [count for count in features[:, tokens.COLUMN["planes"]].tolist() if count]

    assert planes("linear") == [2 * 3]
    assert planes("nearest") == planes("cubic") == []
    assert planes("linear", helper.make_node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2])) == []
    assert planes("linear", helper.make_node("Neg", ["x"], ["a"])) == [2 * 3]


@pytest.mark.parametrize("positions", [[197], [1, 197]])
def test_a_fully_connected_layer_of_many_rows_is_a_product_of_matrices_whatever_the_rows_are(
    positions: list[int],
) -> None:
    """Rows that are a batch, and rows that are positions of one network, take the same."""
    graph = _graph([helper.make_node("MatMul", ["x", "w"], ["y"])], [*positions, 64], {"w": (64, 32)})
    read = tokens.tokenize(graph)
    assert tokens.kind_names(read.features)[1] == tokens.LINEAR
    row = _numbers(read.features, 1)
    assert (row["rows"], row["weights"], row["streamed"]) == (197, (64 * 32 + 32) * 4, 0)  # with a bias of zeros


def test_a_batch_makes_a_fully_connected_layer_a_product_of_matrices() -> None:
    once = tokens.tokenize(_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], [1, 64], {"w": (64, 32)}))
    assert tokens.kind_names(once.features)[1] == "fully connected"
    assert tokens.kind_names(tokens.with_batch(once.features, 4))[1] == "fully connected"
    many = tokens.with_batch(once.features, 16)
    assert tokens.kind_names(many)[1] == tokens.LINEAR
    np.testing.assert_array_equal(
        many,
        tokens.tokenize(_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], [16, 64], {"w": (64, 32)})).features,
    )


def test_a_number_added_to_itself_is_no_sum_of_two() -> None:
    """The first runs within the kernel before it, whichever the network has first."""
    x, one = Tensor((1, 8)), (Tensor((1, 8)),)

    def add(first: int, second: int) -> Node:
        return Node(f"add{first}{second}", "Add", (Operand(x, first), Operand(x, second)), one)

    relu = Node("relu", "Sigmoid", (Operand(x, ~0),), one)
    for second in (0, ~0):
        assert tokens.kernels(Graph((relu, add(0, second)), (x,))) == [0, int(second < 0)]
