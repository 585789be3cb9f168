"""What the service answers, by the package's own functions: the one file to follow where those change."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import onnx

from narformer.adaptation.predictor import PredictorWithAdapted, default_predictor
from narformer.cost import graph_cost, node_costs, peak_bytes, without_cost_rule
from narformer.datasets import zoo
from narformer.errors import ConfigError, ModelError, ModelWarning, UnknownDeviceError
from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.frontends.onnx.weightless import weightless_onnx
from narformer.frontends.sizes import Sizes
from narformer.graph import Graph
from narformer.measurement.answers import answer, existing_store
from narformer.operators import operator_of
from narformer.prediction.estimate import Estimate
from narformer.prediction.target import Target
from narformer.server.failures import Refused
from narformer.server.graphs import graph_from_json
from narformer.server.question import Network, Question, Setup

REMEMBERED_NODES = 50_000  # of networks that were read lately, so that another batch size is not all read anew
SHOWN_NAMES = 5  # of many that are unknown


class Answers:
    """Answers questions, in one process. Raises DataError and StoreError where predictor or store cannot be opened."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.predictor = default_predictor(setup.predictor)
        self.store = existing_store(setup.store) if setup.measured else None
        self._read: OrderedDict[tuple[Network, str], tuple[Graph, tuple[str, ...]]] = OrderedDict()

    def answer(self, question: Question) -> dict[str, Any]:
        """The answer as JSON's types. Raises NarformerError."""
        if question.operation == "targets":
            return self.targets()
        if question.operation == "zoo":
            return known_networks()
        read = [self.read(network, question.sizes) for network in question.networks]
        if question.operation == "inspect":
            return self.inspect(question, *read[0])
        if question.operation == "explain":
            return self.explain(question, *read[0])
        if question.operation == "choose":
            raise Refused(501, "this version of narformer does not choose networks yet; ask predict for each of yours")
        told = [
            {**_named(network), "estimates": [e.to_dict() for e in estimates], "notes": list(notes)}
            for network, (_, notes), estimates in zip(
                question.networks, read, self.estimates([g for g, _ in read], question), strict=True
            )
        ]
        return told[0] if question.operation == "predict" else {"models": told}

    def read(self, network: Network, sizes: Sizes) -> tuple[Graph, tuple[str, ...]]:
        """The Graph of a network with these sizes, and what is worth knowing of its file.

        Raises ModelError for what cannot be read, Refused for a network of too many nodes.
        """
        key = (network, repr(sizes))
        if key in self._read:
            self._read.move_to_end(key)
            return self._read[key]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ModelWarning)
            graph = self._graph(network, sizes)
        if len(graph) > self.setup.nodes:
            raise Refused(
                413,
                f"{network.name}: {len(graph)} nodes, more than the {self.setup.nodes} that this service takes; "
                "predict it on your own machine",
                "LimitError",
            )
        notes = tuple(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, ModelWarning)))
        self._read[key] = graph, notes
        while len(self._read) > 1 and sum(len(graph) for graph, _ in self._read.values()) > REMEMBERED_NODES:
            self._read.popitem(last=False)
        return graph, notes

    def _graph(self, network: Network, sizes: Sizes) -> Graph:
        if network.zoo:
            known = zoo.load(network.zoo, network.size, source=network.source)
            for part in (replace(sizes, batch_size=None), Sizes(sizes.batch_size)):
                # One after the other: where both change at once, nobody knows which of the numbers within it are which.
                known = _sized(weightless_onnx(known), network.name, part) if part else known
            return known
        if network.data[:1] == b"{":
            _no_sizes(sizes, network.name, "a Graph has its sizes; give them where it is read")
            return graph_from_json(network.data, network.name)
        return _sized(network.data, network.name, sizes)

    def estimates(self, graphs: Sequence[Graph], question: Question) -> list[list[Estimate]]:
        """For each Graph an Estimate on each target asked for. Raises UnknownDeviceError where one has none."""
        wanted = None if question.targets is None else list(dict.fromkeys(question.targets))
        if self.store is None and wanted is not None:
            self._know(wanted)
        found = answer(graphs, self.predictor, wanted, self.store if question.measured else None)
        for estimates in found:
            if wanted is not None and len(estimates) < len(wanted):
                self._know([target for target in wanted if target not in {e.device for e in estimates}])
        return found

    def _know(self, targets: Sequence[str]) -> None:
        unknown = [target for target in targets if target not in self.predictor.devices]
        if unknown:
            more = f" and {len(unknown) - SHOWN_NAMES} more" if len(unknown) > SHOWN_NAMES else ""
            raise UnknownDeviceError(
                f"unknown target {', '.join(map(repr, unknown[:SHOWN_NAMES]))}{more}; /v1/targets lists those known"
            )

    def targets(self) -> dict[str, Any]:
        """What can be predicted, and how well it was on held-out networks."""
        card = self.predictor.card
        rows: list[dict[str, Any]] = [
            {
                **_about(o.device, o.description),
                "source": "predicted",
                "held_out": dict(o.held_out),
                "batch_sizes": [min(o.batch_sizes), max(o.batch_sizes)] if o.batch_sizes else [],
            }
            for o in card.outputs
        ]
        adapted = self.predictor.adapted.values() if isinstance(self.predictor, PredictorWithAdapted) else ()
        rows += [
            {
                **_about(d.name, d.description),
                "source": "adapted",
                "held_out": dict(d.validation),
                "batch_sizes": [],
            }
            for d in adapted
        ]
        return {"predictor": card.name, "targets": rows}

    def inspect(self, question: Question, graph: Graph, notes: Sequence[str]) -> dict[str, Any]:
        """What a network costs, as a whole and by operator."""
        total, costs, unknown = graph_cost(graph), node_costs(graph), without_cost_rule(graph)
        operators: dict[str, dict[str, int]] = {}
        for node, cost in zip(graph.nodes, costs, strict=True):
            row = operators.setdefault(
                node.op if not node.domain else f"{node.domain}.{node.op}",
                {"count": 0, "macs": 0, "parameters": 0, "activation_bytes": 0},
            )
            row["count"] += 1
            row["macs"] += cost.macs
            row["parameters"] += cost.parameters
            row["activation_bytes"] += cost.activation_bytes
        names = graph.input_names or tuple(str(k) for k in range(len(graph.inputs)))
        return {
            **_named(question.networks[0]),
            "network_hash": network_hash(graph),
            "nodes": len(graph),
            "batch_size": graph.batch_size,
            "inputs": {n: {"shape": list(t.shape), "dtype": t.dtype} for n, t in zip(names, graph.inputs, strict=True)},
            "macs": total.macs,
            "flops": total.flops,
            "parameters": total.parameters,
            "weight_bytes": total.weight_bytes,
            "activation_bytes": total.activation_bytes,
            "peak_bytes": peak_bytes(graph),
            "without_cost_rule": unknown,
            "operators": operators,
            "notes": list(notes),
        }

    def explain(self, question: Question, graph: Graph, notes: Sequence[str]) -> dict[str, Any]:
        """Milliseconds of each node on one target, with what it costs and reads, so that it can be drawn."""
        (target,) = question.targets or self.predictor.devices[:1]
        adapted = self.predictor.adapted if isinstance(self.predictor, PredictorWithAdapted) else {}
        if target in adapted:
            raise Refused(
                422, f"{target} is adapted: it is known by whole networks, not by nodes", "UnknownDeviceError"
            )
        self._know([target])
        read, parts = self.predictor.explain(graph)
        milliseconds = parts[:, self.predictor.devices.index(target)].tolist()
        nodes = [
            {
                "name": node.name,
                "operator": node.op,
                "kind": operator_of(node).kind,
                "ms": round(ms, 6),
                "shape": list(node.output_shape),
                "dtype": node.outputs[0].dtype,
                "macs": cost.macs,
                "parameters": cost.parameters,
                "activation_bytes": cost.activation_bytes,
                "takes_in": len(node.origin),
                "reads": list(dict.fromkeys(node.sources)),
            }
            for node, cost, ms in zip(read.nodes, node_costs(read), milliseconds, strict=True)
        ]
        names = read.input_names or tuple(str(k) for k in range(len(read.inputs)))
        inputs = [
            {"name": n, "shape": list(t.shape), "dtype": t.dtype} for n, t in zip(names, read.inputs, strict=True)
        ]
        return {
            **_named(question.networks[0]),
            "target": target,
            "latency_ms": sum(milliseconds),
            "batch_size": read.batch_size,
            "inputs": inputs,
            "nodes": nodes,
            "notes": list(notes),
        }


def known_networks() -> dict[str, Any]:
    """The zoo's networks, by the names under which they can be asked for."""
    return {"networks": [{"source": e.source, "zoo": e.name, "size": e.size or None} for e in zoo.names()]}


def _about(device: str, description: str) -> dict[str, Any]:
    """A target for people, and the groups to which it belongs: its kind, maker, hardware, runtime and precision."""
    try:
        target = Target.parse(device)
    except ConfigError:
        return {"target": device, "title": device, "description": description, "groups": []}
    facts = target.facts
    groups = (facts.kind, facts.group, facts.maker, target.runtime_name, target.variant, target.precision)
    return {
        "target": device,
        "title": facts.title,
        "description": target.description,
        "groups": list(dict.fromkeys(group for group in groups if group)),
    }


def _named(network: Network) -> dict[str, Any]:
    return {"model": network.name, "hash": network.hash or None}


def _sized(model: bytes | onnx.ModelProto, name: str, sizes: Sizes) -> Graph:
    return read_onnx(model, name=name, batch_size=sizes.batch_size, input_shapes=sizes.input_shapes, dims=sizes.dims)


def _no_sizes(sizes: Sizes, name: str, why: str) -> None:
    if sizes:
        raise ModelError(f"{name}: {why}")
