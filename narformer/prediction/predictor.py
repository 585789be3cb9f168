"""A trained predictor: an ONNX file and its card, run by ONNX Runtime. Graphs in, Estimates out. No torch."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from narformer.errors import ConfigError, DataError, did_you_mean
from narformer.frontends.canonical import canonical, network_hash
from narformer.frontends.folding import fold_batch_norm
from narformer.frontends.sizes import sizes_of
from narformer.frontends.sources import Source, graphs_of, names_of, traced
from narformer.graph import Graph
from narformer.prediction.card import Card, Limits, Output
from narformer.prediction.estimate import Estimate, Estimates
from narformer.prediction.further import FurtherTargets, NoFurtherTargets
from narformer.prediction.reading import Reading, read
from narformer.prediction.target import select
from narformer.prediction.trust import (
    STRANGE,
    Unfamiliar,
    doubts,
    effective_kernels,
    half_widths,
    network_sums,
    novelty_warnings,
)
from narformer.telemetry import onnxruntime_without_telemetry
from narformer.tokens import runtime_kernels
from narformer.tokens.packing import PackedTokens, Tokens, pack
from narformer.tokens.registry import TOKENIZERS

if TYPE_CHECKING:
    import onnxruntime
    import torch

PRETRAINED = Path(__file__).parents[1] / "pretrained"
DEFAULT = "tally2"
CANONICAL = "runtime_kernels"  # the tokenizer of predictors that read the canonical form
# Tokens in one run of the model: bounds memory, and keeps arrays within a core's cache.
TOKENS_PER_RUN = 4096


def predictor_file(path: str | Path | None = None) -> Path:
    """The ONNX file of a shipped predictor's name, or of a path. Raises DataError where there is none."""
    name = str(path or DEFAULT)
    file = Path(name) if name.endswith(".onnx") else PRETRAINED / f"{name}.onnx"
    if not file.is_file():
        shipped = sorted(p.stem for p in PRETRAINED.glob("*.onnx"))
        raise DataError(
            f"{name}: no such predictor; {did_you_mean(name, shipped)}give the path of an .onnx file, or one of those "
            f"shipped: {', '.join(shipped) or 'none'}"
        )
    return file


class Predictor:
    """A predictor loaded from `NAME.onnx` and `NAME.json`.

    >>> import narformer
    >>> predictor = narformer.load()
    >>> predictor
    Predictor('tally2', 121 targets)
    >>> predictor.predict("examples/resnet18.onnx", "adreno-640")[0].unit
    'ms'
    """

    def __init__(
        self, card: Card, session: onnxruntime.InferenceSession, further: FurtherTargets | None = None
    ) -> None:
        """further: targets for which it answers beyond those of its card, which are its own."""
        self.card = card
        self.further = further or NoFurtherTargets()
        self._session = session

    @classmethod
    def load(cls, path: str | Path | None = None) -> Predictor:
        """Load a shipped predictor by name, or any by the path of its ONNX file; without one, the default.

        Raises DataError where either file is absent or broken.
        """
        onnxruntime = onnxruntime_without_telemetry()
        file = predictor_file(path)
        card = Card.read(file.with_suffix(".json"))  # what has none is a network, and another message
        options = onnxruntime.SessionOptions()
        # In several threads ONNX Runtime's ScatterND loses what it should add: sums over a network's kernels come out
        # up to 80 % too small, now and then.
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        # Sizes differ from network to network: a plan of memory for the last one's would double the peak, for nothing.
        options.enable_mem_pattern = False
        try:
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises classes of its own for each way to be broken
            raise DataError(f"{file}: ONNX Runtime cannot load it ({str(error).splitlines()[0]})") from error
        return cls(card, session)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.card.name!r}, {len(self.devices)} targets)"

    def with_further(self, further: FurtherTargets) -> Predictor:
        """The same predictor, answering for further targets too."""
        return Predictor(self.card, self._session, further)

    @property
    def targets(self) -> tuple[str, ...]:
        """What latencies are predicted on: its own targets, then further ones."""
        return (*self.own_targets, *self.further.names)

    @functools.cached_property
    def own_targets(self) -> tuple[str, ...]:
        """The targets that it was trained for, an output of its model each."""
        return tuple(output.device for output in self.card.outputs)

    @property
    def devices(self) -> tuple[str, ...]:
        """What `targets` was called."""
        return self.targets

    def predict(
        self,
        models: Source | torch.nn.Module | Sequence[Source],
        devices: str | Sequence[str] | None = None,
        *,
        example_inputs: torch.Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
        batch_size: int | None = None,
        input_shapes: Mapping[str, Sequence[int | str]] | None = None,
        dims: Mapping[str, int] | None = None,
    ) -> Estimates:
        """An Estimate for each network on each target (all by default), network by network.

        models: what `narformer.predict` takes: Graphs, paths, bytes, models in memory, or one PyTorch module with
        example_inputs. batch_size, input_shapes, dims: sizes of the inputs of what is read. Raises UnknownDeviceError
        for a target that this predictor was not trained for, ConfigError for arguments that are not meant so,
        ModelError for what cannot be read.
        """
        sizes = sizes_of(batch_size, input_shapes, dims)
        if example_inputs is not None:
            models = traced(models, example_inputs, sizes)
        graphs = graphs_of(models, sizes)
        wanted = names_of(devices)
        networks = [replace(self.read(graph), hash=network_hash(graph)) for graph in graphs]
        return Estimates(self.estimates(networks, wanted))

    def predict_batches(
        self, graphs: Sequence[Graph], factors: Sequence[int], devices: Sequence[str] | None = None
    ) -> Estimates:
        """An Estimate for each Graph, at `factors` times its batch, on each device (all by default), Graph by Graph.

        Raises ConfigError for a predictor that knows one batch only, UnknownDeviceError.
        """
        if self.card.tokenizer != CANONICAL:
            raise ConfigError(
                f"predictor {self.card.name} reads a network at its own batch only; the default one does not"
            )
        networks = [self.read(graph).at_batch(factor) for graph, factor in zip(graphs, factors, strict=True)]
        return Estimates(self.estimates(networks, devices))

    def read(self, graph: Graph) -> Reading:
        """A network as this predictor reads it; to be asked of it as often as one likes."""
        form = self._as_trained(graph)
        return read(form, TOKENIZERS[self.card.tokenizer](form), graph.name)

    def estimates(self, networks: Sequence[Reading], devices: Sequence[str] | None = None) -> list[Estimate]:
        """As `predict`, of networks that this predictor has read, or one with the same tokenizer."""
        wanted = list(self.targets) if devices is None else self.select(devices)
        if not networks:
            return []
        own = [target for target in wanted if target not in self.further.names]
        found = self._own_estimates(networks, own)
        if len(own) == len(wanted):
            return found
        columns = {target: found[place :: len(own)] for place, target in enumerate(own)}
        columns |= {t: self.further.estimates(networks, t, self) for t in wanted if t not in columns}
        return [columns[target][row] for row in range(len(networks)) for target in wanted]

    def _own_estimates(self, networks: Sequence[Reading], targets: Sequence[str]) -> list[Estimate]:
        """An Estimate for each network on each of some of its own targets."""
        columns = self._columns(targets)
        if not columns:
            return []
        outputs = [self.card.outputs[column] for column in columns]
        values, found = self._values(networks, columns)
        limits = self.card.limits.at(columns)
        trust = self._trust(networks, found, outputs, limits)
        far = np.array([[level for level, _ in row] for row in trust])
        factor = np.exp(half_widths(limits, far, found.kernels, found.novelty, values))
        values = np.maximum(values, limits.run)
        least = limits.run + np.where(limits.run > 0, limits.call, 0) * np.array([[n.nodes] for n in networks])
        low, high = np.minimum(np.maximum(values / factor, least), values), values * factor
        errors = [output.held_out.get("mape") for output in outputs]
        estimates: list[Estimate] = []
        rows = zip(networks, values.tolist(), low.tolist(), high.tolist(), trust, strict=True)
        for network, value, least_ms, most_ms, told in rows:
            size = network.batch_size
            one = Estimate(network.name, "", 0, 0, 0, batch_size=size, level=self.card.level, hash=network.hash)
            estimates += one.others(
                target=targets,
                value=value,
                low=least_ms,
                high=most_ms,
                held_out_error=errors,
                warnings=[warnings for _, warnings in told],
                extrapolated=[not seen for seen in limits.has_seen(size)],
            )
        return estimates

    def latencies(self, graphs: Sequence[Graph]) -> npt.NDArray[np.float64]:
        """The numbers alone: (Graphs, targets), in ms."""
        if not self.further.names:
            return self._run_all(self._tokens(graphs_of(graphs)), "latency", len(self.card.outputs))
        networks = [self.read(graph) for graph in graphs_of(graphs)]
        own = self._run_all((network.tokens for network in networks), "latency", len(self.card.outputs))
        others = [[e.value for e in self.further.estimates(networks, name, self)] for name in self.further.names]
        return np.column_stack([own, *others])

    def embed(self, graphs: Sequence[Graph]) -> npt.NDArray[np.float64]:
        """A vector for each Graph, (Graphs, width): what the model's last layer reads. Near vectors, like networks."""
        return self._run_all(self._tokens(graphs_of(graphs)), "embedding", 0)

    def explain(self, graph: Graph) -> tuple[Graph, npt.NDArray[np.float64]]:
        """Milliseconds of each node on each device, (nodes, devices), and the Graph whose nodes they are.

        That Graph is the given one as the predictor reads it: its canonical form, or with BatchNormalization folded.
        The parts sum to the estimate; what the run itself costs is in the first node's, and nodes that run within
        another's kernel have none. Raises ConfigError for a predictor that does not add up nodes.
        """
        if not self.explains:
            raise ConfigError(f"predictor {self.card.name} does not know its nodes' shares; the default one does")
        form = self._as_trained(graph)
        each = self._run_all(self._tokens([form]), "node_latency", len(self.card.outputs))
        places = self._token_nodes(form)
        parts = np.zeros((len(form), len(self.card.outputs)))
        parts[places] = each[len(each) - len(places) :]
        parts[:1] += each[: len(each) - len(places)].sum(axis=0)
        return form, parts

    def by_kind(self, networks: Sequence[Reading], targets: Sequence[str]) -> npt.NDArray[np.float64]:
        """Milliseconds by kind of kernel on some targets, (networks, kinds, targets), of networks it has read.

        Kinds are those of `tokens.runtime_kernels.KINDS`. Raises ConfigError for a predictor that does not tell them.
        """
        if self.card.tokenizer != CANONICAL or "node_latency" not in self._outputs:
            raise ConfigError(f"predictor {self.card.name} does not tell kinds of kernels apart; the default one does")
        columns = self._columns(select(targets, self.own_targets))
        parts = np.zeros((len(networks), len(runtime_kernels.KINDS), len(columns)))
        row = 0
        for batch in _batches(network.tokens for network in networks):
            (each,) = self._run(batch, "node_latency")
            np.add.at(parts, (row + batch.graph, runtime_kernels.kinds(batch.features)), each[:, columns])
            row += len(batch.static)
        return parts

    @property
    def explains(self) -> bool:
        """Whether it knows its nodes' shares."""
        return "node_latency" in self._outputs

    @functools.cached_property
    def _outputs(self) -> set[str]:
        return {output.name for output in self._session.get_outputs()}

    def _token_nodes(self, graph: Graph) -> list[int]:
        """The nodes of a Graph as it was trained on that have a token each, in the order of the tokens."""
        if self.card.tokenizer != CANONICAL:
            return list(range(len(graph)))
        return sorted(set(runtime_kernels.kernels(graph)))

    def _values(
        self, networks: Sequence[Reading], columns: Sequence[int]
    ) -> tuple[npt.NDArray[np.float64], Unfamiliar]:
        """Latencies on some devices, (networks, columns), and what is strange in the networks there."""
        tokens = [network.tokens for network in networks]
        if "node_strange" not in self._outputs:
            values = self._run_all(tokens, "latency", len(self.card.outputs))[:, columns]
            return values, Unfamiliar(np.zeros(values.shape), np.ones(values.shape), np.zeros(values.shape))
        parts, kinds, row = [], {}, 0
        every = columns == list(range(len(self.card.outputs)))
        told = ("network_novelty",) if "network_novelty" in self._outputs else ()
        for batch in _batches(tokens):
            outputs = self._run(batch, "latency", "node_latency", "node_strange", *told)
            latency, each, strange, *more = outputs if every else [o.take(columns, axis=1) for o in outputs]
            count = len(latency)
            time = each * strange
            share = network_sums(time, batch.graph, count)
            share /= np.maximum(network_sums(each, batch.graph, count), 1e-12)
            for network, column in np.argwhere(share > STRANGE).tolist():
                there = (batch.graph == network) & (time[:, column] > 0)
                names = runtime_kernels.kind_names(batch.features[there])
                kinds[row + network, column] = tuple(sorted(set(names)))
            many = effective_kernels(each, batch.graph, count)
            parts.append((latency, share, many, more[0] if more else np.zeros(latency.shape)))
            row += count
        values, share, many, novelty = (np.concatenate(part) for part in zip(*parts, strict=True))
        return values, Unfamiliar(share, many, novelty, kinds)

    def _tokens(self, graphs: Sequence[Graph]) -> Iterator[Tokens]:
        tokenize = TOKENIZERS[self.card.tokenizer]
        return (tokenize(self._as_trained(graph)) for graph in graphs)

    def _run_all(self, tokens: Iterable[Tokens], output: str, width: int) -> npt.NDArray[np.float64]:
        """One output of the model."""
        parts = [self._run(batch, output)[0] for batch in _batches(tokens)]
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

    def select(self, targets: str | Iterable[str]) -> list[str]:
        """Those of its targets that some texts stand for: ids, hardware, beginnings (target.py tells).

        Raises UnknownDeviceError, which names the nearest, for what stands for none of them; DataError for a further
        target that cannot be used.
        """
        texts = [targets] if isinstance(targets, str) else list(targets)
        for text in texts:
            if text in self.further.unusable:
                raise DataError(self.further.unusable[text])
        return select(texts, self.targets)

    def _columns(self, targets: Sequence[str]) -> list[int]:
        """The outputs of the model for some of its own targets."""
        return [self._places[target] for target in targets]

    @functools.cached_property
    def _places(self) -> Mapping[str, int]:
        return {target: column for column, target in enumerate(self.own_targets)}

    def trust(
        self, networks: Sequence[Reading], outputs: Sequence[Output] | None = None
    ) -> list[list[tuple[int, tuple[str, ...]]]]:
        """For each network and output: which interval it has (0 known, 1 novel, 2 doubted), and what not to trust.

        outputs: some of the card's, which may differ from it in what they were measured at; all by default.
        """
        asked = self.card.outputs if outputs is None else outputs
        columns = self._columns([output.device for output in asked])
        return self._trust(networks, self._values(networks, columns)[1], asked, Limits.of(asked))

    def _trust(
        self, networks: Sequence[Reading], found: Unfamiliar, outputs: Sequence[Output], limits: Limits
    ) -> list[list[tuple[int, tuple[str, ...]]]]:
        """found: what `_values` found at these outputs, which have these limits."""
        statistics = np.stack([network.statistics for network in networks])
        nearest = self.card.novelty.nearest(statistics, [output.references for output in outputs])
        near = (nearest <= limits.threshold).tolist()
        if self.card.tokenizer == CANONICAL:
            return [
                [(2 if told else int(not n), told) for n, told in zip(familiar, warned, strict=True)]
                for familiar, warned in zip(near, doubts(networks, outputs, limits, found), strict=True)
            ]
        return [
            [novelty_warnings(network, o, n) for o, n in zip(outputs, familiar, strict=True)]
            for network, familiar in zip(networks, near, strict=True)
        ]


def _batches(networks: Iterable[Tokens]) -> Iterator[PackedTokens]:
    """Tokens of networks, a few thousand at a time."""
    waiting: list[Tokens] = []
    size = 0
    for tokens in networks:
        if waiting and size + len(tokens.features) > TOKENS_PER_RUN:
            yield pack(waiting)
            waiting, size = [], 0
        waiting.append(tokens)
        size += len(tokens.features)
    if waiting:
        yield pack(waiting)
