"""narformer: how fast will this network run there, and how good will it be?

>>> import narformer
>>> narformer.predict("resnet18.onnx")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Estimate", "Graph", "NarformerError", "Predictor", "choose", "predict", "read_onnx", "read_torch"]

if TYPE_CHECKING:
    from narformer.api import choose, predict
    from narformer.errors import NarformerError
    from narformer.frontends.onnx import read_onnx
    from narformer.frontends.torch import read_torch
    from narformer.graph import Graph
    from narformer.prediction.estimate import Estimate
    from narformer.prediction.predictor import Predictor

_HOMES = {
    "Estimate": "narformer.prediction.estimate",
    "Graph": "narformer.graph",
    "NarformerError": "narformer.errors",
    "Predictor": "narformer.prediction.predictor",
    "choose": "narformer.api",
    "predict": "narformer.api",
    "read_onnx": "narformer.frontends.onnx",
    "read_torch": "narformer.frontends.torch",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: a command starts with what it needs and nothing else."""
    if name not in _HOMES:
        raise AttributeError(f"module 'narformer' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
