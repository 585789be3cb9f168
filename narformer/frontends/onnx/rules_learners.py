"""Output shapes of ai.onnx.ml's operators, as far as onnx does not tell them: what scikit-learn's estimators become.

All read one row an example; a vector is one example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.onnx.call import Call, Rule
from narformer.graph import Shape, Tensor

DOMAIN = "ai.onnx.ml"
Tensors = Sequence[Tensor]


def _rows(shape: Shape) -> int:
    return shape[0] if len(shape) > 1 else 1


def each_float(call: Call) -> Tensors:
    """Normalizer, Scaler: real numbers, whatever they are of. ZipMap: the same numbers, as a dictionary a row."""
    return (Tensor(call.shape(0), "float32"),)


def imputed(call: Call) -> Tensors:
    return (call.tensor(0),)


def joined(call: Call) -> Tensors:
    """FeatureVectorizer: features of several inputs side by side, `inputdimensions` of each."""
    shapes = [tensor.shape for tensor in call.operands if tensor is not None]
    told = call.integers("inputdimensions")
    widths = [told[k] if k < len(told) else shape[-1] if shape else 1 for k, shape in enumerate(shapes)]
    return (Tensor((_rows(shapes[0]), sum(widths)), "float32"),)


def linear(call: Call) -> Tensors:
    return (Tensor((_rows(call.shape(0)), call.integer("targets", 1)), "float32"),)


def support_vectors(call: Call) -> Tensors:
    return (Tensor((_rows(call.shape(0)), 1), "float32"),)


def support_classes(call: Call) -> Tensors:
    """Labels, and a score for each class; without probabilities, for each pair of classes of a kernel machine."""
    attributes = {a.name: a for a in call.node.attribute}
    texts = attributes["classlabels_strings"].strings if "classlabels_strings" in attributes else []
    classes = len(texts) or len(call.integers("classlabels_ints"))
    pairs = call.integers("vectors_per_class") and "prob_a" not in attributes and classes > 2
    rows, scores = _rows(call.shape(0)), classes * (classes - 1) // 2 if pairs else classes
    return (Tensor((rows,), "string" if texts else "int64"), Tensor((rows, scores), "float32"))


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("Normalizer", "Scaler", "ZipMap"), each_float),
    "Imputer": imputed,
    "FeatureVectorizer": joined,
    "LinearRegressor": linear,
    "SVMRegressor": support_vectors,
    "SVMClassifier": support_classes,
}
