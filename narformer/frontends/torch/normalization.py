"""ATen operators that normalise: each is one Node, with scales of one where the module has none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from narformer.frontends.torch.call import Call, Handler, Value, unknown
from narformer.frontends.torch.reductions import reduced
from narformer.graph import Operand, Tensor


def _affine(call: Call, shape: Sequence[int]) -> list[Operand]:
    """Scale and bias, a constant of ones or zeros where the module has none."""
    dtype = call.first.tensor.dtype
    return [
        call.operand(name) if call.has(name) else unknown(Tensor(tuple(shape), dtype)) for name in ("weight", "bias")
    ]


def batch_norm(call: Call) -> Value:
    data = call.first
    channels = (data.tensor.shape[1],)
    given = _affine(call, channels)
    statistics = [
        call.operand(name) if call.has(name) else unknown(Tensor(channels, data.tensor.dtype))
        for name in ("running_mean", "running_var")
    ]
    training = 1 if call.flag("training") or not call.has("running_mean") else None
    return call.emit(
        "BatchNormalization", data, *given, *statistics, epsilon=call.number("eps"), training_mode=training
    )


def batch_norm_parts(call: Call) -> Value:
    """The core operator, which returns statistics as well."""
    return (batch_norm(call),)


def layer_norm(call: Call) -> Value:
    shape = call.integers("normalized_shape")
    given = [call.operand("weight")] if not call.has("bias") and call.has("weight") else _affine(call, shape)
    return call.emit("LayerNormalization", call.first, *given, axis=-len(shape), epsilon=call.number("eps"))


def layer_norm_parts(call: Call) -> Value:
    return (layer_norm(call),)


def rms_norm(call: Call) -> Value:
    shape = call.integers("normalized_shape")
    scale = call.operand("weight") if call.has("weight") else unknown(Tensor(shape, call.first.tensor.dtype))
    smallest = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
    epsilon = call.number("eps") if call.has("eps") else smallest.get(call.first.tensor.dtype, 2.0**-23)
    return call.emit("RMSNormalization", call.first, scale, axis=-len(shape), epsilon=epsilon)


def group_norm(call: Call) -> Value:
    groups = call.integer("num_groups" if "num_groups" in call.arguments else "group")
    given = _affine(call, (call.first.tensor.shape[1],))
    return call.emit("GroupNormalization", call.first, *given, num_groups=groups, epsilon=call.number("eps"))


def group_norm_parts(call: Call) -> Value:
    return (group_norm(call),)


def instance_norm(call: Call) -> Value:
    if not call.flag("use_input_stats"):
        return batch_norm(call)
    return call.emit(
        "InstanceNormalization",
        call.first,
        *_affine(call, (call.first.tensor.shape[1],)),
        epsilon=call.number("eps"),
    )


def softmax(call: Call) -> Value:
    dtype = call.output.dtype
    return call.emit("Softmax", call.cast(call.first, dtype), axis=call.integer("dim"))


def log_softmax(call: Call) -> Value:
    return call.emit("LogSoftmax", call.cast(call.first, call.output.dtype), axis=call.integer("dim"))


def vector_norm(call: Call) -> Value:
    """The length of vectors along axes."""
    order = call.arguments.get("ord", call.arguments.get("p", 2))
    op = {2: "ReduceL2", 1: "ReduceL1", math.inf: "ReduceMax", -math.inf: "ReduceMin"}.get(
        2 if order is None else order
    )
    if op is None:
        raise call.refusal(f"norms of order {order} have no operator; write it with pow and sum")
    data = call.first
    if op in ("ReduceMax", "ReduceMin"):
        data = call.emit("Abs", data, output=data.tensor)
    return reduced(call, op, data, call.axes("dim"), call.flag("keepdim"))


OPERATORS: Mapping[str, Handler] = {
    "aten.batch_norm": batch_norm,
    "aten._native_batch_norm_legit_no_training": batch_norm_parts,
    "aten.native_batch_norm": batch_norm_parts,
    "aten._native_batch_norm_legit": batch_norm_parts,
    "aten.layer_norm": layer_norm,
    "aten.native_layer_norm": layer_norm_parts,
    "aten.rms_norm": rms_norm,
    "aten._fused_rms_norm": lambda call: (rms_norm(call),),
    "aten.group_norm": group_norm,
    "aten.native_group_norm": group_norm_parts,
    "aten.instance_norm": instance_norm,
    "aten.softmax": softmax,
    "aten._softmax": softmax,
    "aten._safe_softmax": softmax,
    "aten.log_softmax": log_softmax,
    "aten._log_softmax": log_softmax,
    "aten.linalg_vector_norm": vector_norm,
    "aten.linalg_norm": vector_norm,
    "aten.norm": vector_norm,
}
