"""Named architectures: sizes known from their papers, shapes that onnx confirms, clear errors."""

from __future__ import annotations

import onnx
import pytest

from narformer.cost import graph_cost
from narformer.errors import DataError
from narformer.families import named
from narformer.families.registry import build, sample
from narformer.frontends.onnx import read_onnx


@pytest.mark.parametrize(
    ("version", "macs", "parameters"),
    [
        # GMACs and million parameters, of the papers: EfficientNet tables 2 and 8, ResNeXt table 3, RegNet, ConvNeXt
        # table 12, ViT, Swin table 1, Mixer table 1. Folded BatchNormalizations, averaged tokens and windows without a
        # bias table differ from them by less than the tolerance.
        ("efficientnet_b0", 0.39, 5.3),
        ("efficientnet_b3", 1.8, 12.2),
        ("resnet101", 7.8, 44.5),
        ("resnext50_32x4d", 4.2, 25.0),
        ("resnext101_32x8d", 16.4, 88.8),
        ("wide_resnet50_2", 11.4, 68.9),
        ("regnet_x_400mf", 0.41, 5.5),
        ("regnet_y_400mf", 0.4, 4.3),
        ("regnet_y_1.6gf", 1.6, 11.2),
        ("convnext_tiny", 4.5, 28.6),
        ("vit_base_patch16", 17.5, 86.6),
        ("vit_tiny_patch16", 1.25, 5.7),
        ("swin_tiny", 4.5, 28.3),
        ("mixer_s16", 3.8, 18.5),
        ("bert_base", 11.2, 109.5),
    ],
)
def test_sizes_are_those_of_the_papers(version: str, macs: float, parameters: float) -> None:
    cost = graph_cost(read_onnx(build("named", named.unscaled(version), version)))
    assert cost.macs / 1e9 == pytest.approx(macs, rel=0.03)
    assert cost.parameters / 1e6 == pytest.approx(parameters, rel=0.01)


@pytest.mark.parametrize("version", named.VERSIONS)
def test_stated_shapes_are_what_onnx_infers(version: str) -> None:
    model = build("named", str(min(named.sizes(version))), version)
    stated = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    del model.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    assert stated == {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred}


def test_input_sizes_are_the_config_or_given() -> None:
    assert read_onnx(build("named", "128", "unet_16")).inputs[0].shape == (1, 3, 128, 128)
    assert read_onnx(build("named", "64", "bert_tiny", batch_size=2)).inputs[0].shape == (2, 64)
    assert read_onnx(build("resnet", "3_" * 7 + "3-" + "64_" * 7 + "64", "18", input_size=96)).inputs[0].shape[2] == 96


def test_unknown_architectures_and_sizes_are_told() -> None:
    with pytest.raises(DataError, match=r"named has versions efficientnet_b0, .*not 'lenet'"):
        build("named", "224", "lenet")
    with pytest.raises(DataError, match="is its input size, not 'big'"):
        build("named", "big", "unet_16")


def test_drawing_more_than_there_are_ends() -> None:
    total = sum(len(named.sizes(version)) for version in named.VERSIONS)
    assert len(list(sample("named", total - 20))) == total - 20
    with pytest.raises(DataError, match="has no 500 different variants"):
        list(sample("named", 500))
