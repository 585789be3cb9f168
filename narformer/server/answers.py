"""What the service answers, by the package's own functions: the one file to follow where those change."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import onnx

from narformer.adaptation.predictor import adapted_devices, default_predictor
from narformer.cost import node_costs
from narformer.datasets import zoo
from narformer.errors import ConfigError, ModelWarning, UnknownDeviceError
from narformer.frontends.onnx import read_onnx
from narformer.frontends.onnx.weightless import weightless_onnx
from narformer.frontends.sizes import Sizes
from narformer.frontends.sources import graph_of
from narformer.graph import Graph
from narformer.inspection import inspection_of
from narformer.measurement.answers import answer, existing_store, wanted_targets
from narformer.operators import kernel_kind
from narformer.prediction import choice
from narformer.prediction.estimate import Estimate
from narformer.prediction.headline import headlines, one_target
from narformer.prediction.target import Target
from narformer.server.failures import Refused
from narformer.server.graphs import graph_from_json
from narformer.server.lately import Lately, Reading
from narformer.server.question import Network, Question, Setup

REMEMBERED_NODES = 5_000  # of networks that were read lately
REMEMBERED_SURVEYS = 8  # of pretrained networks, each on a target at a batch size


class Answers:
    """Answers questions, in one process. Raises DataError and StoreError where predictor or store cannot be opened."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.predictor = default_predictor(setup.predictor)
        self.store = existing_store(setup.store) if setup.measured else None
        self._surveys: OrderedDict[tuple[str, int], choice.Survey] = OrderedDict()
        self._read = Lately(REMEMBERED_NODES)

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
            return self.choose(question, [graph for graph, _ in read])
        told = [
            {**_named(network), "estimates": [e.to_dict() for e in estimates], "notes": list(notes)}
            for network, (_, notes), estimates in zip(
                question.networks, read, self.estimates([g for g, _ in read], question), strict=True
            )
        ]
        return told[0] if question.operation == "predict" else {"models": told}

    def read(self, network: Network, sizes: Sizes) -> Reading:
        """The Graph of a network with these sizes, and what is worth knowing of its file.

        Raises ModelError for what cannot be read, Refused for a network of too many nodes.
        """
        key = (network, repr(sizes))
        known = self._read.find(key)
        if known is not None:
            return known
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
        self._read.add(key, Reading(graph, notes))
        return Reading(graph, notes)

    def _graph(self, network: Network, sizes: Sizes) -> Graph:
        if network.zoo:
            known, shapes = _known(network), replace(sizes, batch_size=None)
            if shapes:
                known = _sized(weightless_onnx(known), network.name, shapes)
            return graph_of(known, Sizes(sizes.batch_size))
        if network.is_graph:
            return graph_of(graph_from_json(network.data, network.name), sizes)
        return _sized(network.data, network.name, sizes)

    def estimates(self, graphs: Sequence[Graph], question: Question) -> list[list[Estimate]]:
        """For each Graph an Estimate on each target asked for. Raises UnknownDeviceError where one has none."""
        store = self.store if question.measured else None
        wanted = wanted_targets(question.targets, self.predictor, store)
        found = answer(graphs, self.predictor, wanted, store)
        for graph, estimates in zip(graphs, found, strict=True):
            missing = sorted({*(wanted or ())} - {estimate.target for estimate in estimates})
            if missing:
                raise UnknownDeviceError(
                    f"{graph.name}: not measured on {missing[0]}, which the predictor does not know"
                )
        return found

    def targets(self) -> dict[str, Any]:
        """What can be predicted, and how well it was on held-out networks."""
        card = self.predictor.card
        first = set(headlines([o.device for o in card.outputs]))
        rows: list[dict[str, Any]] = [
            {
                **_about(o.device, o.description),
                "headline": o.device in first,
                "source": "predicted",
                "held_out": dict(o.held_out),
                "batch_sizes": [min(o.batch_sizes), max(o.batch_sizes)] if o.batch_sizes else [],
            }
            for o in card.outputs
        ]
        rows += [
            {
                **_about(d.name, d.description),
                "headline": True,
                "source": "adapted",
                "held_out": dict(d.validation),
                "batch_sizes": [],
            }
            for d in adapted_devices(self.predictor).values()
        ]
        return {"predictor": card.name, "targets": rows, "choosable": choice.targets(self.predictor)}

    def inspect(self, question: Question, graph: Graph, notes: Sequence[str]) -> dict[str, Any]:
        """What a network costs, as a whole and by operator."""
        told = inspection_of(graph, question.networks[0].name)
        names = graph.input_names or tuple(str(k) for k in range(len(graph.inputs)))
        types = {name: tensor.dtype for name, tensor in zip(names, graph.inputs, strict=True)}
        return {**told.to_dict(), **_named(question.networks[0]), "dtypes": types, "notes": list(notes)}

    def choose(self, question: Question, graphs: Sequence[Graph]) -> dict[str, Any]:
        """The pretrained networks worth taking on a target, and the one asked about among them.

        Raises UnknownDeviceError.
        """
        wanted = question.choice
        (text,) = question.targets or ("",)
        target, _ = one_target(text, choice.targets(self.predictor))
        batch = question.sizes.batch_size or 1
        surveyed = self._surveyed(target, batch)
        best = {(c.network, c.size) for c in surveyed.chosen(wanted.max_ms, wanted.top1)}
        chosen = surveyed.chosen(wanted.max_ms, wanted.top1, wanted.every)
        mine: Estimate | None = None
        if graphs:
            (mine,) = self.predictor.predict(graphs, target)
        return {
            "target": target,
            "batch_size": batch,
            "choices": [{**c.to_dict(), "frontier": (c.network, c.size) in best} for c in chosen],
            "left_out": surveyed.left_out,
            "mine": None if mine is None else mine.to_dict(),
        }

    def _surveyed(self, target: str, batch: int) -> choice.Survey:
        """All pretrained networks on a target, which takes a second; those asked for lately are remembered."""
        key = (target, batch)
        if key not in self._surveys:
            self._surveys[key] = choice.survey(target, batch, self.predictor)
            while len(self._surveys) > REMEMBERED_SURVEYS:
                self._surveys.popitem(last=False)
        self._surveys.move_to_end(key)
        return self._surveys[key]

    def explain(self, question: Question, graph: Graph, notes: Sequence[str]) -> dict[str, Any]:
        """Milliseconds of each node on one target, with what it costs and reads, so that it can be drawn."""
        (text,) = question.targets or self.predictor.targets[:1]
        target, _ = one_target(text, self.predictor.targets)
        if target in self.predictor.further.names:
            raise Refused(
                422, f"{target} is adapted: it is known by whole networks, not by nodes", "UnknownDeviceError"
            )
        read, parts = self.predictor.explain(graph)
        milliseconds = parts[:, self.predictor.targets.index(target)].tolist()
        nodes = [
            {
                "name": node.name,
                "operator": node.op,
                "kind": kernel_kind(node),
                "ms": ms,
                "shape": list(node.output_shape),
                "dtype": node.outputs[0].dtype if node.outputs else "",  # of an emptied sequence there is none
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
    return {"model": network.name, "upload": network.upload or None}


def _known(network: Network) -> Graph:
    """A network of the zoo. Raises Refused (404), with names that are near, where there is none such."""
    try:
        return zoo.load(network.zoo, network.size, source=network.source)
    except ConfigError as error:
        raise Refused(404, str(error), "ConfigError") from error


def _sized(model: bytes | onnx.ModelProto, name: str, sizes: Sizes) -> Graph:
    return read_onnx(model, name=name, batch_size=sizes.batch_size, input_shapes=sizes.input_shapes, dims=sizes.dims)
