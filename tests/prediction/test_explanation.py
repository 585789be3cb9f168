"""Where the milliseconds go: the parts are the whole, however they are grouped."""

from __future__ import annotations

from pathlib import Path

import pytest

import narformer
from narformer.errors import ConfigError, UnknownDeviceError
from narformer.graph import Node, Operand, Tensor
from narformer.prediction.explanation import described


def test_parts_sum_to_the_estimate_however_they_are_grouped(resnet18: Path) -> None:
    explained = narformer.explain(resnet18)
    estimates = {e.target: e for e in narformer.predict(resnet18, measured=False)}
    assert [each.target for each in explained] == list(estimates)
    for each in explained:
        assert each.latency_ms == pytest.approx(estimates[each.target].latency_ms, rel=1e-4)
        for parts in (each.operators, each.kinds, each.kernels):
            assert sum(part.ms for part in parts) == pytest.approx(each.latency_ms, rel=1e-9)
    assert explained[0].hash == next(iter(estimates.values())).hash
    assert {p.name: p.nodes for p in explained[0].operators}["Conv"] == 20
    assert {p.name: p.nodes for p in explained[0].kinds}["convolution"] == 17  # the other three are pointwise


def test_a_row_of_a_csv_is_a_node_of_one_network_on_one_target(resnet18: Path) -> None:
    explained = narformer.explain(resnet18, devices=["adreno640", "myriadvpu"])
    rows = explained.records()
    assert len(rows) == 2 * len(explained[0].graph)
    assert list(rows[0]) == [
        *("hash", "model", "target", "batch_size", "latency_ms"),
        *("index", "node", "operator", "kind", "shape", "ms"),
    ]
    assert {row["target"] for row in rows} == {"adreno-640:tflite-2.1:fp32", "myriad-x:openvino-2019r2:fp16"}


def test_targets_are_selected_by_the_beginning_of_their_names(resnet18: Path) -> None:
    found = narformer.explain(resnet18, devices="rtx4090")
    assert len(found) > 1
    assert all(each.target.startswith("rtx4090:") for each in found)
    with pytest.raises(UnknownDeviceError, match="rtx4091"):
        narformer.explain(resnet18, devices="rtx4091")


def test_one_network_is_explained_at_a_time(resnet18: Path) -> None:
    with pytest.raises(ConfigError, match="2 networks: give one"):
        narformer.explain([resnet18, resnet18])  # type: ignore[arg-type]


def _node(
    op: str, read: list[tuple[int, ...]], weights: list[tuple[int, ...]], out: tuple[int, ...], **how: object
) -> Node:
    operands = [Operand(Tensor(shape), ~k) for k, shape in enumerate(read)]
    operands += [Operand(Tensor(shape)) for shape in weights]
    return Node("n", op, tuple(operands), (Tensor(out),), how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (_node("Conv", [(1, 3, 8, 8)], [(16, 3, 3, 3)], (1, 16, 8, 8)), "Conv 3x3 3 → 16, 8x8"),
        (
            _node("Conv", [(2, 8, 8, 8)], [(8, 1, 5, 3)], (2, 8, 4, 8), group=8, strides=(2, 1)),
            "depthwise Conv 5x3/2x1 8 → 8, 4x8, batch 2",
        ),
        (_node("Conv", [(1, 8, 8)], [(4, 8, 1)], (1, 4, 8)), "Conv 1 8 → 4, 8"),
        (_node("Gemm", [(1, 197, 768)], [(768, 3072)], (1, 197, 3072)), "Gemm 768 → 3072, 197 rows"),
        (_node("MatMul", [(1, 4, 5), (1, 5, 6)], [], (1, 4, 6)), "MatMul 1x4x5, 1x5x6 → 1x4x6"),
        (_node("Softmax", [(1, 10)], [], (1, 10)), "Softmax 1x10"),
    ],
)
def test_kernels_are_described_by_what_they_do(node: Node, text: str) -> None:
    assert described(node) == text
