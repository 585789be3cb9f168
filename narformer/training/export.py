"""From a trained model to a predictor: the ONNX file, the intervals, the novelty measure, the card."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from narformer.datasets.cache import TokenCache
from narformer.datasets.dataset import Dataset
from narformer.datasets.kernel_cache import KernelCache
from narformer.errors import DataError
from narformer.frontends.folding import foldable
from narformer.graph import Graph
from narformer.loggers import heard
from narformer.models.interface import LatencyModel
from narformer.prediction.card import Card, Output
from narformer.prediction.held_out import Watch, write_held_out
from narformer.prediction.novelty import Novelty
from narformer.prediction.predictor import CANONICAL
from narformer.prediction.target_groups import groups, least_ms
from narformer.prediction.trust import LONG_MS, at_length, beyond, effective_kernels, network_sums, spread
from narformer.tokens import runtime_kernels
from narformer.training.batching import Indices, to_tensors

# Reference networks a family for the novelty measure: enough to cover a family's range, little enough for a card.
REFERENCES, REFERENCES_PER_FAMILY = 1500, 40
LEVEL = 0.9
AVERAGED = (0.0, 0.25, 0.5, 0.75, 0.9)
WIDER = 0.25  # in ln(ms), of networks unlike those trained on, where no families were left out to measure it
FEW = 0.03
FEWEST = 20  # networks of a precision, from which on a target counts as measured in it
ENOUGH = 40  # rows that an interval is calibrated on; a target with fewer borrows its relatives'
SMALL = 300  # networks; a target with fewer has seen so little that every network is unlike those, somehow
UNMEASURED = 0.15  # in ln(ms): how far off, for all its kernels alike, a target may be that nothing was measured on


def export_onnx(model: LatencyModel, token_width: int, static_width: int, path: Path) -> None:
    """Write the model as ONNX: inputs features, edges, graph, static; outputs latency, embedding; dynamic sizes.

    Further outputs are those that the model names itself, such as node_latency.
    """
    tokens = 5
    example = (
        torch.zeros(tokens, token_width),
        torch.tensor([[0, 1, 3], [1, 2, 4]]),
        torch.tensor([0, 0, 0, 1, 1]),
        torch.zeros(2, static_width),
    )
    with heard("torch.onnx", "onnxscript"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Exported(model).eval(),
            example,
            dynamo=True,
            verbose=False,
            opset_version=18,
            input_names=["features", "edges", "graph", "static"],
            output_names=["latency", "embedding", *model.extra_outputs],
            dynamic_shapes=({0: "tokens"}, {1: "edges"}, {0: "tokens"}, {0: "networks"}),
        )
    if program is None:
        raise DataError(f"{path}: the model could not be exported")
    for node in program.model.graph:
        node.metadata_props.clear()  # where in which file each was computed, on this machine
    partial = path.with_suffix(".partial")
    program.save(str(partial), include_initializers=True)
    os.replace(partial, path)


class _Exported(nn.Module):
    """All that a model answers, as torch.onnx.export wants it: as what calling a module gives."""

    def __init__(self, model: LatencyModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> tuple[Tensor, ...]:
        return self.model.answers(features, edges, graph, static)


def conformal_quantile(
    prediction: npt.NDArray[np.float64], target: npt.NDArray[np.float64], level: float = LEVEL
) -> float:
    """Half width, in ln(ms), of the interval that holds `level` of the targets: split conformal, absolute residuals.

    prediction, target (N,) in ms, from rows not trained on. The ⌈(N+1)·level⌉-th smallest residual (Vovk et al., 2005);
    with too few rows for the level, the largest. Raises DataError with no rows at all.
    """
    if not len(target):
        raise DataError("no rows to calibrate an interval on")
    residuals = np.sort(np.abs(np.log(prediction / target)))
    rank = int(np.ceil((len(residuals) + 1) * level))
    return float(residuals[min(rank, len(residuals)) - 1])


def narrowest(
    residuals: npt.NDArray[np.float64], kernels: npt.NDArray[np.float64], level: float = LEVEL
) -> tuple[float, float]:
    """How much of the error averages out over kernels, and the half width of one: what makes intervals narrowest.

    Widths are compared by their logarithms' mean: by the mean itself, the widest of single operators would decide, and
    intervals of networks of many kernels, whose errors are a fifth of theirs, would be as wide.
    residuals, kernels (N,): |ln(prediction / truth)| of rows not trained on, and how many kernels share their time.
    """
    found = []
    for averaged in AVERAGED:
        width = spread(kernels, averaged)
        quantile = conformal_quantile(np.exp(residuals / width), np.ones(len(residuals)), level)
        found.append((float(np.mean(np.log(quantile * width))), averaged, quantile))
    return min(found)[1:]


def at_lengths(
    residuals: npt.NDArray[np.float64],
    kernels: npt.NDArray[np.float64],
    latency: npt.NDArray[np.float64],
    averaged: float,
    level: float = LEVEL,
) -> tuple[float, float] | None:
    """Half widths of one kernel's error in networks below LONG_MS and in others; None where either are few.

    residuals, kernels, averaged: as `narrowest` takes and returns them. latency (N,): predicted, in ms.
    """
    relative = residuals / spread(kernels, averaged)
    parts = (relative[latency < LONG_MS], relative[latency >= LONG_MS])
    if min(map(len, parts)) < ENOUGH:
        return None
    short, long = (conformal_quantile(np.exp(part), np.ones(len(part)), level) for part in parts)
    return short, long


class Answers(NamedTuple):
    """latency: of rows, in ms. kernels: how many share the time of each, 1 where a model does not tell. novelty: of its
    composition, 0 to 1, 0 where a model does not tell. All (rows, outputs).
    """

    latency: npt.NDArray[np.float64]
    kernels: npt.NDArray[np.float64]
    novelty: npt.NDArray[np.float64]


@torch.inference_mode()
def answers_of(model: LatencyModel, source: TokenCache | KernelCache, rows: Indices, batch_size: int = 64) -> Answers:
    """What a model says of rows of a token source, in float32, without dropout."""
    device = next(model.parameters()).device
    model.eval()
    latency, kernels, novelty = [], [], []
    for start in range(0, len(rows), batch_size):
        batch = source.batch(rows[start : start + batch_size])
        total, _, *others = model.answers(*to_tensors(batch, device))
        latency.append(total[: len(batch.static)].cpu().double().numpy())
        if "node_latency" in model.extra_outputs:
            each = others[model.extra_outputs.index("node_latency")][: len(batch.features)].cpu().double().numpy()
            kernels.append(effective_kernels(each, batch.graph.astype(np.int64), len(batch.static)))
        else:
            kernels.append(np.ones_like(latency[-1]))
        if "network_novelty" in model.extra_outputs:
            novel = others[model.extra_outputs.index("network_novelty")]
            novelty.append(novel[: len(batch.static)].cpu().double().numpy())
        else:
            novelty.append(np.zeros_like(latency[-1]))
    return Answers(np.concatenate(latency), np.concatenate(kernels), np.concatenate(novelty))


def usual_novelty(novelty: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> float:
    """The median novelty of rows that were measured (truth is finite); 0 where there are none."""
    there = novelty[np.isfinite(truth)]
    return float(np.median(there)) if len(there) else 0.0


def beside_novelty(
    residuals: npt.NDArray[np.float64], novelty: npt.NDArray[np.float64], away: npt.NDArray[np.float64] | float
) -> npt.NDArray[np.float64]:
    """What is left of |ln(prediction / truth)| that novelty does not explain, as `trust.half_width` adds it."""
    return np.asarray(np.sqrt(np.maximum(residuals**2 - novelty * away**2, 0)))


def novelty_measure(reference: npt.NDArray[np.float64]) -> Novelty:
    """Distances from these networks, by their graph statistics (R, S)."""
    center = reference.mean(axis=0)
    # A statistic that hardly varies (no network has a Softmax) still has to notice one that does: hence the floor.
    scale = np.maximum(reference.std(axis=0), 0.1)
    return Novelty(center, scale, np.round((reference - center) / scale, 2))


def novelty_threshold(measure: Novelty, seen: npt.NDArray[np.bool_], held_out: npt.NDArray[np.float64]) -> float:
    """So far from the nearest reference that half a percent of held-out known networks (rows, S) would be further.

    seen (R,): the references that count.
    """
    return float(np.quantile(measure.distances(held_out)[:, seen].min(axis=1), 0.995))


def _batches(dataset: Dataset, rows: Indices, graphs: Sequence[Graph]) -> tuple[int, ...]:
    """Batches of the networks that were measured on a device: those of its Graphs, times the rows' own factors."""
    if not dataset.batch:
        return tuple(sorted({graph.batch_size for graph in graphs}))
    return tuple(sorted({dataset.batch[row] for row in rows}))


def _precisions(device: str, integers: int, halves: int) -> tuple[str, ...]:
    """In which precisions files may be whose estimates are measured ones; a target that computes in float16 casts.

    integers, halves: how many networks that compute in 8 bits, and in float16, were learned from there.
    """
    half = halves >= FEWEST or device.endswith(":fp16")
    return ("float32", *(("float16",) if half else ()), *(("int8", "uint8") if integers >= FEWEST else ()))


def _narrow(source: TokenCache | KernelCache, rows: Indices) -> npt.NDArray[np.bool_]:
    """Which networks compute in 8 bits, and which in float16: most of their products of matrices do, (rows, 2)."""
    matrix = [
        runtime_kernels.FIRST_KIND + k for k, kind in enumerate(runtime_kernels.KINDS) if kind in runtime_kernels.MATRIX
    ]
    flags = [runtime_kernels.FLAG["integer data"], runtime_kernels.FLAG["half data"]]
    shares = []
    for start in range(0, len(rows), 256):
        batch = source.batch(rows[start : start + 256])
        products = batch.features[:, matrix].sum(axis=1, keepdims=True)
        of = network_sums(np.hstack([products, products * batch.features[:, flags]]), batch.graph, len(batch.static))
        shares.append(of[:, 1:] > 0.5 * np.maximum(of[:, :1], 1))
    return np.concatenate(shares)


def observe(
    model: LatencyModel, source: TokenCache | KernelCache, rows: Indices, measured: npt.NDArray[np.bool_]
) -> None:
    """Show a model the kernels of its training networks, and on which targets (rows, outputs) each was measured."""
    for start in range(0, len(rows), 256):
        chosen = rows[start : start + 256]
        batch = source.batch(chosen)
        graph = torch.from_numpy(batch.graph.astype(np.int64))
        model.observe(torch.from_numpy(batch.features), graph, torch.from_numpy(measured[chosen]))


def _references(families: npt.NDArray[np.str_], measured: npt.NDArray[np.bool_], fit: Indices) -> npt.NDArray[np.int64]:
    """Rows to fit on that stand for all: of each family and device the first that were measured there."""
    chosen: set[int] = set()
    each = min(REFERENCES_PER_FAMILY, max(4, REFERENCES // len(np.unique(families[fit]))))
    for family in np.unique(families[fit]):
        for device in measured.T:
            chosen.update(fit[(families[fit] == family) & device[fit]][:each].tolist())
    return np.array(sorted(chosen), dtype=np.int64)


def _near(devices: Sequence[str]) -> list[list[int]]:
    """For each target all targets, itself first, then those with the most groups in common."""
    members = [set(each) for each in groups(devices)]
    return [
        [column, *sorted((k for k in range(len(devices)) if k != column), key=lambda k: -len(mine & members[k]))]
        for column, mine in enumerate(members)
    ]


def _enough(
    residuals: npt.NDArray[np.float64], kernels: npt.NDArray[np.float64], near: Sequence[int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Residuals of a target's rows, and the kernels of each; where they are few, those of its relatives too."""
    found: list[npt.NDArray[np.float64]] = []
    shared: list[npt.NDArray[np.float64]] = []
    for column in near:
        rows = np.isfinite(residuals[:, column])
        found.append(residuals[rows, column])
        shared.append(kernels[rows, column])
        if sum(map(len, found)) >= ENOUGH:
            break
    return np.concatenate(found), np.concatenate(shared)


def export_predictor(
    model: LatencyModel,
    name: str,
    model_name: str,
    tokenizer: str,
    dataset: Dataset,
    source: TokenCache | KernelCache,
    fit: Indices,
    calibration: Indices,
    path: Path,
    *,
    descriptions: Mapping[str, str],
    novel_quantiles: Mapping[str, float],
    training: Mapping[str, Any],
    long_quantiles: Mapping[str, float] = MappingProxyType({}),
    relatives: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    watch: Watch = lambda parts, _: parts,
) -> Card:
    """Write `path` (.onnx) and its card beside it: intervals from the `calibration` rows, errors from the test rows.

    Errors are those of the written file, end to end, so that a card tells what a user gets (prediction/held_out.py).

    novel_quantiles: half width of the interval, in ln(ms), for networks far from those trained on; by device, from
        families left out of training (see `narformer evaluate`); a device without one gets WIDER more than its own, or,
        with a model on tokens of the file's own nodes, four times its own. Where fewer than SMALL networks were
        learned from, it is that of all networks. long_quantiles: the same of networks of LONG_MS and more.
    relatives: targets to add that nothing was measured on (TrainConfig.relatives). watch: how far the errors are.
    """
    families = np.asarray(dataset.family)
    measured = np.isfinite(dataset.targets)
    chosen = _references(families, measured, fit)
    seen = [dataset.sources[row].graph() for row in chosen]
    measure = novelty_measure(source.statistics[chosen])
    (prediction, many, novelty), target = answers_of(model, source, calibration), dataset.targets[calibration]
    narrow = np.zeros((len(fit), 2), dtype=bool)
    sums_kernels = tokenizer == CANONICAL  # the kernels that the runtime runs, rather than the file's nodes
    if not sums_kernels:
        many = np.ones_like(many)
    else:
        observe(model, source, fit, measured)
        narrow = _narrow(source, fit)
    residuals = np.abs(np.log(prediction / target))
    near = _near(dataset.devices)
    networks = np.asarray(dataset.network or dataset.ids)
    outputs = []
    for column, device in enumerate(dataset.devices):
        rows = np.isfinite(target[:, column])
        rows = rows if rows.any() else np.ones(len(rows), dtype=bool)
        away = novel_quantiles.get(device, WIDER) if "network_novelty" in model.extra_outputs else 0.0
        usual = usual_novelty(novelty[:, column], target[:, column])
        away_long = min(long_quantiles.get(device, away), away)
        explained = at_length(away, away_long, prediction)
        left = beside_novelty(residuals, beyond(novelty, usual), explained)
        residual, kernels = _enough(left, many, near[column])
        averaged, known = narrowest(residual, kernels)
        own = np.isfinite(left[:, column])
        lengths = at_lengths(left[own, column], many[own, column], prediction[own, column], averaged)
        typical = float(np.median(spread(kernels, averaged)))
        novel = known * typical + WIDER if sums_kernels else 4 * known
        novel = max(novel_quantiles.get(device, novel), known * typical)
        if device in novel_quantiles and len(set(networks[fit[measured[fit, column]]])) < SMALL:
            known, averaged, away, away_long, lengths = novel, 0.0, 0.0, 0.0, None
        widths = {"known": known, "novel": novel}
        if lengths is not None:
            widths["known"], widths["long"] = lengths
        here = measured[chosen, column]
        graphs = [graph for graph, there in zip(seen, here, strict=True) if there]
        outputs.append(
            Output(
                device,
                descriptions.get(device, ""),
                widths,
                {"rows": 0},
                operators=tuple(sorted({node.op for graph in graphs for node in graph.nodes})),
                batch_sizes=_batches(dataset, fit[measured[fit, column]], graphs),
                references="".join("1" if there else "0" for there in here),
                threshold=novelty_threshold(measure, here, source.statistics[calibration[rows]]),
                precisions=_precisions(device, *(int(n) for n in narrow[measured[fit, column]].sum(axis=0))),
                averaged=averaged,
                away=away,
                usual=usual,
                floor_ms=least_ms(device) if sums_kernels else (0.0, 0.0),
                away_long=away_long if away_long != away else None,
            )
        )

    for device, told in relatives.items():
        column = dataset.devices.index(told["of"])
        model = model.with_relative(column, {term: times for term, times in told.items() if term != "of"})
        relative = replace(outputs[column], device=device, description=descriptions[device])
        outputs.append(replace(relative, common=UNMEASURED))

    card = Card(
        name=name,
        model=model_name,
        tokenizer=tokenizer,
        outputs=tuple(outputs),
        novelty=measure,
        level=LEVEL,
        training=training,
        # One in a hundred may have a BatchNormalization behind a convolution by chance (a cell that ends in one).
        folds_batch_norm=float(np.mean([bool(foldable(graph)) for graph in seen])) < FEW,
    )
    example = source.batch(fit[:1])
    export_onnx(model, example.features.shape[1], example.static.shape[1], path)
    card.save(path.with_suffix(".json"))
    return write_held_out(path, dataset, watch=watch)
