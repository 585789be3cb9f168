"""What a program calls: the functions of the package itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narformer.adaptation.predictor import default_predictor
from narformer.errors import ConfigError, NarformerError, UnknownDeviceError, within
from narformer.frontends.canonical import network_hash
from narformer.frontends.sizes import sizes_of
from narformer.frontends.sources import Source, graph_of, names_of, one_graph, several, traced
from narformer.graph import Graph
from narformer.inspection import Inspection, inspection_of
from narformer.measurement.answers import answer, existing_store, wanted_targets
from narformer.prediction.choice import Choices, survey, targets, with_network
from narformer.prediction.compare import Comparison, Comparisons
from narformer.prediction.estimate import Estimate, Estimates
from narformer.prediction.explanation import Explanations, explanations
from narformer.prediction.headline import one_target
from narformer.prediction.predictor import Predictor

if TYPE_CHECKING:
    import torch

# Graphs in memory at a time, where files are predicted: a list may be of any length.
NETWORKS_AT_ONCE = 64


def predict(
    models: Source | torch.nn.Module | Sequence[Source],
    example_inputs: torch.Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    devices: str | Sequence[str] | None = None,
    batch_size: int | None = None,
    input_shapes: Mapping[str, Sequence[int | str]] | None = None,
    dims: Mapping[str, int] | None = None,
    predictor: str | None = None,
    store: str | Path | None = None,
    measured: bool = True,
) -> Estimates:
    """Latency in ms, with an interval, of one or several networks on each device, without running them.

    A network that the store of measurements has on a device is answered from there (`source` is then "measured").

    models: paths of ONNX files, their bytes, models in memory, or Graphs; or one PyTorch module, with example_inputs
        for it.
    devices: targets, see `narformer devices`: ids, hardware (which stands for all its targets), unique beginnings; all
        by default.
    batch_size, input_shapes, dims: bind or override the sizes of the networks' inputs: the batch, whole shapes by
        input, sizes by name (`dims={"sequence": 128}`). Of a Graph only the batch can be another; a module has its own.
    predictor: name of a shipped predictor or path of one of your own.
    store: path or URL; by default the user's, if there is one. measured: False to leave every store alone.
    Returns Estimates, network by network. Raises ModelError for a file that cannot be read, UnknownDeviceError for a
    device that the predictor does not know and on which the network was not measured, ConfigError for arguments that
    are not meant so, StoreError.

    >>> import narformer
    >>> (estimate,) = narformer.predict("examples/resnet18.onnx", devices="adreno-640")
    >>> round(estimate.latency_ms, -1), estimate.low < estimate.value < estimate.high, estimate.warnings
    (40.0, True, ())
    >>> narformer.predict("examples/resnet18.onnx", devices="rtx4090:pytorch-2.9:fp16", batch_size=64)[0].batch_size
    64
    """
    sizes = sizes_of(batch_size, input_shapes, dims)
    if example_inputs is not None:
        models = traced(models, example_inputs, sizes)
    networks = several(models)
    wanted = names_of(devices)
    if wanted == []:
        raise ConfigError("devices=[]: name at least one device, or leave devices out for all")
    loaded = default_predictor(predictor)
    estimates: list[Estimate] = []
    with (existing_store(store) if measured else None) or nullcontext() as opened:
        wanted = wanted_targets(wanted, loaded, opened)  # an unknown one is told before anything is read
        for start in range(0, len(networks), NETWORKS_AT_ONCE):
            graphs = [graph_of(network, sizes) for network in networks[start : start + NETWORKS_AT_ONCE]]
            for graph, found in zip(graphs, answer(graphs, loaded, wanted, opened), strict=True):
                missing = set(wanted) - {estimate.target for estimate in found} if wanted else None
                if missing:
                    raise UnknownDeviceError(
                        f"{graph.name}: not measured on {', '.join(sorted(missing))}; the predictor knows "
                        f"{', '.join(loaded.devices)}"
                    )
                estimates += found
    return Estimates(estimates)


def choose(
    target: str,
    *,
    max_ms: float | None = None,
    top1: float | None = None,
    batch_size: int = 1,
    every: bool = False,
    model: Source | None = None,
    predictor: str | None = None,
) -> Choices:
    """Pretrained networks worth taking on a target: the frontier of ImageNet accuracy against latency.

    Latencies are timm's where they were measured on this target at this batch size, else predicted. The most accurate
    network comes first; whatever is faster than a network of the frontier is less accurate.

    target: an id, or a piece of hardware, of whose targets the newest is taken; see `narformer devices`.
    max_ms, top1: limits: milliseconds that a batch may take, accuracy in percent.
    every: True for all networks within the limits, not the frontier alone.
    model: an ONNX file of yours, to be shown among them; its accuracy is None. predictor: as `predict` takes it.
    Raises UnknownDeviceError for an unknown target, ConfigError for arguments that are not meant so, ModelError.

    >>> import narformer
    >>> fast = narformer.choose("rtx4090", batch_size=1024, top1=84)[-1]
    >>> fast.network, fast.top1, fast.latency_ms
    ('convnext_tiny.in12k_ft_in1k', 84.192, 152.852)
    """
    within("max_ms", max_ms, 0, math.inf)
    within("top1", top1, 0, 100)
    batch_size = sizes_of(batch_size).batch_size or 1
    loaded = default_predictor(predictor)
    name, _ = one_target(target, targets(loaded))
    found = survey(name, batch_size, loaded).chosen(max_ms, top1, every)
    if model is None:
        return found
    (mine,) = loaded.predict(model, name, batch_size=None if isinstance(model, Graph) else batch_size)
    if mine.batch_size != batch_size:
        raise ConfigError(f"{mine.model} has batch size {mine.batch_size}; choose at batch_size={mine.batch_size}")
    return with_network(found, mine)


def explain(
    model: Source | torch.nn.Module,
    example_inputs: torch.Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    devices: str | Sequence[str] | None = None,
    batch_size: int | None = None,
    input_shapes: Mapping[str, Sequence[int | str]] | None = None,
    dims: Mapping[str, int] | None = None,
    predictor: str | None = None,
) -> Explanations:
    """Where a network's milliseconds go, on each target: by kind of kernel, by operator, by node.

    The parts sum to what `predict` says without a store. Arguments are those of `predict`; devices: the predictor's own
    by default. Raises ConfigError for an adapted device, which is known by whole networks, and what `predict` raises.

    >>> import narformer
    >>> (explained,) = narformer.explain("examples/resnet18.onnx", devices="adreno-640")
    >>> explained.kinds[0].name
    'convolution'
    >>> explained.latency_ms == sum(explained.milliseconds)
    True
    """
    graph = one_graph(model, example_inputs, sizes_of(batch_size, input_shapes, dims))
    loaded = default_predictor(predictor)
    own = [output.device for output in loaded.card.outputs]
    wanted = names_of(devices)
    return explanations(loaded, graph, own if wanted is None else loaded.select(wanted))


def inspect(
    model: Source | torch.nn.Module,
    example_inputs: torch.Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    batch_size: int | None = None,
    input_shapes: Mapping[str, Sequence[int | str]] | None = None,
    dims: Mapping[str, int] | None = None,
) -> Inspection:
    """What a network costs: MACs, parameters, bytes, memory at most; of each operator and node too.

    Arguments are those of `predict`. Nothing is predicted, and no target is needed.

    >>> import narformer
    >>> inspection = narformer.inspect("examples/resnet18.onnx")
    >>> inspection.cost.macs, inspection.cost.parameters
    (1814073344, 11689512)
    >>> inspection.operators[0].operator, inspection.operators[0].nodes
    ('Conv', 20)
    """
    return inspection_of(one_graph(model, example_inputs, sizes_of(batch_size, input_shapes, dims)))


def compare(
    first: Source,
    *others: Source,
    devices: str | Sequence[str] | None = None,
    batch_size: int | None = None,
    input_shapes: Mapping[str, Sequence[int | str]] | None = None,
    dims: Mapping[str, int] | None = None,
    predictor: str | None = None,
    store: str | Path | None = None,
    measured: bool = True,
) -> Comparisons:
    """Each of the other networks against the first: the ratio of latencies on each target, and what makes it.

    Arguments are those of `predict`; a PyTorch module is given as its Graph, `read_torch(module, example_inputs)`.
    A Comparison has `ratio` (the other's latency over the first one's) and its `interval`, `faster` ("first", "second"
    or "" where the interval leaves it open), and `kinds` and `kernels`, the differences that sum to the whole.

    >>> import narformer
    >>> files = ("examples/resnet18.onnx", "examples/mobilenet_v2.onnx")
    >>> (comparison,) = narformer.compare(*files, devices="adreno-640")
    >>> comparison.faster
    'second'
    >>> comparison.kinds[0].name
    'convolution'
    """
    if not others:
        raise ConfigError("compare(model): compared with what? Give two networks or more")
    loaded = default_predictor(predictor)
    for one in others:
        if isinstance(one, str) and not Path(one).exists() and _is_target(one, loaded):
            raise ConfigError(f"{one!r}: targets are given by name, as in compare(first, second, devices={one!r})")
    sizes = sizes_of(batch_size, input_shapes, dims)
    graphs = [graph_of(one, sizes) for source in (first, *others) for one in several(source)]
    names = [graph.name for graph in graphs]
    return compared(graphs, names, loaded, names_of(devices), store=store, measured=measured)


def _is_target(text: str, predictor: Predictor) -> bool:
    try:
        return bool(predictor.select(text))
    except NarformerError:
        return False


def compared(
    graphs: Sequence[Graph],
    names: Sequence[str],
    predictor: Predictor,
    wanted: Sequence[str] | None,
    *,
    store: str | Path | None = None,
    measured: bool = True,
) -> Comparisons:
    """As `compare`, of Graphs, by a predictor that is loaded. names: what to call them."""
    own = [output.device for output in predictor.card.outputs] if predictor.explains else []
    with (existing_store(store) if measured else None) or nullcontext() as opened:
        targets = wanted_targets(wanted, predictor, opened)
        answers = answer(graphs, predictor, targets, opened)
    estimates = [
        {estimate.target: replace(estimate, model=name, hash=network_hash(graph)) for estimate in found}
        for graph, name, found in zip(graphs, names, answers, strict=True)
    ]
    shared = [target for target in estimates[0] if all(target in found for found in estimates)]
    if missing := sorted(set(targets or ()) - set(shared)):
        raise UnknownDeviceError(f"not every network was measured on {', '.join(missing)}, which nobody can predict")
    explained = [target for target in shared if target in own]
    parts = [
        {each.target: each for each in explanations(predictor, graph, explained, name)} if explained else {}
        for graph, name in zip(graphs, names, strict=True)
    ]
    return Comparisons(
        Comparison(
            estimates[0][target],
            estimates[k][target],
            (parts[0][target], parts[k][target]) if target in parts[0] else None,
        )
        for k in range(1, len(graphs))
        for target in shared
    )
