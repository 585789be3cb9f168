"""Where the milliseconds go: what a predictor says of each node of a network on one target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from narformer.errors import ConfigError
from narformer.figures import milliseconds, sizes
from narformer.frontends.canonical import network_hash
from narformer.graph import Graph, Node
from narformer.operators import kernel_kind, operator_of
from narformer.prediction.predictor import Predictor
from narformer.records import Answers
from narformer.tables import Column, Table

LISTED = 15  # slowest nodes in a table, where nothing else is asked for


class Part(NamedTuple):
    """One node, or all nodes that have something in common: its name, how many there are, and their time."""

    name: str
    nodes: int
    ms: float


@dataclass(frozen=True)
class Explanation:
    """The milliseconds of each node of a network on one target. They sum to the estimate.

    graph: the network as the predictor reads it, its canonical form. milliseconds: of each of its nodes; what the run
    itself costs is in the first one's, and a node that runs within another's kernel has none. hash: as an Estimate's.

    >>> import narformer
    >>> (explained,) = narformer.explain("examples/resnet18.onnx", devices="adreno-640")
    >>> explained.kinds[0].name, explained.kinds[0].nodes
    ('convolution', 17)
    """

    model: str
    target: str
    graph: Graph = field(repr=False)
    milliseconds: tuple[float, ...] = field(repr=False)
    hash: str = ""

    @cached_property
    def latency_ms(self) -> float:
        """The whole network's."""
        return sum(self.milliseconds)

    @property
    def batch_size(self) -> int:
        """Inputs in one run of the network."""
        return self.graph.batch_size

    @cached_property
    def operators(self) -> tuple[Part, ...]:
        """The time of all nodes of each operator, most first."""
        return self._parts(node.op for node in self.graph.nodes)

    @cached_property
    def kinds(self) -> tuple[Part, ...]:
        """The time of all kernels of each kind (see `narformer.operators.KINDS`), most first."""
        rows = zip(self.graph.nodes, self.milliseconds, strict=True)
        return self._parts(kernel_kind(node) if ms > 0 else "" for node, ms in rows)

    @cached_property
    def kernels(self) -> tuple[Part, ...]:
        """The time of all kernels that do the same to data of the same shape, most first."""
        rows = zip(self.graph.nodes, self.milliseconds, strict=True)
        return self._parts(described(node) if ms > 0 else "" for node, ms in rows)

    def _parts(self, names: Iterable[str]) -> tuple[Part, ...]:
        found: dict[str, list[float]] = {}
        for name, ms in zip(names, self.milliseconds, strict=True):
            if name:
                found.setdefault(name, []).append(ms)
        parts = [Part(name, len(times), sum(times)) for name, times in found.items()]
        return tuple(sorted(parts, key=lambda part: (-part.ms, part.name)))

    def share(self, ms: float) -> str:
        """How much of the whole this is, in percent."""
        return f"{100 * ms / self.latency_ms:.1f} %" if self.latency_ms > 0 else ""

    def records(self) -> list[dict[str, Any]]:
        """A row a node, as CSV and Markdown have them."""
        whole = {name: value for name, value in self._whole().items() if name != "device"}
        return [{**whole, **node} for node in self._nodes()]

    def to_dict(self) -> dict[str, Any]:
        """Latency, and the parts by kind of kernel, by operator and by node, as JSON's types."""
        return {
            **self._whole(),
            "kinds": [{"kind": name, "kernels": nodes, "ms": round(ms, 6)} for name, nodes, ms in self.kinds],
            "operators": [{"operator": name, "nodes": nodes, "ms": round(ms, 6)} for name, nodes, ms in self.operators],
            "nodes": self._nodes(),
        }

    def _whole(self) -> dict[str, Any]:
        return {
            "hash": self.hash,
            "model": self.model,
            "target": self.target,
            "batch_size": self.batch_size,
            "latency_ms": self.latency_ms,
            "device": self.target,  # what `target` was called: scripts read it
        }

    def _nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "index": index,
                "node": node.name,
                "operator": node.op,
                "kind": kernel_kind(node),
                "shape": list(node.output_shape),
                "ms": round(ms, 6),
            }
            for index, (node, ms) in enumerate(zip(self.graph.nodes, self.milliseconds, strict=True))
        ]

    def part_table(self, title: str, parts: Sequence[Part]) -> Table:
        """Parts with their share, as people read them. title: what they are."""
        columns = (Column(title), Column("nodes", right=True), Column("ms", right=True), Column("share", right=True))
        rows = [(part.name, str(part.nodes), milliseconds(part.ms), self.share(part.ms)) for part in parts]
        return Table(columns, tuple(rows))

    def node_table(self, top: int = LISTED) -> Table:
        """The slowest nodes, as people read them; #: which of the network's nodes it is, counted from 0."""
        columns = (
            Column("slowest nodes", short=True),
            Column("#", right=True),
            Column("operator", short=True),
            Column("output"),
            Column("ms", right=True),
            Column("share", right=True),
        )
        slowest = sorted(range(len(self.milliseconds)), key=lambda k: -self.milliseconds[k])[:top]
        rows = []
        for k in slowest:
            node, ms = self.graph.nodes[k], self.milliseconds[k]
            rows.append((node.name, str(k), node.op, sizes(node.output_shape), milliseconds(ms), self.share(ms)))
        return Table(columns, tuple(rows))

    def __repr__(self) -> str:
        most = ", ".join(f"{part.name} {self.share(part.ms)}" for part in self.kinds[:3])
        return f"Explanation({self.model!r} on {self.target}: {milliseconds(self.latency_ms)} ms; {most})"

    def _repr_html_(self) -> str:
        head = f"<p>{self.model} on {self.target}: {milliseconds(self.latency_ms)} ms</p>"
        return f"{head}\n{self.part_table('kind', self.kinds).html()}\n{self.node_table().html()}"


class Explanations(Answers[Explanation]):
    """Explanations in order, network by network.

    >>> import narformer
    >>> narformer.explain("examples/resnet18.onnx", devices="rtx5090").records()[0]["operator"]
    'Conv'
    """

    def records(self) -> list[dict[str, Any]]:
        """A row a node of each."""
        return [record for explanation in self for record in explanation.records()]

    def table(self) -> Table:
        """A line an explanation, with the three kinds of kernel that take most."""
        columns = (
            Column("model", short=True),
            Column("target"),
            Column("latency", right=True),
            Column("most of it", short=False),
        )
        rows = []
        for each in self:
            most = ", ".join(f"{part.name} {each.share(part.ms)}" for part in each.kinds[:3])
            rows.append((each.model, each.target, f"{milliseconds(each.latency_ms)} ms", most))
        return Table(columns, tuple(rows))


def explanations(predictor: Predictor, graph: Graph, targets: Sequence[str], model: str | None = None) -> Explanations:
    """Where a network's milliseconds go on some of the predictor's own targets. model: what to call the network.

    Raises ConfigError for a predictor that does not add up nodes, and for a target that is not its own: an adapted one
    is known by whole networks.
    """
    own = [output.device for output in predictor.card.outputs]
    for target in targets:
        if target not in own:
            raise ConfigError(
                f"{target} is adapted: it is known by whole networks, not by nodes; "
                f"explain one of the predictor's own: {', '.join(own[:4])}, ...; `narformer devices` lists all"
            )
    form, parts = predictor.explain(graph)
    hash = network_hash(graph)
    name = graph.name if model is None else model
    return Explanations(
        Explanation(name, target, form, tuple(parts[:, own.index(target)].tolist()), hash) for target in targets
    )


def described(node: Node) -> str:
    """What a kernel does, short: nodes with the same description do the same to data of the same shape.

    >>> from narformer.graph import Operand, Tensor
    >>> operands = (Operand(Tensor((1, 3, 8, 8)), ~0), Operand(Tensor((16, 3, 3, 3))))
    >>> described(Node("stem", "Conv", operands, (Tensor((1, 16, 4, 4)),), {"strides": (2, 2)}))
    'Conv 3x3/2 3 → 16, 4x4'
    """
    out = node.output_shape
    weight = node.operand(1)
    kind = kernel_kind(node)
    if weight is not None and weight.is_weight and node.op == "Conv" and len(out) > 2:
        shape = weight.tensor.shape
        groups = node.attributes.get("group", 1)
        channels = shape[1] * (groups if isinstance(groups, int) else 1)
        name = "Conv" if kind in ("convolution", "pointwise", "fully connected") else f"{kind} Conv"
        stride = _stride(node.attributes)
        batch = f", batch {out[0]}" if out[0] != 1 else ""
        return f"{name} {sizes(shape[2:])}{stride} {channels} → {shape[0]}, {sizes(out[2:])}{batch}"
    if weight is not None and weight.is_weight and kind == "fully connected" and len(weight.tensor.shape) == 2:
        read = node.operands[0].tensor.shape
        rows = node.operands[0].tensor.elements // max(read[-1] if read else 1, 1)
        return f"{node.op} {read[-1] if read else 1} → {out[-1] if out else 1}, {rows} row{'s' if rows != 1 else ''}"
    read_shapes = [o.tensor.shape for o in node.operands if not o.is_weight]
    name = node.op if operator_of(node).known else f"{node.domain}.{node.op}".lstrip(".")
    if kind in ("matrix product", "attention", "concatenate") and read_shapes:
        return f"{name} {', '.join(sizes(shape) for shape in read_shapes[:3])} → {sizes(out)}"
    return f"{name} {sizes(out)}"


def _stride(attributes: Mapping[str, Any]) -> str:
    strides = attributes.get("strides", ())
    if not isinstance(strides, tuple) or all(stride == 1 for stride in strides):
        return ""
    return f"/{strides[0]}" if len(set(strides)) == 1 else f"/{sizes(strides)}"
