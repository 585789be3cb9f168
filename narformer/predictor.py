"""A trained predictor: an ONNX file and its card, run by ONNX Runtime. Graphs in, Estimates out. No torch."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from narformer.errors import ConfigError, DataError, UnknownDeviceError
from narformer.frontends.canonical import canonical
from narformer.frontends.folding import fold_batch_norm
from narformer.frontends.sizes import sizes_of
from narformer.frontends.sources import Source, graph_of, graphs_of, names_of, several, traced
from narformer.graph import Graph
from narformer.operators import KINDS, operator_of

if TYPE_CHECKING:
    import onnxruntime
    import torch

    from narformer.tokens.packing import PackedTokens, Tokens

PRETRAINED = Path(__file__).parent / "pretrained"
DEFAULT = "tally2"
CANONICAL = "runtime_kernels"  # the tokenizer of predictors that read the canonical form
CARD_FORMAT = 3
READ_FORMATS = (2, CARD_FORMAT)  # cards before precisions and floors were told
DOUBTED = 0.7  # in ln(ms), by which intervals are wider at least where a warning says what was never measured
STRANGE = 0.25  # of a network's time in kernels unlike any measured, from which on a warning says so
# Tokens in one run of the model: bounds memory, and keeps arrays within a core's cache.
TOKENS_PER_RUN = 4096
# Graphs in memory at a time, where files are predicted: a list may be of any length.
NETWORKS_AT_ONCE = 64


@dataclass(frozen=True)
class Estimate:
    """One predicted (or measured, or adapted) latency.

    low_ms, high_ms: interval that holds the truth for `level` of networks like those the predictor was tested on.
    held_out_mape: the predictor's measured error on held-out networks of this device, in percent.
    """

    model: str
    device: str
    latency_ms: float
    low_ms: float
    high_ms: float
    source: str = "predicted"
    level: float = 0.9
    held_out_mape: float | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The Estimate as JSON's types."""
        return {**asdict(self), "warnings": list(self.warnings)}


@dataclass(frozen=True)
class Output:
    """What one output of the model predicts, and how far to trust it.

    quantiles: half width of the interval in ln(ms), for networks like those trained on (`known`), others (`novel`), and
        those that a warning concerns (`doubted`; twice that of `novel`, or DOUBTED more, where it is not told).
    held_out: measured on test rows never trained on: `mape` and `acc_10` in percent, `rows`.
    operators, batch_sizes: those of the training networks that were measured on this device; what only others were
        measured on is as good as never seen. references: a character for each of the card's reference networks, "1"
        where it was measured on this device. threshold: a network further than this from all of them is novel.
    averaged: how much of the error of known networks averages out where many kernels share the time: their half width
        is that of `quantiles` times `spread(kernels, averaged)`.
    precisions: in which the training networks' files were. floor_ms: what a run, and a kernel, take at least.
    """

    device: str
    description: str
    quantiles: Mapping[str, float]
    held_out: Mapping[str, float]
    operators: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    references: str
    threshold: float
    precisions: tuple[str, ...] = ("float32",)
    floor_ms: tuple[float, float] = (0.0, 0.0)
    averaged: float = 0.0

    @functools.cached_property
    def measured(self) -> npt.NDArray[np.bool_]:
        """Which of the card's reference networks were measured on this device, (R,)."""
        return np.array([letter == "1" for letter in self.references])


@dataclass(frozen=True)
class Novelty:
    """Distance from training networks in standardised graph statistics; `references` (R, S) are standardised."""

    center: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    references: npt.NDArray[np.float64]

    def distances(self, statistics: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(B, S) -> (B, R); root mean square over the statistics, in standard deviations of the training networks."""
        points = (statistics - self.center) / self.scale
        # |p - r|² = p² - 2pr + r²: no array of B x R x S numbers, however many networks are asked for.
        squares = (points**2).sum(axis=1)[:, None] + (self.references**2).sum(axis=1)
        squares -= 2 * points @ self.references.T
        return np.asarray(np.sqrt(np.maximum(squares, 0) / points.shape[1]))


@dataclass(frozen=True)
class Card:
    """What stands beside the weights: everything a user needs to know, and everything the predictor needs to run."""

    name: str
    model: str
    tokenizer: str
    outputs: tuple[Output, ...]
    novelty: Novelty
    level: float = 0.9
    training: Mapping[str, Any] = field(default_factory=dict)
    # Whether every network trained on had its BatchNormalizations folded into convolutions; then inputs are, too.
    folds_batch_norm: bool = False

    def to_json(self) -> str:
        novelty = {
            "center": _line(self.novelty.center, 4),
            "scale": _line(self.novelty.scale, 4),
            "references": [_line(row, 2) for row in self.novelty.references],
        }
        data = {**asdict(self), "format": CARD_FORMAT, "novelty": novelty}
        return json.dumps(data, indent=1)

    @property
    def fingerprint(self) -> str:
        """Tells trainings apart: another where what was trained, or how well it did, differs."""
        told = [[o.device, dict(o.quantiles), dict(o.held_out)] for o in self.outputs]
        return hashlib.sha256(json.dumps([self.name, told, dict(self.training)], default=str).encode()).hexdigest()[:12]

    @classmethod
    def read(cls, path: Path) -> Card:
        """Raises DataError where the file is absent, broken, or of a later format."""
        try:
            data = json.loads(path.read_text())
            if data.pop("format") not in READ_FORMATS:
                raise DataError(f"{path}: a card of another format; install the narformer version that wrote it")
            novelty = data.pop("novelty")
            told: list[dict[str, Any]] = data.pop("outputs")
            lists: list[dict[str, Any]] = [
                {k: tuple(v) if isinstance(v, list) else v for k, v in output.items()} for output in told
            ]
            outputs = tuple(Output(**output) for output in lists)
            center, scale, *references = (
                np.array(line.split(), dtype=np.float64)
                for line in (novelty["center"], novelty["scale"], *novelty["references"])
            )
            if any(len(output.references) != len(references) for output in outputs):
                raise ValueError("references of an output are not those of the card")
            return cls(outputs=outputs, novelty=Novelty(center, scale, np.stack(references)), **data)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror}); a predictor is NAME.onnx beside NAME.json"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: not the card of a predictor ({error})") from error


def _line(numbers: npt.NDArray[np.float64], decimals: int) -> str:
    """Numbers as one line of text: a card stays readable, and a difference between two cards too."""
    return " ".join(f"{number:.{decimals}f}" for number in numbers)


class Predictor:
    """A predictor loaded from `NAME.onnx` and `NAME.json`.

    >>> from narformer.frontends.onnx import read_onnx
    >>> Predictor.load().predict([read_onnx("resnet18.onnx")])  # doctest: +SKIP
    """

    def __init__(self, card: Card, session: onnxruntime.InferenceSession) -> None:
        self.card = card
        self._session = session

    @classmethod
    def load(cls, path: str | Path | None = None, threads: int = 1) -> Predictor:
        """Load a shipped predictor by name, or any by the path of its ONNX file; without one, the default.

        Raises DataError where either file is absent or broken.
        """
        import onnxruntime

        name = str(path or DEFAULT)
        file = Path(name) if name.endswith(".onnx") else PRETRAINED / f"{name}.onnx"
        if not file.is_file():
            known = ", ".join(sorted(p.stem for p in PRETRAINED.glob("*.onnx"))) or "none"
            raise DataError(
                f"{name}: no such predictor; give the path of an .onnx file, or one of those shipped: {known}"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Sizes differ from network to network: a plan of memory for the last one's would double the peak, for nothing.
        options.enable_mem_pattern = False
        try:
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises classes of its own for each way to be broken
            raise DataError(f"{file}: ONNX Runtime cannot load it ({str(error).splitlines()[0]})") from error
        return cls(Card.read(file.with_suffix(".json")), session)

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(output.device for output in self.card.outputs)

    def predict(
        self,
        models: Source | Sequence[Source],
        devices: str | Sequence[str] | None = None,
        *,
        batch_size: int | None = None,
        input_shapes: Mapping[str, Sequence[int | str]] | None = None,
        dims: Mapping[str, int] | None = None,
    ) -> list[Estimate]:
        """An Estimate for each network on each device (all by default), network by network.

        models: Graphs, or what `read_onnx` reads: paths, bytes, models in memory. batch_size, input_shapes, dims: sizes
        of the inputs of what is read. Raises UnknownDeviceError for a device that this predictor was not trained for,
        ConfigError for arguments that are not meant so, ModelError for what cannot be read.
        """
        graphs = graphs_of(models, sizes_of(batch_size, input_shapes, dims))
        return self._estimates(graphs, names_of(devices))

    def predict_batches(
        self, graphs: Sequence[Graph], factors: Sequence[int], devices: Sequence[str] | None = None
    ) -> list[Estimate]:
        """An Estimate for each Graph, at `factors` times its batch, on each device (all by default), Graph by Graph.

        Raises ConfigError for a predictor that knows one batch only, UnknownDeviceError.
        """
        if self.card.tokenizer != CANONICAL:
            raise ConfigError(
                f"predictor {self.card.name} reads a network at its own batch only; the default one does not"
            )
        return self._estimates(graphs, devices, factors)

    def _estimates(
        self, graphs: Sequence[Graph], devices: Sequence[str] | None, factors: Sequence[int] = ()
    ) -> list[Estimate]:
        """factors: how many times its batch each Graph is asked at; () for once."""
        columns = self._columns(devices)
        if not graphs:
            return []
        read = [self._as_trained(graph) for graph in graphs]
        values, strange = self._values(read, factors)
        trust = self.trust(read, strange, factors)
        estimates = []
        for row, graph in enumerate(graphs):
            for column in columns:
                output, value = self.card.outputs[column], float(values[row, column])
                far, warnings = trust[row][column]
                factor = math.exp(_half_width(output, far, strange[row].kernels[column]))
                run, call = output.floor_ms
                least = run + call * len(read[row]) if run else 0.0
                estimates.append(
                    Estimate(
                        model=graph.name,
                        device=output.device,
                        latency_ms=value,
                        low_ms=min(max(value / factor, least), value),
                        high_ms=value * factor,
                        level=self.card.level,
                        held_out_mape=output.held_out.get("mape"),
                        warnings=warnings,
                    )
                )
        return estimates

    def latencies(self, graphs: Sequence[Graph]) -> npt.NDArray[np.float64]:
        """The numbers alone: (Graphs, devices), in ms."""
        return self._run_all([self._as_trained(g) for g in graphs_of(graphs)], "latency", len(self.card.outputs))

    def embed(self, graphs: Sequence[Graph]) -> npt.NDArray[np.float64]:
        """A vector for each Graph, (Graphs, width): what the model's last layer reads. Near vectors, like networks."""
        return self._run_all([self._as_trained(g) for g in graphs_of(graphs)], "embedding", 0)

    def explain(self, graph: Graph) -> tuple[Graph, npt.NDArray[np.float64]]:
        """Milliseconds of each node on each device, (nodes, devices), and the Graph whose nodes they are.

        That Graph is the given one as the predictor reads it: its canonical form, or with BatchNormalization folded.
        The parts sum to the estimate; what the run itself costs is in the first node's, and nodes that run within
        another's kernel have none. Raises ConfigError for a predictor that does not add up nodes.
        """
        if "node_latency" not in self._outputs:
            raise ConfigError(f"predictor {self.card.name} does not know its nodes' shares; the default one does")
        read = self._as_trained(graph)
        each = self._run_all([read], "node_latency", len(self.card.outputs))
        places = self._token_nodes(read)
        parts = np.zeros((len(read), len(self.card.outputs)))
        parts[places] = each[len(each) - len(places) :]
        parts[:1] += each[: len(each) - len(places)].sum(axis=0)
        return read, parts

    @property
    def _outputs(self) -> set[str]:
        return {output.name for output in self._session.get_outputs()}

    def _token_nodes(self, graph: Graph) -> list[int]:
        """The nodes of a Graph as it was trained on that have a token each, in the order of the tokens."""
        if self.card.tokenizer != CANONICAL:
            return list(range(len(graph)))
        from narformer.tokens.runtime_kernels import kernels

        return sorted(set(kernels(graph)))

    def _values(
        self, graphs: Sequence[Graph], factors: Sequence[int] = ()
    ) -> tuple[npt.NDArray[np.float64], list[_Strange]]:
        """Latencies (Graphs, devices) of Graphs as it was trained on, and what is strange in each of them."""
        width = len(self.card.outputs)
        if "node_strange" not in self._outputs:
            return self._run_all(graphs, "latency", width), [
                _Strange((0.0,) * width, ((),) * width, (1.0,) * width)
            ] * len(graphs)
        from narformer.tokens.runtime_kernels import kind_names

        values, found = np.zeros((len(graphs), width)), []
        row = 0
        for batch in self._batches(graphs, factors):
            latency, each, strange = self._run(batch, "latency", "node_latency", "node_strange")
            networks = len(latency)
            values[row : row + networks] = latency
            row += networks
            time = each * strange
            share = network_sums(time, batch.graph, networks)
            share /= np.maximum(network_sums(each, batch.graph, networks), 1e-12)
            many = effective_kernels(each, batch.graph, networks)
            names: list[list[tuple[str, ...]]] = [[()] * width for _ in range(networks)]
            for network, column in np.argwhere(share > STRANGE).tolist():
                there = (batch.graph == network) & (time[:, column] > 0)
                names[network][column] = tuple(sorted(set(kind_names(batch.features[there]))))
            for shares, kinds, counts in zip(share.tolist(), names, many.tolist(), strict=True):
                found.append(_Strange(tuple(shares), tuple(kinds), tuple(counts)))
        return values, found

    def _batches(self, graphs: Sequence[Graph], factors: Sequence[int] = ()) -> Iterator[PackedTokens]:
        """The Graphs' tokens, a few thousand at a time."""
        from narformer.tokens import runtime_kernels
        from narformer.tokens.packing import pack
        from narformer.tokens.registry import TOKENIZERS

        tokenize = TOKENIZERS[self.card.tokenizer]
        waiting: list[Tokens] = []
        size = 0
        for row, graph in enumerate(graphs):
            tokens = tokenize(graph)
            if factors and factors[row] != 1:
                tokens = replace(tokens, features=runtime_kernels.with_batch(tokens.features, factors[row]))
            if waiting and size + len(tokens.features) > TOKENS_PER_RUN:
                yield pack(waiting)
                waiting, size = [], 0
            waiting.append(tokens)
            size += len(tokens.features)
        if waiting:
            yield pack(waiting)

    def _run_all(self, graphs: Sequence[Graph], output: str, width: int) -> npt.NDArray[np.float64]:
        """One output of the model for Graphs as it was trained on."""
        parts = [self._run(batch, output)[0] for batch in self._batches(graphs)]
        return np.concatenate(parts) if parts else np.zeros((0, width))

    def _as_trained(self, graph: Graph) -> Graph:
        if self.card.tokenizer == CANONICAL:
            return canonical(graph)
        return fold_batch_norm(graph) if self.card.folds_batch_norm else graph

    def _run(self, batch: PackedTokens, *outputs: str) -> list[npt.NDArray[np.float64]]:
        feed = {
            "features": batch.features,
            "edges": batch.edges.astype(np.int64),
            "graph": batch.graph.astype(np.int64),
            "static": batch.static,
        }
        return [np.asarray(array, dtype=np.float64) for array in self._session.run(list(outputs), feed)]

    def _columns(self, devices: Sequence[str] | None) -> list[int]:
        if devices is None:
            return list(range(len(self.devices)))
        unknown = [d for d in devices if d not in self.devices]
        if unknown:
            raise UnknownDeviceError(
                f"unknown device {', '.join(unknown)}; this predictor knows {', '.join(self.devices)}"
            )
        return [self.devices.index(d) for d in devices]

    def trust(
        self, graphs: Sequence[Graph], strange: Sequence[_Strange] | None = None, factors: Sequence[int] = ()
    ) -> list[list[tuple[int, tuple[str, ...]]]]:
        """For each Graph and output: which interval it has (0 known, 1 novel, 2 doubted), and what not to trust.

        graphs: as the predictor was trained on. strange: what `_values` found; found here without.
        """
        from narformer.tokens.statistics import statistics, with_batch

        if strange is None:
            strange = self._values(graphs, factors)[1]
        times = np.array(factors or (1,) * len(graphs), dtype=np.float64)
        distances = self.card.novelty.distances(with_batch(np.stack([statistics(g) for g in graphs]), times))
        rows = []
        for graph, distance, odd, factor in zip(graphs, distances, strange, times, strict=True):
            near = [bool(distance[o.measured].min() <= o.threshold) for o in self.card.outputs]
            if self.card.tokenizer == CANONICAL:
                doubts = _doubts(graph, self.card.outputs, odd, graph.batch_size * int(factor))
                rows.append([(2 if told else int(not n), told) for n, told in zip(near, doubts, strict=True)])
            else:
                operators = {node.op for node in graph.distinct.nodes}
                rows.append([_novelty(graph, operators, o, n) for o, n in zip(self.card.outputs, near, strict=True)])
        return rows


@dataclass(frozen=True)
class _Strange:
    """Of a network, by output. share: of its time in kernels unlike any measured; kinds: theirs, where that is much.

    kernels: how many share the time, as `effective_kernels` counts them.
    """

    share: tuple[float, ...]
    kinds: tuple[tuple[str, ...], ...]
    kernels: tuple[float, ...]


def network_sums(
    each: npt.NDArray[np.float64], graph: npt.NDArray[np.integer], networks: int
) -> npt.NDArray[np.float64]:
    """Sums over the tokens of each network of a batch: each (T, outputs), graph (T,) -> (networks, outputs)."""
    total = np.zeros((networks, each.shape[1]))
    np.add.at(total, graph, each)
    return total


def effective_kernels(
    each: npt.NDArray[np.float64], graph: npt.NDArray[np.integer], networks: int
) -> npt.NDArray[np.float64]:
    """How many kernels share a network's time: (Σt)² / Σt², N for N equal ones, 1 where one takes all.

    each (T, outputs): ms of the kernels; graph (T,): the network of each -> (networks, outputs).
    """
    squares = network_sums(each**2, graph, networks)
    return np.asarray(network_sums(each, graph, networks) ** 2 / np.maximum(squares, 1e-30))


def spread(kernels: npt.ArrayLike, averaged: float) -> npt.NDArray[np.float64]:
    """The error of a sum of so many kernels, relative to that of one: a share of it averages out, as 1/√kernels."""
    return np.asarray(1 - averaged + averaged / np.sqrt(np.maximum(kernels, 1.0)))


def _half_width(output: Output, far: int, kernels: float) -> float:
    """Half width of the interval, in ln(ms), of a network that is known, novel or doubted (0, 1, 2).

    What is wrong with a network unlike those trained on is wrong with all its kernels: there nothing averages out.
    """
    known = output.quantiles["known"] * float(spread(kernels, output.averaged))
    novel = max(known, output.quantiles["novel"])
    return (known, novel, output.quantiles.get("doubted", novel + max(novel, DOUBTED)))[far]


def precision_of(graph: Graph) -> str:
    """The type of number in which a network computes: that of the data of most of its products of matrices."""
    counts: Counter[str] = Counter()
    for node, times in zip(graph.distinct.nodes, graph.distinct.times, strict=True):
        if node.operands and KINDS[operator_of(node).kind] == "matrix":
            counts[node.operands[0].tensor.dtype] += times
    return counts.most_common(1)[0][0] if counts else "float32"


def _doubts(graph: Graph, outputs: Sequence[Output], strange: _Strange, batch: int) -> list[tuple[str, ...]]:
    """By output, what is measurably wrong more often: kernels, precisions and batches that were never measured."""
    unknown = sorted({node.op for node in graph.distinct.nodes if not operator_of(node).known})
    precision = precision_of(graph)
    doubts = []
    for output, share, kinds in zip(outputs, strange.share, strange.kinds, strict=True):
        warnings = []
        if unknown:
            warnings.append(
                f"no cost is known of operator {', '.join(unknown)}: it counts as one that reads and writes"
            )
        if share > STRANGE:
            named = ", ".join(kinds) or "several"
            warnings.append(f"{100 * share:.0f} % of the time is in kernels unlike any measured there: {named}")
        if precision not in output.precisions:
            warnings.append(
                f"computes in {precision}, which was never measured there (only {', '.join(output.precisions)}): "
                f"the figure is that of {output.precisions[0]}"
            )
        least, most = min(output.batch_sizes), max(output.batch_sizes)
        if not least <= batch <= most:
            seen = str(least) if least == most else f"{least} to {most}"
            warnings.append(f"batch size {batch} was never measured there (only {seen}): an extrapolation")
        doubts.append(tuple(warnings))
    return doubts


def _novelty(graph: Graph, operators: set[str], output: Output, near: bool) -> tuple[int, tuple[str, ...]]:
    """As predictors on tokens of the file's own nodes see it: operators, batches and distance from training."""
    warnings = []
    unknown = sorted(operators.difference(output.operators))
    if unknown:
        warnings.append(f"never seen in training: operator {', '.join(unknown)}")
    if graph.batch_size not in output.batch_sizes:
        warnings.append(
            f"batch size {graph.batch_size} was never seen in training "
            f"(only {', '.join(map(str, output.batch_sizes))}): the figure is an extrapolation"
        )
    if not near:
        warnings.append("far from every network trained on: the interval is that of unknown families")
    return (2 if unknown else int(bool(warnings))), tuple(warnings)


def default_predictor(path: str | None = None) -> Predictor:
    """The predictor of this name or path, loaded once a process, with the devices that the user adapted to."""
    from narformer.adapted import with_adapted

    return with_adapted(_loaded(path))


@functools.lru_cache(maxsize=4)
def _loaded(path: str | None) -> Predictor:
    return Predictor.load(path)


def predict(
    models: Source | torch.nn.Module | Sequence[Source],
    example_inputs: torch.Tensor | Sequence[Any] | None = None,
    *,
    devices: str | Sequence[str] | None = None,
    batch_size: int | None = None,
    input_shapes: Mapping[str, Sequence[int | str]] | None = None,
    dims: Mapping[str, int] | None = None,
    predictor: str | None = None,
    store: str | Path | None = None,
    measured: bool = True,
) -> list[Estimate]:
    """Latency in ms, with an interval, of one or several networks on each device, without running them.

    A network that the store of measurements has on a device is answered from there (`source` is then "measured").

    models: paths of ONNX files, their bytes, models in memory, or Graphs; or one PyTorch module, with example_inputs
        for it.
    devices: ids, see `narformer devices`; all by default.
    batch_size, input_shapes, dims: bind or override the sizes of the networks' inputs: the batch, whole shapes by
        input, sizes by name (`dims={"sequence": 128}`). A Graph and a module have theirs.
    predictor: name of a shipped predictor or path of one of your own.
    store: path or URL; by default the user's, if there is one. measured: False to leave every store alone.
    Returns Estimates, network by network. Raises ModelError for a file that cannot be read, UnknownDeviceError for a
    device that the predictor does not know and on which the network was not measured, ConfigError for arguments that
    are not meant so, StoreError.

    >>> import narformer
    >>> narformer.predict("resnet18.onnx", devices="cortexA76cpu")  # doctest: +SKIP
    """
    from narformer.measurement.answers import answer, existing_store

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
        if opened is None:
            loaded.predict([], wanted)  # an unknown device is told before anything is read
        for start in range(0, len(networks), NETWORKS_AT_ONCE):
            graphs = [graph_of(network, sizes) for network in networks[start : start + NETWORKS_AT_ONCE]]
            for graph, found in zip(graphs, answer(graphs, loaded, wanted, opened), strict=True):
                missing = set(wanted or ()) - {estimate.device for estimate in found}
                if missing:
                    raise UnknownDeviceError(
                        f"{graph.name}: not measured on {', '.join(sorted(missing))}; the predictor knows "
                        f"{', '.join(loaded.devices)}"
                    )
                estimates += found
    return estimates
