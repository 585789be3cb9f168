"""narformer: how fast will this network run there, and how good will it be?

>>> import narformer
>>> for estimate in narformer.predict("examples/resnet18.onnx", devices=["adreno-640", "myriad-x"]):
...     print(round(estimate.latency_ms, -1), estimate.unit, estimate.source)
40.0 ms predicted
20.0 ms predicted
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "AdaptedDevice",
    "BindingError",
    "Card",
    "CellPredictor",
    "Choice",
    "Choices",
    "Client",
    "Comparison",
    "Comparisons",
    "ConfigError",
    "Cost",
    "DataError",
    "Estimate",
    "Estimates",
    "Explanation",
    "Explanations",
    "Graph",
    "Inspection",
    "Measurement",
    "MissingExtraError",
    "ModelError",
    "ModelWarning",
    "NarformerError",
    "Node",
    "Operand",
    "Predictor",
    "RankedCell",
    "RankedCells",
    "Ranking",
    "ShapeError",
    "Store",
    "StoreError",
    "Target",
    "Tensor",
    "UnknownDeviceError",
    "UserError",
    "adapt",
    "choose",
    "compare",
    "explain",
    "inspect",
    "list_predictors",
    "list_targets",
    "load",
    "measure",
    "predict",
    "predict_cell",
    "rank",
    "read_onnx",
    "read_torch",
]

if TYPE_CHECKING:
    from narformer.adaptation.device import AdaptedDevice
    from narformer.api import choose, compare, explain, inspect, predict
    from narformer.catalogue import list_predictors, list_targets, load
    from narformer.cells.predictor import CellPredictor, predict_cell
    from narformer.cells.ranking import RankedCell, RankedCells, Ranking, rank
    from narformer.client import Client
    from narformer.cost import Cost
    from narformer.errors import (
        BindingError,
        ConfigError,
        DataError,
        MissingExtraError,
        ModelError,
        ModelWarning,
        NarformerError,
        ShapeError,
        StoreError,
        UnknownDeviceError,
        UserError,
    )
    from narformer.frontends.onnx import read_onnx
    from narformer.frontends.torch import read_torch
    from narformer.graph import Graph, Node, Operand, Tensor
    from narformer.inspection import Inspection
    from narformer.measurement.measurement import Measurement
    from narformer.measurement.store import Store
    from narformer.own_hardware import adapt, measure
    from narformer.prediction.card import Card
    from narformer.prediction.choice import Choice, Choices
    from narformer.prediction.compare import Comparison, Comparisons
    from narformer.prediction.estimate import Estimate, Estimates
    from narformer.prediction.explanation import Explanation, Explanations
    from narformer.prediction.predictor import Predictor
    from narformer.prediction.target import Target

# Where each name lives: it is imported when it is asked for, so that a command starts with what it needs alone.
_HOMES = {
    "AdaptedDevice": "narformer.adaptation.device",
    "choose": "narformer.api",
    "compare": "narformer.api",
    "explain": "narformer.api",
    "inspect": "narformer.api",
    "predict": "narformer.api",
    "list_predictors": "narformer.catalogue",
    "list_targets": "narformer.catalogue",
    "load": "narformer.catalogue",
    "CellPredictor": "narformer.cells.predictor",
    "predict_cell": "narformer.cells.predictor",
    "RankedCell": "narformer.cells.ranking",
    "RankedCells": "narformer.cells.ranking",
    "Ranking": "narformer.cells.ranking",
    "rank": "narformer.cells.ranking",
    "Client": "narformer.client",
    "Cost": "narformer.cost",
    "BindingError": "narformer.errors",
    "ConfigError": "narformer.errors",
    "DataError": "narformer.errors",
    "MissingExtraError": "narformer.errors",
    "ModelError": "narformer.errors",
    "ModelWarning": "narformer.errors",
    "NarformerError": "narformer.errors",
    "ShapeError": "narformer.errors",
    "StoreError": "narformer.errors",
    "UnknownDeviceError": "narformer.errors",
    "UserError": "narformer.errors",
    "read_onnx": "narformer.frontends.onnx",
    "read_torch": "narformer.frontends.torch",
    "Graph": "narformer.graph",
    "Node": "narformer.graph",
    "Operand": "narformer.graph",
    "Tensor": "narformer.graph",
    "Inspection": "narformer.inspection",
    "Measurement": "narformer.measurement.measurement",
    "Store": "narformer.measurement.store",
    "adapt": "narformer.own_hardware",
    "measure": "narformer.own_hardware",
    "Card": "narformer.prediction.card",
    "Choice": "narformer.prediction.choice",
    "Choices": "narformer.prediction.choice",
    "Comparison": "narformer.prediction.compare",
    "Comparisons": "narformer.prediction.compare",
    "Estimate": "narformer.prediction.estimate",
    "Estimates": "narformer.prediction.estimate",
    "Explanation": "narformer.prediction.explanation",
    "Explanations": "narformer.prediction.explanation",
    "Predictor": "narformer.prediction.predictor",
    "Target": "narformer.prediction.target",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        meant = "" if name.startswith("_") else import_module("narformer.errors").did_you_mean(name, __all__)
        raise AttributeError(f"module 'narformer' has no attribute {name!r}{meant and '; ' + meant.strip()}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """What a user calls, and nothing else."""
    return sorted([*__all__, "__all__", "__doc__", "__version__"])
