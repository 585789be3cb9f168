"""Every ONNX operator that PyTorch can run here, by name, and those that work on each number by itself."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

import onnx.helper
import torch
import torch.nn.functional as F
from torch import Tensor

from narformer.measurement.runtimes import torch_layers as layers
from narformer.measurement.runtimes import torch_shapes as shapes
from narformer.measurement.runtimes.torch_call import Call, Function

Maker = Callable[[Call], Function]


def plain(function: Function) -> Maker:
    """An operator without settings."""
    return lambda call: function


def clip(call: Call) -> Function:
    low, high = call.setting(1, "min"), call.setting(2, "max")
    if low is None and high is None:
        return lambda x: x
    return lambda x: torch.clamp(x, low, high)


def leaky_relu(call: Call) -> Function:
    slope = call.get("alpha", 0.01)
    return lambda x: F.leaky_relu(x, slope)


def prelu(call: Call) -> Function:
    slope = call.operands[1]
    assert slope is not None
    if slope.numel() in (1, call.x.shape[1]) and call.x.dim() > 1:
        return lambda x, s: F.prelu(x, s.reshape(-1))
    return lambda x, s: torch.where(x < 0, x * s, x)


def elu(call: Call) -> Function:
    alpha = call.get("alpha", 1.0)
    return lambda x: F.elu(x, alpha)


def hard_sigmoid(call: Call) -> Function:
    alpha, beta = call.get("alpha", 0.2), call.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-4 and beta == 0.5:
        return F.hardsigmoid
    return lambda x: torch.clamp(alpha * x + beta, 0.0, 1.0)


def gelu(call: Call) -> Function:
    approximate = call.get("approximate", "none")
    return lambda x: F.gelu(x, approximate=approximate)


def softmax(call: Call) -> Function:
    axis = call.get("axis", -1)
    return lambda x: F.softmax(x, axis)


def log_softmax(call: Call) -> Function:
    axis = call.get("axis", -1)
    return lambda x: F.log_softmax(x, axis)


def local_response(call: Call) -> Function:
    size, alpha, beta, bias = (call.get(k, d) for k, d in (("size", 1), ("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    return lambda x: F.local_response_norm(x, size, alpha, beta, bias)


def divide(call: Call) -> Function:
    return torch.div if call.x.is_floating_point() else lambda x, y: torch.div(x, y, rounding_mode="trunc")


def power(call: Call) -> Function:
    exponent = call.operands[1]
    if 1 in call.constant and exponent is not None and exponent.numel() == 1:
        call.settings.add(1)
        number = exponent.item()
        return lambda x: torch.pow(x, number)
    return torch.pow


def cast(call: Call) -> Function:
    dtype = _dtype(call.attributes["to"])
    return lambda x: x.to(dtype)


def constant(call: Call) -> Function:
    value = next(iter(call.attributes.values()))
    tensor = value if isinstance(value, Tensor) else torch.tensor(value)
    return lambda: tensor


def constant_of_shape(call: Call) -> Function:
    value = call.get("value", torch.zeros(1))
    tensor = torch.full(call.setting(0), value.item(), dtype=value.dtype)
    return lambda: tensor


def shape(call: Call) -> Function:
    return lambda x: torch.tensor(x.shape)[call.get("start", 0) : call.get("end")]


def arg_max(call: Call) -> Function:
    axis, keep = call.get("axis", 0), bool(call.get("keepdims", 1))
    return lambda x: torch.argmax(x, axis, keep)


def einsum(call: Call) -> Function:
    equation = call.attributes["equation"]
    return lambda *parts: torch.einsum(equation, *parts)


def variadic(function: Function) -> Maker:
    """An operator that takes any number of operands, two at a time."""

    def run(first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = function(first, other)
        return first

    return lambda call: run


def _dtype(number: int) -> torch.dtype:
    name = onnx.helper.tensor_dtype_to_np_dtype(number).name
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found


OPERATORS: Mapping[str, Maker] = {
    "Conv": layers.conv,
    "ConvTranspose": layers.conv_transpose,
    "Gemm": layers.gemm,
    "MatMul": plain(torch.matmul),
    "Einsum": einsum,
    "BatchNormalization": layers.batch_norm,
    "LayerNormalization": layers.layer_norm,
    "InstanceNormalization": layers.instance_norm,
    "GroupNormalization": layers.group_norm,
    "LRN": local_response,
    "MaxPool": layers.max_pool,
    "AveragePool": layers.average_pool,
    "GlobalAveragePool": layers.over_space(torch.mean),
    "GlobalMaxPool": layers.over_space(torch.amax),
    "ReduceMean": layers.reduction(torch.mean),
    "ReduceSum": layers.reduction(torch.sum),
    "ReduceMax": layers.reduction(torch.amax),
    "ReduceMin": layers.reduction(torch.amin),
    "ReduceL2": layers.reduction(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
    "ArgMax": arg_max,
    "Reshape": shapes.reshape,
    "Flatten": shapes.flatten,
    "Transpose": shapes.transpose,
    "Concat": shapes.concat,
    "Split": shapes.split,
    "Slice": shapes.slice_,
    "Squeeze": shapes.squeeze,
    "Unsqueeze": shapes.unsqueeze,
    "Expand": shapes.expand,
    "Tile": shapes.tile,
    "Gather": shapes.gather,
    "GatherElements": shapes.gather_elements,
    "GatherND": shapes.gather_nd,
    "Pad": shapes.pad,
    "Resize": shapes.resize,
    "Upsample": shapes.resize,
    "DepthToSpace": shapes.depth_to_space,
    "SpaceToDepth": shapes.space_to_depth,
    "Shape": shape,
    "Size": plain(lambda x: torch.tensor(x.numel())),
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Range": plain(lambda start, end, step: torch.arange(start.item(), end.item(), step.item(), device=start.device)),
    "Cast": cast,
    "Identity": plain(lambda x: x),
    "Dropout": plain(lambda x, *settings: x),
    "Where": plain(torch.where),
    "Relu": plain(F.relu),
    "LeakyRelu": leaky_relu,
    "PRelu": prelu,
    "Elu": elu,
    "Selu": plain(F.selu),
    "Softplus": plain(F.softplus),
    "Sigmoid": plain(torch.sigmoid),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": plain(F.hardswish),
    "Mish": plain(F.mish),
    "Tanh": plain(torch.tanh),
    "Gelu": gelu,
    "Erf": plain(torch.erf),
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
    "Clip": clip,
    "Add": plain(operator.add),
    "Sub": plain(operator.sub),
    "Mul": plain(operator.mul),
    "Div": divide,
    "Mod": plain(torch.remainder),
    "Pow": power,
    "Sum": variadic(operator.add),
    "Max": variadic(torch.maximum),
    "Min": variadic(torch.minimum),
    "Mean": plain(lambda *parts: sum(parts) / len(parts)),
    "Sqrt": plain(torch.sqrt),
    "Exp": plain(torch.exp),
    "Log": plain(torch.log),
    "Neg": plain(torch.neg),
    "Abs": plain(torch.abs),
    "Reciprocal": plain(torch.reciprocal),
    "Floor": plain(torch.floor),
    "Ceil": plain(torch.ceil),
    "Round": plain(torch.round),
    "Sin": plain(torch.sin),
    "Cos": plain(torch.cos),
    "Equal": plain(torch.eq),
    "Less": plain(torch.lt),
    "LessOrEqual": plain(torch.le),
    "Greater": plain(torch.gt),
    "GreaterOrEqual": plain(torch.ge),
    "And": plain(torch.logical_and),
    "Or": plain(torch.logical_or),
    "Not": plain(torch.logical_not),
}
