"""One operator at a time: what ONNX Runtime takes on a core here, and what a predictor says of it.

    python benchmarks/operators.py [--device epyc-turin:onnxruntime-1.32:fp32:1t] [--predictor tally2] [WORD ...]

Each operator is a file of one node at a size that networks have. Prints a line each, by predicted / measured, with the
interval, and the median of |ln|. WORDs choose operators whose names have one of them. Minutes; other programs on the
machine make latencies longer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import narformer

Shape = tuple[int, ...]
Array = npt.NDArray[Any]
SECONDS = 0.3  # of timed runs of each
LOW = 0.2  # the quantile that counts: other programs only make runs longer
MAP: Shape = (1, 64, 56, 56)
TOKENS: Shape = (1, 197, 768)


class Case(NamedTuple):
    """inputs: shapes of computed operands; constants behind them, None where one is left out."""

    name: str
    op: str
    inputs: Sequence[Shape]
    attributes: Mapping[str, Any] = {}
    constants: Sequence[Array | None] = ()
    opset: int = 18
    outputs: int = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="epyc-turin:onnxruntime-1.32:fp32:1t")
    parser.add_argument("--predictor", default="tally2")
    parser.add_argument("words", nargs="*", metavar="WORD")
    asked = parser.parse_args()
    predictor = narformer.load(asked.predictor)
    rows = []
    for case in cases():
        if asked.words and not any(word.lower() in case.name.lower() for word in asked.words):
            continue
        file = model_of(case)
        (estimate,) = (each for each in predictor.predict(file) if each.device == asked.device)
        rows.append((case.name, measured(file, case.inputs), estimate))
    rows.sort(key=lambda row: row[2].latency_ms / row[1])
    for name, took, estimate in rows:
        inside = "" if estimate.low_ms <= took <= estimate.high_ms else "  outside"
        print(
            f"{estimate.latency_ms / took:6.2f}  {name:32s} measured {took:8.4f} ms, predicted "
            f"{estimate.latency_ms:8.4f} [{estimate.low_ms:.4f}, {estimate.high_ms:.4f}]{inside}"
        )
    errors = np.abs(np.log([estimate.latency_ms / took for _, took, estimate in rows]))
    print(f"{len(rows)} operators: |ln(predicted / measured)| {np.median(errors):.2f} median, {errors.mean():.2f} mean")


def model_of(case: Case) -> onnx.ModelProto:
    """A file of that one node."""
    names, constants = [f"x{k}" for k in range(len(case.inputs))], []
    for k, array in enumerate(case.constants):
        names.append("" if array is None else f"c{k}")
        if array is not None:
            constants.append(numpy_helper.from_array(array, f"c{k}"))
    kinds = [TensorProto.BOOL if case.op == "Where" and k == 0 else TensorProto.FLOAT for k in range(len(case.inputs))]
    results = [f"y{k}" for k in range(case.outputs)]
    graph = helper.make_graph(
        [helper.make_node(case.op, names, results, "node", **case.attributes)],
        "one",
        [
            helper.make_tensor_value_info(f"x{k}", kind, shape)
            for k, (kind, shape) in enumerate(zip(kinds, case.inputs, strict=True))
        ],
        [helper.make_empty_tensor_value_info(name) for name in results],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=9)


def measured(file: onnx.ModelProto, shapes: Sequence[Shape]) -> float:
    """Milliseconds of a run on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feed = {}
    for value, shape in zip(session.get_inputs(), shapes, strict=True):
        numbers = rng.random(shape)
        feed[value.name] = (
            numbers > 0.5 if value.type == "tensor(bool)" else numbers.astype(np.float32) + np.float32(0.1)
        )
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 20:
        started = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - started)
    return 1e3 * float(np.quantile(times, LOW))


def cases() -> Iterator[Case]:
    yield from elementwise()
    yield from movement()
    yield from over_axes()
    yield from products()


def elementwise() -> Iterator[Case]:
    plain = (
        "Relu Sigmoid Tanh Exp Erf Softplus Sqrt Abs Neg Sin HardSwish HardSigmoid Elu LeakyRelu Log Floor Round Mish"
    )
    for op in plain.split():
        yield Case(op, op, [MAP])
    yield Case("Gelu", "Gelu", [MAP], opset=20)
    for op in ("Add", "Mul", "Sub", "Div", "Max", "Greater"):
        yield Case(op, op, [MAP, MAP])
    yield Case("Add, a number a channel", "Add", [MAP, (1, 64, 1, 1)])
    yield Case("Pow 2", "Pow", [MAP], constants=[_floats(2.0)])
    yield Case("Pow 2.5", "Pow", [MAP], constants=[_floats(2.5)])
    yield Case("PRelu, a slope a channel", "PRelu", [MAP], constants=[np.full((64, 1, 1), 0.2, np.float32)])
    yield Case("Where, one mask", "Where", [(1, 1, 128, 128), (1, 12, 128, 128), (1, 12, 128, 128)])
    yield Case("Clip", "Clip", [MAP], constants=[_floats(0), _floats(6)])


def movement() -> Iterator[Case]:
    yield Case("Transpose to channels last", "Transpose", [MAP], {"perm": [0, 2, 3, 1]})
    yield Case("Transpose of heads", "Transpose", [(1, 197, 12, 64)], {"perm": [0, 2, 1, 3]})
    yield Case("Transpose of windows", "Transpose", [(1, 8, 7, 8, 7, 96)], {"perm": [0, 1, 3, 2, 4, 5]})
    yield Case("Transpose of channels in groups", "Transpose", [(1, 2, 32, 56, 56)], {"perm": [0, 2, 1, 3, 4]})
    yield Case("Concat of channels", "Concat", [MAP, MAP], {"axis": 1})
    yield Case("Concat of columns", "Concat", [MAP, MAP], {"axis": 3})
    yield Case("Split", "Split", [MAP], {"axis": 1, "num_outputs": 2}, outputs=2)
    yield Case("Slice of half", "Slice", [MAP], constants=[_ints(0), _ints(28), _ints(2)])
    yield Case("Slice of every second column", "Slice", [MAP], constants=[_ints(0), _ints(56), _ints(3), _ints(2)])
    yield Case("Pad", "Pad", [MAP], constants=[_ints(0, 0, 1, 1, 0, 0, 1, 1)])
    yield Case("Expand", "Expand", [(1, 64, 1, 1)], constants=[_ints(1, 64, 56, 56)])
    yield Case("DepthToSpace", "DepthToSpace", [MAP], {"blocksize": 2})
    rng = np.random.default_rng(0)
    yield Case("Gather of rows", "Gather", [(5000, 128)], {"axis": 0}, [rng.integers(0, 5000, 512)])
    yield Case("Gather of columns", "Gather", [(512, 1000)], {"axis": 1}, [rng.integers(0, 1000, 200)])
    for scale in (1.5, 2.0, 4.0):
        wider = np.array([1, 1, scale, scale], np.float32)
        yield Case(f"Resize nearest {scale}", "Resize", [MAP], {"mode": "nearest"}, [None, wider])
        yield Case(f"Resize linear {scale}", "Resize", [MAP], {"mode": "linear"}, [None, wider])
    yield Case("Resize cubic 2", "Resize", [MAP], {"mode": "cubic"}, [None, np.array([1, 1, 2, 2], np.float32)])
    for channels in (3, 32):
        shapes: list[Shape] = [(1, channels, 64, 64), (1, 64, 64, 2)]
        yield Case(f"GridSample of {channels} channels", "GridSample", shapes, {"mode": "bilinear"}, opset=16)


def over_axes() -> Iterator[Case]:
    yield Case("Softmax, last axis", "Softmax", [(1, 12, 197, 197)], {"axis": -1})
    for classes, side in ((2, 320), (21, 128), (80, 64)):
        yield Case(f"Softmax over {classes} maps", "Softmax", [(1, classes, side, side)], {"axis": 1})
    yield Case("Softmax, one axis behind", "Softmax", [(1, 512, 512)], {"axis": 1})
    yield Case("CumSum, last axis", "CumSum", [(64, 3136)], constants=[np.array(1)])
    yield Case("CumSum, first axis", "CumSum", [(3136, 64)], constants=[np.array(0)])
    yield Case("TopK", "TopK", [(1, 8400)], {"axis": -1}, [_ints(100)], outputs=2)
    yield Case("ArgMax", "ArgMax", [(64, 1000)], {"axis": -1})
    yield Case("ReduceMean, last axis", "ReduceMean", [TOKENS], constants=[_ints(-1)])
    yield Case("ReduceMean, axis 1", "ReduceMean", [TOKENS], constants=[_ints(1)])
    ones = np.ones(768, np.float32)
    yield Case("LayerNormalization", "LayerNormalization", [TOKENS], {"axis": -1}, [ones, ones])
    yield Case("InstanceNormalization", "InstanceNormalization", [MAP], constants=[ones[:64], ones[:64]])
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
    yield Case("MaxPool 3x3, stride 2", "MaxPool", [(1, 64, 112, 112)], window)
    yield Case("MaxPool 5x5", "MaxPool", [(1, 256, 20, 20)], {"kernel_shape": [5, 5], "pads": [2] * 4})
    yield Case("AveragePool 3x3", "AveragePool", [MAP], {"kernel_shape": [3, 3], "pads": [1] * 4})
    yield Case("GlobalAveragePool", "GlobalAveragePool", [(1, 512, 7, 7)])


def products() -> Iterator[Case]:
    def conv(name: str, data: Shape, weight: Shape, op: str = "Conv", **attributes: Any) -> Case:
        return Case(name, op, [data], {"kernel_shape": list(weight[2:]), **attributes}, [_weight(*weight)])

    yield conv("Conv 3x3", MAP, (64, 64, 3, 3), pads=[1] * 4)
    yield conv("Conv 1x1", (1, 256, 28, 28), (256, 256, 1, 1))
    yield conv("Conv 7x7 of an image", (1, 3, 224, 224), (64, 3, 7, 7), pads=[3] * 4, strides=[2, 2])
    yield conv("Conv 3x3, 30 channels", (1, 30, 56, 56), (30, 30, 3, 3), pads=[1] * 4)
    yield conv("Conv 3x3, dilated", MAP, (64, 64, 3, 3), pads=[2] * 4, dilations=[2, 2])
    yield conv("Conv 3x3, 32 groups", (1, 128, 56, 56), (128, 4, 3, 3), pads=[1] * 4, group=32)
    yield conv("depthwise 3x3", MAP, (64, 1, 3, 3), pads=[1] * 4, group=64)
    yield conv("depthwise 7x7", (1, 96, 56, 56), (96, 1, 7, 7), pads=[3] * 4, group=96)
    yield conv("Conv 5 of a sequence", (1, 64, 1000), (64, 64, 5), pads=[2, 2])
    yield conv("depthwise 15 of a sequence", (1, 256, 1000), (256, 1, 15), pads=[7, 7], group=256)
    yield conv("Conv 3x3x3", (1, 16, 8, 28, 28), (16, 16, 3, 3, 3), pads=[1] * 6)
    yield conv("ConvTranspose 4x4", (1, 64, 28, 28), (64, 32, 4, 4), "ConvTranspose", pads=[1] * 4, strides=[2, 2])
    for rows in ((1,), (8,), (197,), (1, 197)):
        name = f"MatMul {' x '.join(map(str, rows))} x 768 x 3072"
        yield Case(name, "MatMul", [(*rows, 768)], constants=[_weight(768, 3072)])
    yield Case("MatMul of queries and keys", "MatMul", [(1, 12, 197, 64), (1, 12, 64, 197)])
    for op, gates in (("LSTM", 4), ("GRU", 3)):
        weights = [_weight(1, gates * 128, 128), _weight(1, gates * 128, 128)]
        yield Case(op, op, [(50, 1, 128)], {"hidden_size": 128}, weights)


def _ints(*values: int) -> Array:
    return np.array(values, np.int64)


def _floats(value: float) -> Array:
    return np.array(value, np.float32)


def _weight(*shape: int) -> Array:
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


if __name__ == "__main__":
    main()
