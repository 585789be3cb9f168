"""The row of a node, the kind of kernel it runs as, and rows that a user adds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

from narformer.errors import ModelError
from narformer.graph import Node, Tensor, forget_nodes
from narformer.operators.operator import KINDS, Count, Operator
from narformer.operators.table import MICROSOFT, TABLE

ENTRY_POINTS = "narformer.operators"
# Domains of ONNX Runtime whose operators are com.microsoft's, or ONNX's own in another layout.
_RUNTIME = ("com.microsoft", "com.ms.")
_added: dict[tuple[str, str], Operator] = {}
_loaded: list[bool] = []


def operator_of(node: Node) -> Operator:
    """The row of a node's operator. One without a row is of kind "other", and not `known`."""
    return find(node.op, node.domain)


def find(name: str, domain: str = "") -> Operator:
    """The row of an operator by its name and domain; "" is ONNX's own."""
    row = TABLE.get((domain, name))
    if row is None or _added:
        row = _added.get((domain, name), row)
    return row or _other(name, domain)


def _other(name: str, domain: str) -> Operator:
    """The row of an operator that its own domain does not list."""
    if not _loaded:
        _load()
        if (domain, name) in _added:
            return _added[domain, name]
    row = None
    if domain.startswith(_RUNTIME):
        row = TABLE.get((MICROSOFT, name)) or TABLE.get(("", name))
    elif domain in ("", "ai.onnx"):
        # A canonical Graph has operators of runtimes that have no like in ONNX under its domain too.
        row = TABLE.get(("", name)) or TABLE.get((MICROSOFT, name)) or TABLE.get(("ai.onnx.ml", name))
    return row or Operator(name, domain, "other", known=False)


def kernel_kind(node: Node) -> str:
    """The kind of kernel that a node runs as, a key of KINDS.

    Convolutions are told apart by their weights, whatever their layout: one group of channels and a window of one place
    is "pointwise" (and "fully connected" where there is but one place), a group for each channel "depthwise", other
    groups "grouped convolution". A product with a constant is "fully connected", one of two computed operands not.
    """
    row = operator_of(node)
    if row.kind == "convolution":
        return _convolution(node, row)
    if row.kind in ("fully connected", "matrix product") and row.name in _PRODUCTS:
        constant = any(o.source is None for k, o in zip(node.positions, node.operands, strict=True) if k in _sides(row))
        return "fully connected" if constant else "matrix product"
    return row.kind


# Products whose second side may be computed as well.
_PRODUCTS = frozenset(
    name for (_, name), row in TABLE.items() if row.kind == "matrix product" or name in ("Gemm", "FusedGemm", "QGemm")
)


def _sides(row: Operator) -> Sequence[int]:
    return (0, row.weights[0]) if row.weights else range(100)


def _convolution(node: Node, row: Operator) -> str:
    weight = node.operand(row.weights[0])
    if weight is None or len(weight.tensor.shape) < 3:
        return row.kind
    shape = weight.tensor.shape
    last = row.name == "NhwcConv"  # (Cout, *window, Cin/groups)
    channels, window = (shape[-1], shape[1:-1]) if last else (shape[1], shape[2:])
    groups = node.attributes.get("group", 1)
    if isinstance(groups, int) and groups > 1:
        return "depthwise" if channels == 1 else "grouped convolution"
    if math.prod(window) > 1:
        return "convolution"
    out = node.output_shape
    first = row.name.startswith("Nhwc") or row.domain.endswith("nhwc") or bool(node.attributes.get("channels_last"))
    places = out[1:-1] if first else out[2:]
    return "fully connected" if math.prod(places) == 1 else "pointwise"


def register(
    name: str,
    domain: str = "",
    *,
    kind: str = "other",
    macs: Count | None = None,
    operations: Count | None = None,
    shapes: Callable[[Any], Sequence[Tensor]] | None = None,
    weights: Sequence[int] = (),
    settings: Sequence[int] = (),
    scales: Sequence[int] = (),
    fuses: bool = False,
) -> Operator:
    """Give a custom operator a row; every part of narformer reads it. A row that there was is replaced.

    name, domain: as the ONNX file has them. kind: a key of KINDS. macs, operations: of a Node, its multiplications that
    are added up, and its other scalar operations. weights, settings, scales: positions of operands (see Operator).
    shapes: of a narformer.frontends.onnx.call.Call, the Tensors that come out; without it the file must state them.

    Raises ModelError for a kind that there is not.
    """
    if kind not in KINDS:
        raise ModelError(f"{kind!r} is no kind of kernel; choose one of {', '.join(KINDS)}")
    row = Operator(
        name,
        domain,
        kind,
        macs=macs,
        operations=operations,
        weights=tuple(weights),
        settings=tuple(settings),
        scales=tuple(scales),
        fuses=fuses,
        shapes=shapes,
    )
    _added[domain, name] = row
    forget_nodes()
    return row


def _load() -> None:
    """Rows of installed packages: each entry point of the group is a function that calls `register`."""
    _loaded.append(True)
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry.load()()
        except Exception as error:  # whatever a foreign package raises
            warnings.warn(f"operators of the package entry {entry.name!r} cannot be registered: {error}", stacklevel=2)
