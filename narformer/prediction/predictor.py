"""A trained predictor: an ONNX file and its card, run by ONNX Runtime. Graphs in, Estimates out. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from narformer.errors import ConfigError, DataError, UnknownDeviceError
from narformer.frontends.canonical import canonical
from narformer.frontends.folding import fold_batch_norm
from narformer.frontends.sizes import sizes_of
from narformer.frontends.sources import Source, graphs_of, names_of
from narformer.graph import Graph
from narformer.prediction.card import Card
from narformer.prediction.estimate import Estimate
from narformer.prediction.trust import (
    STRANGE,
    Unfamiliar,
    doubts,
    effective_kernels,
    half_width,
    network_sums,
    novelty_warnings,
)
from narformer.tokens import runtime_kernels
from narformer.tokens.packing import PackedTokens, Tokens, pack
from narformer.tokens.registry import TOKENIZERS
from narformer.tokens.statistics import statistics, with_batch

if TYPE_CHECKING:
    import onnxruntime

PRETRAINED = Path(__file__).parents[1] / "pretrained"
DEFAULT = "tally2"
CANONICAL = "runtime_kernels"  # the tokenizer of predictors that read the canonical form
# Tokens in one run of the model: bounds memory, and keeps arrays within a core's cache.
TOKENS_PER_RUN = 4096


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
                factor = math.exp(half_width(output, far, strange[row].kernels[column]))
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
        return sorted(set(runtime_kernels.kernels(graph)))

    def _values(
        self, graphs: Sequence[Graph], factors: Sequence[int] = ()
    ) -> tuple[npt.NDArray[np.float64], list[Unfamiliar]]:
        """Latencies (Graphs, devices) of Graphs as it was trained on, and what is strange in each of them."""
        width = len(self.card.outputs)
        if "node_strange" not in self._outputs:
            return self._run_all(graphs, "latency", width), [
                Unfamiliar((0.0,) * width, ((),) * width, (1.0,) * width)
            ] * len(graphs)
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
                names[network][column] = tuple(sorted(set(runtime_kernels.kind_names(batch.features[there]))))
            for shares, kinds, counts in zip(share.tolist(), names, many.tolist(), strict=True):
                found.append(Unfamiliar(tuple(shares), tuple(kinds), tuple(counts)))
        return values, found

    def _batches(self, graphs: Sequence[Graph], factors: Sequence[int] = ()) -> Iterator[PackedTokens]:
        """The Graphs' tokens, a few thousand at a time."""
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
        self, graphs: Sequence[Graph], strange: Sequence[Unfamiliar] | None = None, factors: Sequence[int] = ()
    ) -> list[list[tuple[int, tuple[str, ...]]]]:
        """For each Graph and output: which interval it has (0 known, 1 novel, 2 doubted), and what not to trust.

        graphs: as the predictor was trained on. strange: what `_values` found; found here without.
        """
        if strange is None:
            strange = self._values(graphs, factors)[1]
        times = np.array(factors or (1,) * len(graphs), dtype=np.float64)
        distances = self.card.novelty.distances(with_batch(np.stack([statistics(g) for g in graphs]), times))
        rows = []
        for graph, distance, odd, factor in zip(graphs, distances, strange, times, strict=True):
            near = [bool(distance[o.measured].min() <= o.threshold) for o in self.card.outputs]
            if self.card.tokenizer == CANONICAL:
                warned = doubts(graph, self.card.outputs, odd, graph.batch_size * int(factor))
                rows.append([(2 if told else int(not n), told) for n, told in zip(near, warned, strict=True)])
            else:
                operators = {node.op for node in graph.distinct.nodes}
                rows.append(
                    [novelty_warnings(graph, operators, o, n) for o, n in zip(self.card.outputs, near, strict=True)]
                )
        return rows
