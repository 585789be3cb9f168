"""A Graph while it is being changed: what every rule of the canonical form reads and writes.

Nodes keep their index as long as they live, so that rules can name them. A sweep visits them in order; a rule looks
back from the node at hand to those before it, which are canonical already, and says what becomes of it: `put` another
in its place, `drop` it (it does nothing), or `fold` it (it is a constant). Nodes that nothing reads any more go by
themselves, and their names are kept with the node that did away with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from narformer.graph import Graph, Node, Operand


class Draft:
    """nodes: by index; None where one is gone. Indices beyond the Graph's own are nodes that rules have inserted."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node | None] = list(graph.nodes)
        # How many operands read each node; the last nodes, which nothing reads, are read by the world.
        self.uses = [0] * len(graph.nodes)
        for node in graph.nodes:
            for operand in node.operands:
                if operand.source is not None and operand.source >= 0:
                    self.uses[operand.source] += 1
        self.uses = [count or 1 for count in self.uses]
        # How many of them read another output than the first.
        self._later: Counter[tuple[int, int]] = Counter(
            (o.source, o.output) for node in graph.nodes for o in node.operands if o.output and o.source is not None
        )
        # What rules of one pass write down for each other.
        self.notes: dict[tuple[object, ...], object] = {}
        # The operator at each index, as tables of rules name it, and those that occur, or have occurred.
        self.spelt = [spelt(node) for node in graph.nodes]
        self.ops = set(self.spelt)
        self._instead: dict[tuple[int, int], Operand] = {}
        self._before: dict[int, list[int]] = {}
        self._gone: list[str] = []

    # What rules ask.

    def node(self, operand: Operand) -> Node | None:
        """The node that computes an operand; None for inputs and constants."""
        return self.current(operand.source) if operand.source is not None and operand.source >= 0 else None

    def made_by(self, operand: Operand, *ops: str, shared: bool = False) -> Node | None:
        """The node that computes an operand, if it is one of these operators and, unless `shared`, read only here."""
        if operand.source is None or operand.source < 0:
            return None
        node = self.nodes[operand.source]
        if node is None or node.op not in ops or node.domain or (not shared and self.uses[operand.source] != 1):
            return None
        return self.current(operand.source)

    def current(self, index: int) -> Node | None:
        """The node at an index, reading what its operands have become; None where it is gone."""
        node = self.nodes[index]
        if node is None or not self._instead:
            return node
        operands = node.operands
        for position, operand in enumerate(operands):
            if operand.source is not None and (operand.source, operand.output) in self._instead:
                changed = list(operands)
                for k in range(position, len(changed)):
                    changed[k] = self.resolved(changed[k])
                node = self.nodes[index] = node._replace(operands=tuple(changed))
                break
        return node

    def resolved(self, operand: Operand) -> Operand:
        """The operand, reading what stands in for its source, in its own shape."""
        while operand.source is not None:
            other = self._instead.get((operand.source, operand.output))
            if other is None:
                break
            tensor = operand.tensor if operand.tensor.elements == other.tensor.elements else other.tensor
            operand = other._replace(tensor=tensor._replace(dtype=other.tensor.dtype))
        return operand

    # What rules do.

    def put(self, index: int, node: Node, *, moved: bool = False) -> None:
        """A node in place of the one at an index. Its name is kept, and what it took in is told by `origin`.

        moved: what stood there runs elsewhere now, and is not taken in.
        """
        before = self.nodes[index]
        assert before is not None
        for operand in node.operands:
            self._use(operand, 1)
        self._gone = []
        for operand in before.operands:
            self._use(operand, -1)
        taken_in = () if moved else (before.name, *before.origin)
        origin = dict.fromkeys((*reversed(self._gone), *taken_in, *node.origin))
        self.nodes[index] = node._replace(origin=tuple([name for name in origin if name and name != node.name]))
        self.spelt[index] = spelt(node)
        self.ops.add(self.spelt[index])

    def state(self, index: int, node: Node) -> None:
        """The node at an index with other attributes or outputs; it is the same operator and reads the same."""
        self.nodes[index] = node

    def insert(self, before: int, node: Node) -> int:
        """A new node, to run before the one at an index, which must come to read it by `put`. Its own index."""
        for operand in node.operands:
            self._use(operand, 1)
        self.nodes.append(node)
        self.uses.append(0)
        self.spelt.append(spelt(node))
        self.ops.add(self.spelt[-1])
        self._before.setdefault(before, []).append(len(self.nodes) - 1)
        return len(self.nodes) - 1

    def drop(self, index: int, operand: Operand, output: int = 0) -> None:
        """The node's output is its operand, perhaps in another shape: whoever reads the one reads the other."""
        self.drop_all(index, {output: operand})

    def fold(self, index: int, values: Sequence[tuple[float, ...] | None] = ()) -> None:
        """The node's outputs are constants, known before the first run; values: what they hold, where it is known."""
        node = self.nodes[index]
        assert node is not None
        name = node.name or f"{node.op}.{index}"
        constants = {}
        for k, tensor in enumerate(node.outputs):
            held = values[k] if k < len(values) else None
            constants[k] = Operand(tensor, name=f"{name}.{k}" if k else name, value=held)
        self.drop_all(index, constants)

    def drop_all(self, index: int, outputs: Mapping[int, Operand]) -> None:
        """The node's outputs are these operands: it does nothing. Those left out must have no readers."""
        node = self.nodes[index]
        assert node is not None
        several = len({operand.source for operand in outputs.values()}) > 1
        later = {k: self._later.pop((index, k), 0) for k in range(1, len(node.outputs))}
        for output, operand in outputs.items():
            readers = later[output] if output else self.uses[index] - sum(later.values())
            self._instead[index, output] = operand
            if operand.source is not None and operand.source >= 0:
                # Of several that stand in, one that nothing reads is read by the world.
                self.uses[operand.source] += readers or several
                if operand.output:
                    self._later[operand.source, operand.output] += readers
        self.nodes[index] = None
        for operand in node.operands:
            self._use(operand, -1)

    def _use(self, operand: Operand, change: int) -> None:
        operand = self.resolved(operand)
        if operand.source is None or operand.source < 0:
            return
        if operand.output:
            self._later[operand.source, operand.output] += change
        waiting = [(operand.source, change)]
        while waiting:
            index, by = waiting.pop()
            self.uses[index] += by
            node = self.nodes[index]
            if self.uses[index] or node is None:
                continue
            self.nodes[index] = None
            self._gone += [node.name, *node.origin]
            for o in node.operands:
                o = self.resolved(o)
                if o.source is not None and o.source >= 0:
                    if o.output:
                        self._later[o.source, o.output] -= 1
                    waiting.append((o.source, -1))

    # What comes of it.

    def order(self) -> list[int]:
        """Indices of the nodes there are, in the order in which they run."""
        if not self._before:
            return [index for index, node in enumerate(self.nodes) if node is not None]
        order: list[int] = []
        for index in range(len(self.graph.nodes)):
            self._listed(index, order)
        return order

    def _listed(self, index: int, order: list[int]) -> None:
        for inserted in self._before.get(index, ()):
            self._listed(inserted, order)
        if self.nodes[index] is not None:
            order.append(index)

    def finished(self) -> Graph:
        """The Graph as it is now."""
        order = self.order()
        place = {index: k for k, index in enumerate(order)}
        nodes: list[Node] = []
        for index in order:
            node = self.current(index)
            assert node is not None
            operands: list[Operand] = []
            for o in node.operands:
                tensor, source, output, name, value, trained = o
                if source is None:
                    # Exporters store equal vectors once, such as those of ones before training: no name is shared by
                    # accident. Matrices are random from the start, but for masks of attention.
                    shape = tensor.shape
                    if name and (shape.count(1) >= len(shape) - 1 or node.op == "Attention"):
                        o = Operand(tensor, None, output, "", value, trained)
                elif source >= 0 and place[source] != source:
                    o = Operand(tensor, place[source], output, name, value, trained)
                operands.append(o)
            _, op, _, outputs, attributes, domain, origin, left_out = node
            nodes.append(Node(node.name, op, tuple(operands), outputs, attributes, domain, origin, left_out))
        graph = self.graph
        return Graph(tuple(nodes), graph.inputs, graph.input_names, graph.name, graph.modules)


def spelt(node: Node) -> str:
    """The operator as tables of rules name it: behind its domain, where that is not ONNX's own."""
    return f"{node.domain}.{node.op}" if node.domain else node.op


def number(operand: Operand) -> float | None:
    """What a constant of one element holds; None where it is no such constant, or its value is not known."""
    if operand.source is not None or operand.tensor.elements != 1 or not operand.value:
        return None
    return float(operand.value[0])


def is_number(operand: Operand, *values: float) -> bool:
    """Whether a constant of one element is one of these numbers, to float16's precision; unknown, it may be."""
    if operand.source is not None or operand.tensor.elements != 1:
        return False
    held = number(operand)
    return held is None or any(abs(held - value) <= 2e-3 * max(abs(value), 1e-3) for value in values)


def constants(operands: Sequence[Operand]) -> bool:
    """Whether all operands are constants."""
    return all(operand.source is None for operand in operands)
