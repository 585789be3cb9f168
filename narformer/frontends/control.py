"""Control flow and sequences: bodies are walked in place, as often as they run; sequences are kept tensor by tensor.

A branch whose condition is known is all that is left of an If. Otherwise the larger branch counts, and a Node `If`
behind it says so. A Loop is unrolled where its number of rounds is known, and read as one round where it is not; a Node
`Loop` (or `Scan`, `SequenceMap`) behind the rounds gathers their results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx

from narformer.errors import ModelError, ShapeError
from narformer.frontends.call import Value, axis_of
from narformer.frontends.tensors import DTYPES
from narformer.graph import Node, Operand, Tensor

if TYPE_CHECKING:
    from narformer.frontends.walk import Item, Listed, Scope, Walk

Handler = Callable[["Walk", onnx.NodeProto, "Scope", str], None]


def _body(walk: Walk, graph: onnx.GraphProto, given: Sequence[Item], scope: Scope, prefix: str) -> list[Item]:
    """Walk a body once, its inputs bound to `given`; its outputs."""
    from narformer.frontends.walk import Scope

    inner = Scope({}, scope)
    for tensor in graph.initializer:
        inner.names[tensor.name] = walk.weight(tensor, prefix.rsplit("#", 1)[0] + tensor.name)
    if len(given) > len(graph.input):
        raise ModelError(f"{walk.label}: the body {graph.name!r} has {len(graph.input)} inputs, not {len(given)}")
    inner.names.update((info.name, item) for info, item in zip(graph.input, given, strict=False))
    walk.run(walk.steps(graph), inner, prefix)
    return [walk.read(info.name, inner, onnx.NodeProto(op_type="body", name=graph.name)) for info in graph.output]


def _graph(walk: Walk, node: onnx.NodeProto, name: str) -> onnx.GraphProto:
    for attribute in node.attribute:
        if attribute.name == name and attribute.HasField("g"):
            return attribute.g
    raise ModelError(f"{walk.label}: node {node.name or node.op_type!r} ({node.op_type}) has no {name}")


def _items(walk: Walk, node: onnx.NodeProto, scope: Scope) -> list[Item]:
    return [walk.read(value, scope, node) if value else None for value in node.input]


def _gather(walk: Walk, node: onnx.NodeProto, read: Sequence[Item], results: Sequence[Item], prefix: str) -> list[Item]:
    """A Node that passes results on; sequences stay sequences."""
    from narformer.frontends.walk import Listed

    tensors: list[Tensor] = []
    for item in results:
        tensors += [o.tensor for o in item.items] if isinstance(item, Listed) else [item.tensor] if item else []
    operands = iter(walk.emit(node, read, tensors, prefix))
    passed: list[Item] = []
    for item in results:
        if isinstance(item, Listed):
            passed.append(Listed(tuple(next(operands) for _ in item.items), item.held))
        else:
            passed.append(None if item is None else next(operands))
    return passed


def _bind(node: onnx.NodeProto, scope: Scope, items: Sequence[Item]) -> None:
    scope.names.update((name, item) for name, item in zip(node.output, items, strict=False) if name)


def if_(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    items = _items(walk, node, scope)
    condition = walk.contents(items[0]) if items else None
    name = f"{prefix}{node.name or node.op_type}/"
    if condition is not None and condition.size == 1:
        branch = _graph(walk, node, "then_branch" if condition.reshape(-1)[0] else "else_branch")
        _bind(node, scope, _body(walk, branch, (), scope, name))
        return
    mark = len(walk.nodes)
    tried: list[tuple[int, list[Node], dict[tuple[int, int], np.ndarray], list[Item]]] = []
    failure: ShapeError | None = None
    for side in ("then_branch", "else_branch"):
        try:
            results = _body(walk, _graph(walk, node, side), (), scope, name)
        except ShapeError as error:
            failure, results = error, None
        branch_nodes = walk.nodes[mark:]
        values = {key: value for key, value in walk.computed.items() if key[0] >= mark}
        del walk.nodes[mark:]
        for key in values:
            del walk.computed[key]
        if results is not None:
            tried.append((_size(branch_nodes), branch_nodes, values, results))
    if not tried:
        assert failure is not None
        raise failure
    _, branch_nodes, values, results = max(tried, key=lambda t: t[0])
    walk.nodes += branch_nodes
    walk.computed |= values
    _bind(node, scope, _gather(walk, node, [*items, *results], results, prefix))


def _size(nodes: Sequence[Node]) -> int:
    """How much nodes read and write: the measure by which one branch is larger than another."""
    return sum(o.tensor.elements for n in nodes for o in n.operands) + sum(t.elements for n in nodes for t in n.outputs)


def loop(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    items = _items(walk, node, scope)
    items += [None] * (2 - len(items))
    body = _graph(walk, node, "body")
    limit, going = walk.contents(items[0]), _truth(walk, items[1], default=True)
    rounds = int(limit.reshape(-1)[0]) if limit is not None and limit.size == 1 else None
    countable = items[0] is None or rounds is not None
    carried: list[Item] = list(items[2:])
    stacks: list[list[Item]] = [[] for _ in range(max(len(node.output) - len(carried), 0))]
    done = 0
    name = f"{prefix}{node.name or node.op_type}"
    while going is not False and (rounds is None or done < rounds):
        walk.spend(1, node)
        iteration = walk.constant(np.array(done, np.int64), f"{name}.iteration.{done}")
        condition = walk.constant(np.array(True), f"{name}.condition")
        results = _body(walk, body, [iteration, condition, *carried], scope, f"{name}/#{done}/")
        if len(results) < 1 + len(carried):
            raise ModelError(f"{walk.label}: the body of node {name!r} has too few outputs")
        going = _truth(walk, results[0], default=None)
        for stack, item in zip(stacks, results[1 + len(carried) :], strict=False):
            stack.append(item)
        carried = results[1 : 1 + len(carried)]
        done += 1
        if not countable or (rounds is None and going is None):
            break
    empty = [info.type.tensor_type for info in body.output][1 + len(carried) :]
    stacked = [_stack(walk, stack, empty[k] if k < len(empty) else None, 0) for k, stack in enumerate(stacks)]
    _finish(walk, node, scope, prefix, [*items, *carried, *[i for s in stacks for i in s]], carried, stacked)


def _truth(walk: Walk, item: Item, default: bool | None) -> bool | None:
    """The value of a condition; None where it is not known."""
    if item is None:
        return default
    value = walk.contents(item)
    return bool(value.reshape(-1)[0]) if value is not None and value.size else None


def scan(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    opset = walk.opsets.get("", 1)
    items = _items(walk, node, scope)[int(opset < 9) :]
    body = _graph(walk, node, "body")
    attributes = {a.name: a for a in node.attribute}
    count = attributes["num_scan_inputs"].i if "num_scan_inputs" in attributes else 0
    if not 0 < count <= len(items):
        raise ModelError(
            f"{walk.label}: node {node.name or node.op_type!r} (Scan) scans {count} of {len(items)} inputs"
        )
    states, scanned = items[: len(items) - count], items[len(items) - count :]
    if not all(isinstance(i, Operand) for i in items):
        raise ModelError(f"{walk.label}: node {node.name or node.op_type!r} (Scan) reads what is no tensor")
    leading = int(opset < 9)  # then every tensor had the batch in front
    axes = list(attributes["scan_input_axes"].ints) if "scan_input_axes" in attributes else []
    axes = [axes[k] if k < len(axes) else leading for k in range(count)]
    out_axes = list(attributes["scan_output_axes"].ints) if "scan_output_axes" in attributes else []
    steps: int | None = None
    slices: list[Operand] = []
    for item, axis in zip(scanned, axes, strict=True):
        assert isinstance(item, Operand)
        shape = item.tensor.shape
        place = axis_of(axis, len(shape))
        steps = shape[place]
        rest = tuple(s for k, s in enumerate(shape) if k != place and k >= leading)
        slices.append(Operand(Tensor(rest, item.tensor.dtype), item.source, item.output, item.name))
    batch = scanned[0].tensor.shape[0] if leading and isinstance(scanned[0], Operand) else 1
    carried: list[Item] = [
        Operand(Tensor(i.tensor.shape[leading:], i.tensor.dtype), i.source, i.output, i.name)
        for i in states
        if isinstance(i, Operand)
    ]
    first = carried
    stacks: list[list[Item]] = [[] for _ in range(max(len(node.output) - len(carried), 0))]
    for round_ in range((steps or 0) * batch):
        walk.spend(1, node)
        if steps and round_ % steps == 0:
            carried = first
        results = _body(walk, body, [*carried, *slices], scope, f"{prefix}{node.name or node.op_type}/#{round_}/")
        carried = results[: len(first)]
        for stack, item in zip(stacks, results[len(first) :], strict=False):
            stack.append(item)
    declared = [info.type.tensor_type for info in body.output][len(first) :]
    stacked = []
    for k, stack in enumerate(stacks):
        tensor = _stack(
            walk, stack, declared[k] if k < len(declared) else None, out_axes[k] if k < len(out_axes) else 0
        )
        if leading:
            tensor = Tensor((batch, steps or 0, *tensor.shape[1:]), tensor.dtype)
        stacked.append(tensor)
    if leading:
        carried = [
            Operand(Tensor((batch, *i.tensor.shape), i.tensor.dtype), i.source, i.output, i.name)
            for i in carried
            if isinstance(i, Operand)
        ]
    _finish(walk, node, scope, prefix, [*items, *carried, *[i for s in stacks for i in s]], carried, stacked)


def _stack(walk: Walk, items: Sequence[Item], declared: onnx.TypeProto.Tensor | None, axis: int) -> Tensor:
    """The results of every round, one behind the other."""
    if items and isinstance(items[0], Operand):
        one = items[0].tensor
    elif declared is not None:
        one = Tensor(tuple(max(d.dim_value, 0) for d in declared.shape.dim), DTYPES.get(declared.elem_type, "float32"))
    else:
        one = Tensor(())
    place = axis_of(axis, len(one.shape) + 1)
    return Tensor((*one.shape[:place], len(items), *one.shape[place:]), one.dtype)


def _finish(
    walk: Walk,
    node: onnx.NodeProto,
    scope: Scope,
    prefix: str,
    read: Sequence[Item],
    carried: Sequence[Item],
    stacked: Sequence[Tensor],
) -> None:
    """A Node that gathers what the rounds have left, and gives it the names of the node's outputs."""
    results: list[Item] = [*carried, *[Operand(tensor) for tensor in stacked]]
    _bind(node, scope, _gather(walk, node, read, results, prefix))


def sequence_map(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    from narformer.frontends.walk import Listed

    first, *others = _items(walk, node, scope)
    sequence = _sequence(walk, node, first)
    body = _graph(walk, node, "body")
    rounds: list[list[Item]] = []
    for k, element in enumerate(sequence.items):
        given: list[Item] = [element]
        for other in others:
            if isinstance(other, Listed) and k >= len(other.items):
                raise ModelError(f"{walk.label}: node {node.name or node.op_type!r} maps sequences of unequal lengths")
            given.append(other.items[k] if isinstance(other, Listed) else other)
        rounds.append(_body(walk, body, given, scope, f"{prefix}{node.name or node.op_type}/#{k}/"))
    lists: list[Item] = []
    for position in range(len(node.output)):
        column = [r[position] for r in rounds if position < len(r)]
        lists.append(Listed(tuple(i for i in column if isinstance(i, Operand))))
    _bind(node, scope, _gather(walk, node, lists, lists, prefix))


def _sequence(walk: Walk, node: onnx.NodeProto, item: Item) -> Listed:
    from narformer.frontends.walk import Listed

    if not isinstance(item, Listed):
        raise ModelError(f"{walk.label}: node {node.name or node.op_type!r} ({node.op_type}) needs a sequence")
    return item


def sequence_empty(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    from narformer.frontends.walk import Listed

    dtype = next((a.i for a in node.attribute if a.name == "dtype"), 1)
    _bind(node, scope, [Listed((), Tensor((), DTYPES.get(dtype, "float32")))])


def sequence_construct(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    from narformer.frontends.walk import Listed

    items = [i for i in _items(walk, node, scope) if isinstance(i, Operand)]
    _bind(node, scope, _gather(walk, node, items, [Listed(tuple(items))], prefix))


def sequence_insert(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    from narformer.frontends.walk import Listed

    items = _items(walk, node, scope)
    sequence, new = _sequence(walk, node, items[0]), items[1] if len(items) > 1 else None
    if not isinstance(new, Operand):
        raise ModelError(f"{walk.label}: node {node.name or node.op_type!r} (SequenceInsert) inserts no tensor")
    place = _position(walk, items[2] if len(items) > 2 else None, len(sequence.items))
    longer = Listed((*sequence.items[:place], new, *sequence.items[place:]))
    _bind(node, scope, _gather(walk, node, [longer], [longer], prefix))


def sequence_erase(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    from narformer.frontends.walk import Listed

    items = _items(walk, node, scope)
    sequence = _sequence(walk, node, items[0])
    place = _position(walk, items[1] if len(items) > 1 else None, len(sequence.items) - 1)
    kept = tuple(o for k, o in enumerate(sequence.items) if k != place % max(len(sequence.items), 1))
    _bind(node, scope, _gather(walk, node, [sequence], [Listed(kept, sequence.held)], prefix))


def sequence_at(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    """One tensor of a sequence; the first, where the position is known only when the network runs."""
    items = _items(walk, node, scope)
    sequence = _sequence(walk, node, items[0])
    if not sequence.items:
        raise ShapeError(f"{walk.label}: node {node.name or node.op_type!r} reads from a sequence that is empty")
    one = sequence.items[_position(walk, items[1] if len(items) > 1 else None, 0)]
    _bind(node, scope, _gather(walk, node, [one], [one], prefix))


def _position(walk: Walk, item: Item, default: int) -> int:
    value = walk.contents(item)
    if value is None or value.size != 1:
        return default
    return int(value.reshape(-1)[0])


def sequence_length(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    sequence = _sequence(walk, node, _items(walk, node, scope)[0])
    _known(walk, node, scope, prefix, np.array(len(sequence.items), np.int64))


def _known(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str, value: Value) -> None:
    """A Node whose result is known before the network runs."""
    (operand,) = walk.emit(node, (), [Tensor(value.shape, str(value.dtype))], prefix)
    walk.computed[operand.source or 0, 0] = value
    _bind(node, scope, [operand])


def split_to_sequence(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    from narformer.frontends.walk import Listed

    items = _items(walk, node, scope)
    x = items[0]
    attributes = {a.name: a.i for a in node.attribute}
    if not isinstance(x, Operand):
        raise ModelError(f"{walk.label}: node {node.name or node.op_type!r} (SplitToSequence) reads no tensor")
    shape = x.tensor.shape
    axis = axis_of(attributes.get("axis", 0), len(shape))
    sizes: Sequence[int] = (1,)
    if len(items) > 1 and items[1] is not None:
        value = walk.contents(items[1])
        if value is None:
            raise ShapeError(
                f"{walk.label}: node {node.name or node.op_type!r} (SplitToSequence) splits into parts "
                "that are known only while the network runs"
            )
        sizes = [int(v) for v in value.reshape(-1)]
        each = value.ndim == 0
    else:
        each = True
    if each:
        if sizes[0] < 1:
            raise ModelError(f"{walk.label}: node {node.name or node.op_type!r} (SplitToSequence) splits by {sizes[0]}")
        count = -(-shape[axis] // sizes[0])
        walk.spend(count, node)
        sizes = [min(sizes[0], shape[axis] - k * sizes[0]) for k in range(count)]
    drop = len(items) < 2 and not attributes.get("keepdims", 1)
    tensors = [Tensor(shape[:axis] + (() if drop else (size,)) + shape[axis + 1 :], x.tensor.dtype) for size in sizes]
    _bind(node, scope, [Listed(tuple(walk.emit(node, [x], tensors, prefix)))])


def concat_from_sequence(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    sequence = _sequence(walk, node, _items(walk, node, scope)[0])
    attributes = {a.name: a.i for a in node.attribute}
    if not sequence.items:
        raise ShapeError(f"{walk.label}: node {node.name or node.op_type!r} joins a sequence that is empty")
    one = sequence.items[0].tensor
    if attributes.get("new_axis", 0):
        axis = axis_of(attributes.get("axis", 0), len(one.shape) + 1)
        shape = (*one.shape[:axis], len(sequence.items), *one.shape[axis:])
    else:
        axis = axis_of(attributes.get("axis", 0), len(one.shape))
        total = sum(o.tensor.shape[axis] for o in sequence.items if len(o.tensor.shape) > axis)
        shape = (*one.shape[:axis], total, *one.shape[axis + 1 :])
    _bind(node, scope, list(walk.emit(node, [sequence], [Tensor(shape, one.dtype)], prefix)))


def optional(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    """Optional, OptionalGetElement: what they hold, or nothing."""
    items = _items(walk, node, scope) or [None]
    _bind(node, scope, _gather(walk, node, items[:1], items[:1], prefix))


def optional_has_element(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    items = _items(walk, node, scope)
    _known(walk, node, scope, prefix, np.array(bool(items) and items[0] is not None))


def constant(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    """A constant within a body; those of the graph itself are known before the walk."""
    scope.names[node.output[0]] = constant_operand(walk, node, prefix + node.output[0])


def constant_operand(walk: Walk, node: onnx.NodeProto, name: str) -> Operand:
    """What a Constant node holds. Raises ModelError where it holds nothing."""
    for a in node.attribute:
        if a.name == "value":
            return walk.weight(a.t, name)
        if a.name == "sparse_value":
            dtype = DTYPES.get(a.sparse_tensor.values.data_type, "float32")
            return Operand(Tensor(tuple(a.sparse_tensor.dims), dtype), name=name)
        if a.name in ("value_float", "value_floats"):
            return walk.constant(np.array(list(a.floats) if a.name[-1] == "s" else a.f, np.float32), name)
        if a.name in ("value_int", "value_ints"):
            return walk.constant(np.array(list(a.ints) if a.name[-1] == "s" else a.i, np.int64), name)
        if a.name in ("value_string", "value_strings"):
            shape = (len(a.strings),) if a.name[-1] == "s" else ()
            return Operand(Tensor(shape, "string"), name=name)
    raise ModelError(f"{walk.label}: Constant node {node.name!r} has no value")


CONTROL: Mapping[str, Handler] = {
    "If": if_,
    "Loop": loop,
    "Scan": scan,
    "SequenceMap": sequence_map,
    "SequenceEmpty": sequence_empty,
    "SequenceConstruct": sequence_construct,
    "SequenceInsert": sequence_insert,
    "SequenceErase": sequence_erase,
    "SequenceAt": sequence_at,
    "SequenceLength": sequence_length,
    "SplitToSequence": split_to_sequence,
    "ConcatFromSequence": concat_from_sequence,
    "Optional": optional,
    "OptionalGetElement": optional,
    "OptionalHasElement": optional_has_element,
    "Constant": constant,
}
