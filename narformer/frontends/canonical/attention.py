"""Scaled-dot-product attention is one Attention node, however it is spelt.

Requires: no views, no constant arithmetic, Softmax in one node whose axis is stated. Ensures: a product of the Softmax
of a product is Attention, as ONNX has it since opset 23: queries (N, heads, L, head), keys and values (N, key heads, S,
head), then, where they are there, what is added to the scores or masks them, and past keys and values. Scales are taken
in, also on queries, keys or both; so are casts around the Softmax, the repetition of key heads, the Concat of past and
new, and the Transpose of the keys. Queries, keys and values may be read transposed: in a shape whose last two axes are
swapped. A mask that is constant, and the same for every head and batch, is `is_causal` = 1. With a past, outputs are
the result, keys and values. `unfused` = 1 where PyTorch has no kernel for it but two products and a softmax: where it
was spelt so, has more than four axes, or fewer heads of keys that nothing repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from narformer.frontends.canonical.draft import Draft, is_number
from narformer.frontends.canonical.expressions import pair, same, scalar
from narformer.frontends.canonical.identities import transposes_through_view
from narformer.frontends.canonical.linear import swapped
from narformer.frontends.canonical.masks import as_scores, one_mask, widened
from narformer.frontends.canonical.rule import Rules
from narformer.frontends.canonical.views import permutation
from narformer.graph import Attribute, Node, Operand

_SCORES = ("MatMul", "Add", "Where", "Mul", "Div", "Cast", "Tanh")
_LONGEST = 8  # nodes between the product and the Softmax


class Scores(NamedTuple):
    """The product of queries and keys, the masks on it, whether its values are capped, and what they are scaled by."""

    product: Node
    masks: tuple[Operand, ...]
    capped: bool
    scale: Node | None


def attention(draft: Draft, index: int, node: Node) -> bool:
    """The product of a Softmax with values."""
    return len(node.operands) == 2 and _attention(draft, index, node, *node.operands)


def turned(draft: Draft, index: int, node: Node) -> bool:
    """The product of values with a Softmax that is transposed, as networks of images write it: its result is, too."""
    if len(node.operands) != 2:
        return False
    values, weights = node.operands
    transpose = draft.made_by(weights, "Transpose")
    if transpose is None or transpose.outputs[0].shape != weights.tensor.shape or len(weights.tensor.shape) < 2:
        return False
    rank = len(weights.tensor.shape)
    if permutation(transpose) != (*range(rank - 2), rank - 1, rank - 2) or len(values.tensor.shape) != rank:
        return False
    out = node.outputs[0]
    if not _attention(draft, index, node, transpose.operands[0], values._replace(tensor=swapped(values.tensor))):
        return False
    put = draft.nodes[index]
    assert put is not None
    n, heads, length, head = put.outputs[0].shape
    read = Operand(put.outputs[0], draft.insert(index, put))
    shape = (n, heads, head, length)
    back = Node(transpose.name, "Transpose", (read,), (out._replace(shape=shape),), {"perm": (0, 1, 3, 2)})
    draft.put(index, back)
    draft.state(index, back)
    return True


def _attention(draft: Draft, index: int, node: Node, weights: Operand, values: Operand) -> bool:
    softmax = _softmax(draft, weights)
    if softmax is None or values.source is None or softmax.attributes.get("axis") != -1:
        return False
    scores = _scores(draft, softmax.operands[0])
    if scores is None:
        return False
    queries, keys = scores.product.operands
    if keys.source is None or len(queries.tensor.shape) != len(keys.tensor.shape):
        return False
    if len(values.tensor.shape) < 2 or len(queries.tensor.shape) < 2:
        return False
    unfused = _unfused(draft, scores)
    queries = _four(_read_turned(draft, _unscaled(draft, queries)))
    keys = _four(_untransposed(draft, index, _unscaled(draft, keys)))
    keys, values = _ungrouped(draft, keys), _ungrouped(draft, _four(values))
    n, heads, _, head = queries.tensor.shape
    key_heads, total = keys.tensor.shape[1:3]
    fits = keys.tensor.shape == (n, key_heads, total, head) and values.tensor.shape[:3] == (n, key_heads, total)
    if not fits or not key_heads or heads % key_heads:
        return False
    attributes: dict[str, Attribute] = {"softcap": 1.0} if scores.capped else {}
    attributes |= {"unfused": 1} if unfused else {}
    _put(draft, index, node, (queries, keys, values), scores.masks, attributes)
    return True


def _unfused(draft: Draft, scores: Scores) -> bool:
    """Whether PyTorch computes it in several kernels: unless it was a `scaled_dot_product_attention` that has one.

    Exporters spell that with a root of the scale on queries and on keys. ONNX Runtime's optimiser takes both into its
    product, and hides who multiplied; then a bias for each head, which is learned, tells attention that was spelt out.
    """
    queries, keys = scores.product.operands
    if len(queries.tensor.shape) > 4 or queries.tensor.shape[:-2] != keys.tensor.shape[:-2]:
        return True
    if _scaled(draft, queries) and _scaled(draft, keys):
        return False
    if scores.scale is not None and scores.scale.name == scores.product.name:
        heads = [mask.tensor.shape[-3] for mask in scores.masks if mask.source is None and len(mask.tensor.shape) > 2]
        return any(count > 1 for count in heads)
    return True


def _scaled(draft: Draft, operand: Operand) -> bool:
    """Whether an operand is multiplied or divided by a number, before or after it is transposed."""
    turned = draft.made_by(operand, "Transpose", shared=True)
    read = [operand, *(turned.operands[:1] if turned else ())]
    return any(_unscaled(draft, one, shared=True) is not one for one in read)


def _softmax(draft: Draft, weights: Operand) -> Node | None:
    """The Softmax that gives the weights, behind a cast, or behind what puts 0 for rows where all is masked."""
    for _ in range(3):
        node = draft.made_by(weights, "Softmax", "Cast", "Where") or draft.made_by(weights, "Softmax", shared=True)
        if node is None:
            return None
        if node.op == "Softmax":
            shared = draft.uses[weights.source or 0] > 1
            return None if shared and not _checked_for_nan(draft, weights) else node
        if node.op == "Cast":
            weights = node.operands[0]
            continue
        nan = draft.made_by(node.operands[0], "IsNaN")
        if nan is None or len(node.operands) != 3 or not is_number(node.operands[1], 0):
            return None
        weights = node.operands[2]
    return None


def _checked_for_nan(draft: Draft, weights: Operand) -> bool:
    """Whether the other reader of the weights is the check of what they hold."""
    return draft.uses[weights.source or 0] == 2 and "IsNaN" in draft.ops


def _scores(draft: Draft, operand: Operand) -> Scores | None:
    """Back from the Softmax to the product of queries and keys."""
    masks: list[Operand] = []
    capped, scale = False, None
    for _ in range(_LONGEST):
        node = draft.made_by(operand, *_SCORES)
        if node is None:
            return None
        if node.op == "MatMul":
            return Scores(node, tuple(masks), capped, scale)
        if node.op in ("Cast", "Tanh"):
            capped |= node.op == "Tanh"
            operand = node.operands[0]
        elif node.op == "Where":
            kept = [o for o in node.operands[1:] if o.source is not None]
            if len(kept) != 1:
                return None
            masks.append(as_scores(node.operands[0], operand, node))
            operand = kept[0]
        elif node.op == "Div" or (node.op == "Mul" and pair(node, scalar)):
            parts = pair(node, scalar)
            if parts is None or (node.op == "Div" and not scalar(node.operands[1])):
                return None
            operand, scale = parts[1], node
        else:
            # Of two terms (or factors) the one that leads to a product is the scores, the other a mask.
            first, second = node.operands
            leads = [o for o in (first, second) if draft.made_by(o, *_SCORES) and _leads(draft, o)]
            if node.op != "Add" or not leads:
                return None
            mask = second if leads[0] is first else first
            masks.append(as_scores(mask, operand, node))
            operand = leads[0]
    return None


def _leads(draft: Draft, operand: Operand) -> bool:
    """Whether a product with computed keys is behind the operand; queries may be learned."""
    waiting = [operand]
    for _ in range(2 * _LONGEST):
        if not waiting:
            return False
        node = draft.made_by(waiting.pop(), *_SCORES)
        if node is not None:
            if node.op == "MatMul":
                return node.operands[-1].source is not None
            waiting += node.operands
    return False


def _unscaled(draft: Draft, operand: Operand, *, shared: bool = False) -> Operand:
    """The operand before it was multiplied or divided by a number. shared: also where others read the product."""
    for _ in range(2):
        node = draft.made_by(operand, "Mul", "Div", shared=shared)
        parts = None if node is None else pair(node, scalar)
        if node is None or parts is None or (node.op == "Div" and node.operands[0].source is None):
            break
        operand = parts[1]._replace(tensor=operand.tensor)
    return operand


def _four(operand: Operand) -> Operand:
    """The operand in four axes: those in front are batches, or one is put in front."""
    shape = operand.tensor.shape
    while len(shape) > 4:
        shape = (shape[0] * shape[1], *shape[2:])
    shape = (1,) * (4 - len(shape)) + shape
    return operand._replace(tensor=operand.tensor._replace(shape=shape))


def _read_turned(draft: Draft, operand: Operand) -> Operand:
    """The operand before its last two axes were swapped, which is a way to read it; else as it is."""
    node = draft.made_by(operand, "Transpose")
    rank = len(operand.tensor.shape)
    if node is None or node.outputs[0].shape != operand.tensor.shape:
        return operand
    if permutation(node) != (*range(rank - 2), rank - 1, rank - 2):
        return operand
    return node.operands[0]._replace(tensor=operand.tensor)


def _untransposed(draft: Draft, index: int, keys: Operand) -> Operand:
    """Keys as (..., S, head), given as (..., head, S): what they are the Transpose of, or read transposed."""
    shape = keys.tensor.shape
    swapped = (*shape[:-2], shape[-1], shape[-2])
    turned = keys._replace(tensor=keys.tensor._replace(shape=swapped))
    node = draft.made_by(keys, "Transpose", shared=True)
    if node is None or node.outputs[0].shape[-2:] != shape[-2:]:
        return turned
    perm = permutation(node)
    perm = (*perm[:-2], perm[-1], perm[-2])
    inner = node.operands[0]
    if perm == tuple(range(len(perm))):
        return _unscaled(draft, inner._replace(tensor=turned.tensor))
    before = node.outputs[0].shape
    output = node.outputs[0]._replace(shape=(*before[:-2], before[-1], before[-2]))
    assert keys.source is not None
    moved = [axis for axis in perm if inner.tensor.shape[axis] != 1]
    if moved == sorted(moved):
        return inner._replace(tensor=turned.tensor)
    put = node._replace(outputs=(output,), attributes={"perm": perm})
    if draft.uses[keys.source] == 1:
        draft.state(keys.source, put)
        return turned
    return turned._replace(source=draft.insert(index, put))


def _ungrouped(draft: Draft, operand: Operand) -> Operand:
    """Keys or values before each of their heads was repeated for several heads of queries."""
    node = draft.made_by(operand, "Expand", "Tile", "Concat", "Gather")
    if node is None:
        return operand
    if node.op == "Gather":
        return _once_each(node, operand)
    if node.op == "Concat" and not all(same(node.operands[0], other) for other in node.operands):
        return operand
    before, after, shape = node.operands[0].tensor.shape, node.outputs[0].shape, operand.tensor.shape
    # (N, key heads, 1, S, head) → (N, key heads, repeats, S, head), read as (N, heads, S, head).
    if len(before) != len(after) or len(after) < 4 or after[-2:] != shape[-2:] or before[-2:] != shape[-2:]:
        return operand
    grown = [axis for axis, size in enumerate(after) if before[axis] != size]
    if grown != [len(after) - 3] or before[grown[0]] != 1:
        return operand
    heads = shape[1] // after[-3]
    narrow = node.operands[0]
    return narrow._replace(tensor=narrow.tensor._replace(shape=(shape[0], heads, *shape[2:])))


def _once_each(node: Node, operand: Operand) -> Operand:
    """Heads before each was picked several times in a row."""
    data, places = node.operands
    shape, axis = data.tensor.shape, node.attributes.get("axis", 0)
    if not isinstance(axis, int) or len(shape) != 4 or axis % 4 != 1 or node.outputs[0].shape != operand.tensor.shape:
        return operand
    repeats = places.tensor.elements // shape[1] if shape[1] else 0
    in_order = tuple([head for head in range(shape[1]) for _ in range(repeats)])
    if places.source is not None or repeats < 2 or len(in_order) != places.tensor.elements:
        return operand
    return data if places.value is None or places.value == in_order else operand


def _put(
    draft: Draft,
    index: int,
    node: Node,
    inputs: Sequence[Operand],
    masks: Sequence[Operand],
    attributes: dict[str, Attribute],
) -> None:
    """The Attention node, its constant masks as one, its past taken in."""
    queries, keys, values = inputs
    n, heads, length, _ = queries.tensor.shape
    total = keys.tensor.shape[2]
    output = node.outputs[0]._replace(shape=(n, heads, length, values.tensor.shape[3]))
    operands = [queries, keys, values]
    outputs = [output]
    mask, causal = one_mask(draft, index, masks, (n, heads, length, total))
    if causal:
        attributes["is_causal"] = 1
    past = _pasts(draft, inputs)
    if mask is not None:
        operands.append(mask)
    left_out: tuple[int, ...] = ()
    if past:
        operands[1:3] = past[:2]
        operands += past[2:]
        outputs += [keys.tensor, values.tensor]
        left_out = () if mask is not None else (3,)
    put = Node(node.name, "Attention", tuple(operands), tuple(outputs), attributes, left_out=left_out)
    draft.put(index, put)


def _pasts(draft: Draft, inputs: Sequence[Operand]) -> tuple[Operand, ...]:
    """New keys, new values, past keys and past values; nothing where keys or values are no Concat of these."""
    keys, values = _past(draft, inputs[1]), _past(draft, inputs[2])
    return () if keys is None or values is None else (keys[0], values[0], keys[1], values[1])


def _past(draft: Draft, operand: Operand) -> tuple[Operand, Operand] | None:
    """What is new and what is past, where the operand is their Concat and nothing else of the network reads it."""
    node = draft.made_by(operand, "Concat")
    if node is None or len(node.operands) != 2 or node.outputs[0].shape != operand.tensor.shape:
        return None
    axis = node.attributes.get("axis", 0)
    past, new = node.operands
    if not isinstance(axis, int) or axis % 4 != 2 or past.source is None or new.source is None:
        return None
    return new, past


def standard(draft: Draft, index: int, node: Node) -> bool:
    """ONNX's own operator: heads as an axis, and attributes that change no cost left out."""
    if len(node.operands) < 3:
        return False
    heads = [node.attributes.get(name, 0) for name in ("q_num_heads", "kv_num_heads", "kv_num_heads")]
    inputs = list(node.operands[:3])
    result = node.outputs[0]
    flat = len(inputs[0].tensor.shape) == 3
    past: tuple[Operand, ...] = ()
    if flat:
        for k, count in enumerate(heads):
            if not isinstance(count, int) or count < 1 or len(inputs[k].tensor.shape) != 3:
                return False
        for k, count in enumerate(heads):
            assert isinstance(count, int)
            n, length, width = inputs[k].tensor.shape
            data = inputs[k]._replace(tensor=inputs[k].tensor._replace(shape=(n, length, count, width // count)))
            turned = data.tensor._replace(shape=(n, count, length, width // count))
            transpose = Node(node.name, "Transpose", (data,), (turned,), {"perm": (0, 2, 1, 3)})
            inputs[k] = Operand(turned, draft.insert(index, transpose))
        result = result._replace(shape=(*inputs[0].tensor.shape[:3], inputs[2].tensor.shape[3]))
    else:
        inputs[:2] = [_read_turned(draft, data) for data in inputs[:2]]
        inputs[1:] = [_ungrouped(draft, data) for data in inputs[1:]]
        past = _pasts(draft, inputs) if len(node.operands) < 5 else ()
        as_given = inputs == list(node.operands[:3]) and not past
        if as_given and not any(name in node.attributes for name in _NUMBERS) and not _known(node):
            return False
    mask, presents = node.operand(3), node.outputs[1:3]
    if past:
        presents = (inputs[1].tensor, inputs[2].tensor)
        inputs[1:], past = past[:2], past[2:]
    else:
        past = tuple([o for o in (node.operand(4), node.operand(5)) if o is not None])
    causal = bool(node.attributes.get("is_causal", 0))
    if mask is not None:
        mask, known = one_mask(draft, index, [widened(mask)], (*result.shape[:3], mask.tensor.shape[-1]))
        causal |= known
    attributes: dict[str, Attribute] = {"is_causal": 1} if causal else {}
    if node.attributes.get("softcap"):
        attributes["softcap"] = 1.0
    if node.attributes.get("unfused"):
        attributes["unfused"] = 1
    kept = [mask] if mask is not None else []
    outputs = (result, *presents) if past else (result,)
    put = Node(
        node.name,
        "Attention",
        (*inputs, *kept, *past),
        outputs,
        attributes,
        left_out=(3,) if past and mask is None else (),
    )
    if put == node._replace(origin=()):
        return False
    if flat and len(node.outputs) == 1:
        # Its result is turned back, by a node that takes its place.
        inner = draft.insert(index, put)
        data = Operand(result, inner)
        n, count, length, head = result.shape
        back = result._replace(shape=(n, length, count, head))
        draft.put(index, Node(node.name, "Transpose", (data,), (back,), {"perm": (0, 2, 1, 3)}))
    else:
        draft.put(index, put)
    return True


_NUMBERS = frozenset({"scale", "q_num_heads", "kv_num_heads", "qk_matmul_output_mode", "softmax_precision"})


def _known(node: Node) -> bool:
    mask = node.operand(3)
    return mask is not None and mask.source is None


def turned_once(draft: Draft, index: int, node: Node) -> bool:
    """Values that are read transposed, of what a Transpose gives in another shape: one Transpose, as elsewhere."""
    values = node.operands[2]
    transpose = draft.made_by(values, "Transpose")
    return (
        transpose is not None
        and values.source is not None
        and permutation(transpose) == (0, 1, 3, 2)
        and transposes_through_view(draft, values.source, transpose)
    )


RULES: Rules = {"MatMul": (attention, turned), "Attention": (standard, turned_once)}
