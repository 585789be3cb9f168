"""narformer: how fast will this network run there, and how good will it be?

>>> import narformer
>>> narformer.predict("examples/resnet18.onnx", devices=["adreno640", "myriadvpu"], measured=False)
                                    held-out
target     latency    90% interval     error
adreno640  36.2 ms  35.6 – 36.8 ms     0.9 %
myriadvpu  19.9 ms  19.0 – 20.9 ms     2.0 %
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Estimate",
    "Estimates",
    "Graph",
    "NarformerError",
    "Predictor",
    "choose",
    "compare",
    "explain",
    "inspect",
    "predict",
    "read_onnx",
    "read_torch",
]

if TYPE_CHECKING:
    from narformer.api import choose, compare, explain, inspect, predict
    from narformer.errors import NarformerError
    from narformer.frontends.onnx import read_onnx
    from narformer.frontends.torch import read_torch
    from narformer.graph import Graph
    from narformer.prediction.estimate import Estimate, Estimates
    from narformer.prediction.predictor import Predictor

_HOMES = {
    "Estimate": "narformer.prediction.estimate",
    "Estimates": "narformer.prediction.estimate",
    "Graph": "narformer.graph",
    "NarformerError": "narformer.errors",
    "Predictor": "narformer.prediction.predictor",
    "choose": "narformer.api",
    "compare": "narformer.api",
    "explain": "narformer.api",
    "inspect": "narformer.api",
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


def __dir__() -> list[str]:
    """What a user calls, and nothing else."""
    return sorted([*__all__, "__all__", "__doc__", "__version__"])
