"""One node of an ONNX network, as the makers of PyTorch functions see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from narformer.errors import ModelError

Function = Callable[..., Any]


@dataclass
class Call:
    """One node: attributes, operands (None where one is left out), positions that are constant, number of outputs."""

    where: str
    attributes: Mapping[str, Any]
    operands: Sequence[Tensor | None]
    constant: set[int]
    outputs: int
    settings: set[int] = field(default_factory=set)

    @property
    def x(self) -> Tensor:
        """The first operand, for its shape and type."""
        assert self.operands[0] is not None
        return self.operands[0]

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def setting(self, position: int, attribute: str = "", default: Any = None) -> Any:
        """A number or list that newer opsets give as an operand, older ones as an attribute.

        The operand is then no argument of the function. Raises ModelError where it is computed from the inputs.
        """
        if position < len(self.operands):
            self.settings.add(position)
            operand = self.operands[position]
            if operand is not None:
                if position not in self.constant:
                    raise ModelError(
                        f"{self.where}: its operand {position} depends on the inputs; PyTorch needs it fixed"
                    )
                return operand.tolist()
        return self.get(attribute, default)
