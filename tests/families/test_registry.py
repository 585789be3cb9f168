"""Families: every measured network rebuilt to the unit, new variants drawn as the old ones were."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from narformer.cells.cell import parse_nasbench201
from narformer.cost import graph_cost
from narformer.errors import DataError
from narformer.families.builder import same_padding
from narformer.families.config import grid
from narformer.families.registry import FAMILIES, Variant, build, sample
from narformer.families.squeezenet import squeezed
from narformer.frontends.onnx import read_onnx

PER_FAMILY = 12
CELL = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"


def test_measured_networks_have_the_macs_of_the_table(data_root: Path) -> None:
    """A sample of each family; `narformer families check` does all 22,372."""
    taken: dict[str, int] = {}
    with (data_root / "nnmeter" / "networks.csv").open() as file:
        for number, row in enumerate(csv.DictReader(file)):
            if number % 97 or taken.get(row["family"], 0) >= PER_FAMILY:
                continue
            taken[row["family"]] = taken.get(row["family"], 0) + 1
            macs = graph_cost(read_onnx(build(row["family"], row["config"], row["version"]))).macs
            assert macs == int(row["macs"]), row["id"]
    assert len(taken) == 12
    assert min(taken.values()) >= 8


def with_random_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A runnable copy of a weightless model."""
    filled = onnx.ModelProto()
    filled.CopyFrom(model)
    rng = np.random.default_rng(0)
    for tensor in filled.graph.initializer:
        if not tensor.raw_data and not tensor.float_data:
            values = 0.1 * rng.random(tuple(tensor.dims), dtype=np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    names = {t.name for t in filled.graph.initializer}
    inputs = [i for i in filled.graph.input if i.name not in names]
    del filled.graph.input[:]
    filled.graph.input.extend(inputs)
    return filled


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_networks_run_and_their_stated_shapes_are_true(family: str) -> None:
    """ONNX Runtime runs one drawn network of each family; every stated shape is what onnx infers from weights."""
    variant = next(iter(sample(family, 1, seed=5)))
    model = with_random_weights(variant.build())
    onnx.checker.check_model(model, full_check=True)
    stated = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    del model.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    assert stated == {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    (output,) = session.run(None, {"input": np.ones(shape, dtype=np.float32)})
    assert output.shape == tuple(d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim)


def test_weightless_files_list_weights_as_inputs_without_data() -> None:
    model = build("alexnet", FAMILIES["alexnet"].unscaled())
    weights = [t for t in model.graph.initializer if len(t.dims) > 1]
    assert weights
    assert all(not t.raw_data and not t.float_data for t in weights)
    assert {t.name for t in weights} <= {i.name for i in model.graph.input}


def test_same_padding_puts_the_smaller_half_first() -> None:
    assert same_padding(224, 7, 2) == (2, 3)
    assert same_padding(224, 3, 2) == (0, 1)
    assert same_padding(7, 3, 1) == (1, 1)
    assert same_padding(5, 1, 2) == (0, 0)


def test_grids_keep_their_floating_error() -> None:
    values = grid(0.2, 1.8)
    assert int(64 * values[8]) == 63
    assert values[8] == 0.9999999999999999
    assert len(values) == 16  # the repeated sum passes 1.8 by its floating error


def test_the_squeeze_of_a_fire_module_follows_its_multiplier() -> None:
    assert squeezed(64, 64, "") == 16
    assert squeezed(70, 64, "") == 17  # m = 1.0999999999999999
    with pytest.raises(DataError, match="65 is not 64 times a multiplier"):
        squeezed(65, 64, "…")


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_drawn_variants_differ_and_repeat_with_their_seed(family: str) -> None:
    drawn = list(sample(family, 8, seed=1))
    assert len(set(drawn)) == 8
    assert drawn == list(sample(family, 8, seed=1))
    assert drawn != list(sample(family, 8, seed=2))
    for variant in drawn[-2:]:
        assert len(read_onnx(variant.build()).nodes) > 5


def test_the_first_variants_are_the_unscaled_networks() -> None:
    first = list(sample("vgg", 4))
    assert [v.version for v in first] == ["11", "13", "16", "19"]
    assert graph_cost(read_onnx(first[0].build())).macs == 7_508_426_752


def test_cells_become_networks() -> None:
    graph = read_onnx(Variant("nasbench201", "", CELL).build())
    assert parse_nasbench201(CELL).operations[4:7] == ("skip_connect", "none", "nor_conv_1x1")
    assert graph.inputs[0].shape == (1, 3, 32, 32)
    # 15 cells with one 3x3 and one 1x1 convolution, stem, two reductions of three, and the classifier.
    assert sum(n.op == "Conv" for n in graph.nodes) == 15 * 2 + 1 + 6


def test_a_cell_that_passes_nothing_on_is_still_a_network() -> None:
    nothing = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    assert read_onnx(build("nasbench201", nothing)).nodes[-1].output_shape == (1, 10)


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        ("alexnet", "1_2", "expected 2 lists"),
        ("alexnet", "1_x_3_3_3-1_2_3_4_5_6_7", "numbers joined by"),
        ("alexnet", "1_3_3_3_3-1_2_3_4_5_6", "list 2 has 6 numbers, expected 7"),
        ("alexnet", "1_3_3_3_0-1_2_3_4_5_6_7", "at least 1"),
        ("nasbench201", "|none~0|", "expected 3 nodes"),
        ("nasbench201", CELL.replace("none~1", "magic~1"), "unknown operation 'magic'"),
        ("nasbench201", CELL.replace("none~1", "none~0"), "should come from node 1"),
        ("nasbench201", "rubbish", "needs 1 edges"),
    ],
)
def test_malformed_configs_are_named(family: str, config: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build(family, config)


def test_unknown_families_and_versions_are_told() -> None:
    with pytest.raises(DataError, match="unknown family 'lenet'; known are alexnet"):
        build("lenet", "1")
    with pytest.raises(DataError, match="resnet has versions 18, 34, 50, not '101'"):
        list(sample("resnet", 1, version="101"))
