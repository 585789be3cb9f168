"""A walk through the nodes of an ONNX graph, in order, that gives each its operands, its output shapes, and a Node.

Bodies of If, Loop and Scan are walked in place (control.py) and sequences kept tensor by tensor (sequences.py), so a
Graph has no other graphs within.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from narformer.errors import ModelError, ShapeError
from narformer.frontends.onnx.arithmetic import COMPUTED, LARGEST, SHAPE_ALONE, computed
from narformer.frontends.onnx.bodies import Handler
from narformer.frontends.onnx.call import Call, Misfit, UnknownOperator, UnknownShape, Value, attributes_of
from narformer.frontends.onnx.constants import constant
from narformer.frontends.onnx.control import CONTROL
from narformer.frontends.onnx.rebinding import Rebatched
from narformer.frontends.onnx.rules import STANDARD, rule_of
from narformer.frontends.onnx.scope import Item, Listed, Scope, Step, steps_of
from narformer.frontends.onnx.sequences import SEQUENCES
from narformer.frontends.onnx.shapes import checked, inferred
from narformer.frontends.onnx.stated import DATA_DEPENDENT, Stated
from narformer.frontends.tensors import DTYPES, contents
from narformer.graph import VALUE_ELEMENTS, Attribute, Node, Operand, Shape, Tensor

# Operators that are no Nodes of their own, or several.
HANDLERS: Mapping[str, Handler] = {**CONTROL, **SEQUENCES, "Constant": constant}
# Operators whose rule reads attributes that are tensors.
READ_WHOLE = frozenset({"ConstantOfShape"})
# Operators that before opset 13 took all axes from theirs on as one, and theirs for 1 where it was not stated.
FLATTENING = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
# Nodes and iterations within bodies: beyond this a file is a bomb, or no network whose latency can be predicted.
MOST_IN_BODIES = 10_000
# What helps where a shape cannot be told.
BIND = "export with fixed shapes, or bind the inputs with --input-shape"
REGISTER = (
    "state its outputs' shapes in the file (value_info), or tell them with narformer.operators.register, on the "
    "command line in an installed package"
)


@dataclass(slots=True)
class Walk:
    """The Nodes found so far, and what is known of their contents.

    opsets: version by domain. stated: shapes that the file states; none where its inputs were given others.
    batch: set when the network is read with another batch size than it declares.
    """

    label: str
    opsets: Mapping[str, int]
    stated: Stated
    batch: Rebatched | None = None
    nodes: list[Node] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)
    _constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    _held: dict[str, Value | None] = field(default_factory=dict)
    computed: dict[tuple[int, int], Value] = field(default_factory=dict)
    _seen: dict[tuple[Shape, int], Tensor] = field(default_factory=dict)
    _bodies: dict[int, tuple[onnx.GraphProto, list[Step]]] = field(default_factory=dict)
    _remembered: dict[tuple[object, ...], Sequence[Tensor]] = field(default_factory=dict)
    _bounds: set[int] = field(default_factory=set)  # nodes whose outputs are the largest that they can be
    _asked: bool = False  # whether the last rule looked at what an operand holds
    _spent: int = 0

    def weight(self, tensor: onnx.TensorProto, name: str) -> Operand:
        """A constant of the file, under the name by which nodes share it."""
        if not isinstance(name, str):  # protobuf gives bytes for what is not UTF-8
            raise ModelError(f"{self.label}: the constant {name!r} has a name that is no text")
        self._constants[name] = tensor
        key = (tuple(tensor.dims[:]), tensor.data_type)
        seen = self._seen.get(key)  # checked once for all constants of this shape and type
        if seen is None:
            seen = self._seen[key] = checked(Tensor(key[0], DTYPES.get(key[1], "float32")), name, self.label)
        if seen.elements > VALUE_ELEMENTS:
            return Operand(seen, None, 0, name)
        held = self._held[name] = contents(tensor, LARGEST)
        return Operand(seen, None, 0, name, _numbers(held))

    def constant(self, value: Value, name: str) -> Operand:
        """A constant whose value is known."""
        self._held[name] = value
        dtype = str(value.dtype) if value.dtype.kind in "iufb" else "string"
        return Operand(Tensor(value.shape, dtype), name=name, value=_numbers(value))

    def renamed(self, weight: Operand, name: str) -> Operand:
        """A weight of the same contents under a name of its own."""
        for held in (self._constants, self._held):
            if weight.name in held:
                held[name] = held[weight.name]
        return weight._replace(name=name)

    def contents(self, item: Item) -> Value | None:
        """What a value holds: a small constant, or shape arithmetic; None where it is not known."""
        if not isinstance(item, Operand):
            return None
        if item.source is not None:
            return self.computed.get((item.source, item.output))
        name = item.name
        if name not in self._held:
            tensor = self._constants.get(name)
            self._held[name] = None if tensor is None else contents(tensor, LARGEST)
        return self._held[name]

    def steps(self, body: onnx.GraphProto) -> list[Step]:
        """Steps of a body, made once however often it runs."""
        key = id(body)
        if key not in self._bodies:
            self._bodies[key] = (body, steps_of(body.node, self.label))  # kept alive, or the id would be another's
        return self._bodies[key][1]

    def spend(self, amount: int, node: onnx.NodeProto) -> None:
        """Count what bodies and sequences unfold to. Raises ModelError beyond MOST_IN_BODIES."""
        self._spent += amount
        if self._spent > MOST_IN_BODIES:
            raise ModelError(
                f"{self.label}: node {_name(node)!r} ({node.op_type}) unfolds to more than {MOST_IN_BODIES} nodes"
            )

    def run(self, steps: Sequence[Step], scope: Scope, prefix: str = "") -> None:
        """Walk nodes that are in topological order; their outputs become names of the scope."""
        names = scope.names
        for step in steps:
            node, op, domain, _, _, reads, _, _ = step
            handler = HANDLERS.get(op) if domain == "" else None
            if prefix:
                self.spend(1, node)
            if handler is not None:
                self._control(handler, node, scope, prefix)
                continue
            items: list[Item] = []
            sequence = False
            for value in reads:
                item = names.get(value)
                if item is None and value:
                    item = self.read(value, scope, node)
                if type(item) is Listed:
                    sequence = True
                items.append(item)
            if op == "Identity" and items and not isinstance(items[0], Operand):
                self._control(HANDLERS["Optional"], node, scope, prefix)
                continue
            if sequence:
                raise ModelError(f"{self.label}: node {_name(node)!r} ({op}) cannot read a sequence")
            self._append(step, items, scope, prefix)  # type: ignore[arg-type]

    def _control(self, handler: Handler, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
        try:
            handler(self, node, scope, prefix)
        except (UnknownShape, ValueError, TypeError, IndexError, OverflowError) as error:
            reason = str(error) if isinstance(error, UnknownShape) else "it is malformed"
            raise ModelError(f"{self.label}: node {_name(node)!r} ({node.op_type}) cannot be read: {reason}") from None

    def read(self, value: str, scope: Scope, node: onnx.NodeProto) -> Item:
        """The value of a name. Raises ModelError for one that nothing computes, ShapeError for one of unknown shape."""
        try:
            return scope[value]
        except KeyError:
            raise ShapeError(
                f"{self.label}: node {_name(node)!r} ({node.op_type}) reads {value!r}, "
                "which nothing computes, or whose shape cannot be inferred"
            ) from None

    def _append(self, step: Step, items: list[Operand | None], scope: Scope, prefix: str) -> None:
        node, op, domain, attributes, given, _, writes, module = step
        names = scope.names
        if attributes is None:
            attributes = self._attributes(node)
        call = None
        told = None if prefix else self.stated.of(writes)
        bounded = self._is_bounded(op, items)
        if bounded and told is not None:
            tensors: Sequence[Tensor] = told  # sizes that depend on data: nearer than the largest that they can be
        else:
            # Networks repeat their blocks: the same operator on the same tensors gives what it gave before. (One object
            # stands for an operator and its attributes, and lives as long as the steps do.)
            key = (id(attributes), len(writes), *[None if item is None else item.tensor for item in items])
            remembered = self._remembered.get(key)
            if remembered is None:
                call = self._call(node, items, attributes)
                self._asked = False
                remembered = self._shapes(call, scope, writes, prefix, told, bounded)
                for name, tensor in zip(writes, remembered, strict=False):
                    checked(tensor, name, self.label)
                if not self._asked and self.batch is None and op not in READ_WHOLE:
                    self._remembered[key] = remembered
            tensors = remembered if told is None else self.stated.settled(writes, told, remembered)
        if op == "Reshape" and items and items[0] is not None and items[0].tensor.elements != tensors[0].elements:
            raise ShapeError(
                f"{self.label}: node {_name(node)!r} reshapes {_spell(items[0].tensor.shape)} to "
                f"{_spell(tensors[0].shape)}: sizes are fixed inside the network; export it with the shapes you want"
            )
        index = len(self.nodes)
        if bounded:
            self._bounds.add(index)
        if len(writes) == 1 and writes[0]:
            outputs: tuple[Tensor, ...] = (tensors[0],)
            first = writes[0]
            names[first] = Operand(tensors[0], index)
        else:
            named = [(name, tensor) for name, tensor in zip(writes, tensors, strict=False) if name]
            outputs = tuple([tensor for _, tensor in named])
            first = named[0][0] if named else op
            for port, (name, tensor) in enumerate(named):
                names[name] = Operand(tensor, index, port)
        operands = tuple([item for item in items if item is not None])
        if domain and self.computed:
            operands = self._with_values(operands)
        left_out = () if len(operands) == len(items) else _left_out(items)
        if op in FLATTENING and domain == "" and operands and self.opsets.get("", 1) < 13:
            attributes = _flattening(attributes, len(operands[0].tensor.shape))
        name = prefix + (given or first)
        if module:
            self.modules[name] = module
        self.nodes.append(Node(name, op, operands, outputs, attributes, domain, (), left_out))
        if op in COMPUTED and domain == "" and outputs and len(tensors) >= len(writes):
            reads_known = op in SHAPE_ALONE or not items or self.contents(items[0]) is not None
            if reads_known and outputs[0].elements <= LARGEST:
                values = computed(call or self._call(node, items, attributes), tensors[: len(writes)]) or ()
                asked_for = [value for name, value in zip(writes, values, strict=False) if name]
                for port, value in enumerate(asked_for):
                    self.computed[index, port] = value

    def _with_values(self, operands: tuple[Operand, ...]) -> tuple[Operand, ...]:
        """Operands with what is known of them before the run, such as how many keys a cache holds."""
        known = [None if o.source is None else self.computed.get((o.source, o.output)) for o in operands]
        pairs = zip(operands, known, strict=True)
        return tuple([o if value is None else o._replace(value=_numbers(value)) for o, value in pairs])

    def _is_bounded(self, op: str, items: Sequence[Operand | None]) -> bool:
        """Whether a node's outputs are as large as data make them, its own or those of a node that it reads."""
        if self._bounds and any(item is not None and item.source in self._bounds for item in items):
            return True
        if op not in DATA_DEPENDENT:
            return False
        decides = items[1:2] if op in ("Compress", "TopK") else items[:1]
        return op == "NonMaxSuppression" or any(item is not None and self.contents(item) is None for item in decides)

    def _attributes(self, node: onnx.NodeProto) -> dict[str, Attribute]:
        """Attributes of a node. Raises ModelError where they are malformed."""
        try:
            return attributes_of(node)
        except UnknownShape as error:
            raise ModelError(f"{self.label}: node {_name(node)!r} ({node.op_type}): {error}") from None

    def emit(
        self, node: onnx.NodeProto, items: Sequence[Item], outputs: Sequence[Tensor], prefix: str
    ) -> list[Operand]:
        """A Node for what control flow or a sequence operator does; its outputs as operands of others."""
        operands: list[Operand] = []
        for item in items:
            operands += [item] if isinstance(item, Operand) else item.items if isinstance(item, Listed) else []
        self.spend(1 + len(operands) // 16, node)
        index = len(self.nodes)
        if node.op_type in ("If", "Loop"):  # the larger branch, or one round
            self._bounds.add(index)
        for tensor in outputs:
            checked(tensor, _name(node), self.label)
        self.nodes.append(
            Node(
                name=prefix + _name(node),
                op=node.op_type,
                domain="",
                operands=tuple(operands),
                outputs=tuple(outputs),
                attributes=attributes_of(node),
            )
        )
        return [Operand(tensor, index, port) for port, tensor in enumerate(outputs)]

    def _call(self, node: onnx.NodeProto, items: list[Operand | None], attributes: Mapping[str, Attribute]) -> Call:
        def value(position: int) -> Value | None:
            self._asked = True
            return self.contents(items[position]) if position < len(items) else None

        domain = "" if node.domain in STANDARD else node.domain
        return Call(
            node,
            self.opsets.get(domain, 1),
            attributes,
            [None if item is None else item.tensor for item in items],
            value,
            len(node.output),
        )

    def _shapes(
        self,
        call: Call,
        scope: Scope,
        outputs: Sequence[str],
        prefix: str,
        told: Sequence[Tensor] | None,
        bounded: bool,
    ) -> Sequence[Tensor]:
        node = call.node
        rule = rule_of(node)
        try:
            # onnx is asked only where there is no rule of ours: with some shapes its inference does not end.
            if rule is None:
                if told is not None:
                    self._asked = True  # what is stated of this value holds for no other
                    return told
                return inferred(call, self.opsets)
            if self.batch is None:
                return rule(call)
            second = scope[node.input[1]] if len(node.input) > 1 and node.input[1] else None
            return self.batch.tensors(call, rule, isinstance(second, Operand) and second.is_weight)
        except (UnknownShape, ValueError, TypeError, IndexError, ZeroDivisionError, OverflowError) as error:
            stated = self.stated.shapes.get(outputs[0]) if outputs and not prefix else None
            # Where the file was wrong before, it is not believed here, nor where operands cannot fit.
            certain = isinstance(error, Misfit) and not bounded
            if stated is not None and not self.stated.wrong and not certain:
                self._asked = True
                return told or [stated]
            reason = str(error) if isinstance(error, UnknownShape) else "it is malformed"
            remedy = REGISTER if isinstance(error, UnknownOperator) else BIND
            raise ShapeError(
                f"{self.label}: the output shape of node {_name(node)!r} ({node.domain or 'onnx'}.{node.op_type}) "
                f"cannot be inferred: {reason}; {remedy}"
            ) from None


def _left_out(items: Sequence[Operand | None]) -> tuple[int, ...]:
    """Positions of operands that are left out, but for those at the end."""
    last = max((k for k, item in enumerate(items) if item is not None), default=0)
    return tuple([k for k in range(last) if items[k] is None])


def _flattening(attributes: Mapping[str, Attribute], rank: int) -> Mapping[str, Attribute]:
    """The axis as operators before opset 13 understand it, and, where it is not the last one, that they do."""
    axis = attributes.get("axis", 1)
    if not isinstance(axis, int):
        return attributes
    return {"axis": axis} if axis % max(rank, 1) == rank - 1 else {"axis": axis, "flattened": 1}


def _numbers(value: Value | None) -> tuple[float, ...] | None:
    """The contents of a small constant as an Operand holds them; None for text, and for what is not known."""
    if value is None or value.size > VALUE_ELEMENTS or value.dtype.kind not in "iufb":
        return None
    return tuple(value.reshape(-1).tolist())


def _name(node: onnx.NodeProto) -> str:
    return str(node.name or next((o for o in node.output if o), node.op_type))


def _spell(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "(no dimensions)"
