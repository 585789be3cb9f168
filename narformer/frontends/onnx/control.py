"""Control flow: bodies are walked in place, as often as they run.

A branch whose condition is known is all that is left of an If. Otherwise the larger branch counts, and a Node `If`
behind it says so. A Loop is unrolled where its number of rounds is known, and read as one round where it is not; a Node
`Loop` (or `Scan`) behind the rounds gathers their results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx

from narformer.errors import ModelError, ShapeError
from narformer.frontends.onnx.bodies import Handler, bind, body_of, gather, items_of, run_body
from narformer.frontends.onnx.call import axis_of
from narformer.frontends.onnx.scope import Item, Scope
from narformer.frontends.tensors import DTYPES
from narformer.graph import Node, Operand, Tensor

ENDLESS = 2**31 - 1  # rounds: no network runs as many

if TYPE_CHECKING:
    from narformer.frontends.onnx.walk import Walk


def if_(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    items = items_of(walk, node, scope)
    condition = walk.contents(items[0]) if items else None
    name = f"{prefix}{node.name or node.op_type}/"
    if condition is not None and condition.size == 1:
        branch = body_of(walk, node, "then_branch" if condition.reshape(-1)[0] else "else_branch")
        bind(node, scope, run_body(walk, branch, (), scope, name))
        return
    mark = len(walk.nodes)
    tried: list[tuple[int, list[Node], dict[tuple[int, int], np.ndarray], list[Item]]] = []
    failure: ShapeError | None = None
    for side in ("then_branch", "else_branch"):
        try:
            results = run_body(walk, body_of(walk, node, side), (), scope, name)
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
    bind(node, scope, gather(walk, node, [*items, *results], results, prefix, known=False))


def _size(nodes: Sequence[Node]) -> int:
    """How much nodes read and write: the measure by which one branch is larger than another."""
    return sum(o.tensor.elements for n in nodes for o in n.operands) + sum(t.elements for n in nodes for t in n.outputs)


def loop(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    items = items_of(walk, node, scope)
    items += [None] * (2 - len(items))
    body = body_of(walk, node, "body")
    limit, going = walk.contents(items[0]), _truth(walk, items[1], default=True)
    rounds = int(limit.reshape(-1)[0]) if limit is not None and limit.size == 1 else None
    countable = items[0] is None or rounds is not None
    if rounds is not None and rounds >= ENDLESS:
        rounds = None  # how exporters say that the condition alone ends it
    carried: list[Item] = list(items[2:])
    stacks: list[list[Item]] = [[] for _ in range(max(len(node.output) - len(carried), 0))]
    done, known = 0, going is not None
    name = f"{prefix}{node.name or node.op_type}"
    while going is not False and (rounds is None or done < rounds):
        walk.spend(1, node)
        iteration = walk.constant(np.array(done, np.int64), f"{name}.iteration.{done}")
        condition = walk.constant(np.array(True), f"{name}.condition")
        results = run_body(walk, body, [iteration, condition, *carried], scope, f"{name}/#{done}/")
        if len(results) < 1 + len(carried):
            raise ModelError(f"{walk.label}: the body of node {name!r} has too few outputs")
        going = _truth(walk, results[0], default=None)
        for stack, item in zip(stacks, results[1 + len(carried) :], strict=False):
            stack.append(item)
        carried = results[1 : 1 + len(carried)]
        done += 1
        if not countable or (rounds is None and going is None):
            known = False
            break
    empty = [info.type.tensor_type for info in body.output][1 + len(carried) :]
    stacked = [_stack(walk, stack, empty[k] if k < len(empty) else None, 0) for k, stack in enumerate(stacks)]
    read = [*items, *carried, *[i for s in stacks for i in s]]
    _finish(walk, node, scope, prefix, read, carried, stacked, known=known and going is not None)


def _truth(walk: Walk, item: Item, default: bool | None) -> bool | None:
    """The value of a condition; None where it is not known."""
    if item is None:
        return default
    value = walk.contents(item)
    return bool(value.reshape(-1)[0]) if value is not None and value.size else None


def scan(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    opset = walk.opsets.get("", 1)
    items = items_of(walk, node, scope)[int(opset < 9) :]
    body = body_of(walk, node, "body")
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
        results = run_body(walk, body, [*carried, *slices], scope, f"{prefix}{node.name or node.op_type}/#{round_}/")
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
    *,
    known: bool = False,
) -> None:
    """A Node that gathers what the rounds have left, and gives it the names of the node's outputs.

    known: whether there are exactly these rounds.
    """
    results: list[Item] = [*carried, *[Operand(tensor) for tensor in stacked]]
    bind(node, scope, gather(walk, node, read, results, prefix, known=known))


CONTROL: Mapping[str, Handler] = {"If": if_, "Loop": loop, "Scan": scan}
