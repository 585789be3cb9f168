"""LSTM, GRU and RNN: a Node for each layer, its directions together, as ONNX has them."""

from __future__ import annotations

from collections.abc import Mapping

from narformer.frontends.torch.call import Call, Handler, Value
from narformer.graph import Operand, Tensor


def recurrent(op: str, gates: int, activation: str = "") -> Handler:
    """Weights come flat: for each layer and direction (4·hidden, in), (4·hidden, hidden) and two biases."""

    def handler(call: Call) -> Value:
        if not call.step.operator.endswith(".input"):
            raise call.refusal("packed sequences have lengths that the data says; give a padded tensor")
        data = call.operand("input")
        states = call.operands("hx")
        layers = call.integer("num_layers")
        directions = 2 if call.flag("bidirectional") else 1
        weights = call.operands("params")
        each = len(weights) // (layers * directions)
        hidden = weights[1].tensor.shape[1]
        if each not in (2, 4) or weights[1].tensor.shape[0] != gates * hidden:
            raise call.refusal("proj_size: no runtime has an operator for a recurrent cell with a projection")
        single = len(data.tensor.shape) == 2
        if single:
            data = call.reshaped(data, (1, *data.tensor.shape) if call.flag("batch_first") else _middle(data))
        if (call.flag("batch_first") and not single) or (single and call.flag("batch_first")):
            data = call.transposed(data, (1, 0, 2))
        steps, batch = data.tensor.shape[:2]
        last: list[list[Operand]] = [[] for _ in states]
        for layer in range(layers):
            own = weights[layer * directions * each : (layer + 1) * directions * each]
            matrices = [_joined(call, own[k::each], gates * hidden) for k in (0, 1)]
            bias = [_biases(call, own, each, gates * hidden)] if each == 4 else []
            state = Tensor((directions, batch, hidden), data.tensor.dtype)
            initial = [_layer_state(call, s, layer, directions, layers, state) for s in states]
            found = call.emit_several(
                op,
                [data, *matrices, *bias, *initial],
                [Tensor((steps, directions, batch, hidden), data.tensor.dtype), *[state] * len(states)],
                (4,) if bias else (3, 4),
                hidden_size=hidden,
                direction="bidirectional" if directions == 2 else None,
                linear_before_reset=1 if op == "GRU" else None,
                activations=(activation,) * directions if activation else None,
            )
            data = call.transposed(found[0], (0, 2, 1, 3)) if directions == 2 else found[0]
            data = call.reshaped(data, (steps, batch, directions * hidden))
            for ends, end in zip(last, found[1:], strict=True):
                ends.append(end)
        if call.flag("batch_first"):
            data = call.transposed(data, (1, 0, 2))
        results = [call.reshaped(data, call.output.shape)]
        for ends, tensor in zip(last, call.outputs[1:], strict=True):
            whole = Tensor((layers * directions, batch, hidden), data.tensor.dtype)
            joined = ends[0] if len(ends) == 1 else call.emit("Concat", *ends, output=whole, axis=0)
            results.append(call.reshaped(joined, tensor.shape))
        return tuple(results)

    return handler


def _middle(data: Operand) -> tuple[int, ...]:
    """A sequence without a batch: (steps, 1, in)."""
    return (data.tensor.shape[0], 1, data.tensor.shape[1])


def _joined(call: Call, parts: list[Operand], rows: int) -> Operand:
    """The directions' matrices as one (directions, rows, columns)."""
    columns = parts[0].tensor.shape[1]
    return _stored(call, parts, (len(parts), rows, columns))


def _biases(call: Call, own: list[Operand], each: int, rows: int) -> Operand:
    """Both biases of every direction: (directions, 2 · rows)."""
    parts = [own[start + k] for start in range(0, len(own), each) for k in (2, 3)]
    return _stored(call, parts, (len(own) // each, 2 * rows))


def _stored(call: Call, parts: list[Operand], shape: tuple[int, ...]) -> Operand:
    """Weights that stand one behind the other: one constant, or what joins them where they are computed."""
    tensor = Tensor(shape, parts[0].tensor.dtype)
    if all(part.source is None for part in parts):
        return Operand(tensor, name="+".join([part.name for part in parts]), trained=all(o.trained for o in parts))
    flat = [call.reshaped(part, (part.tensor.elements,)) for part in parts]
    if len(flat) == 1:
        return call.reshaped(flat[0], shape)
    joined = call.emit("Concat", *flat, output=Tensor((tensor.elements,), tensor.dtype), axis=0)
    return call.reshaped(joined, shape)


def _layer_state(call: Call, state: Operand, layer: int, directions: int, layers: int, tensor: Tensor) -> Operand:
    """The initial state of one layer."""
    if len(state.tensor.shape) == 2:
        state = call.reshaped(state, (state.tensor.shape[0], 1, state.tensor.shape[1]))
    if layers == 1:
        return state
    if state.source is None:
        return Operand(tensor, name=f"{state.name}.{layer}" if state.name else "", trained=state.trained)
    return call.sliced(state, 0, layer * directions, (layer + 1) * directions)


def _single_state(handler: Handler) -> Handler:
    """GRU and RNN have one state, which comes alone."""

    def alone(call: Call) -> Value:
        hx = call.arguments.get("hx")
        arguments = {**call.arguments, "hx": (hx,) if isinstance(hx, Operand) else hx}
        return handler(Call(call.step, arguments, call.pen))

    return alone


OPERATORS: Mapping[str, Handler] = {
    "aten.lstm": recurrent("LSTM", 4),
    "aten.gru": _single_state(recurrent("GRU", 3)),
    "aten.rnn_tanh": _single_state(recurrent("RNN", 1)),
    "aten.rnn_relu": _single_state(recurrent("RNN", 1, "Relu")),
}
