"""A Program → Graph: each step is written by the handler of its operator, in the order in which steps run.

Programs change tensors in place, also through views of them. What a name stands for is therefore looked up when it is
read: after a change, the views of the changed tensor are written anew from what it has become. Nodes that nothing
needs are left out at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from narformer.errors import ModelError
from narformer.frontends.torch.aten import OPERATORS
from narformer.frontends.torch.call import Call, Handler, Pen, Value
from narformer.frontends.torch.layout import inverse
from narformer.frontends.torch.program import DEPENDS_ON_DATA, Program, Reference, Step
from narformer.graph import Graph, Node, Operand, Tensor

# Bodies that run once, with settings around them: by operator, the position of the body among the arguments.
_ONCE = {"wrap_with_autocast": 4, "wrap_with_set_grad_enabled": 1, "inductor_compiled_code": 0, "wrap": 0}
_IGNORED = ("aten._assert", "aten.sym_", "aten._check", "aten.lazy_load", "_assert", "sym_", "aten._functional_assert")

UNREAD = "narformer does not read the operator {}; export the module to ONNX and read the file, or write it with others"


def handler_of(operator: str) -> Handler | None:
    """Who writes an operator: one for this overload, or one for all; in place or not."""
    found = OPERATORS.get(operator)
    if found is None:
        namespace, name = (*operator.split("."), "")[:2]
        found = OPERATORS.get(f"{namespace}.{name}") or OPERATORS.get(f"{namespace}.{name.rstrip('_')}")
    return found


def missing(program: Program) -> set[str]:
    """Operators of a program that no handler writes."""
    found: set[str] = set()
    for step in program.steps:
        found |= {n for value in step.arguments.values() if isinstance(value, Program) for n in missing(value)}
        op = step.operator
        known = op in ("getitem", "cond") or op in _ONCE or op.startswith(_IGNORED)
        if not known and handler_of(op) is None:
            found.add(op)
    return found


def graph_of(program: Program, label: str) -> Graph:
    """The Graph of a program. Raises ModelError for an operator that nobody can write."""
    pen = Pen(label)
    scope = _Scope(pen)
    inputs: list[Tensor] = []
    names: list[str] = []
    for entry in program.inputs:
        if entry.tensor is None:
            continue
        if entry.kind == "input":
            inputs.append(entry.tensor)
            names.append(entry.target)
            scope.values[entry.name] = Operand(entry.tensor, ~(len(inputs) - 1))
        else:
            trained = entry.kind == "parameter"
            scope.values[entry.name] = Operand(entry.tensor, name=entry.target, value=entry.value, trained=trained)
    scope.run(program.steps)
    results = [*scope.results(program.outputs), *scope.changed()]
    nodes = _needed(pen.nodes, results)
    return Graph(nodes, tuple(inputs), tuple(names), label)


class _Scope:
    """What names stand for.

    values: by name. views: for a view the name of what it looks at and the step that made it. versions: how often the
    tensor of a name has been changed, and with a view, at which of its versions it was written.
    """

    def __init__(self, pen: Pen) -> None:
        self.pen = pen
        self.values: dict[str, Value] = {}
        self.views: dict[str, tuple[str, Step | None]] = {}
        self.versions: dict[str, int] = {}

    def run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.operator.startswith(_IGNORED):
                continue
            if step.operator in _ONCE or step.operator == "cond":
                self.values[step.name] = self._body(step)
                continue
            first = next(iter(step.arguments.values()), None)
            value = self._written(step)
            if value is None:
                raise ModelError(f"{self.pen.label}: {step.operator} gives nothing")
            if step.writes:
                changed = step.arguments[step.writes]
                self._change(changed.name, value)
                self.views[step.name] = (changed.name, None)
                self.versions[step.name] = self.versions[self._root(changed.name)]
            elif step.view and isinstance(first, Reference):
                self.views[step.name] = (first.name, step)
                self.versions[step.name] = self.versions.get(self._root(first.name), 0)
            self.values[step.name] = value

    def results(self, outputs: Any) -> list[Operand]:
        return _operands(self._argument(outputs))

    def changed(self) -> list[Operand]:
        """What inputs and buffers have become that the program writes to: a state that is kept is a result as well."""
        roots = [name for name in self.versions if name not in self.views]
        return [self.values[name] for name in roots if isinstance(self.values.get(name), Operand)]

    def _written(self, step: Step) -> Value:
        arguments = {name: self._argument(argument) for name, argument in step.arguments.items()}
        if step.operator == "getitem":
            sequence, index = list(arguments.values())
            return sequence[index]
        handler = handler_of(step.operator)
        if handler is None:
            raise ModelError(
                f"{self.pen.label}: module {step.module or '(the whole)'!r}: {UNREAD.format(step.operator)}"
            )
        call = Call(step, arguments, self.pen)
        try:
            return handler(call)
        except (IndexError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise call.refusal(f"its arguments are not what it takes ({type(error).__name__}: {error})") from error

    def _argument(self, argument: Any) -> Value:
        if isinstance(argument, Reference):
            return self._read(argument.name)
        if type(argument) is tuple:
            return tuple([self._argument(item) for item in argument])
        return argument

    # Names whose tensors change.

    def _read(self, name: str) -> Value:
        view = self.views.get(name)
        if view is not None and self.versions[name] < self.versions.get(self._root(name), 0):
            source, step = view
            value = self._read(source)
            self.values[name] = value if step is None else self._written(step)
            self.versions[name] = self.versions[self._root(name)]
        if name not in self.values:
            raise ModelError(f"{self.pen.label}: {DEPENDS_ON_DATA} ({name} is no tensor)")
        return self.values[name]

    def _root(self, name: str) -> str:
        while name in self.views:
            name = self.views[name][0]
        return name

    def _change(self, name: str, value: Value) -> None:
        """A name's tensor has become another; with it what the name is a view of."""
        version = self.versions.get(self._root(name), 0) + 1
        while True:
            if name not in self.views:
                self.values[name], self.versions[name] = value, version
                return
            source, step = self.views[name]
            whole = self._read(source)
            self.values[name], self.versions[name] = value, version
            if step is not None:
                value = self._put_back(step, whole, value)
            name = source

    def _put_back(self, step: Step, whole: Value, value: Value) -> Value:
        """What a tensor becomes by a change of one of its views."""
        if not isinstance(value, Operand):
            return value
        if not isinstance(whole, Operand):  # one of several parts, whose whole is the part's source
            index = list(step.arguments.values())[1]
            return (*whole[:index], value, *whole[index + 1 :])
        arguments = {name: self._argument(argument) for name, argument in step.arguments.items()}
        return inverse(Call(step, arguments, self.pen), whole, value)

    # Bodies.

    def _body(self, step: Step) -> Value:
        arguments = list(step.arguments.values())
        if step.operator != "cond":
            position = _ONCE[step.operator]
            return tuple(self._inlined(arguments[position], arguments[position + 1 :]))
        condition = self._argument(arguments[0])
        bodies, operands = arguments[1:3], arguments[3] if len(arguments) > 3 else ()
        if not isinstance(condition, Operand):
            return tuple(self._inlined(bodies[0 if condition else 1], operands))
        # Which branch runs is not known: the larger one counts, and a Node If behind it says so.
        mark = len(self.pen.nodes)
        tried = []
        for body in bodies:
            results = self._inlined(body, operands)
            tried.append((_size(self.pen.nodes[mark:]), self.pen.nodes[mark:], results))
            del self.pen.nodes[mark:]
        _, nodes, results = max(tried, key=lambda branch: branch[0])
        self.pen.nodes += nodes
        path = f"{step.module}/cond" if step.module else "cond"
        return self.pen.write(path, "If", [condition, *results], [o.tensor for o in results], {})

    def _inlined(self, body: Program, operands: Sequence[Any]) -> list[Operand]:
        inner = _Scope(self.pen)
        given = iter(operands)
        for entry in body.inputs:
            if entry.kind == "constant" and entry.tensor is not None and entry.target != entry.name:
                inner.values[entry.name] = Operand(entry.tensor, name=entry.target, value=entry.value, trained=False)
            else:
                inner.values[entry.name] = self._argument(next(given))
        inner.run(body.steps)
        return inner.results(body.outputs)


def _operands(value: Value) -> list[Operand]:
    """The tensors of a result, however they are nested."""
    if isinstance(value, Operand):
        return [value]
    return [operand for item in value for operand in _operands(item)] if isinstance(value, tuple | list) else []


def _size(nodes: Sequence[Node]) -> int:
    return sum(o.tensor.elements for n in nodes for o in n.operands) + sum(t.elements for n in nodes for t in n.outputs)


def _needed(nodes: Sequence[Node], results: Sequence[Operand]) -> tuple[Node, ...]:
    """The nodes from which results are computed, in their order."""
    needed = [False] * len(nodes)
    waiting = [o.source for o in results if o.source is not None and o.source >= 0]
    while waiting:
        index = waiting.pop()
        if not needed[index]:
            needed[index] = True
            waiting += [source for source in nodes[index].sources if source >= 0]
    place: dict[int, int] = {}
    kept: list[Node] = []
    for index, node in enumerate(nodes):
        if not needed[index]:
            continue
        place[index] = len(kept)
        operands = [
            o if o.source is None or o.source < 0 else o._replace(source=place[o.source]) for o in node.operands
        ]
        kept.append(node._replace(operands=tuple(operands)))
    return tuple(kept)
