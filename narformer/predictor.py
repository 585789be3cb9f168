"""A trained predictor: an ONNX file and its card, run by ONNX Runtime. Graphs in, Estimates out. No torch."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from narformer.errors import ConfigError, DataError, UnknownDeviceError
from narformer.frontends.folding import fold_batch_norm
from narformer.graph import Graph

if TYPE_CHECKING:
    import onnxruntime
    import torch

    from narformer.tokens.packing import PackedTokens, Tokens

PRETRAINED = Path(__file__).parent / "pretrained"
DEFAULT = "tally"
CARD_FORMAT = 2
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

    quantiles: half width of the interval in ln(ms), for networks like those trained on (`known`) and others (`novel`).
    held_out: measured on test rows never trained on: `mape` and `acc_10` in percent, `rows`.
    operators, batch_sizes: those of the training networks that were measured on this device; what only others were
        measured on is as good as never seen. references: a character for each of the card's reference networks, "1"
        where it was measured on this device. threshold: a network further than this from all of them is novel.
    """

    device: str
    description: str
    quantiles: Mapping[str, float]
    held_out: Mapping[str, float]
    operators: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    references: str
    threshold: float

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
            if data.pop("format") != CARD_FORMAT:
                raise DataError(f"{path}: a card of another format; install the narformer version that wrote it")
            novelty = data.pop("novelty")
            outputs = tuple(
                Output(**{**o, "operators": tuple(o["operators"]), "batch_sizes": tuple(o["batch_sizes"])})
                for o in data.pop("outputs")
            )
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

    def predict(self, graphs: Sequence[Graph], devices: Sequence[str] | None = None) -> list[Estimate]:
        """An Estimate for each Graph on each device (all by default), Graph by Graph.

        Raises UnknownDeviceError for a device that this predictor was not trained for.
        """
        columns = self._columns(devices)
        if not graphs:
            return []
        read = [self._as_trained(graph) for graph in graphs]
        values = self._run_all(read, "latency", len(self.card.outputs))
        trust = self.trust(read)
        estimates = []
        for row, graph in enumerate(graphs):
            for column in columns:
                output, value = self.card.outputs[column], float(values[row, column])
                far, warnings = trust[row][column]
                factor = math.exp(far * output.quantiles["novel"] if far else output.quantiles["known"])
                estimates.append(
                    Estimate(
                        model=graph.name,
                        device=output.device,
                        latency_ms=value,
                        low_ms=value / factor,
                        high_ms=value * factor,
                        level=self.card.level,
                        held_out_mape=output.held_out.get("mape"),
                        warnings=warnings,
                    )
                )
        return estimates

    def latencies(self, graphs: Sequence[Graph]) -> npt.NDArray[np.float64]:
        """The numbers alone: (Graphs, devices), in ms."""
        return self._run_all([self._as_trained(g) for g in graphs], "latency", len(self.card.outputs))

    def embed(self, graphs: Sequence[Graph]) -> npt.NDArray[np.float64]:
        """A vector for each Graph, (Graphs, width): what the model's last layer reads. Near vectors, like networks."""
        return self._run_all([self._as_trained(g) for g in graphs], "embedding", 0)

    def explain(self, graph: Graph) -> tuple[Graph, npt.NDArray[np.float64]]:
        """Milliseconds of each node on each device, (nodes, devices), and the Graph whose nodes they are.

        That Graph is the given one as the predictor reads it (BatchNormalization folded where it was trained so). The
        parts sum to the estimate; what reading the input costs is in the first node's. Raises ConfigError for a
        predictor that does not add up nodes.
        """
        if "node_latency" not in {output.name for output in self._session.get_outputs()}:
            raise ConfigError(f"predictor {self.card.name} does not know its nodes' shares; the default one does")
        read = self._as_trained(graph)
        each = self._run_all([read], "node_latency", len(self.card.outputs))
        parts = each[len(read.inputs) :].copy()
        parts[:1] += each[: len(read.inputs)].sum(axis=0)
        return read, parts

    def _run_all(self, graphs: Sequence[Graph], output: str, width: int) -> npt.NDArray[np.float64]:
        """One output of the model for Graphs as it was trained on, a few thousand tokens at a time."""
        from narformer.tokens.packing import pack
        from narformer.tokens.registry import TOKENIZERS

        tokenize = TOKENIZERS[self.card.tokenizer]
        parts: list[npt.NDArray[np.float64]] = []
        waiting: list[Tokens] = []
        size = 0
        for graph in graphs:
            tokens = tokenize(graph)
            if waiting and size + len(tokens.features) > TOKENS_PER_RUN:
                parts.append(self._run(pack(waiting), output))
                waiting, size = [], 0
            waiting.append(tokens)
            size += len(tokens.features)
        if waiting:
            parts.append(self._run(pack(waiting), output))
        return np.concatenate(parts) if parts else np.zeros((0, width))

    def _as_trained(self, graph: Graph) -> Graph:
        return fold_batch_norm(graph) if self.card.folds_batch_norm else graph

    def _run(self, batch: PackedTokens, output: str) -> npt.NDArray[np.float64]:
        feed = {
            "features": batch.features,
            "edges": batch.edges.astype(np.int64),
            "graph": batch.graph.astype(np.int64),
            "static": batch.static,
        }
        return np.asarray(self._session.run([output], feed)[0], dtype=np.float64)

    def _columns(self, devices: Sequence[str] | None) -> list[int]:
        if devices is None:
            return list(range(len(self.devices)))
        unknown = [d for d in devices if d not in self.devices]
        if unknown:
            raise UnknownDeviceError(
                f"unknown device {', '.join(unknown)}; this predictor knows {', '.join(self.devices)}"
            )
        return [self.devices.index(d) for d in devices]

    def trust(self, graphs: Sequence[Graph]) -> list[list[tuple[int, tuple[str, ...]]]]:
        """For each Graph and output: how wide the interval is in terms of the novel one (0, 1 or 2), and why.

        2, where operators were never seen: families left out of training, which set the novel interval, have none.
        """
        from narformer.tokens.statistics import statistics

        distances = self.card.novelty.distances(np.stack([statistics(g) for g in graphs]))
        rows = []
        for graph, distance in zip(graphs, distances, strict=True):
            operators = {node.op for node in graph.distinct.nodes}
            rows.append(
                [
                    _doubts(graph, operators, output, bool(distance[output.measured].min() <= output.threshold))
                    for output in self.card.outputs
                ]
            )
        return rows


def _doubts(graph: Graph, operators: set[str], output: Output, near: bool) -> tuple[int, tuple[str, ...]]:
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
    models: str | Path | Graph | torch.nn.Module | Sequence[str | Path | Graph],
    example_inputs: torch.Tensor | Sequence[Any] | None = None,
    *,
    devices: str | Sequence[str] | None = None,
    batch_size: int | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    predictor: str | None = None,
    store: str | Path | None = None,
    measured: bool = True,
) -> list[Estimate]:
    """Latency in ms, with an interval, of one or several networks on each device, without running them.

    A network that the store of measurements has on a device is answered from there (`source` is then "measured").

    models: paths of ONNX files, or Graphs; or one PyTorch module, with example_inputs for it.
    devices: ids, see `narformer devices`; all by default.
    batch_size, input_shapes: bind or override the sizes of the networks' inputs.
    predictor: name of a shipped predictor or path of one of your own.
    store: path or URL; by default the user's, if there is one. measured: False to leave every store alone.
    Returns Estimates, network by network. Raises ModelError for a file that cannot be read, UnknownDeviceError for a
    device that the predictor does not know and on which the network was not measured, StoreError.

    >>> import narformer
    >>> narformer.predict("resnet18.onnx", devices="cortexA76cpu")  # doctest: +SKIP
    """
    from narformer.frontends.onnx import read_onnx
    from narformer.measurement.answers import answer, existing_store

    if example_inputs is not None:
        from narformer.frontends.torch import read_torch

        models = read_torch(cast("torch.nn.Module", models), example_inputs)
    elif hasattr(models, "state_dict"):
        raise ConfigError(
            f"{type(models).__name__}: a PyTorch module needs example_inputs, what it would be called with"
        )
    several = [models] if isinstance(models, str | Path | Graph) else list(models)
    wanted = [devices] if isinstance(devices, str) else devices
    loaded = default_predictor(predictor)
    estimates: list[Estimate] = []
    with (existing_store(store) if measured else None) or nullcontext() as opened:
        if opened is None:
            loaded.predict([], wanted)  # an unknown device is told before anything is read
        for start in range(0, len(several), NETWORKS_AT_ONCE):
            graphs = [
                m if isinstance(m, Graph) else read_onnx(m, batch_size=batch_size, input_shapes=input_shapes)
                for m in several[start : start + NETWORKS_AT_ONCE]
            ]
            for graph, found in zip(graphs, answer(graphs, loaded, wanted, opened), strict=True):
                missing = set(wanted or ()) - {estimate.device for estimate in found}
                if missing:
                    raise UnknownDeviceError(
                        f"{graph.name}: not measured on {', '.join(sorted(missing))}; the predictor knows "
                        f"{', '.join(loaded.devices)}"
                    )
                estimates += found
    return estimates
