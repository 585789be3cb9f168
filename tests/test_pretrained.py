"""The shipped predictor: small enough, true to its card, calm where it knows and warning where it does not."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import narformer
from narformer.cli.main import app
from narformer.datasets.dataset import Dataset, FamilySource
from narformer.datasets.nnmeter import DEVICES as NNMETER
from narformer.datasets.nnmeter import load_nnmeter
from narformer.datasets.onnxruntime_cpu import DEVICE, load_onnxruntime_cpu
from narformer.errors import ConfigError
from narformer.evaluation.neighbours import nearest
from narformer.families.builder import NetworkBuilder
from narformer.families.registry import FAMILIES, build, sample
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.metrics import mape
from narformer.prediction.predictor import DEFAULT, PRETRAINED, Predictor
from narformer.training.config import load_config
from narformer.training.run import left_out_errors

DEVICES = (*NNMETER, DEVICE)
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load()


def test_files_are_small_and_the_card_says_how_they_were_made(predictor: Predictor) -> None:
    assert (PRETRAINED / f"{DEFAULT}.onnx").stat().st_size < 20_000_000
    assert (PRETRAINED / f"{DEFAULT}.json").stat().st_size < 1_000_000
    card = predictor.card
    assert predictor.devices[: len(DEVICES)] == DEVICES
    assert {"rtx4090:pytorch-2.9-compiled:fp16", "i7-12700h:pytorch-2.4-compiled:fp32"} < set(predictor.devices)
    assert {"dataset", "rows", "seed", "epochs", "command"} <= set(card.training)
    # Nothing was measured on an EPYC Genoa: its prices are a relative's, times what datasheets say. On NPUs and the
    # H100 few networks were, and not all targets have one that is a test row.
    untested = [output.device for output in card.outputs if not output.held_out["rows"]]
    few = [d for d in predictor.devices if "-npu:" in d or d.startswith("h100:")]
    assert set(untested) <= {"epyc-genoa:onnxruntime-1.32:fp32:1t", *few}
    for output in card.outputs:
        assert output.held_out["rows"] > 2000 or output.device not in NNMETER
        assert output.quantiles["known"] > 0
        assert output.quantiles["novel"] > 0
        assert 0 < output.floor_ms[1] < output.floor_ms[0]


def test_the_wide_intervals_are_those_of_the_results_its_configuration_names(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = EXAMPLES.parent
    monkeypatch.chdir(root)
    errors = left_out_errors(load_config(root / "configs" / f"{DEFAULT}.yaml").left_out)
    npus = {output.device for output in predictor.card.outputs if "-npu:" in output.device}
    timm = {output.device for output in predictor.card.outputs if ":pytorch-" in output.device}
    assert set(errors) == {*DEVICES, "epyc-turin:onnxruntime-1.32:fp32:1t", *npus, *timm}
    for output in predictor.card.outputs:
        known, novel = output.quantiles["known"], output.quantiles["novel"]
        if output.device in errors:
            assert novel == pytest.approx(errors[output.device]) or errors[output.device] < known, output.device
        if output.device in npus:  # of about a hundred networks each
            assert (known, output.averaged) == (novel, 0), output.device


def test_test_rows_are_predicted_as_well_as_the_card_says(predictor: Predictor, data_root: Path) -> None:
    """A fixed sample of test rows, rebuilt and read as a user's file would be."""
    _as_good_as_the_card(predictor, load_nnmeter(data_root), 8)


def test_our_own_test_rows_too(predictor: Predictor) -> None:
    _as_good_as_the_card(predictor, load_onnxruntime_cpu(), 3)


def _as_good_as_the_card(predictor: Predictor, dataset: Dataset, every: int) -> None:
    rows = dataset.rows("test")[::every]
    graphs = [dataset.sources[r].graph() for r in rows]
    prediction = predictor.latencies(graphs)
    for column, output in enumerate(predictor.card.outputs):
        if output.device not in dataset.devices:
            continue
        truth = dataset.targets[rows, dataset.devices.index(output.device)]
        measured = np.isfinite(truth)
        error = mape(prediction[measured, column], truth[measured])
        assert error == pytest.approx(output.held_out["mape"], rel=0.35)
        intervals = predictor.predict(graphs, output.device)
        inside = [e.low_ms <= t <= e.high_ms for e, t in zip(intervals, truth, strict=True) if np.isfinite(t)]
        assert 0.82 < np.mean(inside) < 0.97


def test_a_network_alone_and_among_others_is_predicted_the_same(predictor: Predictor) -> None:
    graphs = [read_onnx(next(iter(sample(f, 1, seed=3))).build()) for f in FAMILIES]
    together = predictor.latencies(graphs)
    alone = np.concatenate([predictor.latencies([g]) for g in graphs])
    # A network that is nearly one of the processes' references: its distance is the root of what rounding leaves.
    np.testing.assert_allclose(together, alone, rtol=1e-3)


def test_known_families_are_not_warned_about_and_others_are(predictor: Predictor, resnet18: Path) -> None:
    known = [read_onnx(v.build()) for f in FAMILIES for v in sample(f, 6, seed=11)]
    warned = [e for e in predictor.predict(known, [DEVICES[0]]) if e.warnings]
    assert len(warned) <= 0.1 * len(known)
    (batched,) = predictor.predict([read_onnx(resnet18, batch_size=16)], [DEVICES[0]])
    assert any("batch size 16" in w for w in batched.warnings)


def test_what_one_device_has_seen_another_has_not(predictor: Predictor) -> None:
    """Transformers were measured on our own device alone."""
    transformer = read_onnx(build("named", "224", "vit_small_patch16"))
    elsewhere, here = predictor.predict([transformer], [DEVICES[0], DEVICE])
    assert any("linear" in w and "unlike any measured there" in w for w in elsewhere.warnings)
    assert here.warnings == ()
    assert elsewhere.high_ms / elsewhere.low_ms > 1.5  # of families it knows: 1.09


def test_nothing_is_free(predictor: Predictor) -> None:
    """No estimate, and no low end, is below what a run takes at least; a lone Relu takes 2.6 µs on an x86 core."""
    x = Tensor((1, 4))
    relu = Graph((Node("r", "Relu", (Operand(x, ~0),), (x,)),), (x,))
    for estimate, output in zip(predictor.predict(relu), predictor.card.outputs, strict=True):
        assert estimate.low_ms >= output.floor_ms[0]
    (core,) = predictor.predict(relu, DEVICE)
    assert 0.001 < core.latency_ms < 0.02


def test_one_network_in_another_precision_is_never_answered_in_silence(predictor: Predictor, resnet18: Path) -> None:
    graph = read_onnx(resnet18)
    half = Graph.from_json(graph.to_json().replace('"float32"', '"float16"'))
    (core,) = predictor.predict(half, DEVICE)
    assert any("computes in float16" in w for w in core.warnings)
    (gpu,) = predictor.predict(half, "rtx4090:pytorch-2.9-compiled:fp16")
    assert not any("float16" in w for w in gpu.warnings)


def test_latency_at_another_batch_is_that_of_a_file_at_that_batch(predictor: Predictor, resnet18: Path) -> None:
    graph, batched = read_onnx(resnet18), read_onnx(resnet18, batch_size=64)
    device = ["rtx4090:pytorch-2.9-compiled:fp16"]
    (made,) = predictor.predict_batches([graph], [64], device)
    (read,) = predictor.predict(batched, device)
    assert made.latency_ms == pytest.approx(read.latency_ms, rel=1e-4)
    assert made.warnings == read.warnings == ()


def test_the_examples_are_predicted(resnet18: Path) -> None:
    """nn-Meter measured its own ResNet-18 and MobileNetV2 (BatchNormalization folded) at 208 and 46 ms on the CPU."""
    for name, measured in (("resnet18", 208.1), ("mobilenet_v2", 46.4)):
        (estimate,) = narformer.predict(EXAMPLES / f"{name}.onnx", devices="cortexA76cpu")
        assert measured / 3 < estimate.latency_ms < measured * 3


def test_the_nearest_neighbours_of_a_variant_are_of_its_own_family(predictor: Predictor) -> None:
    variants = [v for family in FAMILIES for v in sample(family, 13, seed=4)]
    vectors = predictor.embed([read_onnx(v.build()) for v in variants]).astype(np.float32)
    count = len(variants)
    known = Dataset(
        name="known",
        ids=tuple(f"v{i}" for i in range(count)),
        sources=tuple(FamilySource(v.family, v.config, v.version) for v in variants),
        family=tuple(v.family for v in variants),
        split=("train",) * count,
        targets=np.full((count, 1), np.nan),
        devices=("p",),
    )
    own: Counter[bool] = Counter()
    for variant, vector in zip(variants, vectors, strict=True):
        for neighbour in nearest(vector.astype(np.float64), vectors, known, 4)[1:]:
            own[neighbour.family == variant.family] += 1
    assert own[True] > 0.6 * own.total()


def _chain(depth: int, width: int, size: int, batch: int) -> Graph:
    net = NetworkBuilder("chain", (batch, 3, size, size))
    x = net.relu(net.conv(net.input, width, 3, 2))
    for _ in range(depth):
        x = net.relu(net.conv(x, width, 3))
    return read_onnx(net.finish(net.head(x)))


@pytest.mark.parametrize("device", DEVICES)
def test_deeper_wider_larger_and_more_at_once_is_slower(predictor: Predictor, device: str) -> None:
    """Each step doubles one of them; none of these chains is in any family."""
    start = (8, 64, 112, 1)
    for which in range(4):
        steps = [tuple(v * 2**k if i == which else v for i, v in enumerate(start)) for k in range(4)]
        latencies = [e.latency_ms for e in predictor.predict([_chain(*s) for s in steps], [device])]
        assert all(b > 1.05 * a for a, b in itertools.pairwise(latencies)), (which, latencies)


def test_the_parts_sum_to_the_whole(predictor: Predictor, resnet18: Path) -> None:
    graph = read_onnx(resnet18)
    read, parts = predictor.explain(graph)
    assert parts.shape == (len(read.nodes), len(predictor.devices))
    assert (parts >= 0).all()
    np.testing.assert_allclose(parts.sum(axis=0), predictor.latencies([graph])[0], rtol=1e-4)
    convolutions = [k for k, node in enumerate(read.nodes) if node.op == "Conv"]
    assert parts[convolutions, 0].sum() > 0.6 * parts[:, 0].sum()


def test_explain_prints_shares_and_json(resnet18: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    table = runner.invoke(app, ["explain", str(resnet18), "--plot", str(tmp_path / "nodes.svg")])
    assert table.exit_code == 0
    assert "Conv" in table.stdout
    assert (tmp_path / "nodes.svg").stat().st_size > 1000
    answer = json.loads(runner.invoke(app, ["explain", str(resnet18), "--json"]).stdout)
    assert sum(row["ms"] for row in answer["operators"]) == pytest.approx(answer["latency_ms"], rel=1e-3)
    old = runner.invoke(app, ["explain", str(resnet18), "--predictor", "narformer-v2-nnmeter"])
    assert isinstance(old.exception, ConfigError)
