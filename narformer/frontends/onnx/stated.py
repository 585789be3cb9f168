"""What a file states of the shapes of its values, compared with what its nodes give: then the nodes are right.

Editors change an input and leave the rest as it was; a runtime goes by the nodes. What is stated is believed where no
rule tells better: of operators without one, and of sizes that depend on data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from narformer.graph import Shape, Tensor

# Operators whose outputs are as large as their data make them; rules give the largest that they can be.
DATA_DEPENDENT = frozenset({"Compress", "NonMaxSuppression", "NonZero", "TopK", "Unique"})


@dataclass(slots=True)
class Stated:
    """shapes: of values that have a whole one in the file. wrong: values whose nodes give another, and both shapes."""

    shapes: Mapping[str, Tensor]
    wrong: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)

    def of(self, values: Sequence[str]) -> list[Tensor] | None:
        """What the file states of a node's outputs; None where it leaves one open."""
        tensors = []
        for name in values:
            tensor = self.shapes.get(name)
            if tensor is None:
                return None
            tensors.append(tensor)
        return tensors or None

    def settled(self, values: Sequence[str], told: Sequence[Tensor], found: Sequence[Tensor]) -> Sequence[Tensor]:
        """A node's outputs, with the shapes that it gives and the dtypes that the file states."""
        if [tensor.shape for tensor in told[: len(found)]] == [tensor.shape for tensor in found[: len(told)]]:
            return told
        for name, stated, given in zip(values, told, found, strict=False):
            if stated.shape != given.shape and 0 not in stated.shape:  # early exporters wrote 0 for an open batch
                self.wrong[name] = (stated.shape, given.shape)
        settled = [Tensor(given.shape, stated.dtype) for stated, given in zip(told, found, strict=False)]
        return [*settled, *told[len(settled) :]]

    def note(self, label: str) -> str:
        """One line about the first value that is wrong."""
        name, (stated, given) = next(iter(self.wrong.items()))
        more = f" (and so of {len(self.wrong) - 1} values behind it)" if len(self.wrong) > 1 else ""
        return (
            f"{label}: the file states the shape {list(stated)} of {name!r}, and its nodes give {list(given)}{more}; "
            "read as a runtime runs it, by the nodes"
        )
