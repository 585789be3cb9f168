"""Another batch size for a network whose exporter wrote the old one into the constants of Reshape, Expand or Resize.

A file exported at batch 1 reshapes to (1, 197, 12, 64), or, sequence first, (197, 1, 768) to (197, 12, 64). Which of
these sizes carries the batch follows from where the batch is in what is read. The network is therefore read twice: as
declared, where the batch is followed through every node (batch_axis.py), and with the new batch size; every value must
then hold once or `ratio` times as much as before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from narformer.batch_axis import Batch, grown, viewed
from narformer.errors import ShapeError
from narformer.frontends.onnx.call import Call, Rule, Value
from narformer.frontends.onnx.scope import Step
from narformer.graph import Shape, Tensor


@dataclass(frozen=True, slots=True)
class Rebatched:
    """How values were as declared.

    before: their shapes. old, new: the batch sizes. axis: where inputs have the batch. places: where values have it.
    contents: of values that are known before the run.
    """

    before: Mapping[str, Shape]
    old: int
    new: int
    axis: int = 0
    places: Mapping[str, Batch] = field(default_factory=dict)
    contents: Mapping[str, Value] = field(default_factory=dict)

    @property
    def ratio(self) -> Fraction:
        """New size over old."""
        return Fraction(self.new, self.old)

    def check_sizes(self, after: Mapping[str, Shape], inputs: Sequence[str], label: str) -> None:
        """Raises ShapeError where a value does not grow as the batch does: a size is fixed inside the network."""
        for name, before in self.before.items():
            elements, now = math.prod(before), after.get(name, before)
            if math.prod(now) not in (elements, elements * self.ratio):
                raise ShapeError(
                    f"{label}: at batch size {self.new}, {name!r} would have the shape {list(now)} instead of "
                    f"{list(before)}: sizes are fixed inside the network; export it with that batch size"
                    f"{self._other_axis(inputs)}"
                )

    def check_steps(self, after: Mapping[str, Shape], steps: Sequence[Step], inputs: Sequence[str], label: str) -> None:
        """Raises ShapeError where another batch size would make a recurrent network run over more or fewer steps."""
        for step in steps:
            if step.op in ("LSTM", "GRU", "RNN") and step.reads and step.reads[0] in after:
                axis = 1 if (step.attributes or {}).get("layout") else 0
                before, now = self.before.get(step.reads[0], ()), after[step.reads[0]]
                if before[axis : axis + 1] != now[axis : axis + 1]:
                    raise ShapeError(
                        f"{label}: at batch size {self.new}, node {step.name or step.op!r} ({step.op}) would run over "
                        f"another number of steps{self._other_axis(inputs)}"
                    )

    def _other_axis(self, inputs: Sequence[str]) -> str:
        """What to do where the batch may not be the dimension that was taken for it."""
        several = [name for name in inputs if len(self.before.get(name, ())) > 1]
        if self.axis or not several:
            return ""
        length, _, *rest = self.before[several[0]]
        example = ",".join(map(str, (length, self.new, *rest)))
        return (
            "; if its batch is not the first dimension of its inputs, give their whole shapes, "
            f"for example --input-shape {several[0]}={example}"
        )

    def tensors(self, call: Call, rule: Rule, constant: bool) -> Sequence[Tensor]:
        """A node's outputs by its rule, but with the new batch size where the file's constants hold the old one.

        constant: whether the node's second operand is one.
        """
        node = call.node
        if node.op_type == "Reshape" and (constant or self._is_as_declared(call, 1)):
            target = call.needed(1, "a shape")
            shape = self.reshape(node.input[0], call.shape(0), node.output[0], target)
            if shape is not None:
                return (Tensor(shape, call.dtype(0)),)
        if node.op_type == "Gather" and constant and node.output[0] in self.places:
            return self._gathered(call, rule)
        if node.op_type == "Expand" and constant:
            return rule(_with_value(call, 1, self.expand(call.needed(1, "a shape"))))
        if node.op_type == "Resize" and call.has(3) and call.known(3) and self.new in call.shape(0)[self.axis :][:1]:
            sizes = call.needed(3, "sizes")
            if len(sizes) == len(call.shape(0)):
                return rule(_with_value(call, 3, self.expand(sizes)))
        if node.op_type == "Concat":
            return rule(self._spread(call))
        return rule(call)

    def _spread(self, call: Call) -> Call:
        """Concat's operands, those that hold the old batch (constants, such as a class token) widened to the new."""
        sizes = [t.shape[self.axis : self.axis + 1] for t in call.operands if t is not None]
        if call.integer("axis", 1) == self.axis or (self.new,) not in sizes:
            return call
        return replace(call, operands=[None if t is None else self._widened(t) for t in call.operands])

    def _widened(self, tensor: Tensor) -> Tensor:
        """The tensor with the new batch size, if it has the old one where inputs have it."""
        return Tensor(self.expand(tensor.shape), tensor.dtype)

    def reshape(self, read: str, after: Shape, written: str, target: Sequence[int]) -> Shape | None:
        """Reshape's output with the batch in its place; None where the constant says nothing of the batch."""
        read_before, written_before = self.before.get(read), self.before.get(written)
        if read_before is None or written_before is None or len(target) != len(written_before):
            return None
        if math.prod(after) != math.prod(read_before) * self.ratio:
            return None
        axis = next((k for k, (a, b) in enumerate(zip(read_before, after, strict=True)) if a != b), None)
        if axis is None:
            return None
        at = self.places.get(read)
        at = viewed(at if at and at.axis == axis else Batch(axis), read_before, written_before, self.old)
        if at is None or (-1 in target and target[at.axis] == -1):
            return None
        return self._grown(Tensor(written_before), at).shape

    def _is_as_declared(self, call: Call, position: int) -> bool:
        """Whether an operand that is computed holds what it held before, and so knows nothing of the new batch."""
        before, now = self.contents.get(call.node.input[position]), call.values(position)
        return before is not None and now is not None and np.array_equal(before, now)

    def _gathered(self, call: Call, rule: Rule) -> Sequence[Tensor]:
        """Gather's output; with the batch where indices name every element of an axis that holds it."""
        (tensor,) = rule(call)
        read, written = call.node.input[0], call.node.output[0]
        before = self.before.get(written)
        everything = before is not None and math.prod(before) == math.prod(self.before.get(read, ()))
        if everything and tensor.shape == before and call.shape(0) != self.before[read]:
            return (self._grown(tensor, self.places[written]),)
        return (tensor,)

    def _grown(self, tensor: Tensor, at: Batch) -> Tensor:
        return grown(tensor, at, self.ratio)

    def expand(self, target: Shape) -> Shape:
        """Expand's target: the old batch, where inputs have it, becomes the new one."""
        if target[self.axis : self.axis + 1] != (self.old,):
            return target
        return (*target[: self.axis], self.new, *target[self.axis + 1 :])


def _with_value(call: Call, position: int, held: Shape) -> Call:
    def value(k: int) -> Value | None:
        return np.array(held, np.int64) if k == position else call.values(k)

    return replace(call, values=value)
