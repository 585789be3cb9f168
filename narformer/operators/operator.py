"""What is known of an operator: a row of the table of operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from narformer.graph import Node, Tensor

# Classes of kernels; a kind never seen in training borrows what its class has learned.
CLASSES = ("input", "matrix", "element-wise", "movement", "pool", "view", "search")
# Kinds of kernels, each with its class.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "input": "input",
        "convolution": "matrix",
        "pointwise": "matrix",
        "depthwise": "matrix",
        "grouped convolution": "matrix",
        "transposed convolution": "matrix",
        "fully connected": "matrix",
        "matrix product": "matrix",
        "attention": "matrix",
        "recurrent": "matrix",
        "rectifier": "element-wise",
        "clip": "element-wise",
        "add": "element-wise",
        "multiply": "element-wise",
        "smooth activation": "element-wise",
        "softmax": "element-wise",
        "normalization": "element-wise",
        "quantize": "element-wise",
        "other": "element-wise",
        "concatenate": "movement",
        "split": "movement",
        "transpose": "movement",
        "gather": "movement",
        "resize": "movement",
        "move": "movement",
        "pool": "pool",
        "global pool": "pool",
        "reduction": "pool",
        "view": "view",
        "sort": "search",
        "trees": "search",
    }
)

Count = Callable[[Node], int]
Counts = Callable[[Node], Mapping[int, int]]
# Positions from the first or the second on, however many operands there are.
ALL, REST = range(1_000_000), range(1, 1_000_000)


@dataclass(frozen=True)
class Operator:
    """One operator. Positions are those of its signature, operands that are left out included.

    kind: of kernel, a key of KINDS; `kernel_kind` tells convolutions and products apart by what a node reads.
    macs: multiplications that are added up, of a node. operations: scalar operations other than those.
    weights: positions of a layer's weights; a weightless file may declare these as inputs.
    settings: of operands that say where, how many or how: indices, sizes, bounds, masks. buffers: of numbers that
        no training adjusts: running statistics, caches, initial states. scales: of scales and zero points of integers.
    elements: by position, how many numbers an operand stands for that packs several into one element.
    reads, writes: elements really read of operands, by position, and written of outputs, where not all are.
    fuses: runtimes run it within the product of matrices before it. known: it has a row. one_by_one: runtimes compute
        it number by number, for lack of a vector unit's instruction; about how many nanoseconds an x86 core then takes.
    shapes: a rule for the shapes of its outputs, for an operator that `register` has added.
    """

    name: str
    domain: str
    kind: str
    macs: Count | None = None
    operations: Count | None = None
    weights: Sequence[int] = ()
    settings: Sequence[int] = ()
    buffers: Sequence[int] = ()
    scales: Sequence[int] = ()
    elements: Counts | None = None
    reads: Counts | None = None
    writes: Counts | None = None
    fuses: bool = False
    one_by_one: float = 0.0
    known: bool = True
    shapes: Callable[[Any], Sequence[Tensor]] | None = None

    @property
    def kernel_class(self) -> str:
        """One of CLASSES."""
        return KINDS[self.kind]

    @property
    def free(self) -> bool:
        """Whether it costs nothing at run time: it only looks at the same numbers in another way."""
        return self.kind == "view"
