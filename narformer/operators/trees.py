"""Scalar operations of tree ensembles: for each row a comparison at each node on the longest way through each tree."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from narformer.graph import Attribute, Node
from narformer.operators.macs import shape_at

Integers = npt.NDArray[np.int64]


def comparisons(node: Node) -> int:
    """Rows times depths of the trees, added up."""
    data = shape_at(node, 0)
    return (data[0] if len(data) > 1 else 1) * _depths(node)


def _depths(node: Node) -> int:
    """Level by level, in how many trees there is a node that compares."""
    children, compares, reached = _by_roots(node) if "tree_roots" in node.attributes else _by_names(node)
    tree = np.arange(len(reached))
    seen = np.zeros(len(compares), dtype=bool)
    total = 0
    while len(reached):
        seen[reached] = True
        branches = compares[reached]
        reached, tree = reached[branches], tree[branches]
        total += len(np.unique(tree))
        reached, tree = children[:, reached].reshape(-1), np.tile(tree, 2)
        there = (reached >= 0) & ~seen[reached]  # a file may hold trees that bite their tails
        reached, first = np.unique(reached[there], return_index=True)
        tree = tree[there][first]
    return total


def _by_roots(node: Node) -> tuple[Integers, npt.NDArray[np.bool_], Integers]:
    """Of TreeEnsemble: children (2, nodes) as indices, −1 for leaves; which nodes compare (all); roots."""
    of = node.attributes
    children = np.stack([_integers(of.get(f"nodes_{side}nodeids")) for side in ("true", "false")])
    leaves = np.stack([_integers(of.get(f"nodes_{side}leafs")) for side in ("true", "false")])
    count = children.shape[1]
    children = np.where((leaves > 0) | (children >= count), -1, children)
    roots = np.unique(_integers(of["tree_roots"]))
    return children, np.ones(count, dtype=bool), roots[(roots >= 0) & (roots < count)]


def _by_names(node: Node) -> tuple[Integers, npt.NDArray[np.bool_], Integers]:
    """Of the classifier and the regressor, whose nodes are named by tree and number; each tree's first is its root."""
    of = node.attributes
    modes = of.get("nodes_modes", ())
    compares = np.array([mode != "LEAF" for mode in modes] if isinstance(modes, tuple) else [], dtype=bool)
    names, numbers = _integers(of.get("nodes_treeids")), _integers(of.get("nodes_nodeids"))
    if not len(compares):
        return np.empty((2, 0), dtype=np.int64), compares, np.empty(0, dtype=np.int64)
    _, roots, tree = np.unique(names, return_index=True, return_inverse=True)
    width = int(numbers.max()) + 1
    key = tree * width + numbers
    order = np.argsort(key, kind="stable")
    children = []
    for side in ("true", "false"):
        child = _integers(of.get(f"nodes_{side}nodeids"))
        wanted = tree * width + child
        place = order[np.minimum(np.searchsorted(key[order], wanted), len(order) - 1)]
        children.append(np.where((key[place] == wanted) & (child >= 0) & (child < width), place, -1))
    return np.stack(children), compares, roots


def _integers(value: Attribute | None) -> Integers:
    return np.array(value if isinstance(value, tuple) else (), dtype=np.int64)


def distinct_share(node: Node) -> float:
    """Which share of the trees differ in what they ask: a processor foresees the branches of those that repeat.

    1 where the file holds what is asked in tensors, or nothing of it.
    """
    tree, *asked = (node.attributes.get(f"nodes_{name}") for name in ("treeids", "featureids", "values"))
    if not isinstance(tree, tuple) or not tree:
        return 1.0
    if any(not isinstance(each, tuple) or len(each) != len(tree) or isinstance(each[0], str) for each in asked):
        return 1.0
    numbers = _integers(tree)
    order = np.argsort(numbers, kind="stable")
    rows = np.stack([np.array(each, dtype=np.float64)[order] for each in asked], axis=1)
    parts = np.split(rows, np.flatnonzero(np.diff(numbers[order])) + 1)
    return len({part.tobytes() for part in parts}) / len(parts)
